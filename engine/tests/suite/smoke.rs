//! Goal: the engine works end to end on the real file system. Method: write, reopen, read back; also without a clean
//! close, with rotation, batches, snapshots and scans.
use bulkhead::env::os::{OsEnv, OsOptions};
use bulkhead::{Batch, Direction, Durability, Engine, Options, RecoveryStatus, SpaceId, WriteOptions};

fn env() -> std::sync::Arc<OsEnv> {
    OsEnv::new(tokio::runtime::Handle::current(), OsOptions::default())
}

fn id(s: &str) -> SpaceId {
    SpaceId::new(s).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_first: 16 * 1024, segment_max: 64 * 1024, ..Options::default() };
    for round in 0..3u32 {
        let engine = Engine::open(env(), dir.path(), options.clone()).await.unwrap();
        let reports = engine.recover_all().await.unwrap();
        assert_eq!(reports.len(), if round == 0 { 0 } else { 2 }, "{reports:?}");
        assert!(reports.iter().all(|r| r.status == RecoveryStatus::Clean), "{reports:?}");
        for name in ["alpha", "beta"] {
            let space = engine.get_or_create_space(&id(name)).await.unwrap();
            for i in 0..300u32 {
                let key = format!("{round}-{i}");
                if i % 10 == 0 {
                    space.put(&key, vec![i as u8; 500]).await.unwrap();
                } else {
                    space.put_commit(&key, vec![i as u8; 500]).await.unwrap();
                }
            }
            let mut batch = Batch::new();
            batch.put(format!("{round}-batch"), name).delete(format!("{round}-7"));
            let commit = space.write(&batch, WriteOptions::default()).await.unwrap();
            commit.durable(Durability::Process).await.unwrap();
            for past in 0..=round {
                for i in 0..300u32 {
                    let got = space.get(format!("{past}-{i}")).await.unwrap();
                    assert_eq!(got.map(|v| v.to_vec()), (i != 7).then(|| vec![i as u8; 500]), "{past}-{i}");
                }
                assert_eq!(
                    space.get(format!("{past}-batch")).await.unwrap().unwrap().to_vec(),
                    name.as_bytes()
                );
            }
            let mut scan = space.scan::<&[u8]>(.., Direction::Descending);
            let mut count = 0;
            while scan.next().await.unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 300 * (round + 1));
        }
        engine.close().await.unwrap();
        engine.close().await.unwrap();
    }
}
