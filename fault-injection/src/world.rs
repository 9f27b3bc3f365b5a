//! The world: one disk, one clock, one queue of what is under way, and the dispatcher that releases it.
//!
//! Whatever a verb changes, it changes at its release, at once; until then it is *in flight*. So an answered Ok means
//! done, and what is in flight at a crash may have happened, in part or not at all (C9).
use crate::decide::{Decider, Decision, Site, mix};
use crate::dir::Ino;
use crate::disk::{DirProfile, Disk};
use crate::handle::SimFs;
use crate::plan::{FaultKind, FaultPlan, Faults, Tally};
use crate::queue::{Latency, Queue};
use crate::trace::Trace;
use crate::verbs::{Target, Verb, WHATS, What};
use crate::violation::{Violation, ViolationKind};
use bulkhead::env::{IoOp, Owner};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What kind of disk it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskOptions {
    /// How directory changes survive a power cut.
    pub profile: DirProfile,
    /// Which faults strike.
    pub faults: FaultPlan,
    /// How long operations take.
    pub latency: Latency,
    /// Bytes on the device; as many as wanted if `None`.
    pub capacity: Option<u64>,
    /// Keeps this many readable lines of the trace; 0 switches them off, which is much faster.
    pub trace_lines: usize,
}

/// When the world freezes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPoint {
    /// At the k-th I/O operation released from now on, from 1; timers and turns do not count.
    Io(u64),
    /// At the k-th I/O operation of one owner released from now on, from 1.
    OwnerIo { owner: u64, k: u64 },
    /// Before anything due at this virtual time, in microseconds, or later is released.
    Time(u64),
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One completion was given out, and time has advanced to its moment.
    Released(Release),
    /// The crash that was armed has come: nothing happens any more until a power cut or process kill.
    Froze,
    /// Nothing is under way, or the world is frozen.
    Idle,
}

/// One completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    pub owner: Owner,
    pub what: Released,
    /// Virtual time in microseconds.
    pub now: u64,
}

/// Of what it was the completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Io(IoOp),
    Timer,
    Turn,
}

/// Which state of the disk to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// What a program sees (V).
    Seen,
    /// What is durable for certain (D).
    Durable,
}

/// A simulated machine's disk and clock. Clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(crate) struct PerOwner {
    pub(crate) counts: [u64; WHATS],
    pub(crate) submitted: u64,
    pub(crate) released: u64,
    entropy: u64,
    /// What it submitted, in order.
    pub(crate) calls: u64,
    /// What was answered, in any order: answers may overtake each other.
    pub(crate) answers: u64,
    /// When what was answered, in order.
    pub(crate) moments: u64,
    /// Errors that were decided for it.
    pub(crate) strikes: u64,
}

pub(crate) struct State {
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    pub(crate) capacity: Option<u64>,
    /// Bytes of it that somebody else holds.
    pub(crate) taken: u64,
    pub(crate) disk: Disk,
    pub(crate) decider: Decider,
    pub(crate) faults: Faults,
    pub(crate) locks: BTreeMap<Ino, Arc<()>>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) now: u64,
    pub(crate) boot: u64,
    pub(crate) trace: Trace,
    /// Files that the driver of the world made, so that each has a key of its own.
    pub(crate) injected: u64,
    pub(crate) queue: Queue,
    pub(crate) frozen: bool,
    pub(crate) crash: Option<CrashPoint>,
    pub(crate) crashes: u64,
    pub(crate) ios: u64,
    pub(crate) owners: FxHashMap<u64, PerOwner>,
}

impl World {
    /// An empty disk at time zero, before its first boot's first operation.
    #[must_use]
    pub fn new(seed: u64, options: &DiskOptions) -> World {
        World::with_decider(seed, Decider::new(seed), options)
    }

