//! Goal: a space survives any sequence of clean closes, kills and openings without a write in between. Method: real
//! files; a kill is a copy of the data root taken while the engine has it open, since a kill loses nothing that was
//! written; the copy is what the next process finds.

use crate::killed::copy_tree;
use bulkhead::env::os::OsEnv;
use bulkhead::{Engine, Options, RecoveryStatus, SpaceId};
use std::path::{Path, PathBuf};

/// In memory where that is possible: nothing here depends on a sync that reaches a disk.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Put,
    Close,
    Kill,
}

/// Every script of `len` steps; each ends one opening or puts one more key.
fn scripts(len: usize) -> Vec<Vec<Step>> {
    let mut all = vec![Vec::new()];
    for _ in 0..len {
        all = all
            .into_iter()
            .flat_map(|script: Vec<Step>| {
                [Step::Put, Step::Close, Step::Kill].map(|step| [script.clone(), vec![step]].concat())
            })
            .collect();
    }
    all
}

async fn open(root: &Path) -> Engine {
    // No flush and no seal but those that the script asks for.
    let options = Options {
        flush_interval_ms: 3_600_000,
        idle_seal_ms: 3_600_000,
        segment_first: 16 * 1024,
        ..Options::default()
    };
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

/// Runs `script` on an empty space and looks after every opening whether all is there.
async fn run(script: &[Step]) {
    let temp = scratch();
    let id = SpaceId::new("s").unwrap();
    let mut boot = 0;
    let mut root = temp.path().join("0");
    let mut engine = open(&root).await;
    let mut space = engine.create_space(&id).await.unwrap();
    let mut puts = 0u32;
    for (at, step) in script.iter().chain([&Step::Put, &Step::Close]).enumerate() {
        match step {
            Step::Put => {
                puts += 1;
                space
                    .put(puts.to_be_bytes(), b"v")
                    .await
                    .unwrap_or_else(|e| panic!("{script:?} step {at}: {e}"));
                continue;
            }
            Step::Close => engine.close().await.unwrap_or_else(|e| panic!("{script:?} step {at}: {e}")),
            Step::Kill => {
                boot += 1;
                let next = temp.path().join(boot.to_string());
                copy_tree(&root, &next).unwrap();
                root = next;
            }
        }
        engine = open(&root).await;
        space = engine.space(&id).await.unwrap_or_else(|e| panic!("{script:?} step {at}: {e}"));
        let report = space.recovery_report();
        assert_eq!(report.status, RecoveryStatus::Clean, "{script:?} step {at}: {report:?}");
        for put in 1..=puts {
            let got = space.get(put.to_be_bytes()).await.unwrap();
            assert!(got.is_some(), "{script:?} step {at}: put {put} is gone");
        }
    }
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_of_puts_closes_and_kills_keeps_every_put() {
    for script in scripts(5) {
        run(&script).await;
    }
}

/// The segment that ends in a seal, and the seal's offset.
fn seal_of(wal: &Path) -> (PathBuf, usize) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(wal).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().rev() {
        let bytes = std::fs::read(&file).unwrap();
        let last = (8..bytes.len() / 512).rev().map(|s| s * 512).find(|&at| bytes[at..at + 512] != [0; 512]);
        // The kind of a frame is its byte 16; a seal is 3.
        if let Some(at) = last
            && bytes[at + 16] == 3
        {
            return (file, at);
        }
    }
    panic!("no segment ends in a seal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_was_written_and_never_synced_costs_nothing() {
    let temp = scratch();
    let (root, id) = (temp.path().join("0"), SpaceId::new("s").unwrap());
    let engine = open(&root).await;
    let space = engine.create_space(&id).await.unwrap();
    space.put("a", "1").await.unwrap();
    engine.close().await.unwrap();
    // As if killed before the sync of the seal: the next process sees it all the same, and goes on behind it.
    let engine = open(&root).await;
    let space = engine.space(&id).await.unwrap();
    space.put("b", "2").await.unwrap();
    let next = temp.path().join("1");
    copy_tree(&root, &next).unwrap();
    // Then the power fails, and takes what was never synced.
    let (file, at) = seal_of(&next.join("s/wal"));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[at..at + 512].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let engine = open(&next).await;
    let space = engine.space(&id).await.unwrap();
    for (key, value) in [("a", "1"), ("b", "2")] {
        assert_eq!(space.get(key).await.unwrap().unwrap().to_vec(), value.as_bytes());
    }
    engine.close().await.unwrap();
}
