//! The tables of a version, by tier.
//!
//! Binding in every version, and the reason why reads may stop at the first version that they find and merges may drop
//! what they do: *for any key, a higher tier never holds an older version than a lower one*, and in the hot tier a newer
//! table never holds an older version than an older one. What can be seen without reading tables is asserted here:
//! keys leave the hot tier only where no older table that stays there may hold any, and warm and cold are sorted runs.
use crate::ids::{FileUid, Lsn, SpaceUid, TableNo, padded_number};
use crate::key::KeyRange;
use crate::limits::{HOT_TABLES_MAX, TABLES_MAX};

/// Where tables lie, highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Flushed and promoted tables, which may overlap, in age order.
    Hot,
    /// A sorted run: tables with disjoint key ranges.
    Warm,
    /// Another one, the lowest.
    Cold,
}

impl Tier {
    /// All of them, highest first.
    pub const ALL: [Tier; 3] = [Tier::Hot, Tier::Warm, Tier::Cold];

    /// The tier under it.
    #[must_use]
    pub const fn lower(self) -> Option<Tier> {
        match self {
            Tier::Hot => Some(Tier::Warm),
            Tier::Warm => Some(Tier::Cold),
            Tier::Cold => None,
        }
    }

    /// The tier whose directory has this name.
    #[must_use]
    pub fn of_dir(dir: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.dir() == dir)
    }

    /// The name of its directory.
    #[must_use]
    pub const fn dir(self) -> &'static str {
        crate::paths::TIER_DIRS[self as usize]
    }
}

/// A live table: what of the file counts.
///
/// [`TableEntry::range`] rules: a version holds of a table only the keys in it, and of its range deletes only what lies
/// in it. A job that took the lower part of a table leaves the rest by raising the range's lower bound
/// ([`super::Edit::TrimTable`]), and the numbers here are those of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    pub number: TableNo,
    pub file: FileUid,
    /// The space whose tags the file carries: clones and restores name old tables under a new space.
    pub origin: SpaceUid,
    /// Bytes of the whole file.
    pub len: u64,
    /// Checksum of the footer, which holds those of all else.
    pub footer_crc: u32,
    /// The keys that it holds versions or range deletes of; may be wider than they are.
    pub range: KeyRange,
    /// Versions of keys, tombstones among them.
    pub entries: u64,
    /// Those of them that are tombstones.
    pub tombstones: u64,
    pub range_tombstones: u64,
    /// Versions that are not the newest of their key in it: what only snapshots needed when it was written. Of what is left
    /// of a table, at most so many.
    pub hidden: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Lowest LSN of any version or range delete; may be lower than what is left in the range.
    pub lowest: Lsn,
    /// Highest LSN, likewise.
    pub highest: Lsn,
    /// Highest priority of any entry; 0 if none carries one.
    pub priority: i32,
    /// Wall time, in milliseconds since the Unix epoch, at which its entries were last written or, as far as was known,
    /// read. It steers what moves down by age and nothing else.
    pub touched_ms: u64,
}

impl TableEntry {
    /// The file's name within its tier's directory.
    #[must_use]
    pub fn file_name(&self) -> String {
        table_file_name(self.number, self.file)
    }

    /// Versions that are values: what capacities count.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.entries - self.tombstones
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.tombstones > self.entries {
            return Err("a table's tombstones are among its entries");
        }
        if self.hidden > self.entries {
            return Err("a table's hidden versions are among its entries");
        }
        if self.lowest > self.highest {
            return Err("a table's lowest LSN is not above its highest");
        }
        Ok(())
    }
}

/// `<number>-<file uid>.tbl`.
#[must_use]
pub fn table_file_name(number: TableNo, file: FileUid) -> String {
    format!("{number}-{file}.tbl")
}

/// The number and uid of the table whose file name is exactly `name`; `None` for any other name.
#[must_use]
pub fn parse_table_file_name(name: &str) -> Option<(TableNo, FileUid)> {
    let (number, file) = name.strip_suffix(".tbl")?.split_once('-')?;
    Some((TableNo::from_raw(padded_number(number)?), FileUid::parse(file)?))
}

/// Live tables by tier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// In age order, the oldest first; ranges may overlap. At most [`HOT_TABLES_MAX`].
    pub hot: Vec<TableEntry>,
    /// By key; ranges are disjoint.
    pub warm: Vec<TableEntry>,
    /// By key; ranges are disjoint.
    pub cold: Vec<TableEntry>,
}

impl Tables {
    /// The tables of `tier`.
    #[must_use]
    pub fn tier(&self, tier: Tier) -> &[TableEntry] {
        match tier {
            Tier::Hot => &self.hot,
            Tier::Warm => &self.warm,
            Tier::Cold => &self.cold,
        }
    }

    fn tier_mut(&mut self, tier: Tier) -> &mut Vec<TableEntry> {
        match tier {
            Tier::Hot => &mut self.hot,
            Tier::Warm => &mut self.warm,
            Tier::Cold => &mut self.cold,
        }
    }

