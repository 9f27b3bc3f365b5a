//! A bounded pool of threads for calls that may block, shared fairly between owners.
//!
//! **Guarantees.** Up to `owners` different owners run a job at the same moment, whatever the others do: an owner's
//! first job never waits for a second job of anybody. Further jobs of an owner run on `extra` threads that all owners
//! share, at most `share` jobs of one owner at once. Jobs of one owner start in the order of their submission; between
//! owners that wait, the one that waited longest starts first. No job is lost: not by a panic in another one, not by
//! a thread that could not be started, not by dropping the pool.
//!
//! Threads start when they are needed and end after `idle` without work, so that a quiet engine has none. A job is
//! handed straight to a waiting thread, the last that became free first. Free threads park at once: spinning for the
//! next job was measured and made single writers slower, since it holds the processor that the waiter is woken on.
use crate::env::Owner;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Something to be run on a thread of the pool.
pub(super) type Job = Box<dyn FnOnce() + Send + 'static>;

type Work = (Owner, Job);

/// Bounds of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Owners that can have a job running at the same moment.
    pub owners: usize,
    /// Jobs beyond their owner's first that can run at the same moment, all owners together.
    pub extra: usize,
    /// Jobs of one owner that can run at the same moment.
    pub share: usize,
    /// Time without work after which a thread ends.
    pub idle: Duration,
}

/// See the module's documentation.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    limits: PoolLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Owners with a job that runs or waits.
    owners: FxHashMap<Owner, Jobs>,
    /// Owners with a job that waits and none that runs, the longest waiting first.
    first: VecDeque<Owner>,
    /// Owners with a job that waits and one that runs, the longest waiting first. At most as many as may run.
    more: VecDeque<Owner>,
    /// Owners with a running job.
    busy_owners: usize,
    /// Running jobs beyond their owner's first.
    busy_extra: usize,
    /// Threads without work; the last is the hottest.
    free: Vec<Arc<Slot>>,
    /// Threads that live.
    threads: usize,
    /// Set once the pool was dropped: threads end as soon as nothing waits.
    closed: bool,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    running: usize,
}

/// Where a free thread finds what it was handed.
struct Slot {
    thread: Thread,
    /// Set after `work` was filled or the pool closed, before the thread is unparked.
    called: AtomicBool,
    work: Mutex<Option<Work>>,
}

impl Pool {
    pub(super) fn new(name: &'static str, limits: PoolLimits) -> Pool {
        assert!(limits.owners > 0, "a pool runs at least one job at a time");
        assert!(limits.share > 0, "an owner may run at least one job at a time");
        Pool { shared: Arc::new(Shared { name, limits, state: Mutex::default() }) }
    }

    /// Runs `job` for `owner` as soon as the bounds allow. Never waits, unless no thread can be started: then the job
    /// runs here and now.
    pub(super) fn submit(&self, owner: Owner, job: Job) {
        let mut state = self.shared.lock();
        state.enqueue(owner, job);
        // Nothing else can start: whatever a finished job made room for was started when it finished.
        if let Some(work) = state.start(&self.shared.limits) {
            self.shared.dispatch(state, work);
        }
    }

    /// Threads that live now.
    #[cfg(test)]
    fn threads(&self) -> usize {
        self.shared.lock().threads
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        for slot in std::mem::take(&mut state.free) {
            slot.call(None);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("threads", &state.threads)
            .field("free", &state.free.len())
            .finish_non_exhaustive()
    }
}

impl State {
    fn enqueue(&mut self, owner: Owner, job: Job) {
        let jobs = self.owners.entry(owner).or_default();
        if jobs.waiting.is_empty() {
            if jobs.running == 0 { &mut self.first } else { &mut self.more }.push_back(owner);
        }
        jobs.waiting.push_back(job);
    }

