//! Goal: tables that a range delete hides from every reader go at once, without a rewrite, and no sooner: a snapshot from
//! before it sees all until it is dropped, and its drop is enough for them to go. Method: real files in all tiers, and
//! nothing that writes, merges or moves meanwhile.
use crate::one_space::{self, entries, files};
use bulkhead::{Direction, Durability, Engine, JobCounts, Snapshot, Space, TierOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const TIERS: [&str; 3] = ["hot", "warm", "cold"];

async fn open(root: &Path) -> (Engine, Space) {
    let tiers = TierOptions {
        memtable_bytes: 192 * 1024,
        hot_capacity: entries(10_000),
        warm_capacity: entries(20_000),
        cold_capacity: entries(100_000),
        hot_tables: 4,
        table_bytes: 4096,
        ..TierOptions::default()
    };
    one_space::open(root, Durability::Power, tiers).await
}

fn key(n: usize) -> Vec<u8> {
    format!("{} {n:04}", if n.is_multiple_of(2) { "even" } else { "odd" }).into_bytes()
}

/// Ninety bytes that hardly compress.
fn value(n: usize) -> Vec<u8> {
    let seed = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..90u32).map(|i| (seed.rotate_left(i).wrapping_mul(u64::from(2 * i + 1)) >> 56) as u8).collect()
}

/// Two thousand keys, half of them of either prefix, in tables below hot; nothing is left to do.
async fn loaded(root: &Path) -> (Engine, Space) {
    let (engine, space) = open(root).await;
    fill(&space).await;
    assert!(files(root, "hot") == 0 && all_files(root) >= 8, "{:?}", space.stats());
    (engine, space)
}

async fn fill(space: &Space) {
    for n in 0..2000 {
        space.put_commit(key(n), value(n)).await.unwrap();
    }
    space.compact().await.unwrap();
}

/// More than a memtable takes, all of it with this prefix: a flush, and no other job.
async fn flushed(space: &Space, prefix: &str) {
    let flushes = space.stats().jobs.flushes;
    for n in (usize::from(prefix == "odd")..2000).step_by(2) {
        space.put_commit(key(n), value(n + 5000)).await.unwrap();
    }
    space.flush(Durability::Power).await.unwrap();
    until(|| space.stats().jobs.flushes > flushes && space.stats().memory.sealed == 0).await;
    assert!(space.stats().tiers[0].tombstones > 0, "a range delete is in a table");
}

fn all_files(root: &Path) -> usize {
    TIERS.iter().map(|tier| files(root, tier)).sum()
}

async fn until(done: impl Fn() -> bool) {
    let waits = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect("it comes to pass");
}

/// Long enough for the space's task to seal the quiet log and to end: then nobody is left who would look by himself.
async fn a_while() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(400) {
        tokio::task::yield_now().await;
    }
}

async fn count(snapshot: &Snapshot, prefix: &str) -> usize {
    let end = format!("{prefix}~");
    let mut scan = snapshot.scan(prefix.as_bytes()..end.as_bytes(), Direction::Ascending);
    let mut n = 0;
    while scan.next().await.unwrap().is_some() {
        n += 1;
    }
    n
}

fn rewrites(jobs: &JobCounts) -> u64 {
    jobs.merges + jobs.moves + jobs.promotions
}

#[tokio::test]
async fn a_cleared_space_gives_back_all_tables_and_rewrites_none() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = loaded(temp.path()).await;
    let before = rewrites(&space.stats().jobs);
    space.clear().await.unwrap();
    until(|| all_files(temp.path()) == 0).await;
    let jobs = space.stats().jobs;
    assert_eq!(rewrites(&jobs), before, "{jobs:?}");
    assert!(jobs.tables_freed >= 4, "{jobs:?}");
    assert_eq!((count(&space.snapshot(), "even").await, count(&space.snapshot(), "odd").await), (0, 0));
    space.put(key(7), "again").await.unwrap();
    engine.close().await.unwrap();
    let (engine, space) = open(temp.path()).await;
    assert_eq!((count(&space.snapshot(), "even").await, count(&space.snapshot(), "odd").await), (0, 1));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_space_cleared_under_a_snapshot_gives_back_all_tables_once_that_is_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = loaded(temp.path()).await;
    // Twice: the first time a look at the clock may have been due as well.
    for _ in 0..2 {
        let snapshot = space.snapshot();
        let before = count(&snapshot, "even").await;
        space.clear().await.unwrap();
        a_while().await;
        assert_eq!(count(&snapshot, "even").await, before);
        assert!(all_files(temp.path()) > 0);
        // The range delete is in memory alone.
        drop(snapshot);
        until(|| all_files(temp.path()) == 0).await;
        fill(&space).await;
    }
    engine.close().await.unwrap();
}

#[tokio::test]
async fn the_drop_of_the_last_snapshot_that_sees_them_has_hidden_tables_go() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = loaded(temp.path()).await;
    // Twice: the first time a look at the clock may have been due as well.
    for (gone, there) in [("even", "odd"), ("odd", "even")] {
        let (first, second) = (space.snapshot(), space.snapshot());
        let before = (count(&first, gone).await, count(&first, there).await);
        let freed = || space.stats().jobs.tables_freed;
        let freed_before = freed();
        space.delete_range(gone.to_string()..format!("{gone}~")).await.unwrap();
        flushed(&space, there).await;
        drop(first);
        a_while().await;
        assert_eq!(freed(), freed_before, "there is another one");
        assert_eq!((count(&second, gone).await, count(&second, there).await), before);
        let (tables, jobs) = (all_files(temp.path()), space.stats().jobs);
        drop(second);
        until(|| freed() > freed_before + 2 && all_files(temp.path()) < tables).await;
        assert_eq!(rewrites(&space.stats().jobs), rewrites(&jobs));
        let now = space.snapshot();
        assert_eq!((count(&now, gone).await, count(&now, there).await), (0, 1000));
    }
    engine.close().await.unwrap();
    let (engine, space) = open(temp.path()).await;
    assert_eq!((count(&space.snapshot(), "odd").await, count(&space.snapshot(), "even").await), (0, 1000));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn tables_hidden_before_a_reopen_go_after_it() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = loaded(temp.path()).await;
    let snapshot = space.snapshot();
    space.clear().await.unwrap();
    flushed(&space, "odd").await;
    assert_eq!(space.stats().jobs.tables_freed, 0);
    // While it is held nothing goes, and once the space is closed nothing can.
    engine.close().await.unwrap();
    drop(snapshot);
    let before = all_files(temp.path());
    let (engine, space) = open(temp.path()).await;
    space.put(key(1), "newest").await.unwrap();
    until(|| space.stats().jobs.tables_freed > 0 && all_files(temp.path()) < before).await;
    assert_eq!(count(&space.snapshot(), "").await, 1000);
    engine.close().await.unwrap();
}
