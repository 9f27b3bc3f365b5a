//! Goal: a rewrite loses nothing that any reader sees, resurrects nothing, and keeps nothing that nobody can see.
//!
//! Method: a drawn history of puts, deletes and range deletes is dealt to tables by age, as flushes and migrations
//! would. Some neighbouring tables are rewritten for drawn snapshots and a drawn watermark. A naive model, which looks at
//! all versions of all tables, is asked what every reader sees before and after.
use super::tests::{Version, cut, fetch, id, open, walk};
use super::*;
use crate::ids::{Lsn, Priority};
use crate::key::KeyRange;
use crate::memtable::Direction;
use bytes::Bytes;
use proptest::prelude::*;

const TINY: Shape = Shape { block: 70, interval: 3, compression: Compression::Lz4, inline: 6 };

/// What a table holds: versions in order, range tombstones (start, end, LSN).
#[derive(Debug, Clone, Default)]
struct Content {
    versions: Vec<Version>,
    ranges: Vec<RangeTombstone>,
}

fn range(start: u8, end: u8, n: u64) -> RangeTombstone {
    let end = (end < 7).then(|| Bytes::copy_from_slice(&[end]));
    RangeTombstone { start: Bytes::copy_from_slice(&[start]), end, lsn: Lsn::from_raw(n) }
}

/// What a reader at `n` sees of `key` in tables that hold all of this.
fn visible(contents: &[Content], key: &[u8], n: u64) -> Option<Vec<u8>> {
    let versions = contents.iter().flat_map(|c| &c.versions).filter(|(k, m, _)| k == key && *m <= n);
    let (_, m, value) = versions.max_by_key(|(_, m, _)| *m)?;
    let mut ranges = contents.iter().flat_map(|c| &c.ranges);
    let hidden = ranges.any(|r| r.covers(key) && r.lsn.raw() <= n && r.lsn.raw() > *m);
    if hidden { None } else { value.clone() }
}

/// Says of every key what the tables below really hold.
struct Really<'a>(&'a [Content]);

impl Lower for Really<'_> {
    fn key(&self, key: &[u8]) -> Below {
        let mut all = self.0.iter().flat_map(|c| &c.versions);
        if all.any(|(k, ..)| k == key) { Below::MayHold } else { Below::Nothing }
    }
    fn range(&self, range: &RangeTombstone) -> Below {
        let mut all = self.0.iter().flat_map(|c| &c.versions);
        if all.any(|(k, ..)| range.covers(k)) { Below::MayHold } else { Below::Nothing }
    }
}

/// Rewrites these tables, newest first.
fn rewrite(inputs: &[Content], readers: Readers, lower: &dyn Lower, table: u64) -> Vec<Content> {
    let files: Vec<_> = inputs.iter().map(build_content).collect();
    let sources = files.iter().map(|file| {
        let cursor = Cursor::new(open(file, None, Keep::Root).unwrap());
        Bounded::begin(cursor, &KeyRange::all(), Direction::Ascending).unwrap()
    });
    let merge = Merge::new(Direction::Ascending, sources.collect());
    let ranges = inputs.iter().flat_map(|c| c.ranges.clone()).collect();
    let mut rewrite = Rewrite::new(merge, ranges, readers);
    // Few enough that some tables end for their range tombstones.
    let pace = Pace { drain: 100, table, extent: 1 + table as usize / 8 };
    let (mut outputs, mut file) = (Vec::new(), Vec::new());
    let mut builder = TableBuilder::new(id(), TINY);
    loop {
        let progress = rewrite.step(&mut builder, pace, lower).unwrap();
        match progress {
            Progress::Need { source, need } => {
                let table = open(&files[source], None, Keep::Root).unwrap();
                rewrite.feed(source, &fetch(&files[source], &table, need).unwrap()).unwrap();
            }
            Progress::NeedValue { source, need } => {
                let bytes = cut(&files[source], need.handle.offset, need.handle.len as usize);
                rewrite.feed_value(&bytes, &mut builder).unwrap();
            }
            Progress::Drain => file.extend_from_slice(&builder.take().bytes),
            Progress::Stop => panic!("nobody told it to stop"),
            Progress::Cut | Progress::Done => {
                let full = std::mem::replace(&mut builder, TableBuilder::new(id(), TINY));
                if !full.is_empty() {
                    let (out, meta) = full.finish();
                    file.extend_from_slice(&out.bytes);
                    outputs.push(read_content(&std::mem::take(&mut file).into(), meta.footer_crc));
                }
                if progress == Progress::Done {
                    return outputs;
                }
            }
        }
    }
}