    /// The next job that the bounds allow, counted as running.
    fn start(&mut self, limits: &PoolLimits) -> Option<Work> {
        let owner = if self.busy_owners < limits.owners && !self.first.is_empty() {
            self.busy_owners += 1;
            self.first.pop_front()?
        } else if self.busy_extra < limits.extra {
            let position = self.more.iter().position(|owner| self.owners[owner].running < limits.share)?;
            self.busy_extra += 1;
            self.more.remove(position)?
        } else {
            return None;
        };
        let jobs = self.owners.get_mut(&owner).expect("an owner in a queue is known");
        let job = jobs.waiting.pop_front().expect("an owner in a queue has a job that waits");
        jobs.running += 1;
        if !jobs.waiting.is_empty() {
            self.more.push_back(owner);
        }
        Some((owner, job))
    }

    fn finish(&mut self, owner: Owner) {
        let jobs = self.owners.get_mut(&owner).expect("an owner with a running job is known");
        jobs.running -= 1;
        if jobs.running > 0 {
            self.busy_extra -= 1;
            return;
        }
        self.busy_owners -= 1;
        if jobs.waiting.is_empty() {
            self.owners.remove(&owner);
        } else {
            self.more.retain(|o| *o != owner);
            self.first.push_back(owner);
        }
    }
}

impl Slot {
    /// Hands the slot's thread its work, or nothing so that it looks around.
    fn call(&self, work: Option<Work>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
        self.called.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn take(&self) -> Option<Work> {
        self.called.store(false, Ordering::Relaxed);
        take(&self.work)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic on outside input runs under the lock; if it does, the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `work`, already counted as running, to a free or a new thread.
    fn dispatch<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, mut work: Work) {
        loop {
            if let Some(slot) = state.free.pop() {
                drop(state); // Wake the thread without holding what it will want.
                slot.call(Some(work));
                return;
            }
            // No thread is free, so each has a running job: what bounds the jobs bounds the threads.
            state.threads += 1;
            drop(state);
            let offered = Arc::new(Mutex::new(Some(work)));
            let (shared, theirs) = (Arc::clone(self), Arc::clone(&offered));
            let name = format!("bulkhead-{}", self.name);
            let started = thread::Builder::new().name(name).spawn(move || shared.serve(take(&theirs)));
            let Err(error) = started else { return };
            // The caller does it: slow, but neither lost nor stuck.
            tracing::warn!(pool = self.name, %error, "no thread could be started");
            let (owner, job) = take(&offered).expect("a thread that never ran took nothing");
            run(job);
            state = self.lock();
            state.threads -= 1;
            state.finish(owner);
            let Some(next) = state.start(&self.limits) else { return };
            work = next;
        }
    }

    /// The life of a thread.
    fn serve(&self, first: Option<Work>) {
        let slot = Arc::new(Slot {
            thread: thread::current(),
            called: AtomicBool::new(false),
            work: Mutex::new(None),
        });
        let mut work = first;
        loop {
            let done = work.take().map(|(owner, job)| {
                run(job);
                owner
            });
            let mut state = self.lock();
            if let Some(owner) = done {
                state.finish(owner);
            }
            work = state.start(&self.limits);
            if work.is_some() {
                continue;
            }
            if state.closed {
                state.threads -= 1;
                return;
            }
            state.free.push(Arc::clone(&slot));
            drop(state);
            if !self.wait(&slot) && self.leave(&slot) {
                return;
            }
            work = slot.take();
        }
    }

    /// Parks until `slot` is called; false after `idle` without a call.
    fn wait(&self, slot: &Slot) -> bool {
        let since = Instant::now();
        while !slot.called.load(Ordering::Acquire) {
            let Some(left) = self.limits.idle.checked_sub(since.elapsed()).filter(|d| !d.is_zero()) else {
                return false;
            };
            thread::park_timeout(left);
        }
        true
    }

    /// Ends the thread of `slot`; false if it was called in the meantime.
    fn leave(&self, slot: &Arc<Slot>) -> bool {
        let mut state = self.lock();
        let Some(position) = state.free.iter().position(|s| Arc::ptr_eq(s, slot)) else {
            drop(state);
            // Whoever took the slot off the list calls it in a moment.
            while !slot.called.load(Ordering::Acquire) {
                thread::park();
            }
            return false;
        };
        state.free.remove(position);
        state.threads -= 1;
        true
    }
}

/// Runs a job to its end or to its panic: whoever submitted it hears of that from the job's own wrapper.
fn run(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

fn take(work: &Mutex<Option<Work>>) -> Option<Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
