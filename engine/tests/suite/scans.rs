//! Goal: a scan shows what its space held when it was made, in order and nothing else, in both directions and between any
//! bounds, whatever is written, deleted, flushed, merged and moved while it is under way. Method: real files, tiers and
//! tables so small that a scan goes through many of each; keys of which some fit in place and some do not; values of
//! which some lie apart; scans of which many are under way at once, each beside the map of its moment.
use crate::one_space::{self, Dice, Model, entries};
use bulkhead::{Batch, Direction, Durability, Engine, Key, Scan, Space};
use bulkhead::{Snapshot, TierOptions, Value, WriteOptions};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;

const KEYS: u64 = 900;

async fn open(root: &Path) -> (Engine, Space) {
    let tiers = TierOptions {
        memtable_bytes: 24 * 1024,
        hot_capacity: entries(200),
        warm_capacity: entries(200),
        cold_capacity: entries(10_000),
        hot_tables: 3,
        table_bytes: 8 * 1024,
        max_snapshots: 0,
        ..TierOptions::default()
    };
    one_space::open(root, Durability::Process, tiers).await
}

impl Dice {
    /// Every third one is longer than what fits in place; neighbours share little or nearly all.
    fn key(&mut self) -> Vec<u8> {
        let n = self.roll(KEYS);
        let name = format!("{}/{:03}", ["a", "b\u{ff}", "group"][n as usize % 3], n);
        if n % 3 == 2 { [name.as_bytes(), &[b'.'; 30], &[n as u8]].concat() } else { name.into_bytes() }
    }
    fn value(&mut self) -> Vec<u8> {
        let len = if self.roll(40) == 0 { 5000 } else { self.roll(150) };
        vec![self.roll(256) as u8; len as usize]
    }
    fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.roll(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }
    fn direction(&mut self) -> Direction {
        if self.roll(2) == 0 { Direction::Ascending } else { Direction::Descending }
    }
}

async fn churn(space: &Space, model: &mut Model, dice: &mut Dice) {
    let mut batch = Batch::new();
    for _ in 0..1 + dice.roll(30) {
        let (key, value) = (dice.key(), dice.value());
        if dice.roll(5) == 0 {
            batch.delete(&key[..]);
            model.remove(&key);
        } else {
            batch.put(&key[..], &value[..]);
            model.insert(key, value);
        }
    }
    space.write(&batch, WriteOptions::default()).await.unwrap();
    if dice.roll(25) == 0 {
        let (a, b) = (dice.key(), dice.key());
        let (from, to) = if dice.roll(3) == 0 {
            (a.clone(), [&a[..], b"~"].concat())
        } else {
            (a.clone().min(b.clone()), a.max(b))
        };
        if from < to {
            space.delete_range(from.clone()..to.clone()).await.unwrap();
            model.retain(|key, _| *key < from || *key >= to);
        }
    }
}

/// A scan, and what it is to show yet.
struct UnderWay {
    scan: Scan,
    expected: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    told: String,
}

impl UnderWay {
    fn begin(space: &Space, old: &[(Snapshot, Model)], model: &Model, dice: &mut Dice) -> UnderWay {
        let direction = dice.direction();
        let from = dice.roll(old.len() as u64 + 2) as usize;
        let model = old.get(from).map_or(model, |(_, model)| model);
        let (lower, upper) = (dice.bound(), dice.bound());
        let within = |key: &Vec<u8>| {
            let above = match &lower {
                Bound::Unbounded => true,
                Bound::Included(bound) => key >= bound,
                Bound::Excluded(bound) => key > bound,
            };
            above
                && match &upper {
                    Bound::Unbounded => true,
                    Bound::Included(bound) => key <= bound,
                    Bound::Excluded(bound) => key < bound,
                }
        };
        let prefix = &dice.key()[..1 + dice.roll(3) as usize];
        let by_prefix = from >= old.len() && dice.roll(4) == 0;
        let of_range =
            |(k, _): &(&Vec<u8>, &Vec<u8>)| if by_prefix { k.starts_with(prefix) } else { within(k) };
        let mut expected: Vec<_> =
            model.iter().filter(of_range).map(|(k, v)| (k.clone(), v.clone())).collect();
        if direction == Direction::Descending {
            expected.reverse();
        }
        let told = format!("{direction:?} {lower:?}..{upper:?} by prefix: {by_prefix} {prefix:?}");
        let scan = match old.get(from) {
            Some((snapshot, _)) => snapshot.scan((lower, upper), direction),
            None if by_prefix => space.scan_prefix(prefix, direction),
            None => space.scan((lower, upper), direction),
        };
        UnderWay { scan, expected: expected.into_iter(), told }
    }

    /// Goes on for `steps`; whether it has ended.
    async fn go_on(&mut self, steps: u64) -> bool {
        for _ in 0..steps {
            let found = self.scan.next().await.unwrap();
            let found = found.map(|(key, value): (Key, Value)| (Vec::from(key), Vec::from(value)));
            let expected = self.expected.next();
            let name = |e: &Option<(Vec<u8>, Vec<u8>)>| {
                e.as_ref().map(|(k, v)| (k.escape_ascii().to_string(), v.len()))
            };
            assert!(found == expected, "{}: {:?} where {:?} is", self.told, name(&found), name(&expected));
            if found.is_none() {
                return true;
            }
        }
        false
    }
}

#[tokio::test]
async fn scans_show_their_moment_whatever_happens_while_they_are_under_way() {
    let temp = tempfile::tempdir().unwrap();
    let mut dice = Dice(11);
    let mut model = Model::new();
    for _ in 0..3 {
        let (engine, space) = open(temp.path()).await;
        let (mut old, mut under_way) = (Vec::new(), Vec::<UnderWay>::new());
        let (mut ended, mut tables, mut tiers) = (0, 0, BTreeSet::new());
        let mut round = 0;
        // Jobs take their time: until they have been in every tier.
        while round < 200 || tiers.len() < 3 && round < 4000 {
            round += 1;
            churn(&space, &mut model, &mut dice).await;
            if round % 50 == 20 {
                old.push((space.snapshot(), model.clone()));
            }
            under_way.push(UnderWay::begin(&space, &old, &model, &mut dice));
            let mut go_on = Vec::new();
            for mut scan in under_way {
                // Most take a few entries at a time, and so are under way for long.
                let steps = if dice.roll(10) == 0 { 1000 } else { dice.roll(25) };
                if scan.go_on(steps).await { ended += 1 } else { go_on.push(scan) }
            }
            under_way = go_on;
            let now = space.stats().tiers;
            tables = tables.max(now.iter().map(|tier| tier.tables).sum());
            tiers.extend(now.iter().filter(|tier| tier.tables > 0).map(|tier| tier.tier));
        }
        for scan in &mut under_way {
            assert!(scan.go_on(u64::MAX).await, "it ends");
        }
        assert!(ended > 100 && tables > 5, "{ended} scans over up to {tables} tables");
        assert_eq!(tiers.len(), 3, "every tier had tables, and {tiers:?} are those that did");
        drop((old, under_way));
        engine.close().await.unwrap();
    }
}
