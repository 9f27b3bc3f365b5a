//! Goal: work in the background keeps to its rate, holds up neither flushes nor whoever closes a space, and loses nothing.
//! Method: real files; how long it takes, at least.
use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, Options, Space, SpaceId, TierOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const RECORDS: u32 = 1024;
const VALUE: usize = 2000;

async fn open(root: &Path, background_bytes_per_s: u64) -> (Engine, Space) {
    // Nothing moves down by itself: only `compact` asks for it.
    let tiers =
        TierOptions { memtable_bytes: 256 << 10, hot_tables: 32, promote_reads: 2, ..TierOptions::default() };
    let options =
        Options { durability: Durability::Process, background_bytes_per_s, tiers, ..Options::default() };
    let engine = Engine::open(OsEnv::current(), root, options).await.unwrap();
    let space = engine.get_or_create_space(&SpaceId::new("alpha").unwrap()).await.unwrap();
    (engine, space)
}

/// No two are alike, so that nothing can be compressed.
fn value(n: u32, round: u32) -> Vec<u8> {
    let mut state = u64::from(n) << 32 | u64::from(round) | 1;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..VALUE).map(byte).collect()
}

async fn fill(space: &Space, round: u32) {
    for n in 0..RECORDS {
        space.put(n.to_be_bytes(), value(n, round)).await.unwrap();
    }
}

async fn holds(space: &Space, round: u32) {
    for n in 0..RECORDS {
        let found = space.get(n.to_be_bytes()).await.unwrap();
        assert_eq!(found.as_deref(), Some(&value(n, round)[..]), "{n}");
    }
}

async fn compacting(rate: u64) -> Duration {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path(), rate).await;
    fill(&space, 0).await;
    fill(&space, 1).await;
    let started = Instant::now();
    space.compact().await.unwrap();
    let took = started.elapsed();
    assert!(space.stats().jobs.moves > 0, "something moved");
    holds(&space, 1).await;
    engine.close().await.unwrap();
    took
}

#[tokio::test]
async fn moves_take_as_long_as_their_rate_says() {
    // At least two rounds of 2 MB are read, and one is written.
    let rate = 4 << 20;
    let least = Duration::from_secs_f64((3 * RECORDS as usize * VALUE) as f64 / rate as f64);
    let held_back = compacting(rate).await;
    assert!(held_back >= least.mul_f64(0.8), "{held_back:?}, at least {least:?}");
    let free = compacting(0).await;
    assert!(free < held_back, "{free:?} without a limit, {held_back:?} with it");
}

#[tokio::test]
async fn neither_flushes_nor_a_shutdown_wait_for_what_is_held_back() {
    let temp = tempfile::tempdir().unwrap();
    let id = SpaceId::new("alpha").unwrap();
    // All of it would take more than a minute.
    let (engine, space) = open(temp.path(), 64 << 10).await;
    fill(&space, 0).await;
    fill(&space, 2).await;
    let compacts = tokio::spawn({
        let space = space.clone();
        async move { space.compact().await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!compacts.is_finished(), "it is held back");
    let flushes = space.stats().jobs.flushes;
    let started = Instant::now();
    fill(&space, 1).await;
    while space.stats().jobs.flushes < flushes + 4 {
        assert!(started.elapsed() < Duration::from_secs(20), "flushes wait for what is held back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    space.shutdown().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "a shutdown waits for what is held back");
    assert!(compacts.await.unwrap().is_err(), "its space was closed");
    let space = engine.space(&id).await.unwrap();
    holds(&space, 1).await;
    engine.close().await.unwrap();
}

#[tokio::test]
async fn promotions_wait_for_their_turn() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path(), 0).await;
    fill(&space, 0).await;
    fill(&space, 1).await;
    space.compact().await.unwrap();
    engine.close().await.unwrap();
    // One entry is read and written: that takes the line for four seconds.
    let (engine, space) = open(temp.path(), 1000).await;
    let promoted = async |keys: std::ops::Range<u32>, times| {
        for n in keys.clone().chain(keys) {
            space.get(n.to_be_bytes()).await.unwrap().unwrap();
        }
        let started = Instant::now();
        while space.stats().jobs.promotions < times {
            assert!(started.elapsed() < Duration::from_secs(30), "never: promotion {times}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    };
    promoted(0..1, 1).await;
    // So many that they are due within the same minute.
    let waited = promoted(1..100, 2).await;
    assert!(waited > Duration::from_secs(2), "{waited:?}");
    engine.close().await.unwrap();
}
