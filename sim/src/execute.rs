//! Executes a run: boots, crashes, and at the end a quiet phase in which everything must work again.
use crate::adapter::{Boot, simulate};
use crate::client::{Client, deletion};
use crate::damage;
use crate::failure::{Failure, Guarantee};
use crate::manifests;
use crate::model::{Existence, Harm};
use crate::plan::{self, At, End, Errors, How, Junk, Op, Opening, Repair, Run, Step};
use crate::probe::{Probe, Probes};
use crate::repair::{self, Others};
use crate::story::{Doing, Story};
use crate::work::Work;
use bulkhead::env::{Env, IoOp, Owner};
use bulkhead::{Engine, ErrorKind, Options, RecoveryStatus, SpaceState};
use bulkhead_fault_injection::decide::mix;
use bulkhead_fault_injection::{
    CrashPoint, Decision, DiskOptions, FaultKind, Latency, Released, Tally, TreeKind, View, World,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub failure: Option<Failure>,
    pub operations: u64,
    pub work: Work,
    pub ios: u64,
    /// Of these, those before the quiet phase.
    pub ios_in_boots: u64,
    pub crashes: u64,
    pub nested: u64,
    pub spaces: u64,
    pub power_acknowledged: u64,
    pub lost: u64,
    pub deletions: u64,
    pub repairs: u64,
    pub overlapping: u64,
    pub probes: Probes,
    pub tallies: BTreeMap<FaultKind, Tally>,
    pub trace_hash: u64,
    pub events: u64,
    /// Of each space before the quiet phase.
    pub trails: Vec<Trail>,
    pub decisions: Vec<Decision>,
    /// The last readable lines, if they were asked for.
    pub lines: Vec<String>,
}

/// What one space went through, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trail {
    /// What its clients were told.
    pub told: u64,
    /// What it asked of the disk, and what was answered.
    pub asked: u64,
    /// In which moments of virtual time it was answered.
    pub moments: u64,
}

/// Where all spaces lie.
pub const ROOT: &str = "/data";
/// Bytes of a disk that has an end: more than any run writes, if nobody else fills it.
const DISK: u64 = 64 << 20;
/// No boot takes longer than this, in microseconds of virtual time.
const BOOT_LIMIT: u64 = 600_000_000;
/// Owner of the task that opens and closes the windows of faults.
const DIRECTOR: Owner = Owner(u64::MAX);

/// Executes `run`, keeping this many readable lines of its trace. Call it on a fresh thread.
#[must_use]
pub fn execute(run: &Run, lines: usize) -> Report {
    let options = DiskOptions {
        profile: run.profile,
        faults: run.faults.clone(),
        latency: Latency::default(),
        capacity: (run.reserve_bytes > 0).then_some(DISK),
        trace_lines: lines,
    };
    let world = World::new(run.seed, &options);
    let story = Arc::new(Story::new(Arc::new(run.clone()), world));
    simulate(
        run.seed,
        Execution { story: story.clone(), crashes: 0, nested: 0, last: None, level: 0 }.all(lines),
    )
}

struct Execution {
    story: Arc<Story>,
    crashes: u64,
    nested: u64,
    /// How the former boot ended.
    last: Option<How>,
    /// Crashes in recovery in a row.
    level: u32,
}

/// How a boot came to its end.
enum Ended {
    Crashed,
    Done,
    Failed,
}

