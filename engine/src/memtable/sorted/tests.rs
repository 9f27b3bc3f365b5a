//! Goal: the map is one, whatever is done to it, and its fences and heads are what they are said to be. Method: small leaves
//! and branches, any steps, and a map of the standard library beside it.
use super::*;
use crate::key::common_prefix;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Small = Sorted<u32, 4, 3>;

#[derive(Debug, Clone)]
enum Step {
    Put(u16),
    Ascend(u16, u16),
    Descend(u16, u16),
    Remove(u16),
    Clear(u16, u16, u16),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..400u16;
    prop_oneof![
        6 => n().prop_map(Step::Put),
        2 => (n(), 1..40u16).prop_map(|(from, count)| Step::Ascend(from, count)),
        2 => (n(), 1..40u16).prop_map(|(from, count)| Step::Descend(from, count)),
        5 => n().prop_map(Step::Remove),
        1 => (n(), n(), 1..5u16).prop_map(|(from, to, every)| Step::Clear(from, to, every)),
    ]
}

/// Short ones and, of every third, one that is not kept in place.
fn key(n: u16) -> Vec<u8> {
    let mut key = n.to_be_bytes().to_vec();
    key.extend(vec![7; if n.is_multiple_of(3) { 30 } else { 0 }]);
    key
}

fn put(map: &mut Small, n: u16, value: u32) {
    let key = Key::from(&key(n)[..]);
    match map.find(&key) {
        Ok(place) => *map.at_mut(place) = value,
        Err(place) => map.insert(place, key, value),
    }
}

/// What the module says of the tree.
fn check(map: &Small) {
    let mut entries = 0;
    let mut last: Option<&Key> = None;
    assert_eq!(map.fences.keys.len(), map.branches.len());
    for (b, branch) in map.branches.iter().enumerate() {
        assert!(!branch.leaves.is_empty() && branch.leaves.len() <= 3);
        assert_eq!(branch.fences.keys.len(), branch.leaves.len());
        for (l, leaf) in branch.leaves.iter().enumerate() {
            assert!(leaf.len() > 0 && leaf.len() <= 4);
            let fence = |b: usize, l: usize| match map.branches[b].fences.keys.get(l) {
                Some(fence) if l > 0 => Some(fence),
                Some(_) => map.fences.keys.get(b).filter(|_| b > 0),
                None => map.fences.keys.get(b + 1),
            };
            let (lower, upper) = (fence(b, l), fence(b, l + 1));
            assert!(lower.is_none_or(|fence| last < Some(fence) && *fence <= leaf.entry(0).0));
            let share = lower.zip(upper).map_or(0, |(lower, upper)| common_prefix(lower, upper));
            leaf.check(share);
            for at in 0..leaf.len() {
                let (key, _) = leaf.entry(at);
                assert!(last < Some(key));
                last = Some(key);
            }
            entries += leaf.len();
        }
    }
    assert_eq!(map.len(), entries);
}

