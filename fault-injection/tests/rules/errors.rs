//! Faults that a caller is told of, and latent ones: F09, F10, F12, F13, F16, F17, F23.
use crate::drive::{A, B, Rig, outcomes, set, wait};
use bulkhead::env::{Access, IoErrorKind};
use bulkhead_fault_injection::{DiskOptions, FaultKind, FaultPlan, FaultRule, Rot, Tally};
use std::collections::BTreeSet;

/// A rig on which `kind` strikes always, once switched on.
fn armed(seed: u64, kind: FaultKind) -> Rig {
    let plan = FaultPlan::crashes_only().with(kind, FaultRule::rate(100_000));
    let rig = Rig::faulty(seed, plan);
    rig.world.set_enabled(kind, false);
    rig
}

/// What `f` of two synced sectors holds after both were overwritten, their sync failed and the power was cut; before
/// that, what is read after the failure.
fn failed_sync(seed: u64, kind: FaultKind, os: i32) -> (String, String) {
    let rig = armed(seed, kind);
    let file = rig.synced("f", &[b'a'; 1024]);
    rig.ok(file.write_at(0, vec![b'b'; 1024]));
    rig.world.set_enabled(kind, true);
    assert_eq!(rig.err(file.sync()).os, Some(os));
    assert_eq!(rig.tally(kind), Tally { drawn: 1, effective: 1 });
    rig.ok(file.sync());
    let short = |bytes: Vec<u8>| format!("{}{}", bytes[0] as char, bytes[1023] as char);
    let read = short(rig.content("f"));
    let rig = rig.process_kill();
    assert_eq!(short(rig.content("f")), read, "the next process reads the same");
    (read, short(rig.power_cut().content("f")))
}

#[test]
fn f09_a_failed_sync_is_forgotten_read_and_lost() {
    for (kind, os) in [(FaultKind::F09SyncEio, 5), (FaultKind::F13SyncNoSpace, 28)] {
        let seen = outcomes(|seed| failed_sync(seed, kind, os));
        let (reads, survived): (BTreeSet<_>, BTreeSet<_>) = seen.into_iter().unzip();
        assert_eq!(reads, set(["bb"]), "the page cache serves the new bytes, and the next sync says Ok");
        assert_eq!(survived, set(["aa", "ab", "ba", "bb"]));
    }
}

#[test]
fn f10_a_failed_sync_reverts_what_is_read() {
    let seen = outcomes(|seed| failed_sync(seed, FaultKind::F10SyncEioRevert, 5));
    assert!(seen.iter().all(|(read, survived)| read == survived), "{seen:?}");
    assert_eq!(seen.len(), 4);
}

#[test]
fn f09_bytes_written_after_a_failed_sync_are_durable_with_the_next_one() {
    for seed in 0..100 {
        let rig = armed(seed, FaultKind::F09SyncEio);
        let file = rig.synced("f", b"");
        rig.ok(file.write_at(0, vec![b'b'; 512]));
        rig.world.set_enabled(FaultKind::F09SyncEio, true);
        rig.err(file.sync());
        rig.world.set_enabled(FaultKind::F09SyncEio, false);
        rig.ok(file.write_at(512, vec![b'c'; 512]));
        rig.ok(file.sync());
        let content = rig.power_cut().content("f");
        assert_eq!(content[512..], [b'c'; 512]);
        assert!(content[..512] == [b'b'; 512] || content[..512] == [0; 512]);
    }
}

