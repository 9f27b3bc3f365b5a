//! Pairs of runs for the isolation check (G3): in one of them faults, repairs and deletions happen to the first space, in
//! the other they do not. All other spaces must see the same in both, to the microsecond of virtual time.
use super::{Draw, ERRORS, Swarm, clients, options, range_deletes, spaces, tiers};
use crate::plan::{
    At, Boot, Damage, DamageKind, End, Errors, How, Op, Opening, Repair, Run, Step, Then, Wait,
};
use bulkhead::SpaceId;
use bulkhead::env::Owner;
use bulkhead_fault_injection::decide::mix;
use bulkhead_fault_injection::{DirProfile, FaultPlan, FaultRule};
use std::ops::Range;

/// The run for the isolation check: faults strike the first space alone. It is compared with the run [`without`].
#[must_use]
pub fn draw_pair(seed: u64) -> Run {
    let mut d = Draw::new(mix(seed, 0x150));
    let mut spaces = spaces(&mut d);
    spaces.truncate(8);
    if spaces.len() < 2 {
        spaces.push(SpaceId::new("neighbour").expect("a legal id"));
    }
    let mut options = options(&mut d);
    // No shared bottleneck: neither memory nor places in `recover_all` or for jobs.
    options.background_jobs = 1 << 20;
    options.memory_budget = 1 << 30;
    options.recovery_parallelism = 1024;
    options.tiers = tiers(seed);
    let target = Owner::of(&spaces[0]).0;
    let mut faults = FaultPlan::crashes_only();
    let n = d.within(1, 3);
    for _ in 0..n {
        let (kind, rate) = d.pick(&ERRORS);
        faults = faults.with(kind, FaultRule::rate(rate * 2).only([target]));
    }
    let mut run = Run {
        seed,
        profile: DirProfile::Posix,
        options,
        reserve_bytes: 0,
        settle_us: 5_000,
        faults,
        spaces,
        steps: Vec::new(),
    };
    let mut swarm = Swarm::new(&mut d);
    // Everything is created first, with no fault.
    let quiet = End::Crash { at: At::Micros(400_000), how: How::Kill };
    run.steps.push(Step::Boot(Boot {
        end: quiet,
        opening: Opening::Lazily,
        damage: Vec::new(),
        junk: Vec::new(),
        repair: Repair::Never,
    }));
    run.steps.push(Step::Window { after_us: 0, errors: Errors::Rest });
    // Creations share the root, whose syncs take turns: later ones would pass on how long those of others take.
    for space in 0..run.spaces.len() as u16 {
        let op = Op::Put { key: 0, len: 1, priority: 0, wait: Wait::Power };
        run.steps.push(Step::Client { space, client: 0, op });
    }
    clients(&mut d, &mut swarm, &mut run, 30);
    for _ in 0..d.within(2, 3) {
        let how = if d.chance(1, 2) { How::Power } else { How::Kill };
        let end = End::Crash { at: At::Micros(d.within(20_000, 300_000)), how };
        run.steps.push(Step::Boot(Boot {
            end,
            opening: Opening::Lazily,
            damage: Vec::new(),
            junk: Vec::new(),
            repair: Repair::Never,
        }));
        clients(&mut d, &mut swarm, &mut run, 90);
    }
    range_deletes(&mut run);
    deleted_in_both(&mut run);
    repaired_beside_others(&mut run);
    deleted_beside_others(&mut run);
    run
}

/// What a run is compared with in the isolation check: the same without faults, and without the damage, repairs and
/// deletions of the first space.
#[must_use]
pub fn without(run: &Run) -> Run {
    let mut without = Run { faults: FaultPlan::crashes_only(), ..run.clone() };
    without.steps.retain(|s| !matches!(s, Step::Client { space: 0, op: Op::DeleteSpace { .. }, .. }));
    for step in &mut without.steps {
        if let Step::Boot(boot) = step {
            boot.damage.retain(|damage| damage.space != 0);
            // An order to repair what is whole still has somebody look for damage.
            if boot.damage.is_empty() {
                boot.repair = Repair::Never;
            }
        }
    }
    without
}

/// In every second pair the first space is damaged and repaired while the others are at work.
fn repaired_beside_others(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x150_2E9));
    if !d.chance(1, 2) {
        return;
    }
    let kinds = [DamageKind::RotsInLog, DamageKind::LosesSegment, DamageKind::LosesIdentity];
    let boots = run.steps.iter_mut().filter_map(|step| match step {
        Step::Boot(boot) => Some(boot),
        _ => None,
    });
    for boot in boots.skip(1) {
        boot.damage = vec![Damage { space: 0, what: d.pick(&kinds) }];
        boot.repair = Repair::Ordered;
    }
}

/// In every second pair the first space is deleted in the last boot, and mostly made anew. Not in an earlier one: what a
/// crash leaves of a deletion has the next opening of the engine look at the identity of every space.
fn deleted_beside_others(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x150_DE1));
    if !d.chance(1, 2) {
        return;
    }
    let last = run.steps.iter().rposition(|step| matches!(step, Step::Boot(_))).expect("it has boots");
    let all = [Then::GoOn, Then::Create, Then::DeleteAgain, Then::Abandon(2)];
    insert_deletions(&mut d, run, last..run.steps.len(), 0, &all);
}

/// In every third pair another space is deleted in both runs and made anew, in the boot in which all are made and no faults
/// strike: later it would have to wait for its turn with the root.
fn deleted_in_both(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x150_DE2));
    if !d.chance(1, 3) {
        return;
    }
    let second =
        run.steps.iter().skip(1).position(|step| matches!(step, Step::Boot(_))).expect("it has boots");
    let space = d.within(1, run.spaces.len() as u64 - 1) as u16;
    insert_deletions(&mut d, run, 0..second + 1, space, &[Then::Create]);
}

/// Has clients of `space` delete it behind some of their steps among `within`.
fn insert_deletions(d: &mut Draw, run: &mut Run, within: Range<usize>, space: u16, all: &[Then]) {
    let of = |step: &Step| match step {
        Step::Client { space: s, client, .. } if *s == space => Some(*client),
        _ => None,
    };
    let mut places: Vec<(usize, u8)> = within.filter_map(|at| Some((at, of(&run.steps[at])?))).collect();
    for _ in 0..d.within(1, 2) {
        if places.is_empty() {
            return;
        }
        // From behind, so that places in front stay what they are.
        let (at, client) = places[d.below(places.len() as u64) as usize];
        places.retain(|(place, _)| *place < at);
        let then = d.pick(all);
        run.steps.insert(at + 1, Step::Client { space, client, op: Op::DeleteSpace { then } });
    }
}
