//! The engine on madsim: one runtime a run, one node a boot, and every I/O, timer and client's turn released one at a
//! time by the simulated world. The only file that knows madsim.
//!
//! madsim picks among runnable tasks by a random stream of its own, which any neighbour shifts. So the tasks of one
//! owner (a space, or the engine) are polled here inside one madsim task, first woken first polled: what an owner does
//! in a tick depends on that owner alone.
use bulkhead::env::{Dir, Env, Io, Missing, Owner, Sleep, Task};
use bulkhead_fault_injection::{SimFs, Step, World};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Runs `main` as the supervisor of a simulation of its own. Call it on a fresh thread: the keys of hash maps are
/// drawn once a thread.
pub fn simulate<T>(seed: u64, main: impl Future<Output = T>) -> T {
    Runtime::with_seed_and_config(seed, madsim::Config::default()).block_on(main)
}

/// One boot of the machine: everything that runs until the next crash or close.
#[derive(Debug)]
pub struct Boot {
    env: Arc<SimEnv>,
}

impl Boot {
    /// Begins a boot in `world`.
    #[must_use]
    pub fn new(world: &World) -> Boot {
        let node = Handle::current().create_node().build();
        let fs = world.boot();
        let env = SimEnv {
            fs,
            world: world.clone(),
            node: Node(node),
            cohorts: Mutex::default(),
            over: AtomicBool::new(false),
        };
        Boot { env: Arc::new(env) }
    }

    /// The environment that the engine sees.
    #[must_use]
    pub fn env(&self) -> Arc<SimEnv> {
        self.env.clone()
    }

    /// Lets everything runnable run, then releases one completion.
    pub async fn tick(&self) -> Step {
        madsim::time::sleep(Duration::from_millis(1)).await;
        self.env.world.step()
    }

    /// Ends the boot: the node is killed and all of its tasks are dropped. The world must be frozen or quiet.
    pub async fn kill(self) {
        self.env.over.store(true, Ordering::Relaxed);
        Handle::current().kill(self.env.node.0.id());
        madsim::time::sleep(Duration::from_millis(1)).await;
        let cohorts = std::mem::take(&mut *locked(&self.env.cohorts));
        for cohort in cohorts.values() {
            let tasks = std::mem::take(&mut locked(&cohort.0).tasks);
            drop(tasks);
        }
    }
}

/// The engine's environment during one boot.
#[derive(Debug)]
pub struct SimEnv {
    fs: SimFs,
    world: World,
    node: Node,
    cohorts: Mutex<BTreeMap<u64, Cohort>>,
    over: AtomicBool,
}

struct Node(NodeHandle);

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Node")
    }
}

impl SimEnv {
    /// Which boot this is, from 1.
    #[must_use]
    pub fn boot_no(&self) -> u64 {
        self.fs.boot_no()
    }

    /// Waits until it is this client's turn, which is chosen like the next completion.
    pub async fn turn(&self, owner: Owner, client: u64) {
        // A turn has no errors; after a crash it never comes.
        let _ = self.fs.turn(owner, client).await;
    }

    /// Waits for `duration` of virtual time.
    pub async fn pause(&self, owner: Owner, duration: Duration) {
        let _ = self.fs.sleep(owner, duration).await;
    }
}

impl Env for SimEnv {
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
        // Jumps back and forth by days: nothing but ages may depend on it. Not often, since manifests hold it: a neighbour
        // that makes a flush some microseconds later is not to show in what a space writes.
        let now = self.world.now();
        Duration::from_micros(now) + Duration::from_secs(86_400 * (1 + (now / 100_000) % 7))
    }
    fn sleep(&self, owner: Owner, duration: Duration) -> Sleep {
        let io = self.fs.sleep(owner, duration);
        Box::pin(async move {
            let _ = io.await;
        })
    }
    fn spawn(&self, owner: Owner, _name: &'static str, task: Task) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut cohorts = locked(&self.cohorts);
        let cohort = cohorts.entry(owner.0).or_insert_with(|| {
            let cohort = Cohort::default();
            drop(self.node.0.spawn(Members(cohort.clone())));
            cohort
        });
        cohort.add(task);
    }
    fn entropy(&self, owner: Owner) -> u64 {
        self.fs.entropy(owner)
    }
}

/// The tasks of one owner.
#[derive(Clone, Default)]
struct Cohort(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    tasks: Vec<Option<Task>>,
    ready: VecDeque<Arc<Member>>,
    waker: Option<Waker>,
}

/// Wakes one task of a cohort.
struct Member {
    cohort: Cohort,
    place: usize,
    queued: AtomicBool,
}

impl std::fmt::Debug for Cohort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cohort")
    }
}

impl Cohort {
    fn add(&self, task: Task) {
        let mut queue = locked(&self.0);
        // Places are not used again: wakers of a task that ended may live on.
        let place = queue.tasks.len();
        queue.tasks.push(Some(task));
        drop(queue);
        Arc::new(Member { cohort: self.clone(), place, queued: AtomicBool::new(false) }).wake();
    }
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        let cohort = self.cohort.clone();
        let waker = {
            let mut queue = locked(&cohort.0);
            queue.ready.push_back(self);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Polls the members of a cohort in the order in which they were woken; never ends.
struct Members(Cohort);

impl Future for Members {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (member, mut task) = {
                let mut queue = locked(&self.0.0);
                let Some(member) = queue.ready.pop_front() else {
                    queue.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                // Gone if it ended and somebody still held its waker.
                let Some(task) = queue.tasks.get_mut(member.place).and_then(Option::take) else { continue };
                (member, task)
            };
            member.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(member.clone());
            let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if !done {
                locked(&self.0.0).tasks[member.place] = Some(task);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
