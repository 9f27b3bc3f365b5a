//! Goal: a memtable with range deletes reads as a plain list of what was done does. Method: random operations, pins,
//! watermarks and replays; after each, every key at every LSN that a reader may be at, single reads and scans both ways.
use super::{Direction, Hidden, Memtable, Progress, Replay, Underneath};
use crate::ids::{Lsn, Priority};
use bytes::Bytes;
use proptest::prelude::*;
use std::ops::Bound;

/// Keys are single bytes below this; bounds of ranges too.
const KEYS: u8 = 12;

#[derive(Debug, Clone)]
enum Change {
    Put(u8),
    Delete(u8),
    /// Without an end, to the end.
    Range(u8, Option<u8>),
    /// A range, then a put within the same commit.
    RangeAndPut(u8, Option<u8>, u8),
}

#[derive(Debug, Clone)]
enum Step {
    Do(Change),
    Pin,
    Unpin(usize),
    /// Some of the way to the last commit.
    Durable(u64),
}

fn range() -> impl Strategy<Value = (u8, Option<u8>)> {
    (0..KEYS, 1..KEYS).prop_map(|(from, n)| (from, Some(from + n).filter(|to| *to < KEYS)))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..KEYS).prop_map(Change::Put),
        1 => (0..KEYS).prop_map(Change::Delete),
        2 => range().prop_map(|(from, to)| Change::Range(from, to)),
        1 => (range(), 0..KEYS).prop_map(|((from, to), key)| Change::RangeAndPut(from, to, key)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => change().prop_map(Step::Do),
        1 => Just(Step::Pin),
        1 => (0..4usize).prop_map(Step::Unpin),
        2 => (0..4u64).prop_map(Step::Durable),
    ]
}

/// What was done to each key, at which LSN: a value is its LSN.
#[derive(Debug, Default)]
struct Done(Vec<(u64, u8, Option<u64>)>);

impl Done {
    fn note(&mut self, lsn: u64, change: &Change) {
        let mut delete =
            |from: u8, to: Option<u8>| self.0.extend((from..to.unwrap_or(KEYS)).map(|k| (lsn, k, None)));
        match *change {
            Change::Put(key) => self.0.push((lsn, key, Some(lsn))),
            Change::Delete(key) => self.0.push((lsn, key, None)),
            Change::Range(from, to) => delete(from, to),
            Change::RangeAndPut(from, to, key) => {
                delete(from, to);
                self.0.push((lsn, key, Some(lsn)));
            }
        }
    }

    /// The newest of what was done to `key` up to `lsn`.
    fn at(&self, key: u8, lsn: u64) -> Option<(u64, Option<u64>)> {
        self.0.iter().rfind(|(l, k, _)| *k == key && *l <= lsn).map(|(lsn, _, value)| (*lsn, *value))
    }
}

/// What is put at `lsn` has this one.
fn priority(lsn: u64) -> Priority {
    Priority::from_raw((lsn % 3) as i32 - 1)
}

fn apply(mem: &mut Memtable, lsn: u64, change: &Change) {
    mem.begin(Lsn::from_raw(lsn));
    let value = lsn.to_string().into_bytes();
    match *change {
        Change::Put(key) => mem.apply(&[key], Some(&value), priority(lsn)),
        Change::Delete(key) => mem.apply(&[key], None, Priority::default()),
        Change::Range(from, to) => mem.apply_range(&[from], to.as_ref().map(std::slice::from_ref)),
        Change::RangeAndPut(from, to, key) => {
            mem.apply_range(&[from], to.as_ref().map(std::slice::from_ref));
            mem.apply(&[key], Some(&value), priority(lsn));
        }
    }
}

