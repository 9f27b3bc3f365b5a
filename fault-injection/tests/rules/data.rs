//! C1–C4, C7, C8 and the data half of C9; F01, F02, F03 and F06.
use crate::drive::{Rig, SEEDS, outcomes, set};
use bulkhead::env::{Access, Io};
use bulkhead_fault_injection::{CrashPoint, FaultKind, FaultPlan, Step};
use std::collections::BTreeSet;

/// One letter for each sector, which must be whole.
fn letters(content: &[u8]) -> String {
    let letter = |sector: &[u8]| {
        assert!(sector.iter().all(|b| *b == sector[0]), "a sector is never a mix of two versions");
        if sector[0] == 0 { '0' } else { sector[0] as char }
    };
    content.chunks(512).map(letter).collect()
}

#[test]
fn c1_each_sector_keeps_any_version_in_order() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 3 * 512]);
        rig.ok(file.write_at(0, vec![b'b'; 3 * 512]));
        rig.ok(file.write_at(512, vec![b'c'; 512]));
        letters(&rig.power_cut().content("f"))
    });
    let versions = |v: &'static [char]| v.iter();
    for outcome in &seen {
        assert!(outcome.chars().zip(["ab", "abc", "ab"]).all(|(c, legal)| legal.contains(c)), "{outcome}");
    }
    let all = versions(&['a', 'b'])
        .flat_map(|x| versions(&['a', 'b', 'c']).map(move |y| (x, y)))
        .flat_map(|(x, y)| versions(&['a', 'b']).map(move |z| format!("{x}{y}{z}")));
    assert_eq!(seen, all.collect::<BTreeSet<_>>(), "every combination of versions occurs");
}

#[test]
fn c1_pages_and_prefixes_survive_as_wholes_too() {
    let mut whole_pages = 0;
    let mut prefixes = 0;
    for seed in 0..SEEDS {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &vec![b'a'; 4 * 4096]);
        rig.ok(file.write_at(0, vec![b'b'; 4 * 4096]));
        let outcome = letters(&rig.power_cut().content("f"));
        let pages: Vec<&str> = (0..4).map(|p| &outcome[p * 8..p * 8 + 8]).collect();
        let mixed = outcome.contains('a') && outcome.contains('b');
        whole_pages += u32::from(mixed && pages.iter().all(|p| *p == "aaaaaaaa" || *p == "bbbbbbbb"));
        prefixes += u32::from(mixed && !outcome.contains("ab"));
    }
    assert!(whole_pages > 10, "{whole_pages}");
    assert!(prefixes > 5, "{prefixes}");
}

#[test]
fn c2_the_length_is_any_it_had_and_lost_bytes_in_it_are_zero() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 100]);
        rig.ok(file.write_at(100, vec![b'b'; 924]));
        rig.ok(file.write_at(1024, vec![b'c'; 512]));
        let content = rig.power_cut().content("f");
        assert!(content[..100].iter().all(|b| *b == b'a'), "synced bytes stay");
        assert!(content[100..].iter().all(|b| b"\0bc".contains(b)));
        (content.len(), content.get(600).copied(), content.get(1200).copied())
    });
    let (n, b, c) = (Some(0), Some(b'b'), Some(b'c'));
    let legal = [
        (100, None, None),
        (1024, n, None),
        (1024, b, None),
        (1536, n, n),
        (1536, n, c),
        (1536, b, n),
        (1536, b, c),
    ];
    assert_eq!(seen, BTreeSet::from(legal));
}

#[test]
fn c3_an_unsynced_truncation_may_be_undone_with_all_that_followed() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 2048]);
        rig.ok(file.truncate(1024));
        rig.ok(file.write_at(1024, vec![b'b'; 512]));
        letters(&rig.power_cut().content("f"))
    });
    assert_eq!(seen, set(["aaaa", "aa", "aa0", "aab"]));
}

#[test]
fn c3_a_cut_inside_a_sector_never_shows_the_old_bytes_again() {
    outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 512]);
        rig.ok(file.truncate(100));
        rig.ok(file.sync());
        rig.ok(file.truncate(512));
        let content = rig.power_cut().content("f");
        assert!(content.len() == 100 || content.len() == 512);
        assert!(content[..100].iter().all(|b| *b == b'a') && content[100..].iter().all(|b| *b == 0));
    });
}

#[test]
fn c4_allocation_may_be_undone_until_synced_and_then_reads_zero_not_the_end() {
    let unsynced = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", b"");
        rig.ok(file.allocate(65_536));
        let content = rig.power_cut().content("f");
        assert!(content.iter().all(|b| *b == 0));
        content.len()
    });
    assert_eq!(unsynced, BTreeSet::from([0, 65_536]));

    let synced = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", b"");
        rig.ok(file.allocate(4096));
        rig.ok(file.sync());
        rig.ok(file.write_at(512, vec![b'w'; 512]));
        let rig = rig.power_cut();
        let content = letters(&rig.content("f"));
        let lost = rig.tally(FaultKind::F06AllocatedZeros);
        assert_eq!(lost.drawn, u64::from(content == "00000000"));
        assert_eq!(lost.effective, lost.drawn, "it was read");
        content
    });
    assert_eq!(synced, set(["00000000", "0w000000"]));
}

#[test]
fn c7_a_sync_covers_what_was_answered_before_it_was_called_and_nothing_else() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 1024]);
        rig.ok(file.write_at(0, vec![b'b'; 512]));
        let sync = file.sync();
        rig.ok(file.write_at(512, vec![b'b'; 512]));
        rig.ok(sync);
        letters(&rig.power_cut().content("f"))
    });
    assert_eq!(seen, set(["ba", "bb"]));
}

