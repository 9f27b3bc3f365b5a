//! Goal: a read by a snapshot that is waiting for a table while the snapshot expires is told so, whatever it finds there.
//! Method: the real file system behind hooks that hold reads back, and one more snapshot than there may be.
use crate::hooked_env::{Hook, HookedEnv};
use crate::multi_space_persistence::{id, scratch};
use bulkhead::env::IoOp;
use bulkhead::{Direction, Engine, Error, ErrorKind, Options, Rejected, Space, TierOptions};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Polls `future` once.
async fn waits<T>(mut future: Pin<&mut impl Future<Output = T>>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

fn expired<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let told = answer.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Rejected(Rejected::SnapshotExpired), "{told}");
}

/// All in tables, and nothing of them in memory.
async fn tables(space: &Space, value: u8) {
    for n in 0..50 {
        space.put(format!("key {n:03}"), vec![value; if n == 49 { 20_000 } else { 90 }]).await.unwrap();
    }
    space.compact().await.unwrap();
    assert_eq!(space.stats().memory.holds.entries, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_for_a_table_is_told_when_its_snapshot_expires() {
    let (temp, env) = (scratch(), HookedEnv::new());
    let tiers = TierOptions { max_snapshots: 1, ..TierOptions::default() };
    let options = Options { cache_bytes: 0, tiers, ..Options::default() };
    let engine = Engine::open(env.clone(), temp.path(), options).await.unwrap();
    let space = engine.get_or_create_space(&id("alpha")).await.unwrap();
    tables(&space, 1).await;

    for expires in [false, true] {
        let one_more = || expires.then(|| space.snapshot());
        let snapshot = space.snapshot();
        env.rule(IoOp::ReadAt, ".tbl", Hook::Hold);
        let mut get = pin!(snapshot.get(b"key 007"));
        assert!(waits(get.as_mut()).await, "for a block");
        let other = one_more();
        env.lift();
        match expires {
            true => expired(get.await),
            false => assert_eq!(get.await.unwrap().unwrap().len(), 90),
        }
        drop(other);

        // A scan under way, within its entries, before a long value, and at its very end.
        for held_at in [0, 1, 49, 50] {
            let snapshot = space.snapshot();
            let mut scan = snapshot.scan::<&[u8]>(.., Direction::Ascending);
            for _ in 0..held_at {
                assert!(scan.next().await.unwrap().is_some());
            }
            env.rule(IoOp::ReadAt, ".tbl", Hook::Hold);
            let is_held = {
                let mut next = pin!(scan.next());
                let is_held = waits(next.as_mut()).await;
                assert!(is_held || held_at != 0 && held_at != 49, "{held_at}");
                let _other = is_held.then(one_more);
                env.lift();
                if is_held {
                    match expires {
                        true => expired(next.await),
                        false => assert!(next.await.unwrap().is_some()),
                    }
                }
                is_held
            };
            assert!(!(is_held && expires) || scan.next().await.unwrap().is_none(), "it has ended");
        }
    }
    engine.close().await.unwrap();
}
