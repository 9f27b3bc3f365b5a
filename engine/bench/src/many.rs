//! 64 writers in 64 spaces, every put synced before the writer's next.
use crate::args::Args;
use crate::durable::put_all;
use crate::raw::RawFile;
use crate::records::{Numbers, Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::rounds::{Way, interleave};
use crate::{peer, store};
use bulkhead::env::os::block_on;
use bulkhead::limits::SECTOR;
use bulkhead::{Durability, Space};
use std::path::Path;
use std::thread;

const WRITERS: usize = 64;
/// Puts of each writer a round.
const PUTS: usize = 20;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, &dir.join("engine"), Durability::Power);
    let spaces: Vec<Space> = (0..WRITERS).map(|n| store::space(&engine, n)).collect();
    let db = peer::open(&dir.join("fjall"));
    let keyspaces: Vec<_> = (0..WRITERS).map(|n| peer::keyspace(&db, n)).collect();
    let puts = args.scaled(PUTS);
    let record = &value(0, SECTOR);
    let files = |name: &str, make: &dyn Fn(&Path) -> RawFile| -> Vec<RawFile> {
        (0..WRITERS).map(|n| make(&dir.join(format!("{name}-{n}")))).collect()
    };
    let len = (puts * (args.rounds + 1) * SECTOR) as u64;
    let mut plain = files("plain", &|path| RawFile::create(path));
    let mut allocated = files("allocated", &|path| RawFile::allocated(path, len));
    let (mut ours, mut theirs) = (Numbers::default(), Numbers::default());
    let in_threads = |files: &mut Vec<RawFile>| {
        thread::scope(|scope| {
            for file in files {
                scope.spawn(|| (0..puts).for_each(|_| file.append_synced(record)));
            }
        });
    };
    let ways = vec![
        Way { name: "raw", work: Box::new(|| in_threads(&mut plain)) },
        Way { name: "raw allocated", work: Box::new(|| in_threads(&mut allocated)) },
        Way {
            name: "tasks",
            work: Box::new(|| {
                let range = ours.take(puts);
                let tasks: Vec<_> = spaces
                    .iter()
                    .map(|s| runtime.spawn(put_all(s.clone(), range.clone(), Order::Random)))
                    .collect();
                tasks.into_iter().for_each(|t| runtime.block_on(t).expect("the task ends"));
            }),
        },
        Way {
            name: "fjall one journal",
            work: Box::new(|| {
                let range = theirs.take(puts);
                thread::scope(|scope| {
                    for keyspace in &keyspaces {
                        let (range, db) = (range.clone(), &db);
                        scope.spawn(move || {
                            for n in range {
                                keyspace
                                    .insert(key(n, Order::Random), value(n, VALUE))
                                    .expect("fjall writes");
                                db.persist(fjall::PersistMode::SyncData).expect("fjall syncs");
                            }
                        });
                    }
                });
            }),
        },
    ];
    let samples = interleave(args.rounds, ways);
    report.title("64 writers in 64 spaces, every put synced (raw: 64 threads, a file each)");
    report.throughput("many", puts * WRITERS, &samples);
    report.verdict("many.vs_raw", 1.0 / samples[2].times(&samples[0]), Target::AtLeast(0.8));
    block_on(engine.close()).expect("the engine closes");
}
