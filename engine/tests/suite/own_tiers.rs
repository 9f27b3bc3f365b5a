//! Goal: every space keeps to its own capacities and quota: as configured, as changed while it is used, after a reopen,
//! and its neighbours to theirs. Method: real files, tiny tiers.
use bulkhead::env::os::OsEnv;
use bulkhead::{Amount, Engine, Error, ErrorKind, Options, Rejected, Space, SpaceId, TierOptions};
use std::path::Path;

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::Rejected(Rejected::QuotaExceeded)
}

fn tiers(hot: u64, warm: u64, cold: u64) -> TierOptions {
    let amount = |entries| Amount { entries, bytes: 1 << 30 };
    TierOptions {
        hot_capacity: amount(hot),
        warm_capacity: amount(warm),
        cold_capacity: amount(cold),
        memtable_bytes: 512,
        ..TierOptions::default()
    }
}

async fn open(root: &Path, options: Options) -> Engine {
    Engine::open(OsEnv::current(), root, options).await.unwrap()
}

/// Puts from the number `from` on until one is refused; how many there are then.
async fn fill(space: &Space, from: u64) -> u64 {
    for n in from.. {
        if let Err(error) = space.put(format!("key {n:06}"), [7; 10]).await {
            assert!(is_full(&error), "{error}");
            return n;
        }
    }
    unreachable!("a space has an end")
}

fn within_capacity(space: &Space) {
    let stats = space.stats();
    for tier in &stats.tiers {
        assert!(tier.holds.fits(tier.capacity), "{}: {stats:?}", space.id());
    }
}

#[tokio::test]
async fn tiers_of_different_size_hold_what_they_may_also_after_recovery() {
    let temp = tempfile::tempdir().unwrap();
    let sizes = [("small", (4, 8, 20)), ("medium", (10, 30, 60)), ("large", (50, 100, 200))];
    let spaces = sizes.map(|(name, (h, w, c))| (id(name), tiers(h, w, c)));
    let options = Options { spaces: spaces.into_iter().collect(), ..Options::default() };
    for round in 0..3 {
        let engine = open(temp.path(), options.clone()).await;
        for (name, (hot, warm, cold)) in sizes {
            let space = engine.get_or_create_space(&id(name)).await.unwrap();
            assert_eq!(space.tiers(), tiers(hot, warm, cold));
            if round == 0 {
                let n = fill(&space, 0).await;
                assert!((cold..=hot + warm + cold).contains(&n), "{name}: {n}");
            } else {
                assert!(is_full(&space.put("one more", [7; 10]).await.unwrap_err()), "{name}");
            }
            space.compact().await.unwrap();
            within_capacity(&space);
        }
        let other = engine.get_or_create_space(&id("other")).await.unwrap();
        assert_eq!(other.tiers(), TierOptions::default());
        for n in 0..500 {
            other.put(format!("key {n:06}"), [7; 10]).await.unwrap();
        }
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_quota_changes_while_its_space_is_used_and_lasts_as_long_as_the_engine() {
    let quota = |bytes| TierOptions { quota_bytes: bytes, memtable_bytes: 512, ..TierOptions::default() };
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path(), Options::default()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    alpha.set_tiers(quota(2000)).unwrap();
    assert_eq!(fill(&alpha, 0).await, 100, "of twenty bytes each");
    alpha.set_tiers(quota(3000)).unwrap();
    assert_eq!(fill(&alpha, 100).await, 150);
    let error = alpha.set_tiers(TierOptions { hot_tables: 0, ..quota(9000) }).unwrap_err();
    assert_eq!((error.kind(), error.space()), (ErrorKind::Rejected(Rejected::Config), Some(&id("alpha"))));
    assert_eq!(alpha.tiers(), quota(3000), "as it was");
    // Less than there is: nothing is lost, and puts wait for deletes.
    alpha.set_tiers(quota(1000)).unwrap();
    assert_eq!(fill(&alpha, 150).await, 150);
    for n in 0..101 {
        alpha.delete(format!("key {n:06}")).await.unwrap();
    }
    assert_eq!(fill(&alpha, 150).await, 151);
    beta.put("key", vec![7; 10_000]).await.unwrap();

    alpha.shutdown().await.unwrap();
    assert_eq!(
        alpha.set_tiers(quota(5000)).unwrap_err().kind(),
        ErrorKind::Closed,
        "not of the next one either"
    );
    let alpha = engine.space(&id("alpha")).await.unwrap();
    assert_eq!(alpha.tiers(), quota(1000));
    assert_eq!(fill(&alpha, 151).await, 151);
    engine.delete_space(&id("alpha")).await.unwrap();
    assert_eq!(alpha.set_tiers(quota(1)).unwrap_err().kind(), ErrorKind::Rejected(Rejected::Deleted));
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    assert_eq!(alpha.tiers(), TierOptions::default(), "another space");
    alpha.set_tiers(quota(1000)).unwrap();
    engine.close().await.unwrap();
    let engine = open(temp.path(), Options::default()).await;
    assert_eq!(engine.space(&id("alpha")).await.unwrap().tiers(), TierOptions::default());
    engine.close().await.unwrap();
}

#[tokio::test]
async fn options_of_a_space_that_cannot_be_are_refused_in_its_name() {
    let temp = tempfile::tempdir().unwrap();
    let wrong = TierOptions { hot_tables: 0, ..TierOptions::default() };
    let options = Options { spaces: [(id("alpha"), wrong)].into(), ..Options::default() };
    let error = Engine::open(OsEnv::current(), temp.path(), options).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("space \"alpha\"") && text.contains("tiers.hot-tables is 0"), "{text}");
}
