//! Draws a run from its seed, by swarm testing: each run switches on a random subset of operations, faults and engine
//! options, so that rare combinations are not drowned by everything happening everywhere.
mod apart;
mod pairs;

pub use pairs::{draw_pair, without};

use crate::plan::{
    At, Boot, Damage, DamageKind, End, Errors, Guess, How, Item, Junk, KEY_GROUPS, Op, Opening, Repair, Run,
    Step, Then, Wait,
};
use bulkhead::env::Owner;
use bulkhead::{Durability, Options, SpaceId, TierOptions};
use bulkhead_fault_injection::decide::mix;
use bulkhead_fault_injection::{DirProfile, FaultKind, FaultPlan, FaultRule};

/// A stream of numbers from a seed; integers and ratios only.
#[derive(Debug)]
pub struct Draw {
    seed: u64,
    count: u64,
}

impl Draw {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Draw {
        Draw { seed: mix(seed, 0xD6A3), count: 0 }
    }
    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there must be something to draw from");
        self.count += 1;
        let hash = mix(self.seed, self.count);
        ((u128::from(hash) * u128::from(n)) >> 64) as u64
    }
    /// Within `min..=max`.
    pub fn within(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max - min + 1)
    }
    /// True `n` times in `of`.
    pub fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) < n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    /// Up to `max`, small ones as likely as large ones.
    fn scaled(&mut self, max: u64) -> u64 {
        let bits = self.within(0, u64::from(max.max(1).ilog2()) + 1);
        self.within(1, (1 << bits).min(max).max(1))
    }
}

/// Ids that are easily taken for one another.
const LOOK_ALIKES: [&str; 12] =
    ["a", "A", "a ", " a", "ä", "a\u{308}", "a%", "%61", "con", "CON", "-a", "a.b"];

/// Errors that a disk answers; each run has a random subset.
const ERRORS: [(FaultKind, u32); 10] = [
    (FaultKind::F09SyncEio, 6_000),
    (FaultKind::F09DirSyncEio, 4_000),
    (FaultKind::F10SyncEioRevert, 6_000),
    (FaultKind::F12WriteEio, 3_000),
    (FaultKind::F13NoSpace, 8_000),
    (FaultKind::F13SyncNoSpace, 4_000),
    (FaultKind::F16ReadEio, 4_000),
    (FaultKind::F16SectorDead, 300),
    (FaultKind::F23Stall, 5_000),
    (FaultKind::F09SyncEio, 50_000),
];

/// Whether a class answers an error, as opposed to what power cuts do.
#[must_use]
pub fn is_error(kind: FaultKind) -> bool {
    !kind.is_crash_effect()
}

/// The run of `seed`.
#[must_use]
pub fn draw(seed: u64) -> Run {
    let mut d = Draw::new(seed);
    let profile = if d.chance(1, 3) { DirProfile::Journaled } else { DirProfile::Posix };
    let spaces = spaces(&mut d);
    let cache_bytes = Draw::new(mix(seed, 0xCAC4E)).pick(&[256 << 20, 16 * 1024, 2048, 0]);
    let options = Options { tiers: tiers(seed), cache_bytes, ..options(&mut d) };
    let faults = if d.chance(1, 3) { FaultPlan::crashes_only() } else { faults(&mut d, &spaces) };
    let mut run =
        Run { seed, profile, options, reserve_bytes: 0, settle_us: 0, faults, spaces, steps: Vec::new() };
    let mut swarm = Swarm::new(&mut d);
    if Draw::new(mix(seed, 0xD0_2E)).chance(1, 10) {
        drowsy(&mut run, &mut swarm);
    }
    let is_heated = Draw::new(mix(seed, 0x4EA7)).chance(1, 6);
    if is_heated {
        heated(&mut run, &mut swarm);
    }
    if Draw::new(mix(seed, 0xB16)).chance(1, 30) {
        // Values that alone are more than the memory for all.
        run.options.memory_budget = 64 * 1024;
        swarm.value_max = 80_000;
    }
    // Every opening of a hundred spaces costs as much as a whole run of few.
    let acts = d.within(2, if run.spaces.len() > 8 { 2 } else { 4 });
    let ops = d.within(200, 260) * if is_heated { 3 } else { 1 } / acts + 1;
    let nested_in = d.below(acts);
    for act in 0..acts {
        let closes = act != nested_in && d.chance(if swarm.damage { 2 } else { 1 }, 4);
        act_of(&mut d, &mut swarm, &mut run, ops, act, closes);
        if act == nested_in || d.chance(1, 2) {
            nested(&mut d, &mut run);
        }
    }
    // Some spaces rest in some acts; what was saved there is spent on one more act.
    while run.steps.iter().filter(|step| matches!(step, Step::Client { .. })).count() < 200 {
        act_of(&mut d, &mut swarm, &mut run, ops, acts, false);
    }
    range_deletes(&mut run);
    deletions(&mut run);
    compacting(&mut run);
    apart::all(&mut run);
    shutdowns(&mut run);
    names_in_doubt(&mut run);
    repairs(&mut run);
    root_damage(&mut run);
    if !is_heated {
        own_tiers(&mut run);
    }
    expiring(&mut run);
    apart::holding(&mut run);
    apart::filling(&mut run);
    apart::caching(&mut run);
    apart::weighing(&mut run);
    run
}

