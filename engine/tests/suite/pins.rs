//! Goal: nobody keeps versions for ever by forgetting a snapshot. One that is too old and holds something back, or is the
//! oldest of too many, expires: its reads and those of its scans say so, what it kept goes, and others see what they saw.
//! One that does no harm stays. Method: real files, and a clock that the test moves.
use bulkhead::env::os::OsEnv;
use bulkhead::env::{Dir, Env, Io, Missing, Owner, Sleep, Task};
use bulkhead::{
    Direction, Engine, Error, ErrorKind, Options, PinStats, Rejected, Snapshot, Space, SpaceId, SpaceStats,
    TierOptions,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const HOUR: u64 = 3_600_000;

/// The real environment; its clock runs, and leaps when told to.
#[derive(Debug)]
struct Leaping {
    inner: Arc<OsEnv>,
    leaped: watch::Sender<Duration>,
    /// Held by every timer of a space that is to sleep for long.
    long: Arc<()>,
}

impl Leaping {
    fn new() -> Arc<Leaping> {
        let leaped = watch::Sender::new(Duration::ZERO);
        Arc::new(Leaping { inner: OsEnv::current(), leaped, long: Arc::default() })
    }

    fn leap(&self, ms: u64) {
        self.leaped.send_modify(|by| *by += Duration::from_millis(ms));
    }

    fn long_timers(&self) -> usize {
        Arc::strong_count(&self.long) - 1
    }
}

impl Env for Leaping {
    fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>> {
        self.inner.open_root(path, missing)
    }
    fn sync_parent(&self, path: &Path) -> Io<()> {
        self.inner.sync_parent(path)
    }
    fn now(&self) -> Duration {
        self.inner.now() + *self.leaped.borrow()
    }
    fn wall(&self) -> Duration {
        self.inner.wall()
    }
    fn sleep(&self, owner: Owner, duration: Duration) -> Sleep {
        let is_long = owner != Owner::ENGINE && duration >= Duration::from_secs(10);
        let held = is_long.then(|| self.long.clone());
        let (inner, mut leaped) = (self.inner.clone(), self.leaped.subscribe());
        let until = self.now() + duration;
        Box::pin(async move {
            let _held = held;
            loop {
                let left = until.saturating_sub(inner.now() + *leaped.borrow_and_update());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = inner.sleep(owner, left) => {}
                    leaped = leaped.changed() => leaped.unwrap(),
                }
            }
        })
    }
    fn spawn(&self, owner: Owner, name: &'static str, task: Task) {
        self.inner.spawn(owner, name, task);
    }
    fn entropy(&self, owner: Owner) -> u64 {
        self.inner.entropy(owner)
    }
}

struct Bench {
    env: Arc<Leaping>,
    engine: Engine,
    space: Space,
    _temp: tempfile::TempDir,
}

async fn bench(tiers: TierOptions) -> Bench {
    let (env, temp) = (Leaping::new(), tempfile::tempdir().unwrap());
    let options =
        Options { flush_interval_ms: 5, idle_seal_ms: 5, idle_close_ms: 20, tiers, ..Options::default() };
    let engine = Engine::open(env.clone(), temp.path(), options).await.unwrap();
    let space = engine.get_or_create_space(&SpaceId::new("s").unwrap()).await.unwrap();
    Bench { env, engine, space, _temp: temp }
}

fn limits(snapshot_age_ms: u64, max_snapshots: u64) -> TierOptions {
    TierOptions { snapshot_age_ms, max_snapshots, ..TierOptions::default() }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let clock = OsEnv::current();
    while !done() {
        assert!(clock.now() < Duration::from_secs(60), "never: {what}");
        tokio::task::yield_now().await;
    }
}

fn expired(error: &Error) -> bool {
    error.kind() == ErrorKind::Rejected(Rejected::SnapshotExpired)
}

async fn value(snapshot: &Snapshot, key: &str) -> Option<u8> {
    snapshot.get(key.as_bytes()).await.unwrap().map(|value| value[0])
}

