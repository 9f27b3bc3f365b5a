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
    let spaces = [store::space(&engine, 0), store::space(&engine, 1)];
    let db = peer::open(&dir.join("fjall"));
    let keyspace = peer::keyspace(&db, 0);
    let puts = args.scaled(PUTS);
    let record = value(0, frame_len(VALUE));
    let mut plain = RawFile::create(&dir.join("plain"));
    let mut numbers: [Numbers; 3] = Default::default();
    let [in_task, on_thread, peers] = &mut numbers;
    let ways = vec![
        Way { name: "raw", work: Box::new(|| (0..puts).for_each(|_| plain.append(&record))) },
        Way {
            name: "task",
            work: Box::new(|| {
                let puts = put_all(spaces[0].clone(), in_task.take(puts));
                runtime.block_on(runtime.spawn(puts)).expect("the task ends");
            }),
        },
        Way {
            name: "block_on",
            work: Box::new(|| block_on(put_all(spaces[1].clone(), on_thread.take(puts)))),
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
    let best = samples[1..3].iter().map(|s| 1.0 / s.times(&samples[0])).fold(0.0, f64::max);
    report.verdict("process.best_vs_raw", best, Target::AtLeast(0.5));
    block_on(engine.close()).expect("the engine closes");
}
