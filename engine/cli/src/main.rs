//! The `bulkhead` command: the engine's library on the command line, and nothing else.
//!
//! Answers go to stdout, everything else (progress, errors, the log that `BULKHEAD_LOG` asks for) to stderr.
//! Exit codes: 0 done; 1 not found, or the operation failed; 64 bad usage; 70 a build with deliberate bugs.
#![deny(unsafe_code)]

mod ack_log;
mod args;
mod dump;
mod escape;
mod failure;
mod inspect;
mod listing;
mod load;
mod memory;
mod output;
mod points;
mod recover;
mod scan;
mod session;
mod settings;
mod spaces;
mod stat;
mod tour;
mod tree;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use failure::{Failure, USAGE};
use std::process::ExitCode;

/// Exit code of a build with deliberate bugs.
const MUTANTS: u8 = 70;

fn main() -> ExitCode {
    if cfg!(bulkhead_mutants) {
        eprintln!(
            "bulkhead: this binary was built with --cfg bulkhead_mutants: its engine contains deliberate bugs that \
             lose data, for the simulator to find. Build it again without that flag."
        );
        return ExitCode::from(MUTANTS);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help that was asked for goes to stdout; a closed pipe there is nobody's fault.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { USAGE } else { 0 });
        }
    };
    memory::settle();
    log_to_stderr();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Tour(_) if global.data_root.is_some() => Err(Failure::Usage(
            "tour keeps away from other data: name its directory without --data-root".into(),
        )),
        Command::Tour(args) => tour::run(&args),
        Command::TourWriter => tour::write_until_killed(&settings::resolve(&global)?),
        Command::Put(args) => points::put(&settings::resolve(&global)?, args),
        Command::Get(args) => points::get(&settings::resolve(&global)?, args),
        Command::Delete(args) => points::delete(&settings::resolve(&global)?, args),
        Command::Clear(args) => points::clear(&settings::resolve(&global)?, &args),
        Command::Inspect(args) => inspect::run(args),
        Command::Tree(args) => listing::run(&settings::resolve(&global)?.data_root, &args),
        Command::Scan(args) => scan::run(&settings::resolve(&global)?, args),
        Command::Compact(args) => stat::compact(&settings::resolve(&global)?, &args),
        Command::Spaces(args) => spaces::run(&settings::resolve(&global)?, args),
        Command::Recover(args) => recover::run(&settings::resolve(&global)?, args),
        Command::Load(args) => load::run(&settings::resolve(&global)?, args),
        Command::Verify(args) => verify::run(&settings::resolve(&global)?, args),
        Command::Dump(args) => dump::run(&settings::resolve(&global)?, args),
    }
}

/// Errors of the engine reach the user as the command's own, so its log is silent unless asked for.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BULKHEAD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
