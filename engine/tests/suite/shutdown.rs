//! Goal: one opening of a space can be ended while others go on: what was acknowledged is there, nothing of it is left
//! running or open, and a second call changes nothing. Method: real files under load; the process's own descriptors are
//! counted.
use crate::descriptors::open_below;
use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, ErrorKind, Options, Space, SpaceId, SpaceState, TierOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

/// Puts until it is told that the space is closed; how many keys are acknowledged at each level, in `acked`.
async fn write(space: Space, writer: u64, durability: Durability, acked: Arc<AtomicU64>) {
    for n in 0.. {
        let result = match space.put_commit(format!("{writer} {n:08}"), [7; 100]).await {
            Ok(commit) => commit.durable(durability).await,
            Err(e) => Err(e),
        };
        match result {
            Ok(()) => acked.store(n + 1, Ordering::SeqCst),
            Err(e) if e.kind() == ErrorKind::Closed => return,
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_is_shut_down_under_load_while_its_sibling_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let tiers = TierOptions { memtable_bytes: 32 * 1024, ..TierOptions::default() };
    let options = Options { tiers, ..Options::default() };
    let engine = Engine::open(OsEnv::current(), &root, options).await.unwrap();
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    let levels = [Durability::Relaxed, Durability::Process, Durability::Power];
    let run = |space: &Space| {
        let one = |(writer, level)| {
            let acked = Arc::new(AtomicU64::new(0));
            let task = tokio::spawn(write(space.clone(), writer, level, acked.clone()));
            (acked, task)
        };
        (0..).zip(levels).map(one).collect::<Vec<_>>()
    };
    let (of_alpha, of_beta) = (run(&alpha), run(&beta));
    let done = |all: &[(Arc<AtomicU64>, tokio::task::JoinHandle<()>)]| {
        all.iter().map(|(acked, _)| acked.load(Ordering::SeqCst)).collect::<Vec<_>>()
    };
    while alpha.stats().jobs.flushes < 3 || done(&of_alpha).iter().any(|n| *n < 20) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!open_below(&root.join("alpha")).is_empty());

    let (before, began) = (done(&of_beta), Instant::now());
    alpha.shutdown().await.unwrap();
    let took = began.elapsed();
    assert!(matches!(alpha.state(), SpaceState::Closed));
    assert_eq!(alpha.durable_lsn(), alpha.last_lsn(), "in every mode");
    let acknowledged: Vec<u64> = {
        let mut all = Vec::new();
        for (acked, task) in of_alpha {
            task.await.unwrap();
            all.push(acked.load(Ordering::SeqCst));
        }
        all
    };
    assert_eq!(open_below(&root.join("alpha")), [] as [PathBuf; 0]);
    // An idle machine takes milliseconds; a shared one is given time for a flush and a sync on a busy disk.
    assert!(took < Duration::from_secs(5), "{took:?}");
    alpha.shutdown().await.unwrap();
    assert_eq!(alpha.put("more", "x").await.unwrap_err().kind(), ErrorKind::Closed);
    while done(&of_beta).iter().zip(&before).any(|(now, before)| now <= before) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let again = engine.space(&id("alpha")).await.unwrap();
    assert!(again != alpha, "a new opening");
    for (writer, n) in (0..).zip(acknowledged) {
        for n in 0..n {
            assert!(again.get(format!("{writer} {n:08}")).await.unwrap().is_some(), "{writer} {n}");
        }
    }
    alpha.shutdown().await.unwrap();
    again.put("still", "open").await.unwrap();
    beta.shutdown().await.unwrap();
    for (_, task) in of_beta {
        task.await.unwrap();
    }
    again.shutdown().await.unwrap();
    assert_eq!(open_below(&root.join("beta")), [] as [PathBuf; 0]);
    engine.close().await.unwrap();
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_asks_for_a_space_that_is_shut_down_again_and_again_gets_it_open() {
    let temp = tempfile::tempdir().unwrap();
    let engine = Engine::open(OsEnv::current(), temp.path(), Options::default()).await.unwrap();
    let id = id("alpha");
    engine.create_space(&id).await.unwrap().put("key", "value").await.unwrap();
    for _ in 0..50 {
        let ask = async {
            let space = engine.get_or_create_space(&id).await.unwrap();
            assert_eq!(space.get("key").await.unwrap().unwrap().to_vec(), b"value");
            space
        };
        let end = async { engine.space(&id).await.unwrap().shutdown().await.unwrap() };
        let (one, (), other, reports) = tokio::join!(ask, end, engine.space(&id), engine.recover_all());
        assert_eq!(reports.unwrap().len(), 1);
        let other = other.unwrap();
        let (one, other) = tokio::join!(one.shutdown(), other.shutdown());
        one.and(other).unwrap();
    }
}
