//! Goal: the real backend makes exactly the system calls that the contract stands on (a sync that is never issued is
//! seen by no other test), completes what was interrupted or cut short, and never tries a failed sync again. Method:
//! this program starts itself again under strace, which writes down the calls of a small script and makes some fail.
//! Without strace, or without the right to trace, a notice says what was skipped.
use crate::traced::strace;
use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::env::{Access, Env, Io, Missing};
use std::path::Path;

/// Set for the traced process: the directory to work in.
const WORK: &str = "BULKHEAD_TEST_TRACED_IN";
const CALLS: &str = "openat,openat2,mkdirat,renameat,renameat2,unlinkat,fsync,fdatasync,fallocate,ftruncate,pwrite64,pread64,preadv2,flock";

/// The script that is traced. As a test of its own it does nothing.
#[test]
fn the_traced_process() {
    let Some(path) = std::env::var_os(WORK) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut options = OsOptions::default();
    // One thread: strace counts the calls of each thread by itself.
    (options.changes.owners, options.changes.extra) = (1, 0);
    let env = OsEnv::new(runtime.handle().clone(), options);
    let dir = told("open_root", env.open_root(&Path::new(&path).join("x/y"), Missing::Create)).unwrap();
    drop(told("lock", dir.lock("lock")));
    let file = told("create", dir.create("a")).unwrap();
    told("write_at", file.write_at(0, vec![b'w'; 4096]));
    told("sync", file.sync());
    told("sync again", file.sync());
    told("allocate", file.allocate(200_000));
    told("len", file.len());
    told("truncate", file.truncate(5_000));
    told("rename", dir.rename("a", "b"));
    told("make_dir", dir.make_dir("d"));
    told("sync_dir", dir.sync());
    told("open_dir", dir.open_dir("d"));
    told("remove_dir", dir.remove_dir("d"));
    let reader = told("open", dir.open("b", Access::ReadStrict)).unwrap();
    let read = told("read_at", reader.read_at(0, vec![0; 4_000])).unwrap_or_default();
    println!("read {} of them right", read.iter().filter(|b| **b == b'w').count());
    told("remove", dir.remove("b"));
    told("sync_parent", env.sync_parent(&dir.path()));
}

/// Prints how a verb answered.
fn told<T: Unpin>(verb: &str, io: Io<T>) -> Option<T> {
    match block_on(io) {
        Ok(value) => {
            println!("\n{verb}: ok");
            Some(value)
        }
        Err(e) => {
            println!("\n{verb}: {:?} {:?} {:?}", e.op, e.kind, e.os);
            None
        }
    }
}

struct Traced {
    /// What the verbs answered.
    answers: Vec<String>,
    /// The calls that concern the working directory, its path shortened to `W`, without process ids.
    calls: Vec<String>,
}

/// Runs the script, with these faults; `None` where that is not possible.
fn trace(faults: &[&str]) -> Option<Traced> {
    let temp = tempfile::tempdir().unwrap();
    let work = temp.path().canonicalize().unwrap();
    let log = work.join("log");
    let (test, calls) = ("os_calls::the_traced_process", format!("trace={CALLS}"));
    let what = format!("the calls under {faults:?}");
    let output = strace(test, &[(WORK, &work)], &["-e", &calls], faults, &log, &what)?;
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect();
    let work = work.to_str().unwrap();
    let calls = std::fs::read_to_string(&log).unwrap();
    let calls = calls
        .lines()
        .filter(|line| line.contains(work))
        .map(|line| line.split_once(' ').unwrap().1.trim_start().replace(work, "W"))
        .collect();
    Some(Traced { answers, calls })
}

impl Traced {
    /// Asserts that calls that begin and contain so were made, in this order and perhaps others between.
    fn made(&self, expected: &[(&str, &str)]) {
        let mut calls = self.calls.iter();
        for (begin, part) in expected {
            let found = calls.any(|call| call.starts_with(begin) && call.contains(part));
            assert!(found, "{begin} … {part} was not made, or not in its turn:\n{}", self.calls.join("\n"));
        }
    }

    fn count(&self, begin: &str) -> usize {
        self.calls.iter().filter(|call| call.starts_with(begin)).count()
    }

    fn answered(&self, expected: &str) {
        assert!(self.answers.iter().any(|a| a == expected), "{expected}, not:\n{}", self.answers.join("\n"));
    }

    fn all_ok(&self) {
        let verbs = self.answers.iter().filter(|a| a.ends_with(": ok")).count();
        assert_eq!(verbs, 18, "every verb succeeds:\n{}", self.answers.join("\n"));
        self.answered("read 4000 of them right");
    }
}

