//! Goal: on the real backend every acknowledgement was preceded by the syncs that it relies on: of each file after the
//! last write that it needs, of each directory after each change of names. Method: this program starts itself again
//! under strace and runs scripts that mark their acknowledgements; the calls are replayed on a model of what a power
//! cut leaves, and rules are asked at every step. Then the same once more for each sync, as if that one had not been
//! called: the rules must complain, or the sync is one too many. Without strace, or without the right to trace, a
//! notice says what was skipped.

mod check;
mod disk;
mod script;
mod trace;

use crate::traced::strace;
use script::{BASE, SCRIPT};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trace::{Call, Event, Trace};

/// The traced process. As a test of its own it does nothing.
#[test]
fn the_traced_process() {
    let Some(script) = std::env::var_os(SCRIPT) else { return };
    let base = PathBuf::from(std::env::var_os(BASE).unwrap());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(script::run(script.to_str().unwrap(), &base));
}

/// A directory, and the calls that were made in it so far.
struct Story {
    _temp: tempfile::TempDir,
    base: PathBuf,
    trace: Trace,
}

impl Story {
    fn new() -> Story {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        Story { _temp: temp, base, trace: Trace::default() }
    }

    /// Runs a script in a process of its own, killed where `kill` says, and adds its calls. False where tracing is
    /// not possible.
    #[must_use]
    fn run(&mut self, script: &str, kill: Option<&str>) -> bool {
        let log = self.base.with_extension("log");
        let env = [(SCRIPT, Path::new(script)), (BASE, &*self.base)];
        let calls = format!("trace={}", trace::CALLS);
        let with = ["-xx", "-s", "1000000", "-e", &calls];
        let (test, what) = ("audit::the_traced_process", format!("the audit of {script}"));
        let Some(output) = strace(test, &env, &with, kill.as_slice(), &log, &what) else { return false };
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{script} failed:\n{said}");
        self.trace.add(&std::fs::read_to_string(&log).unwrap(), self.base.to_str().unwrap());
        std::fs::remove_file(&log).unwrap();
        true
    }

    fn complaints(&self, without: Option<usize>) -> Vec<String> {
        let root = script::root(&self.base);
        check::check(&self.trace, self.base.to_str().unwrap(), root.to_str().unwrap(), without).complaints
    }

    fn assert_sound(&self) {
        let complaints = self.complaints(None);
        assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    }

    /// Every sync without which nothing complains: its place in the calls, and what it is a sync of.
    fn redundant(&self) -> Vec<(usize, String)> {
        let syncs = self.trace.calls.iter().enumerate().filter(|(_, c)| matches!(c, Call::Sync(_)));
        let unmissed = syncs.filter(|(call, _)| self.complaints(Some(*call)).is_empty());
        unmissed.map(|(call, _)| (call, self.role(call))).collect()
    }

    /// What a sync is a sync of.
    fn role(&self, call: usize) -> String {
        let Call::Sync(path) = &self.trace.calls[call] else { panic!("not a sync") };
        let root = script::root(&self.base);
        let path = Path::new(path);
        let Ok(below) = path.strip_prefix(&root) else { return "above the root".to_owned() };
        let parts: Vec<_> = below.iter().map(|p| p.to_str().unwrap()).collect();
        match parts[..] {
            [] => "the root".to_owned(),
            [file] if file.starts_with(".engine") => file.to_owned(),
            [_] => "a space's directory".to_owned(),
            [_, file] if file.starts_with("MANIFEST") => "a manifest".to_owned(),
            [_, name] => name.to_owned(),
            [_, "wal", _] => "a segment".to_owned(),
            _ => below.display().to_string(),
        }
    }

    /// Whether it is the only sync of a segment that took no frame: it was made ahead of need, and then nobody needed it.
    fn is_of_unused_segment(&self, call: usize) -> bool {
        let Call::Sync(synced) = &self.trace.calls[call] else { return false };
        let takes = |c: &Call| matches!(c, Call::Write { path, offset, .. } if path == synced && *offset > 0);
        let syncs =
            self.trace.calls.iter().filter(|c| matches!(c, Call::Sync(path) if path == synced)).count();
        self.role(call) == "a segment" && syncs == 1 && !self.trace.calls.iter().any(takes)
    }