fn counts(stats: &SpaceStats) -> (usize, u64) {
    (stats.pins.iter().map(|pins| pins.count).sum(), stats.snapshots_expired)
}

fn pins(space: &Space, owner: &str) -> PinStats {
    *space.stats().pins.iter().find(|pins| pins.owner == owner).unwrap()
}

/// Bytes that all pins hold back.
fn held(space: &Space) -> u64 {
    space.stats().pins.iter().map(|pins| pins.held_bytes).sum()
}

async fn put_all(space: &Space, n: usize, value: u8) {
    for n in 0..n {
        space.put(format!("key {n:06}"), [value; 90]).await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_is_too_old_expires_once_it_holds_something_back() {
    let b = bench(limits(HOUR, 0)).await;
    b.space.put("key", [1]).await.unwrap();
    let (old, scanned) = (b.space.snapshot(), b.space.snapshot());
    let mut scan = scanned.scan::<&[u8]>(.., Direction::Ascending);
    b.env.leap(100 * HOUR);
    assert_eq!(value(&old, "key").await, Some(1), "nobody wants it gone");
    assert_eq!(counts(&b.space.stats()), (2, 0));
    assert!(pins(&b.space, "snapshot").oldest_ms >= 100 * HOUR);
    let young = b.space.snapshot();
    b.space.put("key", [2]).await.unwrap();

    let told = old.get(b"key").await.unwrap_err();
    assert!(expired(&told), "{told:?}");
    assert_eq!(told.space(), Some(b.space.id()));
    let text = told.to_string();
    let lsn = old.lsn().to_string();
    for part in [
        "space \"s\"",
        &lsn,
        " 36000",
        " ms old",
        "at most 3600000 ms",
        "tiers.snapshot-age-ms",
        "Take a new one",
    ] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    assert!(expired(&scan.next().await.unwrap_err()), "a scan is as old as its snapshot");
    assert!(scan.next().await.unwrap().is_none(), "and ends");
    assert!(expired(&scanned.scan(b"a".as_slice().., Direction::Descending).next().await.unwrap_err()));
    assert_eq!(counts(&b.space.stats()), (1, 2));

    // Of the same commit as the others, which must not be released twice.
    drop((old, scan, scanned));
    b.space.put("key", [3]).await.unwrap();
    assert_eq!(value(&young, "key").await, Some(1));
    assert_eq!(counts(&b.space.stats()), (1, 2));
    drop(young);
    assert_eq!(counts(&b.space.stats()), (0, 2));
}

#[tokio::test]
async fn what_a_forgotten_snapshot_keeps_goes_by_itself_and_puts_are_let_in_again() {
    let b = bench(TierOptions { quota_bytes: 20_000, memtable_bytes: 4096, ..limits(HOUR, 0) }).await;
    put_all(&b.space, 150, 1).await;
    let forgotten = b.space.snapshot();
    for n in 0..150 {
        b.space.delete(format!("key {n:06}")).await.unwrap();
    }
    let refused = async |n: usize| b.space.put(format!("other {n:04}"), [1; 90]).await.err();
    let full = async || {
        for n in 0..100 {
            if let Some(error) = refused(n).await {
                assert_eq!(error.kind(), ErrorKind::Rejected(Rejected::QuotaExceeded));
                return true;
            }
        }
        false
    };
    assert!(full().await);
    b.env.leap(HOUR / 2);
    assert!(full().await);
    // Nothing uses the space any more.
    until("a timer for the snapshot", || b.env.long_timers() == 1).await;
    b.env.leap(HOUR / 2);
    until("it expires", || counts(&b.space.stats()) == (0, 1)).await;
    for n in 0..150 {
        assert!(refused(n).await.is_none(), "{n}: {:?}", b.space.stats());
    }
    assert!(expired(&forgotten.get(b"key 000149").await.unwrap_err()));
}

#[tokio::test]
async fn a_space_has_a_timer_only_while_a_snapshot_holds_something_back() {
    let b = bench(limits(HOUR, 0)).await;
    let at_rest = async |b: &Bench| {
        let rests = b.space.stats().jobs.rests;
        b.space.put("key", [rests as u8; 90]).await.unwrap();
        until("a rest", || b.space.stats().jobs.rests > rests).await;
    };
    at_rest(&b).await;
    assert_eq!(b.env.long_timers(), 0);
    let (one, other) = (b.space.snapshot(), b.space.snapshot());
    assert_eq!(b.env.long_timers(), 0, "nothing was overwritten since");
    at_rest(&b).await;
    assert_eq!(b.env.long_timers(), 1);
    drop(one);
    at_rest(&b).await;
    assert_eq!(b.env.long_timers(), 1, "the other one holds as much");
    let memory = b.space.memory_bytes();
    drop(other);
    until("the timer goes", || b.env.long_timers() == 0).await;
    assert!(b.space.memory_bytes() < memory);

    // Time passes in steps: what was taken later goes later.
    let one = b.space.snapshot();
    at_rest(&b).await;
    b.env.leap(HOUR / 2);
    let other = b.space.snapshot();
    at_rest(&b).await;
    b.env.leap(HOUR / 2);
    until("the first expires", || counts(&b.space.stats()) == (1, 1)).await;
    assert!(value(&other, "key").await.is_some());
    until("a timer for the second", || b.env.long_timers() == 1).await;
    b.env.leap(HOUR / 2);
    until("the second expires", || counts(&b.space.stats()) == (0, 2)).await;
    until("no timer", || b.env.long_timers() == 0).await;
    drop((one, other));
    b.engine.close().await.unwrap();
}

#[tokio::test]
async fn one_more_than_there_may_be_has_the_oldest_expire_and_a_scan_under_way_ends() {
    for flushes in [false, true] {
        let b = bench(TierOptions { memtable_bytes: 4096, ..limits(0, 2) }).await;
        put_all(&b.space, 300, 1).await;
        let first = b.space.snapshot();
        let mut scan = first.scan::<&[u8]>(.., Direction::Ascending);
        let mut shown = 0;
        while shown < 40 {
            let (key, value) = scan.next().await.unwrap().unwrap();
            assert_eq!((&*key, value[0]), (format!("key {shown:06}").as_bytes(), 1));
            shown += 1;
        }
        put_all(&b.space, 300, 2).await;
        if flushes {
            b.space.compact().await.unwrap();
        }
        let second = b.space.snapshot();
        assert_eq!(value(&first, "key 000299").await, Some(1), "two there may be");
        let third = b.space.scan::<&[u8]>(.., Direction::Ascending);
        put_all(&b.space, 300, 3).await;
        if flushes {
            b.space.compact().await.unwrap();
        }
        let told = scan.next().await.unwrap_err();
        assert!(expired(&told) && told.to_string().contains("at most 2 snapshots"), "{told}");
        assert!(scan.next().await.unwrap().is_none());
        assert!(expired(&first.get(b"key 000000").await.unwrap_err()));
        assert_eq!(counts(&b.space.stats()), (2, 1));
        assert_eq!(value(&second, "key 000299").await, Some(2));
        drop((first, scan));
        for mut scan in [third, second.scan::<&[u8]>(.., Direction::Ascending)] {
            for n in 0..300 {
                let (key, value) = scan.next().await.unwrap().unwrap();
                assert_eq!((&*key, value[0]), (format!("key {n:06}").as_bytes(), 2));
            }
            assert!(scan.next().await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn limits_are_those_of_the_moment_and_none_is_none() {
    let b = bench(limits(0, 0)).await;
    b.space.put("key", [1]).await.unwrap();
    let kept: Vec<_> = (0..100).map(|_| b.space.snapshot()).collect();
    b.space.put("key", [2]).await.unwrap();
    b.env.leap(1_000_000 * HOUR);
    b.space.put("key", [3]).await.unwrap();
    for snapshot in &kept {
        assert_eq!(value(snapshot, "key").await, Some(1));
    }
    b.space.set_tiers(limits(0, 60)).unwrap();
    assert_eq!(counts(&b.space.stats()), (60, 40), "those that there are count");
    assert!(expired(&kept[39].get(b"key").await.unwrap_err()));
    assert_eq!(value(&kept[40], "key").await, Some(1));
    b.space.set_tiers(limits(HOUR, 60)).unwrap();
    assert_eq!(counts(&b.space.stats()), (0, 100));
    let text = kept[39].get(b"key").await.unwrap_err().to_string();
    assert!(text.contains("tiers.max-snapshots"), "why it expired then: {text}");

    // Those of an opening that has ended are bound by its limits all the same.
    let (old, key) = (b.space.snapshot(), b"key");
    b.space.put(key, [4]).await.unwrap();
    b.engine.reopen(b.space.id()).await.unwrap();
    assert_eq!(value(&old, "key").await, Some(3));
    b.env.leap(HOUR);
    assert!(expired(&old.get(key).await.unwrap_err()));
    b.engine.delete_space(b.space.id()).await.unwrap();
    let told = old.get(key).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Rejected(Rejected::Deleted), "{told}");
}

fn most_bytes(snapshot_bytes: u64) -> TierOptions {
    TierOptions { snapshot_bytes, memtable_bytes: 4096, ..limits(0, 0) }
}

fn file_bytes(space: &Space) -> u64 {
    space.stats().tiers.iter().map(|tier| tier.file_bytes).sum()
}

/// What one version of `put_all` counts.
const ONE: u64 = 10 + 90;

/// All of the first 300 entries: the first `threes` are 3, all others 2.
async fn shows_twos(snapshot: &Snapshot, threes: usize) {
    let mut scan = snapshot.scan::<&[u8]>(.., Direction::Ascending);
    for n in 0..300 {
        let (key, value) = scan.next().await.unwrap().unwrap();
        let right = if n < threes { 3 } else { 2 };
        assert_eq!((&*key, &*value), (format!("key {n:06}").as_bytes(), &[right; 90][..]));
    }
    assert!(scan.next().await.unwrap().is_none());
}

#[tokio::test]
async fn beyond_so_many_bytes_the_oldest_expires_and_a_younger_one_reads_on_and_disk_use_falls() {
    for flushes_first in [true, false] {
        // Either it is all there when the limit comes, or the limit is there from the start.
        let b = bench(most_bytes(if flushes_first { 0 } else { 200 * ONE })).await;
        put_all(&b.space, 300, 1).await;
        let old = b.space.snapshot();
        let mut scan = old.scan::<&[u8]>(.., Direction::Ascending);
        assert!(scan.next().await.unwrap().is_some());
        put_all(&b.space, 300, 2).await;
        let young = b.space.snapshot();
        put_all(&b.space, 50, 3).await;
        b.space.compact().await.unwrap();
        if flushes_first {
            assert_eq!(held(&b.space), 350 * ONE);
            assert_eq!((counts(&b.space.stats()), value(&old, "key 000299").await), ((2, 0), Some(1)));
            let before = file_bytes(&b.space);
            b.space.set_tiers(most_bytes(350 * ONE)).unwrap();
            assert_eq!(counts(&b.space.stats()), (2, 0), "no more than there may be");
            b.space.set_tiers(most_bytes(350 * ONE - 1)).unwrap();
            assert_eq!(counts(&b.space.stats()), (1, 1));
            until("disk use falls by itself", || file_bytes(&b.space) < before * 2 / 3).await;
            let told = old.get(b"key 000000").await.unwrap_err().to_string();
            for part in
                ["held back 35000 bytes", "at most 34999 bytes", "tiers.snapshot-bytes", "or allow more"]
            {
                assert!(told.contains(part), "{part} in: {told}");
            }
        }
        until("the old one expires", || counts(&b.space.stats()) == (1, 1)).await;
        assert!(expired(&old.get(b"key 000299").await.unwrap_err()));
        assert!(expired(&scan.next().await.unwrap_err()));
        assert!(scan.next().await.unwrap().is_none());
        assert_eq!((held(&b.space), pins(&b.space, "snapshot").held_bytes), (50 * ONE, 50 * ONE));
        shows_twos(&young, 0).await;
        b.space.compact().await.unwrap();
        shows_twos(&young, 0).await;
        shows_twos(&b.space.snapshot(), 50).await;
        assert_eq!(b.space.stats().holds.bytes, 350 * ONE, "what it needs, and what there is");
        drop(young);
        b.space.compact().await.unwrap();
        assert_eq!(b.space.stats().holds.bytes, 300 * ONE);
        assert_eq!((held(&b.space), counts(&b.space.stats())), (0, (0, 1)));
        b.engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn bytes_count_once_by_what_holds_them_and_those_that_hold_nothing_stay() {
    let b = bench(most_bytes(0)).await;
    let harmless = b.space.snapshot();
    put_all(&b.space, 300, 1).await;
    let scan = b.space.scan::<&[u8]>(.., Direction::Ascending);
    put_all(&b.space, 100, 2).await;
    let (snapshot, same) = (b.space.snapshot(), b.space.snapshot());
    let made_from_it = same.scan::<&[u8]>(.., Direction::Ascending);
    b.space.flush(bulkhead::Durability::Power).await.unwrap();
    let durable = b.space.durable_snapshot();
    put_all(&b.space, 300, 3).await;
    b.space.compact().await.unwrap();
    let of = |owner| (pins(&b.space, owner).count, pins(&b.space, owner).held_bytes);
    // The scan sees all of the first version, the others those of the second beside 200 of the first.
    assert_eq!(
        (of("scan"), of("snapshot"), of("durable-snapshot")),
        ((1, 300 * ONE), (3, 100 * ONE), (1, 0))
    );
    drop(snapshot);
    drop(same);
    assert_eq!((of("snapshot"), of("scan")), ((2, 100 * ONE), (1, 300 * ONE)), "a scan of it goes on");
    drop(made_from_it);
    assert_eq!((of("snapshot"), of("durable-snapshot")), ((1, 0), (1, 100 * ONE)));
    drop(scan);
    assert_eq!((of("scan"), of("durable-snapshot")), ((0, 0), (1, 300 * ONE)));
    b.space.compact().await.unwrap();
    assert_eq!(of("durable-snapshot"), (1, 300 * ONE), "written anew, it is noted anew");

    b.space.set_tiers(most_bytes(300 * ONE - 1)).unwrap();
    assert!(expired(&durable.get(b"key 000000").await.unwrap_err()));
    assert_eq!(counts(&b.space.stats()), (1, 1));
    assert_eq!(value(&harmless, "key 000000").await, None, "the oldest of all, and nothing is kept for it");
    put_all(&b.space, 300, 4).await;
    b.space.compact().await.unwrap();
    assert_eq!((held(&b.space), value(&harmless, "key 000000").await), (0, None));
}

#[tokio::test]
async fn what_is_in_memory_and_what_range_deletes_hide_is_held_back_too() {
    let b = bench(TierOptions { memtable_bytes: 1 << 20, ..most_bytes(0) }).await;
    put_all(&b.space, 300, 1).await;
    let first = b.space.snapshot();
    put_all(&b.space, 300, 2).await;
    assert_eq!((held(&b.space), b.space.stats().jobs.flushes), (300 * ONE, 0), "in memory");
    drop(first);
    assert_eq!(held(&b.space), 0);
    b.space.compact().await.unwrap();
    let second = b.space.snapshot();
    b.space.clear().await.unwrap();
    until("the tables are known to be hidden", || held(&b.space) == 300 * ONE).await;
    b.space.compact().await.unwrap();
    assert_eq!((held(&b.space), file_bytes(&b.space) > 0), (300 * ONE, true));
    shows_twos(&second, 0).await;
    b.space.set_tiers(most_bytes(300 * ONE - 1)).unwrap();
    assert!(expired(&second.get(b"key 000000").await.unwrap_err()));
    until("the tables go", || file_bytes(&b.space) == 0).await;
    assert_eq!((held(&b.space), counts(&b.space.stats())), (0, (0, 1)));
}
