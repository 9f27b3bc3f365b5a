//! Goal: a full disk can be emptied. Puts are refused and told how much is lacking, reads, deletes, flushes and the
//! deletion of spaces go on within the reserve, an opening after a kill too; once there is room puts resume by themselves.
//! Method: a small file system in memory, filled to its last page by somebody else; the reserve's file looked at on any.

use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, ErrorKind, Options, ReserveStats, Space, SpaceId, TierOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system of 24 MiB in memory, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: PathBuf, what: &str) -> Option<Mounted> {
        std::fs::create_dir(&path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&path).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Mounted(path));
        }
        // Not a print macro: the test harness keeps those to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED 1: {what} (not allowed to mount)");
        None
    }

    /// Somebody else takes every page that is free.
    fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 16, 1 << 12] {
            while file.write_all(&vec![0xBA; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn options(reserve_bytes: u64) -> Options {
    let tiers = TierOptions { memtable_bytes: 128 * 1024, log_bytes: 1 << 20, ..TierOptions::default() };
    Options { reserve_bytes, segment_max: 128 * 1024, tiers, ..Options::default() }
}

async fn open(root: &Path, reserve: u64) -> Engine {
    Engine::open(OsEnv::current(), root, options(reserve)).await.unwrap()
}

async fn space(engine: &Engine, id: &str) -> Space {
    engine.get_or_create_space(&SpaceId::new(id).unwrap()).await.unwrap()
}

fn key(n: usize) -> String {
    format!("key {n:06}")
}

/// Puts until all log space is used up; what the first put that found none was told.
async fn refused(space: &Space) -> String {
    for n in 0..10_000 {
        if let Err(e) = space.put(format!("more {n}"), [7; 1000]).await {
            assert_eq!(e.kind(), ErrorKind::NoSpace, "{e}");
            return e.to_string();
        }
    }
    panic!("a full disk takes whatever comes");
}

async fn resumes(space: &Space) {
    let started = Instant::now();
    while let Err(e) = space.put("again", "taken").await {
        assert_eq!(e.kind(), ErrorKind::NoSpace, "{e}");
        assert!(started.elapsed() < Duration::from_secs(20), "there is room, and still: {e}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_can_be_emptied_and_puts_resume_by_themselves() {
    let temp = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(temp.path().join("mnt"), "a full disk that is emptied") else { return };
    let root = disk.0.join("data");
    let engine = open(&root, 16 << 20).await;
    let (alpha, beta) = (space(&engine, "alpha").await, space(&engine, "beta").await);
    for n in 0..2000 {
        alpha.put(key(n), vec![n as u8; 1000]).await.unwrap();
    }
    beta.put("there", "it is").await.unwrap();
    let whole = engine.reserve();
    assert_eq!((whole.bytes, whole.held), (24 << 16, 24 << 16), "a sixteenth of the disk");
    assert!(!whole.holds_puts && whole.lent == 0, "{whole:?}");

    disk.fill();
    let told = refused(&alpha).await;
    assert!(told.contains("free") && told.contains("bytes"), "{told}");
    // More deletes than there is log space left. A flush that found less room than the file system had told, as one in memory
    // does that counts roughly, is tried again within half a second: until then a delete may be told so.
    let began = Instant::now();
    for n in 0..1500 {
        while let Err(e) = alpha.delete(key(n)).await {
            let stands = engine.reserve();
            let may = e.kind() == ErrorKind::NoSpace && stands.held > 0 && began.elapsed().as_secs() < 30;
            assert!(may, "{n}: {e}, {stands:?}");
            tokio::task::yield_now().await;
        }
    }
    let lent = engine.reserve();
    assert!(lent.lent > 0 && lent.held < lent.bytes && lent.ran_out == 0, "{lent:?}");
    alpha.flush(Durability::Power).await.unwrap();
    assert_eq!(alpha.get(key(7)).await.unwrap(), None);
    assert_eq!(alpha.get(key(1999)).await.unwrap().unwrap().len(), 1000, "reads go on");
    // Whatever flushes gave back, somebody else takes it.
    disk.fill();
    let told = beta.put("not", "now").await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoSpace, "the other space has log space left, and may not use it");
    let text = told.to_string();
    assert!(text.contains("lacks") && text.contains("are free"), "{text}");
    alpha.delete_range(key(1500)..key(1900)).await.unwrap();
    engine.delete_space(beta.id()).await.unwrap();

    disk.empty();
    resumes(&alpha).await;
    let again = engine.reserve();
    assert!(again.held == whole.bytes && again.made >= 2 && !again.holds_puts, "{again:?}");
    engine.close().await.unwrap();
    let engine = open(&root, 16 << 20).await;
    let alpha = space(&engine, "alpha").await;
    assert_eq!(alpha.get(key(1499)).await.unwrap(), None);
    assert_eq!(alpha.get("again").await.unwrap().unwrap()[..], *b"taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_a_space_gives_a_full_disk_its_room_back() {
    let temp = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(temp.path().join("mnt"), "a full disk that is cleared") else { return };
    let engine = open(&disk.0.join("data"), 16 << 20).await;
    let alpha = space(&engine, "alpha").await;
    for n in 0..4000 {
        alpha.put(key(n), vec![n as u8; 1000]).await.unwrap();
    }
    disk.fill();
    refused(&alpha).await;
    alpha.clear().await.unwrap();
    // Nobody but the space itself makes room.
    resumes(&alpha).await;
    assert_eq!(engine.reserve().ran_out, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_was_killed_opens_on_a_full_disk() {
    let temp = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(temp.path().join("mnt"), "an opening on a full disk") else { return };
    let (first, root) = (disk.0.join("first"), disk.0.join("data"));
    let engine = open(&first, 16 << 20).await;
    let alpha = space(&engine, "alpha").await;
    for n in 0..50 {
        let commit = alpha.put_commit(key(n), [1; 100]).await.unwrap();
        commit.durable(Durability::Process).await.unwrap();
    }
    crate::killed::copy_tree(&first, &root).unwrap();
    engine.close().await.unwrap();
    std::fs::remove_dir_all(&first).unwrap();
    disk.fill();
    let engine = open(&root, 16 << 20).await;
    let alpha = space(&engine, "alpha").await;
    assert!(alpha.recovery_report().copied_forward > 0, "its log had no seal");
    assert_eq!(alpha.get(key(49)).await.unwrap().unwrap().len(), 100);
    assert_eq!(engine.reserve().lent, 1, "{:?}", engine.reserve());
    // Somebody else takes what the old log's end gave back.
    disk.fill();
    alpha.delete(key(49)).await.unwrap();
    assert_eq!(alpha.put("k", "v").await.unwrap_err().kind(), ErrorKind::NoSpace);
    disk.empty();
    resumes(&alpha).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reserve_a_full_disk_refuses_deletes_too() {
    let temp = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(temp.path().join("mnt"), "a full disk without a reserve") else { return };
    let engine = open(&disk.0.join("data"), 0).await;
    let alpha = space(&engine, "alpha").await;
    alpha.put(key(1), [1; 100]).await.unwrap();
    disk.fill();
    refused(&alpha).await;
    let deletes = async {
        for n in 0..10_000 {
            alpha.delete(key(n)).await?;
        }
        Ok(())
    };
    let told: Result<(), bulkhead::Error> = deletes.await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(engine.reserve(), ReserveStats::default());
    disk.empty();
    resumes(&alpha).await;
}

/// Length of the reserve's file, if there is one.
fn file(root: &Path) -> Option<u64> {
    std::fs::metadata(root.join(".reserve")).ok().map(|m| m.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_is_made_with_the_first_log_space_and_is_as_large_as_configured() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let engine = open(root, 1 << 20).await;
    let alpha = space(&engine, "alpha").await;
    assert_eq!(
        (alpha.get("k").await.unwrap(), file(root)),
        (None, None),
        "an engine that only reads needs none"
    );
    assert_eq!(engine.reserve(), ReserveStats::default());
    alpha.put("k", "v").await.unwrap();
    assert_eq!(file(root), Some(1 << 20));
    for n in 0..50 {
        space(&engine, &format!("other-{n}")).await.put("k", "v").await.unwrap();
    }
    assert_eq!((file(root), engine.reserve().made), (Some(1 << 20), 1), "one for all spaces");
    engine.close().await.unwrap();
    for (configured, length) in [(2 << 20, Some(2 << 20)), (64 << 10, Some(64 << 10)), (0, None)] {
        let engine = open(root, configured).await;
        assert!(engine.list_spaces().ignored.is_empty(), "it is no stranger");
        space(&engine, "alpha").await.put("k", "v").await.unwrap();
        assert_eq!(file(root), length, "configured as {configured}");
        engine.close().await.unwrap();
    }
    // Something else has its name: it stays, and puts go on without.
    std::fs::create_dir(root.join(".reserve")).unwrap();
    let engine = open(root, 1 << 20).await;
    assert_eq!(engine.list_spaces().ignored.len(), 1);
    space(&engine, "alpha").await.put("k", "v").await.unwrap();
    assert_eq!(engine.reserve().bytes, 0);
}
