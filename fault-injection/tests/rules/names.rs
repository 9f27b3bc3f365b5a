//! C5 and C6, the half of C7 and C9 that concerns names; F04, F05 and F21.
use crate::drive::{Rig, outcomes, set};
use bulkhead::env::IoErrorKind;
use bulkhead_fault_injection::{CrashPoint, DirProfile, DiskOptions, FaultKind, FaultPlan, Step};

fn journaled(seed: u64) -> Rig {
    Rig::with(seed, &DiskOptions { profile: DirProfile::Journaled, ..DiskOptions::default() })
}

#[test]
fn c5_each_name_is_lost_or_kept_for_itself() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        for name in ["a", "b"] {
            let file = rig.ok(rig.dir.create(name));
            rig.ok(file.write_at(0, b"data".to_vec()));
            rig.ok(file.sync());
        }
        let rig = rig.power_cut();
        let names = rig.names();
        for name in names.split_terminator(',') {
            assert_eq!(rig.content(name), b"data", "the data was synced, the name was not");
        }
        names
    });
    assert_eq!(seen, set(["", "a", "b", "a,b"]));
}

#[test]
fn c5_a_renamed_file_has_the_old_name_the_new_one_or_both() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.synced("old", b"data");
        rig.ok(rig.dir.rename("old", "new"));
        let rig = rig.power_cut();
        let names = rig.names();
        names.split(',').for_each(|name| assert_eq!(rig.content(name), b"data"));
        names
    });
    assert_eq!(seen, set(["old", "new", "new,old"]));
}

#[test]
fn c5_a_file_renamed_twice_is_never_lost() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.synced("a", b"data");
        rig.ok(rig.dir.rename("a", "b"));
        rig.ok(rig.dir.rename("b", "c"));
        rig.power_cut().names()
    });
    assert_eq!(seen, set(["a", "b", "c", "a,b", "a,c", "b,c", "a,b,c"]));
}

#[test]
fn c5_a_directory_always_has_exactly_one_name() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.ok(rig.dir.make_dir("old"));
        rig.ok(rig.dir.sync());
        rig.ok(rig.dir.rename("old", "new"));
        rig.power_cut().names()
    });
    assert_eq!(seen, set(["old", "new"]));
}

#[test]
fn c5_a_removed_name_may_be_back_and_one_taken_anew_is_the_old_or_the_new_file() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.synced("a", b"old");
        rig.ok(rig.dir.remove("a"));
        let file = rig.ok(rig.dir.create("a"));
        rig.ok(file.write_at(0, b"new".to_vec()));
        rig.ok(file.sync());
        let rig = rig.power_cut();
        let names = rig.names();
        if names.is_empty() { names } else { String::from_utf8(rig.content("a")).unwrap() }
    });
    assert_eq!(seen, set(["", "old", "new"]));
}

#[test]
fn c5_a_removed_directory_comes_back_with_what_was_in_it() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.ok(rig.dir.make_dir("d"));
        rig.ok(rig.dir.sync());
        let inner = rig.ok(rig.dir.open_dir("d"));
        rig.ok(inner.create("f"));
        rig.ok(inner.sync());
        rig.ok(inner.remove("f"));
        rig.ok(rig.dir.remove_dir("d"));
        let rig = rig.power_cut();
        if rig.names().is_empty() {
            return String::new();
        }
        let inner = rig.ok(rig.dir.open_dir("d"));
        format!("d with {}", rig.ok(inner.list()).len())
    });
    assert_eq!(seen, set(["", "d with 0", "d with 1"]));
}

#[test]
fn c6_with_a_journal_a_prefix_of_all_changes_of_names_survives() {
    let seen = outcomes(|seed| {
        let rig = journaled(seed);
        rig.ok(rig.dir.make_dir("d"));
        let inner = rig.ok(rig.dir.open_dir("d"));
        rig.ok(inner.create("x"));
        rig.ok(rig.dir.create("e"));
        rig.ok(rig.dir.rename("e", "f"));
        let rig = rig.power_cut();
        let mut names = rig.names();
        if names.contains('d') && !rig.ok(rig.ok(rig.dir.open_dir("d")).list()).is_empty() {
            names += " d/x";
        }
        names
    });
    assert_eq!(seen, set(["", "d", "d d/x", "d,e d/x", "d,f d/x"]));
}

#[test]
fn c6_with_a_journal_the_sync_of_any_file_makes_earlier_names_durable() {
    let seen = outcomes(|seed| {
        let rig = journaled(seed);
        rig.ok(rig.dir.create("before"));
        rig.ok(rig.dir.make_dir("d"));
        let inner = rig.ok(rig.dir.open_dir("d"));
        let file = rig.ok(inner.create("own"));
        rig.ok(file.sync());
        rig.ok(rig.dir.create("later"));
        let rig = rig.power_cut();
        assert_eq!(rig.ok(rig.ok(rig.dir.open_dir("d")).list()).len(), 1, "its own name and its ancestors'");
        rig.names()
    });
    assert_eq!(seen, set(["before,d", "before,d,later"]));
}

