//! Goal: a space that outgrows its memtable reads as one that does not, from memory and tables together, in both
//! directions, for snapshots, and after a reopen; its log is cut behind what was flushed. Method: real files, a tiny
//! memtable, and a map beside it.
use crate::one_space::{self, Dice, Model, files};
use bulkhead::env::os::OsEnv;
use bulkhead::{
    Batch, Direction, Durability, Engine, ErrorKind, Expected, Options, Precondition, Rejected, Snapshot,
    Space, SpaceId, TierOptions, WriteOptions,
};
use std::path::Path;

async fn open(root: &Path) -> (Engine, Space) {
    open_with(root, 16 * 1024).await
}

async fn open_with(root: &Path, memtable_bytes: u64) -> (Engine, Space) {
    let tiers = TierOptions { memtable_bytes, ..TierOptions::default() };
    one_space::open(root, Durability::Process, tiers).await
}

fn any_key(dice: &mut Dice) -> Vec<u8> {
    format!("key {:03}", dice.roll(400)).into_bytes()
}

async fn churn(space: &Space, model: &mut Model, dice: &mut Dice, operations: usize) {
    for _ in 0..operations {
        let key = any_key(dice);
        if dice.roll(4) == 0 {
            space.delete(&key).await.unwrap();
            model.remove(&key);
        } else {
            let large = dice.roll(50) == 0;
            let len = if large { 5000 } else { dice.roll(200) };
            let value = vec![dice.roll(256) as u8; len as usize];
            space.put(&key, &value).await.unwrap();
            model.insert(key, value);
        }
    }
}

async fn agrees(snapshot: &Snapshot, model: &Model) {
    for n in 0..400 {
        let key = format!("key {n:03}").into_bytes();
        let found = snapshot.get(&key).await.unwrap().map(Vec::from);
        assert_eq!(found, model.get(&key).cloned(), "{}", String::from_utf8_lossy(&key));
    }
    for (from, to) in [("", "z"), ("key 1", "key 25"), ("key 399", "key 399")] {
        one_space::scans_agree(snapshot, model, from.as_bytes().to_vec()..=to.as_bytes().to_vec()).await;
    }
}

#[tokio::test]
async fn memory_and_tables_read_as_one() {
    let temp = tempfile::tempdir().unwrap();
    let mut dice = Dice(7);
    let mut model = Model::new();
    for round in 0..4 {
        let (engine, space) = open(temp.path()).await;
        agrees(&space.snapshot(), &model).await;
        churn(&space, &mut model, &mut dice, 700).await;
        let (then, snapshot) = (model.clone(), space.snapshot());
        let mut scan = space.scan(Vec::new().., Direction::Ascending);
        let mut scanned = Vec::new();
        for _ in 0..5 {
            scanned.extend(scan.next().await.unwrap());
        }
        churn(&space, &mut model, &mut dice, 700).await;
        while let Some(entry) = scan.next().await.unwrap() {
            scanned.push(entry);
        }
        let scanned: Model = scanned.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        assert!(scanned == then, "a scan keeps its view while memtables are sealed and flushed under it");
        agrees(&snapshot, &then).await;
        agrees(&space.snapshot(), &model).await;
        drop((snapshot, scan));
        engine.close().await.unwrap();
        assert!(files(temp.path(), "hot") > 2 * round, "flushes made tables");
        assert!(files(temp.path(), "wal") < 10, "segments behind them are gone");
    }
}

#[tokio::test]
async fn preconditions_see_tables() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path()).await;
    let first = space.put("first", "1").await.unwrap();
    space.put("gone", "1").await.unwrap();
    space.delete("gone").await.unwrap();
    churn(&space, &mut Model::new(), &mut Dice(1), 1000).await;
    engine.close().await.unwrap();
    assert!(files(temp.path(), "hot") > 0);

    let (engine, space) = open(temp.path()).await;
    let write = async |key: &str, expected| {
        let mut batch = Batch::new();
        batch.put("written", key);
        let precondition = Some(Precondition { key: key.into(), expected });
        space.write(&batch, WriteOptions { precondition }).await.map(|commit| commit.lsn())
    };
    write("first", Expected::WrittenBy(first)).await.unwrap();
    write("gone", Expected::Absent).await.unwrap();
    write("never", Expected::Absent).await.unwrap();
    let refused = write("first", Expected::Absent).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::Precondition));
    engine.close().await.unwrap();
}

/// Enough is in memory that a scan comes back for more of it, after what it saw there went to tables.
#[tokio::test]
async fn a_scan_goes_on_over_memtables_that_were_flushed_under_it() {
    for direction in [Direction::Ascending, Direction::Descending] {
        let temp = tempfile::tempdir().unwrap();
        let (engine, space) = open_with(temp.path(), 64 * 1024).await;
        let key = |n: u32| format!("key {:04}", n * 7919 % 2000).into_bytes();
        for n in 0..2000 {
            space.put(key(n), [1]).await.unwrap();
        }
        assert!(space.memory_bytes() > 20 * 1024 && files(temp.path(), "hot") > 0, "in memory and in tables");
        let mut scan = space.scan(Vec::new().., direction);
        let mut found = vec![scan.next().await.unwrap().unwrap()];
        for n in 0..2000 {
            space.put(key(n), [2]).await.unwrap();
        }
        while let Some(entry) = scan.next().await.unwrap() {
            found.push(entry);
        }
        if direction == Direction::Descending {
            found.reverse();
        }
        assert_eq!(found.len(), 2000, "{direction:?}");
        assert!(found.is_sorted_by(|a, b| a.0 < b.0) && found.iter().all(|(_, v)| v[..] == [1]));
        drop(scan);
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_next_segment_is_made_before_it_is_needed_without_waiting_for_a_tick() {
    let root = tempfile::tempdir().unwrap();
    let hour = 3_600_000;
    let durability = Durability::Process;
    let options = Options { durability, flush_interval_ms: hour, idle_seal_ms: hour, ..Options::default() };
    let engine = Engine::open(OsEnv::current(), root.path(), options).await.unwrap();
    let space = engine.get_or_create_space(&SpaceId::new("s").unwrap()).await.unwrap();
    space.put("first", vec![7; 1000]).await.unwrap();
    // The driver is done with what that brought: nothing wakes it from here on but who needs it.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(files(root.path(), "wal"), 1);
    for n in 0..35 {
        space.put(format!("{n}"), vec![7; 1000]).await.unwrap();
    }
    let mut waited = 0;
    while files(root.path(), "wal") < 2 {
        assert!(waited < 10_000, "more than half of the first segment is used");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        waited += 10;
    }
    engine.close().await.unwrap();
}
