//! 1,000,000 records in one space beside fjall and redb: loading, reading, scanning, room, and opening after a kill.
use crate::args::{Args, Child};
use crate::beside::{Kind, Store, plain};
use crate::children::{Filling, fill_and_kill};
use crate::meter::{cost, drained};
use crate::raw::{allocated, copy_tree, read_tree};
use crate::records::{KEY, Order, VALUE};
use crate::report::{Report, Target};
use crate::rounds::{Samples, Way, interleave};
use std::path::Path;

const RECORDS: usize = 1_000_000;
/// Records of a commit, where they are loaded in commits.
const BATCH: usize = 100;
/// Records read a round.
const READS: usize = 200_000;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let records = args.scaled(RECORDS) as u64;
    let rounds = (args.rounds / 5).max(1);
    report.title(&format!(
        "{records} records of {KEY} + {VALUE} bytes in random order, acknowledged at Process (redb: in memory)"
    ));
    let puts = load(dir, rounds, "puts", report, records, &|store| store.put(&mut plain(0..records)));
    drop(puts);
    let batches = |store: &dyn Store| store.put_batches(&mut plain(0..records), BATCH);
    let stores = load(dir, rounds, "batches_of_100", report, records, &batches);
    for (kind, _, room) in &stores {
        let amplification = *room as f64 / (records as f64 * (KEY + VALUE) as f64);
        let key = format!("load.space_amp.{}", kind.name());
        match kind {
            Kind::Bulkhead => report.verdict(&key, amplification, Target::AtMost(1.15)),
            _ => report.told(&key, amplification),
        }
    }
    read(args, records, &stores, report);
    stores.into_iter().for_each(|(_, store, _)| store.close());
    reopen(dir, rounds, records, report);
}

/// A loaded store, and the bytes it takes on the disk.
type Loaded = (Kind, Box<dyn Store>, u64);

/// Has each store load in turn, as often as there are rounds, and keeps the last ones, at rest.
fn load(
    dir: &Path,
    rounds: usize,
    name: &str,
    report: &mut Report,
    records: u64,
    work: &dyn Fn(&dyn Store),
) -> Vec<Loaded> {
    let mut samples = Kind::ALL.map(|kind| Samples { name: kind.name(), costs: Vec::new() });
    let mut stores = Vec::new();
    for round in 0..rounds {
        for i in 0..Kind::ALL.len() {
            let at = (round + i) % Kind::ALL.len();
            let (kind, home) = (Kind::ALL[at], dir.join(format!("{name}-{round}-{}", Kind::ALL[at].name())));
            let store = kind.open(&home);
            samples[at].costs.push(cost(|| work(&*store)));
            store.settle();
            let after = cost(|| drained(&home));
            if round + 1 < rounds {
                store.close();
                std::fs::remove_dir_all(&home).expect("the directory is ours");
                continue;
            }
            println!("  {:34} at rest after {:.1} s more", kind.name(), after.wall.as_secs_f64());
            for n in 0..records {
                assert!(store.holds(n, n), "{} lost record {n}", kind.name());
            }
            stores.push((kind, store, allocated(&home)));
        }
    }
    report.throughput(&format!("load.{name}"), records as usize, &samples);
    report.beside(&format!("load.{name}"), &samples, Target::AtLeast(1.0), Target::AtLeast(1.0));
    stores.sort_by_key(|(kind, ..)| *kind as usize);
    stores
}

fn read(args: &Args, records: u64, stores: &[Loaded], report: &mut Report) {
    let reads = args.scaled(READS);
    let ways = |round: &dyn Fn(&dyn Store)| -> Vec<Samples> {
        let ways = stores
            .iter()
            .map(|(kind, store, _)| Way { name: kind.name(), work: Box::new(|| round(&**store)) });
        interleave(args.rounds, ways.collect())
    };
    // A stride that has no factor in common with the number of records: none comes twice in a round.
    let samples = ways(&|store| store.read(&mut (0..reads as u64).map(|n| n * 7919 % records)));
    report.throughput("load.reads", reads, &samples);
    report.beside("load.reads", &samples, Target::AtLeast(1.0), Target::AtLeast(1.0));
    let samples = ways(&|store| assert_eq!(store.scan(), records, "every record is there"));
    report.throughput("load.scan", records as usize, &samples);
    report.beside("load.scan", &samples, Target::AtLeast(0.7), Target::AtLeast(0.7));
}

/// Opens copies of what a killed process left.
fn reopen(dir: &Path, rounds: usize, records: u64, report: &mut Report) {
    let children = [Child::LoadBulkhead, Child::LoadFjall, Child::LoadRedb];
    let mut samples = Kind::ALL.map(|kind| Samples { name: kind.name(), costs: Vec::new() });
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let filled = dir.join(format!("killed-{}", kind.name()));
        let filling = Filling { child: children[at], value: VALUE, count: records, order: Order::Random };
        fill_and_kill(filling, &filled);
    }
    for round in 0..rounds.max(3) {
        for i in 0..Kind::ALL.len() {
            let at = (round + i) % Kind::ALL.len();
            let kind = Kind::ALL[at];
            let copy = dir.join(format!("copy-{}", kind.name()));
            copy_tree(&dir.join(format!("killed-{}", kind.name())), &copy);
            read_tree(&copy);
            let mut opened = None;
            samples[at].costs.push(cost(|| opened = Some(kind.open(&copy))));
            let store = opened.expect("just opened");
            assert!(store.holds(records - 1, records - 1), "the last record is there");
            assert_eq!(store.scan(), records, "every record is there");
            store.close();
            std::fs::remove_dir_all(&copy).expect("the copy is ours");
        }
    }
    println!("  opening after a kill, per record:");
    report.throughput("load.reopen", records as usize, &samples);
    report.verdict("load.reopen.in_fjalls", samples[0].times(&samples[1]), Target::AtMost(0.3));
    report.told("load.reopen.in_redbs", samples[0].times(&samples[2]));
}