fn build_content(content: &Content) -> Bytes {
    let mut builder = TableBuilder::new(id(), TINY);
    for (key, n, value) in &content.versions {
        let body = value.as_deref().map_or(Body::Delete, Body::Put);
        builder.add(Entry { key, lsn: Lsn::from_raw(*n), priority: Priority::default(), body });
    }
    content.ranges.iter().for_each(|r| builder.add_range(r.clone()));
    builder.finish().0.bytes.into()
}

fn read_content(file: &Bytes, crc: u32) -> Content {
    let table = open(file, Some(crc), Keep::Root).unwrap();
    let [versions, _] = walk(file, &table).unwrap();
    Content { versions, ranges: table.extent().tombstones().to_vec() }
}

/// Operations with rising LSNs: a key with a value or a delete, or a range delete.
#[derive(Debug, Clone)]
enum Op {
    Write(Vec<u8>, Option<Vec<u8>>),
    Range(u8, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let key = prop::collection::vec(0u8..4, 1..3);
    let value = prop::option::weighted(0.6, prop::collection::vec(any::<u8>(), 0..12));
    prop_oneof![
        8 => (key, value).prop_map(|(k, v)| Op::Write(k, v)),
        1 => (0u8..4, 1u8..4).prop_map(|(s, n)| Op::Range(s, s + n)),
    ]
}

/// A bound of a walk.
fn bound() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(0u8..5, 0..3))
}

/// Deals a history to tables by age, newest first: a new one begins after each LSN in `ends`.
fn deal(history: &[Op], ends: &[usize]) -> Vec<Content> {
    let mut tables = vec![Content::default()];
    for (i, op) in history.iter().enumerate() {
        let n = i as u64 + 1;
        let table = tables.last_mut().expect("there is one");
        match op {
            Op::Write(key, value) => table.versions.push((key.clone(), n, value.clone())),
            Op::Range(start, end) => table.ranges.push(range(*start, *end, n)),
        }
        if ends.contains(&(i + 1)) {
            tables.push(Content::default());
        }
    }
    for table in &mut tables {
        table.versions.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    }
    tables.reverse();
    tables
}