#[test]
fn every_verb_makes_its_calls_in_order_and_no_others() {
    let Some(t) = trace(&[]) else { return };
    t.all_ok();
    t.made(&[
        ("mkdirat(", "\"x\", 0700"),
        ("fsync(", "<W>"),
        ("mkdirat(", "<W/x>, \"y\", 0700"),
        ("fsync(", "<W/x>"),
        ("flock(", "<W/x/y/lock>, LOCK_EX|LOCK_NB"),
        ("flock(", "<W/x/y>, LOCK_EX|LOCK_NB"),
        ("openat(", "<W/x/y>, \"a\", O_RDWR|O_CREAT|O_EXCL|"),
        ("pwrite64(", "<W/x/y/a>"),
        ("fdatasync(", "<W/x/y/a>"),
        ("fdatasync(", "<W/x/y/a>"),
        ("fallocate(", "<W/x/y/a>, 0, 0, 200000"),
        ("ftruncate(", "<W/x/y/a>, 5000"),
        ("renameat2(", "<W/x/y>, \"b\", RENAME_NOREPLACE"),
        ("mkdirat(", "<W/x/y>, \"d\", 0700"),
        ("fsync(", "<W/x/y>"),
        ("openat2(", "<W/x/y>, \"d\", {flags=O_RDONLY|O_NONBLOCK|"),
        ("unlinkat(", "\"d\", AT_REMOVEDIR"),
        ("openat2(", "<W/x/y>, \"b\", {flags=O_RDONLY|O_NONBLOCK|"),
        ("preadv2(", "RWF_NOWAIT"),
        ("unlinkat(", "\"b\", 0"),
        ("fsync(", "<W/x>"),
    ]);
    assert_eq!((t.count("fdatasync("), t.count("fsync(")), (2, 4), "{}", t.calls.join("\n"));
    for call in t.calls.iter().filter(|call| call.starts_with("openat") && call.contains("<W/x/y>, \"")) {
        assert!(call.contains("O_NOFOLLOW") && call.contains("O_CLOEXEC"), "{call}");
        // Without this the thread of the caller could wait for the device.
        assert_eq!(call.starts_with("openat2("), call.contains("RESOLVE_CACHED"), "{call}");
    }
}

#[test]
fn a_failed_sync_is_answered_and_not_tried_again() {
    let Some(t) = trace(&["fdatasync:error=EIO:when=1"]) else { return };
    t.answered("sync: Sync Device Some(5)");
    t.answered("sync again: ok");
    assert_eq!(t.count("fdatasync("), 2, "one call for each sync that was asked for");
    let Some(t) = trace(&["fsync:error=EIO:when=4"]) else { return };
    t.answered("sync_dir: SyncDir Device Some(5)");
    assert_eq!(t.count("fsync("), 4, "one call for each sync that was asked for");
}

#[test]
fn interrupted_calls_are_completed() {
    for call in
        CALLS.split(',').filter(|call| !["openat", "openat2", "flock", "renameat", "pread64"].contains(call))
    {
        // The first of every two: each call is interrupted once.
        let Some(t) = trace(&[&format!("{call}:error=EINTR:when=1+2")]) else { return };
        assert!(t.calls.iter().any(|c| c.contains("EINTR") && c.contains("INJECTED")), "{call} was not made");
        t.all_ok();
    }
}

#[test]
fn a_short_write_goes_on_where_it_stopped() {
    // strace does not make the call, so the bytes that it claims are missing.
    let Some(t) = trace(&["pwrite64:retval=100:when=1"]) else { return };
    t.made(&[("pwrite64(", ", 4096, 0) = 100"), ("pwrite64(", ", 3996, 100) = 3996")]);
    t.answered("write_at: ok");
}

#[test]
fn file_systems_that_lack_a_call_are_served_without_it() {
    let Some(t) =
        trace(&["renameat2:error=EINVAL", "fallocate:error=EOPNOTSUPP", "preadv2:error=EOPNOTSUPP"])
    else {
        return;
    };
    t.all_ok();
    t.made(&[("pwrite64(", ", 65536, 4096) = 65536"), ("renameat", "\"b\""), ("pread64(", "")]);
    let Some(t) = trace(&["preadv2:error=EAGAIN"]) else { return };
    t.all_ok();
    t.made(&[("pread64(", ", 4000, 0) = 4000")]);
    for error in ["ENOSYS", "EAGAIN", "EINTR"] {
        let Some(t) = trace(&[&format!("openat2:error={error}")]) else { return };
        t.all_ok();
        t.made(&[("openat(", "\"d\", O_RDONLY"), ("openat(", "\"b\", O_RDONLY")]);
    }
}

#[test]
fn errors_keep_their_kind_and_code() {
    for (fault, answer) in [
        ("pwrite64:error=ENOSPC:when=1", "write_at: WriteAt NoSpace Some(28)"),
        ("fallocate:error=EDQUOT:when=1", "allocate: Allocate NoSpace Some(122)"),
        ("fdatasync:error=EROFS:when=1", "sync: Sync Denied Some(30)"),
        ("preadv2:error=EIO:when=1", "read_at: ReadAt Device Some(5)"),
        ("renameat2:error=EIO:when=1", "rename: Rename Device Some(5)"),
        ("unlinkat:error=EACCES:when=1", "remove_dir: RemoveDir Denied Some(13)"),
    ] {
        let Some(t) = trace(&[fault]) else { return };
        t.answered(answer);
    }
}
