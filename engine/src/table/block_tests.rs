//! Blocks round-trip, are searched rightly, and never panic.
use super::*;
use proptest::prelude::*;

fn lsn(n: u64) -> Lsn {
    Lsn::from_raw(n)
}

type Version = (Vec<u8>, u64, Option<Vec<u8>>);

fn build(versions: &[Version], interval: usize) -> Bytes {
    let mut builder = BlockBuilder::new(interval);
    for (key, n, value) in versions {
        let body = value.as_deref().map_or(Placed::Delete, Placed::Inline);
        builder.add(key, lsn(*n), Priority::from_raw((*n % 3) as i32 - 1), body);
    }
    let (len, mut contents) = (builder.len(), Vec::new());
    builder.finish(&mut contents);
    assert_eq!(contents.len(), len);
    assert!(builder.is_empty());
    contents.into()
}

/// All entries of a block, read from the first on.
fn read(block: &Block) -> Result<Vec<Version>, Malformed> {
    let (mut at, mut before, mut key, mut found) = (block.first(), None, Vec::new(), Vec::new());
    while at < block.end() {
        let entry = block.follow(at, &mut key, before)?;
        let value = match &entry.body {
            RawBody::Delete => None,
            RawBody::Inline(range) => Some(block.slice(range.clone()).to_vec()),
            RawBody::Apart(apart) => Some(apart.len.to_be_bytes().to_vec()),
        };
        found.push((key.clone(), entry.lsn.raw(), value));
        (at, before) = (entry.next, Some(entry.lsn));
    }
    Ok(found)
}

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let key = || prop::collection::vec(prop::sample::select(vec![0u8, 1, 255]), 1..12);
    // Many that begin alike, beside some that do not.
    let key = prop_oneof![key(), key().prop_map(|key| [&[0; 5][..], &key].concat())];
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
    let lsn = prop_oneof![1u64..6, (1u64 << 50)..(1 << 50) + 3, Just(u64::MAX)];
    prop::collection::btree_map((key, lsn.prop_map(std::cmp::Reverse)), value, 1..40)
        .prop_map(|map| map.into_iter().map(|((k, n), v)| (k, n.0, v)).collect())
}

proptest! {
    #[test]
    fn a_block_round_trips_and_finds_what_comes_first(
        versions in versions(), interval in 1usize..20, sought in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 255]), 0..12), n in 0u64..7,
    ) {
        let block = Block::new(build(&versions, interval)).unwrap();
        prop_assert_eq!(&read(&block).unwrap(), &versions);
        let placed = block.clone().with_places();
        prop_assert!(placed.places.as_ref().is_some_and(|places| places.memory() >= 8 * versions.len()));
        let ask = |key: &[u8], n: u64| {
            let hit = block.find(key, lsn(n)).unwrap();
            let again = placed.find(key, lsn(n)).unwrap();
            assert_eq!(
                hit.as_ref().map(|hit| (hit.same_key, hit.entry.at)),
                again.map(|hit| (hit.same_key, hit.entry.at)),
                "{key:?} at {n}"
            );
            let expected = versions.iter().find(|(k, m, _)| (&k[..], std::cmp::Reverse(*m)) >= (key, std::cmp::Reverse(n)));
            let found = hit.map(|hit| (hit.same_key, hit.entry.lsn.raw()));
            (found, expected.map(|(k, m, _)| (k == key, *m)))
        };
        let (found, expected) = ask(&sought, n);
        prop_assert_eq!(found, expected);
        for (key, m, _) in &versions {
            for n in [*m, m - 1, n] {
                let (found, expected) = ask(key, n);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic(versions in versions(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut contents = build(&versions, 3).to_vec();
        for (at, b) in changes {
            let at = at.index(contents.len());
            contents[at] = b;
        }
        if let Ok(block) = Block::new(contents.into()) {
            let _ = read(&block);
            let placed = block.clone().with_places();
            for (key, n, _) in &versions {
                let _ = (block.find(key, lsn(*n)), placed.find(key, lsn(*n)));
                let _ = block.restart_before(key, lsn(*n));
            }
            let _ = block.restart_in_front_of(block.end());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3], 0..80)) {
        if let Ok(block) = Block::new(bytes.into()) {
            let _ = read(&block);
            let _ = (block.find(b"ab", lsn(1)), block.with_places().find(b"ab", lsn(1)));
        }
    }

    #[test]
    fn the_common_prefix_is_the_longest(a in prop::collection::vec(0u8..2, 0..30), b in prop::collection::vec(0u8..2, 0..30)) {
        let n = common_prefix(&a, &b);
        prop_assert!(a[..n] == b[..n] && (n == a.len() || n == b.len() || a[n] != b[n]));
    }
}

/// Places of entries of a few bytes would take more memory than the entries.
#[test]
fn a_block_of_very_many_entries_is_searched_without_their_places() {
    let versions: Vec<_> =
        (0..TABLE_PLACES_MAX as u64 + 1).rev().map(|n| (b"k".to_vec(), n + 1, None)).collect();
    for (versions, keeps) in [(&versions[1..], true), (&versions[..], false)] {
        let block = Block::new(build(versions, 16)).unwrap();
        let placed = block.clone().with_places();
        assert!(placed.has_places() && !block.has_places());
        assert_eq!(placed.memory() >= block.memory() + 8 * versions.len(), keeps);
        let found = placed.find(b"k", lsn(7)).unwrap().unwrap();
        assert!(found.same_key && found.entry.lsn == lsn(7));
    }
}

#[test]
fn reserved_kinds_are_refused() {
    let contents = build(&[(b"k".to_vec(), 4, Some(b"v".to_vec()))], 1);
    assert_eq!(contents[FIRST], PUT);
    for kind in (0..=255u8).filter(|k| !matches!(k, 1 | 2)) {
        let mut other = contents.to_vec();
        other[FIRST] = kind;
        assert!(read(&Block::new(other.into()).unwrap()).is_err(), "{kind:#x}");
    }
}

#[test]
fn entries_out_of_order_are_refused() {
    let put = |key: &[u8], n| (key.to_vec(), n, Some(Vec::new()));
    for wrong in [[put(b"b", 1), put(b"a", 1)], [put(b"a", 1), put(b"a", 2)], [put(b"a", 1), put(b"a", 1)]] {
        for interval in [1, 2] {
            assert_eq!(read(&Block::new(build(&wrong, interval)).unwrap()), Err(UNORDERED));
        }
    }
}

#[test]
fn a_value_apart_is_named_and_not_held() {
    let apart = Apart { handle: Handle { offset: 1 << 40, len: 9_000, crc: 0xdead_beef }, len: 50_000 };
    let mut builder = BlockBuilder::new(4);
    builder.add(b"big", lsn(7), Priority::default(), Placed::Apart(apart));
    let mut contents = Vec::new();
    builder.finish(&mut contents);
    let block = Block::new(contents.into()).unwrap();
    let entry = block.entry(block.first()).unwrap();
    assert_eq!(block.slot(&entry.body), Some(Slot::Apart(apart)));
}
