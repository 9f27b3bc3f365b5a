//! Goal: a log does not grow with the length of a run, whatever its segments and openings are. Method: the real file
//! system, driven past what one manifest can list.
use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, Options, SpaceId, SpaceState};

/// Broke, before there were tables: segment 4,097 of a space was one too many, and it took no more writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_space_takes_more_segments_than_a_manifest_lists_one_after_the_other() {
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
    // Two to a segment.
    let count = 9000u32;
    for n in 0..count {
        space.put(n.to_be_bytes(), vec![7; 4000]).await.unwrap();
    }
    assert!(matches!(space.state(), SpaceState::Open));
    engine.close().await.unwrap();
    let segments = std::fs::read_dir(dir.path().join("a/wal")).unwrap().count();
    assert!(segments < 3000, "{segments} segments are left");

    let engine = Engine::open(OsEnv::current(), dir.path(), options).await.unwrap();
    let space = engine.space(&id).await.unwrap();
    for n in (0..count).step_by(100) {
        assert_eq!(space.get(n.to_be_bytes()).await.unwrap().as_deref(), Some(&[7; 4000][..]), "{n}");
    }
    engine.close().await.unwrap();
}
