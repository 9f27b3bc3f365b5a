//! Goal: however many spaces are held and used, few descriptors are open; a space that is not used has none, and whoever
//! holds on to it notices nothing. Method: real files; what the process has open below
//! the data root is counted.
use bulkhead::env::os::OsEnv;
use bulkhead::{Direction, Durability, Engine, Options, Space, SpaceId, TierOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SPACES: usize = 120;
const MOST: u64 = 64;
/// A table that a flush has just made counts whether or not there is room.
const NEW_TABLES: u64 = 8;
/// The root, its lock, and what is open for a moment only.
const OTHERS: u64 = 4;

/// What this process has open at or below `dir`.
pub fn open_below(dir: &Path) -> Vec<PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    open.filter(|path| path.starts_with(dir)).collect()
}

fn id(n: usize) -> SpaceId {
    SpaceId::new(&format!("space-{n}")).unwrap()
}

async fn open(root: &Path, idle_close_ms: u64) -> Engine {
    let tiers = TierOptions { memtable_bytes: 4096, ..TierOptions::default() };
    let options = Options {
        durability: Durability::Process,
        max_descriptors: MOST,
        idle_close_ms,
        tiers,
        ..Options::default()
    };
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

fn check(engine: &Engine, root: &Path, what: &str) {
    let (counted, open) = (engine.descriptors(), open_below(root).len() as u64);
    assert!(counted <= MOST + NEW_TABLES, "{what}: {counted} counted");
    assert!(open <= MOST + NEW_TABLES + OTHERS, "{what}: {open} open, {counted} counted");
}

async fn value(space: &Space, key: &str) -> Vec<u8> {
    space.get(key).await.unwrap().expect(key).to_vec()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_spaces_that_are_held_and_used_keep_few_descriptors_open() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path(), 60_000).await;
    let mut held = Vec::new();
    for n in 0..SPACES {
        let space = engine.create_space(&id(n)).await.unwrap();
        for key in 0..10 {
            space.put(format!("key {key}"), format!("{n} {key}")).await.unwrap();
        }
        held.push((space.snapshot(), space));
        check(&engine, temp.path(), "creating");
    }
    // Handles, snapshots and scans of spaces at rest go on.
    for round in 1..=2 {
        for (n, (snapshot, space)) in held.iter().enumerate() {
            assert_eq!(value(space, "key 3").await, format!("{n} 3").into_bytes());
            // The last ones need tables too.
            let filler = vec![round; if n >= SPACES - 40 { 3000 } else { 10 }];
            let commit = space.put_commit(format!("filler {round}"), filler).await.unwrap();
            space.put("key 7", format!("{n} again {round}")).await.unwrap();
            assert_eq!(
                snapshot.get(b"key 7").await.unwrap().unwrap().to_vec(),
                format!("{n} 7").into_bytes()
            );
            if n % 50 == 0 {
                commit.durable(Durability::Power).await.unwrap();
            }
            check(&engine, temp.path(), "using");
        }
    }
    let (tables, rests) = held.iter().fold((0, 0), |(tables, rests), (_, space)| {
        let stats = space.stats();
        (tables + stats.tiers.iter().map(|t| t.tables).sum::<usize>(), rests + stats.jobs.rests)
    });
    assert!(tables >= 40 && rests >= 2 * SPACES as u64, "{tables} tables, {rests} rests");
    held.clear();
    engine.close().await.unwrap();
    drop(engine);

    let engine = open(temp.path(), 20).await;
    for report in engine.recover_all().await.unwrap() {
        assert_eq!(report.error, None);
        check(&engine, temp.path(), "recovering");
    }
    for n in 0..SPACES {
        let space = engine.space(&id(n)).await.unwrap();
        assert_eq!(value(&space, "key 7").await, format!("{n} again 2").into_bytes());
        let mut scan = space.scan::<&[u8]>(.., Direction::Descending);
        let mut entries = 0;
        while scan.next().await.unwrap().is_some() {
            entries += 1;
        }
        assert_eq!(entries, 12);
        check(&engine, temp.path(), "reading");
    }
    // All rest in the end, each by itself, and one that is deleted at rest is gone.
    let space = engine.space(&id(0)).await.unwrap();
    space.put("one", "more").await.unwrap();
    until("all are at rest", || engine.descriptors() == 0).await;
    let open = open_below(temp.path());
    assert!(open.len() as u64 <= OTHERS, "{open:?}");
    engine.delete_space(&id(0)).await.unwrap();
    engine.create_space(&id(0)).await.unwrap().put("other", "space").await.unwrap();
    space.get("one").await.unwrap_err();
    assert!(engine.space(&id(0)).await.unwrap().get("one").await.unwrap().is_none());
    engine.close().await.unwrap();
}
