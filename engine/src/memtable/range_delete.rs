//! Range deletes in a memtable.
use super::spans::{Newest, Spans, Stretch};
use super::{Memtable, Underneath};
use crate::ids::Lsn;
use crate::key::{Key, KeyRange};
use std::ops::Bound;

impl Memtable {
    /// Deletes every key from `start` on and below `end`, or to the end, at the LSN begun last. What else is done to these
    /// keys at that LSN is done behind it.
    ///
    /// # Panics
    /// If no key lies in between.
    pub fn apply_range(&mut self, start: &[u8], end: Option<&[u8]>) {
        // Whoever comes to read later reads at the durable watermark or above.
        let (pins, durable) = (&self.pins, self.durable);
        let read = |from, below| below > durable || pins.range(from..below).next().is_some();
        self.spans.add((Key::from(start), end.map(Key::from)), self.last, read);
    }

    /// The range deletes.
    #[must_use]
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Whether a reader at `lsn` finds `key` deleted by a range here, wherever underneath it lies.
    #[must_use]
    pub fn hides(&self, key: &[u8], lsn: Lsn) -> bool {
        self.spans.cover(key, lsn).is_some()
    }

    /// The stretches between the bounds in which everything underneath is deleted for a reader at `lsn`.
    #[must_use]
    pub fn hidden(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, lsn: Lsn) -> Vec<Stretch> {
        self.spans.hidden(lower, upper, lsn)
    }

    /// Whether every key of `range` is deleted by range deletes here that all readers at `floor` or above see; then the
    /// LSN up to which nothing of it is seen.
    #[must_use]
    pub fn hides_all(&self, range: &KeyRange, floor: Lsn) -> Option<Lsn> {
        self.spans.cover_all(range, floor)
    }

    /// Counts range deletes that every reader came to see: if it has changed, there may be more to free underneath.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Drops what range deletes at or below `floor` hide, and those of them that nobody can tell from newer ones.
    pub(super) fn collect_ranges(&mut self, floor: Lsn) {
        while let Some((lsn, stretch)) = self.spans.due(floor) {
            self.settled += 1;
            self.collect_stretch(&stretch, lsn);
            let newest = match self.underneath {
                Underneath::Nothing => Newest::Goes,
                Underneath::Older => Newest::Stays,
            };
            self.spans.settle(&stretch, floor, newest);
        }
    }

    /// No reader sees what was written within `stretch` before `lsn`.
    fn collect_stretch(&mut self, (start, end): &Stretch, lsn: Lsn) {
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.base.remove_range(Bound::Included(&start[..]), upper, lsn);
        let tally = &mut self.tally;
        self.map.retain_between(Bound::Included(&start[..]), upper, |key, versions| {
            let mut drop = |old: super::Older| tally.remove(key.len(), old.version.len(), old.priority);
            versions.forget(versions.older().partition_point(|old| old.version.lsn < lsn), &mut drop);
            if versions.newest.lsn < lsn {
                drop(versions.take_newest());
                return false;
            }
            true
        });
    }
}
