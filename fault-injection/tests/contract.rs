//! Goal: the simulated disk keeps the contract that the real one keeps. Method: the engine's conformance suite, run by
//! an executor of a few lines that polls until nothing moves and then lets the world release one completion.
use bulkhead::env::{Dir, Env, Io, Missing, Owner, Sleep, Task, contract};
use bulkhead_fault_injection::{DirProfile, DiskOptions, SimFs, Step, World};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Debug)]
struct TestEnv {
    fs: SimFs,
    world: World,
    tasks: Mutex<Vec<Spawned>>,
}

struct Spawned(Task);

impl std::fmt::Debug for Spawned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spawned")
    }
}

impl Env for TestEnv {
    fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>> {
        self.fs.open_root(path, missing)
    }
    fn sync_parent(&self, path: &Path) -> Io<()> {
        self.fs.sync_parent(path)
    }
    fn now(&self) -> Duration {
        Duration::from_micros(self.world.now())
    }
    fn wall(&self) -> Duration {
        self.now()
    }
    fn sleep(&self, owner: Owner, duration: Duration) -> Sleep {
        let io = self.fs.sleep(owner, duration);
        Box::pin(async move { io.await.expect("a timer does not fail") })
    }
    fn spawn(&self, _owner: Owner, _name: &'static str, task: Task) {
        self.tasks.lock().unwrap().push(Spawned(task));
    }
    fn entropy(&self, owner: Owner) -> u64 {
        self.fs.entropy(owner)
    }
}

fn run(env: &TestEnv, main: impl Future<Output = ()>) {
    let mut main = pin!(main);
    let mut context = Context::from_waker(Waker::noop());
    let mut tasks: Vec<Spawned> = Vec::new();
    while main.as_mut().poll(&mut context).is_pending() {
        tasks.append(&mut env.tasks.lock().unwrap());
        let running = tasks.len();
        tasks.retain_mut(|task| task.0.as_mut().poll(&mut context) == Poll::Pending);
        if tasks.len() == running {
            assert_ne!(env.world.step(), Step::Idle, "somebody waits, so something must be under way");
        }
    }
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for seed in 0..20 {
        for profile in [DirProfile::Posix, DirProfile::Journaled] {
            let world = World::new(seed, &DiskOptions { profile, ..DiskOptions::default() });
            let env = Arc::new(TestEnv { fs: world.boot(), world, tasks: Mutex::default() });
            let root = Path::new("/mnt/data");
            run(&env, contract::all(env.clone(), root));
        }
    }
}
