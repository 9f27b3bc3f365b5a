//! Snapshots, and ordered scans over them.
use super::incarnation::Incarnation;
use crate::batch::check_key;
use crate::error::Result;
use crate::ids::Lsn;
use crate::key::Key;
use crate::memtable::{Direction, Value};
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Entries that a scan fetches at a time.
const CHUNK: usize = 128;

/// A view of a space that never changes, also across a fence. It keeps what it sees in memory until it is dropped.
#[derive(Debug)]
pub struct Snapshot {
    incarnation: Arc<Incarnation>,
    lsn: Lsn,
}

impl Snapshot {
    /// Pins what a read at `lsn` sees. The caller knows that nothing visible there was collected yet.
    pub(crate) fn pin(
        incarnation: &Arc<Incarnation>,
        at: impl FnOnce(&crate::memtable::Memtable) -> Lsn,
    ) -> Snapshot {
        let mut mem = incarnation.mem.write();
        let lsn = at(&mem);
        mem.pin(lsn);
        drop(mem);
        Snapshot { incarnation: incarnation.clone(), lsn }
    }

    /// The last commit that it sees.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Rejected(Key)` for a key outside its bounds.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        check_key(key).map_err(|e| e.in_space(&self.incarnation.id))?;
        Ok(self.incarnation.mem.read().get(key, self.lsn))
    }

    /// The entries within `range`, in `direction`. The scan keeps the snapshot's view by itself.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, direction: Direction) -> Scan {
        let own = Snapshot::pin(&self.incarnation, |_| self.lsn);
        Scan::new(own, range, direction)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut mem = self.incarnation.mem.write();
        let before = mem.bytes();
        mem.unpin(self.lsn);
        self.incarnation.context.budget.moved(before, mem.bytes());
    }
}

/// An ordered stream of entries. After an error or the end it yields nothing more.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    direction: Direction,
    fetched: VecDeque<(Key, Value)>,
    ended: bool,
}

impl Scan {
    pub(crate) fn new<K: AsRef<[u8]>>(
        snapshot: Snapshot,
        range: impl RangeBounds<K>,
        direction: Direction,
    ) -> Scan {
        let owned = |b: Bound<&K>| b.map(|k| k.as_ref().to_vec());
        let (lower, upper) = (owned(range.start_bound()), owned(range.end_bound()));
        Scan { snapshot, lower, upper, direction, fetched: VecDeque::new(), ended: false }
    }

    /// A scan over every key that begins with `prefix`.
    pub(crate) fn prefix(snapshot: Snapshot, prefix: &[u8], direction: Direction) -> Scan {
        let lower = Bound::Included(prefix.to_vec());
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let upper = match end.last_mut() {
            None => Bound::Unbounded,
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
        };
        Scan { snapshot, lower, upper, direction, fetched: VecDeque::new(), ended: false }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// None while everything lies in memory; reading tables can fail.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.fetched.is_empty() && !self.ended {
            self.fetch();
        }
        Ok(self.fetched.pop_front().map(|(key, value)| (key.to_vec(), value)))
    }

    fn fetch(&mut self) {
        let (lower, upper) = (self.lower.as_ref().map(Vec::as_slice), self.upper.as_ref().map(Vec::as_slice));
        let mem = self.snapshot.incarnation.mem.read();
        let found = mem.range(lower, upper, self.snapshot.lsn, self.direction, CHUNK);
        drop(mem);
        self.ended = found.len() < CHUNK;
        if let Some((last, _)) = found.last() {
            let past = Bound::Excluded(last.to_vec());
            match self.direction {
                Direction::Ascending => self.lower = past,
                Direction::Descending => self.upper = past,
            }
        }
        self.fetched = found.into();
    }
}
