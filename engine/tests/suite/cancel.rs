//! Goal: a future of the public API may be dropped at any await; nothing is lost or left half done, and the space works
//! on. Method: each call is polled until it has waited `n` times and is dropped then, for every `n` until it completes;
//! afterwards the same call completes, a neighbouring write is acknowledged, and a reopening finds whole commits only.
use bulkhead::env::os::OsEnv;
use bulkhead::{Batch, Durability, Engine, Options, RecoveryStatus, Space, SpaceId, WriteOptions};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

async fn open(root: &Path) -> Engine {
    // Segments so small that many calls have to wait for log space.
    let options = Options { segment_first: 16 * 1024, segment_max: 16 * 1024, ..Options::default() };
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

/// Whether a call came to its end before it was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Completed,
    Dropped,
}

/// Polls `call` until it has answered "not yet" `waits` times, whenever it is woken, and drops it then.
async fn dropped_after<T>(waits: usize, call: impl Future<Output = T>) -> Ended {
    let mut call = pin!(call);
    let mut waited = 0;
    std::future::poll_fn(|cx| {
        if call.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Completed);
        }
        waited += 1;
        if waited > waits { Poll::Ready(Ended::Dropped) } else { Poll::Pending }
    })
    .await
}

/// Calls `$call` and drops it after 0, 1, 2 … waits until it completes; counts how often it was dropped.
macro_rules! at_every_wait {
    ($dropped:ident, $call:expr, $after:expr) => {
        for waits in 0.. {
            assert!(waits < 100, "a call waits without end");
            let ended = dropped_after(waits, $call).await;
            $after;
            if ended == Ended::Completed {
                break;
            }
            $dropped += 1;
        }
    };
}

async fn works(space: &Space) {
    let lsn = space.put("works", "yes").await.unwrap();
    assert!(space.durable_lsn() >= lsn);
    assert_eq!(space.get("works").await.unwrap().unwrap().to_vec(), b"yes");
}

/// A batch of three large entries: in or out as a whole, and often too large for what is left of a segment.
fn batch(n: u32) -> Batch {
    let mut batch = Batch::new();
    for part in 0..3 {
        batch.put(format!("{n}-{part}"), vec![part; 2500]);
    }
    batch
}

async fn assert_whole(space: &Space, batches: u32) {
    for n in 0..batches {
        let mut parts = 0;
        for part in 0..3 {
            parts += usize::from(space.get(format!("{n}-{part}")).await.unwrap().is_some());
        }
        assert!(parts == 0 || parts == 3, "batch {n} is there in part");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn writes_and_waits_may_be_dropped_at_every_await() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    let space = engine.create_space(&id("s")).await.unwrap();
    let (mut dropped, mut n) = (0, 0);
    for _ in 0..20 {
        at_every_wait!(dropped, space.write(&batch(n), WriteOptions::default()), n += 1);
        at_every_wait!(dropped, space.put(format!("put-{n}"), vec![1; 3000]), n += 1);
        at_every_wait!(dropped, space.delete(format!("put-{n}")), n += 1);
        let commit = space.put_commit("ticket", "t").await.unwrap();
        at_every_wait!(dropped, commit.durable(Durability::Process), {});
        at_every_wait!(dropped, commit.durable(Durability::Power), {});
        assert!(space.durable_lsn() >= commit.lsn());
        let commit = space.put_commit("flushed", "f").await.unwrap();
        at_every_wait!(dropped, space.flush(Durability::Power), {});
        assert!(space.durable_lsn() >= commit.lsn());
        works(&space).await;
    }
    assert!(dropped > 60, "{dropped} calls were dropped");
    assert_whole(&space, n).await;
    let last = space.last_lsn();
    let space = engine.reopen(&id("s")).await.unwrap();
    assert!(space.last_lsn() >= last, "what was ordered was written, waited for or not");
    assert_whole(&space, n).await;
    works(&space).await;
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn creating_and_opening_may_be_dropped_at_every_await() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    let (mut dropped, mut n) = (0, 0);
    for name in ["a", "b", "c"] {
        // Another id each time: a creation goes on without its caller.
        at_every_wait!(dropped, engine.create_space(&id(&format!("{name}{n}"))), {
            works(&engine.get_or_create_space(&id(&format!("{name}{n}"))).await.unwrap()).await;
            n += 1;
        });
        at_every_wait!(dropped, engine.get_or_create_space(&id(&format!("{name}-{n}"))), n += 1);
    }
    let spaces = engine.list_spaces().spaces;
    for space in &spaces {
        at_every_wait!(dropped, engine.reopen(space), {});
        works(&engine.space(space).await.unwrap()).await;
    }
    engine.close().await.unwrap();
    // Not closed by anybody: a dropped close goes on all the same.
    for _ in 0..3 {
        let engine = open(temp.path()).await;
        at_every_wait!(dropped, engine.space(&spaces[0]), {});
        at_every_wait!(dropped, engine.recover_all(), {});
        let reports = engine.recover_all().await.unwrap();
        assert_eq!(reports.len(), spaces.len());
        assert!(reports.iter().all(|r| r.status == RecoveryStatus::Clean), "{reports:?}");
        let space = engine.space(&spaces[0]).await.unwrap();
        works(&space).await;
        at_every_wait!(dropped, engine.close(), {});
        assert!(space.put("k", "v").await.is_err());
    }
    assert!(dropped > 20, "{dropped} calls were dropped");
}

#[tokio::test(flavor = "current_thread")]
async fn opening_an_engine_may_be_dropped_at_every_await() {
    let temp = tempfile::tempdir().unwrap();
    let mut dropped = 0;
    let open = || Engine::open(OsEnv::current(), temp.path(), Options::default());
    // What a dropped opening had begun may hold the lock a little longer: the next try waits until it is free, so that
    // no refusal is taken for a completed call.
    let free = async || {
        let started = std::time::Instant::now();
        loop {
            match open().await {
                Ok(engine) => break engine,
                Err(e) => assert!(started.elapsed().as_secs() < 20, "{e}"),
            }
            tokio::task::yield_now().await;
        }
    };
    at_every_wait!(dropped, open(), free().await.close().await.unwrap());
    assert!(dropped > 3, "{dropped} openings were dropped");
    let engine = free().await;
    works(&engine.create_space(&id("s")).await.unwrap()).await;
    engine.close().await.unwrap();
}
