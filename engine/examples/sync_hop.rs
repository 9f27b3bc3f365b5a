//! What a durable append costs a single writer through `OsEnv`, beside the same calls made directly.
//!
//! `cargo run --release -p bulkhead --example sync_hop [DIRECTORY [ROUNDS]]`. In memory (`/dev/shm`) a sync costs
//! nothing and what remains is the hop to the pool and back; on a disk the rounds of all ways are interleaved, so that
//! its moods hit them alike.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

use bulkhead::env::os::{OsEnv, OsOptions, block_on, block_on_here};
use bulkhead::env::{Access, Dir, Env, File, Io, Missing, Owner};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECORD: usize = 512;
/// Appends of one way before the next has its turn.
const RUN: usize = 50;
/// Tasks that append to a file of their own each, all at once.
const WRITERS: u64 = 16;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from).join("bulkhead-sync-hop");
    let rounds: u64 = args.next().map_or(300, |n| n.parse().expect("a number of rounds"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    let root = block_on(env.open_root(&dir, Missing::Create)).unwrap();

    let allocated = open_std(&*root, "allocated", rounds * RECORD as u64);
    let zeroed = open_std(&*root, "zeroed", rounds * RECORD as u64);
    zeroed.write_all_at(&vec![0; rounds as usize * RECORD], 0).unwrap();
    zeroed.sync_all().unwrap();
    let files: Vec<_> = (0..3).map(|n| open(&*root, &format!("env-{n}"), rounds * RECORD as u64)).collect();

    let names = [
        "inline, allocated",
        "inline, zeros written before",
        "OsEnv, tokio task",
        "OsEnv, block_on",
        "OsEnv, block_on_here",
    ];
    let mut times = vec![Vec::new(); names.len()];
    // Short runs of each way in turn: single appends in turn would let every thread fall asleep in between.
    for first in (0..rounds).step_by(RUN) {
        let run = first..rounds.min(first + RUN as u64);
        for (way, times) in times.iter_mut().enumerate() {
            times.extend(match way {
                0 => run.clone().map(|n| inline(&allocated, n)).collect(),
                1 => run.clone().map(|n| inline(&zeroed, n)).collect(),
                2 => block_on(in_task(&*env, Arc::clone(&files[0]), run.clone())).unwrap(),
                3 => block_on(appends(Arc::clone(&files[1]), run.clone())),
                _ => block_on_here(appends(Arc::clone(&files[2]), run.clone())),
            });
        }
    }
    println!("{rounds} durable appends of {RECORD} bytes in {}", dir.display());
    println!("{:32} {:>9} {:>9} {:>9} {:>9}", "way", "p10", "p50", "p90", "p99");
    for (name, times) in names.iter().zip(&mut times) {
        times.sort();
        let at =
            |percent: usize| format!("{:.1} µs", times[times.len() * percent / 100].as_nanos() as f64 / 1e3);
        println!("{name:32} {:>9} {:>9} {:>9} {:>9}", at(10), at(50), at(90), at(99));
    }
    println!("{WRITERS} writers at once, {} appends each", rounds / 10);
    let all: Vec<_> = (0..WRITERS)
        .map(|n| open(&*root.as_owner(Owner(n)), &format!("writer-{n}"), rounds * RECORD as u64))
        .collect();
    let since = Instant::now();
    let tasks: Vec<_> = all.into_iter().map(|file| in_task(&*env, file, 0..rounds / 10)).collect();
    tasks.into_iter().for_each(|task| drop(block_on(task)));
    let rate = (WRITERS * (rounds / 10)) as f64 / since.elapsed().as_secs_f64();
    println!("OsEnv, tokio tasks {rate:23.0} appends a second");
    std::fs::remove_dir_all(&dir).unwrap();
}

fn open(root: &dyn Dir, name: &str, len: u64) -> Arc<dyn File> {
    let _ = block_on(root.remove(name));
    let file = block_on(root.create(name)).unwrap();
    block_on(file.allocate(len)).unwrap();
    block_on(file.sync()).unwrap();
    block_on(root.open(name, Access::Write)).unwrap()
}

fn open_std(root: &dyn Dir, name: &str, len: u64) -> std::fs::File {
    let path = open(root, name, len).path();
    std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn inline(file: &std::fs::File, n: u64) -> Duration {
    let record = [1; RECORD];
    let since = Instant::now();
    file.write_all_at(&record, n * RECORD as u64).unwrap();
    file.sync_data().unwrap();
    since.elapsed()
}

fn in_task(env: &dyn Env, file: Arc<dyn File>, records: Range<u64>) -> Io<Vec<Duration>> {
    let (completer, times) = Io::pending();
    let task = async move { completer.complete(Ok(appends(file, records).await)) };
    env.spawn(Owner(1), "appends", Box::pin(task));
    times
}

async fn appends(file: Arc<dyn File>, records: Range<u64>) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in records {
        let record = vec![1; RECORD];
        tokio::task::yield_now().await; // A committer waits for its next group.
        let since = Instant::now();
        file.write_at(n * RECORD as u64, record).await.unwrap();
        file.sync().await.unwrap();
        times.push(since.elapsed());
    }
    times
}
