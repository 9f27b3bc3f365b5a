//! What a failure leaves behind: a readable file that replays it, and a compact recording of every decision.
use crate::draw::{draw, draw_pair};
use crate::hunt::{double, execute_alone, pair};
use crate::plan::{Run, Step};
use crate::summary::{Check, Found, Wrong};
use bulkhead_fault_injection::Decision;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// A readable repro file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repro {
    /// The commit that it was found at.
    pub commit: String,
    /// What was wrong.
    pub what: String,
    /// How it was found.
    pub check: Check,
    /// The run.
    pub run: Run,
}

/// A compact recording. Bincode cannot leave fields out, so the part with optional fields is JSON inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The run without its steps, and which check it was, as JSON.
    pub header: String,
    pub steps: Vec<Step>,
    /// Every decision that was not the default.
    pub decisions: Vec<Decision>,
}

impl Repro {
    /// The repro of a failure.
    #[must_use]
    pub fn of(found: &Found) -> Repro {
        let run = match found.check {
            Check::Run | Check::Double => draw(found.seed),
            Check::Pair => draw_pair(found.seed),
        };
        Repro { commit: commit(), what: found.what.to_string(), check: found.check, run }
    }

    /// Executes it again.
    ///
    /// # Errors
    /// What is wrong.
    pub fn replay(&self) -> Result<(), Wrong> {
        let broken = |run: &Run| {
            let report = execute_alone(run, 0).map_err(Wrong::Panicked)?;
            match report.failure.clone() {
                Some(failure) => Err(Wrong::Broken(failure)),
                None => Ok(report),
            }
        };
        match self.check {
            Check::Run => broken(&self.run).map(|_| ()),
            Check::Double => double(&self.run, &broken(&self.run)?),
            Check::Pair => pair(&self.run).map(|_| ()),
        }
    }

    /// Writes `repro-<seed>.json` and `repro-<seed>.trace` into `dir`; the former's path.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(format!("repro-{}.json", self.run.seed));
        self.write_json(&path)?;
        if let Ok(report) = execute_alone(&self.run, 1) {
            let bytes = record(self.check, &self.run, report.decisions)?;
            std::fs::write(dir.join(format!("repro-{}.trace", self.run.seed)), bytes)?;
        }
        Ok(path)
    }

    /// Writes the readable file alone.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_string(self).map_err(io::Error::other)?;
        // A step a line: short, and still readable.
        let json = json.replace("{\"boot\":", "\n{\"boot\":").replace("{\"client\":", "\n{\"client\":");
        std::fs::write(path, json + "\n")
    }

    /// Reads either kind of file.
    ///
    /// # Errors
    /// If it cannot be read, is neither, or holds what cannot be executed: then the field is named.
    pub fn read(path: &Path) -> io::Result<Repro> {
        let bytes = std::fs::read(path)?;
        let repro: Repro = if path.extension().is_some_and(|e| e == "trace") {
            let (check, run, _) = read_recording(&bytes)?;
            Repro { commit: String::new(), what: String::new(), check, run }
        } else {
            serde_json::from_slice(&bytes).map_err(io::Error::other)?
        };
        repro.run.check().map_err(|e| io::Error::other(format!("run.{e}")))?;
        if repro.check == Check::Pair && repro.run.spaces.len() < 2 {
            return Err(io::Error::other("run.spaces: expected two at least, as it is a pair"));
        }
        Ok(repro)
    }
}

/// Most failures of a hunt that are told and kept.
pub const KEPT: usize = 20;

/// Writes a repro of each of the first failures into `dir`; what there is to say about them, with the command that replays
/// each.
#[must_use]
pub fn keep(found: &[Found], dir: &Path) -> String {
    let mut text = String::new();
    for found in found.iter().take(KEPT) {
        let (seed, repro) = (found.seed, Repro::of(found));
        let _ = writeln!(text, "seed {seed} ({:?}): {}", found.check, found.what);
        let written = repro.write(dir);
        let _ = match &written {
            Ok(path) => writeln!(text, "repro file: {}", path.display()),
            Err(e) => writeln!(text, "the repro file could not be written into {}: {e}", dir.display()),
        };
        let command = match written {
            // A seed alone is a run by itself.
            _ if found.check == Check::Run => format!("replay {seed}"),
            Ok(path) => format!("replay {}", path.display()),
            Err(_) => format!("run --from {seed} --seeds 1 --pair-every 1 --double-every 1"),
        };
        let _ = writeln!(text, "commit {}: cargo sim {command}", repro.commit);
    }
    if found.len() > KEPT {
        let _ = writeln!(text, "and {} more seeds, of which nothing was kept", found.len() - KEPT);
    }
    text
}

