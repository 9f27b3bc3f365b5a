//! The segment after the active one.
use super::{Line, Spare};
use crate::wal::segment::SegmentId;

/// A segment is large if a quarter of it is more.
const LARGE: u64 = 1024 * 1024;

impl<F: Clone> Line<F> {
    /// Takes a segment that is allocated, synced and listed.
    pub fn set_spare(&mut self, spare: Spare<F>) {
        assert!(self.spare.is_none(), "one spare at a time");
        self.spare = Some(spare);
    }

    /// The spare's file and id, while no commit is ordered for it.
    #[must_use]
    pub fn unused_spare(&self) -> Option<(SegmentId, F)> {
        let s = self.spare.as_ref().filter(|_| self.spare_reserved == 0)?;
        Some((s.id, s.file.clone()))
    }

    /// The spare that is to be grown. No commit is ordered for it before [`Line::growth_ended`]: frames in a file that
    /// somebody else syncs could be lost without anybody being told. Of two syncs of one handle that are under way
    /// together only one need be told that a page could not be written.
    pub fn begin_growth(&mut self) -> Option<(SegmentId, F)> {
        let spare = self.unused_spare()?;
        self.spare_grows = true;
        Some(spare)
    }

    /// The spare `id` has this many allocated and synced bytes now; as many as before if it could not be grown.
    pub fn growth_ended(&mut self, id: SegmentId, capacity: Option<u64>) {
        self.spare_grows = false;
        if let (Some(s), Some(capacity)) = (self.spare.as_mut().filter(|s| s.id == id), capacity) {
            s.capacity = s.capacity.max(capacity);
        }
    }

    /// Whether a spare should be prepared ahead of need: there is none, and half of the active segment is used, or a quarter
    /// of a large one. On a disk that is busy with a flush it takes as long as a fast writer does for megabytes.
    #[must_use]
    pub fn wants_spare(&self) -> bool {
        let upto = |capacity: u64| (capacity / 2).min(LARGE.max(capacity / 4));
        self.spare.is_none() && self.active.as_ref().is_some_and(|a| a.offset + a.reserved > upto(a.capacity))
    }

    /// Whether a rotation has no segment to go to.
    #[must_use]
    pub fn needs_spare(&self) -> bool {
        self.spare.is_none() && self.active.is_some()
    }
}
