//! Goal: a plain `cargo test` hunts, and a test run that simulated nothing fails. Method: some hundred drawn seeds with
//! every figure asserted that tells whether the hunt was blind; every repro ever kept; the same seeds twice.
use bulkhead_sim::Hunt;
use bulkhead_sim::draw::draw;
use bulkhead_sim::hunt::{double, execute_alone};
use bulkhead_sim::plan::Step;
use bulkhead_sim::probe::Probe;
use bulkhead_sim::repro::{Repro, commit, keep};
use bulkhead_sim::summary::{Check, Found};
use std::path::{Path, PathBuf};

const SEEDS: u64 = 500;

/// Where CI and whoever reads of a failing seed look for its repro file.
fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is a member of a workspace").to_owned()
}

#[test]
fn simulation_ran() {
    let summary = Hunt { seeds: SEEDS, ..Hunt::default() }.run();
    let figures = format!("{}{}", summary.details(), summary.figures());
    assert!(summary.seeds >= SEEDS, "{figures}");
    let kept = keep(&summary.found, &workspace());
    assert_eq!(summary.found.len(), 0, "{kept}{figures}");
    assert!(summary.operations >= 200 * SEEDS * 9 / 10, "{figures}");
    assert!(summary.spaces_mean() >= 4.0 && summary.spaces_max >= 50, "{figures}");
    assert!(summary.crashes >= 2 * SEEDS && summary.nested >= SEEDS, "{figures}");
    assert!(summary.power_acknowledged > 0 && summary.lost_unacknowledged > 0, "{figures}");
    assert_eq!(summary.ineffective(), Vec::<&str>::new(), "{figures}");
    assert!(summary.isolation_pairs > 0 && summary.doubles > 0, "{figures}");
    for probe in Probe::ALL {
        assert!(summary.probes.count(*probe) > 0, "{} was never reached\n{figures}", probe.name());
    }
}

#[test]
fn every_drawn_run_is_as_large_as_it_should_be() {
    for seed in 0..2000 {
        let run = draw(seed);
        let operations = run.steps.iter().filter(|s| matches!(s, Step::Client { .. })).count();
        let boots = run.boots().filter(|(boot, _)| boot.end != bulkhead_sim::plan::End::Close).count();
        assert!(boots >= 2, "seed {seed}: {boots} crashes");
        assert!(operations >= 200, "seed {seed}: {operations} operations");
        for (i, id) in run.spaces.iter().enumerate() {
            assert!(!run.spaces[..i].contains(id), "seed {seed}: {id} twice");
        }
    }
}

#[test]
fn a_seed_is_a_run_whenever_it_is_executed() {
    for seed in 9000..9020 {
        let run = draw(seed);
        let report = execute_alone(&run, 0).expect("no panic");
        if let Err(what) = double(&run, &report) {
            panic!("{}", keep(&[Found { seed, check: Check::Double, what }], &workspace()));
        }
    }
}

/// Found once, fixed, and never again.
#[test]
fn the_corpus_of_repros_stays_clean() {
    let dir = workspace().join("snapshots/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .expect("the corpus is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there is a corpus");
    for path in files {
        let repro = Repro::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if let Err(wrong) = repro.replay() {
            let (commit, path) = (commit(), path.display());
            panic!("{wrong}\n(it was: {})\ncommit {commit}: cargo sim replay {path}", repro.what);
        }
    }
}