#[test]
fn f09_a_failed_directory_sync_leaves_it_refusing_changes_until_the_power_is_cut() {
    let failed = |seed| {
        let rig = armed(seed, FaultKind::F09DirSyncEio);
        rig.synced("f", b"data");
        rig.ok(rig.dir.create("new"));
        rig.world.set_enabled(FaultKind::F09DirSyncEio, true);
        assert_eq!(rig.err(rig.dir.sync()).kind, IoErrorKind::Device);
        rig.world.set_enabled(FaultKind::F09DirSyncEio, false);
        rig
    };
    let feigned = outcomes(|seed| {
        let rig = failed(seed);
        assert_eq!(rig.err(rig.dir.remove("f")).kind, IoErrorKind::Denied);
        let feigned = wait(&rig.world, rig.dir.sync()).is_ok();
        for kind in [
            rig.err(rig.dir.sync()).kind,
            rig.err(rig.dir.create("x")).kind,
            rig.err(rig.dir.remove("f")).kind,
        ] {
            assert_eq!(kind, IoErrorKind::Denied);
        }
        (feigned, rig.power_cut().names().contains("new"))
    });
    let all = [(false, false), (false, true), (true, false), (true, true)];
    assert_eq!(feigned, all.into(), "what a feigned sync covers may be lost");
    for seed in 0..10 {
        let rig = failed(seed).process_kill();
        assert_eq!(
            rig.err(rig.dir.sync()).kind,
            IoErrorKind::Denied,
            "only the process that was told is deceived"
        );
        assert_eq!(rig.err(rig.dir.create("x")).kind, IoErrorKind::Denied, "a kill mends no file system");
        assert_eq!(rig.content("f"), b"data");
        let rig = rig.power_cut();
        rig.ok(rig.dir.create("x"));
    }
}

#[test]
fn f12_a_failed_write_leaves_any_prefix() {
    let lengths = outcomes(|seed| {
        let rig = armed(seed, FaultKind::F12WriteEio);
        let file = rig.synced("f", b"");
        rig.world.set_enabled(FaultKind::F12WriteEio, true);
        assert_eq!(rig.err(file.write_at(0, vec![b'x'; 1000])).kind, IoErrorKind::Device);
        assert_eq!(rig.tally(FaultKind::F12WriteEio), Tally { drawn: 1, effective: 1 });
        let content = rig.content("f");
        assert!(content.iter().all(|b| *b == b'x'));
        content.len()
    });
    assert!(lengths.len() > 100 && *lengths.last().unwrap() <= 1000, "{}", lengths.len());
}

#[test]
fn f13_strikes_only_what_needs_space_and_changes_no_names() {
    let rig = armed(1, FaultKind::F13NoSpace);
    let file = rig.synced("f", b"");
    rig.ok(file.allocate(4096));
    rig.world.set_enabled(FaultKind::F13NoSpace, true);
    rig.ok(file.write_at(0, vec![1; 4096]));
    assert!(rig.err(file.write_at(4096, vec![1; 10])).is_no_space());
    assert!(rig.err(file.allocate(65_536)).is_no_space());
    assert!(rig.err(rig.dir.create("x")).is_no_space());
    assert!(rig.err(rig.dir.make_dir("x")).is_no_space());
    assert!(rig.err(rig.dir.rename("f", "x")).is_no_space());
    rig.ok(rig.dir.remove("f"));
    assert_eq!(rig.names(), "");
    assert_eq!(rig.tally(FaultKind::F13NoSpace), Tally { drawn: 5, effective: 5 });
}

#[test]
fn f13_a_full_device_refuses_and_takes_what_fits_until_something_is_removed() {
    let rig = Rig::with(1, &DiskOptions { capacity: Some(5 * 4096), ..DiskOptions::default() });
    let file = rig.synced("f", &[1; 4096]);
    let spare = rig.synced("spare", &[1; 100]);
    assert_eq!(rig.world.used(), 2 * 4096);
    assert!(rig.err(file.allocate(6 * 4096)).is_no_space());
    assert_eq!(rig.ok(file.len()), 4096, "an allocation that fails changes nothing");
    assert!(rig.err(file.write_at(4096, vec![2; 4 * 4096])).is_no_space());
    assert_eq!(rig.ok(file.len()), 4 * 4096, "what fits may be there");
    rig.ok(file.write_at(0, vec![3; 4096]));
    drop(spare);
    rig.ok(rig.dir.remove("spare"));
    rig.ok(rig.dir.sync());
    rig.ok(file.allocate(5 * 4096));
    assert_eq!(rig.world.used(), 5 * 4096);
    rig.ok(file.sync());
    assert_eq!(rig.power_cut().world.used(), 5 * 4096);
}