    /// The same with decisions from elsewhere, for replays.
    #[must_use]
    pub fn with_decider(seed: u64, decider: Decider, options: &DiskOptions) -> World {
        let mut trace = Trace::default();
        trace.keep(options.trace_lines);
        World(Arc::new(Mutex::new(State {
            seed,
            latency: options.latency,
            capacity: options.capacity,
            taken: 0,
            disk: Disk::new(options.profile),
            decider,
            faults: Faults::new(&options.faults),
            locks: BTreeMap::new(),
            violations: Vec::new(),
            now: 0,
            boot: 1,
            trace,
            injected: 0,
            queue: Queue::default(),
            frozen: false,
            crash: None,
            crashes: 0,
            ios: 0,
            owners: FxHashMap::default(),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic happens inside the simulated disk")
    }

    /// The world as the current boot of the program sees it. After a crash, a new boot begins with the next call of
    /// [`World::power_cut`] or [`World::process_kill`].
    #[must_use]
    pub fn boot(&self) -> SimFs {
        SimFs { world: self.clone(), boot: self.state().boot }
    }

    /// Number of the current boot, from 1.
    #[must_use]
    pub fn boot_no(&self) -> u64 {
        self.state().boot
    }

    /// Virtual time in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state().now
    }

    /// Releases exactly one completion, advancing time to its moment: the one due first, ties broken by key.
    pub fn step(&self) -> Step {
        let (step, delivery) = self.state().step(self);
        if let Some(delivery) = delivery {
            delivery.deliver();
        }
        step
    }

    /// Operations, timers and turns under way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().queue.len()
    }

    /// I/O operations released so far.
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.state().ios
    }

    /// Arms a crash. At an operation, a legal part of it and of everything else in flight happens first.
    pub fn crash_at(&self, point: CrashPoint) {
        assert!(
            !matches!(point, CrashPoint::Io(0) | CrashPoint::OwnerIo { k: 0, .. }),
            "operations count from 1"
        );
        self.state().crash = Some(point);
    }

    /// Disarms it.
    pub fn no_crash(&self) {
        self.state().crash = None;
    }

    /// Freezes the world here and now.
    pub fn crash_now(&self) {
        let mut state = self.state();
        if !state.frozen {
            state.freeze(self, None);
        }
    }

    /// Whether the world is frozen: nothing is answered and nothing changes until the next boot.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// The machine loses power (C1–C6): a legal part of what was not synced survives. Returns the new boot's number.
    pub fn power_cut(&self) -> u64 {
        let mut state = self.state();
        let boot = state.end_boot(self);
        let State { disk, decider, faults, crashes, .. } = &mut *state;
        disk.power_cut(decider, faults, *crashes);
        state.note_crash("power cut");
        boot
    }

    /// The process is killed (C8): nothing pending is lost, but nothing becomes durable either. Returns the new
    /// boot's number.
    pub fn process_kill(&self) -> u64 {
        let mut state = self.state();
        let boot = state.end_boot(self);
        state.note_crash("process kill");
        boot
    }

    /// A world of its own with the same past, sharing all bytes until either writes. It is frozen, nothing in flight
    /// having happened: cut its power or kill its process to boot it.
    #[must_use]
    pub fn fork(&self) -> World {
        let state = self.state();
        World(Arc::new(Mutex::new(State {
            seed: state.seed,
            latency: state.latency,
            capacity: state.capacity,
            taken: state.taken,
            disk: state.disk.fork(),
            decider: state.decider.clone(),
            faults: state.faults.clone(),
            locks: BTreeMap::new(),
            violations: state.violations.clone(),
            now: state.now,
            boot: state.boot,
            trace: state.trace.clone(),
            injected: state.injected,
            queue: Queue::default(),
            frozen: true,
            crash: None,
            crashes: state.crashes,
            ios: state.ios,
            owners: state.owners.clone(),
        })))
    }

    /// Decides differently from now on.
    pub fn set_decider(&self, decider: Decider) {
        self.state().decider = decider;
    }

    /// The decisions so far that were not the default.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        self.state().decider.decisions().to_vec()
    }

    /// A decision of the world's driver, keyed like all others; see [`Decider::choose_next`].
    #[must_use]
    pub fn choose_next(&self, site: u32, owner: u64, n: u32) -> u32 {
        self.state().decider.choose_next(Site::Driver(site), owner, n)
    }

