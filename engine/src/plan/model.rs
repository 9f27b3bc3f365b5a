//! A space as plain maps, for tests: what tables hold, what jobs do to it, and what a reader sees. It shares with the
//! engine the types of plans and versions and nothing else; merging is done here by looking at everything.
use super::{Below, MergePlan, MovePlan, Moved, Take};
use crate::config::Amount;
use crate::ids::{FileUid, Lsn, SpaceUid, TableNo};
use crate::key::KeyRange;
use crate::manifest::{TableEntry, Tier, Version};
use crate::table::{Extent, RangeTombstone};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A table entry for tests of decisions.
pub fn entry(number: u64, lower: &str, upper: &str, entries: u64, bytes: u64) -> TableEntry {
    TableEntry {
        number: TableNo::from_raw(number),
        file: FileUid::from_raw(number),
        origin: SpaceUid([0; 16]),
        len: bytes + 100,
        footer_crc: 0,
        range: KeyRange::new(lower.as_bytes(), Some(upper.as_bytes())).expect("a range"),
        entries,
        tombstones: 0,
        range_tombstones: 0,
        hidden: 0,
        bytes,
        lowest: Lsn::ZERO,
        highest: Lsn::ZERO,
        priority: 0,
        touched_ms: 0,
    }
}

/// A version of one key: its LSN, and whether it is a value. The value is the LSN.
pub type Point = (Vec<u8>, u64, bool);
/// A range delete: from, to and LSN.
pub type Span = (Vec<u8>, Vec<u8>, u64);

/// What a memtable or table holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pub points: Vec<Point>,
    pub spans: Vec<Span>,
}

impl Content {
    /// What of it lies in `range`.
    pub fn clip(&self, range: &KeyRange) -> Content {
        let points = self.points.iter().filter(|p| range.contains(&p.0)).cloned().collect();
        let spans = self.spans.iter().filter_map(|(from, to, lsn)| {
            let part = KeyRange::new(from, Some(to))?.intersection(range)?;
            Some((part.lower().to_vec(), part.upper()?.to_vec(), *lsn))
        });
        Content { points, spans: spans.collect() }
    }

    fn add(&mut self, other: Content) {
        self.points.extend(other.points);
        self.spans.extend(other.spans);
        self.points.sort();
        self.points.dedup();
        self.spans.sort();
        self.spans.dedup();
    }