/// In one run of three spaces are deleted, somewhere among what their clients do. Drawn apart, so that the rest of a run
/// does not depend on it.
fn deletions(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xDE1E7E));
    if !d.chance(1, 3) {
        return;
    }
    let all = [Then::GoOn, Then::GoOn, Then::Create, Then::DeleteAgain, Then::Abandon(1), Then::Abandon(2)];
    for _ in 0..d.within(1, 5) {
        let at = d.below(run.steps.len() as u64) as usize;
        if let Step::Client { space, client, .. } = run.steps[at] {
            let op = Op::DeleteSpace { then: d.pick(&all) };
            run.steps.insert(at + 1, Step::Client { space, client, op });
        }
    }
}

/// In one run of six syncs of the root fail, though not yet while the engine opens: spaces are made and deleted then.
fn names_in_doubt(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x20_07));
    if !d.chance(1, 6) {
        return;
    }
    let rule = FaultRule::rate(d.pick(&[10_000, 30_000])).only([Owner::ENGINE.0]);
    run.faults = run.faults.clone().with(FaultKind::F09DirSyncEio, rule);
    let mut steps = Vec::new();
    for step in std::mem::take(&mut run.steps) {
        let begins = matches!(step, Step::Boot(_));
        steps.push(step);
        if begins {
            steps.push(Step::Window { after_us: 0, errors: Errors::Rest });
            steps.push(Step::Window { after_us: d.within(1_000, 5_000), errors: Errors::Strike });
        }
    }
    run.steps = steps;
}

/// In one run of eight sectors of `.engine` die.
fn root_damage(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x20_07D1E5));
    if !d.chance(1, 8) {
        return;
    }
    for step in run.steps.iter_mut().skip(1) {
        if let Step::Boot(boot) = step
            && d.chance(1, 2)
        {
            boot.damage.push(Damage { space: 0, what: DamageKind::RootDies });
        }
    }
}

/// In one run of four spaces are damaged in ways that keep them shut, and repaired: at once, or after crashes in repairs.
fn repairs(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x2E_9A12));
    if !d.chance(1, 4) {
        return;
    }
    let kinds = [
        DamageKind::RotsInLog,
        DamageKind::RotsInLog,
        DamageKind::RotsInLog,
        DamageKind::LosesSegment,
        DamageKind::LosesIdentity,
        DamageKind::GoesAstray,
        DamageKind::LosesTable,
        DamageKind::LosesManifest,
    ];
    let cut_short = |d: &mut Draw| Repair::CutShort { k: d.scaled(60) };
    let (spaces, mut is_first, mut steps) = (run.spaces.len() as u64, true, Vec::new());
    for step in std::mem::take(&mut run.steps) {
        let Step::Boot(mut boot) = step else {
            steps.push(step);
            continue;
        };
        if !std::mem::take(&mut is_first) && d.chance(1, 2) {
            boot.damage = vec![Damage { space: d.below(spaces) as u16, what: d.pick(&kinds) }];
            for _ in 0..d.below(3) {
                let how = if d.chance(2, 3) { How::Power } else { How::Kill };
                let end = End::Crash { at: At::Io(u64::MAX), how };
                let damage = std::mem::take(&mut boot.damage);
                let repair = cut_short(&mut d);
                let opening = Opening::RecoverAll;
                steps.push(Step::Boot(Boot { end, opening, damage, junk: Vec::new(), repair }));
            }
        }
        boot.repair = match d.below(6) {
            0 => Repair::Never,
            1 if boot.end != End::Close => cut_short(&mut d),
            _ => Repair::Ordered,
        };
        steps.push(Step::Boot(boot));
    }
    run.steps = steps;
}

