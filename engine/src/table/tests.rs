//! Goal: a table says what was put into it, whatever its shape, and every flipped bit of it is found out.
//!
//! Method: build tables of drawn entries in small shapes, so that few entries make many blocks and leaves; read them
//! through a fetch that hands over just the bytes asked for, and compare with the list of entries.
use super::*;
use crate::ids::{FileUid, Lsn, Priority, SpaceUid};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

pub(super) fn id() -> TableId {
    TableId { origin: SpaceUid([5; 16]), file: FileUid::from_raw(77) }
}

/// Blocks of a few entries, and values apart from nine bytes on.
const TINY: Shape = Shape { block: 80, interval: 3, compression: Compression::Lz4, inline: 8 };

/// (key, LSN, value), in the order of tables.
pub(super) type Version = (Vec<u8>, u64, Option<Vec<u8>>);

/// The priority of versions with this LSN.
fn priority(n: u64) -> Priority {
    Priority::from_raw((n % 3) as i32 - 1)
}

fn build(shape: Shape, versions: &[Version], ranges: &[(u8, u8, u64)]) -> (Bytes, TableMeta) {
    let mut builder = TableBuilder::new(id(), shape);
    let mut file = Vec::new();
    for (key, n, value) in versions {
        let body = value.as_deref().map_or(Body::Delete, Body::Put);
        builder.add(Entry { key, lsn: Lsn::from_raw(*n), priority: priority(*n), body });
        if builder.pending() > 300 {
            let out = builder.take();
            assert_eq!(out.offset, file.len() as u64);
            file.extend_from_slice(&out.bytes);
        }
    }
    for &(start, end, n) in ranges {
        let key = |k: u8| Bytes::copy_from_slice(&[k]);
        builder.add_range(RangeTombstone {
            start: key(start),
            end: (end < 6).then(|| key(end)),
            lsn: Lsn::from_raw(n),
        });
    }
    let (out, meta) = builder.finish();
    assert_eq!(out.offset, file.len() as u64);
    file.extend_from_slice(&out.bytes);
    assert_eq!(file.len() as u64, meta.footer.len);
    (file.into(), meta)
}

pub(super) fn cut(file: &Bytes, offset: u64, len: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap().min(file.len());
    file.slice(start..file.len().min(start.saturating_add(len)))
}

pub(super) fn open(file: &Bytes, crc: Option<u32>, keep: Keep) -> Result<Arc<Table>, Damage> {
    let mut opener = Opener::new(id(), file.len() as u64, crc, keep);
    let mut opening = opener.begin()?;
    loop {
        match opening {
            Opening::Done(table) => return Ok(Arc::new(*table)),
            Opening::Read { offset, len } => opening = opener.feed(cut(file, offset, len))?,
        }
    }
}

/// What a fetch of `need` finds in `file`.
pub(super) fn fetch(file: &Bytes, table: &Table, need: Need) -> Result<Loaded, Damage> {
    table.admit(need, &cut(file, need.handle.offset, need.handle.len as usize))
}

pub(super) fn value(file: &Bytes, table: &Table, slot: Slot) -> Result<Bytes, Damage> {
    match slot {
        Slot::Inline(value) => Ok(value),
        Slot::Apart(apart) => table.value(apart, &cut(file, apart.handle.offset, apart.handle.len as usize)),
    }
}

/// A lookup, in pieces as they were read and in such as are kept for lookups.
fn get(file: &Bytes, table: &Table, key: &[u8], n: u64) -> Result<Found, Damage> {
    let look = |kept: fn(Loaded) -> Loaded| {
        let mut lookup = Lookup::new(key, Lsn::from_raw(n));
        let mut step = lookup.begin(table)?;
        loop {
            match step {
                Step::Done(found) => return Ok(found),
                Step::Need(need) => step = lookup.feed(table, &kept(fetch(file, table, need)?))?,
            }
        }
    };
    let found = look(|loaded| loaded);
    assert_eq!(found, look(Loaded::for_lookups));
    found
}

