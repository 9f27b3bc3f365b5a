//! Goal: what spaces share is shared fairly: a space within its guaranteed share of memory waits for nobody, one that
//! wants more frees it itself where others are stuck, jobs of a stuck space hold up no other's, and the log of all spaces
//! together stays within its budget. Method: the real file system behind hooks that hold verbs of one space back.
use crate::hooked_env::{Hook, HookedEnv};
use crate::multi_space_persistence::{id, options, scratch};
use bulkhead::env::{IoErrorKind, IoOp};
use bulkhead::{Amount, Durability, Engine, Options, Space, TierOptions, WriteOptions};
use std::path::Path;
use std::time::{Duration, Instant};

async fn spaces(env: &std::sync::Arc<HookedEnv>, root: &Path, options: Options) -> (Engine, Space, Space) {
    let engine = Engine::open(env.clone(), root, options).await.unwrap();
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    for space in [&alpha, &beta] {
        space.put("first", "v").await.unwrap();
    }
    (engine, alpha, beta)
}

/// Ends well before anything that waits for a stuck neighbour would.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap_or_else(|_| panic!("stuck: {what}"))
}

/// Writes to `space` until it has to wait for memory; what was written by then.
async fn until_it_waits(space: &Space) -> usize {
    for n in 0.. {
        let put = async { space.put(format!("k{n:06}"), vec![b'a'; 1000]).await.unwrap() };
        if tokio::time::timeout(Duration::from_millis(500), put).await.is_err() {
            return n;
        }
    }
    unreachable!("memory is bounded")
}

const BUDGET: u64 = 1 << 20;