/// What a reader at `lsn` finds is what was done; where something is underneath, also that it is deleted.
fn check(mem: &Memtable, done: &Done, underneath: Underneath, lsn: u64) {
    let at = Lsn::from_raw(lsn);
    let raw = |value: &[u8]| std::str::from_utf8(value).unwrap().parse::<u64>().unwrap();
    let hidden = Hidden::of(mem.hidden(Bound::Unbounded, Bound::Unbounded, at));
    for key in 0..KEYS {
        let found = mem.get(&[key], at).map(|seen| seen.map(|entry| (raw(&entry.value), entry)));
        for (value, entry) in found.iter().flatten() {
            assert_eq!((entry.lsn.raw(), entry.priority), (*value, priority(*value)), "key {key} at {lsn}");
        }
        let found = found.map(|seen| seen.map(|(value, _)| value));
        match (done.at(key, lsn), underneath) {
            (Some((_, None)), Underneath::Nothing) => assert_eq!(found.flatten(), None, "key {key} at {lsn}"),
            (expected, _) => assert_eq!(found, expected.map(|(_, value)| value), "key {key} at {lsn}"),
        }
    }
    for (from, to) in [(0, KEYS), (3, 9), (5, 6), (9, 3)] {
        let (from_key, to_key) = ([from], [to]);
        let (lower, upper) = (Bound::Included(&from_key[..]), Bound::Excluded(&to_key[..]));
        let keys = from..to;
        let mut expected: Vec<_> =
            keys.clone().map(|key| (key, done.at(key, lsn).and_then(|d| d.1))).collect();
        let part = Hidden::of(mem.hidden(lower, upper, at));
        for direction in [Direction::Ascending, Direction::Descending] {
            let found = mem.range(lower, upper, at, direction, usize::MAX);
            let values = found.iter().filter_map(|(key, seen)| Some((key[0], raw(seen.as_ref()?))));
            let values: Vec<_> = values.collect();
            let wanted: Vec<_> = expected.iter().filter_map(|(k, v)| Some((*k, (*v)?))).collect();
            assert_eq!(values, wanted, "at {lsn}, {direction:?}");
            for key in keys.clone() {
                // What lies underneath is seen unless something here hides it.
                let hides = hidden.find(&[key]).is_some() || found.iter().any(|(k, _)| k[0] == key);
                assert!(
                    hides || done.at(key, lsn).is_none() || underneath == Underneath::Nothing,
                    "key {key} at {lsn}"
                );
                assert_eq!(part.find(&[key]).is_some(), hidden.find(&[key]).is_some(), "key {key} at {lsn}");
                assert!(!hides || done.at(key, lsn).is_some(), "key {key} at {lsn}");
            }
            expected.reverse();
        }
    }
}

