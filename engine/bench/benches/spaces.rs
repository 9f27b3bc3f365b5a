//! The same writes over 1, 2, 10 and 100 spaces, as Criterion measures them:
//! `cargo bench -p bulkhead-bench --bench spaces`.
//!
//! `batches`: 10,000 records in batches of 100, each acknowledged at `Process`, the spaces in turn: what a space costs
//! that is one of many. `synced`: 100 writers, each with its own puts at `Power`, shared out over the spaces. One space
//! syncs once for all who wait; a hundred sync each by itself, since no log is shared. That is the price of isolation,
//! and it is what the disk does with parallel syncs, no less and no more.
use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::{Batch, Durability, Engine, Options, Space, SpaceId, WriteOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::cell::Cell;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const SPACES: [usize; 4] = [1, 2, 10, 100];
const RECORDS: u64 = 10_000;
const BATCH: u64 = 100;
const WRITERS: usize = 100;
/// Puts of each writer.
const PUTS: u64 = 2;
/// Of each bench, so that all of them take a minute together; where an iteration takes longer, Criterion goes on until it
/// has its samples.
const TIME: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);

/// An engine with its spaces, in a directory of its own in the present one.
struct Bed {
    spaces: Vec<Space>,
    engine: Engine,
    runtime: Runtime,
    _dir: TempDir,
}

impl Bed {
    fn new(spaces: usize, durability: Durability) -> Bed {
        let dir = TempDir::with_prefix_in("bulkhead-bench-", ".").expect("a directory can be made");
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
        let options = Options { durability, ..Options::default() };
        let engine = block_on(Engine::open(env, dir.path(), options)).expect("the engine opens");
        let space = |n| {
            let id = SpaceId::new(&format!("space-{n}")).expect("a legal id");
            block_on(engine.create_space(&id)).expect("the space is made")
        };
        Bed { spaces: (0..spaces).map(space).collect(), engine, runtime, _dir: dir }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        block_on(self.engine.close()).expect("the engine closes");
    }
}

/// The key number `n`: no order.
fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batches");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);
    group.warm_up_time(WARM_UP).measurement_time(TIME);
    for spaces in SPACES {
        let bed = Bed::new(spaces, Durability::Process);
        let next = Cell::new(0);
        group.bench_function(BenchmarkId::from_parameter(spaces), |b| {
            b.iter(|| {
                block_on(async {
                    for turn in 0..RECORDS / BATCH {
                        let mut batch = Batch::new();
                        for n in next.get()..next.get() + BATCH {
                            batch.put(key(n), [n as u8; 128]);
                        }
                        next.set(next.get() + BATCH);
                        let space = &bed.spaces[turn as usize % spaces];
                        let commit = space.write(&batch, WriteOptions::default()).await;
                        let commit = commit.expect("the engine writes");
                        commit.durable(Durability::Process).await.expect("the engine writes");
                    }
                });
            });
        });
    }
}

fn synced(c: &mut Criterion) {
    let mut group = c.benchmark_group("synced");
    group.throughput(Throughput::Elements(WRITERS as u64 * PUTS)).sample_size(20);
    group.warm_up_time(WARM_UP).measurement_time(TIME);
    for spaces in SPACES {
        let bed = Bed::new(spaces, Durability::Power);
        let next = Cell::new(0);
        group.bench_function(BenchmarkId::from_parameter(spaces), |b| {
            b.iter(|| {
                let writer = |n: usize| {
                    let (space, first) = (bed.spaces[n % spaces].clone(), next.get());
                    next.set(first + PUTS);
                    bed.runtime.spawn(async move {
                        for n in first..first + PUTS {
                            space.put(key(n), [n as u8; 128]).await.expect("the engine writes");
                        }
                    })
                };
                let writers: Vec<_> = (0..WRITERS).map(writer).collect();
                writers.into_iter().for_each(|w| bed.runtime.block_on(w).expect("the task ends"));
            });
        });
    }
}

criterion_group!(spaces, batches, synced);
criterion_main!(spaces);
