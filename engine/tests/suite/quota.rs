//! Goal: a space takes puts up to its limits and not beyond, whatever was overwritten, deleted or read meanwhile and
//! however often it was reopened; refused puts say why, and reads and deletes go on. Method: real files, tiny tiers and
//! quotas, and a map beside it.
use crate::one_space;
use bulkhead::{
    Amount, Batch, Direction, Durability, Engine, Error, ErrorKind, Rejected, Space, TierOptions,
    WriteOptions,
};
use std::collections::BTreeMap;
use std::path::Path;

async fn open(root: &Path, tiers: TierOptions) -> (Engine, Space) {
    one_space::open(root, Durability::Process, tiers).await
}

fn quota(bytes: u64) -> TierOptions {
    TierOptions { quota_bytes: bytes, memtable_bytes: 4096, ..TierOptions::default() }
}

fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::Rejected(Rejected::QuotaExceeded)
}

/// Polls `future` once.
async fn once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// Bytes of all keys and values that a reader sees.
async fn live(space: &Space) -> u64 {
    let mut scan = space.scan::<&[u8]>(.., Direction::Ascending);
    let mut bytes = 0;
    while let Some((key, value)) = scan.next().await.unwrap() {
        bytes += (key.len() + value.len()) as u64;
    }
    bytes
}

/// Puts entries of ten bytes of key and `len` of value until one is refused; how many there are then.
async fn fill(space: &Space, from: u64, len: usize) -> (u64, Error) {
    for n in from.. {
        if let Err(error) = space.put(format!("key {n:06}"), vec![7; len]).await {
            return (n, error);
        }
    }
    unreachable!("a space has an end")
}

#[tokio::test]
async fn puts_go_on_up_to_the_quota_and_not_beyond() {
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path(), quota(50_000)).await;
    let (n, error) = fill(&space, 0, 90).await;
    assert_eq!(n, 500, "all of the quota, to the byte");
    assert!(is_full(&error), "{error}");
    let text = error.to_string();
    for part in ["space \"s\"", "50100 bytes", "at most", "50000 bytes", "tiers.quota-bytes"] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    assert_eq!(live(&space).await, 50_000);
    // Reads and deletes go on; what they free may be taken, in this opening and in the next one.
    for n in 0..10 {
        space.delete(format!("key {n:06}")).await.unwrap();
    }
    assert_eq!(fill(&space, 500, 90).await.0, 510);
    engine.close().await.unwrap();
    let (_engine, space) = open(temp.path(), quota(50_000)).await;
    let (n, error) = fill(&space, 510, 90).await;
    assert_eq!((n, is_full(&error)), (510, true), "an opening counts what is there");
    space.delete("key 000100").await.unwrap();
    assert_eq!(fill(&space, 510, 90).await.0, 511);
    assert_eq!(live(&space).await, 50_000);
}

#[tokio::test]
async fn what_was_overwritten_is_found_before_a_put_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (_engine, space) = open(temp.path(), quota(50_000)).await;
    // 40 % of the quota is live; eight times the quota is written.
    for round in 0..20u8 {
        for n in 0..200 {
            let value = vec![round; 90];
            let put = space.put(format!("key {n:06}"), value).await;
            put.unwrap_or_else(|e| panic!("{round}, {n}: {e}; {:?}", space.stats()));
        }
    }
    assert_eq!(live(&space).await, 20_000);
    assert_eq!(fill(&space, 200, 90).await.0, 500, "and all the rest may be taken too");
}

#[tokio::test]
async fn what_a_snapshot_keeps_counts_until_it_goes() {
    let temp = tempfile::tempdir().unwrap();
    let (_engine, space) = open(temp.path(), quota(20_000)).await;
    for n in 0..150 {
        space.put(format!("key {n:06}"), [1; 90]).await.unwrap();
    }
    let snapshot = space.snapshot();
    for n in 0..150 {
        space.delete(format!("key {n:06}")).await.unwrap();
    }
    let error = fill(&space, 1000, 90).await.1;
    assert!(is_full(&error), "{error}");
    assert_eq!(snapshot.get(b"key 000149").await.unwrap().map(|v| v.len()), Some(90));
    drop(snapshot);
    for n in 2000..2100 {
        space.put(format!("key {n:06}"), [1; 90]).await.unwrap_or_else(|e| panic!("{n}: {e}"));
    }
}