fn replayed(changes: &[(u64, Change)], underneath: Underneath, each: usize) -> Memtable {
    let mut replay = Replay::onto(underneath);
    for part in changes.chunks(each) {
        let mut bytes = Vec::new();
        for (lsn, change) in part {
            replay.begin(Lsn::from_raw(*lsn));
            let mut one = |key: u8, value: Option<u64>| {
                let value = value.map(|v| v.to_string().into_bytes());
                let priority = value.as_ref().map_or(Priority::default(), |_| priority(*lsn));
                replay.apply(bytes.len(), &[key], value.as_ref().map(Vec::len), priority);
                bytes.push(key);
                bytes.extend(value.into_iter().flatten());
            };
            match *change {
                Change::Put(key) => one(key, Some(*lsn)),
                Change::Delete(key) => one(key, None),
                Change::Range(from, to) => replay.apply_range(&[from], to.as_ref().map(std::slice::from_ref)),
                Change::RangeAndPut(from, to, key) => {
                    one(key, Some(*lsn));
                    replay.apply_range(&[from], to.as_ref().map(std::slice::from_ref));
                }
            }
        }
        replay.attach(Bytes::from(bytes));
        if each.is_multiple_of(2) {
            while replay.settle() == Progress::More {}
        }
    }
    while replay.settle() == Progress::More {}
    replay.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_memtable_with_range_deletes_reads_as_what_was_done(
        before in prop::collection::vec(change(), 0..20), steps in prop::collection::vec(step(), 0..50),
        each in 1..5usize, older: bool,
    ) {
        let underneath = if older { Underneath::Older } else { Underneath::Nothing };
        let mut done = Done::default();
        let before: Vec<_> = before.into_iter().zip(1..).map(|(change, lsn)| (lsn, change)).collect();
        before.iter().for_each(|(lsn, change)| done.note(*lsn, change));
        let mut last = before.len() as u64;
        let mut mem = replayed(&before, underneath, each);
        mem.begin_at(Lsn::from_raw(last));
        let (mut durable, mut pins) = (last, Vec::new());
        for step in &steps {
            match step {
                Step::Do(change) => {
                    last += 1;
                    apply(&mut mem, last, change);
                    done.note(last, change);
                }
                Step::Pin => {
                    mem.pin(Lsn::from_raw(last));
                    pins.push(last);
                }
                Step::Unpin(n) if !pins.is_empty() => {
                    let n = n % pins.len();
                    mem.unpin(Lsn::from_raw(pins.swap_remove(n)));
                }
                Step::Unpin(_) => {}
                Step::Durable(back) => {
                    durable = durable.max(last.saturating_sub(*back));
                    mem.set_durable(Lsn::from_raw(durable));
                }
            }
            pins.iter().copied().chain(durable..=last).for_each(|lsn| check(&mem, &done, underneath, lsn));
            for key in 0..KEYS {
                let newest = mem.newest(&[key]).map(|(lsn, value)| (lsn.raw(), value));
                let expected = done.at(key, last).map(|(lsn, value)| (lsn, value.is_some()));
                prop_assert!(newest == expected || newest.is_none() && expected.is_some_and(|e| !e.1), "{newest:?} {expected:?}");
            }
            let bounds = |start: usize, end: Option<usize>| super::entry_cost(start + end.unwrap_or(0), 0, Priority::default());
            let parts = mem.spans().iter().map(|(start, end, lsns)| {
                bounds(start.len(), end.map(|e| e.len())) + 16 * lsns.len() as u64
            });
            let waiting = mem.spans().waiting().map(|(start, end)| bounds(start.len(), end.as_ref().map(|e| e.len())));
            prop_assert_eq!(mem.spans().bytes(), parts.sum::<u64>() + waiting.sum::<u64>());
            let count: usize = mem.spans().iter().map(|(_, _, lsns)| lsns.len()).sum();
            prop_assert_eq!(mem.spans().count(), count as u64);
        }
        // An emptied memtable gives back everything, but for what it hides.
        pins.drain(..).for_each(|pin| mem.unpin(Lsn::from_raw(pin)));
        mem.begin(Lsn::from_raw(last + 1));
        mem.apply_range(&[], None);
        mem.set_durable(Lsn::from_raw(last + 1));
        let left = if older { super::entry_cost(0, 0, Priority::default()) + 16 } else { 0 };
        prop_assert_eq!((mem.bytes(), mem.holds().entries, mem.is_empty()), (left, 0, !older));
    }
}

/// Ranges deleted under a snapshot that lives on: memory took an LSN in every part for each of them, and the bounds of each
/// without being charged.
#[test]
fn ranges_deleted_again_under_an_old_snapshot_take_what_is_charged_and_no_more_lsns_than_readers_tell_apart()
{
    const PARTS: u64 = 100;
    let mut mem = Memtable::new().lies_on(Underneath::Older);
    let mut lsn = 0;
    let mut delete = |mem: &mut Memtable, start: &[u8], end: Option<&[u8]>| {
        lsn += 1;
        mem.begin(Lsn::from_raw(lsn));
        mem.apply_range(start, end);
        mem.set_durable(Lsn::from_raw(lsn));
    };
    for n in 0..PARTS {
        let bounds = [[n as u8, 0], [n as u8, 7]];
        delete(&mut mem, &bounds[0], Some(&bounds[1]));
        if n == 0 {
            mem.pin(Lsn::from_raw(1));
        }
    }
    let parts = mem.spans().iter().count();
    let bounds = [vec![b'a'; 1000], vec![b'z'; 1000]];
    for n in 0..1000 {
        if n == 500 {
            mem.pin(mem.last());
        }
        delete(&mut mem, &[], None);
        delete(&mut mem, &bounds[0], Some(&bounds[1]));
    }
    assert!(mem.spans().iter().count() <= 2 * parts + 4);
    let most = mem.spans().iter().map(|(_, _, lsns)| lsns.len()).max().unwrap();
    assert!(most <= 8, "two snapshots, those of now, and as many again: {most}");
    let held: usize =
        mem.spans().waiting().map(|(start, end)| start.len() + end.as_ref().map_or(0, |e| e.len())).sum();
    assert!(
        held >= 2_000_000 && mem.bytes() >= held as u64,
        "{held} bytes of bounds, {} charged",
        mem.bytes()
    );
}
