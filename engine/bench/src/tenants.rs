//! One space beside many: the same writes over 1, 2, 10 and 100 spaces, a loud neighbour, batches of 3.2 KB beside the raw
//! log and for long, and recovery ([`crate::recovery`]).
use crate::args::Args;
use crate::group::timed;
use crate::meter::cost;
use crate::raw::RawFile;
use crate::records::{KEY, Numbers, Order, VALUE, key, value};
use crate::report::{Report, Target};
use crate::rounds::{Way, interleave, median};
use crate::store;
use bulkhead::env::os::block_on;
use bulkhead::{Batch, Durability, Space, WriteOptions};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of an episode, the record of the brief.
pub const EPISODE: usize = 3200;
const BATCH: usize = 100;
/// Episodes that one space takes.
const EPISODES: usize = 1_000_000;
/// Batches a round over all spaces together; every space gets as many.
const BATCHES: usize = 200;
/// Puts a round of the quiet neighbour.
const PUTS: usize = 200;
/// Writers of the loud one.
const LOUD: usize = 10;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    spread(args, &dir.join("spread"), report);
    neighbour(args, &dir.join("neighbour"), report);
    episodes(args, &dir.join("episodes"), report);
    steady(args, &dir.join("steady"), report);
    crate::recovery::run(args, &dir.join("recovery"), report);
}

/// Puts the records of `range` into `spaces` in turn, a batch each, every one acknowledged at `durability`.
pub async fn put_batches(spaces: &[Space], range: Range<u64>, len: usize, durability: Durability) {
    for (n, first) in range.clone().step_by(BATCH).enumerate() {
        let mut batch = Batch::new();
        for r in first..(first + BATCH as u64).min(range.end) {
            batch.put(key(r, Order::Random), value(r, len));
        }
        let commit = spaces[n % spaces.len()].write(&batch, WriteOptions::default()).await;
        commit.expect("the engine writes").durable(durability).await.expect("the engine writes");
    }
}

/// Row 44: what it costs to spread the same batches over more spaces.
fn spread(args: &Args, dir: &Path, report: &mut Report) {
    const SPACES: [usize; 4] = [1, 2, 10, 100];
    let runtime = store::runtime();
    let engine = store::open(&runtime, dir, Durability::Process);
    let records = args.scaled(BATCHES) * BATCH;
    let mut first = 0;
    let mut groups = SPACES.map(|n| {
        first += n;
        ((first - n..first).map(|s| store::space(&engine, s)).collect::<Vec<Space>>(), Numbers::default())
    });
    let names = ["1 space", "2 spaces", "10 spaces", "100 spaces"];
    let ways = groups.iter_mut().zip(names).map(|((spaces, numbers), name)| Way {
        name,
        work: Box::new(move || {
            block_on(put_batches(spaces, numbers.take(records), VALUE, Durability::Process));
        }),
    });
    let samples = interleave(args.rounds, ways.collect());
    report.title("The same batches of 100 records over more spaces, each at Process");
    report.throughput("tenants.spread", records, &samples);
    for (s, n) in samples.iter().zip(SPACES).skip(1) {
        report.verdict(&format!("tenants.spread.{n}_in_1"), s.times(&samples[0]), Target::AtMost(1.05));
    }
    block_on(engine.close()).expect("the engine closes");
}

