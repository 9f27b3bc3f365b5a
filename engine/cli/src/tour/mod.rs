//! `tour`: the promise kept before the eyes of somebody who has never seen this program.
//!
//! It starts itself as a child that writes to two spaces, kills the child with SIGKILL while it writes, recovers, and
//! compares every key whose write the child reported as acknowledged, by value, with what came back.
mod compare;
mod files;
mod writer;

pub use writer::write_until_killed;

use crate::ack_log::{Acked, parse_line};
use crate::args::TourArgs;
use crate::failure::Failure;
use crate::output::count;
use crate::recover;
use bulkhead::blocking::Engine;
use bulkhead::{Options, SpaceId};
use compare::Compared;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The spaces of the tour.
const SPACES: [&str; 2] = ["alpha", "beta"];
/// Acknowledgements that every space has when the child is killed; fewer if the disk is slow.
const ENOUGH: usize = 500;
/// Longest time that the child writes.
const WRITING: Duration = Duration::from_secs(3);
/// Longest time until the child has written at all.
const STARTING: Duration = Duration::from_secs(5);

/// Shows the tour. Fails if anything acknowledged is missing.
pub fn run(args: &TourArgs) -> Result<(), Failure> {
    let root = data_root(args)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "Bulkhead keeps each tenant in a space of its own. This tour makes two in {},",
        root.display()
    )?;
    writeln!(out, "lets a child process write to both, kills it mid-write and looks at what is left.\n")?;

    let killed = write_and_kill(&root)?;
    writeln!(
        out,
        "1. The child (pid {}) wrote to {} from {} threads each.",
        killed.pid,
        SPACES.join(" and "),
        writer::THREADS
    )?;
    writeln!(out, "   Each write is acknowledged once it would survive a power cut (durability `power`).")?;
    writeln!(
        out,
        "   After {} ms and {} it was ended by {}.\n",
        killed.after.as_millis(),
        count(killed.acked.len() as u64, "acknowledgement"),
        signal_name(killed.status)
    )?;

    writeln!(out, "2. What it left behind. Each space has its own directory, log and manifest:\n")?;
    files::tree(&mut out, &root)?;

    writeln!(out, "\n3. Recovery opens both, each by its own log alone:\n")?;
    let engine = Engine::open(&root, Options::default())?;
    recover::table(&mut out, &engine.recover_all()?)?;

    writeln!(out, "\n4. Every acknowledged key, compared by value with what came back:\n")?;
    let mut compared = Vec::new();
    for name in SPACES {
        let id = SpaceId::new(name).map_err(Failure::failed)?;
        let space = engine.space(&id)?;
        compared.push(Compared::of(&space, &killed.acked)?);
    }
    engine.close()?;
    compare::show(&mut out, &compared)?;
    if compared.iter().any(|c| !c.is_right()) {
        return Err(Failure::Failed(format!(
            "acknowledged data is missing or wrong. This is a bug: please keep {} and report it",
            root.display()
        )));
    }
    writeln!(out, "\nNothing acknowledged was lost. The data is kept; look around:")?;
    let program = if std::env::var_os("CARGO").is_some() { "cargo bulkhead" } else { "bulkhead" };
    for command in ["spaces list", "scan --space alpha --limit 3", "recover"] {
        writeln!(out, "  {program} {command} --data-root {}", root.display())?;
    }
    Ok(())
}

/// The directory of the tour: empty, so that it touches nobody's data.
fn data_root(args: &TourArgs) -> Result<PathBuf, Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).map_err(|e| Failure::file("made", dir, &e))?;
        let mut entries = std::fs::read_dir(dir).map_err(|e| Failure::file("read", dir, &e))?;
        if entries.next().is_some() {
            return Err(Failure::Failed(format!(
                "{} is not empty. Name a new or empty directory",
                dir.display()
            )));
        }
        return std::path::absolute(dir).map_err(|e| Failure::file("found", dir, &e));
    }
    let temp = std::env::temp_dir();
    for n in 0..1000 {
        let dir = temp.join(format!("bulkhead-tour-{}-{n}", std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::file("made", &dir, &e)),
        }
    }
    Err(Failure::Failed(format!("no unused name for a directory in {}", temp.display())))
}

struct Killed {
    pid: u32,
    acked: Vec<Acked>,
    after: Duration,
    status: ExitStatus,
}

/// A child that does not outlive an error of its parent.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write_and_kill(root: &Path) -> Result<Killed, Failure> {
    let program =
        std::env::current_exe().map_err(|e| Failure::Failed(format!("this program has no path: {e}")))?;
    let started = Instant::now();
    let child = Command::new(&program)
        // The user's configuration is not part of the tour.
        .args(["tour-writer", "--config", "/dev/null", "--data-root"])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::file("started", &program, &e))?;
    let mut child = Guard(child);
    let stdout = child.0.stdout.take().expect("stdout is piped");
    let (send, lines) = channel();
    let reader = std::thread::spawn(move || forward(stdout, &send));
    let mut acked = listen(&lines, started)?;
    child.0.kill().map_err(|e| Failure::Failed(format!("the child could not be killed: {e}")))?;
    let after = started.elapsed();
    let status =
        child.0.wait().map_err(|e| Failure::Failed(format!("the child could not be awaited: {e}")))?;
    // What it had said before it died is in the pipe still.
    acked.extend(lines.iter());
    reader.join().expect("the reader of the pipe does not panic");
    if status.signal() != Some(9) {
        return Err(Failure::Failed(format!(
            "the child ended by itself ({status}); its own message is above"
        )));
    }
    Ok(Killed { pid: child.0.id(), acked, after, status })
}

/// Hands each whole line on; a last one that was cut short is none.
fn forward(stdout: ChildStdout, send: &std::sync::mpsc::Sender<Acked>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let Some(whole) = line.strip_suffix(b"\n") else { return };
        if let Some(acked) = parse_line(whole)
            && send.send(acked).is_err()
        {
            return;
        }
        line.clear();
    }
}

/// Waits until every space has enough acknowledgements, or the time is up and each has some.
fn listen(lines: &Receiver<Acked>, started: Instant) -> Result<Vec<Acked>, Failure> {
    let mut acked: Vec<Acked> = Vec::new();
    let mut counts = [0; SPACES.len()];
    loop {
        let some = counts.iter().all(|&n| n > 0);
        if counts.iter().all(|&n| n >= ENOUGH) {
            return Ok(acked);
        }
        let limit = if some { WRITING } else { STARTING };
        let left = limit.saturating_sub(started.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if let Some(n) = SPACES.iter().position(|s| *s == line.space.as_str()) {
                    counts[n] += 1;
                }
                acked.push(line);
            }
            Err(RecvTimeoutError::Timeout) if some => return Ok(acked),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Failed(format!("no write was acknowledged within {STARTING:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(acked),
        }
    }
}

fn signal_name(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => "SIGKILL".to_owned(),
        Some(n) => format!("signal {n}"),
        None => status.to_string(),
    }
}
