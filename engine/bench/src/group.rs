//! Eight writers in one space, every put synced before the writer's next: what sharing a sync is worth, and what it costs
//! the slowest.
use crate::args::Args;
use crate::durable::put_all;
use crate::records::{Numbers, Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::rounds::{Way, interleave};
use crate::store;
use bulkhead::env::os::block_on;
use bulkhead::{Durability, Space};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

const WRITERS: usize = 8;
/// Puts a round, of all writers together.
const PUTS: usize = 400;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, &dir.join("engine"), Durability::Power);
    let spaces: Vec<Space> = (0..2).map(|n| store::space(&engine, n)).collect();
    let puts = args.scaled(PUTS / WRITERS) * WRITERS;
    let (mut alone, mut together) = (Numbers::default(), Numbers::default());
    let mut latencies: Vec<Duration> = Vec::new();
    let ways = vec![
        Way {
            name: "1 writer",
            work: Box::new(|| {
                let (space, range) = (spaces[0].clone(), alone.take(puts));
                runtime.block_on(runtime.spawn(put_all(space, range, Order::Random))).expect("the task ends");
            }),
        },
        Way {
            name: "8 writers",
            work: Box::new(|| {
                let writers: Vec<_> = (0..WRITERS)
                    .map(|_| runtime.spawn(timed(spaces[1].clone(), together.take(puts / WRITERS))))
                    .collect();
                for writer in writers {
                    latencies.extend(runtime.block_on(writer).expect("the task ends"));
                }
            }),
        },
    ];
    let samples = interleave(args.rounds, ways);
    report.title("8 writers in one space, every put synced (128-byte values; beside one writer alone)");
    report.throughput("group", puts, &samples);
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3;
    report.verdict("group.8_vs_1", 1.0 / samples[1].times(&samples[0]), Target::AtLeast(4.0));
    report.verdict("group.p99_ms", p99, Target::AtMost(10.0));
    block_on(engine.close()).expect("the engine closes");
}

/// Puts, each once the one before is acknowledged, and how long each took.
pub async fn timed(space: Space, range: Range<u64>) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(range.clone().count());
    let value = value(0, VALUE);
    for n in range {
        let started = Instant::now();
        space.put(key(n, Order::Random), &value).await.expect("the engine writes");
        latencies.push(started.elapsed());
    }
    latencies
}
