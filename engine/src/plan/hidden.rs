//! Tables that go at once, without a rewrite: those that range deletes hide from every reader, and those of nothing but
//! range deletes that hide nothing. The rule and its proof are in [`super`].
//!
//! Whether a range delete covers a table is told by the range tombstones of the tables above it, which only open tables
//! know. Where one is not open that could matter, a plan asks for a look first: its tables are opened, and change nothing.
use super::Facts;
use crate::ids::{FileUid, Lsn};
use crate::key::KeyRange;
use crate::manifest::{Edit, TableEntry, Tier, Version};
use crate::mutants;
use crate::table::Extent;
use bytes::Bytes;
use std::ops::ControlFlow;

/// Tables that one plan takes at most: they are held open for readers who came before.
const TABLES_AT_ONCE: usize = 64;
/// Range tombstones, one behind the other, that are looked at for one table. More of them cost more than they are worth
/// while others wait.
const STRETCHES_MAX: usize = 64;

/// Tables to be opened, or tables that go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FreePlan {
    /// Their range tombstones have to be known before anything can be said. Then nothing goes yet.
    pub look: Vec<(Tier, FileUid)>,
    pub tables: Vec<(Tier, FileUid)>,
    /// Bytes of files that go.
    pub frees: u64,
}

impl FreePlan {
    /// Whether all tables are still live.
    #[must_use]
    pub fn applies_to(&self, version: &Version) -> bool {
        self.tables.iter().all(|(tier, file)| version.tables.find(*tier, *file).is_some())
    }

    /// What becomes of the version.
    #[must_use]
    pub fn edits(&self) -> Vec<Edit> {
        self.tables.iter().map(|&(tier, file)| Edit::RemoveTable { tier, file }).collect()
    }
}

/// What hides a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// All of it, from every reader.
    Wholly,
    /// Nothing can be said while the floor is below this.
    NotBelow(Lsn),
    No,
}

/// What may go now, or is to be looked at for that.
#[must_use]
pub fn plan(f: &Facts<'_>) -> Option<FreePlan> {
    let floor =
        if mutants::on("hidden-table-goes-under-snapshots") { Lsn::from_raw(u64::MAX) } else { f.floor };
    let mut plan = FreePlan::default();
    each(f, |tier, t, above, below| {
        let goes = hides_nothing(t, below, floor) || hidden(f, t, above, floor) == Hidden::Wholly;
        if goes {
            plan.tables.push((tier, t.file));
            plan.frees += t.len;
        }
        if plan.tables.len() < TABLES_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if plan.tables.is_empty() {
        plan.look = unknown(f);
    }
    (!plan.tables.is_empty() || !plan.look.is_empty()).then_some(plan)
}

/// No table goes that has not gone yet while the floor is below this; without it none does however the floor moves.
#[must_use]
pub fn waits(f: &Facts<'_>) -> Option<Lsn> {
    let mut lowest: Option<Lsn> = None;
    each(f, |_, t, above, below| {
        let bare = t.highest > f.floor && hides_nothing(t, below, t.highest);
        let covered = match hidden(f, t, above, f.floor) {
            Hidden::NotBelow(at) => Some(at),
            Hidden::Wholly | Hidden::No => None,
        };
        let at = bare.then_some(t.highest).into_iter().chain(covered).min();
        lowest = lowest.into_iter().chain(at).min();
        ControlFlow::Continue(())
    });
    lowest
}

/// Tables that would go if no pin were below `durable`, and do not at the floor of now.
#[must_use]
pub fn held(f: &Facts<'_>, durable: Lsn) -> Vec<(Tier, FileUid)> {
    let mut held = Vec::new();
    if f.floor < durable {
        each(f, |tier, t, above, _| {
            // Only what some pin may see of it counts as held back.
            if t.entries > 0 && t.highest >= f.floor && hidden(f, t, above, durable) == Hidden::Wholly {
                held.push((tier, t.file));
            }
            ControlFlow::Continue(())
        });
    }
    held
}

/// Every table, with those above it that have range tombstones and those below it; of both, of sorted runs, only what
/// meets it. No table if none has range tombstones.
fn each<'a>(
    f: &Facts<'a>,
    mut look: impl FnMut(Tier, &'a TableEntry, &[&'a TableEntry], &[&'a [TableEntry]]) -> ControlFlow<()>,
) {
    let tables = &f.version.tables;
    let deletes = |t: &&TableEntry| t.range_tombstones > 0;
    if !tables.iter().any(|(_, t)| deletes(&t)) {
        return;
    }
    let mut above: Vec<&TableEntry> = Vec::new();
    for (i, t) in tables.hot.iter().enumerate().rev() {
        let below = [&tables.hot[..i], meeting(&tables.warm, t), meeting(&tables.cold, t)];
        if look(Tier::Hot, t, &above, &below).is_break() {
            return;
        }
        above.extend(Some(t).filter(deletes));
    }
    for t in &tables.warm {
        if look(Tier::Warm, t, &above, &[meeting(&tables.cold, t)]).is_break() {
            return;
        }
    }
    let hot = above.len();
    for t in &tables.cold {
        above.truncate(hot);
        above.extend(meeting(&tables.warm, t).iter().filter(deletes));
        if look(Tier::Cold, t, &above, &[]).is_break() {
            return;
        }
    }
}

/// The tables of a sorted run that overlap `t`.
fn meeting<'a>(run: &'a [TableEntry], t: &TableEntry) -> &'a [TableEntry] {
    let from = run.partition_point(|other| other.range.ends_by(t.range.lower()));
    let count = run[from..].iter().take_while(|other| other.range.overlaps(&t.range)).count();
    &run[from..from + count]
}

