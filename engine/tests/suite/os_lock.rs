//! Goal: one process at a time. Method: this test program starts itself again as the other process, which takes the
//! lock and holds it until it is killed.

use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::env::{Dir, Env, IoErrorKind, LockGuard, Missing};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Set for the other process: the directory whose lock it is to hold.
const HOLD: &str = "BULKHEAD_TEST_HOLD_LOCK_IN";
const HOLDING: &str = "the lock is held";

fn open(path: &Path) -> (tokio::runtime::Runtime, Arc<dyn Dir>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
    let dir = block_on(env.open_root(path, Missing::Create)).unwrap();
    (runtime, dir)
}

fn lock(dir: &dyn Dir) -> Result<LockGuard, IoErrorKind> {
    block_on(dir.lock(".lock")).map_err(|error| error.kind)
}

/// The other process. As a test of its own it does nothing.
#[test]
fn the_other_process() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let (_runtime, dir) = open(Path::new(&path));
    let _guard = lock(&*dir).unwrap();
    println!("\n{HOLDING}");
    // Until it is killed, or the pipe ends with the test that forgot to.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Killed when dropped, so that a failing test leaves nothing behind.
struct Holder(Child);

impl Holder {
    fn start(path: &Path) -> Holder {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "os_lock::the_other_process", "--nocapture"])
            .env(HOLD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut holder = Holder(child);
        let lines = BufReader::new(holder.0.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == HOLDING), "the other process ended early");
        holder
    }

    /// SIGKILL: nothing of the process's own runs any more.
    fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_second_process_is_refused_by_name_and_a_killed_one_leaves_nothing_locked() {
    let temp = tempfile::tempdir().unwrap();
    let (_runtime, dir) = open(temp.path());
    let mut holder = Holder::start(temp.path());
    for _ in 0..2 {
        let Err(IoErrorKind::Locked(line)) = lock(&*dir) else { panic!("two processes hold one lock") };
        let pid = format!("pid={} host=", holder.0.id());
        assert!(line.starts_with(&pid) && line.len() > pid.len(), "{line:?} names {pid}");
    }
    holder.kill();
    let stale = std::fs::read_to_string(temp.path().join(".lock")).unwrap();
    assert!(
        stale.contains(&format!("pid={} ", holder.0.id())),
        "the killed process left its line: {stale:?}"
    );
    let guard = lock(&*dir).expect("a stale line locks nothing");
    let line = std::fs::read_to_string(temp.path().join(".lock")).unwrap();
    assert!(
        line.starts_with(&format!("pid={} host=", std::process::id())) && line.ends_with('\n'),
        "{line:?}"
    );
    assert_eq!(line.lines().count(), 1);
    drop(guard);
}

#[test]
fn the_refusal_is_readable_whatever_the_file_holds() {
    let temp = tempfile::tempdir().unwrap();
    let (_runtime, dir) = open(temp.path());
    let guard = lock(&*dir).unwrap();
    let path = temp.path().join(".lock");
    for (content, shown) in [
        (&b""[..], "a process that has not given its name"),
        (b"\x1b[31mred\x07\nsecond", "[31mred"),
        (&[0xff; 3], "\u{fffd}\u{fffd}\u{fffd}"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(lock(&*dir).unwrap_err(), IoErrorKind::Locked(shown.to_owned()));
    }
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let Err(IoErrorKind::Locked(line)) = lock(&*dir) else { panic!("held") };
    assert_eq!(line.len(), 256);
    drop(guard);
    assert_eq!(lock(&*dir).unwrap_err(), IoErrorKind::NotOurs, "it is no line of a holder");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20, "it is left as it is");
    std::fs::write(&path, format!("pid=1 host=elsewhere\n{}", "x".repeat(1000))).unwrap();
    drop(lock(&*dir).unwrap());
    assert!(std::fs::metadata(&path).unwrap().len() < 256, "the next holder writes its line anew");
}