/// Takes a move of `cursor` to its end.
fn settle(file: &Bytes, cursor: &mut Cursor, mut step: Step<bool>) -> Result<bool, Damage> {
    loop {
        match step {
            Step::Done(there) => {
                assert_eq!(there, cursor.entry().is_some());
                return Ok(there);
            }
            Step::Need(need) => {
                let loaded = fetch(file, cursor.table(), need)?;
                step = cursor.feed(&loaded)?;
            }
        }
    }
}

fn at(file: &Bytes, cursor: &Cursor) -> Result<Option<Version>, Damage> {
    let Some(view) = cursor.entry() else { return Ok(None) };
    let value = view.value().map(|slot| value(file, cursor.table(), slot)).transpose()?;
    Ok(Some((view.key.to_vec(), view.lsn.raw(), value.map(|v| v.to_vec()))))
}

/// All entries, forwards and backwards.
pub(super) fn walk(file: &Bytes, table: &Arc<Table>) -> Result<[Vec<Version>; 2], Damage> {
    let mut cursor = Cursor::new(table.clone());
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let mut step = cursor.seek_first()?;
    while settle(file, &mut cursor, step)? {
        forwards.extend(at(file, &cursor)?);
        step = cursor.forward()?;
    }
    let mut step = cursor.seek_last()?;
    while settle(file, &mut cursor, step)? {
        backwards.extend(at(file, &cursor)?);
        step = cursor.back()?;
    }
    Ok([forwards, backwards])
}

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let key = prop::collection::vec(0u8..5, 1..5);
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..14));
    prop::collection::btree_map((key, (1u64..30).prop_map(std::cmp::Reverse)), value, 0..120)
        .prop_map(|map| map.into_iter().map(|((k, n), v)| (k, n.0, v)).collect())
}

fn ranges() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    prop::collection::vec((0u8..4, 1u8..4, 1u64..30), 0..4)
        .prop_map(|v| v.into_iter().map(|(s, n, l)| (s, s + n, l)).collect())
}

fn model(
    versions: &[Version],
    ranges: &[(u8, u8, u64)],
    key: &[u8],
    n: u64,
) -> Option<(u64, Option<Vec<u8>>)> {
    let entry = versions.iter().find(|(k, m, _)| k == key && *m <= n);
    let cover = ranges
        .iter()
        .filter(|(s, e, m)| &[*s][..] <= key && (*e >= 6 || key < &[*e][..]) && *m <= n)
        .map(|r| r.2)
        .max();
    match (entry, cover) {
        (Some((_, m, value)), cover) if cover.is_none_or(|c| *m >= c) => Some((*m, value.clone())),
        (_, cover) => cover.map(|c| (c, None)),
    }
}

const KEEPS: [Keep; 2] = [Keep::Root, Keep::Tail(1 << 20)];

