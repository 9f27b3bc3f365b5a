//! What a random read costs where everything is cached: memtable, hot, warm, cold, as 1,000,000 records come to lie there.
//!
//! `cargo run --release -p bulkhead --example get_speed [RECORDS [DIRECTORY]]`. Keys of 16 bytes in no order, values of
//! 128 that do not compress. A directory that is named keeps its records, and a later run only reads them: so that
//! `valgrind --tool=callgrind --toggle-collect='*get_speed::gets*'` counts the instructions of reads alone.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

use bulkhead::codec::mix;
use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::{Batch, Durability, Engine, Options, Space, SpaceId, WriteOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

const GETS: u64 = 200_000;

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; 128] {
    let mut value = [0; 128];
    for (i, word) in value.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(n * 16 + i as u64).to_le_bytes());
    }
    value
}

async fn load(space: &Space, records: u64) {
    for first in (0..records).step_by(100) {
        let mut batch = Batch::new();
        (first..records.min(first + 100)).for_each(|n| {
            batch.put(key(n), value(n));
        });
        space.write(&batch, WriteOptions::default()).await.expect("there is room");
    }
}

/// Reads records in no order; how many were there.
#[inline(never)]
fn gets(space: &Space, numbers: impl Iterator<Item = u64>) -> u64 {
    block_on(async {
        let mut found = 0;
        for n in numbers {
            found += u64::from(space.get(key(n)).await.expect("it can be read").is_some());
        }
        found
    })
}

/// Nanoseconds that this thread has run for: on a machine that others use too, the clock on the wall says little.
fn cpu_time() -> u64 {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells how long a thread ran");
    stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of nanoseconds")
}

fn open(dir: &Path, runtime: &tokio::runtime::Runtime) -> Engine {
    let mut options =
        Options { durability: Durability::Relaxed, cache_bytes: 512 << 20, ..Options::default() };
    options.tiers.hot_age_s = 0;
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    block_on(Engine::open(env, dir, options)).expect("the engine opens")
}

fn main() {
    let mut args = std::env::args().skip(1);
    let records: u64 = args.next().map_or(1_000_000, |n| n.parse().expect("a number of records"));
    let ours = tempfile::tempdir().expect("there is room");
    let dir = args.next().map_or_else(|| ours.path().join("data"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let engine = open(&dir, &runtime);
    let id = SpaceId::new("records").expect("a legal id");
    let space = block_on(engine.get_or_create_space(&id)).expect("the space opens");
    if block_on(space.get(key(records - 1))).expect("it can be read").is_none() {
        block_on(load(&space, records));
        std::thread::sleep(Duration::from_secs(5));
    }
    assert_eq!(gets(&space, 0..records), records, "all are there, and cached from here on");
    for (name, first, expected) in [("there", 0, GETS), ("absent", records, 0)] {
        let times = (0..7).map(|round| {
            let start = cpu_time();
            let numbers = (0..GETS).map(|n| first + mix(n + round * GETS) % records);
            assert_eq!(gets(&space, numbers), expected);
            (cpu_time() - start) as f64 / GETS as f64
        });
        let best = times.fold(f64::INFINITY, f64::min);
        println!("{records} records, keys that are {name}: {best:.0} ns of CPU a read, best of seven");
    }
    block_on(engine.close()).expect("the engine closes");
}
