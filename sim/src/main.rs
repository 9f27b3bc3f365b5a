//! Command line of the hunt.
#![forbid(unsafe_code)]

use bulkhead_sim::draw::draw;
use bulkhead_sim::failure::{Failure, Guarantee};
use bulkhead_sim::hunt::{Hunt, Stop, execute_alone};
use bulkhead_sim::mutants::{self, Orders};
use bulkhead_sim::repro::{Repro, commit, keep};
use bulkhead_sim::running::{Running, Watch};
use bulkhead_sim::say::{complain, say};
use bulkhead_sim::summary::{Check, Found, PASS, STUCK, USAGE, Wrong};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Hunts bugs of the engine on a simulated machine that fails and crashes as a real one may.
///
/// Exit codes: 0 pass, 2 crash of the program, 3 wrong result, 4 no progress, 64 bad usage.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-sim", version)]
struct Cli {
    /// A seed that runs for longer than this, in seconds of wall time, is stuck: exit code 4.
    #[arg(long, global = true, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    patience_s: u64,
    #[command(subcommand)]
    command: Do,
}

#[derive(Debug, Subcommand)]
enum Do {
    /// Runs many seeds; the last line has all figures.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many at a time; as many as there are processors unless given.
        #[arg(long)]
        jobs: Option<usize>,
        /// One seed in so many is also executed as an isolation pair; 0 for none.
        #[arg(long, default_value_t = 16)]
        pair_every: u64,
        /// One seed in so many is executed twice and the traces compared; 0 for none.
        #[arg(long, default_value_t = 32)]
        double_every: u64,
        /// Where repro files of failures go.
        #[arg(long, default_value = ".")]
        repro_dir: PathBuf,
        /// Stops at the first failure.
        #[arg(long)]
        stop: bool,
    },
    /// Replays a seed or a repro file, and shows the end of its trace.
    Replay {
        /// A seed, or the path of a repro file.
        what: String,
        /// How many lines of the trace to show.
        #[arg(long, default_value_t = 60)]
        lines: usize,
        /// Also writes the run into this repro file, with --why as what it shows.
        #[arg(long)]
        save: Option<PathBuf>,
        /// What the saved run shows.
        #[arg(long, default_value = "", requires = "save")]
        why: String,
    },
    /// Builds the engine with deliberate bugs, and hunts each of them.
    Mutants {
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
        /// Most seeds for each.
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
        budget: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds at a time.
        #[arg(long)]
        jobs: Option<usize>,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are asked for; everything else is bad usage.
            let code = if e.use_stderr() { USAGE } else { PASS };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let all = Hunt::default().jobs;
    match cli.command {
        Do::Run { seeds, from, jobs, pair_every, double_every, repro_dir, stop } => {
            let stop = if stop { Stop::AtFirst } else { Stop::AtEnd };
            let jobs = jobs.unwrap_or(all);
            run(&Hunt { from, seeds, jobs, pair_every, double_every, stop }, &repro_dir, cli.patience_s)
        }
        Do::Replay { what, lines, save, why } => replay(&what, lines, save.as_deref(), why, cli.patience_s),
        Do::Mutants { only, budget, from, jobs } => {
            let orders = Orders { only, budget, from, jobs: jobs.unwrap_or(all), patience_s: cli.patience_s };
            match (Hunt { from, seeds: budget, ..Hunt::default() }).last() {
                Some(_) => hunt_mutants(&orders),
                None => refuse_seeds(from),
            }
        }
    }
}

#[cfg(bulkhead_mutants)]
fn hunt_mutants(orders: &Orders) -> ExitCode {
    let running = Arc::new(Running::default());
    let from =
        |seed| format!("cargo sim mutants --from {seed} --budget 1, which leaves out what was killed before");
    let _watched = watch(&running, orders.patience_s, move |seed, check| stuck(seed, check, &from(seed)));
    mutants::run(orders, &running)
}

#[cfg(not(bulkhead_mutants))]
fn hunt_mutants(orders: &Orders) -> ExitCode {
    mutants::build_and_run(orders).unwrap_or_else(|e| {
        complain(format_args!("the build with mutants could not be started: {e}"));
        ExitCode::from(bulkhead_sim::summary::CRASHED)
    })
}

