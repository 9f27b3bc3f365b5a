//! Goal: while somebody else fills the disk and empties it again, deletes go on within the reserve and puts come back, and
//! wherever a machine crashes meanwhile nothing is lost. Method: a simulated run, crashed at every I/O; every oracle of the
//! simulator is asked, among them that no put is let in while the reserve is not whole, and no delete refused while there
//! is any of it.
use crate::deletion::{boot, crash, executed};
use crate::multi_space_persistence::id;
use bulkhead::{Durability, Options, TierOptions};
use bulkhead_fault_injection::{DirProfile, FaultPlan};
use bulkhead_sim::plan::{End, How, Op, Run, Step, Wait};
use bulkhead_sim::probe::{Probe, Probes};

/// Two spaces are filled; the disk is full while one of them deletes and the other one puts.
fn run(profile: DirProfile, seed: u64, ends: &[End]) -> Run {
    let tiers = TierOptions { memtable_bytes: 8192, ..TierOptions::default() };
    let options = Options {
        durability: Durability::Power,
        segment_first: 16 * 1024,
        segment_max: 16 * 1024,
        tiers,
        ..Options::default()
    };
    let client = |space, op| Step::Client { space, client: 0, op };
    let put = |space, key| client(space, Op::Put { key, len: 800, priority: 0, wait: Wait::Power });
    let mut steps = vec![boot(ends[0])];
    steps.push(Step::Disk { after_us: 12_000, room: Some(0) });
    steps.push(Step::Disk { after_us: 60_000, room: None });
    for key in 0..12 {
        steps.extend([put(0, key), put(1, key)]);
    }
    for key in 0..120 {
        steps.push(client(0, Op::Delete { key: key % 12, wait: Wait::Power }));
        steps.push(put(1, key));
    }
    steps.push(client(0, Op::Clear { wait: Wait::Power }));
    steps.push(client(0, Op::Pause { ms: 60 }));
    steps.push(put(0, 3));
    steps.extend(ends[1..].iter().map(|end| boot(*end)));
    let spaces = vec![id("alpha"), id("beta")];
    Run {
        seed,
        profile,
        options,
        reserve_bytes: 256 * 1024,
        settle_us: 0,
        faults: FaultPlan::crashes_only(),
        spaces,
        steps,
    }
}

#[test]
fn a_crash_at_every_io_around_a_full_disk_costs_nothing() {
    let mut all = Probes::default();
    for profile in [DirProfile::Posix, DirProfile::Journaled] {
        let peace = executed(&run(profile, 1, &[End::Close]), "in peace");
        for probe in [Probe::NoSpaceAtReservation, Probe::DeletedOnReserve, Probe::PutAfterRefill] {
            assert!(peace.probes.count(probe) > 0, "{}: {profile:?}", probe.name());
        }
        for how in [How::Kill, How::Power] {
            for io in 1..=peace.ios_in_boots {
                let what = format!("{profile:?}, {how:?} at I/O {io}");
                let again = crash(1 + io % 23, How::Power);
                let run = run(profile, io, &[crash(io, how), again]);
                all.add(&executed(&run, &what).probes);
            }
        }
    }
    assert!(all.count(Probe::DeletedOnReserve) > 100);
}
