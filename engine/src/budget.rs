//! The engine-wide budget for memtable bytes.
use crate::sync::{AtomicU64, Ordering};

/// Counts what all memtables take together, against a limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// Share of the limit that only deletes may use, so that a full engine can be emptied: one part in sixteen.
const DELETES_ONLY: u64 = 16;

/// What a write adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    Puts,
    DeletesOnly,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Budget {
        Budget { limit, used: AtomicU64::new(0) }
    }

    /// Whether `bytes` more fit. Two writers may both be let in by the last free bytes: the limit is a goal kept to
    /// within one write a thread.
    pub(crate) fn admits(&self, bytes: u64, what: Admits) -> bool {
        let limit = match what {
            Admits::Puts => self.limit,
            Admits::DeletesOnly => self.limit + self.limit / DELETES_ONLY,
        };
        self.used().saturating_add(bytes) <= limit
    }

    /// A memtable went from `before` to `after` bytes.
    pub(crate) fn moved(&self, before: u64, after: u64) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}