    /// Every version of `key`, range deletes that cover it among them.
    pub fn versions(&self, key: &[u8]) -> Vec<(u64, bool)> {
        let points = self.points.iter().filter(|p| p.0 == key).map(|p| (p.1, p.2));
        let spans = self.spans.iter().filter(|(from, to, _)| &from[..] <= key && key < &to[..]);
        let mut all: Vec<_> = points.chain(spans.map(|s| (s.2, false))).collect();
        all.sort_unstable();
        all
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self.points.iter().map(|p| p.0.clone()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    pub fn amount(&self) -> Amount {
        let bytes = self.points.iter().map(|p| p.0.len() as u64 + if p.2 { 8 } else { 0 }).sum();
        Amount { entries: self.points.iter().filter(|p| p.2).count() as u64, bytes }
    }

    /// Drops what no reader at `floor` or above asks for, knowing what lies below.
    fn collect(&mut self, floor: u64, below: &Below) {
        let all = self.clone();
        self.points.retain(|(key, lsn, value)| {
            let seen = all.versions(key).into_iter().rev().find(|v| v.0 <= floor);
            let newest = seen.is_none_or(|(seen, _)| *lsn >= seen);
            let nothing_to_hide = !value && *lsn <= floor && !below.may_hold(key);
            newest && !nothing_to_hide
        });
        self.spans.retain(|(from, to, lsn)| {
            let range = KeyRange::new(from, Some(to)).expect("a span");
            *lsn > floor || below.may_hold_in(&range)
        });
    }

    /// The highest priority of its values.
    fn priority(&self, weights: Weights) -> i32 {
        self.points.iter().map(|p| if p.2 { weights.of(&p.0, p.1) } else { 0 }).max().unwrap_or(0)
    }

    fn entry(&self, version: &mut NewTables, range: KeyRange) -> TableEntry {
        let number = version.next;
        version.next = number.next();
        let lsns = || self.points.iter().map(|p| p.1).chain(self.spans.iter().map(|s| s.2));
        let amount = self.amount();
        TableEntry {
            number,
            file: FileUid::from_raw(1000 + number.raw()),
            origin: SpaceUid([0; 16]),
            len: 512,
            footer_crc: 0,
            range,
            entries: self.points.len() as u64,
            tombstones: self.points.len() as u64 - amount.entries,
            range_tombstones: self.spans.len() as u64,
            hidden: self.points.iter().filter(|p| self.points.iter().any(|o| o.0 == p.0 && o.1 > p.1)).count()
                as u64,
            bytes: amount.bytes,
            lowest: Lsn::from_raw(lsns().min().unwrap_or(0)),
            highest: Lsn::from_raw(lsns().max().unwrap_or(0)),
            priority: self.priority(version.weights),
            touched_ms: version.now_ms,
        }
    }

    fn range(&self) -> Option<KeyRange> {
        let points = self.points.iter().map(|p| KeyRange::covering(&p.0, &p.0));
        let spans = self.spans.iter().map(|s| KeyRange::covering_between(&s.0, Some(&s.1)));
        points.chain(spans).reduce(|a, b| a.union(&b))
    }
}

/// Numbers of tables being written, the time, and what entries weigh.
pub struct NewTables {
    pub next: TableNo,
    pub now_ms: u64,
    pub weights: Weights,
}

/// Which priorities values have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    None,
    /// One that depends on the key, or on the commit.
    Some,
}

impl Weights {
    fn of(self, key: &[u8], lsn: u64) -> i32 {
        match (self, key[0] % 3) {
            (Weights::None, _) | (_, 0) => 0,
            (_, 1) => 5,
            _ => (lsn % 4) as i32 - 2,
        }
    }
}

/// Files by uid; a file never changes.
pub type Files = BTreeMap<FileUid, Content>;

/// What a version holds of a table.
pub fn live(files: &Files, t: &TableEntry) -> Content {
    files[&t.file].clip(&t.range)
}

/// The range tombstones of those of `open` that have some.
pub fn extents(files: &Files, open: &BTreeSet<FileUid>) -> BTreeMap<FileUid, Extent> {
    let tombstone = |(from, to, lsn): &Span| RangeTombstone {
        start: Bytes::copy_from_slice(from),
        end: Some(Bytes::copy_from_slice(to)),
        lsn: Lsn::from_raw(*lsn),
    };
    let spans = open.iter().map(|file| (*file, &files[file].spans)).filter(|(_, spans)| !spans.is_empty());
    spans.map(|(file, spans)| (file, Extent::new(None, spans.iter().map(tombstone).collect()))).collect()
}

/// One table of all of `content`; `None` if there is nothing.
pub fn write(files: &mut Files, new: &mut NewTables, content: Content) -> Option<TableEntry> {
    let entry = content.entry(new, content.range()?);
    files.insert(entry.file, content);
    Some(entry)
}

/// Tables of at most `most` keys each, cut at keys.
fn write_run(files: &mut Files, new: &mut NewTables, mut content: Content, most: usize) -> Vec<TableEntry> {
    let mut run = Vec::new();
    while let Some(cut) = content.keys().get(most).cloned() {
        let (head, tail) = (KeyRange::new(b"", Some(&cut)), KeyRange::new(&cut, None));
        run.extend(write(files, new, content.clip(&head.expect("below"))));
        content = content.clip(&tail.expect("above"));
    }
    run.extend(write(files, new, content));
    run
}

pub fn merge(
    files: &mut Files,
    v: &Version,
    plan: &MergePlan,
    floor: u64,
    new: &mut NewTables,
) -> Option<TableEntry> {
    let mut all = Content::default();
    for f in &plan.inputs {
        all.add(live(files, v.tables.find(Tier::Hot, *f).expect("an input")));
    }
    all.collect(floor, &plan.below);
    write(files, new, all)
}

/// Executes a move against `v`.
pub fn run_move(
    files: &mut Files,
    v: &Version,
    plan: &MovePlan,
    floor: u64,
    new: &mut NewTables,
    keys: usize,
) -> Moved {
    let inputs = |tier, of: &[FileUid]| {
        let mut all = Content::default();
        of.iter()
            .for_each(|f| all.add(live(files, v.tables.find(tier, *f).expect("an input")).clip(&plan.range)));
        all
    };
    let (upper, lower) = (inputs(plan.from, &plan.upper), inputs(plan.to, &plan.lower));
    let mut done = Moved::default();
    if plan.take == Take::All {
        // Up to the first key at which what may be taken is used up.
        let mut taken = Amount::default();
        for key in upper.keys() {
            if taken.entries >= plan.most.entries || taken.bytes >= plan.most.bytes {
                done.stop = Some(key);
                break;
            }
            let of_key = |p: &&Point| p.0 == key;
            let points = upper.points.iter().filter(of_key).cloned().collect();
            taken = taken.plus(Content { points, spans: Vec::new() }.amount());
        }
    }
    let taken = plan.taken(done.stop.as_deref());
    let (mut down, mut kept) = (upper.clip(&taken), Content::default());
    if plan.take == Take::Deletes {
        let all = down.clone();
        let goes = |key: &[u8]| all.versions(key).last().is_some_and(|v| !v.1 && v.0 <= floor);
        // What a range delete at or below the floor hides is gone before keys are told apart.
        down.points
            .retain(|p| !all.spans.iter().any(|s| s.2 <= floor && s.2 > p.1 && s.0 <= p.0 && p.0 < s.1));
        (down.points, kept.points) = down.points.into_iter().partition(|p| goes(&p.0));
        (down.spans, kept.spans) = down.spans.into_iter().partition(|s| s.2 <= floor);
    }
    down.add(lower.clip(&taken));
    down.collect(floor, &plan.below);
    done.moved = write_run(files, new, down, keys);
    done.kept = write_run(files, new, kept, if plan.from == Tier::Hot { usize::MAX } else { keys });
    for (tier, file) in
        plan.upper.iter().map(|f| (plan.from, f)).chain(plan.lower.iter().map(|f| (plan.to, f)))
    {
        let old = v.tables.find(tier, *file).expect("an input");
        let left =
            taken.upper().and_then(|end| old.range.starting_at(end)).filter(|_| old.range.overlaps(&taken));
        if let Some(range) = left {
            let counted = live(files, &TableEntry { range: range.clone(), ..old.clone() });
            let counts = counted.entry(
                &mut NewTables { next: old.number, now_ms: old.touched_ms, weights: new.weights },
                range,
            );
            let (lowest, highest, priority) = (old.lowest, old.highest, old.priority);
            done.rest.push(TableEntry { file: old.file, lowest, highest, priority, ..counts });
        }
    }
    done
}

/// The places of a space from the top: memory, hot from the newest on, warm, cold. Runs count as one.
pub fn places(files: &Files, v: &Version, memory: &[Content]) -> Vec<(Option<Tier>, Content)> {
    let mut all: Vec<_> = memory.iter().rev().map(|m| (None, m.clone())).collect();
    all.extend(v.tables.hot.iter().rev().map(|t| (Some(Tier::Hot), live(files, t))));
    for tier in [Tier::Warm, Tier::Cold] {
        let mut run = Content::default();
        v.tables.tier(tier).iter().for_each(|t| run.add(live(files, t)));
        all.push((Some(tier), run));
    }
    all
}

/// The first version at or below `lsn` from the top: what a reader takes.
pub fn first(places: &[(Option<Tier>, Content)], key: &[u8], lsn: u64) -> Option<(u64, bool, Option<Tier>)> {
    places.iter().find_map(|(tier, place)| {
        let found = place.versions(key).into_iter().rev().find(|v| v.0 <= lsn)?;
        Some((found.0, found.1, *tier))
    })
}