    /// Opens or closes a window in which a class strikes, if the plan has a rule for it.
    pub fn set_enabled(&self, kind: FaultKind, enabled: bool) {
        self.state().faults.set_enabled(kind, enabled);
    }

    /// Replaces the plan; the tallies go on.
    pub fn set_faults(&self, plan: &FaultPlan) {
        self.state().faults.set_plan(plan);
    }

    /// Bytes on the device from now on.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    /// Somebody else takes all of the device but `room` bytes beyond what is used now, or gives it all back.
    pub fn fill(&self, room: Option<u64>) {
        let mut state = self.state();
        let free = state.capacity.map_or(0, |capacity| capacity.saturating_sub(state.disk.used));
        state.taken = room.map_or(0, |room| free.saturating_sub(room));
    }

    /// Bytes taken by all files together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().disk.used
    }

    /// How often each class was decided and how often that mattered.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<FaultKind, Tally> {
        self.state().faults.tallies()
    }

    /// Errors that were decided for one owner's operations so far; stalls and what power cuts do are none.
    #[must_use]
    pub fn strikes(&self, owner: u64) -> u64 {
        self.state().owners.get(&owner).map_or(0, |per| per.strikes)
    }

    /// Rules that the program broke.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    /// Hash of everything that happened, in order, with virtual time.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state().trace.hash()
    }

    /// How many events that hash covers.
    #[must_use]
    pub fn trace_events(&self) -> u64 {
        self.state().trace.events()
    }

    /// The last readable lines of the trace.
    #[must_use]
    pub fn trace_tail(&self, n: usize) -> Vec<String> {
        self.state().trace.tail(n)
    }

    /// Keeps this many readable lines from now on.
    pub fn trace_keep(&self, lines: usize) {
        self.state().trace.keep(lines);
    }

    /// For each owner, a hash of what it submitted and what was answered, without virtual time and without the order
    /// among owners: equal in two runs exactly if that owner saw the same.
    #[must_use]
    pub fn owner_traces(&self) -> BTreeMap<u64, u64> {
        self.state().owners.iter().map(|(owner, per)| (*owner, mix(per.calls, per.answers))).collect()
    }

    /// For each owner, a hash of when it was answered what, in virtual time: equal in two runs exactly if that owner was
    /// served in the same moments.
    #[must_use]
    pub fn owner_moments(&self) -> BTreeMap<u64, u64> {
        self.state().owners.iter().map(|(owner, per)| (*owner, per.moments)).collect()
    }

    /// Counts what an owner asked for and what it was given, timers and turns too: it did nothing while this stays the same.
    #[must_use]
    pub fn activity(&self, owner: u64) -> u64 {
        self.state().owners.get(&owner).map_or(0, |per| per.submitted + per.released)
    }

    pub(crate) fn submit(
        &self,
        boot: u64,
        owner: Owner,
        what: What,
        target: Target,
        mut verb: Verb,
        wait: u64,
    ) {
        let mut state = self.state();
        if state.boot != boot || state.frozen {
            // The verb is dropped with its completer, and so is never answered.
            return;
        }
        verb.submitted(&state.disk);
        state.submit(owner.0, what, target, verb, wait);
    }

    pub(crate) fn find_dir(&self, path: &str) -> Option<Ino> {
        let state = self.state();
        state.disk.find(path, |dir| &dir.seen).filter(|ino| state.disk.dir(*ino).is_some())
    }

    pub(crate) fn entropy(&self, boot: u64, owner: u64) -> u64 {
        let mut state = self.state();
        let seed = state.seed;
        let per = state.owners.entry(owner).or_default();
        per.entropy += 1;
        mix(mix(mix(mix(seed, 0xE17), boot), owner), per.entropy)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl State {
    pub(crate) fn violation(
        &mut self,
        kind: ViolationKind,
        owner: u64,
        target: &Target,
        offset: Option<u64>,
        writer: Option<u64>,
    ) {
        let at = self.now;
        self.violations.push(Violation { kind, at, owner, path: target.text(), offset, writer });
    }
}
