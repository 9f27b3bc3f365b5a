//! Names that must not occur, and sizes that files must not outgrow.
use super::source::{all, has_word, sources};

/// Longest file, in lines. The aim is 200.
const LINES_MAX: usize = 700;

/// What reaches the world past the seam.
const WORLD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "thread::spawn",
    "thread::scope",
    "thread::sleep",
    "thread::current",
    "thread::park",
    "thread::Builder",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime",
    "Instant",
    "std::env",
    "RandomState",
    "HashMap",
    "HashSet",
    "std::collections::hash_map",
    "println",
    "eprintln",
    "thread_rng",
    "tokio::spawn",
    "tokio::time",
    "tokio::fs",
    "spawn_blocking",
    "rustix",
];

/// What makes a run differ from run to run; the simulator may print, and read and write repro files.
const CHANCE: &[&str] = &[
    "SystemTime",
    "RandomState",
    "HashMap",
    "HashSet",
    "thread_rng",
    "rand::rng",
    "rand::random",
    "tokio::time",
    "thread::sleep",
    "getrandom",
];

fn wrong_names(below: &[&str], names: &[&str], exempt: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources(below) {
        if exempt.iter().any(|e| source.path.starts_with(e)) {
            continue;
        }
        let found = names.iter().filter(|n| has_word(&source.code, n));
        wrong.extend(found.map(|n| format!("{} says `{n}`", source.path)));
    }
    wrong
}

#[test]
fn the_world_reaches_the_engine_through_env_alone() {
    let wrong = wrong_names(&["engine/src"], WORLD, &["engine/src/env/os/"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!wrong_names(&["engine/src/env/os"], WORLD, &[]).is_empty(), "the search finds what is there");
}

#[test]
fn chance_never_reaches_the_simulated_disk_or_the_simulator() {
    let mut wrong = wrong_names(&["fault-injection/src"], WORLD, &[]);
    wrong.extend(wrong_names(&["sim/src"], CHANCE, &[]));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_where_this_list_says() {
    for root in ["engine/src/lib.rs", "fault-injection/src/lib.rs", "sim/src/lib.rs"] {
        let text = super::source::read(root);
        // A crate that is still empty says nothing yet.
        let forbidden = text.contains("#![forbid(unsafe_code)]");
        assert!(forbidden, "{root} forbids unsafe code");
    }
    let places: Vec<_> = all().into_iter().filter(|s| has_word(&s.code, "unsafe")).map(|s| s.path).collect();
    // The command speaks to its allocator; a test counts allocations.
    assert_eq!(places, ["engine/cli/src/memory.rs", "tests/allocations.rs"]);
}

#[test]
fn files_are_small_and_their_names_say_what_is_in_them() {
    let mut wrong = Vec::new();
    for source in all() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines: split it", source.path));
        }
        let drawer = |part: &str| {
            matches!(part, "utils" | "util" | "common" | "helpers" | "helper" | "misc")
                || part.ends_with("_v2")
        };
        if source.path.trim_end_matches(".rs").split('/').any(drawer) {
            wrong.push(format!("{}: name it after what is in it", source.path));
        }
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") {
            wrong.push(format!("{} does not begin with what it is for", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_wait_for_what_happens_not_for_time_to_pass() {
    let tests = ["engine/tests", "fault-injection/tests", "tests"];
    let wrong = wrong_names(&tests, &["thread::sleep"], &["tests/tidy/"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let left = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut wrong = wrong_names(&["engine", "fault-injection", "sim", "tests"], &left, &[]);
    for source in all() {
        // Not spelled out, so that this file passes.
        for left in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if has_word(&source.text, left) {
                wrong.push(format!("{} says {left}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
