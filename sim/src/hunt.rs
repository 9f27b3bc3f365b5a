//! Many seeds, on several threads. Each simulation has a fresh thread of its own.
use crate::draw::{draw, draw_pair, without};
use crate::execute::{Report, execute, identity};
use crate::failure::{Failure, Guarantee};
use crate::plan::Run;
use crate::probe::Probe;
use crate::running::Running;
use crate::summary::{Check, Found, Summary, Wrong};
use bulkhead::env::Owner;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What to hunt through.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many at a time.
    pub jobs: usize,
    /// One seed in so many is also executed as an isolation pair; 0 for none.
    pub pair_every: u64,
    /// One seed in so many is executed twice; 0 for none.
    pub double_every: u64,
    /// When to stop.
    pub stop: Stop,
}

/// When a hunt stops early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At the first seed that shows something wrong, once all smaller ones are done.
    AtFirst,
    /// Never.
    AtEnd,
}

impl Default for Hunt {
    fn default() -> Hunt {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Hunt { from: 0, seeds: 1000, jobs, pair_every: 16, double_every: 32, stop: Stop::AtEnd }
    }
}

/// Hunts through `n` seeds from `from` on, as the command line does.
#[must_use]
pub fn run_seeds(from: u64, n: u64) -> Summary {
    Hunt { from, seeds: n, ..Hunt::default() }.run()
}

/// Executes `run` on a fresh thread; a panic of the program is an error.
///
/// # Errors
/// The panic's message.
pub fn execute_alone(run: &Run, lines: usize) -> Result<Report, String> {
    let run = run.clone();
    let thread = std::thread::Builder::new().name(format!("seed {}", run.seed));
    let joined = thread.spawn(move || execute(&run, lines)).map_err(|e| e.to_string())?.join();
    joined.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

impl Hunt {
    /// The last seed; none if there are no seeds, or more than can be counted.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.from.checked_add(self.seeds.checked_sub(1)?)
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Summary {
        self.run_watched(&Running::default())
    }

    /// Runs it, and tells `running` which seeds are being executed.
    #[must_use]
    pub fn run_watched(&self, running: &Running) -> Summary {
        #[expect(clippy::disallowed_methods, reason = "only printed")]
        let started = Instant::now();
        let next = AtomicU64::new(0);
        let stopped = AtomicBool::new(false);
        let work = || {
            let mut summary = Summary::default();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= self.seeds || stopped.load(Ordering::Relaxed) {
                    return summary;
                }
                self.seed(self.from + i, running, &mut summary);
                if self.stop == Stop::AtFirst && !summary.found.is_empty() {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        };
        let mut summary = Summary::default();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                summary.merge(worker.join().expect("a worker only counts"));
            }
        });
        summary.seconds = started.elapsed().as_secs_f64();
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        summary.config =
            format!("{build},jobs:{},pairs:1/{},doubles:1/{}", self.jobs, self.pair_every, self.double_every);
        summary
    }

    fn seed(&self, seed: u64, running: &Running, summary: &mut Summary) {
        let turn = running.begin(seed);
        let due = |every: u64| every > 0 && seed.is_multiple_of(every);
        summary.seeds += 1;
        let run = draw(seed);
        let mut wrong = |check, what| summary_found(summary, seed, check, what);
        let report = match execute_alone(&run, 0) {
            Ok(report) => report,
            Err(message) => return wrong(Check::Run, Wrong::Panicked(message)),
        };
        summary.add(&report);
        if let Some(failure) = report.failure.clone() {
            return summary_found(summary, seed, Check::Run, Wrong::Broken(failure));
        }
        if due(self.double_every) {
            turn.goes_on_to(Check::Double);
            match double(&run, &report) {
                Ok(()) => summary.doubles += 1,
                Err(what) => return summary_found(summary, seed, Check::Double, what),
            }
        }
        if due(self.pair_every) {
            turn.goes_on_to(Check::Pair);
            match pair(&draw_pair(seed)) {
                Ok((report, counts)) => {
                    summary.add_effects(&report);
                    summary.isolation_pairs += u64::from(counts == Counts::Yes);
                }
                Err(what) => summary_found(summary, seed, Check::Pair, what),
            }
        }
    }
}

