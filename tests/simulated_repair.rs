//! Goal: a repair that is cut short anywhere leaves a space as damaged as before, or repaired; and one copy of `.engine`
//! is enough. Method: the same small run on the simulated disk, crashing at each I/O operation of a repair in turn, and
//! again in the repair that follows; the simulator's model says what must be there.
use bulkhead::{Options, SpaceId};
use bulkhead_fault_injection::{DirProfile, FaultPlan};
use bulkhead_sim::execute::Report;
use bulkhead_sim::hunt::execute_alone;
use bulkhead_sim::plan::{At, Boot, Damage, DamageKind, End, How, Op, Opening, Repair, Run, Step, Wait};
use bulkhead_sim::probe::Probe;

fn boot(end: End, damage: Option<DamageKind>, repair: Repair) -> Step {
    let damage = damage.map(|what| Damage { space: 0, what }).into_iter().collect();
    Step::Boot(Boot { end, opening: Opening::RecoverAll, damage, junk: Vec::new(), repair })
}

/// When all is done that there is to do.
fn crash(how: How) -> End {
    End::Crash { at: At::Io(u64::MAX), how }
}

fn puts(space: u16, keys: std::ops::Range<u16>) -> impl Iterator<Item = Step> {
    let put = move |key| Op::Put { key, len: 700, priority: 0, wait: Wait::Power };
    keys.map(move |key| Step::Client { space, client: 0, op: put(key) })
}

/// Two spaces with durable commits, the log of the first one over several segments; closed in peace.
fn filled(seed: u64) -> Run {
    let mut steps = vec![boot(End::Close, None, Repair::Never)];
    steps.extend(puts(0, 0..25).chain(puts(1, 0..4)));
    let options = Options { segment_first: 16 * 1024, segment_max: 16 * 1024, ..Options::default() };
    let spaces = ["alpha", "beta"].map(|id| SpaceId::new(id).unwrap()).into();
    Run {
        seed,
        profile: DirProfile::Posix,
        options,
        reserve_bytes: 0,
        settle_us: 0,
        faults: FaultPlan::crashes_only(),
        spaces,
        steps,
    }
}

fn passes(run: &Run, what: &str) -> Report {
    let report = execute_alone(run, 0).expect("no panic");
    assert!(report.failure.is_none(), "{what}: {:?}", report.failure);
    report
}

#[test]
fn a_repair_cut_short_anywhere_leaves_the_space_repairable_or_repaired() {
    for kind in [DamageKind::RotsInLog, DamageKind::LosesSegment, DamageKind::LosesIdentity] {
        let (mut crashes, mut found, mut anew, mut last) = (0, 0, 0, None);
        for k in 1..500 {
            let mut cut = 0;
            for (nth, how) in [How::Power, How::Kill].into_iter().enumerate() {
                let mut run = filled(k * 2 + nth as u64);
                let again = Repair::CutShort { k: k * 7 % 41 + 1 };
                run.steps.push(boot(crash(how), Some(kind), Repair::CutShort { k }));
                run.steps.push(boot(crash(How::Power), None, again));
                run.steps.push(boot(crash(How::Power), None, Repair::Ordered));
                run.steps.extend(puts(0, 50..53).chain(puts(1, 50..53)));
                let report = passes(&run, &format!("{kind:?}, {how:?} at {k}"));
                let hits = |probe| report.probes.count(probe);
                cut += hits(Probe::CrashInRepair);
                found += hits(Probe::RepairFound);
                anew += hits(Probe::RepairedAnew);
            }
            crashes += cut;
            if cut == 0 {
                last = Some(k);
                break;
            }
        }
        assert!(crashes > 60 && found > 0 && anew > 0, "{kind:?}: {crashes} crashes, {found} {anew}");
        assert!(last.is_some_and(|k| k > 30), "{kind:?}: a repair takes {last:?} operations");
    }
}

#[test]
fn a_dead_sector_of_either_copy_of_the_roots_identity_shuts_nobody_out() {
    for seed in 0..16 {
        let mut run = filled(seed);
        for _ in 0..3 {
            run.steps.push(boot(crash(How::Power), Some(DamageKind::RootDies), Repair::Never));
            run.steps.extend(puts(0, 50..53).chain(puts(1, 50..53)));
        }
        let report = passes(&run, &format!("seed {seed}"));
        assert_eq!(report.probes.count(Probe::RootCopyLost), 3, "seed {seed}");
        assert!(report.operations >= 29 + 3 * 6, "seed {seed}: {} operations", report.operations);
    }
}
