//! Goal: what one space does, suffers and recovers never shows in another, on the real file system. Method: two or
//! three spaces in one data root; their trees are compared byte by byte, by inode and by time, around writes, restarts
//! and kills of a real process. There are no tables and no deletion of spaces yet: all of it concerns the log.
use bulkhead::env::os::OsEnv;
use bulkhead::{
    Batch, Direction, Durability, Engine, ErrorKind, Lsn, Options, RecoveryStatus, Rejected, Space, SpaceId,
    WriteOptions,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// In memory where that is possible: what a kill leaves does not depend on the disk.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

/// Nothing is synced or sealed by the clock: what is on the disk follows from the calls alone.
pub fn options() -> Options {
    Options {
        segment_first: 16 * 1024,
        flush_interval_ms: 3_600_000,
        idle_seal_ms: 3_600_000,
        ..Options::default()
    }
}

pub async fn open(root: &Path) -> Engine {
    Engine::open(OsEnv::current(), root, options()).await.unwrap()
}

/// A file or directory: inode, time of the last change, content or what else it is.
pub type Seen = (u64, i64, i64, Vec<u8>);

/// Everything below `path`, by relative name; symbolic links are not followed.
pub fn tree(path: &Path) -> BTreeMap<String, Seen> {
    fn walk(path: &Path, name: &str, into: &mut BTreeMap<String, Seen>) {
        let m = std::fs::symlink_metadata(path).unwrap();
        let content = match () {
            () if m.is_file() => std::fs::read(path).unwrap(),
            () if m.is_symlink() => std::fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
            () => b"directory".to_vec(),
        };
        into.insert(name.to_owned(), (m.ino(), m.mtime(), m.mtime_nsec(), content));
        if m.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                walk(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), into);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(path, "", &mut all);
    all
}

/// What a kill would leave: a copy taken while the engine has the files open loses nothing that was written. It begins anew
/// if a file goes under it, as a manifest does that another one has replaced.
pub fn copy_tree(from: &Path, to: &Path) {
    fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &target)?;
            } else {
                std::fs::copy(entry.path(), &target)?;
            }
        }
        Ok(())
    }
    while let Err(e) = copy(from, to) {
        assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{e}");
        std::fs::remove_dir_all(to).unwrap();
    }
}

