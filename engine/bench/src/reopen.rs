//! Opening a log of 256 MiB again, after a kill and after a clean close, in warm reads of its bytes.
use crate::args::{Args, Child};
use crate::children::{Filling, fill_and_kill};
use crate::meter::{Cost, cost};
use crate::raw::read_tree;
use crate::records::{KEY, Order, frame_len};
use crate::report::{Report, Target};
use crate::rounds::median;
use crate::{peer, store};
use bulkhead::Durability;
use bulkhead::env::os::block_on;
use std::path::Path;

/// Bytes of log.
const LOG: usize = 256 << 20;

struct Case {
    name: &'static str,
    child: Child,
    value: usize,
    order: Order,
    target: Option<f64>,
}

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let case = |name, child, value, order, target| Case { name, child, value, order, target };
    let cases = [
        case("puts_128", Child::Puts, 128, Order::Random, Some(10.0)),
        case("groups_128", Child::Groups, 128, Order::Random, Some(10.0)),
        case("groups_128_ascending", Child::Groups, 128, Order::Ascending, Some(10.0)),
        case("puts_1024", Child::Puts, 1024, Order::Random, Some(4.0)),
        case("fjall_128", Child::Fjall, 128, Order::Random, None),
        case("fjall_1024", Child::Fjall, 1024, Order::Random, None),
    ];
    report.title(
        "Opening a log of 256 MiB again, in warm reads of its bytes (rounds in turn with such a read)",
    );
    for case in cases {
        measure(args, dir, &case, report);
    }
}

fn measure(args: &Args, dir: &Path, case: &Case, report: &mut Report) {
    let each = match case.child {
        Child::Puts => frame_len(case.value),
        // In a group, or in a journal, a record has little beside its bytes.
        _ => KEY + case.value + 5,
    };
    let count = (args.scaled(LOG) / each) as u64;
    let filled = dir.join(case.name);
    let rounds = (args.rounds / 3).max(1);
    let (mut killed, mut closed) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Filled anew and not copied: a file that was copied lies in larger pages, and is read in half the time.
        if round > 0 {
            std::fs::remove_dir_all(&filled).expect("the directory is ours");
        }
        fill_and_kill(Filling { child: case.child, value: case.value, count, order: case.order }, &filled);
        read_tree(&filled);
        killed.push(pair(&filled, case, count));
        // That opening was closed in an orderly way. How fast a log is read depends on the pages that it happens to lie
        // in, so this one too is measured on every filling.
        closed.push(pair(&filled, case, count));
    }
    std::fs::remove_dir_all(&filled).expect("the directory is ours");
    for (how, pairs) in [("killed", killed), ("closed", closed)] {
        let seconds = median(pairs.iter().map(|(open, _)| open.wall.as_secs_f64()));
        let warm = median(pairs.iter().map(|(_, read)| read.wall.as_secs_f64()));
        let times =
            median(pairs.iter().map(|(open, read)| open.wall.as_secs_f64() / read.wall.as_secs_f64()));
        let (each, rate) = (seconds / count as f64 * 1e9, count as f64 / seconds / 1e6);
        let cpu = median(pairs.iter().map(|(open, _)| open.cpu.as_secs_f64()));
        println!(
            "  {:22} {how:7} {count:8} records: {seconds:6.3} s (CPU {cpu:6.3} s), warm read {warm:6.3} s, \
             {each:5.0} ns a record, {rate:5.2} M/s",
            case.name
        );
        let key = format!("reopen.{}.{how}.reads", case.name);
        let work = median(pairs.iter().map(|(open, read)| open.cpu.as_secs_f64() / read.cpu.as_secs_f64()));
        println!("  {key}, in CPU time = {work:.2}");
        report.figure(&format!("reopen.{}.{how}.cpu_reads", case.name), work);
        match case.target {
            Some(target) => report.verdict(&key, times, Target::AtMost(target)),
            None => {
                println!("  {key} = {times:.2}");
                report.figure(&key, times);
            }
        }
    }
}

/// Warm reads that one opening is compared with: as long as it takes, so that whoever else uses the machine slows both.
const READS: u32 = 8;

/// What one opening and one warm read took.
fn pair(dir: &Path, case: &Case, count: u64) -> (Cost, Cost) {
    // The host of a virtual machine takes back memory that is free. An opening keeps what it reads, and the read that it is
    // compared with does not: the memory is to be as warm as the files.
    std::hint::black_box(vec![1_u8; 2 * LOG]);
    let open = open_once(dir, case, count);
    let reads = cost(|| (0..READS).for_each(|_| assert!(read_tree(dir) > 0, "there is something to read")));
    (open, Cost { wall: reads.wall / READS, cpu: reads.cpu / READS })
}

/// Opens the space or keyspace in `dir`, sees that all is there, and closes it in an orderly way.
fn open_once(dir: &Path, case: &Case, count: u64) -> Cost {
    let last = crate::records::key(count - 1, case.order);
    if case.child == Child::Fjall {
        let mut opened = None;
        let took = cost(|| {
            let db = peer::open_in_memory(dir);
            opened = Some((peer::keyspace(&db, 0), db));
        });
        let (keyspace, _db) = opened.expect("just opened");
        assert!(keyspace.get(last).expect("fjall reads").is_some(), "the last record is there");
        return took;
    }
    let runtime = store::runtime();
    let mut opened = None;
    let took = cost(|| {
        let engine = store::open_log(&runtime, dir, Durability::Process);
        opened = Some((store::space(&engine, 0), engine));
    });
    let (space, engine) = opened.expect("just opened");
    assert!(block_on(space.get(last)).expect("the engine reads").is_some(), "the last record is there");
    assert_eq!(space.recovery_report().commits, count, "every record is there");
    block_on(engine.close()).expect("the engine closes");
    took
}
