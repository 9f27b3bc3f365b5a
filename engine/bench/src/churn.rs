//! Far more written than is live, without a restart: log and disk stay within stated limits.
use crate::args::Args;
use crate::meter::{cost, drained, during};
use crate::raw::allocated;
use crate::records::{KEY, Order, key, value};
use crate::report::{Report, Target};
use crate::store;
use bulkhead::env::os::block_on;
use bulkhead::limits::SEGMENT_MAX;
use bulkhead::{Batch, Durability, WriteOptions};
use std::path::Path;
use std::sync::Mutex;

/// Bytes of keys and values that are live.
const LIVE: usize = 100 << 20;
const VALUE: usize = 1024;
/// Writes of a commit.
const BATCH: usize = 100;
/// The option `log-bytes`: writers are slowed down from here on, and stopped at twice as much.
const LOG: u64 = 64 << 20;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let keys = (args.scaled(LIVE) / (KEY + VALUE)) as u64;
    let live = keys as f64 * (KEY + VALUE) as f64;
    let mib = args.scaled(args.churn_mib as usize);
    let passes = (mib as f64 * f64::from(1 << 20) / live).ceil() as u64;
    report.title(&format!("{mib} MiB written into {:.0} MiB of live data", live / f64::from(1 << 20)));
    let root = dir.join("engine");
    let runtime = store::runtime();
    let mut options = store::options(Durability::Process);
    options.tiers.log_bytes = LOG;
    // The next segment is made ahead of need; none is longer than a quarter of what the log may take, or a memtable.
    let log_limit = 2 * LOG + (LOG.min(options.tiers.memtable_bytes) / 4).min(SEGMENT_MAX);
    // Live data as a store at rest may take it, the log, and what a job has read and not removed yet.
    let disk_limit = 1.25 * live + log_limit as f64 + options.tiers.job_bytes as f64;
    let engine = store::open_with(&runtime, &root, options);
    let space = store::space(&engine, 0);
    let home = root.join("space-0");
    let peaks = Mutex::new((0, 0));
    let look = || {
        let (log, disk) = (allocated(&home.join("wal")), allocated(&root));
        let mut peaks = peaks.lock().expect("nobody panics");
        *peaks = (peaks.0.max(log), peaks.1.max(disk));
    };
    let took = during(look, || {
        cost(|| {
            block_on(async {
                for pass in 0..passes {
                    // All keys, in the order of neither keys nor the pass before.
                    let mut order = (0..keys).map(|n| (n * 7919 + pass * 104_729) % keys);
                    loop {
                        let mut batch = Batch::new();
                        for k in order.by_ref().take(BATCH) {
                            batch.put(key(k, Order::Random), value(k + pass * keys, VALUE));
                        }
                        if batch.is_empty() {
                            break;
                        }
                        let commit = space.write(&batch, WriteOptions::default()).await;
                        let commit = commit.expect("the engine writes");
                        commit.durable(Durability::Process).await.expect("the engine writes");
                    }
                }
            });
        })
    });
    let (log, disk) = *peaks.lock().expect("nobody panics");
    let rate = passes as f64 * live / took.wall.as_secs_f64() / f64::from(1 << 20);
    println!("  {:.1} s, {rate:.0} MiB a second", took.wall.as_secs_f64());
    let jobs = space.stats().jobs;
    println!("  {} flushes, {} merges, {} moves", jobs.flushes, jobs.merges, jobs.moves);
    println!("  at most {} MiB of log, {} MiB in all", log >> 20, disk >> 20);
    report.verdict("churn.log_of_limit", log as f64 / log_limit as f64, Target::AtMost(1.0));
    report.verdict("churn.disk_of_limit", disk as f64 / disk_limit, Target::AtMost(1.0));
    drained(&root);
    report.told("churn.rest_of_live", allocated(&root) as f64 / live);
    block_on(async {
        for k in 0..keys {
            let found = space.get(key(k, Order::Random)).await.expect("the engine reads");
            assert!(
                found.is_some_and(|v| v[..] == value(k + (passes - 1) * keys, VALUE)[..]),
                "the last value of record {k} is there"
            );
        }
        engine.close().await.expect("the engine closes");
    });
}
