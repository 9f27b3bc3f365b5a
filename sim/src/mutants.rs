//! Deliberate bugs of the engine, to prove that the hunt is not blind: each must be killed within a budget of seeds.
//!
//! They exist only in a build of their own (`--cfg bulkhead_mutants`); a plain build makes that one and runs it.
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// What to hunt for.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Only this mutant.
    pub only: Option<String>,
    /// Most seeds for each.
    pub budget: u64,
    pub from: u64,
    pub jobs: usize,
    /// A seed that runs for longer than this is stuck.
    pub patience_s: u64,
}

/// Builds the simulator with mutants in a target directory of its own, and has it do `orders`.
///
/// # Errors
/// If the build cannot be started.
#[expect(clippy::disallowed_methods, reason = "says where to build; reaches no run")]
pub fn build_and_run(orders: &Orders) -> std::io::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir).with_file_name("target-mutants"),
        None => workspace.join("target-mutants"),
    };
    let mut command = Command::new(cargo);
    command
        .args(["run", "--quiet", "--release", "--package", "bulkhead-sim", "--bin", "bulkhead-sim"])
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "--cfg madsim --cfg bulkhead_mutants")
        .args(["--", "mutants", "--budget", &orders.budget.to_string(), "--from", &orders.from.to_string()])
        .args(["--jobs", &orders.jobs.to_string(), "--patience-s", &orders.patience_s.to_string()]);
    if let Some(only) = &orders.only {
        command.args(["--only", only]);
    }
    let status = command.status()?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(crate::summary::CRASHED)))
}

/// Hunts every mutant, and tells `running` which seeds are being executed; the exit code says whether all were killed.
#[cfg(bulkhead_mutants)]
#[must_use]
pub fn run(orders: &Orders, running: &crate::running::Running) -> ExitCode {
    use crate::hunt::{Hunt, Stop};
    use crate::say::{complain, say};
    use crate::summary::{PASS, USAGE, WRONG};
    // What is wrong shows in a panic as well as in a comparison; neither needs a backtrace here.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted = |name: &str| orders.only.as_deref().is_none_or(|only| only == name);
    let mut chosen = bulkhead::mutants::ALL.iter().filter(|(name, _)| wanted(name)).peekable();
    if chosen.peek().is_none() {
        complain(format_args!("there is no mutant {:?}; expected one of:", orders.only));
        bulkhead::mutants::ALL.iter().for_each(|(name, what)| complain(format_args!("  {name}: {what}")));
        return ExitCode::from(USAGE);
    }
    let (mut killed, mut survived) = (0, 0);
    for (name, _) in chosen {
        bulkhead::mutants::activate(Some(name));
        let hunt = Hunt {
            from: orders.from,
            seeds: orders.budget,
            jobs: orders.jobs,
            stop: Stop::AtFirst,
            ..Hunt::default()
        };
        let summary = hunt.run_watched(running);
        match summary.found.first() {
            Some(found) => {
                killed += 1;
                let seeds = found.seed - orders.from + 1;
                let what = shortened(&found.what.to_string());
                say(format_args!("{name:<34} killed after {seeds:>6} seeds  {what}"));
            }
            None => {
                survived += 1;
                say(format_args!("{name:<34} SURVIVED    {:>6} seeds", summary.seeds));
            }
        }
    }
    bulkhead::mutants::activate(None);
    let all = killed + survived;
    say(format_args!("mutants={all} killed={killed} survived={survived} budget={}", orders.budget));
    ExitCode::from(if survived == 0 { PASS } else { WRONG })
}

#[cfg(bulkhead_mutants)]
fn shortened(text: &str) -> String {
    text.chars().take(110).collect()
}
