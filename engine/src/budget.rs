//! The engine-wide budget for memtable bytes. When it runs short the space that holds most of it is asked to flush.
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::sync::{Arc, Weak};

/// Counts what all memtables take together, against a limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    relief: Mutex<Relief>,
}

/// Who holds memory of the budget and can give it back.
pub(crate) trait Lender: Send + Sync + std::fmt::Debug {
    /// Bytes that it could give back.
    fn lent(&self) -> u64;
    /// Asks it to give back; it says [`Budget::relieved`] once it has, or cannot.
    fn give_back(self: Arc<Self>);
    /// There may be room for what it waits for.
    fn freed(&self);
}

#[derive(Debug, Default)]
struct Relief {
    /// In the order in which they joined.
    lenders: Vec<Weak<dyn Lender>>,
    /// Who was asked and has not answered.
    asked: Option<Weak<dyn Lender>>,
    waiting: Vec<Weak<dyn Lender>>,
}

/// Share of the limit, in percent, from which the largest lender is asked to give back.
const SHORT_PERCENT: u64 = 75;

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
        Budget { limit, used: AtomicU64::new(0), relief: Mutex::default() }
    }

    /// One more that holds memory.
    pub(crate) fn join(&self, lender: Weak<dyn Lender>) {
        let mut relief = self.relief.lock();
        if relief.lenders.len() == relief.lenders.capacity() {
            relief.lenders.retain(|l| l.strong_count() > 0);
        }
        relief.lenders.push(lender);
    }

    /// What is used, in percent of the limit.
    pub(crate) fn percent(&self) -> u64 {
        u64::try_from(u128::from(self.used()) * 100 / u128::from(self.limit)).unwrap_or(u64::MAX)
    }

    /// Whether memory should be given back.
    pub(crate) fn is_short(&self) -> bool {
        self.percent() >= SHORT_PERCENT
    }

    /// Asks whoever holds most to give back, unless somebody was asked already. Whether anybody is at it. To be called
    /// without any lock of a space.
    pub(crate) fn relieve(&self) -> bool {
        let mut relief = self.relief.lock();
        if relief.asked.as_ref().is_some_and(|l| l.strong_count() > 0) {
            return true;
        }
        // The last handle of a lender may go here, and its end asks for this lock: so all are kept until it is free.
        let lenders: Vec<_> = relief.lenders.iter().filter_map(Weak::upgrade).collect();
        let amounts = lenders.iter().map(|lender| (lender.lent(), lender));
        // The first among equals.
        let largest = amounts.fold(None, |most: Option<(u64, &Arc<dyn Lender>)>, next| match most {
            Some(most) if most.0 >= next.0 => Some(most),
            _ => Some(next),
        });
        let largest = largest.filter(|(bytes, _)| *bytes > 0).map(|(_, lender)| lender.clone());
        relief.asked = largest.as_ref().map(Arc::downgrade);
        drop(relief);
        if let Some(lender) = &largest {
            lender.clone().give_back();
        }
        largest.is_some()
    }

    /// Has `lender` told when memory was given back; whether anybody is at it.
    pub(crate) fn wait_for(&self, lender: Weak<dyn Lender>) -> bool {
        self.relief.lock().waiting.push(lender);
        self.relieve()
    }

    /// Who was asked has given back, or cannot.
    pub(crate) fn relieved(&self) {
        let mut relief = self.relief.lock();
        relief.asked = None;
        drop(relief);
        self.tell_waiting();
    }

    /// Memory was given back that nobody was asked for.
    pub(crate) fn tell_waiting(&self) {
        let waiting = std::mem::take(&mut self.relief.lock().waiting);
        waiting.iter().filter_map(Weak::upgrade).for_each(|lender| lender.freed());
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
