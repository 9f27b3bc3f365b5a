//! Goal: what was acknowledged is read back whatever bytes it consists of, zeros too, which look like log that nobody
//! wrote. Method: real files; a kill is a copy of the data root taken while the engine has it open.

use crate::killed::copy_tree;
use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, Options, RecoveryStatus, SpaceId};
use std::path::Path;

/// A copy of `from` as a kill leaves it: anew if the engine renamed a file of it meanwhile.
fn killed(from: &Path, to: &Path) {
    while let Err(e) = copy_tree(from, to) {
        assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
        std::fs::remove_dir_all(to).unwrap();
    }
}

async fn open(root: &Path) -> Engine {
    // No flush and no seal: the log ends with what the last put wrote. All of it fits into one segment, which is
    // longer than what is read at a time.
    let options = Options {
        flush_interval_ms: 3_600_000,
        idle_seal_ms: 3_600_000,
        segment_first: 16 << 20,
        segment_max: 16 << 20,
        ..Options::default()
    };
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

/// Puts values of `lens` zeros, kills, and looks whether all are there after a reopen, which finds nothing odd.
async fn survives(lens: &[usize]) {
    let temp = tempfile::tempdir().unwrap();
    let (before, after) = (temp.path().join("before"), temp.path().join("after"));
    let id = SpaceId::new("s").unwrap();
    let engine = open(&before).await;
    let space = engine.create_space(&id).await.unwrap();
    for (i, len) in lens.iter().enumerate() {
        // Written and not synced: a synced frame may be followed by a pad, which is not zeros.
        let commit = space.put_commit(format!("key {i}"), vec![0; *len]).await.unwrap();
        commit.durable(Durability::Process).await.unwrap();
    }
    killed(&before, &after);
    engine.close().await.unwrap();

    let engine = open(&after).await;
    let reports = engine.recover_all().await.unwrap();
    let space = engine.space(&id).await.unwrap();
    for (i, len) in lens.iter().enumerate() {
        let found = space.get(format!("key {i}")).await.unwrap().map(|v| v.to_vec());
        assert!(found == Some(vec![0; *len]), "value {i} of {lens:?} is lost or wrong: {reports:?}");
    }
    assert!(reports.iter().all(|r| r.status == RecoveryStatus::Clean && r.torn_bytes == 0), "{reports:?}");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_at_the_end_of_the_log_are_no_unwritten_space() {
    for lens in [&[3 << 20][..], &[1 << 20], &[4096, 0, (1 << 20) + 5], &[5 << 20, 2 << 20, 100], &[0]] {
        survives(lens).await;
    }
}
