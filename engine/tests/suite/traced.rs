//! One test of this binary in a process of its own, under strace.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `test`, to which `env` says what to do, with the options `with` and with these faults injected; its calls come into
/// the file `log`. `None` without strace, or without the right to trace: a notice says that `what` was skipped.
pub fn strace(
    test: &str,
    env: &[(&str, &Path)],
    with: &[&str],
    faults: &[&str],
    log: &Path,
    what: &str,
) -> Option<Output> {
    let output = Command::new("strace")
        .args(["-f", "-y"])
        .args(with)
        .arg("-o")
        .arg(log)
        .args(faults.iter().flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("PTRACE_TRACEME") => Some(output),
        _ => {
            // Not a print macro: the test harness keeps those to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED 1: {what} (no strace, or not allowed)");
            None
        }
    }
}