    /// Whether the process that made this call had opened its engine before.
    fn is_open_at(&self, call: usize) -> bool {
        let at = self.trace.events.iter().position(|e| *e == Event::Begun(call)).unwrap();
        let before = &self.trace.events[..at];
        let since = before.iter().rposition(|e| *e == Event::Process).unwrap();
        let opened = Call::Mark("opened".to_owned());
        before[since..].iter().any(|e| matches!(e, Event::Begun(c) if self.trace.calls[*c] == opened))
    }
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn every_acknowledgement_stands_on_syncs_and_no_sync_is_one_too_many() {
    let mut story = Story::new();
    for script in ["first", "unclean", "again", "interval", "read", "unclean"] {
        if !story.run(script, None) {
            return;
        }
    }
    story.assert_sound();
    for (call, role) in story.redundant() {
        // What an opening syncs before it acts on names is needed only if an earlier process was killed before it
        // did so; `a_kill_anywhere_in_the_first_steps_costs_nothing` shows that.
        let opening = !story.is_open_at(call) && (role == "the root" || role == "above the root");
        let fine = opening || story.is_of_unused_segment(call);
        assert!(fine, "nothing relies on this sync of {role}: {:?}", story.trace.calls[call]);
    }
}

#[test]
fn repair_makes_durable_what_it_sets_aside_before_it_changes_anything() {
    let mut story = Story::new();
    if !(story.run("first", None) && story.run("unclean", None)) {
        return;
    }
    let alpha = script::root(&story.base).join("alpha");
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(alpha.join("wal")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    flip(&segments[2], 4096 + 80 + 60);
    flip(&alpha.join("SPACE"), 30);
    flip(&alpha.join("SPACE"), 4096 + 30);
    assert!(story.run("repair", None));
    story.assert_sound();
    for (call, role) in story.redundant() {
        // The name of a rebuilt SPACE would be made durable by the next switch as well.
        let named = !story.is_open_at(call) || role == "a space's directory";
        let fine = named || story.is_of_unused_segment(call);
        assert!(fine, "nothing relies on this sync of {role}: {:?}", story.trace.calls[call]);
    }
}

#[test]
fn a_kill_anywhere_in_the_first_steps_costs_nothing() {
    let mut needed = BTreeSet::new();
    let mut kills = 0;
    for call in ["fsync", "fdatasync", "mkdirat", "renameat2", "pwrite64", "fallocate"] {
        for nth in 1.. {
            let mut story = Story::new();
            if !story.run("create", Some(&format!("{call}:signal=SIGKILL:when={nth}"))) {
                return;
            }
            let done = story.trace.calls.iter().any(|c| matches!(c, Call::Mark(m) if m.starts_with("power")));
            if done {
                // Nothing was killed: what a new space and its first key cost.
                let opened =
                    story.trace.calls.iter().position(|c| *c == Call::Mark("opened".to_owned())).unwrap();
                let syncs = story.trace.calls[opened..].iter().filter(|c| matches!(c, Call::Sync(_))).count();
                assert!((8..=10).contains(&syncs), "{syncs} syncs to create a space and put one key");
                break;
            }
            kills += 1;
            assert!(story.run("go-on", None));
            let complaints = story.complaints(None);
            assert!(complaints.is_empty(), "killed at {call} {nth}:\n{}", complaints.join("\n"));
            let redundant: Vec<usize> = story.redundant().into_iter().map(|(call, _)| call).collect();
            let syncs = story.trace.calls.iter().enumerate().filter(|(_, c)| matches!(c, Call::Sync(_)));
            needed.extend(syncs.map(|(c, _)| c).filter(|c| !redundant.contains(c)).map(|c| story.role(c)));
        }
    }
    assert!(kills > 20, "{kills} kills");
    for role in ["above the root", "the root"] {
        assert!(needed.contains(role), "no kill shows why an opening syncs {role}: {needed:?}");
    }
}