/// In one run of four some spaces have tiers of their own.
fn own_tiers(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x0071E5));
    if !d.chance(1, 4) {
        return;
    }
    for (i, id) in run.spaces.iter().enumerate() {
        if d.chance(1, 2) {
            run.options.spaces.insert(id.clone(), tiers(mix(run.seed, i as u64)));
        }
    }
}

/// In one run of four snapshots and scans live but a short time, or few at once, and there are more of them.
fn expiring(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xE8_914E));
    if !d.chance(1, 4) {
        return;
    }
    let (age, most) = match d.below(3) {
        0 => (0, d.pick(&[1, 1, 2, 4])),
        1 => (d.pick(&[1, 3, 20, 100]), d.pick(&[2, 4])),
        _ => (d.pick(&[1, 3, 20, 100]), 0),
    };
    let of_all = std::iter::once(&mut run.options.tiers);
    for tiers in of_all.chain(run.options.spaces.values_mut()) {
        (tiers.snapshot_age_ms, tiers.max_snapshots) = (age, most);
    }
    if d.chance(1, 2) {
        // Scans that take their time.
        run.options.cache_bytes = 0;
        run.faults = run.faults.clone().with(FaultKind::F23Stall, FaultRule::rate(200_000));
    }
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        match op {
            Op::Get { .. } | Op::MultiGet { .. } if d.chance(1, 3) => {
                *op = if d.chance(1, 4) { Op::DurableSnapshot } else { Op::Snapshot };
            }
            Op::Outcome if d.chance(1, 2) => *op = Op::Compare,
            Op::Await { .. } | Op::Scan { .. } if d.chance(1, 4) => *op = Op::Compare,
            Op::ScanPrefix { backwards, .. } => *op = Op::Scan { from: 0, to: 4, backwards: *backwards },
            _ => {}
        }
    }
}

/// In one run of three single openings are ended now and then.
fn shutdowns(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x5D_03));
    if !d.chance(1, 3) {
        return;
    }
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        match op {
            Op::Reopen if d.chance(1, 2) => *op = Op::Shutdown,
            Op::Flush { .. } | Op::Pause { .. } if d.chance(1, 4) => *op = Op::Shutdown,
            _ => {}
        }
    }
}

/// In some runs a part of the flushes compact instead.
fn compacting(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xC0_3FAC));
    if !d.chance(1, 4) {
        return;
    }
    for step in &mut run.steps {
        if let Step::Client { op, .. } = step
            && matches!(op, Op::Flush { .. })
            && d.chance(1, 2)
        {
            *op = Op::Compact;
        }
    }
}

fn spaces(d: &mut Draw) -> Vec<SpaceId> {
    let many = d.chance(1, 20);
    let n = if many { d.within(50, 200) } else { d.within(1, 8) } as usize;
    let mut names: Vec<String> = Vec::new();
    if d.chance(1, 5) {
        let mut pool = LOOK_ALIKES.to_vec();
        while !pool.is_empty() && names.len() < n {
            names.push(pool.swap_remove(d.below(pool.len() as u64) as usize).to_owned());
        }
    }
    let plain = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
    for i in 0.. {
        if names.len() == n {
            break;
        }
        names.push(plain.get(i).map_or_else(|| format!("tenant-{i:04}"), |s| (*s).to_owned()));
    }
    names.iter().map(|n| SpaceId::new(n).expect("a legal id")).collect()
}

fn options(d: &mut Draw) -> Options {
    let segment_first = d.pick(&[16 * 1024, 16 * 1024, 20 * 1024, 32 * 1024, 64 * 1024]);
    Options {
        durability: d.pick(&[Durability::Power, Durability::Power, Durability::Process, Durability::Relaxed]),
        max_spaces: 100_000,
        memory_budget: d.pick(&[1 << 30, 1 << 30, 1 << 30, 256 * 1024, 64 * 1024]),
        segment_first,
        segment_max: segment_first * d.pick(&[1, 2, 4, 64]),
        flush_interval_ms: d.pick(&[1, 20, 200, 2000, 2000]),
        idle_seal_ms: d.pick(&[2, 20, 100, 1000, 1000]),
        recovery_parallelism: d.pick(&[1, 2, 4, 64]),
        ..Options::default()
    }
}