/// Whether `t` has nothing but range tombstones at or below `floor`, and nothing lies below that they could hide.
fn hides_nothing(t: &TableEntry, below: &[&[TableEntry]], floor: Lsn) -> bool {
    let meets = |run: &&[TableEntry]| run.iter().any(|other| other.range.overlaps(&t.range));
    t.entries == 0 && t.highest <= floor && !below.iter().any(meets)
}

/// Whether range tombstones of tables `above` cover all of `t`, each newer than all of it and at or below `floor`.
fn hidden(f: &Facts<'_>, t: &TableEntry, above: &[&TableEntry], floor: Lsn) -> Hidden {
    let matters = |other: &&&TableEntry| other.highest > t.highest && other.range.overlaps(&t.range);
    let known = |other: &&TableEntry| f.extents.get(&other.file).map(|extent| (other.range.clone(), *extent));
    let above: Vec<(KeyRange, &Extent)> = above.iter().filter(matters).filter_map(known).collect();
    if above.is_empty() {
        return Hidden::No;
    }
    let mut at = Bytes::copy_from_slice(t.range.lower());
    for _ in 0..STRETCHES_MAX {
        // The end of the range tombstone over this key that reaches farthest.
        let mut farthest: Option<Option<Bytes>> = None;
        let mut later: Option<Lsn> = None;
        for (range, extent) in above.iter().filter(|(range, _)| range.contains(&at)) {
            for tombstone in extent.over(&at).filter(|over| over.lsn > t.highest) {
                if tombstone.lsn > floor {
                    later = later.into_iter().chain([tombstone.lsn]).min();
                    continue;
                }
                // What lies beyond the range of its table does not count.
                let to = range.upper().map(Bytes::copy_from_slice);
                let end = match (&tombstone.end, to) {
                    (Some(end), Some(to)) => Some(end.min(&to).clone()),
                    (end, to) => end.clone().or(to),
                };
                farthest = Some(match farthest {
                    None => end,
                    Some(before) => before.and_then(|before| Some(before.max(end?))),
                });
            }
        }
        match (farthest, t.range.upper()) {
            (None, _) => return later.map_or(Hidden::No, Hidden::NotBelow),
            (Some(None), _) => return Hidden::Wholly,
            (Some(Some(end)), Some(upper)) if end[..] >= *upper => return Hidden::Wholly,
            (Some(Some(end)), _) => at = end,
        }
    }
    Hidden::No
}