impl Execution {
    async fn all(mut self, lines: usize) -> Report {
        let run = self.story.run.clone();
        for (boot, steps) in run.boots() {
            self.boot(boot, steps).await;
            if self.has_failed() {
                break;
            }
        }
        let story = self.story.clone();
        let ios_in_boots = story.world.ios();
        let (traces, moments) = (story.world.owner_traces(), story.world.owner_moments());
        let of = |hashes: &BTreeMap<u64, u64>, i| hashes.get(&story.owner(i)).copied().unwrap_or(0);
        let trail = |i| Trail { told: story.model(i).story, asked: of(&traces, i), moments: of(&moments, i) };
        let trails = (0..story.len()).map(trail).collect();
        if !self.has_failed() {
            self.quiet_phase().await;
        }
        if let Some(v) = story.world.violations().first() {
            story.fail(Failure::new(Guarantee::Contract, v.to_string()));
        }
        let shared = std::mem::take(&mut *story.shared());
        let mut lost = 0;
        for i in 0..story.len() {
            lost += story.model(i).lost;
            story.replace_handle(&mut story.model(i), None);
        }
        Report {
            failure: shared.failure,
            operations: shared.operations,
            work: shared.work,
            ios: story.world.ios(),
            ios_in_boots,
            crashes: self.crashes,
            nested: self.nested,
            spaces: story.len() as u64,
            power_acknowledged: shared.power_acknowledged,
            lost,
            deletions: shared.deletions,
            repairs: shared.repairs,
            overlapping: shared.overlapping,
            probes: shared.probes,
            tallies: story.world.tallies(),
            trace_hash: story.world.trace_hash(),
            events: story.world.trace_events(),
            trails,
            decisions: if lines > 0 { story.world.decisions() } else { Vec::new() },
            lines: story.world.trace_tail(lines),
        }
    }

    fn has_failed(&self) -> bool {
        self.story.shared().failure.is_some()
    }

    /// Faults rest; the power is cut once more. Then everything opens, serves, keeps what it is given, and is found
    /// the same twice (G9).
    async fn quiet_phase(&mut self) {
        let story = self.story.clone();
        let world = &story.world;
        story.shared().is_quiet = true;
        let repair = self.last_word();
        world.set_faults(&bulkhead_fault_injection::FaultPlan::crashes_only());
        if self.last.is_none() {
            world.crash_now();
        }
        self.cut(How::Power);
        let (key, len) = plan::PUT_IN_PEACE;
        let op = Op::Put { key, len, priority: 0, wait: plan::Wait::Power };
        let put = |space| Step::Client { space, client: 0, op: op.clone() };
        let steps: Vec<Step> = (0..story.len()).map(|i| put(i as u16)).collect();
        let get =
            |space| Step::Client { space, client: 1, op: Op::Scan { from: 0, to: 4, backwards: false } };
        let look: Vec<Step> = (0..story.len()).map(|i| get(i as u16)).collect();
        let crash = End::Crash { at: At::Micros(BOOT_LIMIT), how: How::Power };
        for (end, steps) in [(crash, &steps), (End::Close, &look), (End::Close, &look)] {
            let (damage, junk) = (Vec::new(), Vec::new());
            let boot = plan::Boot { end, opening: Opening::RecoverAll, damage, junk, repair };
            self.boot(&boot, steps).await;
            // Unless a disk that cannot be read explains why it does not open at all: the opener has looked.
            let is_open = story.shared().is_open;
            if is_open {
                self.all_serve();
            }
            if self.has_failed() {
                return;
            }
        }
        let is_open = story.shared().is_open;
        if is_open && let Err(failure) = deletion::nothing_is_left(&story) {
            story.fail(failure);
        }
    }

    /// In runs where anybody repairs anything, what is left is repaired in peace.
    fn last_word(&self) -> Repair {
        let repairs = |(boot, _): (&plan::Boot, &[Step])| boot.repair != Repair::Never;
        if self.story.run.boots().any(repairs) { Repair::Ordered } else { Repair::Never }
    }

    fn all_serve(&self) {
        for i in 0..self.story.len() {
            let model = self.story.model(i);
            let closed = model.existence == Existence::Certain && model.harm == Harm::None;
            if closed && model.opening == 0 && model.promised() > 0 {
                let failure = model.failure(Guarantee::G9Liveness, "was never opened again");
                drop(model);
                self.story.fail(failure);
                return;
            }
        }
    }

