//! The engine-wide budget for memtable bytes, and the one for log. When either runs short the space that holds most of it is
//! asked to flush.
//!
//! # Who gets in
//! Each space is guaranteed a share, and may borrow what is free beyond the shares of all. With `n` spaces a share is what
//! was configured, or an `n`-th of a quarter of the budget if that is less. A write that leaves its space within its share
//! is let in as long as the budget is not used up, one that borrows only as long as all shares stay free on top: so those
//! who borrow never use up what others are guaranteed, and who is within its share waits for nobody.
//!
//! # Who gives back
//! The space that holds most. It may be stuck on a slow disk: so who has to wait while somebody was asked already is asked
//! itself. What a space wants above its share it frees itself then, whatever the others do.
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::sync::{Arc, Weak};

/// Counts what all memtables take together, against a limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// What each space is guaranteed, as long as there is enough for all.
    share: u64,
    used: AtomicU64,
    /// Spaces whose memory counts.
    members: AtomicU64,
    log_limit: u64,
    log_used: AtomicU64,
    relief: Mutex<Relief>,
}

/// Who holds memory of the budget and can give it back.
pub(crate) trait Lender: Send + Sync + std::fmt::Debug {
    /// Bytes of memory that it could give back.
    fn lent(&self) -> u64;
    /// Bytes of log that go when it does.
    fn log(&self) -> u64;
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
    asked: Vec<Weak<dyn Lender>>,
    /// Each once.
    waiting: Vec<Weak<dyn Lender>>,
}

/// Whether both are the same lender. One that is gone keeps its place in memory as long as anybody remembers it here.
fn same(one: &Weak<dyn Lender>, other: *const ()) -> bool {
    std::ptr::addr_eq(one.as_ptr(), other)
}

/// Share of the limit, in percent, from which the largest lender is asked to give back.
const SHORT_PERCENT: u64 = 75;

/// Part of the limit that shares of all spaces take together at most: a quarter. As much is left to be borrowed as makes
/// the largest lender give back before anybody has to wait.
const SHARED_PART: u64 = 4;
const _: () = assert!(100 - 100 / SHARED_PART >= SHORT_PERCENT, "memory is short before it is used up");

/// Share of the limit that only deletes may use, so that a full engine can be emptied: one part in sixteen.
const DELETES_ONLY: u64 = 16;

/// What a write adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    Puts,
    DeletesOnly,
}

impl Budget {
    /// Bytes of memory, of which each space is guaranteed `share`, and bytes of log.
    pub(crate) fn new(limit: u64, share: u64, log_limit: u64) -> Budget {
        let (used, members, log_used) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Budget { limit, share, used, members, log_limit, log_used, relief: Mutex::default() }
    }

    /// One more space whose memory counts, until [`Budget::left`].
    pub(crate) fn entered(&self) {
        self.members.fetch_add(1, Ordering::Relaxed);
    }

    /// The memory of a space does not count any more.
    pub(crate) fn left(&self) {
        self.members.fetch_sub(1, Ordering::Relaxed);
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

    /// Memory is short: asks whoever holds most to give back, unless somebody was asked already. To be called without any
    /// lock of a space.
    pub(crate) fn relieve(&self) {
        self.ask_largest(|lender| lender.lent());
    }

    /// A space made itself more log: asks whoever has most to give back, if all have more together than they should. To
    /// be called likewise.
    pub(crate) fn relieve_log(&self) {
        if self.log_used.load(Ordering::Relaxed) > self.log_limit {
            self.ask_largest(|lender| lender.log());
        }
    }

    /// Has `lender` told when memory was given back; whether anybody is at it. To be called likewise.
    pub(crate) fn wait_for(&self, lender: &Arc<impl Lender + 'static>) -> bool {
        let lender: Arc<dyn Lender> = lender.clone();
        let weak = Arc::downgrade(&lender);
        let mut relief = self.relief.lock();
        if !relief.waiting.iter().any(|w| same(w, weak.as_ptr().cast())) {
            relief.waiting.push(weak.clone());
        }
        drop(relief);
        if self.ask_largest(|lender| lender.lent()) {
            return true;
        }
        let gives = lender.lent() > 0;
        let mut relief = self.relief.lock();
        let asks = gives && !relief.asked.iter().any(|asked| same(asked, weak.as_ptr().cast()));
        if asks {
            relief.asked.push(weak);
        }
        let any = !relief.asked.is_empty();
        drop(relief);
        if asks {
            lender.give_back();
        }
        any
    }

    /// Asks the lender that gives most, unless somebody was asked already. Whether it did.
    fn ask_largest(&self, gives: fn(&dyn Lender) -> u64) -> bool {
        let mut relief = self.relief.lock();
        relief.asked.retain(|l| l.strong_count() > 0);
        if !relief.asked.is_empty() {
            return false;
        }
        // The last handle of a lender may go here, and its end asks for this lock: so all are kept until it is free.
        let lenders: Vec<_> = relief.lenders.iter().filter_map(Weak::upgrade).collect();
        let amounts = lenders.iter().map(|lender| (gives(&**lender), lender));
        // The first among equals.
        let largest = amounts.fold(None, |most: Option<(u64, &Arc<dyn Lender>)>, next| match most {
            Some(most) if most.0 >= next.0 => Some(most),
            _ => Some(next),
        });
        let largest = largest.filter(|(bytes, _)| *bytes > 0).map(|(_, lender)| lender.clone());
        relief.asked.extend(largest.as_ref().map(Arc::downgrade));
        drop(relief);
        if let Some(lender) = &largest {
            lender.clone().give_back();
        }
        largest.is_some()
    }

    /// `lender` was asked, and has given back or cannot.
    pub(crate) fn relieved<L: Lender>(&self, lender: &L) {
        let lender = std::ptr::from_ref(lender).cast();
        self.relief.lock().asked.retain(|asked| !same(asked, lender));
        self.tell_waiting();
        // Until all have no more log together than they should, or none can give back any.
        self.relieve_log();
    }

    /// Memory was given back that nobody was asked for.
    pub(crate) fn tell_waiting(&self) {
        let waiting = std::mem::take(&mut self.relief.lock().waiting);
        waiting.iter().filter_map(Weak::upgrade).for_each(|lender| lender.freed());
    }

    /// Whether a space may take `bytes` more; `holds` tells what it has. Two writers may both be let in by the last free
    /// bytes: the limit is a goal kept to within one write a thread.
    pub(crate) fn admits(&self, bytes: u64, what: Admits, holds: impl FnOnce() -> u64) -> bool {
        let limit = match what {
            Admits::Puts => self.limit,
            Admits::DeletesOnly => self.limit + self.limit / DELETES_ONLY,
        };
        let after = self.used().saturating_add(bytes);
        let members = self.members.load(Ordering::Relaxed).max(1);
        let share = self.share.min(self.limit / SHARED_PART / members);
        if after <= limit - share * members {
            return true;
        }
        after <= limit && holds().saturating_add(bytes) <= share
    }

    /// The log of a space went from `before` to `after` bytes.
    pub(crate) fn log_moved(&self, before: u64, after: u64) {
        self.log_used.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
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
