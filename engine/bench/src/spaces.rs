//! 10,000 spaces of ten records under 1,024 descriptors, beside as many files of redb.
//!
//! LMDB is not among the peers: the sources that its crates bring along are under the OpenLDAP licence, which `deny.toml`
//! does not allow, and every opening of an environment is an unsafe call.
use crate::args::Args;
use crate::beside::TABLE;
use crate::meter::{self, cost, during};
use crate::records::{Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::store;
use bulkhead::Durability;
use bulkhead::env::os::block_on;
use redb::{Database, ReadableDatabase};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

const SPACES: usize = 10_000;
/// Records of each.
const RECORDS: u64 = 10;
const DESCRIPTORS: u64 = 1024;
/// Descriptors that are no space's: the root, the standard streams, the runtime.
const OTHERS: f64 = 32.0;
/// Threads that open files of redb, as many as the runtime has.
const THREADS: usize = 2;

/// The most seen of each.
#[derive(Debug, Clone, Copy, Default)]
struct Peaks {
    descriptors: usize,
    threads: usize,
    memory: u64,
}

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let spaces = args.scaled(SPACES);
    report.title(&format!("{spaces} spaces of {RECORDS} records, {DESCRIPTORS} descriptors for all"));
    let (home, runtime) = (dir.join("engine"), store::runtime());
    let options = || {
        let mut options = store::options(Durability::Process);
        options.max_descriptors = DESCRIPTORS;
        options
    };
    let (create, made) = watched(|| {
        let engine = store::open_with(&runtime, &home, options());
        block_on(async {
            for n in 0..spaces {
                let space = engine.get_or_create_space(&store::id(n)).await.expect("the space is made");
                for r in 0..RECORDS {
                    space.put(key(r, Order::Random), value(r, VALUE)).await.expect("the engine writes");
                }
            }
            engine.close().await.expect("the engine closes");
        });
    });
    let mut engine = None;
    let (open, opened) = watched(|| {
        let open = store::open_with(&runtime, &home, options());
        assert_eq!(block_on(open.recover_all()).expect("every space is looked at").len(), spaces);
        engine = Some(open);
    });
    let engine = engine.expect("just opened");
    let (read, reads) = watched(|| {
        block_on(async {
            for n in 0..spaces {
                let space = engine.space(&store::id(n)).await.expect("the space opens");
                let found =
                    space.get(key(n as u64 % RECORDS, Order::Random)).await.expect("the engine reads");
                assert_eq!(found.expect("the record is there")[..], value(n as u64 % RECORDS, VALUE)[..]);
            }
        });
    });
    block_on(engine.close()).expect("the engine closes");
    drop(engine);
    let ours = [("create", create, made), ("open", open, opened), ("read", read, reads)];

    let files = dir.join("redb");
    std::fs::create_dir(&files).expect("there is room");
    let path = |n: usize| files.join(format!("{n}.redb"));
    let (create, made) = watched(|| drop((0..spaces).map(|n| fill(&path(n))).collect::<Vec<_>>()));
    let mut all: Vec<Database> = Vec::new();
    let (open, opened) = watched(|| {
        let numbers: Vec<usize> = (0..spaces).collect();
        let open = |n: &usize| Database::open(path(*n)).expect("redb opens");
        let part = |part: &[usize]| part.iter().map(open).collect::<Vec<_>>();
        thread::scope(|scope| {
            let parts: Vec<_> =
                numbers.chunks(spaces.div_ceil(THREADS)).map(|p| scope.spawn(|| part(p))).collect();
            parts.into_iter().for_each(|p| all.extend(p.join().expect("the thread ends")));
        });
    });
    let (read, reads) = watched(|| {
        for (n, db) in all.iter().enumerate() {
            let table = db.begin_read().expect("redb reads").open_table(TABLE).expect("redb reads");
            let found = table.get(&key(n as u64 % RECORDS, Order::Random)[..]).expect("redb reads");
            assert_eq!(found.expect("the record is there").value(), value(n as u64 % RECORDS, VALUE));
        }
    });
    drop(all);
    let theirs = [("create", create, made), ("open", open, opened), ("read", read, reads)];
    println!(
        "  {:10} {:8} {:>8} {:>8} {:>10} {:>12} {:>8}",
        "store", "step", "seconds", "CPU s", "peak MiB", "descriptors", "threads"
    );
    for (store, steps) in [("bulkhead", &ours), ("redb", &theirs)] {
        for (step, cost, peaks) in steps {
            let (wall, cpu) = (cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
            let Peaks { descriptors, threads, memory } = peaks;
            let mib = memory >> 20;
            println!("  {store:10} {step:8} {wall:8.2} {cpu:8.2} {mib:10} {descriptors:12} {threads:8}");
            report.figure(&format!("spaces.{store}.{step}_s"), wall);
            report.figure(&format!("spaces.{store}.{step}_mib"), mib as f64);
        }
    }
    for at in 0..ours.len() {
        let (step, cost, _) = &ours[at];
        let times = cost.wall.as_secs_f64() / theirs[at].1.wall.as_secs_f64();
        report.told(&format!("spaces.{step}_in_redbs"), times);
    }
    let descriptors = ours.iter().map(|(.., p)| p.descriptors).max().expect("there are steps");
    let threads = ours.iter().map(|(.., p)| p.threads).max().expect("there are steps");
    report.verdict("spaces.open_all_s", ours[1].1.wall.as_secs_f64(), Target::AtMost(3.0));
    report.verdict("spaces.descriptors", descriptors as f64, Target::AtMost(DESCRIPTORS as f64 + OTHERS));
    report.verdict("spaces.threads", threads as f64, Target::AtMost(64.0));
}

/// A file of redb with the records of a space, as durable as a put at `Process`, or less.
fn fill(path: &PathBuf) -> Database {
    let db = Database::create(path).expect("redb opens");
    for r in 0..RECORDS {
        let mut transaction = db.begin_write().expect("redb writes");
        transaction.set_durability(redb::Durability::None).expect("redb has it");
        let mut table = transaction.open_table(TABLE).expect("redb writes");
        table.insert(&key(r, Order::Random)[..], &value(r, VALUE)[..]).expect("redb writes");
        drop(table);
        transaction.commit().expect("redb writes");
    }
    db
}

/// What `work` took, and the most that was seen meanwhile.
fn watched(work: impl FnOnce()) -> (meter::Cost, Peaks) {
    let peaks = Mutex::new(Peaks::default());
    meter::reset_peak();
    let look = || {
        let mut peaks = peaks.lock().expect("nobody panics");
        peaks.descriptors = peaks.descriptors.max(meter::descriptors());
        peaks.threads = peaks.threads.max(meter::threads());
    };
    let took = during(look, || cost(work));
    let mut peaks = *peaks.lock().expect("nobody panics");
    peaks.memory = meter::peak();
    (took, peaks)
}
