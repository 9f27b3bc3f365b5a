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

use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::env::{Access, Dir, Env, File, Missing};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECORD: usize = 512;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from).join("bulkhead-sync-hop");
    let rounds: u64 = args.next().map_or(300, |n| n.parse().expect("a number of rounds"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    let no_spin = {
        let mut options = OsOptions::default();
        options.changes.spin = Duration::ZERO;
        OsEnv::new(runtime.handle().clone(), options)
    };
    let root = block_on(env.open_root(&dir, Missing::Create)).unwrap();
    let root_no_spin = block_on(no_spin.open_root(&dir, Missing::Create)).unwrap();

    let allocated = open_std(&*root, "allocated", rounds * RECORD as u64);
    let zeroed = open_std(&*root, "zeroed", rounds * RECORD as u64);
    zeroed.write_all_at(&vec![0; rounds as usize * RECORD], 0).unwrap();
    zeroed.sync_all().unwrap();
    let files: Vec<Arc<dyn File>> = [&root, &root, &root_no_spin, &root_no_spin]
        .iter()
        .enumerate()
        .map(|(n, root)| open(&***root, &format!("env-{n}"), rounds * RECORD as u64))
        .collect();

    let names = [
        "inline, allocated",
        "inline, zeros written before",
        "OsEnv, tokio task",
        "OsEnv, block_on",
        "OsEnv, tokio task, no spinning",
        "OsEnv, block_on, no spinning",
    ];
    let mut times = vec![Vec::new(); names.len()];
    // Short runs of each way in turn: alternating single appends would let every thread fall asleep in between.
    let run = 50;
    for first in (0..rounds).step_by(run) {
        for way in 0..names.len() {
            for n in first..(first + run as u64).min(rounds) {
                let took = match way {
                    0 => inline(&allocated, n),
                    1 => inline(&zeroed, n),
                    2 | 4 => {
                        let file = Arc::clone(&files[way - 2]);
                        // The task stays one for the whole run in an engine; here a join per append would be timed.
                        block_on(runtime.spawn(async move { append(&*file, n).await })).unwrap()
                    }
                    _ => block_on(append(&*files[way - 2], n)),
                };
                times[way].push(took);
            }
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

async fn append(file: &dyn File, n: u64) -> Duration {
    let record = vec![1; RECORD];
    let since = Instant::now();
    file.write_at(n * RECORD as u64, record).await.unwrap();
    file.sync().await.unwrap();
    since.elapsed()
}
