//! Opening 1 GiB of log again, of one space and of a hundred, each time in a process of its own: what memory it takes
//! shows only where nothing was used before.
use crate::args::Args;
use crate::meter::{self, cost};
use crate::records::KEY;
use crate::report::{Report, Target};
use crate::rounds::median;
use crate::store;
use crate::tenants::{EPISODE, put_batches};
use bulkhead::env::os::block_on;
use bulkhead::{Durability, Options};
use std::path::Path;
use std::process::Command;

/// Bytes of records.
const LOG: usize = 1 << 30;
const ROUNDS: usize = 3;

/// What one opening took.
#[derive(Debug, Clone, Copy)]
struct Opening {
    seconds: f64,
    /// Most bytes of memory in use beyond those in use before.
    bytes: f64,
}

/// Options with which all of it stays in the log.
fn options(recovery_parallelism: usize) -> Options {
    let mut options = Options { recovery_parallelism, ..store::options(Durability::Process) };
    (options.tiers.memtable_bytes, options.tiers.log_bytes) = (4 << 30, 4 << 30);
    options
}

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let records = args.scaled(LOG) / (KEY + EPISODE);
    let width = Options::default().recovery_parallelism;
    report.title(&format!("Opening {records} records of 3.2 KB in the log again"));
    for spaces in [1, 100] {
        let home = dir.join(spaces.to_string());
        let each = (records / spaces) as u64;
        fill(&home, spaces, each);
        let count = each * spaces as u64;
        let (one, wide): (Vec<Opening>, Vec<Opening>) =
            (0..ROUNDS).map(|_| (open_in_child(&home, count, 1), open_in_child(&home, count, width))).unzip();
        let seconds = |of: &[Opening]| median(of.iter().map(|o| o.seconds));
        let (narrow, fast) = (seconds(&one), seconds(&wide));
        println!("  {spaces} spaces: {narrow:.2} s one by one, {fast:.2} s {width} at once");
        if spaces == 1 {
            let live = (count as usize * (KEY + EPISODE)) as f64;
            let beyond = median(wide.iter().map(|o| o.bytes)) - live;
            report.verdict("tenants.recovery_s", fast, Target::AtMost(5.0));
            report.verdict("tenants.recovery_mib_beyond", beyond / f64::from(1 << 20), Target::AtMost(64.0));
        } else {
            let cores = std::thread::available_parallelism().map_or(1, usize::from).min(width);
            let times = median(one.iter().zip(&wide).map(|(a, b)| a.seconds / b.seconds));
            report.verdict("tenants.recovery_speed_up", times, Target::AtLeast(0.8 * cores as f64));
        }
        std::fs::remove_dir_all(&home).expect("the directory is ours");
    }
}

fn fill(home: &Path, spaces: usize, each: u64) {
    let runtime = store::runtime();
    let engine = store::open_with(&runtime, home, options(1));
    for n in 0..spaces {
        let space = [store::space(&engine, n)];
        block_on(put_batches(&space, 0..each, EPISODE, Durability::Process));
    }
    block_on(engine.close()).expect("the engine closes");
}

fn open_in_child(home: &Path, count: u64, width: usize) -> Opening {
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--child", "recover", "--count", &count.to_string(), "--width", &width.to_string(), "--dir"])
        .arg(home)
        .output()
        .expect("this program starts once more");
    let said = String::from_utf8_lossy(&output.stdout);
    let mut numbers = said.split_whitespace().map(|n| n.parse().expect("the child says two numbers"));
    let mut next = || numbers.next().unwrap_or_else(|| panic!("the child failed: {output:?}"));
    Opening { seconds: next(), bytes: next() }
}

/// What the child does: opens all spaces, [`Args::width`] at once, and says what that took.
pub fn open(args: &Args) {
    let runtime = store::runtime();
    let before = meter::resident();
    meter::reset_peak();
    let mut opened = None;
    let took = cost(|| {
        let engine = store::open_with(&runtime, &args.dir, options(args.width));
        let reports = block_on(engine.recover_all()).expect("every space is looked at");
        assert_eq!(reports.iter().map(|r| r.operations).sum::<u64>(), args.count, "every record is there");
        opened = Some(engine);
    });
    println!("{} {}", took.wall.as_secs_f64(), meter::peak() - before);
    block_on(opened.expect("just opened").close()).expect("the engine closes");
}
