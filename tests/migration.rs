//! Goal: what moves through the tiers is there once and as it was written, wherever the way is cut short, and files stay
//! bounded however often something is written. Method: on the simulated disk a crash at every single I/O of a run whose
//! data goes through flushes, merges and moves, judged by the simulator's model; on real files, many entries and many
//! overwrites, counted and measured.
use crate::deletion::{boot, crash, executed};
use crate::multi_space_persistence::{id, scratch};
use bulkhead::env::os::OsEnv;
use bulkhead::{Amount, Batch, Direction, Durability, Engine, Options, Space, TierOptions, WriteOptions};
use bulkhead_fault_injection::{DirProfile, FaultPlan};
use bulkhead_sim::plan::{End, How, Op, Run, Step, Wait};
use bulkhead_sim::probe::{Probe, Probes};
use bulkhead_sim::work::Work;
use std::path::Path;
use std::time::{Duration, Instant};

/// Capacities in entries.
fn tiers(hot: u64, warm: u64, cold: u64) -> TierOptions {
    let amount = |entries| Amount { entries, bytes: 1 << 40 };
    TierOptions {
        hot_capacity: amount(hot),
        warm_capacity: amount(warm),
        cold_capacity: amount(cold),
        ..TierOptions::default()
    }
}

/// Alpha's keys are written, written again and deleted until all tiers hold some of them; beta has a few.
fn run(tiers: &TierOptions, profile: DirProfile, seed: u64, ends: &[End]) -> Run {
    let op = |space, client, op| Step::Client { space, client, op };
    let mut steps = vec![boot(ends[0])];
    for round in 0..2 {
        for key in 0..12 {
            steps.push(op(0, 0, Op::Put { key, len: 150, priority: 0, wait: Wait::Power }));
            steps.push(op(0, 1, Op::Put { key: 20 + key, len: 150, priority: 0, wait: Wait::Process }));
        }
        steps.push(op(0, 0, Op::Delete { key: round, wait: Wait::Power }));
        steps.push(op(1, 0, Op::Put { key: round, len: 20, priority: 0, wait: Wait::Power }));
    }
    steps.push(op(0, 0, Op::Scan { from: 0, to: 40, backwards: false }));
    steps.extend(ends[1..].iter().map(|end| boot(*end)));
    Run {
        seed,
        profile,
        options: Options { durability: Durability::Power, tiers: tiers.clone(), ..Options::default() },
        reserve_bytes: 0,
        settle_us: 0,
        faults: FaultPlan::crashes_only(),
        spaces: vec![id("alpha"), id("beta")],
        steps,
    }
}

#[test]
fn a_crash_at_every_io_of_flushes_merges_and_moves_leaves_every_key_once_and_as_written() {
    let mut all = Probes::default();
    // Hot tables that move down at once, and such that stay and meet.
    let moving = TierOptions { memtable_bytes: 1024, ..tiers(4, 8, 1000) };
    let merging = TierOptions { memtable_bytes: 1024, hot_tables: 1, ..tiers(1000, 1000, 1000) };
    for (tiers, least) in
        [(moving, Work { moves: 4, ..Work::default() }), (merging, Work { merges: 2, ..Work::default() })]
    {
        for profile in [DirProfile::Posix, DirProfile::Journaled] {
            let peace = executed(&run(&tiers, profile, 1, &[End::Close]), "in peace");
            let work = peace.work;
            let enough = work.flushes > 4 && work.merges >= least.merges && work.moves >= least.moves;
            assert!(enough, "{work:?}");
            let ios = peace.ios_in_boots;
            for how in [How::Kill, How::Power] {
                for io in 1..=ios {
                    let what = format!("{least:?}, {profile:?}, {how:?} at I/O {io}");
                    all.add(&executed(&run(&tiers, profile, io, &[crash(io, how)]), &what).probes);
                    if io % 5 == 0 {
                        let run = run(&tiers, profile, io, &[crash(io, how), crash(1 + io % 29, How::Power)]);
                        all.add(&executed(&run, &format!("{what}, again")).probes);
                    }
                }
            }
        }
    }
    for probe in [Probe::WarmTables, Probe::ColdTables, Probe::TableNotNamed, Probe::FlushedNotCut] {
        assert!(all.count(probe) > 50, "{probe:?}: {}", all.count(probe));
    }
}

async fn open(root: &Path, options: &Options) -> (Engine, Space) {
    let engine = Engine::open(OsEnv::current(), root, options.clone()).await.unwrap();
    let space = engine.get_or_create_space(&id("alpha")).await.unwrap();
    (engine, space)
}