    /// All of them, tier by tier.
    pub fn iter(&self) -> impl Iterator<Item = (Tier, &TableEntry)> {
        Tier::ALL.into_iter().flat_map(|tier| self.tier(tier).iter().map(move |t| (tier, t)))
    }

    /// The table `file` of `tier`.
    #[must_use]
    pub fn find(&self, tier: Tier, file: FileUid) -> Option<&TableEntry> {
        self.tier(tier).iter().find(|t| t.file == file)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hot.len() + self.warm.len() + self.cold.len()
    }

    /// The table goes to the newest end of hot, or to its place by key.
    pub(super) fn add(&mut self, tier: Tier, entry: TableEntry) {
        let tables = self.tier_mut(tier);
        let at = match tier {
            Tier::Hot => tables.len(),
            Tier::Warm | Tier::Cold => tables.partition_point(|t| t.range.lower() < entry.range.lower()),
        };
        tables.insert(at, entry);
    }

    pub(super) fn drop(&mut self, tier: Tier, file: FileUid) {
        let at = self.position(tier, file);
        let range = self.tier(tier)[at].range.clone();
        self.assert_oldest(tier, at, &range);
        self.tier_mut(tier).remove(at);
    }

    /// Nothing of the table stays anywhere, so no key of it leaves before an older version: unlike [`Tables::drop`].
    pub(super) fn remove(&mut self, tier: Tier, file: FileUid) {
        let at = self.position(tier, file);
        self.tier_mut(tier).remove(at);
    }

    /// Of the table `entry.file` only what `entry` says is left.
    pub(super) fn trim(&mut self, tier: Tier, entry: TableEntry) {
        let at = self.position(tier, entry.file);
        let old = &self.tier(tier)[at];
        let rest = old.range.starting_at(entry.range.lower());
        assert_eq!(rest.as_ref(), Some(&entry.range), "a table is trimmed from its lower end on");
        let fewer = entry.entries <= old.entries && entry.bytes <= old.bytes;
        assert!(fewer, "trimming a table leaves no more than it held");
        let same = (old.number, old.origin, old.len, old.footer_crc)
            == (entry.number, entry.origin, entry.len, entry.footer_crc);
        assert!(same, "trimming changes no file");
        if let Some(taken) = old.range.ending_at(entry.range.lower()) {
            self.assert_oldest(tier, at, &taken);
        }
        self.tier_mut(tier)[at] = entry;
    }

    /// The neighbouring hot tables `old`, named oldest first, become `new`, with the same place in age order.
    pub(super) fn merge_hot(&mut self, old: &[FileUid], new: &[TableEntry]) {
        let first = self.position(Tier::Hot, *old.first().expect("a merge has inputs"));
        let run = self.hot[first..].iter().map(|t| t.file).take(old.len());
        assert!(run.eq(old.iter().copied()), "hot tables that merge are neighbours in age");
        self.hot.splice(first..first + old.len(), new.iter().cloned());
        if crate::mutants::on("merged-table-is-newest") {
            self.hot[first..].rotate_left(new.len());
        }
    }

    /// The tables become the oldest of hot.
    pub(super) fn add_oldest(&mut self, entries: &[TableEntry]) {
        let disjoint = entries.windows(2).all(|w| w[0].range.ends_by(w[1].range.lower()));
        assert!(disjoint, "what stays of a run is sorted and disjoint");
        self.hot.splice(0..0, entries.iter().cloned());
    }

    /// The table becomes the one right above `above` in the age order of hot, or the oldest one.
    pub(super) fn add_above(&mut self, above: Option<FileUid>, entry: TableEntry) {
        let mut at = above.map_or(0, |file| self.position(Tier::Hot, file) + 1);
        if crate::mutants::on("promoted-table-is-newest") {
            at = self.hot.len();
        }
        self.hot.insert(at, entry);
    }

    fn position(&self, tier: Tier, file: FileUid) -> usize {
        self.tier(tier).iter().position(|t| t.file == file).expect("an edit names a live table")
    }

    /// Keys of `taken` leave the hot table at `at`: no older table may keep any, or an older version would stay above a
    /// newer one.
    fn assert_oldest(&self, tier: Tier, at: usize, taken: &KeyRange) {
        if tier == Tier::Hot {
            let older = self.hot[..at].iter().any(|t| t.range.overlaps(taken));
            assert!(!older, "keys leave the hot tier from its oldest tables");
        }
    }

