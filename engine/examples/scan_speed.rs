//! What a full scan costs for each record, in each direction, with every block in the cache.
//!
//! `cargo run --release -p bulkhead --example scan_speed [RECORDS [ROUNDS]]`. Keys of 16 random bytes, values of 128 that do
//! not compress, written in batches of a hundred; then all jobs have ended. Under `valgrind --tool=callgrind` the
//! difference of two runs with different rounds, by records and rounds, is what one record costs in instructions.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

use bulkhead::codec::mix;
use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::{Batch, Direction, Durability, Engine, Options, Space, SpaceId, WriteOptions};
use std::hint::black_box;
use std::time::Duration;

const BATCH: u64 = 100;

async fn load(space: &Space, records: u64) {
    for first in (0..records).step_by(BATCH as usize) {
        let mut batch = Batch::new();
        for n in first..records.min(first + BATCH) {
            let words = (0..16).map(|i| mix(n * 16 + i).to_le_bytes());
            let value: Vec<u8> = words.flatten().collect();
            batch.put([mix(n).to_be_bytes(), n.to_be_bytes()].concat(), value);
        }
        space.write(&batch, WriteOptions::default()).await.unwrap();
    }
}

/// Until nothing has changed for a while.
fn settle(space: &Space) {
    let look = || {
        let stats = space.stats();
        (stats.jobs, stats.tiers.iter().map(|t| t.tables).collect::<Vec<_>>())
    };
    let (mut before, mut quiet) = (look(), 0);
    while quiet < 4 {
        std::thread::sleep(Duration::from_millis(300));
        let now = look();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

async fn scan(space: &Space, direction: Direction) -> u64 {
    let mut scan = space.scan::<&[u8]>(.., direction);
    let mut records = 0;
    while let Some((key, value)) = scan.next().await.unwrap() {
        assert_eq!(black_box(key.len()) + black_box(value.len()), 144);
        records += 1;
    }
    records
}

/// Nanoseconds that this thread has run for: on a machine that others use too, the clock on the wall says little.
fn cpu_time() -> u64 {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells how long a thread ran");
    stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of nanoseconds")
}

fn main() {
    let mut args = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let (records, rounds) = (args.next().unwrap_or(1_000_000), args.next().unwrap_or(5));
    let home = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    let options = Options {
        durability: Durability::Relaxed,
        memory_budget: 1 << 40,
        cache_bytes: 512 << 20,
        ..Options::default()
    };
    let engine = block_on(Engine::open(env, home.path(), options)).unwrap();
    let space = block_on(engine.get_or_create_space(&SpaceId::new("space").unwrap())).unwrap();
    block_on(load(&space, records));
    settle(&space);
    let stats = space.stats();
    print!("memory {}", stats.memory.holds.entries);
    for tier in &stats.tiers {
        print!("; {} {} in {} tables", tier.tier, tier.holds.entries, tier.tables);
    }
    println!();
    for direction in [Direction::Ascending, Direction::Descending] {
        assert_eq!(block_on(scan(&space, direction)), records);
    }
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut best = f64::INFINITY;
        for _ in 0..rounds {
            let start = cpu_time();
            assert_eq!(block_on(scan(&space, direction)), records);
            best = best.min((cpu_time() - start) as f64 / records as f64);
        }
        println!("{direction:?}: {best:.0} ns of CPU time a record, best of {rounds}");
    }
    block_on(engine.close()).unwrap();
}
