//! One writer, every put acknowledged once it is in the page cache.
use crate::args::Args;
use crate::durable::put_all;
use crate::raw::RawFile;
use crate::records::{Numbers, Order, VALUE, frame_len, key, value};
use crate::report::{Report, Target};
use crate::rounds::{Way, interleave};
use crate::{peer, store};
use bulkhead::Durability;
use bulkhead::env::os::block_on;
use std::path::Path;

/// Puts a round.
const PUTS: usize = 20_000;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, &dir.join("engine"), Durability::Process);
    let spaces = [0, 1, 2].map(|n| store::space(&engine, n));
    let db = peer::open(&dir.join("fjall"));
    let keyspace = peer::keyspace(&db, 0);
    let puts = args.scaled(PUTS);
    let record = value(0, frame_len(VALUE));
    let mut plain = RawFile::create(&dir.join("plain"));
    let len = (puts * (args.rounds + 1) * record.len()) as u64;
    let mut allocated = RawFile::allocated(&dir.join("allocated"), len);
    let mut numbers: [Numbers; 4] = Default::default();
    let [in_task, on_thread, ascending, peers] = &mut numbers;
    let ways = vec![
        Way { name: "raw", work: Box::new(|| (0..puts).for_each(|_| plain.append(&record))) },
        Way { name: "raw allocated", work: Box::new(|| (0..puts).for_each(|_| allocated.append(&record))) },
        Way {
            name: "task",
            work: Box::new(|| {
                let puts = put_all(spaces[0].clone(), in_task.take(puts), Order::Random);
                runtime.block_on(runtime.spawn(puts)).expect("the task ends");
            }),
        },
        Way {
            name: "block_on",
            work: Box::new(|| block_on(put_all(spaces[1].clone(), on_thread.take(puts), Order::Random))),
        },
        Way {
            name: "block_on ascending keys",
            work: Box::new(|| block_on(put_all(spaces[2].clone(), ascending.take(puts), Order::Ascending))),
        },
        Way {
            name: "fjall",
            work: Box::new(|| {
                for n in peers.take(puts) {
                    keyspace.insert(key(n, Order::Random), &record[..VALUE]).expect("fjall writes");
                }
            }),
        },
    ];
    let samples = interleave(args.rounds, ways);
    let len = record.len();
    report.title(&format!("One writer, every put in the page cache (raw: pwrite of {len} bytes)"));
    report.throughput("process", puts, &samples);
    let best = samples[2..4].iter().map(|s| 1.0 / s.times(&samples[0])).fold(0.0, f64::max);
    report.verdict("process.best_vs_raw", best, Target::AtLeast(0.5));
    report.verdict("process.ascending_vs_raw", 1.0 / samples[4].times(&samples[0]), Target::AtLeast(0.5));
    block_on(engine.close()).expect("the engine closes");
}