    pub(super) fn check(&self, next: TableNo) -> Result<(), &'static str> {
        if self.count() > TABLES_MAX || self.hot.len() > HOT_TABLES_MAX {
            return Err("more tables than the limit");
        }
        self.iter().try_for_each(|(_, t)| t.check())?;
        for run in [&self.warm, &self.cold] {
            if run.windows(2).any(|w| !w[0].range.ends_by(w[1].range.lower())) {
                return Err("the tables of a run are sorted and disjoint");
            }
        }
        let mut numbers: Vec<_> = self.iter().map(|(_, t)| t.number).collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|w| w[0] == w[1]) || numbers.last().is_some_and(|&n| n >= next) {
            return Err("table numbers are given once, and the next one is higher than all that exist");
        }
        let mut files: Vec<_> = self.iter().map(|(_, t)| t.file).collect();
        files.sort_unstable();
        if files.windows(2).any(|w| w[0] == w[1]) {
            return Err("a file is one table");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u64, lower: &str, upper: &str) -> TableEntry {
        TableEntry {
            number: TableNo::from_raw(number),
            file: FileUid::from_raw(100 + number),
            origin: SpaceUid([1; 16]),
            len: 4096,
            footer_crc: 1,
            range: KeyRange::new(lower.as_bytes(), Some(upper.as_bytes())).unwrap(),
            entries: 10,
            tombstones: 1,
            range_tombstones: 0,
            hidden: 0,
            bytes: 100,
            lowest: Lsn::from_raw(1),
            highest: Lsn::from_raw(9),
            priority: 0,
            touched_ms: 0,
        }
    }

    fn tables(hot: &[(u64, &str, &str)]) -> Tables {
        let mut t = Tables::default();
        hot.iter().for_each(|&(n, l, u)| t.add(Tier::Hot, table(n, l, u)));
        t
    }

    fn numbers(of: &[TableEntry]) -> Vec<u64> {
        of.iter().map(|t| t.number.raw()).collect()
    }

    #[test]
    fn hot_is_in_age_order_and_runs_are_in_key_order() {
        let mut t = tables(&[(1, "a", "m"), (2, "c", "d"), (3, "a", "z")]);
        t.merge_hot(&[FileUid::from_raw(101), FileUid::from_raw(102)], &[table(4, "a", "m")]);
        assert_eq!(numbers(&t.hot), [4, 3]);
        t.add(Tier::Warm, table(5, "m", "q"));
        t.add(Tier::Warm, table(6, "a", "m"));
        assert_eq!(numbers(&t.warm), [6, 5]);
        t.check(TableNo::from_raw(7)).unwrap();
        assert!(t.check(TableNo::from_raw(6)).is_err(), "a number above the next one");
        t.add(Tier::Warm, table(7, "l", "n"));
        assert!(t.check(TableNo::from_raw(8)).is_err(), "overlapping tables of a run");
    }

    #[test]
    fn an_older_table_only_holds_back_what_it_overlaps() {
        let mut t = tables(&[(1, "a", "m"), (2, "a", "m")]);
        for n in [1, 2] {
            t.trim(Tier::Hot, TableEntry { entries: 3, ..table(n, "k", "m") });
        }
        t.add(Tier::Hot, table(3, "a", "c"));
        t.drop(Tier::Hot, FileUid::from_raw(103));
        assert_eq!(numbers(&t.hot), [1, 2]);
    }

    #[test]
    #[should_panic(expected = "from its oldest tables")]
    fn a_newer_hot_table_never_leaves_before_an_older_one() {
        tables(&[(1, "a", "m"), (2, "c", "d")]).drop(Tier::Hot, FileUid::from_raw(102));
    }

    #[test]
    #[should_panic(expected = "from its oldest tables")]
    fn keys_of_a_newer_hot_table_never_leave_before_those_of_an_older_one() {
        tables(&[(1, "a", "m"), (2, "c", "z")])
            .trim(Tier::Hot, TableEntry { entries: 3, ..table(2, "d", "z") });
    }

    #[test]
    #[should_panic(expected = "neighbours in age")]
    fn hot_tables_that_merge_are_neighbours() {
        let mut t = tables(&[(1, "a", "m"), (2, "c", "d"), (3, "a", "z")]);
        t.merge_hot(&[FileUid::from_raw(101), FileUid::from_raw(103)], &[table(4, "a", "z")]);
    }

    #[test]
    fn a_promoted_table_lies_right_above_those_that_its_look_saw() {
        let mut t = tables(&[(1, "a", "m"), (2, "c", "d"), (3, "a", "z")]);
        t.add_above(Some(FileUid::from_raw(102)), table(4, "b", "c"));
        t.add_above(None, table(5, "b", "c"));
        assert_eq!(numbers(&t.hot), [5, 1, 2, 4, 3]);
    }

    #[test]
    fn file_names_are_read_only_as_they_are_written() {
        let name = table(12, "a", "b").file_name();
        assert_eq!(name, "0000000000000012-0000000000000070.tbl");
        assert_eq!(parse_table_file_name(&name), Some((TableNo::from_raw(12), FileUid::from_raw(112))));
        for bad in [
            "12-70.tbl",
            "0000000000000012-0000000000000070.wal",
            "0000000000000012-0000000000000070",
            ".tbl",
        ] {
            assert_eq!(parse_table_file_name(bad), None);
        }
    }
}
