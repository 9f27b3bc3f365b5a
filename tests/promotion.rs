//! Goal: what is read repeatedly comes up into hot, without a flush and in a space that rests; whatever is written or
//! flushed meanwhile, nothing older comes back. Tables that have come of age move down once their space is used again.
//! Method: the real file system behind hooks that hold verbs back, and a wall clock that the test sets.
use crate::hooked_env::{Hook, HookedEnv};
use crate::multi_space_persistence::{id, scratch};
use bulkhead::env::IoOp;
use bulkhead::{Durability, Engine, Options, Space, TierOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DAY: u64 = 86_400;

/// Some keys and values, two of them too long to lie among the entries.
fn entry(n: usize) -> (String, Vec<u8>) {
    (format!("key {n:03}"), vec![n as u8; if n < 2 { 20_000 } else { 50 }])
}

const ENTRIES: usize = 40;

struct Bench {
    temp: tempfile::TempDir,
    env: Arc<HookedEnv>,
    engine: Engine,
    space: Space,
    /// Seconds since 1970.
    now_s: u64,
}

async fn open(env: &Arc<HookedEnv>, root: &Path) -> (Engine, Space) {
    let tiers = TierOptions {
        memtable_bytes: 4096,
        hot_age_s: DAY,
        warm_age_s: DAY,
        promote_window_s: 10 * DAY,
        ..TierOptions::default()
    };
    let options = Options { durability: Durability::Process, tiers, ..Options::default() };
    let engine = Engine::open(env.clone(), root, options).await.unwrap();
    let space = engine.get_or_create_space(&id("alpha")).await.unwrap();
    (engine, space)
}

impl Bench {
    /// All entries lie in cold, and the space rests: nobody waits for anything in it.
    async fn cold() -> Bench {
        let (temp, env) = (scratch(), HookedEnv::new());
        let now_s = 20_000 * DAY;
        env.set_wall(Duration::from_secs(now_s));
        let (engine, space) = open(&env, temp.path()).await;
        let mut bench = Bench { temp, env, engine, space, now_s };
        for n in 0..ENTRIES {
            let (key, value) = entry(n);
            bench.space.put(&key, &value).await.unwrap();
        }
        bench.flush().await;
        // What is flushed only now comes of age with one of the next steps. Little stays in memory, so that nothing is
        // flushed later but on purpose.
        let started = Instant::now();
        let is_done = |b: &Bench| b.space.memory_bytes() < 2000 && matches!(b.files(), (0, 0, 1..));
        for n in 0.. {
            if is_done(&bench) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "never: all goes down to cold");
            bench.pass(2 * DAY);
            bench.space.put(format!("small {n}"), [7; 50]).await.unwrap();
            // The driver ticks a few times.
            let step = Instant::now();
            while step.elapsed() < Duration::from_millis(500) && !is_done(&bench) {
                tokio::task::yield_now().await;
            }
        }
        bench.engine.close().await.unwrap();
        let (engine, space) = open(&bench.env, bench.temp.path()).await;
        (bench.engine, bench.space) = (engine, space);
        bench
    }

    fn pass(&mut self, seconds: u64) {
        self.now_s += seconds;
        self.env.set_wall(Duration::from_secs(self.now_s));
    }

    /// Tables in hot, warm and cold.
    fn files(&self) -> (usize, usize, usize) {
        let count = |tier| self.names(tier).len();
        (count("hot"), count("warm"), count("cold"))
    }

    fn names(&self, tier: &str) -> Vec<String> {
        let list = std::fs::read_dir(self.temp.path().join("alpha").join(tier)).unwrap();
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Writes until the memtable is flushed, and little more.
    async fn flush(&self) {
        let before = self.space.stats().jobs.flushes;
        let started = Instant::now();
        while self.space.stats().jobs.flushes == before {
            assert!(started.elapsed() < Duration::from_secs(30), "never: the memtable is flushed");
            if self.space.memory_bytes() < 4096 {
                self.space.put("filler", [7; 100]).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read(&self, n: usize) {
        let (key, value) = entry(n);
        assert_eq!(self.space.get(&key).await.unwrap().as_deref(), Some(&value[..]));
    }

    async fn promoted(&self, promotions: u64) {
        until("it is promoted", || self.space.stats().jobs.promotions == promotions).await;
    }

    /// The key holds `expected` now, and in the next opening.
    async fn holds(self, n: usize, expected: Option<&[u8]>) {
        let (key, _) = entry(n);
        assert_eq!(self.space.get(&key).await.unwrap().as_deref(), expected);
        self.engine.close().await.unwrap();
        let (engine, space) = open(&self.env, self.temp.path()).await;
        assert_eq!(space.get(&key).await.unwrap().as_deref(), expected, "after a reopen");
        for n in (0..ENTRIES).filter(|other| *other != n) {
            let (key, value) = entry(n);
            assert_eq!(space.get(&key).await.unwrap().as_deref(), Some(&value[..]), "{key}");
        }
        engine.close().await.unwrap();
    }
}

/// Waits for something that happens by itself.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_read_brings_an_entry_up_without_a_flush() {
    let mut bench = Bench::cold().await;
    // One lies among the entries of its table, the other apart.
    for (n, promotions) in [(5, 1), (1, 2)] {
        // The first read of a minute has jobs looked for; the one that counts comes after that.
        bench.read(9).await;
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(100) {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            assert_eq!(bench.space.stats().jobs.promotions, promotions - 1);
            bench.read(n).await;
        }
        bench.promoted(promotions).await;
        bench.read(n).await;
        bench.pass(60);
    }
    let done = bench.space.stats().jobs;
    assert_eq!((done.flushes, done.entries_promoted, done.entries_left), (0, 2, 0));
    let cold = bench.files().2;
    assert!(cold > 0, "the originals stay");
    let (_, value) = entry(1);
    bench.holds(1, Some(&value)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_and_snapshots_read_a_promoted_entry_once() {
    let bench = Bench::cold().await;
    let before = bench.space.snapshot();
    for _ in 0..3 {
        bench.read(5).await;
    }
    bench.promoted(1).await;
    let after = bench.space.snapshot();
    let (key, value) = entry(5);
    for snapshot in [before, after] {
        assert_eq!(snapshot.get(key.as_bytes()).await.unwrap().as_deref(), Some(&value[..]));
        let mut scan = snapshot.scan::<&[u8]>(.., bulkhead::Direction::Ascending);
        let mut keys = Vec::new();
        while let Some((key, _)) = scan.next().await.unwrap() {
            keys.push(key);
        }
        assert!(keys.is_sorted_by(|a, b| a < b) && keys.iter().any(|k| k[..] == *key.as_bytes()));
    }
    bench.engine.close().await.unwrap();
}

/// The table of the promotion is written; then the entry is overwritten or deleted, and that is flushed before the
/// promotion goes on.
async fn flushed_within_a_promotion(value: Option<&[u8]>) {
    let bench = Bench::cold().await;
    let (key, _) = entry(5);
    bench.env.rule(IoOp::Sync, "/hot/", Hook::Hold);
    let syncs = bench.env.count(IoOp::Sync, "/hot/");
    for _ in 0..3 {
        bench.read(5).await;
    }
    until("the promotion syncs its table", || bench.env.count(IoOp::Sync, "/hot/") > syncs).await;
    let [table] = &bench.names("hot")[..] else { panic!("one table is being written") };
    bench.env.only(IoOp::Sync, table, Hook::Hold);
    match value {
        Some(value) => bench.space.put(&key, value).await.unwrap(),
        None => bench.space.delete(&key).await.unwrap(),
    };
    bench.flush().await;
    assert_eq!(bench.space.stats().jobs.promotions, 0);
    bench.env.lift();
    bench.promoted(1).await;
    bench.holds(5, value).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_that_is_flushed_within_a_promotion_stays_above_the_copy() {
    flushed_within_a_promotion(Some(b"newer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_flushed_within_a_promotion_stays_above_the_copy() {
    flushed_within_a_promotion(None).await;
}

/// A second promotion waits for the next minute; meanwhile its entry is overwritten or deleted, and that is flushed.
async fn flushed_before_a_promotion(value: Option<&[u8]>) {
    let mut bench = Bench::cold().await;
    for _ in 0..3 {
        bench.read(5).await;
    }
    bench.promoted(1).await;
    for _ in 0..3 {
        bench.read(6).await;
    }
    let (key, _) = entry(6);
    match value {
        Some(value) => bench.space.put(&key, value).await.unwrap(),
        None => bench.space.delete(&key).await.unwrap(),
    };
    bench.flush().await;
    assert_eq!(bench.space.stats().jobs.promotions, 1);
    bench.pass(60);
    bench.read(7).await;
    until("it is looked at again", || bench.space.stats().jobs.entries_left == 1).await;
    assert_eq!(bench.space.stats().jobs.promotions, 1);
    bench.holds(6, value).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_overwritten_meanwhile_is_not_promoted() {
    flushed_before_a_promotion(Some(b"newer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_meanwhile_is_not_promoted() {
    flushed_before_a_promotion(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_in_a_space_that_rests_has_ages_looked_at() {
    let mut bench = Bench::cold().await;
    for _ in 0..3 {
        bench.read(5).await;
    }
    bench.promoted(1).await;
    assert!(bench.files().0 > 0);
    bench.pass(2 * DAY);
    bench.read(9).await;
    until("the promoted table has come of age", || bench.files().0 == 0).await;
    bench.engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_read_does_not_come_of_age() {
    let mut bench = Bench::cold().await;
    for (n, promotions) in [(6, 1), (5, 2)] {
        for _ in 0..3 {
            bench.read(n).await;
        }
        bench.promoted(promotions).await;
        bench.pass(60);
    }
    // The last access counts, not when it was promoted.
    bench.pass(DAY - 3600);
    bench.read(5).await;
    bench.pass(DAY - 3600);
    bench.read(9).await;
    until("the other one has come of age", || bench.files().0 < 2).await;
    bench.engine.close().await.unwrap();
    assert_eq!(bench.files().0, 1, "both would have gone down in one move");
}