#[tokio::test]
async fn compacting_leaves_nothing_but_what_is_live_also_while_writers_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let (_engine, space) = open(temp.path(), quota(0)).await;
    for round in 0..20u8 {
        for n in 0..100 {
            space.put(format!("key {n:06}"), vec![round; 90]).await.unwrap();
        }
    }
    for n in 0..50 {
        space.delete(format!("key {n:06}")).await.unwrap();
    }
    space.compact().await.unwrap();
    let stats = space.stats();
    assert_eq!((stats.holds.entries, stats.holds.bytes), (50, 5000), "{stats:?}");
    assert!(stats.tiers.iter().all(|t| t.tombstones == 0 && t.hidden == 0), "{stats:?}");
    let file_bytes: u64 = stats.tiers.iter().map(|t| t.file_bytes).sum();
    assert!(file_bytes < 5000 + 5000, "{stats:?}");
    let writer = async {
        for n in 0..2000 {
            space.put(format!("other {:06}", n % 10), vec![1; 90]).await.unwrap();
        }
    };
    let compactor = async {
        for _ in 0..5 {
            space.compact().await.unwrap();
        }
    };
    tokio::join!(writer, compactor);
    space.compact().await.unwrap();
    assert_eq!(space.stats().holds.entries, 60);
    // A future that is dropped takes nothing with it.
    for n in 0..10 {
        space.delete(format!("other {n:06}")).await.unwrap();
        let mut compacting = std::pin::pin!(space.compact());
        assert!(once(compacting.as_mut()).await.is_none(), "it waits for a flush");
    }
    space.compact().await.unwrap();
    assert_eq!(space.stats().holds.entries, 50);
}

#[tokio::test]
async fn a_write_that_can_never_fit_is_refused_at_once_and_a_batch_as_a_whole() {
    let temp = tempfile::tempdir().unwrap();
    let (_engine, space) = open(temp.path(), quota(10_000)).await;
    assert!(is_full(&space.put("large", vec![1; 10_001]).await.unwrap_err()));
    let mut batch = Batch::new();
    for n in 0..11 {
        batch.put(format!("key {n:06}"), vec![1; 990]);
    }
    let error = space.write(&batch, WriteOptions::default()).await.unwrap_err();
    assert!(is_full(&error), "{error}");
    assert_eq!(live(&space).await, 0, "nothing of it is there");
    space.put("key 000000", vec![1; 9990]).await.unwrap();
}

#[tokio::test]
async fn tiers_that_are_full_refuse_puts_until_deletes_have_come_down() {
    let amount = |entries| Amount { entries, bytes: 1 << 30 };
    let tiers = TierOptions {
        hot_capacity: amount(20),
        warm_capacity: amount(40),
        cold_capacity: amount(100),
        memtable_bytes: 1024,
        ..TierOptions::default()
    };
    let temp = tempfile::tempdir().unwrap();
    let (engine, space) = open(temp.path(), tiers.clone()).await;
    let (n, error) = fill(&space, 0, 10).await;
    assert!(is_full(&error) && (100..=160).contains(&n), "{n}: {error}");
    assert!(error.to_string().contains("tiers.cold-capacity"), "{error}");
    let mut there: BTreeMap<u64, ()> = (0..n).map(|n| (n, ())).collect();
    for round in 0..5u64 {
        for i in 0..20 {
            let gone = round * 20 + i;
            space.delete(format!("key {gone:06}")).await.unwrap();
            there.remove(&gone);
        }
        let (next, error) = fill(&space, n + round * 1000, 10).await;
        assert!(is_full(&error), "{error}");
        there.extend((n + round * 1000..next).map(|n| (n, ())));
        assert!(there.len() >= 100 && there.len() <= 160, "{} in round {round}: {error}", there.len());
    }
    engine.close().await.unwrap();
    let (_engine, space) = open(temp.path(), tiers).await;
    for n in 0..6000 {
        let found = space.get(format!("key {n:06}")).await.unwrap();
        assert_eq!(found.is_some(), there.contains_key(&n), "{n}");
    }
}
