//! What a space consists of, as a plain value: live segments, epochs, watermarks. Edits are applied purely.
use crate::ids::{Epoch, FileUid, Lsn, SegmentNo};
use crate::limits::{EPOCH_ENDS_MAX, SEGMENTS_MAX};

/// Where a segment's frames end, once that is known for good. Bytes past it are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEnd {
    pub len: u64,
    pub last: Lsn,
    pub chain: u32,
}

/// A live log segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEntry {
    pub number: SegmentNo,
    pub file: FileUid,
    /// `None` while it may still grow.
    pub end: Option<SegmentEnd>,
}

/// The last LSN of a past epoch that survived: answers `outcome(lsn)` for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub last: Lsn,
}

/// What a space consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub epoch: Epoch,
    /// All commits up to here are in tables. None yet: zero.
    pub flushed: Lsn,
    /// Durable when this was written.
    pub durable: Lsn,
    /// Numbers are given once: the next one.
    pub next_segment: SegmentNo,
    /// Live segments, in log order.
    pub segments: Vec<SegmentEntry>,
    /// Ends of past epochs, ascending; the oldest are dropped beyond [`EPOCH_ENDS_MAX`].
    pub epoch_ends: Vec<EpochEnd>,
}

/// A change of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A new epoch begins; the past one ended with `last`.
    RaiseEpoch { last: Lsn },
    /// The last segment of the list ends here.
    End { file: FileUid, end: SegmentEnd },
    /// One more segment at the end of the list.
    Add { number: SegmentNo, file: FileUid },
    /// A segment without live frames goes.
    Drop { file: FileUid },
    /// The log is known durable up to here.
    Durable { lsn: Lsn },
    /// Repair, on explicit order: the log ends with `last`, whatever was durable once; the segment `file` with `end`.
    CutBack { last: Lsn, file: Option<(FileUid, SegmentEnd)> },
}

impl Version {
    /// A space that was never written.
    #[must_use]
    pub fn new() -> Version {
        Version {
            epoch: Epoch::ZERO,
            flushed: Lsn::ZERO,
            durable: Lsn::ZERO,
            next_segment: SegmentNo::from_raw(1),
            segments: Vec::new(),
            epoch_ends: Vec::new(),
        }
    }

    /// Whether `edits`, which add one segment, leave no more segments than a manifest can list.
    #[must_use]
    pub fn has_room(&self, edits: &[Edit]) -> bool {
        let dropped = edits.iter().filter(|e| matches!(e, Edit::Drop { .. })).count();
        self.segments.len() - dropped < SEGMENTS_MAX
    }

    /// The version after `edits`, in order.
    ///
    /// # Panics
    /// When an edit does not apply to this version: that is a bug of ours, never of the disk's.
    #[must_use]
    pub fn apply(&self, edits: &[Edit]) -> Version {
        let mut v = self.clone();
        for edit in edits {
            v.apply_one(edit);
        }
        v.check().unwrap_or_else(|broken| panic!("an edit broke an invariant of the version: {broken}"));
        v
    }

    fn apply_one(&mut self, edit: &Edit) {
        match *edit {
            Edit::RaiseEpoch { last } => {
                if last > self.epoch_ends.last().map_or(Lsn::ZERO, |e| e.last) {
                    self.epoch_ends.push(EpochEnd { last });
                }
                if self.epoch_ends.len() > EPOCH_ENDS_MAX {
                    self.epoch_ends.remove(0);
                }
                if !crate::mutants::on("lsn-reuse-after-torn-tail") || self.epoch == Epoch::ZERO {
                    self.epoch = self.epoch.next().expect("a space is opened fewer than 2^24 times");
                }
            }
            Edit::End { file, end } => {
                let entry = self.segments.iter_mut().find(|s| s.file == file).expect("a live segment ends");
                assert!(entry.end.is_none() || entry.end == Some(end), "a segment ends once");
                entry.end = Some(end);
            }
            Edit::Add { number, file } => {
                assert!(number >= self.next_segment, "segment numbers are given once");
                self.segments.push(SegmentEntry { number, file, end: None });
                self.next_segment = number.next();
            }
            Edit::Drop { file } => {
                let before = self.segments.len();
                self.segments.retain(|s| s.file != file);
                assert!(self.segments.len() < before, "a live segment is dropped");
            }
            Edit::Durable { lsn } => self.durable = self.durable.max(lsn),
            Edit::CutBack { last, file } => {
                self.durable = last;
                self.epoch_ends.retain(|e| e.last < last);
                if let Some((file, end)) = file {
                    let entry =
                        self.segments.iter_mut().find(|s| s.file == file).expect("a live segment ends");
                    entry.end = Some(end);
                }
            }
        }
    }

    /// What must hold of every version, also of one that was read.
    ///
    /// # Errors
    /// The first invariant that does not hold, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.segments.len() > SEGMENTS_MAX {
            return Err("more segments than the limit");
        }
        if self.segments.windows(2).any(|w| w[0].number >= w[1].number) {
            return Err("segment numbers ascend");
        }
        if self.segments.iter().any(|s| s.number >= self.next_segment) {
            return Err("the next segment number is higher than all that exist");
        }
        if self.epoch_ends.windows(2).any(|w| w[0].last >= w[1].last) {
            return Err("epoch ends ascend");
        }
        if self.epoch_ends.len() > EPOCH_ENDS_MAX {
            return Err("more epoch ends than the limit");
        }
        let open_then_ended = self.segments.windows(2).any(|w| w[0].end.is_none() && w[1].end.is_some());
        if open_then_ended {
            return Err("only the last segments of the list may still grow");
        }
        Ok(())
    }
}

impl Default for Version {
    fn default() -> Version {
        Version::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_order_and_numbers_are_given_once() {
        let (a, b) = (FileUid::from_raw(10), FileUid::from_raw(11));
        let v = Version::new();
        let v = v.apply(&[
            Edit::RaiseEpoch { last: Lsn::ZERO },
            Edit::Add { number: v.next_segment, file: a },
            Edit::Durable { lsn: Lsn::from_raw(5) },
        ]);
        assert_eq!((v.epoch.raw(), v.segments.len(), v.epoch_ends.len()), (1, 1, 0));
        let end = SegmentEnd { len: 8192, last: Lsn::from_raw(9), chain: 1 };
        let w = v.apply(&[
            Edit::End { file: a, end },
            Edit::Add { number: v.next_segment, file: b },
            Edit::Drop { file: a },
            Edit::Durable { lsn: Lsn::from_raw(3) },
        ]);
        assert_eq!((w.segments.len(), w.next_segment.raw(), w.durable), (1, 3, Lsn::from_raw(5)));
    }

    #[test]
    #[should_panic(expected = "a live segment is dropped")]
    fn dropping_what_is_not_there_is_a_bug() {
        let _ = Version::new().apply(&[Edit::Drop { file: FileUid::from_raw(1) }]);
    }
}
