//! 1,000 spaces that are open and do nothing, and what it takes to make and to open them.
use crate::args::Args;
use crate::meter;
use crate::raw::RawFile;
use crate::records::{Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::rounds::median;
use crate::store;
use bulkhead::env::os::block_on;
use bulkhead::limits::SECTOR;
use bulkhead::{Durability, Space};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SPACES: usize = 1000;
/// Long enough for logs to be sealed and for threads without work to end.
const SETTLE: Duration = Duration::from_secs(7);

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let spaces = args.scaled(SPACES);
    let watch = Duration::from_secs(if args.quick { 2 } else { 10 });
    report.title(&format!("{spaces} spaces, open and idle"));
    let root = dir.join("engine");
    let runtime = store::runtime();
    let engine = store::open(&runtime, &root, Durability::Power);
    let put = |space: &Space| {
        block_on(space.put(key(0, Order::Random), value(0, VALUE))).expect("the engine writes");
    };
    let mut all = vec![store::space(&engine, 0)];
    put(&all[0]);
    sleep(SETTLE);
    let (one_threads, one_resident) = (meter::threads(), meter::resident());

    // Made one by one, each beside one synced append.
    let mut raw = RawFile::create(&dir.join("raw"));
    let record = value(0, SECTOR);
    let (mut makes, mut syncs) = (Vec::new(), Vec::new());
    for n in 1..spaces {
        let since = Instant::now();
        all.push(store::space(&engine, n));
        makes.push(since.elapsed().as_secs_f64());
        syncs.push(meter::cost(|| raw.append_synced(&record)).wall.as_secs_f64());
    }
    let total: f64 = makes.iter().sum();
    let ratio = median(makes.iter().zip(&syncs).map(|(m, s)| m / s));
    let (make, sync) = (median(makes.iter().copied()) * 1e3, median(syncs.iter().copied()) * 1e3);
    println!("  made one by one in {total:.2} s; median {make:.2} ms, a synced append {sync:.2} ms");
    report.verdict("idle.create_in_syncs", ratio, Target::AtMost(12.0));

    all.iter().skip(1).for_each(put);
    sleep(SETTLE);
    let before = meter::cpu();
    sleep(watch);
    let cpu = (meter::cpu() - before).as_secs_f64() * 1e3 * (10.0 / watch.as_secs_f64());
    report.verdict("idle.cpu_ms_in_10_s", cpu, Target::AtMost(10.0));
    let (threads, resident) = (meter::threads(), meter::resident());
    println!("  threads: {one_threads} with one space, {threads} with {spaces}");
    report.verdict("idle.more_threads", threads as f64 - one_threads as f64, Target::AtMost(0.0));
    let each = (resident as f64 - one_resident as f64) / (spaces - 1) as f64 / 1024.0;
    report.verdict("idle.kib_a_space", each, Target::AtMost(8.0));

    let close = meter::cost(|| block_on(engine.close()).expect("the engine closes"));
    drop((all, engine));
    let engine = store::open(&runtime, &root, Durability::Power);
    let open = meter::cost(|| {
        let reports = block_on(engine.recover_all()).expect("every space is looked at");
        assert_eq!(reports.len(), spaces);
        assert!(reports.iter().all(|r| r.status == bulkhead::RecoveryStatus::Clean), "{reports:?}");
    });
    for (key, what) in [("idle.close_all_s", close), ("idle.open_all_s", open)] {
        println!("  {key} = {:.3}, CPU {:.3} s", what.wall.as_secs_f64(), what.cpu.as_secs_f64());
        report.figure(key, what.wall.as_secs_f64());
    }
    block_on(engine.close()).expect("the engine closes");
}