#[test]
fn c8_a_kill_loses_nothing_and_makes_nothing_durable() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 512]);
        rig.ok(file.write_at(0, vec![b'b'; 512]));
        let rig = rig.process_kill();
        assert_eq!(letters(&rig.content("f")), "b");
        letters(&rig.power_cut().content("f"))
    });
    assert_eq!(seen, set(["a", "b"]), "kill, then power cut");

    let rig = Rig::new(1);
    let file = rig.synced("f", &[b'a'; 512]);
    rig.ok(file.write_at(0, vec![b'b'; 512]));
    let rig = rig.process_kill();
    rig.ok(rig.open("f").sync());
    assert_eq!(letters(&rig.power_cut().content("f")), "b", "the next process may sync it");
}

#[test]
fn c9_a_write_in_flight_lands_in_part() {
    let lengths = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", b"");
        let unanswered = file.write_at(0, vec![b'x'; 2000]);
        let rig = rig.process_kill();
        assert!(unanswered.try_take().is_err(), "a frozen world never answers");
        let content = rig.content("f");
        assert!(content.iter().all(|b| *b == b'x'));
        content.len()
    });
    assert!(lengths.contains(&0) && lengths.contains(&2000) && lengths.len() > 50, "{}", lengths.len());
}

#[test]
fn c9_a_sync_in_flight_keeps_any_part() {
    let seen = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 1024]);
        rig.ok(file.write_at(0, vec![b'b'; 1024]));
        rig.world.crash_at(CrashPoint::Io(1));
        let unanswered: Io<()> = file.sync();
        assert_eq!(rig.world.step(), Step::Froze);
        assert!(unanswered.try_take().is_err());
        letters(&rig.power_cut().content("f"))
    });
    assert_eq!(seen, set(["aa", "ab", "ba", "bb"]));
}

/// Three separate writes inside and beyond the durable length.
fn three_writes(seed: u64, faults: FaultPlan) -> (Rig, String) {
    let rig = Rig::faulty(seed, faults);
    let file = rig.synced("f", &[b'a'; 1024]);
    for sector in 0..3 {
        rig.ok(file.write_at(sector * 512, vec![b'b'; 512]));
    }
    let rig = rig.power_cut();
    let content = letters(&rig.content("f"));
    (rig, content)
}

#[test]
fn f01_f02_f03_are_told_apart_and_switched_off_one_by_one() {
    use FaultKind::{F01LostTail, F02Reorder, F03SizeWithoutData};
    for seed in 0..300 {
        let (rig, content) = three_writes(seed, FaultPlan::default());
        let (tail, hole, zeros) =
            (rig.tally(F01LostTail), rig.tally(F02Reorder), rig.tally(F03SizeWithoutData));
        for tally in [tail, hole, zeros] {
            assert_eq!(tally.drawn, tally.effective, "everything was read: {content}");
        }
        assert_eq!(hole.drawn > 0, content.contains("ab") || content.contains("0b"), "{content}");
        assert_eq!(zeros.drawn > 0, content.ends_with('0'), "{content}");
        let lost = content != "bbb";
        assert_eq!(lost, tail.drawn + hole.drawn + zeros.drawn > 0, "{content}");

        let (_, content) = three_writes(seed, FaultPlan::default().without(F02Reorder));
        assert!(!content.contains("ab") && !content.contains("0b"), "no holes: {content}");
        let (_, content) = three_writes(seed, FaultPlan::default().without(F03SizeWithoutData));
        assert!(!content.contains('0'), "no length without its bytes: {content}");
        let (_, content) = three_writes(seed, FaultPlan::benign());
        assert_eq!(content, "bbb", "nothing is lost");
    }
}

#[test]
fn what_is_lost_counts_as_effective_only_once_looked_at() {
    let kinds = [FaultKind::F01LostTail, FaultKind::F02Reorder];
    let mut lost = 0;
    for seed in 0..50 {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 8192]);
        rig.ok(file.write_at(0, vec![b'b'; 8192]));
        let rig = rig.power_cut();
        let file = rig.ok(rig.dir.open("f", Access::ReadRaw));
        let of = |rig: &Rig| {
            kinds.map(|k| rig.tally(k)).iter().fold((0, 0), |s, t| (s.0 + t.drawn, s.1 + t.effective))
        };
        let (drawn, effective) = of(&rig);
        assert_eq!(effective, 0);
        lost += drawn;
        for _ in 0..2 {
            rig.ok(file.read_at(0, vec![0; 8192]));
            assert_eq!(of(&rig), (drawn, drawn));
        }
    }
    assert!(lost > 100, "{lost}");
}

#[test]
fn bytes_past_a_lost_length_never_show_again() {
    let lost = outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", b"");
        rig.ok(file.write_at(0, vec![b'b'; 1024]));
        let rig = rig.power_cut();
        let before = rig.content("f").len();
        let file = rig.ok(rig.dir.open("f", Access::Write));
        rig.ok(file.truncate(2048));
        assert!(rig.content("f")[before..].iter().all(|b| *b == 0), "only fault F08 would show them");
        before
    });
    assert_eq!(lost, BTreeSet::from([0, 1024]));
}

#[test]
fn what_a_power_cut_decided_another_one_does_not_change() {
    outcomes(|seed| {
        let rig = Rig::new(seed);
        let file = rig.synced("f", &[b'a'; 4096]);
        rig.ok(file.write_at(0, vec![b'b'; 8192]));
        rig.ok(rig.dir.create("g"));
        let rig = rig.power_cut();
        let (content, names) = (rig.content("f"), rig.names());
        let rig = rig.power_cut();
        assert_eq!((rig.content("f"), rig.names()), (content, names));
    });
}
