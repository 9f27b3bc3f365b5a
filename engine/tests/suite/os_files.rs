//! Goal: what only a real file system can be asked: symbolic links, modes, foreign kinds of files, reads that have to
//! wait for the device, a full and a read-only file system, panics in tasks. Method: a temporary directory that the
//! test also looks at with std; file systems of its own where it may mount (else a notice says that it may not).

use bulkhead::env::os::{OsEnv, OsOptions, block_on};
use bulkhead::env::{Access, Dir, DirEntry, EntryKind, Env, Io, IoError, IoErrorKind, IoOp, Missing, Owner};
use rustix::fs::{Advice, CWD, FileType, Mode};
use std::fmt::Debug;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// An environment on a runtime of its own, and a temporary directory opened with it.
struct World {
    env: Arc<OsEnv>,
    dir: Arc<dyn Dir>,
    path: PathBuf,
    _runtime: tokio::runtime::Runtime,
    _temp: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let temp = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
        let path = temp.path().join("root");
        let dir = block_on(env.open_root(&path, Missing::Create)).unwrap();
        World { env, dir, path, _runtime: runtime, _temp: temp }
    }
}

fn refused<T: Debug + Unpin>(kind: IoErrorKind, io: Io<T>) -> IoError {
    let error = block_on(io).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    error
}

#[test]
fn symbolic_links_are_seen_and_never_followed() {
    let w = World::new();
    std::fs::create_dir(w.path.join("real-dir")).unwrap();
    std::fs::write(w.path.join("real"), "content").unwrap();
    for (target, link) in [("real", "to-file"), ("real-dir", "to-dir"), ("nowhere", "to-nothing")] {
        symlink(target, w.path.join(link)).unwrap();
        for access in [Access::ReadStrict, Access::ReadRaw, Access::Write] {
            refused(IoErrorKind::NotOurs, w.dir.open(link, access));
        }
        refused(IoErrorKind::AlreadyExists, w.dir.create(link));
        refused(IoErrorKind::AlreadyExists, w.dir.make_dir(link));
        refused(IoErrorKind::AlreadyExists, w.dir.rename("real", link));
        refused(IoErrorKind::NotOurs, w.dir.open_dir(link));
        refused(IoErrorKind::NotOurs, w.dir.remove_dir(link));
        refused(IoErrorKind::NotOurs, w.dir.lock(link));
        assert_eq!(block_on(w.dir.metadata(link)).unwrap().kind, EntryKind::Symlink);
        let entry = DirEntry { name: link.into(), kind: EntryKind::Symlink };
        assert!(block_on(w.dir.list()).unwrap().contains(&entry));
        block_on(w.dir.rename(link, "moved")).unwrap();
        assert_eq!(
            std::fs::read_link(w.path.join("moved")).unwrap(),
            Path::new(target),
            "the link itself moves"
        );
        block_on(w.dir.remove("moved")).unwrap();
    }
    assert!(!w.path.join("nowhere").exists(), "nothing was made behind a link");
    assert_eq!(std::fs::read_to_string(w.path.join("real")).unwrap(), "content");
    assert!(w.path.join("real-dir").is_dir());
}

#[test]
fn the_root_alone_may_be_a_link_and_must_lead_somewhere() {
    let w = World::new();
    symlink("nowhere", w.path.join("dangling")).unwrap();
    let dangling = w.path.join("dangling");
    refused(IoErrorKind::NotOurs, w.env.open_root(&dangling, Missing::Create));
    refused(IoErrorKind::NotOurs, w.env.open_root(&dangling.join("below"), Missing::Create));
    refused(IoErrorKind::NotFound, w.env.open_root(&dangling, Missing::Refuse));
    assert!(!w.path.join("nowhere").exists());
    symlink(".", w.path.join("to-root")).unwrap();
    let through = block_on(w.env.open_root(&w.path.join("to-root"), Missing::Refuse)).unwrap();
    block_on(through.make_dir("d")).unwrap();
    assert!(w.path.join("d").is_dir());
    block_on(w.env.sync_parent(&w.path.join("to-root"))).unwrap();
    block_on(w.env.sync_parent(Path::new("/"))).unwrap();
    refused(IoErrorKind::NotFound, w.env.open_root(&w.path.join("missing/.."), Missing::Create));
}

#[test]
fn only_the_owner_may_read_what_is_made() {
    let w = World::new();
    block_on(w.dir.create("file")).unwrap();
    block_on(w.dir.make_dir("dir")).unwrap();
    let _lock = block_on(w.dir.lock("lock")).unwrap();
    let deep = w.path.join("x/y");
    block_on(w.env.open_root(&deep, Missing::Create)).unwrap();
    for (name, mode) in
        [("file", 0o600), ("dir", 0o700), ("lock", 0o600), ("x", 0o700), ("x/y", 0o700), ("", 0o700)]
    {
        let found = std::fs::metadata(w.path.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name:?} has mode {found:o}");
    }
}

