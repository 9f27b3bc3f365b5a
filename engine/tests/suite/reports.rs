//! Goal: what a recovery report counts is exactly what was there (commits, operations, torn bytes, discarded frames,
//! last LSN). Method: real files; frames of a known length, of which the tail is damaged by hand after a kill.

use crate::killed::copy_tree;
use bulkhead::env::os::OsEnv;
use bulkhead::wal::frame::{Frame, FrameKind, Place, frame_len};
use bulkhead::wal::operation::Operation;
use bulkhead::{Durability, Engine, Lsn, Options, Priority, RecoveryReport, RecoveryStatus, SpaceId};
use std::path::{Path, PathBuf};

const KEY: &[u8] = b"a key of sixteen";
/// No zero anywhere: then every byte of a frame's body counts.
const VALUE: &[u8] = &[7; 130];

async fn open(root: &Path) -> Engine {
    let hour = 3_600_000;
    let options = Options {
        durability: Durability::Process,
        flush_interval_ms: hour,
        idle_seal_ms: hour,
        ..Options::default()
    };
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

/// Ten puts, each acknowledged at `Process` and so a frame of its own, none of them proven durable; then what a kill
/// leaves. Returns the directory, the segment's path within it, and the LSNs.
async fn killed() -> (tempfile::TempDir, PathBuf, Vec<Lsn>) {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir.path().join("root")).await;
    let space = engine.create_space(&SpaceId::new("alpha").unwrap()).await.unwrap();
    let mut lsns = Vec::new();
    for _ in 0..10 {
        lsns.push(space.put(KEY, VALUE).await.unwrap());
    }
    let from = dir.path().join("root");
    copy_tree(&from, &dir.path().join("killed")).unwrap();
    engine.close().await.unwrap();
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(dir.path().join("killed/alpha/wal")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| std::fs::read(path).unwrap()[4096..].iter().any(|&b| b != 0));
    assert_eq!(segments.len(), 1, "ten small puts fit into one segment");
    (dir, segments.remove(0), lsns)
}

async fn report(root: &Path) -> RecoveryReport {
    let engine = open(root).await;
    let mut reports = engine.recover_all().await.unwrap();
    engine.close().await.unwrap();
    reports.remove(0)
}

/// Where the ten frames of commits begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let tag = u64::from_le_bytes(bytes[4096..4104].try_into().unwrap());
    let (mut at, mut starts) = (4096, Vec::new());
    while let Some(frame) = Frame::verify(&bytes[at..], Place { tag, offset: at as u64 }) {
        if frame.head().kind == FrameKind::Commits {
            starts.push(at);
        }
        at += frame.len();
    }
    starts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reports_counts_are_those_of_the_damage() {
    let body = 1 + Operation::Put { key: KEY, value: VALUE, priority: Priority::default() }.encoded_len();
    let len = frame_len(body);
    // What a crash left of frame 7 and of those behind it, and what a report has to say: torn bytes, discarded frames.
    type Crash = (&'static str, fn(&mut [u8], usize), u64, u64);
    let whole_tail = 3 * len as u64;
    let crashes: [Crash; 4] = [
        ("one bit of its value", |tail, _| tail[100] ^= 1, whole_tail, 2),
        ("its first 77 bytes alone", |tail, _| tail[77..].fill(0), 77, 0),
        ("nothing, and those behind it", |tail, len| tail[..len].fill(0), whole_tail, 2),
        ("nothing at all", |tail, _| tail.fill(0), 0, 0),
    ];
    for (what, crash, torn, discarded) in crashes {
        let (dir, segment, lsns) = killed().await;
        let mut bytes = std::fs::read(&segment).unwrap();
        let starts = starts(&bytes);
        assert_eq!(starts.len(), 10);
        assert!(starts.windows(2).all(|w| w[1] - w[0] == len), "frames of {len} bytes: {starts:?}");
        // The last frame ends with its body's last byte, or the zeros behind that are no torn bytes.
        let padding = (len - 48 - body) as u64;
        crash(&mut bytes[starts[7]..], len);
        std::fs::write(&segment, bytes).unwrap();
        let report = report(&dir.path().join("killed")).await;
        let torn = if torn == whole_tail { torn - padding } else { torn };
        let told = (report.commits, report.operations, report.torn_bytes, report.discarded_frames);
        assert_eq!(told, (7, 7, torn, discarded), "{what}: {report:?}");
        assert_eq!((report.last_lsn, report.copied_forward), (lsns[6], 7), "{what}");
        let status = if torn > 0 { RecoveryStatus::TornTail } else { RecoveryStatus::Clean };
        assert_eq!((report.status, &report.damage, &report.error), (status, &None, &None), "{what}");
    }
}