/// Memtables and logs small enough that some tens of operations flush; in one run of four as large as by default. Drawn
/// apart, so that the rest of a run does not depend on it.
fn tiers(seed: u64) -> TierOptions {
    let mut d = Draw::new(mix(seed, 0x71E5));
    let mut tiers = TierOptions::default();
    if !d.chance(1, 4) {
        tiers.memtable_bytes = d.pick(&[512, 1024, 1024, 2048, 4096]);
        tiers.log_bytes = d.pick(&[1 << 28, 1 << 28, 16 * 1024, 96 * 1024]);
        tiers.hot_tables = d.pick(&[1, 2, 4, 8]);
        tiers.table_bytes = d.pick(&[4096, 16 * 1024, 32 << 20]);
        tiers.job_bytes = d.pick(&[4096, 64 * 1024, 256 << 20]);
        tiers.hot_capacity.entries = d.pick(&[4, 12, 40, 100_000]);
        tiers.warm_capacity.entries = tiers.hot_capacity.entries.max(d.pick(&[8, 24, 1_000_000]));
    }
    let mut d = Draw::new(mix(seed, 0x0_70A));
    if d.chance(1, 8) {
        tiers.quota_bytes = d.pick(&[1024, 4096, 16 * 1024]);
    }
    if d.chance(1, 8) && tiers.warm_capacity.entries < 100 {
        tiers.cold_capacity.entries = tiers.warm_capacity.entries.max(d.pick(&[10, 25, 40]));
    }
    // The clock jumps by days.
    let mut d = Draw::new(mix(seed, 0x9207));
    tiers.promote_reads = d.pick(&[1, 1, 2, 3]);
    tiers.promote_window_s = d.pick(&[86_400, 30 * 86_400, 30 * 86_400]);
    (tiers.hot_age_s, tiers.warm_age_s) = d.pick(&[(86_400, 7 * 86_400), (86_400, 2 * 86_400), (0, 0)]);
    tiers
}

fn faults(d: &mut Draw, spaces: &[SpaceId]) -> FaultPlan {
    let mut plan = FaultPlan::crashes_only();
    let n = d.within(1, 4);
    for _ in 0..n {
        let (kind, most) = d.pick(&ERRORS);
        let rate = most / d.pick(&[1, 2, 4, 8, 32]);
        let mut rule = FaultRule::rate(rate.max(1));
        match d.below(3) {
            0 => {}
            1 => rule = rule.only([Owner::of(&spaces[d.below(spaces.len() as u64) as usize]).0]),
            // Everybody but the engine itself: a root in doubt ends a boot early.
            _ => rule = rule.only(spaces.iter().map(|id| Owner::of(id).0)),
        }
        plan = plan.with(kind, rule);
    }
    for kind in FaultKind::ALL.iter().filter(|k| k.is_crash_effect()) {
        if d.chance(1, 10) {
            plan = plan.without(*kind);
        }
    }
    plan
}

/// What this run's clients do.
struct Swarm {
    ops: Vec<u8>,
    waits: Vec<Wait>,
    value_max: u64,
    keys: u64,
    clients: u64,
    pause_max: u64,
    damage: bool,
}

const OPS: u8 = 18;

impl Swarm {
    fn new(d: &mut Draw) -> Swarm {
        // Puts and gets are always there, so that there is something to lose and somebody to notice.
        let mut ops = vec![0, 0, 0, 5];
        for op in 0..OPS {
            if d.chance(1, 2) {
                let weight = if matches!(op, 15..) { 1 } else { 2 };
                ops.extend(std::iter::repeat_n(op, weight));
            }
        }
        let all = [Wait::Later, Wait::Process, Wait::Power, Wait::Configured];
        let mut waits: Vec<Wait> = all.into_iter().filter(|_| d.chance(2, 3)).collect();
        waits.push(Wait::Power);
        Swarm {
            ops,
            waits,
            value_max: d.pick(&[16, 200, 1000, 6000]),
            keys: d.pick(&[3, 20, 200]),
            clients: d.pick(&[2, 2, 2, 3, 4]),
            pause_max: d.pick(&[3, 30, 300]),
            damage: d.chance(1, 5),
        }
    }