    /// One boot with its steps.
    async fn boot(&mut self, boot: &plan::Boot, steps: &[Step]) {
        let story = self.story.clone();
        let world = &story.world;
        self.prepare(boot, steps);
        match boot.end {
            End::Crash { at: At::Io(k), .. } => world.crash_at(CrashPoint::Io(k)),
            End::Crash { at: At::Micros(us), .. } if us < BOOT_LIMIT => {
                world.crash_at(CrashPoint::Time(world.now() + us));
            }
            _ => world.no_crash(),
        }
        let machine = Boot::new(world);
        let opener = opener(story.clone(), machine.env(), boot.clone(), steps.to_vec());
        spawn(&story, &machine, Owner::ENGINE, opener);
        let of_errors = steps.iter().filter_map(|step| match step {
            Step::Window { after_us, errors } => Some((*after_us, Scene::Errors(*errors))),
            _ => None,
        });
        let scenes = of_errors.collect();
        spawn(&story, &machine, DIRECTOR, director(story.clone(), machine.env(), scenes));
        let of_the_disk = steps.iter().filter_map(|step| match step {
            Step::Disk { after_us, room } => Some((*after_us, Scene::Disk(*room))),
            _ => None,
        });
        let scenes: Vec<_> = of_the_disk.collect();
        if !scenes.is_empty() {
            spawn(&story, &machine, DIRECTOR, director(story.clone(), machine.env(), scenes));
        }
        let ended = self.turn_by_turn(&machine, boot).await;
        let was_open = story.shared().is_open;
        if matches!(ended, Ended::Failed) {
            world.crash_now();
        }
        if let (Ended::Done, End::Close) = (&ended, boot.end) {
            spawn(&story, &machine, Owner::ENGINE, closer(story.clone()));
            self.turn_by_turn(&machine, boot).await;
        }
        let how = match boot.end {
            End::Crash { how, .. } => how,
            End::Close => How::Kill,
        };
        if boot.end != End::Close {
            self.crashes += 1;
            let in_recovery = !was_open && matches!(ended, Ended::Crashed) && self.last.is_some();
            self.level = if in_recovery { self.level + 1 } else { 0 };
            self.nested += u64::from(in_recovery);
            let mut shared = story.shared();
            if in_recovery {
                shared.probes.hit(Probe::NestedCrash);
            }
            if self.level == 2 {
                shared.probes.hit(Probe::NestedTwice);
            }
            if self.last == Some(How::Kill) && how == How::Power {
                shared.probes.hit(Probe::KillThenPower);
            }
            drop(shared);
            if (0..story.len()).any(|i| story.model(i).has_unsettled_batch()) {
                story.hit(Probe::BatchAcrossCrash);
            }
            if (0..story.len()).any(|i| story.model(i).pending > 0) {
                story.hit(Probe::CrashInDeletion);
            }
            repair::notice_crash(&story);
        }
        self.last = (boot.end != End::Close).then_some(how);
        self.end(machine, how).await;
    }

    /// The machine stops: nothing that still runs may change anything.
    async fn end(&mut self, machine: Boot, how: How) {
        let story = self.story.clone();
        let world = &story.world;
        world.crash_now();
        let checks = story.run.seed.is_multiple_of(4);
        let before = checks.then(|| world.fingerprint(""));
        *story.engine() = None;
        for i in 0..story.len() {
            story.replace_handle(&mut story.model(i), None);
        }
        machine.kill().await;
        if before.is_some_and(|before| before != world.fingerprint("")) {
            story.fail(Failure::new(Guarantee::G7Determinism, "a machine that was off changed its disk"));
        }
        for i in 0..story.len() {
            if let Err(failure) = manifests::check(world, &story.model(i)) {
                story.fail(failure);
            }
            manifests::notice(world, &story.model(i), &mut |probe| story.hit(probe));
        }
        self.cut(how);
    }

    fn cut(&mut self, how: How) {
        let story = &self.story;
        match how {
            How::Kill => {
                story.world.process_kill();
            }
            How::Power => {
                story.world.power_cut();
                let mut shared = story.shared();
                shared.strikes_at_cut.insert(0, story.world.strikes(0));
                for i in 0..story.len() {
                    let owner = story.owner(i);
                    shared.strikes_at_cut.insert(owner, story.world.strikes(owner));
                    story.model(i).power_was_cut();
                }
            }
        }
    }

    fn prepare(&self, boot: &plan::Boot, steps: &[Step]) {
        let story = &self.story;
        {
            let mut shared = story.shared();
            (shared.running, shared.is_open, shared.troubled) = (0, false, false);
            shared.repair = boot.repair;
            shared.cache.clear();
        }
        for i in 0..story.len() {
            story.model(i).begin_boot();
        }
        let first = match steps.first() {
            Some(Step::Window { after_us: 0, errors }) => *errors,
            _ => Errors::Strike,
        };
        set_errors(story, first);
        story.shared().was_full = false;
        fill(
            story,
            steps
                .iter()
                .find_map(|step| match step {
                    Step::Disk { after_us, room } => Some(room.filter(|_| *after_us == 0)),
                    _ => None,
                })
                .flatten(),
        );
        damage::damage(story, boot);
        self.litter(boot);
        if self.last.is_some() && story.len() <= 8 {
            self.look_at_leftovers();
        }
    }

