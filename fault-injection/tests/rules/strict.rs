//! What the disk holds against its caller.
use crate::drive::{A, B, Rig, SEEDS};
use bulkhead::env::{Access, IoErrorKind, Owner};
use bulkhead_fault_injection::ViolationKind;

fn kinds(rig: &Rig) -> Vec<ViolationKind> {
    rig.world.violations().into_iter().map(|v| v.kind).collect()
}

#[test]
fn reading_what_another_space_wrote_is_a_violation_also_after_a_crash() {
    let rig = Rig::new(1);
    rig.synced("f", &[1; 2048]);
    let rig = rig.power_cut();
    rig.content("f");
    let ours = rig.ok(rig.dir.as_owner(Owner::ENGINE).open("f", Access::ReadRaw));
    rig.ok(ours.read_at(0, vec![0; 10]));
    assert_eq!(kinds(&rig), []);
    let theirs = rig.ok(rig.dir.as_owner(B).open("f", Access::ReadRaw));
    rig.ok(theirs.read_at(600, vec![0; 10]));
    let violation = rig.world.violations().pop().unwrap();
    assert_eq!((violation.kind, violation.owner), (ViolationKind::ForeignRead, B.0));
    assert_eq!((violation.writer, violation.offset), (Some(A.0), Some(512)));
    assert_eq!(violation.path, "/data/f");
}

#[test]
fn a_strict_handle_reads_only_what_was_written() {
    let rig = Rig::new(1);
    let file = rig.synced("f", &[1; 512]);
    rig.ok(file.allocate(4096));
    let raw = rig.ok(rig.dir.open("f", Access::ReadRaw));
    assert_eq!(rig.ok(raw.read_at(512, vec![1; 512])), vec![0; 512]);
    let strict = rig.ok(rig.dir.open("f", Access::ReadStrict));
    rig.ok(strict.read_at(0, vec![0; 512]));
    assert_eq!(kinds(&rig), []);
    rig.ok(strict.read_at(0, vec![0; 513]));
    assert_eq!(kinds(&rig), [ViolationKind::UnwrittenRead]);
}

#[test]
fn bytes_that_a_power_cut_lost_were_written_all_the_same() {
    for seed in 0..SEEDS {
        let rig = Rig::new(seed);
        let file = rig.synced("f", b"");
        rig.ok(file.write_at(0, vec![1; 4096]));
        let rig = rig.power_cut();
        let strict = rig.ok(rig.dir.open("f", Access::ReadStrict));
        rig.ok(strict.read_at(0, vec![0; 4096]));
        assert_eq!(kinds(&rig), [], "seed {seed}");
    }
}

#[test]
fn a_read_handle_changes_nothing() {
    let rig = Rig::new(1);
    rig.synced("f", b"data");
    let file = rig.open("f");
    assert_eq!(rig.err(file.write_at(0, b"x".to_vec())).kind, IoErrorKind::Denied);
    assert_eq!(rig.err(file.truncate(0)).kind, IoErrorKind::Denied);
    assert_eq!(rig.err(file.allocate(10)).kind, IoErrorKind::Denied);
    rig.ok(file.sync());
    assert_eq!(kinds(&rig), [ViolationKind::WriteToReadHandle; 3]);
    assert_eq!(rig.content("f"), b"data");
}

#[test]
fn renames_replace_nothing_and_names_are_single_components() {
    let rig = Rig::new(1);
    rig.synced("a", b"a");
    rig.synced("b", b"b");
    assert_eq!(rig.err(rig.dir.rename("a", "b")).kind, IoErrorKind::AlreadyExists);
    assert_eq!(rig.err(rig.dir.create("x/y")).kind, IoErrorKind::NotOurs);
    assert_eq!(kinds(&rig), [ViolationKind::RenameOntoExisting, ViolationKind::BadName]);
}

#[test]
fn removed_files_live_as_long_as_their_handles_and_free_their_space() {
    let rig = Rig::new(1);
    let file = rig.synced("f", &[1; 8192]);
    rig.ok(rig.dir.remove("f"));
    rig.ok(rig.dir.sync());
    assert_eq!(rig.ok(file.read_at(0, vec![0; 3])), [1; 3]);
    assert_eq!(rig.world.used(), 8192);
    drop(file);
    let rig = rig.power_cut();
    assert_eq!((rig.names(), rig.world.used()), (String::new(), 0));
}
