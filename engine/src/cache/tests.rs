//! Goal: what is guaranteed to a space stays with it, and every byte is accounted for. Method: random calls of many spaces
//! against the rules said once more.
use super::*;
use crate::codec::mix;
use crate::table::open::Loaded;
use proptest::prelude::*;

const BUDGET: u64 = 256 * 1024;
const SHARE: u64 = 24 * 1024;
/// What a piece costs beyond its own bytes.
const OVERHEAD: u64 = shelf::OVERHEAD as u64;

fn piece(groups: usize) -> Loaded {
    let filter = crate::table::filter::Filter::new(vec![0; 64 * groups].into());
    Loaded::Filter(filter.unwrap())
}

fn file(n: u64) -> FileUid {
    FileUid::from_raw(n)
}

impl Partition {
    fn pieces(&self) -> Vec<(shelf::Place, Use)> {
        self.held().shelf.lock().checked()
    }
    fn holds(&self, offset: u64) -> bool {
        self.pieces().iter().any(|(place, _)| *place == (file(1), offset))
    }
    /// Loads pieces of 4 KiB at these offsets.
    fn load(&self, offsets: std::ops::Range<u64>, by: Use) {
        for offset in offsets {
            if self.get(file(1), offset, by).is_none() {
                self.insert(file(1), offset, piece(64), by);
            }
        }
    }
}

fn check(cache: &Cache, partitions: &[Partition]) {
    let bytes: Vec<_> = partitions.iter().map(|p| p.usage().bytes).collect();
    partitions.iter().for_each(|p| drop(p.pieces()));
    assert_eq!(cache.used(), bytes.iter().sum::<u64>());
    assert!(cache.used() <= cache.budget());
    let mut expected: Vec<_> = partitions
        .iter()
        .filter(|p| p.usage().bytes > 0)
        .map(|p| (Reverse(Size::of(p.usage().bytes)), p.number))
        .collect();
    expected.sort();
    assert_eq!(cache.holders.lock().keys().copied().collect::<Vec<_>>(), expected);
}

#[derive(Debug, Clone)]
enum Call {
    Get { space: usize, offset: u64, by: Use },
    Insert { space: usize, offset: u64, groups: usize, by: Use },
    Forget { space: usize, file: u64 },
    Drop { space: usize },
}

fn call() -> impl Strategy<Value = Call> {
    let by = || prop::sample::select(vec![Use::Point, Use::Scan]);
    prop_oneof![
        20 => (0..4usize, 0..200u64, 1..500usize, by()).prop_map(|(space, offset, groups, by)| Call::Insert { space, offset, groups, by }),
        20 => (0..4usize, 0..200u64, by()).prop_map(|(space, offset, by)| Call::Get { space, offset, by }),
        1 => (0..4usize, 0..4u64).prop_map(|(space, file)| Call::Forget { space, file }),
        1 => (0..4usize).prop_map(|space| Call::Drop { space }),
    ]
}

/// Makes the calls and says what was there after each.
fn play(calls: &[Call]) -> Vec<Vec<(shelf::Place, Use)>> {
    let cache = Cache::new(BUDGET, SHARE);
    let mut partitions: Vec<_> = (0..4).map(|_| cache.partition()).collect();
    let mut after = Vec::new();
    for call in calls {
        let before: Vec<_> = partitions.iter().map(|p| p.usage().bytes).collect();
        let at = |offset| (file(offset % 4), offset);
        let space = match *call {
            Call::Get { space, offset, by } => {
                let found = partitions[space].get(at(offset).0, offset, by).is_some();
                assert_eq!(found, partitions[space].pieces().iter().any(|(place, _)| *place == at(offset)));
                space
            }
            Call::Insert { space, offset, groups, by } => {
                partitions[space].insert(at(offset).0, offset, piece(groups), by);
                space
            }
            Call::Forget { space, file: number } => {
                partitions[space].forget(file(number));
                assert!(partitions[space].pieces().iter().all(|((of, _), _)| *of != file(number)));
                space
            }
            Call::Drop { space } => {
                partitions[space] = cache.partition();
                space
            }
        };
        check(&cache, &partitions);
        let guaranteed = cache.guaranteed(partitions.iter().filter(|p| p.usage().bytes > 0).count() as u64);
        for (i, partition) in partitions.iter().enumerate() {
            let drops = matches!(call, Call::Forget { .. } | Call::Drop { .. }) && i == space;
            assert!(drops || partition.usage().bytes >= before[i].min(guaranteed), "{call:?} took from {i}");
        }
        after.extend(partitions.iter().map(Partition::pieces));
    }
    drop(partitions);
    assert_eq!(cache.used(), 0);
    assert!(cache.holders.lock().is_empty());
    after
}

proptest! {
    #[test]
    fn sums_are_exact_guarantees_hold_and_the_same_calls_evict_the_same(calls in prop::collection::vec(call(), 1..400)) {
        prop_assert_eq!(play(&calls), play(&calls));
    }

    #[test]
    fn a_scan_in_one_space_takes_nothing_of_anothers_share(
        scan in prop::collection::vec((0..3usize, 1..500usize), 1..600),
        mine in 1..6u64,
    ) {
        let cache = Cache::new(BUDGET, SHARE);
        let (me, others) = (cache.partition(), [cache.partition(), cache.partition(), cache.partition()]);
        // Both ways round: what is there stays, and what comes finds room.
        others[0].load(0..100, Use::Point);
        me.load(0..mine - 1, Use::Point);
        for (offset, (space, groups)) in scan.into_iter().enumerate() {
            others[space].insert(file(2), offset as u64, piece(groups), Use::Scan);
        }
        me.load(mine - 1..mine, Use::Scan);
        prop_assert!(cache.guaranteed(4) >= mine * (4096 + OVERHEAD), "otherwise this shows nothing");
        for offset in 0..mine {
            prop_assert!(me.holds(offset), "{} is gone", offset);
        }
    }
}

