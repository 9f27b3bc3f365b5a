//! Who waits for which watermark.
use crate::ids::Lsn;
use std::collections::BTreeMap;
use std::task::Waker;

/// Names one registration, so that a dropped future takes only its own waker away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterKey(Lsn, u64);

/// Wakers ordered by the LSN they wait for, then by arrival.
#[derive(Debug, Default)]
pub struct Waiters {
    wakers: BTreeMap<WaiterKey, Waker>,
    arrivals: u64,
}

impl Waiters {
    /// Registers `waker` for `lsn`, in the place of `key` if that is an earlier registration of the same future.
    pub fn register(&mut self, lsn: Lsn, key: &mut Option<WaiterKey>, waker: &Waker) {
        let key = *key.get_or_insert_with(|| {
            self.arrivals += 1;
            WaiterKey(lsn, self.arrivals)
        });
        self.wakers.insert(key, waker.clone());
    }

    /// Takes a registration away.
    pub fn remove(&mut self, key: WaiterKey) {
        self.wakers.remove(&key);
    }

    /// Takes out everyone who waits for `lsn` or less, to be woken once no lock is held.
    pub fn reached(&mut self, lsn: Lsn, out: &mut Vec<Waker>) {
        while let Some(entry) = self.wakers.first_entry() {
            if entry.key().0 > lsn {
                break;
            }
            out.push(entry.remove());
        }
    }

    /// Takes out everyone.
    pub fn all(&mut self, out: &mut Vec<Waker>) {
        out.extend(std::mem::take(&mut self.wakers).into_values());
    }

    /// Takes out the first.
    pub fn first(&mut self, out: &mut Vec<Waker>) {
        out.extend(self.wakers.pop_first().map(|(_, w)| w));
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }
}