#[test]
fn c7_a_directory_sync_covers_its_own_entries_and_nothing_below() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.ok(rig.dir.make_dir("d"));
        let inner = rig.ok(rig.dir.open_dir("d"));
        let file = rig.ok(inner.create("f"));
        rig.ok(file.write_at(0, vec![7; 512]));
        let sync = inner.sync();
        rig.ok(inner.create("g"));
        rig.ok(sync);
        let rig = rig.power_cut();
        if rig.names().is_empty() {
            return "its own name lost".to_owned();
        }
        let inner = rig.ok(rig.dir.open_dir("d"));
        let late = rig.ok(inner.list()).len() - 1;
        let len = rig.ok(rig.ok(inner.open("f", bulkhead::env::Access::ReadRaw)).len());
        format!("f of {len}, {late} later")
    });
    let all =
        ["its own name lost", "f of 0, 0 later", "f of 0, 1 later", "f of 512, 0 later", "f of 512, 1 later"];
    assert_eq!(seen, set(all));
}

#[test]
fn c8_a_kill_keeps_names_and_a_power_cut_after_it_may_lose_them() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.ok(rig.dir.create("a"));
        let rig = rig.process_kill();
        assert_eq!(rig.names(), "a");
        rig.power_cut().names()
    });
    assert_eq!(seen, set(["", "a"]));
}

#[test]
fn c9_a_change_of_names_in_flight_happens_wholly_or_not_at_all() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        rig.synced("old", b"");
        rig.world.crash_at(CrashPoint::Io(1));
        let unanswered = rig.dir.rename("old", "new");
        assert_eq!(rig.world.step(), Step::Froze);
        assert!(unanswered.try_take().is_err());
        rig.process_kill().names()
    });
    assert_eq!(seen, set(["old", "new"]));
}

#[test]
fn f04_and_f05_count_when_looked_at_and_can_be_switched_off() {
    let script = |seed, plan| {
        let rig = Rig::faulty(seed, plan);
        rig.synced("gone", b"");
        rig.ok(rig.dir.remove("gone"));
        rig.ok(rig.dir.create("made"));
        let rig = rig.power_cut();
        let (lost, undone) = (rig.tally(FaultKind::F04NameLost), rig.tally(FaultKind::F05UnlinkUndone));
        assert_eq!((lost.effective, undone.effective), (0, 0), "nobody looked");
        let names = rig.names();
        assert_eq!(lost.drawn, u64::from(!names.contains("made")));
        assert_eq!(undone.drawn, u64::from(names.contains("gone")));
        for (kind, before) in [(FaultKind::F04NameLost, lost), (FaultKind::F05UnlinkUndone, undone)] {
            assert_eq!(rig.tally(kind).effective, before.drawn);
        }
        names
    };
    let plan = FaultPlan::default;
    assert_eq!(outcomes(|seed| script(seed, plan())), set(["", "gone", "made", "gone,made"]));
    let no_f04 = outcomes(|seed| script(seed, plan().without(FaultKind::F04NameLost)));
    assert_eq!(no_f04, set(["made", "gone,made"]));
    let no_f05 = outcomes(|seed| script(seed, plan().without(FaultKind::F05UnlinkUndone)));
    assert_eq!(no_f05, set(["", "made"]));
}

#[test]
fn f21_lists_come_in_any_order_and_with_junk() {
    let orders = outcomes(|seed| {
        let rig = Rig::new(seed);
        for name in ["a", "b", "c"] {
            rig.ok(rig.dir.create(name));
        }
        let list = || rig.ok(rig.dir.list()).into_iter().map(|e| e.name).collect::<Vec<_>>();
        (list(), list())
    });
    let firsts: std::collections::BTreeSet<_> = orders.iter().map(|o| o.0.clone()).collect();
    assert_eq!(firsts.len(), 6);
    assert!(orders.iter().any(|o| o.0 != o.1), "not even the same order twice");

    let rig = Rig::new(1);
    rig.world.inject_file("/data/.DS_Store", b"junk");
    rig.world.inject_symlink("/data/link");
    rig.world.inject_dir("/data/lost+found");
    assert_eq!(rig.tally(FaultKind::F21Junk).effective, 0);
    assert_eq!(rig.names(), ".DS_Store,link,lost+found");
    assert_eq!(rig.tally(FaultKind::F21Junk), rig.tally(FaultKind::F21Junk));
    assert_eq!(rig.tally(FaultKind::F21Junk).effective, 3);
    assert_eq!(rig.content(".DS_Store"), b"junk");
    assert_eq!(rig.err(rig.dir.open_dir("link")).kind, IoErrorKind::NotOurs);
    assert_eq!(rig.power_cut().names(), ".DS_Store,link,lost+found", "junk is durable");
}