    fn op(&self, d: &mut Draw) -> Op {
        let key = |d: &mut Draw| d.below(self.keys) as u16;
        let len = |d: &mut Draw| d.scaled(self.value_max) as u32 - 1;
        let wait = d.pick(&self.waits);
        match d.pick(&self.ops) {
            0 => Op::Put { key: key(d), len: len(d), priority: 0, wait },
            1 => Op::Delete { key: key(d), wait },
            2 => {
                let n = d.within(2, 6);
                let item = |d: &mut Draw| {
                    let len = if d.chance(1, 4) { None } else { Some(len(d)) };
                    Item { key: key(d), len, priority: 0, to: None }
                };
                Op::Batch { items: (0..n).map(|_| item(d)).collect(), wait }
            }
            3 => {
                let guess = if d.chance(1, 2) { Guess::Right } else { Guess::Wrong };
                Op::PutIf { key: key(d), len: len(d), guess }
            }
            4 => Op::Abandon { key: key(d), len: len(d), polls: d.within(1, 4) as u8 },
            5 => Op::Get { key: key(d) },
            6 => {
                let n = d.within(1, 5);
                Op::MultiGet { keys: (0..n).map(|_| key(d)).collect() }
            }
            7 => Op::Scan { from: key(d), to: key(d), backwards: d.chance(1, 2) },
            8 => Op::ScanPrefix { group: d.below(u64::from(KEY_GROUPS)) as u8, backwards: d.chance(1, 2) },
            9 => Op::Snapshot,
            10 => Op::DurableSnapshot,
            11 => Op::Compare,
            12 => Op::Flush { durability: d.pick(&[Durability::Process, Durability::Power]) },
            13 => Op::Await { durability: d.pick(&[Durability::Process, Durability::Power]) },
            14 => Op::Outcome,
            15 => Op::Reopen,
            16 => Op::CreateAgain,
            _ => Op::Pause { ms: d.scaled(self.pause_max) as u16 },
        }
    }
}

/// In two runs of five some of what was drawn becomes range deletes. Drawn apart, so that the rest does not depend on it.
fn range_deletes(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x2A_4E));
    if !d.chance(2, 5) {
        return;
    }
    let (often, far) = (d.pick(&[6, 12, 30]), d.pick(&[2, 20, 200]));
    let wait = |d: &mut Draw| d.pick(&[Wait::Later, Wait::Process, Wait::Power, Wait::Configured]);
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        match op {
            Op::Put { key, .. } | Op::Delete { key, .. } if d.chance(1, often) => {
                let (from, to) = (*key, *key + d.below(far) as u16);
                let clears = d.chance(1, 6);
                let wait = wait(&mut d);
                *op = if clears { Op::Clear { wait } } else { Op::DeleteRange { from, to, wait } };
            }
            Op::Batch { items, .. } if d.chance(1, 3) => {
                let at = d.below(items.len() as u64) as usize;
                let to = Some(items[at].key + d.below(far) as u16);
                items.insert(at, Item { len: None, to, ..items[at] });
            }
            _ => {}
        }
    }
}

/// Logs that are sealed whenever they are quiet for a moment, on a disk that is slow now and then, and rotate often: so
/// that a commit that needs the next segment comes while the seal of this one is being written.
fn drowsy(run: &mut Run, swarm: &mut Swarm) {
    run.options.segment_first = 16 * 1024;
    run.options.segment_max = 16 * 1024;
    run.options.memory_budget = 1 << 30;
    run.options.idle_seal_ms = 1;
    run.options.flush_interval_ms = 1;
    run.faults = run.faults.clone().with(FaultKind::F23Stall, FaultRule::rate(300_000));
    swarm.value_max = 6000;
    swarm.pause_max = 4;
    swarm.ops = vec![0, 0, 2, 2, 5, 17, 17];
}