/// All entries of a space.
pub async fn entries(space: &Space) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut scan = space.scan::<&[u8]>(.., Direction::Ascending);
    let mut all = BTreeMap::new();
    while let Some((key, value)) = scan.next().await.unwrap() {
        all.insert(key.to_vec(), value.to_vec());
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_spaces_share_no_file_and_no_byte() {
    let temp = scratch();
    let engine = open(temp.path()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    for i in 0..60u32 {
        alpha.put(format!("k{i}"), [b"ALPHA-TENANT-MARKER".as_slice(), &[b'.'; 700]].concat()).await.unwrap();
        beta.put(format!("k{i}"), [b"BETA-TENANT-MARKER".as_slice(), &[b'.'; 300]].concat()).await.unwrap();
    }
    engine.close().await.unwrap();
    let (a, b) = (tree(&temp.path().join("alpha")), tree(&temp.path().join("beta")));
    for dir in ["/wal", "/hot", "/warm", "/cold", "/SPACE"] {
        assert!(a.contains_key(dir) && b.contains_key(dir), "{dir}");
    }
    assert!(a.keys().filter(|n| n.starts_with("/wal/")).count() > 2, "alpha's log has several segments");
    for (name, seen) in &b {
        assert!(!a.values().any(|other| other.0 == seen.0), "beta{name} is a file of alpha's too");
        assert!(!contains(&seen.3, b"ALPHA-TENANT-MARKER"), "alpha's bytes lie in beta{name}");
    }
    assert!(
        a.values().any(|seen| contains(&seen.3, b"ALPHA-TENANT-MARKER")),
        "the search finds what is there"
    );
    assert!(!a.values().any(|seen| contains(&seen.3, b"BETA-TENANT-MARKER")));
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_alpha_leaves_beta_as_it_is() {
    let temp = scratch();
    let (root, killed) = (temp.path().join("root"), temp.path().join("killed"));
    let engine = open(&root).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    for i in 0..30u32 {
        alpha.put(format!("a{i}"), "alpha's").await.unwrap();
        beta.put(format!("b{i}"), "beta's").await.unwrap();
    }
    let (of_alpha, of_beta) = (entries(&alpha).await, entries(&beta).await);
    copy_tree(&root, &killed);
    engine.close().await.unwrap();

    let before = tree(&killed.join("beta"));
    let engine = open(&killed).await;
    let alpha = engine.space(&id("alpha")).await.unwrap();
    let report = alpha.recovery_report();
    assert_eq!((report.commits, report.operations, report.last_lsn), (30, 30, alpha.last_lsn()));
    assert_eq!(entries(&alpha).await, of_alpha);
    alpha.put("more", "work in alpha").await.unwrap();
    assert_eq!(tree(&killed.join("beta")), before, "opening and writing alpha changed a file of beta's");
    let beta = engine.space(&id("beta")).await.unwrap();
    assert_eq!(entries(&beta).await, of_beta);
    engine.close().await.unwrap();

    // Closed cleanly, beta is opened and read without a single change.
    let before = tree(&killed.join("beta"));
    let engine = open(&killed).await;
    let reports = engine.recover_all().await.unwrap();
    let told: Vec<_> = reports.iter().map(|r| (r.id.as_str(), r.status, r.commits)).collect();
    assert_eq!(told, [("alpha", RecoveryStatus::Clean, 31), ("beta", RecoveryStatus::Clean, 30)]);
    assert_eq!(entries(&engine.space(&id("beta")).await.unwrap()).await, of_beta);
    engine.close().await.unwrap();
    assert_eq!(tree(&killed.join("beta")), before);
}

/// Set for another process: the data root to work in, and what to do there.
const ROOT: &str = "BULKHEAD_TEST_ROOT";
const DO: &str = "BULKHEAD_TEST_DO";

/// The process that is killed. As a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_other_process() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let engine = open(Path::new(&root)).await;
    if std::env::var(DO).unwrap() == "hold" {
        println!("\nack 0");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let alpha = engine.space(&id("alpha")).await.unwrap();
    let mut n = entries(&alpha).await.len() as u32 / 3;
    loop {
        let mut batch = Batch::new();
        for part in 0..3u8 {
            batch.put([&n.to_be_bytes()[..], &[part]].concat(), format!("ALPHA-TENANT-MARKER {n}"));
        }
        let commit = alpha.write(&batch, WriteOptions::default()).await.unwrap();
        commit
            .durable(if n.is_multiple_of(2) { Durability::Power } else { Durability::Process })
            .await
            .unwrap();
        println!("\nack {n}");
        n += 1;
    }
}

/// Killed when dropped, so that a failing test leaves nothing behind.
pub struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Other {
    fn start(root: &Path, task: &str) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "multi_space_persistence::the_other_process", "--nocapture"])
            .env(ROOT, root)
            .env(DO, task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Other { child, lines }
    }

    /// The next acknowledgement; `None` when the process has ended.
    fn acknowledged(&mut self) -> Option<u32> {
        self.lines.by_ref().map_while(Result::ok).find_map(|l| l.strip_prefix("ack ")?.parse().ok())
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_a_writing_process_lose_nothing_acknowledged_and_touch_no_neighbour() {
    // As many as time allows, unless it is said how many.
    let ordered: Option<u32> =
        std::env::var("BULKHEAD_TEST_KILLS").ok().map(|n| n.parse().expect("a number of kills"));
    let (most, budget) = match ordered {
        Some(n) => (n, Duration::MAX),
        None => (200, Duration::from_secs(20)),
    };
    let temp = scratch();
    let root = temp.path().join("root");
    let engine = open(&root).await;
    engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    for i in 0..20u32 {
        beta.put(format!("b{i}"), "beta's").await.unwrap();
    }
    let of_beta = entries(&beta).await;
    engine.close().await.unwrap();
    drop((engine, beta));
    let before = tree(&root.join("beta"));

    let started = Instant::now();
    let (mut kills, mut recovered, mut chance) = (0, 0u32, 0x2545_f491_4f6c_dd1d_u64);
    while kills < most && started.elapsed() < budget {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut other = Other::start(&root, "write");
        let mut acked = None;
        // One time in four while it starts and recovers, else after a few acknowledgements.
        if chance >> 62 == 0 {
            let until = Instant::now() + Duration::from_micros((chance >> 32) % 12_000);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        } else {
            for _ in 0..=(chance >> 40) % 8 {
                acked = other.acknowledged();
            }
        }
        other.kill();
        // What it had said before it was killed and nobody had read yet.
        while let Some(ack) = other.acknowledged() {
            acked = Some(ack);
        }
        kills += 1;
        assert_eq!(tree(&root.join("beta")), before, "kill {kills} changed a file of beta's");
        let engine = open(&root).await;
        let reports = engine.recover_all().await.unwrap();
        assert_eq!(reports.len(), 2);
        assert_eq!((reports[1].status, reports[1].commits), (RecoveryStatus::Clean, 20), "{reports:?}");
        let alpha = entries(&engine.space(&id("alpha")).await.unwrap()).await;
        assert_eq!(alpha.len() % 3, 0, "kill {kills}: a batch is there in part");
        let there = alpha.len() as u32 / 3;
        for (i, (key, value)) in alpha.iter().enumerate() {
            let (n, part) = (i as u32 / 3, (i % 3) as u8);
            assert_eq!(*key, [&n.to_be_bytes()[..], &[part]].concat(), "kill {kills}: a hole");
            assert_eq!(*value, format!("ALPHA-TENANT-MARKER {n}").as_bytes());
        }
        assert!(there >= recovered.max(acked.map_or(0, |n| n + 1)), "kill {kills}: {there} of {acked:?}");
        recovered = there;
        if kills.is_multiple_of(50) {
            assert_eq!(entries(&engine.space(&id("beta")).await.unwrap()).await, of_beta);
        }
        engine.close().await.unwrap();
    }
    println!("{kills} kills, {recovered} batches, {:?}", started.elapsed());
    assert!(
        kills >= 20 && recovered > kills,
        "{kills} kills, {recovered} batches in {:?}",
        started.elapsed()
    );
    assert_eq!(tree(&root.join("beta")), before);
    assert!(!before.values().any(|seen| contains(&seen.3, b"ALPHA-TENANT-MARKER")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_by_pid_and_a_killed_one_is_in_nobodys_way() {
    let temp = scratch();
    let mut other = Other::start(temp.path(), "hold");
    assert_eq!(other.acknowledged(), Some(0));
    let refused = Engine::open(OsEnv::current(), temp.path(), options()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::Locked));
    assert!(refused.to_string().contains(&format!("pid={}", other.child.id())), "{refused}");
    other.kill();
    open(temp.path()).await.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_numbers_rise_over_a_hundred_reopenings_and_are_dense_within_each() {
    let temp = scratch();
    let mut root = temp.path().join("0");
    let mut engine = open(&root).await;
    engine.create_space(&id("s")).await.unwrap();
    let mut lsns: Vec<Lsn> = Vec::new();
    for cycle in 1..=100u32 {
        let space = engine.space(&id("s")).await.unwrap();
        let first = space.put(format!("{cycle}"), "1").await.unwrap();
        let second = space.put(format!("{cycle}"), "2").await.unwrap();
        assert_eq!(second, first.next());
        assert!(lsns.last().is_none_or(|last| *last < first && last.epoch() <= first.epoch()));
        lsns.extend([first, second]);
        if cycle.is_multiple_of(3) {
            let next = temp.path().join(cycle.to_string());
            copy_tree(&root, &next);
            engine.close().await.unwrap();
            std::fs::remove_dir_all(&root).unwrap();
            root = next;
        } else {
            engine.close().await.unwrap();
        }
        engine = open(&root).await;
    }
    let space = engine.space(&id("s")).await.unwrap();
    assert_eq!(entries(&space).await.len(), 100);
    assert_eq!((space.recovery_report().commits, space.last_lsn()), (200, *lsns.last().unwrap()));
    for lsn in lsns {
        assert_eq!(space.outcome(lsn).unwrap(), bulkhead::Outcome::Present, "{lsn}");
    }
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_writer_wins_and_deletes_stay_deleted_after_a_close_and_after_a_kill() {
    let temp = scratch();
    let root = temp.path().join("root");
    let engine = open(&root).await;
    let space = engine.create_space(&id("s")).await.unwrap();
    for i in 0..30u32 {
        space.put(format!("k{i}"), "OLD").await.unwrap();
    }
    for i in 0..20u32 {
        space.put(format!("k{i}"), "NEW").await.unwrap();
    }
    for i in (0..30u32).step_by(3) {
        space.delete(format!("k{i}")).await.unwrap();
    }
    space.put("k3", "AGAIN").await.unwrap();
    let expected = entries(&space).await;
    assert_eq!((expected.len(), &expected[&b"k3"[..]]), (21, &b"AGAIN".to_vec()));
    copy_tree(&root, &temp.path().join("killed"));
    engine.close().await.unwrap();
    for root in [root, temp.path().join("killed")] {
        let engine = open(&root).await;
        assert_eq!(entries(&engine.space(&id("s")).await.unwrap()).await, expected);
        engine.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_engine_holds_no_file_open() {
    let temp = scratch();
    let root = temp.path().canonicalize().unwrap();
    let open_files = || -> Vec<_> {
        let fds = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|e| std::fs::read_link(e.ok()?.path()).ok());
        fds.filter(|path| path.starts_with(&root)).collect()
    };
    let engine = open(&root).await;
    let space = engine.create_space(&id("s")).await.unwrap();
    space.put("k", "v").await.unwrap();
    assert!(!open_files().is_empty());
    engine.close().await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(space.put("k", "v").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.space(&id("s")).await.unwrap_err().kind(), ErrorKind::Closed);
    drop((engine, space));
    let started = Instant::now();
    while !open_files().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", open_files());
        tokio::task::yield_now().await;
    }
}