proptest! {
    #[test]
    fn it_is_a_map(steps in prop::collection::vec(step(), 0..200), bounds in prop::collection::vec((0..400u16, 0..400u16), 8)) {
        let (mut map, mut model) = (Small::default(), BTreeMap::<Vec<u8>, u32>::new());
        for (i, step) in steps.iter().enumerate() {
            let value = i as u32;
            match *step {
                Step::Put(n) => {
                    put(&mut map, n, value);
                    model.insert(key(n), value);
                }
                Step::Ascend(from, count) => (from..from + count).for_each(|n| {
                    put(&mut map, n, value);
                    model.insert(key(n), value);
                }),
                Step::Descend(from, count) => (from..from + count).rev().for_each(|n| {
                    put(&mut map, n, value);
                    model.insert(key(n), value);
                }),
                Step::Remove(n) => {
                    let key = key(n);
                    assert_eq!(map.remove(&Key::from(&key[..])), model.remove(&key));
                }
                Step::Clear(from, to, every) => {
                    let (from, to) = (key(from.min(to)), key(from.max(to)));
                    let keep = |v: &mut u32| {
                        *v += 1;
                        !v.is_multiple_of(u32::from(every))
                    };
                    map.retain_between(Bound::Included(&from), Bound::Excluded(&to), |_, v| keep(v));
                    model.retain(|k, v| !(from.clone()..to.clone()).contains(k) || keep(v));
                }
            }
            check(&map);
        }
        let all = map.range(Bound::Unbounded, Bound::Unbounded).map(|(k, v)| (k.to_vec(), *v));
        prop_assert_eq!(all.collect::<Vec<_>>(), model.clone().into_iter().collect::<Vec<_>>());
        for n in 0..440 {
            let key = key(n);
            prop_assert_eq!(map.get_bytes(&key), model.get(&key));
            prop_assert_eq!(map.get(&Key::from(&key[..])), model.get(&key));
        }
        for (a, b) in bounds {
            let (a, b) = (key(a.min(b)), key(a.max(b)));
            let ranges = [
                (Bound::Included(&a[..]), Bound::Excluded(&b[..])),
                (Bound::Excluded(&a[..]), Bound::Included(&b[..])),
                (Bound::Included(&a[..]), Bound::Included(&b[..])),
                (Bound::Excluded(&a[..]), Bound::Unbounded),
                (Bound::Unbounded, Bound::Excluded(&b[..])),
            ];
            for (lower, upper) in ranges {
                let expected: Vec<_> = model.range::<[u8], _>((lower, upper)).map(|(k, v)| (&k[..], v)).collect();
                let found: Vec<_> = map.range(lower, upper).map(|(k, v)| (&**k, v)).collect();
                prop_assert_eq!(&found, &expected);
                let mut back: Vec<_> = map.range(lower, upper).rev().map(|(k, v)| (&**k, v)).collect();
                back.reverse();
                prop_assert_eq!(&back, &expected);
                let mut both = map.range(lower, upper);
                let (mut ahead, mut behind) = (Vec::new(), Vec::new());
                while let Some((k, v)) = both.next() {
                    ahead.push((&**k, v));
                    behind.extend(both.next_back().map(|(k, v)| (&**k, v)));
                }
                ahead.extend(behind.into_iter().rev());
                prop_assert_eq!(&ahead, &expected);
            }
        }
    }
}

#[test]
fn what_is_written_in_order_fills_its_leaves_and_what_is_left_of_many_takes_few() {
    let mut map = Sorted::<u32>::default();
    let key = |n: u32| Key::from(&n.to_be_bytes()[..]);
    for n in 0..100_000 {
        let place = map.find(&key(n)).unwrap_err();
        map.insert(place, key(n), n);
    }
    let leaves = |map: &Sorted<u32>| map.branches.iter().map(|b| b.leaves.len()).sum::<usize>();
    assert_eq!(leaves(&map), 100_000usize.div_ceil(LEAF));
    let mut descending = Sorted::<u32>::default();
    for n in (0..64).chain((64..100_000).rev()) {
        let place = descending.find(&key(n)).unwrap_err();
        descending.insert(place, key(n), n);
    }
    assert!(leaves(&descending) <= 100_000 / LEAF + 2, "{} leaves", leaves(&descending));
    assert!(descending.branches.len() <= 2 + leaves(&descending) / (BRANCH / 2));
    // In an order in which no neighbours go one after the other.
    let scattered = (0..100_000_u64).map(|n| (n * 61_803 % 100_000) as u32);
    for n in scattered.filter(|n| n % 10 != 0) {
        assert_eq!(map.remove(&key(n)), Some(n));
    }
    let (pair, pair_of_leaves) = (LEAF * 3 / 4, BRANCH * 3 / 4);
    assert!(map.branches.len() <= 2 * leaves(&map) / pair_of_leaves + 1, "{} branches", map.branches.len());
    // The last leaf of a branch has no neighbour behind it.
    assert!(leaves(&map) <= 2 * 10_000 / pair + map.branches.len(), "{} leaves", leaves(&map));
}