#[test]
fn f16_a_read_fails_once_or_until_the_sector_is_written_again() {
    let rig = armed(1, FaultKind::F16ReadEio);
    let file = rig.synced("f", &[7; 4096]);
    rig.world.set_enabled(FaultKind::F16ReadEio, true);
    assert_eq!(rig.err(file.read_at(0, vec![0; 10])).kind, IoErrorKind::Device);
    rig.world.set_enabled(FaultKind::F16ReadEio, false);
    rig.ok(file.read_at(0, vec![0; 10]));

    let rig = armed(1, FaultKind::F16SectorDead);
    let file = rig.synced("f", &[7; 4096]);
    rig.world.set_enabled(FaultKind::F16SectorDead, true);
    rig.err(file.read_at(512, vec![0; 512]));
    rig.world.set_enabled(FaultKind::F16SectorDead, false);
    assert_eq!(rig.tally(FaultKind::F16SectorDead), Tally { drawn: 1, effective: 1 });
    drop(file);
    let rig = rig.power_cut();
    let file = rig.ok(rig.dir.open("f", Access::Write));
    assert_eq!(
        rig.err(file.read_at(0, vec![0; 4096])).kind,
        IoErrorKind::Device,
        "a power cut mends nothing"
    );
    rig.ok(file.read_at(1024, vec![0; 512]));
    rig.ok(file.write_at(512, vec![8; 512]));
    assert_eq!(rig.ok(file.read_at(512, vec![0; 512])), vec![8; 512]);
}

#[test]
fn f17_durable_bytes_rot_and_count_once_read() {
    let content: Vec<u8> = (0..5000u32).map(|i| (i / 512 + 1) as u8).collect();
    let rots = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.synced("f", &content);
        rig.synced("spared", &content);
        let rotted = rig.world.rot(A.0, |path| path.ends_with("/f")).unwrap();
        assert_eq!(rotted.path, "/data/f");
        let rig = rig.power_cut();
        assert_eq!(rig.content("spared"), content);
        let tally = rig.tally(FaultKind::F17Rot);
        assert!(tally.drawn > 0 && tally.effective == 0);
        let now = rig.content("f");
        let sectors: Vec<usize> =
            (0..10).filter(|s| now.chunks(512).nth(*s) != content.chunks(512).nth(*s)).collect();
        let bits: u32 = now.iter().zip(&content).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!(sectors.contains(&(rotted.offset as usize / 512)));
        match rotted.rot {
            Rot::Flip => assert_eq!((sectors.len(), bits), (1, 1)),
            Rot::Zero => assert!(sectors.len() == 1 && now[rotted.offset as usize] == 0),
            Rot::Swap => assert_eq!(sectors.len(), 2),
            Rot::Dead => panic!("not of its own"),
        }
        assert_eq!(rig.tally(FaultKind::F17Rot).effective, tally.drawn);
        (rotted.offset, format!("{:?}", rotted.rot))
    });
    assert!(rots.len() > 20, "{}", rots.len());

    let rig = Rig::new(1);
    let file = rig.synced("f", &[1; 512]);
    rig.ok(file.write_at(0, vec![2; 512]));
    assert_eq!(rig.world.rot(A.0, |_| true), None, "only what was promised rots");
    rig.world.rot_at("/data/f", 0, Rot::Dead);
    assert_eq!(rig.err(file.read_at(0, vec![0; 1])).kind, IoErrorKind::Device);
}

#[test]
fn f23_an_operation_stalls_while_others_pass() {
    let plan = FaultPlan::benign().with(FaultKind::F23Stall, FaultRule::rate(100_000).only([B.0]));
    let rig = Rig::faulty(1, plan);
    let slow = rig.dir.as_owner(B).create("slow");
    let before = rig.world.now();
    (0..5).for_each(|n| drop(rig.ok(rig.dir.create(&format!("quick-{n}")))));
    let passed = rig.world.now() - before;
    rig.ok(slow);
    assert!(rig.world.now() - before >= 500 && passed <= 250, "{passed}");
    assert_eq!(rig.tally(FaultKind::F23Stall), Tally { drawn: 1, effective: 1 });
}

#[test]
fn an_error_that_nobody_waits_for_has_no_effect() {
    let rig = armed(1, FaultKind::F12WriteEio);
    let file = rig.synced("f", b"");
    rig.world.set_enabled(FaultKind::F12WriteEio, true);
    drop(file.write_at(0, vec![1; 10]));
    rig.ok(file.len());
    while rig.world.pending() > 0 {
        rig.world.step();
    }
    assert_eq!(rig.tally(FaultKind::F12WriteEio), Tally { drawn: 1, effective: 0 });
}
