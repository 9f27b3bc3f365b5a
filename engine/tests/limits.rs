//! Goal: limits of the engine are typed errors, and what was acknowledged in front of one stays readable. Method: the
//! real file system, driven up to the limit.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test")]
mod killed;

use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, ErrorKind, Options, SpaceId, SpaceState};
use killed::copy_tree;
use std::time::Duration;

/// Broke: the 4097th log segment of a space tripped an assertion of the manifest. In the space's task that fenced the
/// space as a bug of the engine; in recovery the opening task died and whoever waited for it waited for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_all_the_segments_that_a_manifest_lists_is_full_and_no_panic() {
    // In memory where there is such a place: thousands of syncs tell nothing here.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let options = Options {
        segment_first: 16 * 1024,
        segment_max: 16 * 1024,
        durability: Durability::Power,
        ..Options::default()
    };
    let id = SpaceId::new("a").unwrap();
    let engine = Engine::open(OsEnv::current(), dir.path(), options.clone()).await.unwrap();
    let space = engine.create_space(&id).await.unwrap();
    let mut put = 0u32;
    // Two to a segment: the second states that the first is durable, so recovery has to keep the segment.
    let full = loop {
        match space.put(put.to_be_bytes(), vec![7; 4000]).await {
            Ok(_) => put += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(full.kind(), ErrorKind::NoSpace, "{full}");
    assert!(full.to_string().contains("4096 segments"), "{full}");
    assert!(put >= 8000 && matches!(space.state(), SpaceState::Open), "{put}");
    // What a kill would leave: recovery has to copy forward, and finds no room for one more segment either.
    let killed = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    copy_tree(dir.path(), killed.path()).unwrap();
    engine.close().await.unwrap();

    let engine = Engine::open(OsEnv::current(), killed.path(), options.clone()).await.unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(60), engine.space(&id)).await.expect("an answer");
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused}");
    assert_eq!(engine.salvage(&id).await.unwrap().entries().len(), put as usize);
    engine.close().await.unwrap();

    let engine = Engine::open(OsEnv::current(), dir.path(), options).await.unwrap();
    let space = engine.space(&id).await.unwrap();
    assert!(space.get((put - 1).to_be_bytes()).await.unwrap().is_some());
    assert_eq!(space.put("k", "v").await.unwrap_err().kind(), ErrorKind::NoSpace);
    engine.close().await.unwrap();
}