#[test]
fn a_scan_pushes_out_nothing_that_a_point_read_asked_for() {
    let cache = Cache::new(BUDGET, SHARE);
    let partition = cache.partition();
    partition.load(0..200, Use::Point);
    let points = partition.pieces();
    partition.load(1000..2000, Use::Scan);
    assert_eq!(partition.pieces(), points, "a full cache keeps nothing of a scan");
    drop(partition);

    let partition = cache.partition();
    partition.load(0..4, Use::Point);
    partition.load(100..110, Use::Scan);
    assert!(partition.get(file(1), 105, Use::Point).is_some());
    partition.load(1000..2000, Use::Scan);
    assert!((0..4).chain([105]).all(|offset| partition.holds(offset)));
    assert!(!partition.holds(104) && partition.holds(1999));
}

#[test]
fn what_is_read_often_outlives_what_is_read_once() {
    let cache = Cache::new(BUDGET, SHARE);
    let partition = cache.partition();
    for offset in (1000..4000).step_by(20) {
        partition.load(0..10, Use::Point);
        partition.load(offset..offset + 20, Use::Point);
    }
    assert!((0..10).all(|offset| partition.holds(offset)));
}

/// Where all pieces were read often the next in turn goes after a bounded number of looks.
#[test]
fn one_goes_also_where_all_have_earned_rounds() {
    let mut shelf = Shelf::new();
    for offset in 0..1000 {
        shelf.insert((file(1), offset), piece(1), Use::Point);
        for _ in 0..5 {
            shelf.get((file(1), offset), Use::Point);
        }
    }
    assert!(shelf.evict(0).is_some());
    let order = shelf.checked();
    assert_eq!((order.len(), order[0].0.1), (999, 65));
}

#[test]
fn a_space_that_reads_gets_what_an_idle_one_has_borrowed() {
    let cache = Cache::new(BUDGET, SHARE);
    let (idle, reads) = (cache.partition(), cache.partition());
    idle.load(0..100, Use::Point);
    reads.load(0..30, Use::Scan);
    assert!(reads.usage().bytes <= SHARE + 4096 + OVERHEAD, "a scan borrows only what is free");
    reads.load(0..100, Use::Point);
    assert!(reads.usage().bytes > BUDGET * 3 / 10, "{:?}", reads.usage());
    assert!(idle.usage().bytes > BUDGET / 2);
}

#[test]
fn what_is_too_large_and_what_is_there_already_is_not_taken_in() {
    let cache = Cache::new(BUDGET, SHARE);
    let partition = cache.partition();
    let most = (BUDGET / 8 - OVERHEAD) as usize / 64;
    partition.insert(file(1), 0, piece(most + 1), Use::Point);
    assert_eq!(cache.used(), 0);
    for _ in 0..2 {
        partition.insert(file(1), 0, piece(most), Use::Point);
        assert_eq!(cache.used(), 64 * most as u64 + OVERHEAD);
    }
    assert!(partition.get(file(1), 0, Use::Scan).is_some() && partition.get(file(2), 0, Use::Scan).is_none());
    let usage = partition.usage();
    assert_eq!((usage.pieces, usage.hits, usage.misses), (1, 1, 1));

    let none = Cache::new(0, SHARE).partition();
    none.load(0..10, Use::Point);
    assert_eq!(none.usage().bytes, 0);
}

/// A block that a scan has left is read by a lookup, which makes more of it.
#[test]
fn what_became_larger_takes_its_own_place_and_counts() {
    let cache = Cache::new(BUDGET, SHARE);
    let partition = cache.partition();
    let sizes = [(1, Use::Scan, 1), (3, Use::Point, 3), (2, Use::Point, 3)];
    for (groups, by, expected) in sizes {
        partition.insert(file(1), 0, piece(groups), by);
        assert_eq!(cache.used(), 64 * expected + OVERHEAD);
        check(&cache, std::slice::from_ref(&partition));
    }
    assert_eq!(partition.pieces(), [((file(1), 0), Use::Point)]);
    partition.load(1..200, Use::Point);
    partition.insert(file(1), 199, piece(100), Use::Point);
    assert!(cache.used() <= BUDGET, "room was made for what it became larger by");
}

#[test]
fn ten_thousand_spaces_share_one_cache() {
    let cache = Cache::new(16 << 20, 1 << 20);
    let partitions: Vec<_> = (0..10_000).map(|_| cache.partition()).collect();
    assert!(partitions.iter().all(|p| p.held.get().is_none()), "an idle one holds nothing");
    assert!(size_of::<Partition>() <= 40);
    for round in 0..3 {
        for (i, partition) in partitions.iter().enumerate() {
            let offset = mix(i as u64 + round) % 8;
            partition.load(offset..offset + 1, Use::Point);
        }
    }
    check(&cache, &partitions);
    assert!(cache.used() > (15 << 20));
    let most = partitions.iter().map(|p| p.usage().pieces).max();
    assert!(most <= Some(2), "those that hold the most give: {most:?}");
}

#[test]
fn sizes_are_in_order_and_exact_to_an_eighth() {
    let mut before = (0, Size::of(0));
    for bytes in (1..100_000).chain([1 << 40, u64::MAX - 1, u64::MAX]) {
        let size = Size::of(bytes);
        assert!(size >= before.1);
        if size > before.1 {
            before = (bytes, size);
        }
        assert!(bytes < 16 || bytes - before.0 <= before.0 / 8 + 1 || bytes >= 1 << 40, "{bytes}");
    }
}