fn tight() -> Options {
    Options {
        durability: Durability::Process,
        memory_budget: BUDGET,
        memory_share_bytes: 64 * 1024,
        tiers: TierOptions { memtable_bytes: 1 << 30, ..TierOptions::default() },
        ..options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_within_its_share_waits_for_nobody_and_beyond_it_frees_memory_itself() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, alpha, beta) = spaces(&env, temp.path(), tight()).await;
    // Alpha's flushes do not end, and it writes until memory is used up, as far as it may borrow.
    env.rule(IoOp::Create, "alpha/hot/", Hook::Hold);
    until_it_waits(&alpha).await;
    let held = alpha.memory_bytes();
    assert!(held > BUDGET / 4 && held <= BUDGET - 2 * 64 * 1024, "alpha holds {held} of {BUDGET}");
    // Beta has its share at once.
    let started = Instant::now();
    for n in 0..30 {
        soon("within its share", beta.put(format!("k{n}"), vec![b'b'; 1000])).await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(beta.stats().jobs.flushes == 0, "it had no need to give back");
    // And many times as much by and by, since it gives back itself what it took.
    for n in 0..2000 {
        soon("beyond its share", beta.put(format!("l{n}"), vec![b'b'; 1000])).await.unwrap();
    }
    assert!(beta.stats().jobs.flushes > 1);
    let sum = alpha.memory_bytes() + beta.memory_bytes();
    assert!(sum <= BUDGET, "{sum} of {BUDGET}");
    assert_eq!(alpha.stats().jobs.flushes, 0, "alpha is as stuck as before");
    env.lift();
    soon("alpha goes on", alpha.put("last", "v")).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_stuck_space_hold_up_no_others() {
    let temp = scratch();
    let env = HookedEnv::new();
    let tiers = TierOptions { memtable_bytes: 64 * 1024, ..TierOptions::default() };
    let one = Options { durability: Durability::Process, background_jobs: 1, tiers, ..options() };
    let (engine, alpha, beta) = spaces(&env, temp.path(), one).await;
    for space in [&alpha, &beta] {
        for n in 0..300 {
            space.put(format!("k{n}"), vec![b'v'; 1000]).await.unwrap();
        }
    }
    env.rule(IoOp::Create, "alpha/", Hook::Hold);
    let stuck = tokio::spawn({
        let alpha = alpha.clone();
        async move { alpha.compact().await }
    });
    let started = Instant::now();
    while env.count(IoOp::Create, "alpha/warm/") == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "alpha's job never began");
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    soon("beta's jobs", beta.compact()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(900), "it had to wait for a turn first");
    assert!(beta.stats().jobs.moves > 0);
    // A third one that is closed does not wait for a turn, and nobody else's place is lost.
    soon("beta ends", beta.shutdown()).await.unwrap();
    env.lift();
    soon("alpha's job", stuck).await.unwrap().unwrap();
    assert!(alpha.stats().jobs.moves > 0);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_all_spaces_together_stays_within_its_budget() {
    let temp = scratch();
    let env = HookedEnv::new();
    let budget = 1 << 20;
    let tiers = TierOptions {
        memtable_bytes: 1 << 30,
        log_bytes: 1 << 30,
        hot_capacity: Amount { entries: 1 << 20, bytes: 1 << 40 },
        warm_capacity: Amount { entries: 1 << 20, bytes: 1 << 40 },
        ..TierOptions::default()
    };
    let options = Options { log_budget: budget, segment_max: 64 * 1024, tiers, ..options() };
    let engine = Engine::open(env.clone(), temp.path(), options).await.unwrap();
    let mut spaces = Vec::new();
    for n in 0..8 {
        spaces.push(engine.create_space(&id(&format!("s{n}"))).await.unwrap());
    }
    for round in 0..1000 {
        for space in &spaces {
            let mut batch = bulkhead::Batch::new();
            batch.put(format!("k{}", round % 50), vec![b'v'; 1000]);
            let commit = space.write(&batch, WriteOptions::default()).await.unwrap();
            commit.durable(Durability::Process).await.unwrap();
        }
    }
    // Eight megabytes were written. A flush takes a while; once they have ended what is left is within the budget, but for
    // a segment that each space may have begun since.
    let log = || spaces.iter().map(|s| s.stats().log.bytes).sum::<u64>();
    let most = budget + 8 * 64 * 1024;
    let settles = async {
        while log() > most {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(30), settles).await;
    assert!(settled.is_ok(), "{} bytes of log, at most {most} wanted", log());
    assert!(spaces.iter().any(|s| s.stats().jobs.flushes > 0));
    engine.close().await.unwrap();
}

/// 50 KB of quota, of which 20 KB are live, however often they are overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn puts_go_on_once_what_was_overwritten_can_be_merged_away_again() {
    let temp = scratch();
    let env = HookedEnv::new();
    let tiers = TierOptions { quota_bytes: 50_000, memtable_bytes: 4096, ..TierOptions::default() };
    let options = Options { durability: Durability::Process, tiers, ..options() };
    let (_engine, alpha, _beta) = spaces(&env, temp.path(), options).await;
    let put = async |n: u64| alpha.put(format!("key {:06}", n % 200), vec![n as u8; 90]).await;
    env.rule(IoOp::Create, "alpha/warm/", Hook::Fail(IoErrorKind::Device, 5));
    let (mut n, mut refused) = (0, 0);
    while refused < 5 {
        match put(n).await {
            Ok(_) => n += 1,
            Err(_) => refused += 1,
        }
    }
    env.lift();
    // A failed job is tried again after a second, and nobody deletes anything meanwhile.
    let started = Instant::now();
    while let Err(e) = put(n).await {
        assert!(started.elapsed() < Duration::from_secs(20), "still refused: {e}; {:?}", alpha.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for more in n..n + 1000 {
        put(more).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compacting_says_so_where_memory_cannot_be_flushed_for_want_of_log_space() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (_engine, alpha, _beta) = spaces(&env, temp.path(), options()).await;
    env.rule(IoOp::Create, "alpha/wal/", Hook::Fail(IoErrorKind::Device, 5));
    let mut refused = 0;
    // At first there is log space that was prepared before.
    for n in 0..4 {
        if alpha.put(format!("key {n}"), "v").await.is_err() {
            continue;
        }
        match alpha.compact().await {
            Ok(()) => assert_eq!(alpha.stats().memory.holds.entries, 0, "it said that all is done"),
            Err(e) => {
                assert!(e.to_string().contains("log space"), "{e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "{:?}", alpha.stats());
    env.lift();
    // A commit asks for log space anew.
    alpha.put("another", "v").await.unwrap();
    soon("it can be had", async { while alpha.compact().await.is_err() {} }).await;
    assert_eq!(alpha.stats().memory.holds.entries, 0);
}
