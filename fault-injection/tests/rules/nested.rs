//! C10: crashes at every operation, also inside what is done after a crash, three levels deep; the freeze; fencing of
//! handles by boot; forks.
use crate::drive::{A, Rig};
use bulkhead::env::{Access, IoErrorKind};
use bulkhead_fault_injection::{CrashPoint, DiskOptions, Step, View, World};
use std::path::Path;

/// Adds one byte to the log `f`, durably, making the file when it is missing; stops where the world freezes. Returns
/// whether it ended.
fn append_one(world: &World) -> bool {
    let fs = world.boot();
    macro_rules! step {
        ($io:expr) => {{
            let mut io = $io;
            loop {
                match io.try_take() {
                    Ok(result) => break result,
                    Err(unanswered) => io = unanswered,
                }
                match world.step() {
                    Step::Released(_) => {}
                    Step::Froze | Step::Idle => return false,
                }
            }
        }};
    }
    let dir = step!(fs.open_root(Path::new("/data"), bulkhead::env::Missing::Create)).unwrap().as_owner(A);
    let file = match step!(dir.open("f", Access::Write)) {
        Ok(file) => file,
        Err(e) => {
            assert_eq!(e.kind, IoErrorKind::NotFound);
            step!(dir.create("f")).unwrap()
        }
    };
    step!(dir.sync()).unwrap();
    let len = step!(file.len()).unwrap();
    step!(file.write_at(len, vec![1])).unwrap();
    step!(file.sync()).unwrap();
    true
}

#[test]
fn c10_crashes_nest_and_what_was_acknowledged_stays() {
    let mut ended = 0;
    for seed in 0..4 {
        for (first, second, third) in
            (1..8).flat_map(|a| (1..8).flat_map(move |b| (1..8).map(move |c| (a, b, c))))
        {
            let world = World::new(seed, &DiskOptions::default());
            let mut acknowledged = 0;
            for (level, k) in [first, second, third].into_iter().enumerate() {
                world.crash_at(CrashPoint::Io(k));
                let done = append_one(&world);
                acknowledged += usize::from(done);
                ended += u32::from(done);
                world.no_crash();
                assert_eq!(world.power_cut(), level as u64 + 2);
                let len = world.read_file("/data/f", View::Durable).map_or(0, |f| f.len());
                assert!(
                    (acknowledged..=level + 1).contains(&len),
                    "{acknowledged} acknowledged, {len} there"
                );
            }
            assert!(append_one(&world), "without a crash it ends");
        }
    }
    assert!(ended > 100, "{ended}");
}

#[test]
fn a_frozen_world_answers_nothing_and_changes_nothing() {
    let rig = Rig::new(3);
    let file = rig.synced("f", b"synced");
    rig.world.crash_now();
    let before = rig.world.fingerprint("/");
    let io = file.write_at(0, b"late".to_vec());
    assert_eq!(rig.world.step(), Step::Idle);
    assert!(io.try_take().is_err());
    assert!(rig.world.is_frozen());
    assert_eq!(rig.world.fingerprint("/"), before);
}

#[test]
fn handles_of_an_earlier_boot_reach_nothing() {
    let old = Rig::new(3);
    let file = old.synced("f", b"synced");
    let lock = old.ok(old.dir.lock("lock"));
    let held = old.err(old.dir.lock("lock"));
    assert!(matches!(held.kind, IoErrorKind::Locked(holder) if holder.contains("pid 1")));
    let (world, dir) = (old.world.clone(), old.dir.clone());
    let sleep = old.fs.sleep(A, std::time::Duration::from_millis(1));
    let new = old.process_kill();
    let again = new.ok(new.dir.lock("lock"));
    drop(lock);
    assert!(
        matches!(new.err(new.dir.lock("lock")).kind, IoErrorKind::Locked(_)),
        "an old guard frees nothing"
    );
    drop(again);
    drop(new.ok(new.dir.lock("lock")));
    let late = (file.write_at(0, b"late".to_vec()), dir.remove("f"), file.sync());
    assert_eq!(world.step(), Step::Idle, "nothing of the old boot is under way");
    assert!(late.0.try_take().is_err() && late.1.try_take().is_err() && late.2.try_take().is_err());
    assert!(sleep.try_take().is_err());
    assert_eq!(new.content("f"), b"synced");
}

#[test]
fn a_crash_can_be_aimed_at_one_owner_or_a_moment() {
    let rig = Rig::new(3);
    let file = rig.synced("f", b"");
    let other = rig.ok(rig.dir.as_owner(crate::drive::B).create("g"));
    rig.world.crash_at(CrashPoint::OwnerIo { owner: A.0, k: 2 });
    rig.ok(file.len());
    (0..5).for_each(|_| assert_eq!(rig.ok(other.len()), 0));
    let _unanswered = file.len();
    assert_eq!(rig.world.step(), Step::Froze);
    rig.world.process_kill();

    let rig = Rig::over(rig.world);
    let at = rig.world.now() + 1000;
    rig.world.crash_at(CrashPoint::Time(at));
    let (first, second) = (
        rig.fs.sleep(A, std::time::Duration::from_micros(999)),
        rig.fs.sleep(A, std::time::Duration::from_micros(1000)),
    );
    rig.ok(first);
    assert_eq!(rig.world.step(), Step::Froze);
    assert!(second.try_take().is_err());
    assert_eq!(rig.world.now(), at);
}

#[test]
fn a_fork_shares_the_past_and_not_the_future() {
    let rig = Rig::new(5);
    let file = rig.synced("f", &[1; 10_000]);
    rig.ok(file.write_at(0, vec![2; 10_000]));
    let fork = rig.world.fork();
    assert!(fork.is_frozen());
    assert_eq!(fork.fingerprint("/"), rig.world.fingerprint("/"));
    rig.ok(file.write_at(0, vec![3; 10_000]));
    assert_eq!(fork.read_file("/data/f", View::Seen).unwrap(), vec![2; 10_000]);
    let twin = fork.fork();
    fork.power_cut();
    twin.power_cut();
    assert_eq!(fork.fingerprint("/"), twin.fingerprint("/"), "the same decisions");
    twin.process_kill();
    let killed = rig.world.fork();
    killed.process_kill();
    let killed = Rig::over(killed);
    killed.ok(killed.dir.remove("f"));
    killed.ok(killed.dir.sync());
    assert_eq!(killed.world.used(), 0, "the original's open handle holds nothing here");
    let fork = Rig::over(fork);
    fork.ok(fork.dir.remove("f"));
    assert_eq!(rig.content("f"), vec![3; 10_000], "the original goes on untouched");
    let forked: std::collections::BTreeSet<u64> = (0..20)
        .map(|seed| {
            let fork = rig.world.fork();
            fork.set_decider(bulkhead_fault_injection::Decider::new(seed));
            fork.power_cut();
            fork.fingerprint("/")
        })
        .collect();
    assert!(forked.len() > 8, "other decisions, other survivors: {}", forked.len());
}
