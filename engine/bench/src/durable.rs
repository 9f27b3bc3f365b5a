//! One writer, 16-byte keys, 128-byte values, every put synced before the next.
use crate::args::Args;
use crate::raw::RawFile;
use crate::records::{Numbers, Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::rounds::{Way, interleave};
use crate::{peer, store};
use bulkhead::env::os::{block_on, block_on_here};
use bulkhead::limits::SECTOR;
use bulkhead::{Durability, Space};
use std::path::Path;

/// Puts a round.
const PUTS: usize = 100;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, &dir.join("engine"), Durability::Power);
    let spaces: Vec<Space> = (0..3).map(|n| store::space(&engine, n)).collect();
    let db = peer::open(&dir.join("fjall"));
    let keyspace = peer::keyspace(&db, 0);
    let puts = args.scaled(PUTS);
    let all = (puts * (args.rounds + 1)) as u64;
    // What the engine writes for one put: a synced frame ends with its sector.
    let record = value(0, SECTOR);
    let mut plain = RawFile::create(&dir.join("plain"));
    let mut allocated = RawFile::allocated(&dir.join("allocated"), all * SECTOR as u64);
    let mut numbers: [Numbers; 4] = Default::default();
    let [in_task, on_thread, here, peers] = &mut numbers;
    let ways = vec![
        Way { name: "raw", work: Box::new(|| (0..puts).for_each(|_| plain.append_synced(&record))) },
        Way {
            name: "raw allocated",
            work: Box::new(|| (0..puts).for_each(|_| allocated.append_synced(&record))),
        },
        Way {
            name: "task",
            work: Box::new(|| {
                let (space, range) = (spaces[0].clone(), in_task.take(puts));
                runtime.block_on(runtime.spawn(put_all(space, range, Order::Random))).expect("the task ends");
            }),
        },
        Way {
            name: "block_on",
            work: Box::new(|| block_on(put_all(spaces[1].clone(), on_thread.take(puts), Order::Random))),
        },
        Way {
            name: "block_on_here",
            work: Box::new(|| block_on_here(put_all(spaces[2].clone(), here.take(puts), Order::Random))),
        },
        Way {
            name: "fjall",
            work: Box::new(|| {
                for n in peers.take(puts) {
                    keyspace.insert(key(n, Order::Random), &record[..VALUE]).expect("fjall writes");
                    db.persist(fjall::PersistMode::SyncData).expect("fjall syncs");
                }
            }),
        },
    ];
    let samples = interleave(args.rounds, ways);
    report.title("One writer, every put synced (128-byte values; raw: append of 512 bytes, fdatasync)");
    report.throughput("durable", puts, &samples);
    let best = samples[2..5].iter().map(|s| 1.0 / s.times(&samples[0])).fold(0.0, f64::max);
    report.verdict("durable.best_vs_raw", best, Target::AtLeast(0.9));
    block_on(engine.close()).expect("the engine closes");
}

/// Puts, each once the one before is acknowledged.
pub async fn put_all(space: Space, range: std::ops::Range<u64>, order: Order) {
    let mut value = value(0, VALUE);
    for n in range {
        value[..8].copy_from_slice(&n.to_le_bytes());
        space.put(key(n, order), &value).await.expect("the engine writes");
    }
}