/// Few spaces, few keys that are read more than written, tiny memtables, and tables that come of age with every jump of the clock:
/// so that entries are promoted while newer versions and deletes of them are on their way down.
fn heated(run: &mut Run, swarm: &mut Swarm) {
    let mut d = Draw::new(mix(run.seed, 0x4EA8));
    run.spaces.truncate(d.within(1, 3) as usize);
    let tiers = &mut run.options.tiers;
    tiers.memtable_bytes = d.pick(&[256, 512, 1024]);
    tiers.hot_tables = d.pick(&[2, 4, 8]);
    tiers.hot_capacity.entries = d.pick(&[6, 10, 10, 40]);
    tiers.warm_capacity.entries = 1_000_000;
    tiers.cold_capacity.entries = 10_000_000;
    tiers.quota_bytes = 0;
    (tiers.hot_age_s, tiers.warm_age_s) = d.pick(&[(86_400, 0), (86_400, 86_400), (86_400, 2 * 86_400)]);
    tiers.promote_reads = d.pick(&[1, 1, 2]);
    tiers.promote_window_s = 30 * 86_400;
    run.options.memory_budget = 1 << 30;
    swarm.value_max = d.pick(&[16, 200]);
    swarm.keys = d.pick(&[8, 20]);
    swarm.pause_max = d.pick(&[30, 100]);
    swarm.ops = vec![0, 0, 1, 2, 5, 5, 5, 5, 5, 6, 9, 11, 17, 17];
}

fn clients(d: &mut Draw, swarm: &mut Swarm, run: &mut Run, ops: u64) {
    let n = run.spaces.len() as u64;
    // A space of many has two clients with an operation or two each.
    let clients = if n > 8 { 2 } else { swarm.clients };
    let each = (ops / (n * clients)).max(1);
    for space in 0..n {
        if n > 2 && d.chance(1, 8) {
            continue;
        }
        for client in 0..clients {
            for _ in 0..d.within(each, each + each / 2 + 1) {
                let op = swarm.op(d);
                run.steps.push(Step::Client { space: space as u16, client: client as u8, op });
            }
        }
    }
}

fn act_of(d: &mut Draw, swarm: &mut Swarm, run: &mut Run, ops: u64, act: u64, closes: bool) {
    let n = run.spaces.len() as u64;
    let how = if d.chance(1, 2) { How::Power } else { How::Kill };
    let io = match d.below(4) {
        // Early: in creations and first segments.
        0 => d.within(1, 60 + 10 * n),
        1 | 2 => d.within(1, ops * 5 + 20 * n),
        _ => d.within(1, ops * 12 + 40 * n),
    };
    let end = if closes { End::Close } else { End::Crash { at: At::Io(io), how } };
    let boot = Boot {
        end,
        opening: opening(d),
        damage: damage(d, swarm, n, act),
        junk: junk(d, n, act),
        repair: Repair::Never,
    };
    run.steps.push(Step::Boot(boot));
    for _ in 0..d.below(4) {
        let errors = if d.chance(1, 2) { Errors::Strike } else { Errors::Rest };
        run.steps.push(Step::Window { after_us: d.scaled(100_000), errors });
    }
    clients(d, swarm, run, ops);
}

fn opening(d: &mut Draw) -> Opening {
    if d.chance(1, 2) { Opening::RecoverAll } else { Opening::Lazily }
}

fn damage(d: &mut Draw, swarm: &Swarm, spaces: u64, act: u64) -> Vec<Damage> {
    if act == 0 || !swarm.damage {
        return Vec::new();
    }
    let what = d.pick(&[
        DamageKind::Rots,
        DamageKind::Rots,
        DamageKind::Rots,
        DamageKind::Dies,
        DamageKind::GoesAstray,
    ]);
    vec![Damage { space: d.below(spaces) as u16, what }]
}

fn junk(d: &mut Draw, spaces: u64, act: u64) -> Vec<Junk> {
    if act == 0 || !d.chance(1, 4) {
        return Vec::new();
    }
    let space = d.below(spaces) as u16;
    vec![d.pick(&[
        Junk::RootFile,
        Junk::RootDir,
        Junk::RootSymlink,
        Junk::InSpace(space),
        Junk::InLog(space),
    ])]
}

/// Up to three crashes within recovery; the last one cuts the power half of the time, so that a kill is followed by a
/// power cut before anybody wrote anew.
fn nested(d: &mut Draw, run: &mut Run) {
    let n = run.spaces.len() as u64;
    for _ in 0..d.within(1, 3) {
        let how = if d.chance(2, 3) { How::Power } else { How::Kill };
        let end = End::Crash { at: At::Io(d.within(1, 12 + 25 * n)), how };
        let boot = Boot {
            end,
            opening: Opening::RecoverAll,
            damage: Vec::new(),
            junk: Vec::new(),
            repair: Repair::Never,
        };
        run.steps.push(Step::Boot(boot));
    }
}
