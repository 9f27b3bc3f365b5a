//! Goal: a range delete hides what it covers wherever that lies, in the memtable, in sealed ones, in hot, warm and cold
//! tables and in the log after a reopen, and nothing else; a snapshot from before it still sees all. Method: real files,
//! tiers so small that data moves all the way down, and a map beside them.
use crate::one_space::{self, Model, entries, files};
use bulkhead::{
    Batch, Durability, Engine, ErrorKind, Expected, Precondition, Rejected, Snapshot, Space, SpaceState,
    TierOptions, WriteOptions,
};
use std::ops::{Bound, RangeBounds};
use std::path::Path;

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Three keys of four lie below hot.
async fn open(root: &Path) -> (Engine, Space) {
    open_with(root, 8 * 1024).await
}

async fn open_with(root: &Path, memtable_bytes: u64) -> (Engine, Space) {
    let tiers = TierOptions {
        memtable_bytes,
        hot_capacity: entries(100),
        warm_capacity: entries(150),
        cold_capacity: entries(10_000),
        hot_tables: 2,
        table_bytes: 4096,
        ..TierOptions::default()
    };
    one_space::open(root, Durability::Power, tiers).await
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:03}").into_bytes()
}

async fn load(space: &Space, model: &mut Model, keys: impl Iterator<Item = usize>, value: &str) {
    for n in keys {
        space.put_commit(key(n), value).await.unwrap();
        model.insert(key(n), value.into());
    }
    space.flush(Durability::Power).await.unwrap();
}

async fn agrees(snapshot: &Snapshot, model: &Model) {
    for n in 0..500 {
        let found = snapshot.get(&key(n)).await.unwrap().map(Vec::from);
        assert_eq!(found, model.get(&key(n)).cloned(), "key {n}");
    }
    for (from, to) in [(0, 499), (90, 410), (200, 200), (123, 380)] {
        one_space::scans_agree(snapshot, model, key(from)..=key(to)).await;
    }
}

/// Waits until `done`, as long as the test lives.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_range_delete_reaches_through_all_that_lies_under_it() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path()).await;
    let mut model = Model::new();
    load(&space, &mut model, 0..500, "first").await;
    load(&space, &mut model, (0..500).step_by(3), "second").await;
    until(|| ["hot", "warm", "cold"].iter().all(|tier| files(temp.path(), tier) > 0)).await;
    load(&space, &mut model, (0..500).step_by(50), "third").await;
    let (before, then) = (space.snapshot(), model.clone());

    let ranges: [Bounds; 4] = [
        (Bound::Included(key(100)), Bound::Excluded(key(200))),
        (Bound::Excluded(key(250)), Bound::Included(key(300))),
        (Bound::Unbounded, Bound::Excluded(key(5))),
        (Bound::Included(key(490)), Bound::Unbounded),
    ];
    let mut lsn = space.last_lsn();
    for range in ranges {
        let next = space.delete_range(range.clone()).await.unwrap();
        assert_eq!(next, lsn.next(), "one commit, however many keys");
        lsn = next;
        model.retain(|key, _| !range.contains(key));
        agrees(&space.snapshot(), &model).await;
        agrees(&before, &then).await;
    }
    // What is put back stays, alone and in the batch that deletes it.
    load(&space, &mut model, 150..160, "again").await;
    let mut batch = Batch::new();
    batch.put(key(400), "gone").delete_range(key(400)..key(420)).put(key(410), "stays");
    space.write(&batch, WriteOptions::default()).await.unwrap();
    model.retain(|k, _| !(key(400)..key(420)).contains(k));
    model.insert(key(410), b"stays".to_vec());
    agrees(&space.snapshot(), &model).await;
    // From the log, and then from tables, once enough was written to have them flushed.
    for round in 0..3 {
        agrees(&before, &then).await;
        agrees(&space.snapshot(), &model).await;
        load(&space, &mut model, (300..400).filter(|n| n % 7 == round), "more").await;
    }
    drop(before);
    engine.close().await.unwrap();
    for round in 0..3 {
        let (engine, space) = open(temp.path()).await;
        agrees(&space.snapshot(), &model).await;
        load(&space, &mut model, (300..400).filter(|n| n % 5 == round), "much more").await;
        agrees(&space.snapshot(), &model).await;
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn preconditions_find_what_a_range_deleted_absent() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path()).await;
    load(&space, &mut Model::new(), 0..500, "value").await;
    let written = space.put(key(7), "again").await.unwrap();
    let write = async |n: usize, expected| {
        let mut batch = Batch::new();
        batch.put(key(n), "written");
        let precondition = Some(Precondition { key: key(n), expected });
        space.write(&batch, WriteOptions { precondition }).await.map(|commit| commit.lsn())
    };
    space.delete_range(key(3)..key(90)).await.unwrap();
    let refused = write(7, Expected::WrittenBy(written)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::Precondition));
    write(7, Expected::Absent).await.unwrap();
    write(30, Expected::Absent).await.unwrap();
    assert!(write(90, Expected::Absent).await.is_err(), "the end is not deleted");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn ranges_that_hold_no_key_are_rejected_and_leave_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path()).await;
    let last = space.put("b", "1").await.unwrap();
    for (from, to) in [("c", "a"), ("b", "b")] {
        let refused = space.delete_range(from..to).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::Key));
        assert!(space.delete_range_commit(from..to).await.is_err());
    }
    assert_eq!((space.last_lsn(), space.get("b").await.unwrap().is_some()), (last, true));
    space.delete_range("b"..="b").await.unwrap();
    assert_eq!(space.get("b").await.unwrap(), None);
    engine.close().await.unwrap();
}