fn key(n: u64) -> String {
    // In no order of being written.
    format!("{:08}", n.wrapping_mul(7919) % 10_007)
}

fn value(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(10)
}

/// Every entry of the space, by a scan.
async fn all(space: &Space) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut scan = space.scan::<&[u8]>(.., Direction::Ascending);
    let mut found = Vec::new();
    while let Some((key, value)) = scan.next().await.unwrap() {
        found.push((key.to_vec(), value.to_vec()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_entries_move_through_all_tiers_and_are_there_once_before_and_after_a_reopen() {
    let temp = scratch();
    let memory = TierOptions { memtable_bytes: 64 * 1024, ..tiers(500, 2_000, 20_000) };
    let options = Options { durability: Durability::Process, tiers: memory, ..Options::default() };
    let (engine, space) = open(temp.path(), &options).await;
    let began = Instant::now();
    for n in 0..10_000 {
        space.put(key(n), value(n)).await.unwrap();
    }
    space.compact().await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "10,000 entries took {took:?} on their way");
    let mut expected: Vec<_> = (0..10_000).map(|n| (key(n).into_bytes(), value(n))).collect();
    expected.sort();
    assert_eq!(all(&space).await, expected);
    let holds = |space: &Space| space.stats().tiers.iter().map(|tier| tier.holds).collect::<Vec<_>>();
    let before = holds(&space);
    for (tier, capacity) in before.iter().zip([500, 2_000, 20_000]) {
        assert!(tier.entries <= capacity, "{before:?}");
    }
    assert!(before[2].entries > 5_000, "{before:?}");
    assert_eq!(before.iter().map(|tier| tier.entries).sum::<u64>(), 10_000);
    engine.close().await.unwrap();
    drop(space);
    let (engine, space) = open(temp.path(), &options).await;
    assert_eq!(holds(&space), before);
    assert_eq!(all(&space).await, expected);
    engine.close().await.unwrap();
}

/// Allocated bytes of all files below `dir`.
fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => allocated(&entry.path()),
        Ok(m) => m.blocks() * 512,
        // It was removed meanwhile.
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

/// Overwrites a hundred keys `rounds` times with values of `len` bytes. Most that files took meanwhile, and at rest.
async fn overwrite(tiers: TierOptions, rounds: u64, len: usize) -> [u64; 2] {
    let temp = scratch();
    let options = Options {
        durability: Durability::Process,
        segment_first: 256 * 1024,
        segment_max: 1 << 20,
        // What is measured is what the space takes.
        reserve_bytes: 0,
        tiers,
        ..Options::default()
    };
    let (engine, space) = open(temp.path(), &options).await;
    let value = |round: u64, n: u64| {
        let mut value = (round * 100 + n).to_le_bytes().to_vec();
        value.resize(len, 7);
        value
    };
    let mut most = 0;
    for round in 0..rounds {
        let mut batch = Batch::new();
        for n in 0..100 {
            batch.put(format!("{n:04}"), value(round, n));
        }
        space.write(&batch, WriteOptions::default()).await.unwrap();
        if round % 250 == 0 {
            most = most.max(allocated(temp.path()));
        }
    }
    let expected: Vec<_> = (0..100).map(|n| (format!("{n:04}").into_bytes(), value(rounds - 1, n))).collect();
    assert_eq!(all(&space).await, expected);
    space.compact().await.unwrap();
    assert_eq!(space.stats().holds.entries, 100);
    engine.close().await.unwrap();
    [most, allocated(temp.path())]
}

/// Log bytes at which a memtable is flushed. Writers stop at twice that; a segment ahead and a hundred keys come on top.
const LOG: u64 = 4 << 20;
const MOST: u64 = 2 * LOG + (2 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn a_million_overwrites_of_a_hundred_keys_in_tiers_of_a_hundred_are_all_taken() {
    let [most, rest] = overwrite(TierOptions { log_bytes: LOG, ..tiers(100, 100, 1000) }, 10_000, 8).await;
    assert!(most > 0 && most <= MOST && rest <= 2 << 20, "{most} bytes at most, {rest} at rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overwritten_for_ever_keeps_files_within_the_limits_of_the_log() {
    let roomy = TierOptions { log_bytes: LOG, ..TierOptions::default() };
    let [most, rest] = overwrite(roomy, 4_000, 100).await;
    assert!(most > LOG / 2 && most <= MOST && rest <= 2 << 20, "{most} bytes at most, {rest} at rest");
}