fn summary_found(summary: &mut Summary, seed: u64, check: Check, what: Wrong) {
    summary.found.push(Found { seed, check, what });
}

/// Executes `run` again: the trace must be that of `first` (G7).
///
/// # Errors
/// If it is not.
pub fn double(run: &Run, first: &Report) -> Result<(), Wrong> {
    let again = execute_alone(run, 0).map_err(Wrong::Panicked)?;
    if identity(&again) == identity(first) {
        return Ok(());
    }
    let what = format!(
        "two runs differ: {} events with hash {:016x}, then {} with {:016x}; {}",
        first.events,
        first.trace_hash,
        again.events,
        again.trace_hash,
        divergence(run)?,
    );
    Err(Wrong::Broken(Failure::new(Guarantee::G7Determinism, what)))
}

/// Where the traces of two further executions part.
fn divergence(run: &Run) -> Result<String, Wrong> {
    let lines = || execute_alone(run, ALL_LINES).map(|report| report.lines).map_err(Wrong::Panicked);
    Ok(parting(&lines()?, &lines()?))
}

/// More lines than any trace has.
const ALL_LINES: usize = 1 << 20;

/// The first lines in which two traces differ.
fn parting(one: &[String], other: &[String]) -> String {
    match one.iter().zip(other).position(|(a, b)| a != b) {
        Some(i) => {
            let before = i.checked_sub(1).and_then(|i| one.get(i));
            format!("first at line {i}: {:?} against {:?}, after {before:?}", one[i], other[i])
        }
        None => format!("{} lines against {} lines", one.len(), other.len()),
    }
}

/// Whether lines of a trace are compared with the time in front of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Kept,
    Stripped,
}

/// The lines of a trace about one owner; of its timers only what they are compared by is told.
fn lines_of(lines: &[String], owner: u64, time: Time) -> Vec<String> {
    let owner = format!("{owner:016x} ");
    let of = |line: &String| {
        let (at, rest) = line.trim_start().split_once(' ')?;
        let rest = rest.trim_start();
        let kept = rest.starts_with(&owner) && !rest.contains(" Timer#");
        let time = if time == Time::Kept { at } else { "" };
        kept.then(|| format!("{time} {rest}"))
    };
    lines.iter().filter_map(of).collect()
}

/// Whether a pair showed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    Yes,
    No,
}

/// Executes `with` and the same [`without`] what strikes the first space: whatever happens to the first space, all others must see the same (G3).
///
/// # Errors
/// If they do not, or if either run fails by itself.
pub fn pair(with: &Run) -> Result<(Report, Counts), Wrong> {
    let without = without(with);
    let mut with_report = execute_alone(with, 0).map_err(Wrong::Panicked)?;
    let without_report = execute_alone(&without, 0).map_err(Wrong::Panicked)?;
    if let Some(failure) = with_report.failure.clone().or(without_report.failure) {
        return Err(Wrong::Broken(failure));
    }
    for (i, id) in with.spaces.iter().enumerate().skip(1) {
        let (a, b) = (with_report.trails[i], without_report.trails[i]);
        if a != b {
            let (which, time) = match () {
                () if a.told != b.told => ("what its clients were told", Time::Stripped),
                () if a.asked != b.asked => ("what it asked of the disk", Time::Stripped),
                () => ("when it was answered", Time::Kept),
            };
            let owner = Owner::of(id).0;
            let lines = |run| execute_alone(run, ALL_LINES).map_err(Wrong::Panicked);
            let of = |report: Report| lines_of(&report.lines, owner, time);
            let (one, other) = (of(lines(with)?), of(lines(&without)?));
            let what = format!(
                "what happens to {:?} changes {which} in space {id:?}, {}",
                with.spaces[0],
                parting(&one, &other)
            );
            return Err(Wrong::Broken(Failure::new(Guarantee::G3Isolation, what)));
        }
    }
    let effective = with_report.tallies.iter().any(|(k, t)| !k.is_crash_effect() && t.effective > 0);
    if with_report.deletions > without_report.deletions {
        with_report.probes.hit(Probe::DeletedBesideOthers);
    }
    let counts = if effective && with_report.overlapping >= 10 { Counts::Yes } else { Counts::No };
    Ok((with_report, counts))
}