fn keys(contents: &[Content]) -> Vec<Vec<u8>> {
    let mut keys: Vec<_> = contents.iter().flat_map(|c| &c.versions).map(|(k, ..)| k.clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// So many range deletes lie in one stretch that no table could hold them all, with hardly a key between them.
#[test]
fn tables_end_where_they_have_as_many_range_tombstones_as_they_should() {
    let range = |n: u64| RangeTombstone {
        start: format!("{n:04}").into_bytes().into(),
        end: Some(format!("{n:04}x").into_bytes().into()),
        lsn: Lsn::from_raw(1000 + n),
    };
    let content = Content {
        versions: vec![(b"0030".to_vec(), 1, Some(vec![1])), (b"0555".to_vec(), 2, Some(vec![2]))],
        ranges: (0..500).map(range).collect(),
    };
    let readers = Readers::new(vec![Lsn::from_raw(5)], Lsn::from_raw(2000));
    let outputs = rewrite(std::slice::from_ref(&content), readers, &Below::MayHold, 8 * 400);
    let each = range(0).encoded_len();
    assert!(outputs.len() >= 500 * each / 450, "{} tables", outputs.len());
    for output in &outputs {
        let bytes: usize = output.ranges.iter().map(RangeTombstone::encoded_len).sum();
        assert!(bytes <= 401 + each, "{bytes} bytes of range tombstones in one table");
    }
    let all: Vec<_> = outputs.iter().flat_map(|o| o.ranges.clone()).collect();
    assert!(all == content.ranges, "each of them once, in order");
    let versions: Vec<_> = outputs.into_iter().flat_map(|o| o.versions).collect();
    assert_eq!(versions, content.versions);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_sees_a_difference(
        history in prop::collection::vec(op(), 1..60), ends in prop::collection::vec(1usize..60, 0..4),
        snapshots in prop::collection::vec(0u64..60, 0..4), durable in 0u64..60,
        first in 0usize..5, count in 1usize..5, knows in any::<bool>(), table in 1u64..400,
    ) {
        let tables = deal(&history, &ends);
        let first = first.min(tables.len() - 1);
        let last = (first + count).min(tables.len());
        let readers = Readers::new(snapshots.iter().map(|n| Lsn::from_raw(*n)).collect(), Lsn::from_raw(durable));
        let really = Really(&tables[last..]);
        let lower: &dyn Lower = if knows || last == tables.len() { &really } else { &Below::MayHold };
        let outputs = rewrite(&tables[first..last], readers, lower, table);
        for pair in outputs.windows(2) {
            let (Some(a), Some(b)) = (pair[0].versions.last(), pair[1].versions.first()) else { continue };
            prop_assert!(a.0 < b.0, "the outputs are a sorted run");
        }
        let kept = outputs.iter().map(|c| c.versions.len()).sum::<usize>();
        let given = tables[first..last].iter().map(|c| c.versions.len()).sum::<usize>();
        prop_assert!(kept <= given);
        let after: Vec<_> = tables[..first].iter().chain(&outputs).chain(&tables[last..]).cloned().collect();
        let newest = history.len() as u64 + 1;
        for key in keys(&tables) {
            for reader in snapshots.iter().copied().chain(durable.min(newest)..=newest) {
                prop_assert_eq!(visible(&after, &key, reader), visible(&tables, &key, reader), "{:?} at {}", key, reader);
            }
        }
    }

    #[test]
    fn a_rewrite_of_everything_keeps_what_is_live_and_nothing_else(history in prop::collection::vec(op(), 1..60), ends in prop::collection::vec(1usize..60, 0..4)) {
        let tables = deal(&history, &ends);
        let newest = history.len() as u64;
        let outputs = rewrite(&tables, Readers::new(Vec::new(), Lsn::from_raw(newest)), &Below::Nothing, 200);
        let found: Vec<_> = outputs.iter().flat_map(|c| &c.versions).map(|(k, _, v)| (k.clone(), v.clone())).collect();
        let live = keys(&tables).into_iter().map(|k| (k.clone(), visible(&tables, &k, newest)));
        prop_assert_eq!(found, live.filter(|(_, v)| v.is_some()).collect::<Vec<_>>());
        prop_assert!(outputs.iter().all(|c| c.ranges.is_empty()));
    }

    #[test]
    fn a_merge_goes_both_ways(history in prop::collection::vec(op(), 1..60), ends in prop::collection::vec(1usize..60, 0..4), from in 0u8..4, to in 1u8..4, low in bound(), high in bound()) {
        let tables = deal(&history, &ends);
        let range = KeyRange::new(&[from], Some(&[from + to])).unwrap();
        let (low, high) = (low.as_deref(), high.as_deref());
        let wanted = |key: &[u8]| range.contains(key) && low.is_none_or(|low| key >= low) && high.is_none_or(|high| key < high);
        let mut expected: Vec<_> = tables.iter().flat_map(|c| c.versions.clone()).filter(|(k, ..)| wanted(k)).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        for direction in [Direction::Ascending, Direction::Descending] {
            let files: Vec<_> = tables.iter().map(build_content).collect();
            let (first, last) = if direction == Direction::Ascending { (low, high) } else { (high, low) };
            let sources = files.iter().map(|file| {
                let cursor = Cursor::new(open(file, None, Keep::Root).unwrap());
                Bounded::between(cursor, &range, direction, first, last).unwrap()
            });
            let mut merge = Merge::new(direction, sources.collect());
            let mut found = Vec::new();
            let mut state = merge.state();
            loop {
                match state {
                    MergeStep::End => break,
                    MergeStep::Need { source, need } => {
                        let loaded = fetch(&files[source], merge.source(source).cursor().table(), need).unwrap();
                        state = merge.feed(source, &loaded).unwrap();
                    }
                    MergeStep::At => {
                        let view = merge.view().unwrap();
                        found.push((view.key.to_vec(), view.lsn.raw()));
                        state = merge.advance().unwrap();
                    }
                }
            }
            if direction == Direction::Descending {
                found.reverse();
            }
            prop_assert_eq!(found, expected.iter().map(|(k, n, _)| (k.clone(), *n)).collect::<Vec<_>>());
        }
    }
}