/// Row 43: the quiet neighbour's slowest puts with and without ten loud writers in another space, all synced.
fn neighbour(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, dir, Durability::Power);
    let (quiet, loud) = (store::space(&engine, 0), store::space(&engine, 1));
    let puts = args.scaled(PUTS);
    let (mut numbers, mut theirs) = (Numbers::default(), Numbers::default());
    let mut p99 = [const { Vec::new() }; 2];
    let mut round = |beside: &mut Vec<f64>| {
        let writer = runtime.spawn(timed(quiet.clone(), numbers.take(puts)));
        let mut latencies = runtime.block_on(writer).expect("the task ends");
        latencies.sort_unstable();
        beside.push(latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3);
    };
    for _ in 0..args.rounds {
        round(&mut p99[0]);
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut writers: Vec<_> = (0..LOUD).map(|_| theirs.take(1 << 32)).collect();
            let (end, loud) = (&end, &loud);
            for range in writers.drain(..) {
                scope.spawn(move || {
                    block_on(async {
                        for n in range.take_while(|_| !end.load(Ordering::Relaxed)) {
                            loud.put(key(n, Order::Random), value(n, VALUE))
                                .await
                                .expect("the engine writes");
                        }
                    });
                });
            }
            round(&mut p99[1]);
            end.store(true, Ordering::Relaxed);
        });
    }
    report.title("A quiet writer's P99, alone and beside ten writers of another space, all synced");
    let [alone, beside] = [0, 1].map(|at| median(p99[at].iter().copied()));
    let times = median(p99[1].iter().zip(&p99[0]).map(|(b, a)| b / a));
    println!("  alone {alone:.2} ms, beside them {beside:.2} ms");
    report.verdict("tenants.p99_beside_in_alone", times, Target::AtMost(1.01));
    block_on(engine.close()).expect("the engine closes");
}

/// Row 42: batches of 3.2 KB records, each synced, beside one synced append of as many bytes.
fn episodes(args: &Args, dir: &Path, report: &mut Report) {
    let runtime = store::runtime();
    let engine = store::open(&runtime, dir, Durability::Power);
    let space = [store::space(&engine, 0)];
    let records = args.scaled(20) * BATCH;
    let mut numbers = Numbers::default();
    let bytes = value(0, BATCH * (KEY + EPISODE));
    let mut raw = RawFile::create(&dir.join("raw"));
    let ways = vec![
        Way { name: "raw", work: Box::new(|| (0..records / BATCH).for_each(|_| raw.append_synced(&bytes))) },
        Way {
            name: "batches",
            work: Box::new(|| {
                block_on(put_batches(&space, numbers.take(records), EPISODE, Durability::Power));
            }),
        },
    ];
    let samples = interleave(args.rounds, ways);
    report
        .title("Records of 3.2 KB in batches of 100, each synced (raw: append of as many bytes, fdatasync)");
    report.throughput("tenants.episodes", records, &samples);
    report.verdict("tenants.episodes_vs_raw", 1.0 / samples[1].times(&samples[0]), Target::AtLeast(1.0));
    let second = records as f64 / samples[1].wall();
    report.verdict("tenants.episodes_a_second", second, Target::AtLeast(10_000.0));
    block_on(engine.close()).expect("the engine closes");
}

/// Row 42: as many records of 3.2 KB as make tables in all tiers, in synced batches; each tenth is to be as fast as is
/// asked for, the last one too.
fn steady(args: &Args, dir: &Path, report: &mut Report) {
    const PARTS: usize = 10;
    let runtime = store::runtime();
    let engine = store::open(&runtime, dir, Durability::Power);
    let space = [store::space(&engine, 0)];
    let each = args.scaled(EPISODES) / PARTS;
    let mut numbers = Numbers::default();
    let rates: Vec<f64> = (0..PARTS)
        .map(|_| {
            let part = put_batches(&space, numbers.take(each), EPISODE, Durability::Power);
            each as f64 / cost(|| block_on(part)).wall.as_secs_f64()
        })
        .collect();
    report.title(&format!("{} records of 3.2 KB in batches of 100, each synced", each * PARTS));
    let shown: Vec<String> = rates.iter().map(|r| format!("{r:.0}")).collect();
    println!("  records a second in each tenth: {}", shown.join(" "));
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    report.verdict("tenants.steady_slowest_tenth", slowest, Target::AtLeast(10_000.0));
    report.told("tenants.steady_last_in_first", rates[PARTS - 1] / rates[0]);
    block_on(engine.close()).expect("the engine closes");
}