    fn litter(&self, boot: &plan::Boot) {
        let story = &self.story;
        let world = &story.world;
        for junk in &boot.junk {
            let inside = |space: u16| format!("{ROOT}/{}", story.run.spaces[usize::from(space)].dir_name());
            let (dir, name) = match junk {
                Junk::RootFile => (ROOT.to_owned(), ".DS_Store"),
                Junk::RootDir => (ROOT.to_owned(), "lost+found"),
                Junk::RootSymlink => (ROOT.to_owned(), "shortcut"),
                Junk::InSpace(space) => (inside(*space), "MANIFEST.bak"),
                Junk::InLog(space) => (inside(*space) + "/wal", "0000000000000001-copy.wal"),
            };
            let path = format!("{dir}/{name}");
            if !world.has_name(&dir, View::Seen) || world.has_name(&path, View::Seen) {
                continue;
            }
            match junk {
                Junk::RootDir => world.inject_dir(&path),
                Junk::RootSymlink => world.inject_symlink(&path),
                _ => world.inject_file(&path, b"not ours"),
            }
        }
    }

    /// Counts what an earlier crash left half done.
    fn look_at_leftovers(&self) {
        let world = &self.story.world;
        let mut manifests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let paths = world.paths(View::Seen);
        for (path, _) in paths.iter().filter(|(_, kind)| *kind != TreeKind::Symlink) {
            let Some((dir, name)) = path.rsplit_once('/') else { continue };
            if name.starts_with(".creating-") {
                self.story.hit(Probe::CreationPurged);
            } else if name.starts_with(".deleted-") {
                self.story.hit(Probe::DeletionResumed);
            } else if name.starts_with("MANIFEST-") {
                manifests.entry(dir.to_owned()).or_default().push(name.to_owned());
            }
        }
        for (dir, names) in manifests.iter().filter(|(_, names)| names.len() > 1) {
            // Names sort by generation: the last one is the newest.
            let Some(newest) = names.last() else { continue };
            let bytes = world.read_file(&format!("{dir}/{newest}"), View::Seen).unwrap_or_default();
            let name = bulkhead::manifest::ManifestName::parse(newest);
            if name.is_some_and(|name| bulkhead::manifest::decode(&bytes, name, None).is_none()) {
                self.story.hit(Probe::TornManifest);
            }
        }
    }

    async fn turn_by_turn(&mut self, machine: &Boot, boot: &plan::Boot) -> Ended {
        let story = self.story.clone();
        let until = story.world.now() + BOOT_LIMIT;
        let waits_for_crash = matches!(boot.end, End::Crash { at: At::Micros(us), .. } if us < BOOT_LIMIT);
        let mut allocations: BTreeMap<u64, u64> = BTreeMap::new();
        loop {
            let step = machine.tick().await;
            let running = {
                let shared = story.shared();
                if shared.failure.is_some() {
                    return Ended::Failed;
                }
                shared.running
            };
            if running == 0 && !waits_for_crash {
                return Ended::Done;
            }
            match step {
                bulkhead_fault_injection::Step::Released(release) => {
                    if release.what == Released::Io(IoOp::Allocate) {
                        let n = allocations.entry(release.owner.0).or_insert(0);
                        *n += 1;
                        match *n {
                            2 => story.hit(Probe::SparePrepared),
                            3 => story.hit(Probe::Rotation),
                            _ => {}
                        }
                    }
                    if release.now > until {
                        story.fail(Failure::new(Guarantee::G9Liveness, "a boot does not come to its end"));
                        return Ended::Failed;
                    }
                }
                bulkhead_fault_injection::Step::Froze => return Ended::Crashed,
                bulkhead_fault_injection::Step::Idle => {
                    let what = format!("{running} tasks wait for something that never comes");
                    story.fail(Failure::new(Guarantee::G9Liveness, what));
                    return Ended::Failed;
                }
            }
        }
    }
}

