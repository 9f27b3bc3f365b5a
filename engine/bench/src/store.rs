//! The engine as these benchmarks use it.
use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::{Durability, Engine, Options, Space, SpaceId};
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// A runtime with two workers.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Options with which memory is no bound.
pub fn options(durability: Durability) -> Options {
    Options { durability, memory_budget: 1 << 40, ..Options::default() }
}

/// Opens the engine on `dir`; memory is no bound.
pub fn open(runtime: &Runtime, dir: &Path, durability: Durability) -> Engine {
    open_with(runtime, dir, options(durability))
}

/// Opens the engine on `dir` so that everything stays in memory and in the log.
pub fn open_log(runtime: &Runtime, dir: &Path, durability: Durability) -> Engine {
    let mut options = options(durability);
    options.tiers.memtable_bytes = 1 << 40;
    options.tiers.log_bytes = 1 << 50;
    open_with(runtime, dir, options)
}

/// Opens the engine on `dir`.
pub fn open_with(runtime: &Runtime, dir: &Path, options: Options) -> Engine {
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    block_on(Engine::open(env, dir, options)).expect("the engine opens")
}

/// The space number `n`, made if it is not there.
pub fn space(engine: &Engine, n: usize) -> Space {
    block_on(engine.get_or_create_space(&id(n))).expect("the space opens")
}

/// The id of space number `n`.
pub fn id(n: usize) -> SpaceId {
    SpaceId::new(&format!("space-{n}")).expect("a legal id")
}