fn refuse_seeds(from: u64) -> ExitCode {
    complain(format_args!("there are not so many seeds from {from} on: the last is {}", u64::MAX));
    ExitCode::from(USAGE)
}

/// Looks once a second at what is running, until the answer is dropped; a seed that is stuck ends the program.
///
/// Nothing else can: a thread that never waits cannot be stopped.
fn watch(
    running: &Arc<Running>,
    patience_s: u64,
    tell: impl FnOnce(u64, Check) + Send + 'static,
) -> Sender<()> {
    let (running, mut watch) = (running.clone(), Watch::new(patience_s));
    let (watched, ended) = channel();
    std::thread::spawn(move || {
        while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            if let Some((seed, check)) = watch.look(&running) {
                tell(seed, check);
                std::process::exit(i32::from(STUCK));
            }
        }
    });
    watched
}

fn stuck(seed: u64, check: Check, command: &str) {
    say(format_args!("seed {seed} ({check:?}): {NO_END}"));
    say(format_args!("commit {}: {command}", commit()));
}

/// What is said of a seed that is stuck.
const NO_END: &str = "it did not end in the wall time that --patience-s allows";

/// Leaves the repro of a seed that is stuck, which cannot be executed again to record it.
fn keep_stuck(seed: u64, check: Check, dir: &Path) {
    let what = Wrong::Broken(Failure::new(Guarantee::G9Liveness, NO_END));
    let path = dir.join(format!("repro-{seed}.json"));
    let command = match (check, Repro::of(&Found { seed, check, what }).write_json(&path)) {
        (Check::Run, _) => format!("cargo sim replay {seed}"),
        (_, Ok(())) => format!("cargo sim replay {}", path.display()),
        (_, Err(_)) => format!("cargo sim run --from {seed} --seeds 1 --pair-every 1 --double-every 1"),
    };
    stuck(seed, check, &command);
}

fn run(hunt: &Hunt, repro_dir: &Path, patience_s: u64) -> ExitCode {
    if hunt.last().is_none() {
        return refuse_seeds(hunt.from);
    }
    let running = Arc::new(Running::default());
    let dir = repro_dir.to_owned();
    let _watched = watch(&running, patience_s, move |seed, check| keep_stuck(seed, check, &dir));
    let summary = hunt.run_watched(&running);
    say(format_args!("{}{}{}", keep(&summary.found, repro_dir), summary.details(), summary.figures()));
    ExitCode::from(summary.exit_code())
}

fn replay(what: &str, lines: usize, save: Option<&Path>, why: String, patience_s: u64) -> ExitCode {
    let mut repro = match what.parse() {
        Ok(seed) => Repro { commit: commit(), what: String::new(), check: Check::Run, run: draw(seed) },
        Err(_) => match Repro::read(Path::new(what)) {
            Ok(repro) => repro,
            Err(e) => {
                complain(format_args!("{what} is neither a seed nor a repro file that can be read: {e}"));
                return ExitCode::from(USAGE);
            }
        },
    };
    if let Some(path) = save {
        repro.what = why;
        if let Err(e) = repro.write_json(path) {
            complain(format_args!("{} could not be written: {e}", path.display()));
            return ExitCode::from(USAGE);
        }
    }
    let running = Arc::new(Running::default());
    let command = format!("cargo sim replay {what}");
    let _watched = watch(&running, patience_s, move |seed, check| stuck(seed, check, &command));
    let turn = running.begin(repro.run.seed);
    let report = execute_alone(&repro.run, lines);
    turn.goes_on_to(repro.check);
    let wrong = match &report {
        Err(message) => Some(Wrong::Panicked(message.clone())),
        Ok(report) => report.failure.clone().map(Wrong::Broken).or_else(|| repro.replay().err()),
    };
    // Whoever reads the lines may take any time.
    drop(turn);
    if let Ok(report) = report {
        report.lines.iter().for_each(say);
        say(format_args!("trace={:016x} events={} ios={}", report.trace_hash, report.events, report.ios));
    }
    match wrong {
        Some(wrong) => {
            say(&wrong);
            ExitCode::from(wrong.exit_code())
        }
        None => {
            say("nothing is wrong");
            ExitCode::from(PASS)
        }
    }
}