/// The recording of a run.
///
/// # Errors
/// None in practice: everything in a run can be encoded.
pub fn record(check: Check, run: &Run, decisions: Vec<Decision>) -> io::Result<Vec<u8>> {
    let run_alone = Run { steps: Vec::new(), ..run.clone() };
    let mut header = serde_json::to_value(&run_alone).map_err(io::Error::other)?;
    header["check"] = serde_json::to_value(check).map_err(io::Error::other)?;
    let recording = Recording { header: header.to_string(), steps: run.steps.clone(), decisions };
    bincode::serde::encode_to_vec(&recording, bincode::config::standard()).map_err(io::Error::other)
}

/// Beside the run in a recording's header; older ones were of runs by themselves, or do not say.
#[derive(Deserialize)]
struct Header {
    check: Option<Check>,
}

/// The check, the run and the decisions of a recording.
///
/// # Errors
/// If it is none.
pub fn read_recording(bytes: &[u8]) -> io::Result<(Check, Run, Vec<Decision>)> {
    let (recording, _): (Recording, usize) =
        bincode::serde::decode_from_slice(bytes, bincode::config::standard()).map_err(io::Error::other)?;
    let mut run: Run = serde_json::from_str(&recording.header).map_err(io::Error::other)?;
    let header: Header = serde_json::from_str(&recording.header).map_err(io::Error::other)?;
    run.steps = recording.steps;
    Ok((header.check.unwrap_or(Check::Run), run, recording.decisions))
}

