//! Goal: a priority stays with the value that it was put with, in memory, in the log, in tables of every tier, for snapshots
//! and across reopenings; and of what was written at one time the lower one leaves hot first. Method: real files, a map
//! beside them, and tiers so small that data moves all the way down. Commits as large as a memtable become a table each.
use bulkhead::env::os::OsEnv;
use bulkhead::{
    Amount, Batch, Durability, Engine, Entry, Options, Priority, PutOptions, Space, SpaceId, SpaceStats,
    TierOptions, WriteOptions,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const MEMTABLE: u64 = 16 * 1024;

/// Value and priority of each key.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, i32)>;

async fn open(root: &Path, hot_capacity: u64) -> (Engine, Space) {
    let entries = |entries| Amount { entries, bytes: 1 << 30 };
    let tiers = TierOptions {
        memtable_bytes: MEMTABLE,
        hot_capacity: entries(hot_capacity),
        warm_capacity: entries(2 * hot_capacity),
        cold_capacity: entries(100_000),
        hot_age_s: 0,
        warm_age_s: 0,
        table_bytes: 4096,
        ..TierOptions::default()
    };
    let options =
        Options { durability: Durability::Process, segment_max: 64 * 1024, tiers, ..Options::default() };
    let engine = Engine::open(OsEnv::current(), root, options).await.unwrap();
    let space = engine.get_or_create_space(&SpaceId::new("s").unwrap()).await.unwrap();
    (engine, space)
}

fn options(priority: i32) -> PutOptions {
    PutOptions { priority: Priority::from_raw(priority) }
}

fn told(entry: Option<Entry>) -> Option<(Vec<u8>, i32)> {
    entry.map(|entry| (entry.value.to_vec(), entry.priority.raw()))
}

async fn agrees(space: &Space, model: &Model, keys: usize) {
    let snapshot = space.snapshot();
    for n in 0..keys {
        let key = key(n);
        let expected = model.get(&key).cloned();
        assert_eq!(told(space.get_entry(&key).await.unwrap()), expected, "key {n}");
        assert_eq!(told(snapshot.get_entry(&key).await.unwrap()), expected, "key {n} of a snapshot");
    }
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:03}").into_bytes()
}

async fn until(what: &str, space: &Space, done: impl Fn(&SpaceStats) -> bool) {
    let started = Instant::now();
    while !done(&space.stats()) {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}: {:?}", space.stats());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_priority_stays_with_its_value_wherever_that_goes() {
    const KEYS: usize = 400;
    let temp = tempfile::tempdir().unwrap();
    let (mut engine, mut space) = open(temp.path(), 100).await;
    let mut model = Model::new();
    for round in 0..4usize {
        for n in (0..KEYS).step_by(round + 1) {
            let (key, value) = (key(n), vec![round as u8; 100]);
            let priority = [0, 7, i32::MAX, -1, i32::MIN][(n + round) % 5];
            match n % 3 {
                0 => drop(space.put_with(&key, &value, options(priority)).await.unwrap()),
                1 => {
                    let mut batch = Batch::new();
                    batch.put_with(&*key, "overwritten", options(3)).put_with(
                        &*key,
                        &*value,
                        options(priority),
                    );
                    let commit = space.write(&batch, WriteOptions::default()).await.unwrap();
                    let entry = space.get_entry(&key).await.unwrap().unwrap();
                    assert_eq!(entry.lsn, commit.lsn());
                }
                _ => drop(space.put(&key, &value).await.unwrap()),
            }
            let priority = if n % 3 == 2 { 0 } else { priority };
            model.insert(key, (value, priority));
        }
        space.delete(key(round)).await.unwrap();
        model.remove(&key(round));
        agrees(&space, &model, KEYS).await;
        match round {
            // What is in memory comes back from the log, sealed or not.
            0 | 1 => {
                engine.close().await.unwrap();
                (engine, space) = open(temp.path(), 100).await;
            }
            2 => {
                space.compact().await.unwrap();
                let tables = |s: &SpaceStats| s.tiers.iter().map(|t| t.tables).collect::<Vec<_>>();
                assert!(tables(&space.stats())[1..].iter().any(|n| *n > 0), "{:?}", space.stats());
            }
            _ => space = engine.reopen(space.id()).await.unwrap(),
        }
        agrees(&space, &model, KEYS).await;
    }
    let pinned = space.snapshot();
    space.put(key(10), "plain").await.unwrap();
    assert_eq!(told(space.get_entry(key(10)).await.unwrap()), Some((b"plain".to_vec(), 0)));
    assert_eq!(told(pinned.get_entry(&key(10)).await.unwrap()), model.get(&key(10)).cloned());
    space.delete(key(10)).await.unwrap();
    assert_eq!(space.get_entry(key(10)).await.unwrap(), None, "a delete has no priority");
    engine.close().await.unwrap();
}

/// A commit that is as large as a memtable: once it is flushed, a table of its own.
async fn load(space: &Space, group: &str, priority: i32) {
    let mut batch = Batch::new();
    for n in 0..100 {
        batch.put_with(format!("{group} {n:03}"), [n; 100], options(priority));
    }
    let flushes = space.stats().jobs.flushes;
    space.write(&batch, WriteOptions::default()).await.unwrap().durable(Durability::Power).await.unwrap();
    until("it is flushed", space, |s| s.jobs.flushes > flushes && s.memory.holds.entries == 0).await;
}

#[tokio::test]
async fn of_two_groups_of_one_age_the_one_of_lower_priority_leaves_hot_first() {
    for (first, second) in [(5, -5), (1, 0), (i32::MAX, i32::MIN), (-5, 5), (0, 0)] {
        let temp = tempfile::tempdir().unwrap();
        // Two hundred are above seventy percent of it, one hundred are not.
        let (engine, space) = open(temp.path(), 250).await;
        load(&space, "first", first).await;
        assert_eq!(space.stats().tiers[0].holds.entries, 100);
        load(&space, "second", second).await;
        until("one group leaves", &space, |s| s.tiers[1].holds.entries > 0 && s.jobs.moves > 0).await;
        let tiers = space.stats().tiers;
        assert_eq!((tiers[0].priority, tiers[1].priority), (first.max(second), first.min(second)));
        if first != second {
            assert_eq!((tiers[0].holds.entries, tiers[1].holds.entries), (100, 100), "{tiers:?}");
        }
        for (group, priority) in [("first", first), ("second", second)] {
            let entry = space.get_entry(format!("{group} 042")).await.unwrap();
            assert_eq!(told(entry), Some((vec![42; 100], priority)));
        }
        engine.close().await.unwrap();
    }
}
