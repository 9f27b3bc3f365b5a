//! What a failure leaves behind: a readable file that replays it, and a compact recording of every decision.
use crate::draw::{draw, draw_pair};
use crate::hunt::{double, execute_alone, pair};
use crate::plan::{Run, Step};
use crate::summary::{Check, Found, Wrong};
use bulkhead_fault_injection::{Decision, FaultPlan};
use serde::{Deserialize, Serialize};
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
    /// The run without its steps, as JSON.
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
            Check::Pair => draw_pair(found.seed).0,
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
            Check::Pair => {
                broken(&self.run)?;
                let without = Run { faults: FaultPlan::crashes_only(), ..self.run.clone() };
                broken(&without)?;
                pair(self.run.seed).map(|_| ())
            }
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
            let bytes = record(&self.run, report.decisions)?;
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
    /// If it cannot be read, or is neither.
    pub fn read(path: &Path) -> io::Result<Repro> {
        let bytes = std::fs::read(path)?;
        if path.extension().is_some_and(|e| e == "trace") {
            let (run, _) = read_recording(&bytes)?;
            return Ok(Repro { commit: String::new(), what: String::new(), check: Check::Run, run });
        }
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }
}

/// The recording of a run.
///
/// # Errors
/// None in practice: everything in a run can be encoded.
pub fn record(run: &Run, decisions: Vec<Decision>) -> io::Result<Vec<u8>> {
    let header = Run { steps: Vec::new(), ..run.clone() };
    let header = serde_json::to_string(&header).map_err(io::Error::other)?;
    let recording = Recording { header, steps: run.steps.clone(), decisions };
    bincode::serde::encode_to_vec(&recording, bincode::config::standard()).map_err(io::Error::other)
}

/// The run and the decisions of a recording.
///
/// # Errors
/// If it is none.
pub fn read_recording(bytes: &[u8]) -> io::Result<(Run, Vec<Decision>)> {
    let (recording, _): (Recording, usize) =
        bincode::serde::decode_from_slice(bytes, bincode::config::standard()).map_err(io::Error::other)?;
    let mut run: Run = serde_json::from_str(&recording.header).map_err(io::Error::other)?;
    run.steps = recording.steps;
    Ok((run, recording.decisions))
}

/// The commit of the working directory.
#[must_use]
pub fn commit() -> String {
    let git = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_survive_both_kinds_of_file() {
        for seed in 0..50 {
            let run = draw(seed);
            let json = serde_json::to_string(&run).unwrap();
            assert_eq!(run, serde_json::from_str(&json).unwrap());
            let bytes = record(&run, Vec::new()).unwrap();
            assert_eq!((run, Vec::new()), read_recording(&bytes).unwrap());
        }
        assert!(read_recording(&[7; 40]).is_err());
    }
}
