//! Decisions and the schedule are keyed: what one owner meets depends on nobody else, and recorded decisions replay.
use crate::drive::{A, B, Rig, wait};
use bulkhead::env::{Dir, Io, Missing, Owner};
use bulkhead_fault_injection::{
    Decider, DiskOptions, FaultKind, FaultPlan, FaultRule, Release, Released, Replay, Schedule, Step, View,
    World,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn stormy() -> DiskOptions {
    let mut faults = FaultPlan::default();
    for kind in FaultKind::ALL.iter().filter(|k| !k.is_crash_effect()) {
        faults = faults.with(*kind, FaultRule::rate(8_000));
    }
    DiskOptions { faults, ..DiskOptions::default() }
}

/// One owner's script: submits its next operation whenever the previous one was answered.
struct Actor {
    owner: Owner,
    dir: Arc<dyn Dir>,
    step: u64,
    waiting: Option<Io<()>>,
}

impl Actor {
    fn new(world: &World, owner: Owner) -> Actor {
        let path = format!("/data-{}", owner.0);
        let root = wait(world, world.boot().open_root(Path::new(&path), Missing::Create)).unwrap();
        Actor { owner, dir: root.as_owner(owner), step: 0, waiting: None }
    }

    /// Everything that can be submitted without waiting for the answer's value.
    fn go(&mut self, world: &World) {
        if let Some(io) = self.waiting.take()
            && let Err(unanswered) = io.try_take()
        {
            self.waiting = Some(unanswered);
            return;
        }
        let name = format!("f{}", self.step / 4);
        self.waiting = Some(match self.step % 4 {
            0 => {
                drop(self.dir.create(&name));
                world.boot().sleep(self.owner, Duration::from_millis(10))
            }
            1 => self.dir.rename(&name, &format!("g{}", self.step / 4)),
            2 => {
                drop(self.dir.list());
                self.dir.sync()
            }
            _ => world.boot().turn(self.owner, 0),
        });
        self.step += 1;
    }
}

fn run(seed: u64, owners: &[Owner], options: &DiskOptions) -> World {
    run_on(World::new(seed, options), owners)
}

fn run_on(world: World, owners: &[Owner]) -> World {
    let mut actors: Vec<Actor> = owners.iter().map(|o| Actor::new(&world, *o)).collect();
    while actors.iter().any(|a| a.step < 80) {
        actors.iter_mut().filter(|a| a.step < 80).for_each(|a| a.go(&world));
        world.step();
    }
    while world.step() != Step::Idle {}
    world.power_cut();
    world
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_one_another() {
    let of = |seed| {
        let world = run(seed, &[A, B], &stormy());
        (world.trace_hash(), world.fingerprint("/"), world.tallies())
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).0, of(2).0);
    assert_ne!(of(1).1, of(2).1);
}

#[test]
fn what_one_owner_meets_does_not_depend_on_the_other() {
    for seed in 0..40 {
        let alone = run(seed, &[A], &stormy());
        let both = run(seed, &[B, A], &stormy());
        assert_eq!(alone.owner_traces()[&A.0], both.owner_traces()[&A.0], "seed {seed}");
        assert_eq!(
            alone.fingerprint("/data-10"),
            both.fingerprint("/data-10"),
            "seed {seed}: the power cut too"
        );
    }
}

#[test]
fn faults_can_be_confined_to_one_owner() {
    let mut confined = stormy();
    for rule in confined.faults.0.values_mut() {
        rule.owners = Some([B.0].into());
    }
    for seed in 0..20 {
        let with = run(seed, &[A, B], &confined);
        let without = run(seed, &[A, B], &DiskOptions { faults: FaultPlan::benign(), ..stormy() });
        assert_eq!(with.owner_traces()[&A.0], without.owner_traces()[&A.0]);
        assert_ne!(with.owner_traces()[&B.0], without.owner_traces()[&B.0]);
        assert_eq!(with.fingerprint("/data-10"), without.fingerprint("/data-10"));
    }
}

#[test]
fn recorded_decisions_replay_and_an_empty_record_is_the_boring_run() {
    let first = run(7, &[A, B], &stormy());
    let record = Replay { schedule: Schedule::Seed, decisions: first.decisions() };
    assert!(record.decisions.len() > 20);
    let again = run_on(World::with_decider(7, Decider::replay(7, &record), &stormy()), &[A, B]);
    assert_eq!((first.trace_hash(), first.fingerprint("/")), (again.trace_hash(), again.fingerprint("/")));

    let whole = World::with_decider(7, Decider::new(7).recording_schedule(), &stormy());
    let whole = run_on(whole, &[A, B]);
    let record = Replay { schedule: Schedule::Recorded, decisions: whole.decisions() };
    // The seed no longer matters for anything but entropy.
    let again = run_on(World::with_decider(7, Decider::replay(99, &record), &stormy()), &[A, B]);
    assert_eq!(first.trace_hash(), again.trace_hash());

    let nothing = Replay { schedule: Schedule::Seed, decisions: Vec::new() };
    let boring = run_on(World::with_decider(7, Decider::replay(7, &nothing), &stormy()), &[A, B]);
    assert!(boring.tallies().values().all(|t| t.drawn == 0), "{:?}", boring.tallies());
    assert_eq!(boring.fingerprint_of("/", View::Seen), boring.fingerprint_of("/", View::Durable));
}

#[test]
fn time_goes_from_completion_to_completion_and_timers_wait_their_turn() {
    let rig = Rig::new(1);
    let start = rig.world.now();
    let long = rig.fs.sleep(A, Duration::from_secs(5));
    drop(rig.fs.sleep(A, Duration::from_secs(1)));
    let sync = rig.dir.sync();
    let Step::Released(Release { owner, what, now }) = rig.world.step() else { panic!("something is due") };
    assert_eq!((owner, what), (A, Released::Io(bulkhead::env::IoOp::SyncDir)));
    assert!(now - start < 2000);
    sync.try_take().unwrap().unwrap();
    rig.ok(long);
    assert_eq!(rig.world.now() - start, 5_000_000, "the dropped timer never came");
    assert_eq!(rig.world.step(), Step::Idle);
}

#[test]
fn completions_of_one_owner_overtake_each_other() {
    let orders: std::collections::BTreeSet<bool> = (0..50)
        .map(|seed| {
            let rig = Rig::new(seed);
            let (first, second) = (rig.dir.create("a"), rig.dir.create("b"));
            rig.world.step();
            drop(second);
            first.try_take().is_ok()
        })
        .collect();
    assert_eq!(orders.len(), 2);
}

#[test]
fn readable_lines_are_kept_when_asked_for_and_change_nothing() {
    let quiet = run(3, &[A], &stormy());
    let loud = run(3, &[A], &DiskOptions { trace_lines: 50, ..stormy() });
    assert_eq!(quiet.trace_hash(), loud.trace_hash());
    assert_eq!(quiet.trace_tail(10), Vec::<String>::new());
    assert_eq!(loud.trace_tail(10).len(), 10);
    assert!(loud.trace_tail(1)[0].contains("power cut"), "{:?}", loud.trace_tail(1));
}

#[test]
fn random_bits_follow_owner_and_boot() {
    let rig = Rig::new(1);
    let first = (rig.fs.entropy(A), rig.fs.entropy(A));
    assert_ne!(first.0, first.1);
    assert_ne!(rig.fs.entropy(B), first.0);
    assert_eq!(first, (Rig::new(1).fs.entropy(A), first.1));
    assert_ne!(rig.power_cut().fs.entropy(A), first.0);
}