fn spawn(
    story: &Arc<Story>,
    machine: &Boot,
    owner: Owner,
    task: impl Future<Output = Result<(), Failure>> + Send + 'static,
) {
    spawn_in(story, &machine.env(), owner, task);
}

fn spawn_in(
    story: &Arc<Story>,
    env: &Arc<crate::adapter::SimEnv>,
    owner: Owner,
    task: impl Future<Output = Result<(), Failure>> + Send + 'static,
) {
    story.shared().running += 1;
    let story = story.clone();
    let task = async move {
        if let Err(failure) = task.await {
            story.fail(failure);
        }
        story.shared().running -= 1;
    };
    env.spawn(owner, "simulation", Box::pin(task));
}

fn set_errors(story: &Story, errors: Errors) {
    for kind in FaultKind::ALL.iter().filter(|k| !k.is_crash_effect()) {
        story.world.set_enabled(*kind, errors == Errors::Strike);
    }
}

/// What changes about the world while clients are at work.
#[derive(Debug, Clone, Copy)]
enum Scene {
    Errors(Errors),
    Disk(Option<u64>),
}

/// Opens and closes the windows of faults, or fills and empties the disk.
async fn director(
    story: Arc<Story>,
    env: Arc<crate::adapter::SimEnv>,
    scenes: Vec<(u64, Scene)>,
) -> Result<(), Failure> {
    for (after, scene) in scenes {
        env.pause(DIRECTOR, Duration::from_micros(after)).await;
        match scene {
            Scene::Errors(errors) => set_errors(&story, errors),
            Scene::Disk(room) => fill(&story, room),
        }
    }
    Ok(())
}

fn fill(story: &Story, room: Option<u64>) {
    story.world.fill(room);
    // An error that was met meanwhile may be told later.
    let mut shared = story.shared();
    shared.was_full |= room.is_some();
    shared.is_full = room.is_some();
    shared.fills += 1;
}

/// Whether what an error is about is the root or lies in it, and not in a space.
fn is_of_the_root(e: &bulkhead::Error) -> bool {
    let root = Path::new(ROOT);
    e.path().is_none_or(|path| root.starts_with(path) || path.parent() == Some(root))
}

/// Whether errors of the disk explain why the root does not open. The engine alone reads and writes `.engine`.
fn explains(story: &Story, e: &bulkhead::Error) -> bool {
    match e.path().and_then(Path::file_name) {
        _ if e.kind() == ErrorKind::NoSpace && story.shared().was_full => true,
        Some(name) if name == bulkhead::space::ENGINE_FILE => story.is_struck(Owner::ENGINE.0),
        _ => story.is_anybody_struck(),
    }
}

/// Opens the engine, looks at what it lists and recovers, and lets the clients loose.
async fn opener(
    story: Arc<Story>,
    env: Arc<crate::adapter::SimEnv>,
    boot: plan::Boot,
    steps: Vec<Step>,
) -> Result<(), Failure> {
    let options = Options { reserve_bytes: story.run.reserve_bytes, ..story.run.options.clone() };
    let settled = story.world.now() + story.run.settle_us;
    let opened = Engine::open(env.clone(), Path::new(ROOT), options).await;
    let engine = match opened {
        Ok(engine) => engine,
        // A directory whose sync failed refuses changes until the power is cut, whoever synced it. What is inside a
        // space is no reason.
        Err(e) if e.space().is_none() && is_of_the_root(&e) && explains(&story, &e) => return Ok(()),
        Err(e) => {
            let what = format!("the engine does not open, and nothing explains it: {e:?}");
            return Err(Failure::new(Guarantee::G9Liveness, what));
        }
    };
    listed(&story, &engine)?;
    if boot.opening == Opening::RecoverAll {
        recover_all(&story, &engine).await?;
    }
    story.shared().is_open = true;
    let number = env.boot_no();
    let mut queues: BTreeMap<(u16, u8), Vec<Op>> = BTreeMap::new();
    for step in steps {
        if let Step::Client { space, client, op } = step {
            queues.entry((space, client)).or_default().push(op);
        }
    }
    *story.engine() = Some(engine.clone());
    let left = settled.saturating_sub(story.world.now());
    if left > 0 {
        env.pause(Owner::ENGINE, Duration::from_micros(left)).await;
    }
    for ((space, client), ops) in queues {
        let space = usize::from(space);
        let owner = Owner(story.owner(space));
        let client =
            Client::new(story.clone(), engine.clone(), env.clone(), space, u64::from(client), number);
        spawn_in(&story, &env, owner, client.run(ops));
    }
    Ok(())
}

