//! Command line of the hunt.
#![forbid(unsafe_code)]

use bulkhead_sim::draw::draw;
use bulkhead_sim::hunt::{Hunt, Stop, execute_alone};
use bulkhead_sim::mutants::{self, Orders};
use bulkhead_sim::repro::{Repro, commit};
use bulkhead_sim::summary::{Check, PASS, USAGE, Wrong};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hunts bugs of the engine on a simulated machine that fails and crashes as a real one may.
///
/// Exit codes: 0 pass, 2 crash of the program, 3 wrong result, 4 no progress, 64 bad usage.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

#[derive(Debug, Subcommand)]
enum Do {
    /// Runs many seeds; the last line has all figures.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 1000)]
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
        #[arg(long, default_value_t = 20_000)]
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
            run(&Hunt { from, seeds, jobs, pair_every, double_every, stop }, &repro_dir)
        }
        Do::Replay { what, lines, save, why } => replay(&what, lines, save.as_deref(), why),
        Do::Mutants { only, budget, from, jobs } => {
            hunt_mutants(&Orders { only, budget, from, jobs: jobs.unwrap_or(all) })
        }
    }
}

#[cfg(bulkhead_mutants)]
fn hunt_mutants(orders: &Orders) -> ExitCode {
    mutants::run(orders)
}

#[cfg(not(bulkhead_mutants))]
fn hunt_mutants(orders: &Orders) -> ExitCode {
    mutants::build_and_run(orders).unwrap_or_else(|e| {
        eprintln!("the build with mutants could not be started: {e}");
        ExitCode::from(bulkhead_sim::summary::CRASHED)
    })
}

fn run(hunt: &Hunt, repro_dir: &Path) -> ExitCode {
    let summary = hunt.run();
    for found in summary.found.iter().take(20) {
        println!("seed {} ({:?}): {}", found.seed, found.check, found.what);
    }
    if let Some(first) = summary.found.first() {
        let repro = Repro::of(first);
        match repro.write(repro_dir) {
            Ok(path) => println!("repro file: {}", path.display()),
            Err(e) => eprintln!("the repro file could not be written into {}: {e}", repro_dir.display()),
        }
        println!("commit {}: cargo sim replay {}", commit(), first.seed);
    }
    print!("{}", summary.details());
    println!("{}", summary.figures());
    ExitCode::from(summary.exit_code())
}

fn replay(what: &str, lines: usize, save: Option<&Path>, why: String) -> ExitCode {
    let mut repro = match what.parse() {
        Ok(seed) => Repro { commit: commit(), what: String::new(), check: Check::Run, run: draw(seed) },
        Err(_) => match Repro::read(Path::new(what)) {
            Ok(repro) => repro,
            Err(e) => {
                eprintln!("{what} is neither a seed nor a repro file that can be read: {e}");
                return ExitCode::from(USAGE);
            }
        },
    };
    if let Some(path) = save {
        repro.what = why;
        if let Err(e) = repro.write_json(path) {
            eprintln!("{} could not be written: {e}", path.display());
            return ExitCode::from(USAGE);
        }
    }
    let report = execute_alone(&repro.run, lines);
    if let Ok(report) = &report {
        report.lines.iter().for_each(|line| println!("{line}"));
        println!("trace={:016x} events={} ios={}", report.trace_hash, report.events, report.ios);
    }
    let wrong = match report {
        Err(message) => Some(Wrong::Panicked(message)),
        Ok(report) => report.failure.map(Wrong::Broken).or_else(|| repro.replay().err()),
    };
    match wrong {
        Some(wrong) => {
            println!("{wrong}");
            ExitCode::from(wrong.exit_code())
        }
        None => {
            println!("nothing is wrong");
            ExitCode::from(PASS)
        }
    }
}