proptest! {
    #[test]
    fn a_table_says_what_was_put_into_it(
        versions in versions(), ranges in ranges(), keys in prop::collection::vec(prop::collection::vec(0u8..6, 0..6), 1..20), n in 0u64..32,
    ) {
        for shape in [TINY, Shape::HOT] {
            let (file, meta) = build(shape, &versions, &ranges);
            for keep in KEEPS {
                let table = open(&file, Some(meta.footer_crc), keep).unwrap();
                prop_assert_eq!(table.footer(), &meta.footer);
                prop_assert_eq!(table.extent(), &meta.extent);
                let [forwards, mut backwards] = walk(&file, &table).unwrap();
                backwards.reverse();
                prop_assert_eq!(&forwards, &versions);
                prop_assert_eq!(&backwards, &versions);
                for key in keys.iter().chain(versions.iter().map(|(k, ..)| k)) {
                    let found = match get(&file, &table, key, n).unwrap() {
                        Found::Absent => None,
                        Found::Delete { lsn } => Some((lsn.raw(), None)),
                        Found::Put { lsn, value: slot, priority } => {
                            prop_assert_eq!(priority, super::tests::priority(lsn.raw()));
                            Some((lsn.raw(), Some(value(&file, &table, slot).unwrap().to_vec())))
                        }
                    };
                    prop_assert_eq!(found, model(&versions, &ranges, key, n));
                }
            }
        }
    }

    #[test]
    fn a_cursor_seeks_from_anywhere_to_anywhere(
        versions in versions(), seeks in prop::collection::vec((prop::collection::vec(0u8..6, 0..6), 0u64..32, any::<bool>(), prop::collection::vec(any::<bool>(), 0..8)), 1..12),
    ) {
        let (file, _) = build(TINY, &versions, &[]);
        for keep in KEEPS {
            let mut cursor = Cursor::new(open(&file, None, keep).unwrap());
            for (key, n, before, moves) in &seeks {
                let step = if *before { cursor.seek_before(key) } else { cursor.seek(key, Lsn::from_raw(*n)) };
                settle(&file, &mut cursor, step.unwrap()).unwrap();
                let behind = versions.iter().position(|(k, m, _)| (&k[..], std::cmp::Reverse(*m)) >= (&key[..], std::cmp::Reverse(*n)));
                let in_front = versions.iter().rposition(|(k, ..)| k < key);
                let mut expected = if *before { in_front } else { behind };
                prop_assert_eq!(at(&file, &cursor).unwrap(), expected.map(|i| versions[i].clone()));
                for forward in moves {
                    let Some(i) = expected else { break };
                    let step = if *forward { cursor.forward() } else { cursor.back() };
                    settle(&file, &mut cursor, step.unwrap()).unwrap();
                    expected = if *forward { (i + 1 < versions.len()).then_some(i + 1) } else { i.checked_sub(1) };
                    prop_assert_eq!(at(&file, &cursor).unwrap(), expected.map(|i| versions[i].clone()));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        prop_assert!(open(&bytes.into(), None, Keep::Root).is_err());
    }
}

/// Blocks that look all the same, so that what was remembered of one of them would pass for another's.
#[test]
fn a_cursor_remembers_nothing_of_another_block() {
    let shape = Shape { block: 160, interval: 16, ..TINY };
    let versions: Vec<Version> = (100..220u64).map(|i| (format!("{i}").into_bytes(), i, None)).collect();
    let (file, _) = build(shape, &versions, &[]);
    let table = open(&file, None, Keep::Tail(1 << 20)).unwrap();
    assert!(table.kept(0).unwrap().1.count() > 4, "entries of several blocks");
    let stand = |cursor: &Cursor| at(&file, cursor).unwrap().map(|version| version.1 - 100);
    for from in [30, 40, 55] {
        for (back, forward) in (1..12).flat_map(|back| (1..40).map(move |forward| (back, forward))) {
            let mut cursor = Cursor::new(table.clone());
            let step = cursor.seek(&versions[from].0, Lsn::from_raw(1000)).unwrap();
            settle(&file, &mut cursor, step).unwrap();
            let moves = [(false, back), (true, forward), (false, back)];
            let mut expected = from as u64;
            for forward in moves.into_iter().flat_map(|(forward, n)| std::iter::repeat_n(forward, n)) {
                let step = if forward { cursor.forward() } else { cursor.back() };
                settle(&file, &mut cursor, step.unwrap()).unwrap();
                expected = if forward { expected + 1 } else { expected - 1 };
                assert_eq!(stand(&cursor), Some(expected), "from {from}: {back} back, {forward} forward");
            }
            // The same key again, in a block that is at hand: what was passed on another way counts no more.
            let step = cursor.seek(&versions[from].0, Lsn::from_raw(1000)).unwrap();
            settle(&file, &mut cursor, step).unwrap();
            let step = cursor.back().unwrap();
            settle(&file, &mut cursor, step).unwrap();
            assert_eq!(stand(&cursor), Some(from as u64 - 1));
        }
    }
}

/// A snapshot may ask for a version that lies several leaves of the index behind the newest one.
#[test]
fn a_lookup_finds_every_version_of_a_key_whose_versions_fill_several_leaves() {
    const MANY: u64 = 12_000;
    let of = |key: &str, n: u64| (key.as_bytes().to_vec(), n, Some(n.to_string().into_bytes()));
    let versions: Vec<Version> = [of("a", 3)]
        .into_iter()
        .chain((2..MANY).rev().map(|n| of("key", n * 2)))
        .chain([of("z", 5)])
        .collect();
    let (file, _) = build(TINY, &versions, &[]);
    for keep in [Keep::Root, Keep::Tail(1 << 30)] {
        let table = open(&file, None, keep).unwrap();
        assert!(table.root().unwrap().count() > 2, "the versions of one key fill several leaves");
        for n in (0..2 * MANY + 3).rev().step_by(397) {
            let lsn = match get(&file, &table, b"key", n).unwrap() {
                Found::Put { lsn, .. } => Some(lsn.raw()),
                Found::Delete { .. } => panic!("nothing was deleted"),
                Found::Absent => None,
            };
            let newest = (n / 2).min(MANY - 1) * 2;
            assert_eq!(lsn, (newest >= 4).then_some(newest), "as of {n}");
        }
    }
}

fn small() -> (Bytes, TableMeta, Vec<Version>) {
    let versions: Vec<Version> = (0..30u64)
        .map(|i| {
            (format!("key/{:02}", i / 2).into_bytes(), 100 - i, (i % 5 > 0).then(|| vec![b'x'; i as usize]))
        })
        .collect();
    let (file, meta) = build(TINY, &versions, &[(1, 2, 7)]);
    (file, meta, versions)
}

/// Everything that can be read of a table.
fn read_all(file: &Bytes, crc: Option<u32>, keep: Keep) -> Result<[Vec<Version>; 2], Damage> {
    let table = open(file, crc, keep)?;
    let all = walk(file, &table)?;
    for (key, ..) in &all[0] {
        get(file, &table, key, 1000)?;
    }
    Ok(all)
}

#[test]
fn every_flipped_bit_of_a_table_is_found_out() {
    let (file, meta, versions) = small();
    assert_eq!(read_all(&file, Some(meta.footer_crc), Keep::Root).unwrap()[0], versions);
    for bit in 0..file.len() * 8 {
        let mut other = file.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        let other = Bytes::from(other);
        for keep in KEEPS {
            let damage = read_all(&other, Some(meta.footer_crc), keep).expect_err("a flipped bit");
            assert!(damage.offset <= (bit / 8) as u64, "bit {bit}: {damage}");
        }
    }
}

#[test]
fn every_cut_and_every_other_table_is_refused() {
    let (file, meta, _) = small();
    for cut in 0..file.len() {
        assert!(open(&file.slice(..cut), None, Keep::Root).is_err(), "{cut}");
    }
    for other in
        [TableId { origin: SpaceUid([6; 16]), ..id() }, TableId { file: FileUid::from_raw(78), ..id() }]
    {
        let mut opener = Opener::new(other, file.len() as u64, Some(meta.footer_crc), Keep::Root);
        let Ok(Opening::Read { offset, len }) = opener.begin() else { panic!("a footer is to be read") };
        assert!(opener.feed(cut(&file, offset, len)).is_err());
    }
    // Another generation of the same table, whole in itself, is not the one that the manifest names.
    assert!(open(&file, Some(meta.footer_crc ^ 1), Keep::Root).is_err());
}

#[test]
fn a_block_of_an_older_file_in_the_same_place_is_not_taken() {
    let (file, meta, versions) = small();
    let mut changed = versions.clone();
    changed[0].2 = Some(b"other".to_vec());
    changed[0].1 += 1;
    let (old, _) = build(TINY, &changed, &[(1, 2, 7)]);
    let first = u64::from_le_bytes(file[0..8].try_into().unwrap());
    assert_eq!(first, u64::from_le_bytes(old[0..8].try_into().unwrap()), "the same tag");
    let mut mixed = file.to_vec();
    let table = open(&file, Some(meta.footer_crc), Keep::Tail(1 << 20)).unwrap();
    let handle = table.kept(0).unwrap().1.child(0);
    mixed[..handle.len as usize].copy_from_slice(&old[..handle.len as usize]);
    assert!(read_all(&mixed.into(), Some(meta.footer_crc), Keep::Root).is_err());
}