/// Which spaces there are: all that were made for certain, and none that nobody tried to make.
fn listed(story: &Story, engine: &Engine) -> Result<(), Failure> {
    let listing = engine.list_spaces().spaces;
    for i in 0..story.len() {
        let mut model = story.model(i);
        let is_there = listing.binary_search(&model.id).is_ok();
        if !is_there && model.unresolved {
            model.erase();
        }
        model.existence = match (model.existence, is_there) {
            (Existence::Certain, false) => {
                return Err(model.failure(Guarantee::G1Durability, "it was made, and now it is not there"));
            }
            (Existence::Never, true) if model.generation > 0 => {
                return Err(model.failure(Guarantee::G8Erasure, "it was deleted, and it is there again"));
            }
            (Existence::Never, true) => {
                return Err(model.failure(Guarantee::G2Prefix, "nobody made it, and it is there"));
            }
            (_, true) => Existence::Certain,
            (_, false) => Existence::Never,
        };
    }
    match listing.iter().find(|id| !story.run.spaces.contains(id)) {
        Some(id) => Err(Failure::new(Guarantee::G2Prefix, format!("space {id:?} came out of nowhere"))),
        None => Ok(()),
    }
}

async fn recover_all(story: &Story, engine: &Engine) -> Result<(), Failure> {
    let reports = engine.recover_all().await;
    let wrong = |what: String| Err(Failure::new(Guarantee::G3Isolation, what));
    let reports = match reports {
        Ok(reports) => reports,
        Err(e) => return wrong(format!("recover_all failed: {e:?}")),
    };
    let ids: Vec<_> = reports.iter().map(|r| r.id.clone()).collect();
    if ids != engine.list_spaces().spaces {
        return wrong(format!("recover_all reported on {ids:?} only"));
    }
    for report in &reports {
        let Some(i) = story.run.spaces.iter().position(|id| *id == report.id) else { continue };
        match report.status {
            RecoveryStatus::Clean | RecoveryStatus::TornTail => {
                // It is open: this answers at once.
                match engine.space(&report.id).await {
                    Ok(space) => drop(story.observe(i, &space).await?),
                    Err(e) => return wrong(format!("reported {:?}, then {e:?}", report.status)),
                }
            }
            RecoveryStatus::Corrupt | RecoveryStatus::Failed => {
                if let Err(e) = engine.space(&report.id).await {
                    story.judge(i, Doing::Opening, &e)?;
                    repair::order(story, engine, i, Others::None, &e).await?;
                }
            }
        }
    }
    Ok(())
}

/// Closes the engine in peace.
async fn closer(story: Arc<Story>) -> Result<(), Failure> {
    let Some(engine) = story.engine().take() else { return Ok(()) };
    match engine.close().await {
        Ok(()) => {
            for i in 0..story.len() {
                let mut model = story.model(i);
                let closed = model.handle.as_ref().is_some_and(|h| matches!(h.state(), SpaceState::Closed));
                if closed {
                    let last = bulkhead::Lsn::from_raw(model.last());
                    model.promise_power(last)?;
                    model.sealed = last != bulkhead::Lsn::ZERO;
                }
            }
            Ok(())
        }
        Err(e) if story.is_anybody_struck() && e.kind() != ErrorKind::Closed => Ok(()),
        Err(e) => Err(Failure::new(Guarantee::G9Liveness, format!("the engine does not close: {e:?}"))),
    }
}

/// The hash of a report that two executions of one run must share.
#[must_use]
pub fn identity(report: &Report) -> u64 {
    let trails = report.trails.iter().fold(report.trace_hash, |h, t| mix(mix(h, t.told), t.asked));
    mix(mix(trails, report.events), report.operations)
}