/// The commit of the source tree that this program was built from, wherever it is called; "-dirty" if that has changes.
#[must_use]
pub fn commit() -> String {
    commit_of(Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn commit_of(tree: &Path) -> String {
    let mut git = std::process::Command::new("git");
    // A hook of another repository says where that one is. Nobody is kept waiting for the lock of the index.
    git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    git.args(["--no-optional-locks", "-C"]).arg(tree);
    git.args(["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]);
    match git.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, Guarantee};
    use crate::hunt::Hunt;
    use std::process::Command;

    /// A directory of its own for the test of this name, empty.
    fn empty_dir(name: &str) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sim-tests").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn found(seed: u64, check: Check) -> Found {
        Found { seed, check, what: Wrong::Broken(Failure::new(Guarantee::G3Isolation, "as it were")) }
    }

    fn replaced(repro: &Repro, dir: &Path, from: &str, to: &str) -> String {
        let path = dir.join("bad.json");
        repro.write_json(&path).unwrap();
        let json = std::fs::read_to_string(&path).unwrap();
        assert!(json.contains(from), "{from}");
        std::fs::write(&path, json.replacen(from, to, 1)).unwrap();
        Repro::read(&path).expect_err(to).to_string()
    }

    #[test]
    fn runs_survive_both_kinds_of_file() {
        for seed in 0..50 {
            let run = draw(seed);
            let json = serde_json::to_string(&run).unwrap();
            assert_eq!(run, serde_json::from_str(&json).unwrap());
            let bytes = record(Check::Run, &run, Vec::new()).unwrap();
            assert_eq!((Check::Run, run, Vec::new()), read_recording(&bytes).unwrap());
        }
        assert!(read_recording(&[7; 40]).is_err());
    }

    /// A failing pair or double told to replay its seed, which is another run, in which nothing was wrong.
    #[test]
    fn the_command_that_is_told_replays_what_was_found() {
        let dir = empty_dir("commands");
        let checks = [Check::Run, Check::Double, Check::Pair];
        let all: Vec<_> = (0..).zip(checks).map(|(seed, check)| found(seed, check)).collect();
        let text = keep(&all, &dir);
        for found in &all {
            let path = dir.join(format!("repro-{}.json", found.seed));
            let what = match found.check {
                Check::Run => found.seed.to_string(),
                Check::Double | Check::Pair => path.display().to_string(),
            };
            let line = format!("commit {}: cargo sim replay {what}\n", commit());
            assert!(text.contains(&line), "{line} is not in\n{text}");
            for kind in ["json", "trace"] {
                let kept = Repro::read(&path.with_extension(kind)).unwrap();
                assert_eq!((kept.check, &kept.run), (found.check, &Repro::of(found).run), "{kind}");
            }
        }
        assert_eq!(Repro::of(&all[2]).run, draw_pair(2), "the run that was paired");
    }

    #[test]
    fn a_pair_that_cannot_be_kept_is_told_so_that_it_is_found_again() {
        let text = keep(&[found(32, Check::Pair)], Path::new("/nowhere at all"));
        assert!(
            text.contains("cargo sim run --from 32 --seeds 1 --pair-every 1 --double-every 1\n"),
            "{text}"
        );
    }

    /// Only the first of many was kept.
    #[test]
    fn twenty_are_kept_and_the_others_counted() {
        let dir = empty_dir("many");
        let all: Vec<_> = (0..23).map(|seed| found(seed, Check::Run)).collect();
        let text = keep(&all, &dir);
        assert!(text.ends_with("and 3 more seeds, of which nothing was kept\n"), "{text}");
        let kept = (0..23).filter(|seed| dir.join(format!("repro-{seed}.json")).exists()).count();
        assert_eq!(kept, KEPT);
    }

    /// Replaying the file of a pair drew the pair of its seed anew.
    #[test]
    fn the_pair_in_the_file_is_what_is_replayed() {
        let mut repro = Repro::of(&found(0, Check::Pair));
        // An option that no engine opens with: only a run that is not drawn has it.
        repro.run.options.segment_first = 7;
        assert!(repro.replay().is_err());
    }

    /// Such files had the program panic, or blame the engine.
    #[test]
    fn files_that_cannot_be_executed_are_refused_by_the_name_of_the_field() {
        let dir = empty_dir("bad");
        let mut repro = Repro::of(&found(0, Check::Run));
        repro.run.spaces.truncate(1);
        repro.run.steps.truncate(1);
        repro.write_json(&dir.join("good.json")).unwrap();
        Repro::read(&dir.join("good.json")).unwrap();
        let id = repro.run.spaces[0].to_string();
        let first = repro.run.options.segment_first;
        for (from, to, field) in [
            (format!("\"spaces\":[\"{id}\"]"), "\"spaces\":[]".to_owned(), "run.spaces: "),
            (format!("[\"{id}\"]"), format!("[\"{id}\",\"{id}\"]"), "run.spaces[1]: "),
            (
                format!("\"segment-first\":{first}"),
                "\"segment-first\":7".to_owned(),
                "run.options: option segment-first is 7",
            ),
            ("\"check\":\"run\"".to_owned(), "\"check\":\"pair\"".to_owned(), "run.spaces: "),
            ("\"junk\":[".to_owned(), "\"junk\":[{\"in-log\":1}".to_owned(), "run.steps[0].boot.junk: 1"),
        ] {
            let said = replaced(&repro, &dir, &from, &to);
            assert!(said.starts_with(field), "{said}");
        }
        let op = crate::plan::Op::Snapshot;
        repro.run.steps.push(Step::Client { space: 1, client: 0, op });
        assert!(repro.run.check().unwrap_err().starts_with("steps[1].client.space: 1;"));
        repro.run.steps.remove(0);
        assert!(repro.run.check().unwrap_err().starts_with("steps[0]: "));
    }

    #[test]
    fn everything_that_is_drawn_can_be_executed() {
        for seed in 0..2000 {
            assert_eq!((draw(seed).check(), draw_pair(seed).check()), (Ok(()), Ok(())), "seed {seed}");
        }
    }

    #[test]
    fn no_seeds_and_seeds_beyond_the_last_are_no_hunt() {
        let last = |from, seeds| Hunt { from, seeds, ..Hunt::default() }.last();
        assert_eq!((last(0, 0), last(u64::MAX, 2)), (None, None));
        assert_eq!((last(5, 1), last(u64::MAX, 1)), (Some(5), Some(u64::MAX)));
    }

    /// It was the commit of whatever repository the program was called in.
    #[test]
    fn the_commit_is_that_of_the_tree_and_tells_of_changes() {
        let dir = empty_dir("commit");
        assert_eq!(commit_of(&dir.join("not there")), "unknown");
        let git = |args: &[&str]| {
            let name = ["-c", "user.name=t", "-c", "user.email=t@t"];
            let done = Command::new("git").arg("-C").arg(&dir).args(name).args(args).output().unwrap();
            assert!(done.status.success(), "{args:?}");
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet"]);
        std::fs::write(dir.join("file"), "one").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "one"]);
        git(&["tag", "--annotate", "--message", "t", "v1"]);
        let head = git(&["rev-parse", "--short=12", "HEAD"]);
        assert_eq!(commit_of(&dir), head);
        std::fs::write(dir.join("file"), "another").unwrap();
        assert_eq!(commit_of(&dir), format!("{head}-dirty"));
    }
}
