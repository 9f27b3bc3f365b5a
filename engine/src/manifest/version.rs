//! What a space consists of, as a plain value: live segments and tables, epochs, watermarks. Edits are applied purely.
use super::tables::{TableEntry, Tables, Tier, table_file_name};
use crate::ids::{Epoch, FileUid, Lsn, SegmentNo, SpaceUid, TableNo};
use crate::limits::{EPOCH_ENDS_MAX, HOT_TABLES_MAX, SEGMENTS_MAX, TABLES_MAX};
use crate::paths::WAL_DIR;
use crate::wal::segment::SegmentId;

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
    /// All commits up to here are in tables, and none above. None yet: zero.
    pub flushed: Lsn,
    /// Durable when this was written.
    pub durable: Lsn,
    /// Numbers are given once: the next one.
    pub next_segment: SegmentNo,
    /// As [`Version::next_segment`], of tables.
    pub next_table: TableNo,
    /// Live segments, in log order.
    pub segments: Vec<SegmentEntry>,
    /// Ends of past epochs, ascending; the oldest are dropped beyond [`EPOCH_ENDS_MAX`].
    pub epoch_ends: Vec<EpochEnd>,
    /// Live tables.
    pub tables: Tables,
}

/// A file that a version names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// The directory within the space's.
    pub dir: &'static str,
    /// The file's name within it.
    pub name: String,
    pub file: FileUid,
    /// Its length in bytes where the version knows it: a table has exactly that, an ended segment at least.
    pub len: Option<u64>,
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
    /// All commits up to `last` are in tables. The segments that held them go by [`Edit::Drop`], in the same edit.
    Flush { last: Lsn },
    /// One more table: the newest of hot, or by its key in warm and cold. Raises the next table number above its own.
    AddTable { tier: Tier, entry: TableEntry },
    /// A table goes. Of hot tables the older ones of the same keys go first.
    DropTable { tier: Tier, file: FileUid },
    /// A table goes, of which no reader sees anything. Tables above and below stay as they are.
    RemoveTable { tier: Tier, file: FileUid },
    /// Only the upper part of a table's range still counts; see [`TableEntry`]. Order in hot as for dropping.
    TrimTable { tier: Tier, entry: TableEntry },
    /// Hot tables older than all others: what stayed of a run of the oldest ones. Their ranges are disjoint.
    AddOldest { entries: Vec<TableEntry> },
    /// One more hot table: in age order right above `above`, or the oldest one. Raises the next table number likewise.
    AddAbove { above: Option<FileUid>, entry: TableEntry },
    /// Hot tables that are neighbours in age, named oldest first, become others in the same place of the age order.
    MergeHot { old: Vec<FileUid>, new: Vec<TableEntry> },
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
            next_table: TableNo::from_raw(1),
            segments: Vec::new(),
            epoch_ends: Vec::new(),
            tables: Tables::default(),
        }
    }

    /// Every file that this version of the space `space` consists of, beside SPACE and the manifest itself: log
    /// segments, then tables tier by tier. What is not among them is dead.
    pub fn files(&self, space: SpaceUid) -> impl Iterator<Item = LiveFile> {
        let segments = self.segments.iter().map(move |s| LiveFile {
            dir: WAL_DIR,
            name: SegmentId { space, file: s.file, number: s.number }.file_name(),
            file: s.file,
            len: s.end.map(|end| end.len),
        });
        segments.chain(self.tables.iter().map(|(tier, t)| LiveFile {
            dir: tier.dir(),
            name: table_file_name(t.number, t.file),
            file: t.file,
            len: Some(t.len),
        }))
    }

    /// How many segments there are after `edits`.
    #[must_use]
    pub fn segments_after(&self, edits: &[Edit]) -> usize {
        let count = |wanted: fn(&Edit) -> bool| edits.iter().filter(|e| wanted(e)).count();
        let added = count(|e| matches!(e, Edit::Add { .. }));
        self.segments.len() + added - count(|e| matches!(e, Edit::Drop { .. }))
    }

    /// Whether a manifest can name all that there is after `edits`.
    #[must_use]
    pub fn has_room(&self, edits: &[Edit]) -> bool {
        let (mut hot, mut all) = (self.tables.hot.len(), self.tables.count());
        for edit in edits {
            let (more, fewer, tier) = match edit {
                Edit::AddTable { tier, .. } => (1, 0, *tier),
                Edit::DropTable { tier, .. } | Edit::RemoveTable { tier, .. } => (0, 1, *tier),
                Edit::AddOldest { entries } => (entries.len(), 0, Tier::Hot),
                Edit::AddAbove { .. } => (1, 0, Tier::Hot),
                Edit::MergeHot { old, new } => (new.len(), old.len(), Tier::Hot),
                _ => continue,
            };
            all = all + more - fewer;
            if tier == Tier::Hot {
                hot = hot + more - fewer;
            }
        }
        self.segments_after(edits) <= SEGMENTS_MAX && hot <= HOT_TABLES_MAX && all <= TABLES_MAX
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
        match edit.clone() {
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
            Edit::Flush { last } => {
                assert!(last > self.flushed, "a flush takes commits that no table holds");
                self.flushed = last;
            }
            Edit::AddTable { tier, entry } => {
                self.number(entry.number);
                self.tables.add(tier, entry);
            }
            Edit::DropTable { tier, file } => self.tables.drop(tier, file),
            Edit::RemoveTable { tier, file } => self.tables.remove(tier, file),
            Edit::TrimTable { tier, entry } => self.tables.trim(tier, entry),
            Edit::AddOldest { entries } => {
                entries.iter().for_each(|entry| self.number(entry.number));
                self.tables.add_oldest(&entries);
            }
            Edit::AddAbove { above, entry } => {
                self.number(entry.number);
                self.tables.add_above(above, entry);
            }
            Edit::MergeHot { old, new } => {
                new.iter().for_each(|entry| self.number(entry.number));
                self.tables.merge_hot(&old, &new);
            }
        }
    }

    /// Takes the number of a new table.
    fn number(&mut self, number: TableNo) {
        // Two jobs at a time take their numbers before they know which of them ends first.
        self.next_table = self.next_table.max(number.next());
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
        if self.flushed > self.durable {
            return Err("what was flushed is durable");
        }
        if self.tables.iter().any(|(_, t)| t.highest > self.flushed) {
            return Err("tables hold nothing above what was flushed");
        }
        self.tables.check(self.next_table)
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

    fn table(number: TableNo, highest: u64) -> TableEntry {
        TableEntry {
            number,
            file: FileUid::from_raw(100 + number.raw()),
            origin: SpaceUid([1; 16]),
            len: 4096,
            footer_crc: 1,
            range: crate::key::KeyRange::all(),
            entries: 2,
            tombstones: 0,
            range_tombstones: 0,
            hidden: 0,
            bytes: 10,
            lowest: Lsn::from_raw(1),
            highest: Lsn::from_raw(highest),
            priority: 0,
            touched_ms: 0,
        }
    }

    #[test]
    fn a_flush_adds_its_table_and_drops_its_segments_and_files_names_all() {
        let (a, b) = (FileUid::from_raw(10), FileUid::from_raw(11));
        let v = Version::new();
        let v = v.apply(&[
            Edit::Add { number: v.next_segment, file: a },
            Edit::Add { number: v.next_segment.next(), file: b },
            Edit::Durable { lsn: Lsn::from_raw(5) },
        ]);
        let entry = table(v.next_table, 5);
        let w = v.apply(&[
            Edit::AddTable { tier: Tier::Hot, entry },
            Edit::Flush { last: Lsn::from_raw(5) },
            Edit::Drop { file: a },
        ]);
        assert_eq!((w.flushed.raw(), w.next_table.raw()), (5, 2));
        let files = w.files(SpaceUid([1; 16])).map(|f| format!("{}/{} {:?}", f.dir, f.name, f.len));
        let expected = [
            "wal/0000000000000002-000000000000000b.wal None",
            "hot/0000000000000001-0000000000000065.tbl Some(4096)",
        ];
        assert_eq!(files.collect::<Vec<_>>(), expected);
    }

    #[test]
    #[should_panic(expected = "what was flushed is durable")]
    fn nothing_is_flushed_ahead_of_the_log() {
        let _ = Version::new().apply(&[Edit::Flush { last: Lsn::from_raw(1) }]);
    }

    #[test]
    #[should_panic(expected = "nothing above what was flushed")]
    fn a_table_holds_nothing_above_what_was_flushed() {
        let v = Version::new();
        let _ = v.apply(&[Edit::AddTable { tier: Tier::Hot, entry: table(v.next_table, 1) }]);
    }

    #[test]
    fn edits_beyond_what_a_manifest_can_name_are_seen_before_they_are_applied() {
        let lsn = Lsn::from_raw(1);
        let add = |n: usize| {
            let entry = table(TableNo::from_raw(n as u64), 1);
            Edit::AddTable { tier: Tier::Hot, entry }
        };
        let full: Vec<_> = (1..=HOT_TABLES_MAX).map(add).collect();
        let v = Version::new().apply(&[Edit::Durable { lsn }, Edit::Flush { last: lsn }]);
        assert!(v.has_room(&full));
        let v = v.apply(&full);
        assert!(!v.has_room(&[add(HOT_TABLES_MAX + 1)]));
        let oldest = v.tables.hot[..2].iter().map(|t| t.file).collect();
        let merge = |new| Edit::MergeHot { old: oldest, new };
        assert!(v.has_room(&[merge(vec![table(TableNo::from_raw(99), 1)]), add(HOT_TABLES_MAX + 1)]));
        let segment =
            |n: usize| Edit::Add { number: SegmentNo::from_raw(n as u64), file: FileUid::from_raw(n as u64) };
        let segments: Vec<_> = (1..=SEGMENTS_MAX).map(segment).collect();
        assert!(v.has_room(&segments));
        let v = v.apply(&segments);
        assert!(v.has_room(&[]) && !v.has_room(&[segment(SEGMENTS_MAX + 1)]));
        let one_less = Edit::Drop { file: FileUid::from_raw(1) };
        assert!(v.has_room(&[one_less, segment(SEGMENTS_MAX + 1)]));
    }

    #[test]
    fn jobs_may_end_in_another_order_than_they_took_their_numbers() {
        let v = Version::new();
        let add = |n| Edit::AddTable { tier: Tier::Hot, entry: table(TableNo::from_raw(n), 1) };
        let w = v.apply(&[Edit::Durable { lsn: Lsn::from_raw(1) }, Edit::Flush { last: Lsn::from_raw(1) }]);
        assert_eq!(w.apply(&[add(2)]).apply(&[add(1)]).next_table.raw(), 3);
        let twice = std::panic::catch_unwind(|| w.apply(&[add(2), add(2)]));
        assert!(twice.is_err(), "a number is given once");
    }

    #[test]
    #[should_panic(expected = "a live segment is dropped")]
    fn dropping_what_is_not_there_is_a_bug() {
        let _ = Version::new().apply(&[Edit::Drop { file: FileUid::from_raw(1) }]);
    }
}