#[test]
fn foreign_kinds_of_files_are_refused_without_waiting_for_them() {
    let w = World::new();
    rustix::fs::mknodat(CWD, w.path.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(w.path.join("socket")).unwrap();
    for name in ["fifo", "socket"] {
        for access in [Access::ReadStrict, Access::ReadRaw, Access::Write] {
            refused(IoErrorKind::NotOurs, w.dir.open(name, access));
        }
        refused(IoErrorKind::NotOurs, w.dir.open_dir(name));
        refused(IoErrorKind::NotOurs, w.dir.lock(name));
        assert_eq!(block_on(w.dir.metadata(name)).unwrap().kind, EntryKind::Other);
    }
    let odd = std::ffi::OsString::from_vec(vec![b'n', 0xff, b'\n']);
    std::fs::write(w.path.join(&odd), "").unwrap();
    let listed = block_on(w.dir.list()).unwrap();
    assert!(listed.contains(&DirEntry { name: odd, kind: EntryKind::File }), "names need not be text");
}

#[test]
fn reads_that_wait_for_the_device_give_the_same_bytes() {
    let w = World::new();
    let content: Vec<u8> = (0..400_000_u32).map(|n| (n * 7 % 253) as u8).collect();
    let file = block_on(w.dir.create("a")).unwrap();
    block_on(file.write_at(0, content.clone())).unwrap();
    block_on(file.sync()).unwrap();
    let std_file = std::fs::File::open(w.path.join("a")).unwrap();
    for warm in [0, 8_192, 200_000] {
        rustix::fs::fadvise(&std_file, 0, None, Advice::DontNeed).unwrap();
        // Part of the range is in the page cache again: a read may begin here and end on the pool.
        block_on(file.read_at(0, vec![0; warm])).unwrap();
        let reads: Vec<_> = (0..10).map(|n| file.read_at(n * 40_000, vec![0; 50_000])).collect();
        for (n, read) in reads.into_iter().enumerate() {
            let end = content.len().min(n * 40_000 + 50_000);
            assert!(block_on(read).unwrap() == content[n * 40_000..end], "{warm} warm, read {n}");
        }
        rustix::fs::fadvise(&std_file, 0, None, Advice::DontNeed).unwrap();
        let all = block_on(file.read_at(0, vec![0; content.len() + 10])).unwrap();
        assert!(all == content, "{warm} warm, all at once");
    }
}

#[test]
fn a_task_that_panics_ends_alone() {
    let w = World::new();
    w.env.spawn(Owner(1), "panics at once", Box::pin(async { panic!("on purpose") }));
    let nap = w.env.sleep(Owner(1), Duration::from_millis(1));
    w.env.spawn(
        Owner(1),
        "panics later",
        Box::pin(async move {
            nap.await;
            panic!("on purpose, {}", 2);
        }),
    );
    let (completer, io) = Io::pending();
    w.env.spawn(Owner(1), "goes on", Box::pin(async move { completer.complete(Ok(3)) }));
    assert_eq!(block_on(io), Ok(3));
    block_on(w.env.sleep(Owner(1), Duration::from_millis(5)));
    let (completer, io) = Io::pending();
    w.env.spawn(Owner(1), "goes on", Box::pin(async move { completer.complete(Ok(4)) }));
    assert_eq!(block_on(io), Ok(4));
}

/// A small file system in memory, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path) -> Option<Mounted> {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Mounted(path.to_path_buf())),
            _ => {
                // Not a print macro: the test harness keeps those to itself.
                let notice = "SKIPPED 1: a full and a read-only file system (not allowed to mount)";
                let _ = writeln!(std::io::stderr(), "{notice}");
                None
            }
        }
    }

    fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_and_a_read_only_file_system_refuse_by_name() {
    let w = World::new();
    let path = w.path.join("mnt");
    std::fs::create_dir(&path).unwrap();
    let Some(mounted) = Mounted::new(&path) else { return };
    let dir = block_on(w.env.open_root(&path, Missing::Refuse)).unwrap();
    let _lock = block_on(dir.lock(".lock")).unwrap();
    let file = block_on(dir.create("a")).unwrap();
    let error = refused(IoErrorKind::NoSpace, file.allocate(1 << 20));
    assert_eq!((error.op, error.os), (IoOp::Allocate, Some(28)));
    refused(IoErrorKind::NoSpace, file.write_at(0, vec![1; 1 << 18]));
    refused(IoErrorKind::NoSpace, file.write_at(1 << 20, vec![1; 1 << 21]));
    drop(_lock);
    let lock = block_on(dir.lock(".lock")).expect("a full disk keeps nobody out");
    block_on(file.truncate(0)).unwrap();
    block_on(file.write_at(0, vec![1; 10])).expect("room again");
    block_on(file.sync()).unwrap();
    drop((file, lock));
    mounted.make_read_only();
    refused(IoErrorKind::Denied, dir.create("b"));
    refused(IoErrorKind::Denied, dir.make_dir("d"));
    refused(IoErrorKind::Denied, dir.rename("a", "b"));
    refused(IoErrorKind::Denied, dir.remove("a"));
    refused(IoErrorKind::Denied, dir.lock(".lock"));
    refused(IoErrorKind::Denied, dir.open("a", Access::Write));
    let file = block_on(dir.open("a", Access::ReadStrict)).unwrap();
    assert_eq!(block_on(file.read_at(0, vec![0; 20])).unwrap(), [1; 10]);
}
