//! Goal: the real disk keeps the contract that the engine was written against. Method: the suite that the simulated
//! disk runs too, in a temporary directory, from every kind of thread that may call, with and without transfers on
//! the calling thread.

use bulkhead::env::contract;
use bulkhead::env::os::{OsEnv, OsOptions, block_on, block_on_here};
use tokio::runtime::Builder;

#[test]
fn the_real_disk_keeps_the_contract_on_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async { contract::all(OsEnv::current(), &dir.path().join("a/b")).await });
}

#[test]
fn the_real_disk_keeps_the_contract_on_one_thread_with_everything_on_the_pools() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let mut options = OsOptions { inline_max: 0, ..OsOptions::default() };
    for limits in [&mut options.changes, &mut options.reads] {
        (limits.owners, limits.extra, limits.share) = (1, 0, 1);
    }
    let env = OsEnv::new(runtime.handle().clone(), options);
    runtime.block_on(contract::all(env, &dir.path().join("root")));
}

#[test]
fn the_real_disk_keeps_the_contract_from_threads_outside_the_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    block_on(contract::all(env.clone(), &dir.path().join("syncs-on-the-pool")));
    block_on_here(contract::all(env, &dir.path().join("syncs-on-the-thread")));
}