/// A space with a value below hot, so that range deletes have something to hide, and the tiers of [`open`].
async fn open_over_old_tables(root: &Path, memtable_bytes: u64, first: &[u8]) -> (Engine, Space) {
    let (engine, space) = open_with(root, memtable_bytes).await;
    space.put(first, "old").await.unwrap();
    space.compact().await.unwrap();
    space.put(first, "new").await.unwrap();
    (engine, space)
}

async fn reopened_without(engine: Engine, space: Space, root: &Path, gone: &[u8], there: &[u8]) {
    space.compact().await.unwrap();
    assert_eq!(space.stats().failed, None);
    engine.close().await.unwrap();
    let (engine, space) = open(root).await;
    assert_eq!(space.get(gone).await.unwrap(), None);
    assert_eq!(space.get(there).await.unwrap().unwrap().to_vec(), b"there");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_range_of_long_bounds_that_is_deleted_again_and_again_costs_no_more_than_once() {
    let temp = tempfile::tempdir().unwrap();
    let bound = |c: u8| [b"k".as_slice(), &vec![c; 60_000]].concat();
    let gone = bound(b'm');
    let (engine, space) = open_over_old_tables(temp.path(), 8 * 1024, &gone).await;
    let snapshot = space.snapshot();
    space.put("there", "there").await.unwrap();
    // Each is a flush of its own: together 24 MB of bounds.
    for _ in 0..200 {
        let mut batch = Batch::new();
        batch.delete_range(bound(b'a')..bound(b'z'));
        space.write(&batch, WriteOptions::default()).await.unwrap();
    }
    until(|| space.stats().memory.sealed == 0).await;
    assert_eq!(snapshot.get(&gone).await.unwrap().unwrap().to_vec(), b"new");
    let tombstones: u64 = space.stats().tiers.iter().map(|t| t.tombstones).sum();
    assert!(tombstones < 40, "those of a table for each place, and of memory: {:?}", space.stats());
    drop(snapshot);
    reopened_without(engine, space, temp.path(), &gone, b"there").await;
}

#[tokio::test]
async fn ranges_that_differ_only_far_behind_their_first_bytes_are_flushed_merged_and_found_again() {
    let temp = tempfile::tempdir().unwrap();
    let prefix = "p".repeat(400);
    let key = |n: usize| format!("{prefix}{n:06}").into_bytes();
    let gone = key(11);
    let (engine, space) = open_over_old_tables(temp.path(), 4 << 20, &gone).await;
    space.put("there", "there").await.unwrap();
    let snapshot = space.snapshot();
    // 13 MB of bounds, and no place in between where a run of tables may be cut.
    for batches in 0..160 {
        let mut batch = Batch::new();
        for n in 0..100 {
            let n = (batches * 100 + n) * 10;
            batch.delete_range(key(n)..key(n + 5));
        }
        let commit = space.write(&batch, WriteOptions::default()).await.unwrap();
        commit.durable(Durability::Process).await.unwrap();
    }
    space.compact().await.unwrap();
    assert_eq!(space.stats().failed, None);
    assert_eq!(snapshot.get(&gone).await.unwrap().unwrap().to_vec(), b"new");
    drop(snapshot);
    reopened_without(engine, space, temp.path(), &gone, b"there").await;
}

#[tokio::test]
async fn range_deletes_that_no_table_can_hold_are_told_and_go_with_the_snapshots_that_keep_them() {
    let temp = tempfile::tempdir().unwrap();
    let bound = |c: u8| [b"k".as_slice(), &vec![c; 60_000]].concat();
    let gone = bound(b'm');
    let (engine, space) = open_over_old_tables(temp.path(), 256 << 20, &gone).await;
    space.put("there", "there").await.unwrap();
    // One range, and a snapshot for each of its deletes: together 72 MB of bounds that nothing parts.
    let mut snapshots = Vec::new();
    for _ in 0..600 {
        space.delete_range(bound(b'a')..bound(b'z')).await.unwrap();
        snapshots.push(space.snapshot());
    }
    let error = space.compact().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("lie too close together"), "{error}");
    assert!(matches!(space.state(), SpaceState::Open), "it goes on");
    assert_eq!(snapshots[0].get(&gone).await.unwrap(), None);
    assert_eq!(space.get("there").await.unwrap().unwrap().to_vec(), b"there");
    snapshots.clear();
    // What failed is tried again by itself.
    until(|| space.stats().failed.is_none()).await;
    reopened_without(engine, space, temp.path(), &gone, b"there").await;
}