/// Tables that are not open, with range tombstones of which some may be over what is older in tables below.
fn unknown(f: &Facts<'_>) -> Vec<(Tier, FileUid)> {
    let mut found = Vec::new();
    let is_known = |t: &TableEntry| f.extents.contains_key(&t.file) || f.looked.contains(&t.file);
    each(f, |tier, t, _, below| {
        let older = |other: &TableEntry| other.range.overlaps(&t.range) && other.highest < t.highest;
        if t.range_tombstones > 0 && !is_known(t) && below.iter().any(|run| run.iter().any(older)) {
            found.push((tier, t.file));
        }
        if found.len() < TABLES_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Amount, TierOptions, Tiers};
    use crate::manifest::Tables;
    use crate::plan::capacity::Puts;
    use crate::plan::model::entry;
    use crate::table::RangeTombstone;
    use std::collections::{BTreeMap, BTreeSet};

    fn table(number: u64, lower: &str, upper: &str, highest: u64) -> TableEntry {
        TableEntry { highest: Lsn::from_raw(highest), ..entry(number, lower, upper, 1, 10) }
    }

    /// A table with a few entries and these range tombstones: from, to, LSN.
    fn deleting(number: u64, ranges: &[(&str, &str, u64)]) -> (TableEntry, Extent) {
        let copy = |s: &str| Bytes::copy_from_slice(s.as_bytes());
        let tombstone = |&(from, to, lsn)| RangeTombstone {
            start: copy(from),
            end: Some(copy(to)),
            lsn: Lsn::from_raw(lsn),
        };
        let highest = ranges.iter().map(|r| r.2).max().unwrap();
        let t = TableEntry { range_tombstones: ranges.len() as u64, ..table(number, "a", "z", highest) };
        (t, Extent::new(None, ranges.iter().map(tombstone).collect()))
    }

    fn with<T>(tables: Tables, known: &[(FileUid, &Extent)], floor: u64, ask: impl Fn(&Facts<'_>) -> T) -> T {
        ask(&Facts {
            version: &Version { tables, ..Version::new() },
            tiers: &Tiers::new(TierOptions::default()).unwrap(),
            now_ms: 0,
            accessed: &BTreeMap::new(),
            barren: &BTreeSet::new(),
            apart: &BTreeSet::new(),
            extents: &known.iter().copied().collect(),
            looked: &BTreeSet::new(),
            memory: Amount::default(),
            floor: Lsn::from_raw(floor),
            wanted: &[],
            puts: Puts::Fit,
            released: &BTreeMap::new(),
        })
    }

    fn gone(plan: Option<FreePlan>) -> Vec<u64> {
        plan.map(|plan| plan.tables.iter().map(|(_, file)| file.raw()).collect()).unwrap_or_default()
    }

    #[test]
    fn what_newer_range_deletes_above_cover_all_of_goes_once_no_reader_is_below_them() {
        let (top, extent) = deleting(9, &[("c", "g", 20), ("g", "m", 22), ("p", "r", 30)]);
        let hot = vec![table(1, "c", "m", 19), table(2, "c", "n", 5), top, table(3, "d", "e", 5)];
        let warm = vec![table(4, "b", "d", 5), table(5, "d", "f", 20), table(6, "g", "h", 20)];
        let tables = Tables { hot, warm, cold: vec![table(7, "p", "q", 5)] };
        let known = [(FileUid::from_raw(9), &extent)];
        let goes = |floor| gone(with(tables.clone(), &known, floor, plan));
        assert_eq!(goes(19), [] as [u64; 0]);
        assert_eq!(goes(21), [] as [u64; 0], "two range deletes are over most");
        assert_eq!(goes(22), [1, 6], "not what reaches beyond, nor what is above, nor what is as new");
        assert_eq!(goes(30), [1, 6, 7]);
        let waits = |floor| with(tables.clone(), &known, floor, waits).map(Lsn::raw);
        assert_eq!([waits(19), waits(21), waits(22), waits(30)], [Some(20), Some(22), Some(30), None]);
        let held = |floor, durable| {
            let held = with(tables.clone(), &known, floor, |f| held(f, Lsn::from_raw(durable)));
            held.iter().map(|(_, file)| file.raw()).collect::<Vec<_>>()
        };
        assert_eq!((held(4, 30), held(4, 25)), (vec![1, 6, 7], vec![1, 6]));
        assert_eq!(
            (held(6, 30), held(30, 30)),
            (vec![1, 6], vec![]),
            "a pin above all of a table sees nothing"
        );
    }

    #[test]
    fn a_range_delete_beyond_what_is_left_of_its_table_hides_nothing() {
        let (top, extent) = deleting(9, &[("b", "m", 20)]);
        let top = TableEntry { range: KeyRange::new(b"e", Some(b"z")).unwrap(), ..top };
        let cold = vec![table(1, "c", "f", 5), table(2, "f", "g", 5)];
        let tables = Tables { hot: vec![top], cold, ..Tables::default() };
        assert_eq!(gone(with(tables, &[(FileUid::from_raw(9), &extent)], 50, plan)), [2]);
    }

    #[test]
    fn tables_that_are_not_open_are_looked_at_if_something_older_lies_below() {
        let (top, extent) = deleting(9, &[("b", "m", 20)]);
        let of = |older: u64, known: &[(FileUid, &Extent)]| {
            let tables =
                Tables { hot: vec![top.clone()], cold: vec![table(1, "c", "d", older)], ..Tables::default() };
            with(tables, known, 50, plan)
        };
        let look = FreePlan { look: vec![(Tier::Hot, FileUid::from_raw(9))], ..FreePlan::default() };
        assert_eq!(of(5, &[]), Some(look));
        assert_eq!(of(20, &[]), None);
        assert_eq!(of(20, &[(FileUid::from_raw(9), &extent)]), None);
        assert_eq!(gone(of(5, &[(FileUid::from_raw(9), &extent)])), [1]);
    }

    #[test]
    fn range_deletes_over_nothing_go_with_their_table() {
        let bare = |n| TableEntry { entries: 0, bytes: 0, ..deleting(n, &[("b", "m", 20)]).0 };
        let tables = Tables { hot: vec![bare(8)], warm: vec![table(4, "c", "d", 20)], ..Tables::default() };
        let goes = |tables: &Tables, floor| gone(with(tables.clone(), &[], floor, plan));
        assert_eq!(goes(&tables, 50), [] as [u64; 0], "it hides what is older in a table below");
        let tables = Tables { hot: vec![bare(8), bare(9)], ..Tables::default() };
        assert_eq!((goes(&tables, 19), goes(&tables, 20)), (vec![], vec![8]), "the lowest first");
        assert_eq!(with(tables, &[], 19, waits).map(Lsn::raw), Some(20));
    }
}
