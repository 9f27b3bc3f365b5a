//! Goal: a deletion is done or not done, wherever it is cut short, and a neighbour never notices. Method: on the simulated
//! disk a crash at every single I/O of a run that deletes a space and makes it anew beside a busy neighbour, once as a
//! kill and once as a power cut, with and without another crash in the recovery that follows; the simulator's model
//! judges. On real files, hooks fail what a deletion asks of the root, or hold back what it has to wait for.
use crate::hooked_env::{Hook, HookedEnv};
use crate::multi_space_persistence::{entries, id, options, scratch};
use bulkhead::env::{IoErrorKind, IoOp};
use bulkhead::{Durability, Engine, ErrorKind, Options, Rejected, SpaceState, TierOptions};
use bulkhead_fault_injection::{DirProfile, FaultPlan};
use bulkhead_sim::execute::Report;
use bulkhead_sim::hunt::execute_alone;
use bulkhead_sim::plan::{At, Boot, End, How, Op, Opening, Repair, Run, Step, Then, Wait};
use bulkhead_sim::probe::{Probe, Probes};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EIO: i32 = 5;

pub fn boot(end: End) -> Step {
    let (damage, junk) = (Vec::new(), Vec::new());
    Step::Boot(Boot { end, opening: Opening::Lazily, damage, junk, repair: Repair::Never })
}

/// Alpha is filled, deleted while its other client writes, and made anew; beta is written to all the time.
fn run(profile: DirProfile, seed: u64, ends: &[End]) -> Run {
    let tiers = TierOptions { memtable_bytes: 1024, ..TierOptions::default() };
    let put = |space, client, key, wait| {
        let op = Op::Put { key, len: 200, priority: 0, wait };
        Step::Client { space, client, op }
    };
    let mut steps = vec![boot(ends[0])];
    for key in 0..10 {
        steps.push(put(0, 0, key, Wait::Power));
        steps.push(put(0, 1, 20 + key, Wait::Later));
        steps.extend([put(1, 0, key, Wait::Power), put(1, 1, 20 + key, Wait::Process)]);
    }
    steps.push(Step::Client { space: 0, client: 0, op: Op::Snapshot });
    steps.push(Step::Client { space: 0, client: 0, op: Op::DeleteSpace { then: Then::Create } });
    for key in 0..3 {
        steps.extend([put(0, 0, key, Wait::Power), put(0, 1, 20 + key, Wait::Power)]);
        steps.extend([put(1, 0, key, Wait::Power), put(1, 1, 20 + key, Wait::Power)]);
    }
    steps.extend(ends[1..].iter().map(|end| boot(*end)));
    Run {
        seed,
        profile,
        options: Options { durability: Durability::Power, tiers, ..Options::default() },
        reserve_bytes: 0,
        settle_us: 0,
        faults: FaultPlan::crashes_only(),
        spaces: vec![id("alpha"), id("beta")],
        steps,
    }
}

pub fn crash(io: u64, how: How) -> End {
    End::Crash { at: At::Io(io), how }
}

/// Executes it. Every oracle of the simulator is asked, in the quiet phase at its end too.
pub fn executed(run: &Run, what: &str) -> Report {
    let report = execute_alone(run, 0).unwrap_or_else(|panic| panic!("{what}: {panic}"));
    if let Some(failure) = &report.failure {
        panic!("{what}: {failure}");
    }
    report
}

#[test]
fn a_crash_at_every_io_of_a_deletion_leaves_the_space_whole_or_gone() {
    let mut all = Probes::default();
    for profile in [DirProfile::Posix, DirProfile::Journaled] {
        let peace = executed(&run(profile, 1, &[End::Close]), "in peace");
        let (probes, ios) = (peace.probes, peace.ios_in_boots);
        assert!(probes.count(Probe::SpaceDeleted) == 1 && probes.count(Probe::SpaceRecreated) > 0);
        assert!(ios > 100, "{ios} I/Os");
        for how in [How::Kill, How::Power] {
            for io in 1..=ios {
                let what = format!("{profile:?}, {how:?} at I/O {io}");
                all.add(&executed(&run(profile, io, &[crash(io, how)]), &what).probes);
                if io % 3 == 0 {
                    let again = crash(1 + io % 23, How::Power);
                    let run = run(profile, io, &[crash(io, how), again]);
                    all.add(&executed(&run, &format!("{what}, again")).probes);
                }
            }
        }
    }
    assert!(all.count(Probe::CrashInDeletion) > 50, "{} crashes", all.count(Probe::CrashInDeletion));
    assert!(all.count(Probe::DeletionResumed) > 50, "{} resumed", all.count(Probe::DeletionResumed));
    assert!(all.count(Probe::DeletedTold) > 20, "{} told", all.count(Probe::DeletedTold));
}

async fn engine(env: &Arc<HookedEnv>, root: &Path) -> Engine {
    Engine::open(env.clone(), root, options()).await.unwrap()
}

/// Waits for something that happens by itself.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_root_refuses_leaves_the_space_as_it_was() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    let beta = engine.create_space(&id("beta")).await.unwrap();
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    alpha.put("k", "kept").await.unwrap();
    for (kind, os) in [(IoErrorKind::Device, EIO), (IoErrorKind::NoSpace, 28)] {
        let alpha = engine.space(&id("alpha")).await.unwrap();
        let durable = alpha.put_commit("durable", "1").await.unwrap();
        durable.durable(Durability::Power).await.unwrap();
        env.rule(IoOp::Rename, "/alpha", Hook::Fail(kind.clone(), os));
        let told = engine.delete_space(&id("alpha")).await.unwrap_err();
        let expected = if os == 28 { ErrorKind::NoSpace } else { ErrorKind::Failed };
        assert_eq!(told.kind(), expected, "{told}");
        assert_eq!(told.space(), Some(&id("alpha")));
        env.lift();
        // Its opening has ended all the same.
        assert!(matches!(alpha.state(), SpaceState::Deleted));
        assert_eq!(alpha.put("k", "v").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(alpha.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
        durable.durable(Durability::Power).await.expect("what was durable still is");
        let again = engine.space(&id("alpha")).await.unwrap();
        assert_eq!(again.get("k").await.unwrap().unwrap().to_vec(), b"kept");
        again.put("k2", "v").await.unwrap();
    }
    beta.put("k", "v").await.unwrap();
    engine.delete_space(&id("alpha")).await.unwrap();
    engine.create_space(&id("alpha")).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_sync_fails_is_neither_acknowledged_nor_undone() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    let beta = engine.create_space(&id("beta")).await.unwrap();
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    let ticket = alpha.put_commit("k", "v").await.unwrap();
    // The root's own path is a part of every path: nothing else syncs a directory meanwhile.
    env.rule(IoOp::SyncDir, temp.path().to_str().unwrap(), Hook::Fail(IoErrorKind::Device, EIO));
    let told = engine.delete_space(&id("alpha")).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Unknown, "{told}");
    env.lift();
    for told in [
        engine.space(&id("alpha")).await.unwrap_err(),
        engine.reopen(&id("alpha")).await.unwrap_err(),
        engine.get_or_create_space(&id("alpha")).await.unwrap_err(),
        engine.repair_plan(&id("alpha")).await.unwrap_err(),
        alpha.get("k").await.unwrap_err(),
        alpha.put("k", "v").await.unwrap_err(),
        ticket.durable(Durability::Process).await.unwrap_err(),
    ] {
        assert_eq!(told.kind(), ErrorKind::Unknown, "{told}");
    }
    // The root refuses changes; what is open goes on.
    for told in [
        engine.delete_space(&id("alpha")).await.unwrap_err(),
        engine.delete_space(&id("beta")).await.unwrap_err(),
        engine.create_space(&id("gamma")).await.unwrap_err(),
    ] {
        assert_eq!(told.kind(), ErrorKind::Failed, "{told}");
    }
    let reports = engine.recover_all().await.unwrap();
    let failed = |r: &bulkhead::RecoveryReport| r.error.is_some();
    assert_eq!(reports.iter().map(failed).collect::<Vec<_>>(), [true, false], "{reports:?}");
    beta.put("k", "v").await.unwrap();
    engine.close().await.unwrap();
    let engine = self::engine(&env, temp.path()).await;
    assert_eq!(engine.list_spaces().spaces, [id("beta")], "nothing was lost: the rename was seen");
    assert!(entries(&engine.create_space(&id("alpha")).await.unwrap()).await.is_empty());
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_what_is_under_way_and_lets_nobody_in_meanwhile() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    alpha.put("k", "v").await.unwrap();
    let syncs = env.count(IoOp::Sync, "/alpha/wal/");
    env.rule(IoOp::Sync, "/alpha/wal/", Hook::Hold);
    let waiter = tokio::spawn({
        let alpha = alpha.clone();
        async move { alpha.put("k", "in flight").await }
    });
    until("the sync is held back", || env.count(IoOp::Sync, "/alpha/wal/") > syncs).await;
    let deletion = tokio::spawn({
        let engine = engine.clone();
        async move { engine.delete_space(&id("alpha")).await }
    });
    until("the deletion has begun", || matches!(alpha.state(), SpaceState::Deleted)).await;
    let deleted = ErrorKind::Rejected(Rejected::Deleted);
    for told in [
        engine.space(&id("alpha")).await.unwrap_err(),
        engine.reopen(&id("alpha")).await.unwrap_err(),
        engine.create_space(&id("alpha")).await.unwrap_err(),
        engine.get_or_create_space(&id("alpha")).await.unwrap_err(),
        alpha.put("k", "v").await.unwrap_err(),
        alpha.get("k").await.unwrap_err(),
    ] {
        assert_eq!(told.kind(), deleted, "{told}");
    }
    // Others are made, opened and deleted meanwhile.
    engine.create_space(&id("beta")).await.unwrap();
    engine.delete_space(&id("beta")).await.unwrap();
    assert!(!deletion.is_finished() && !waiter.is_finished());
    assert_eq!(env.count(IoOp::Rename, "/alpha"), 0);
    assert!(temp.path().join("alpha").exists());
    env.lift();
    deletion.await.unwrap().unwrap();
    assert_eq!(waiter.await.unwrap().unwrap_err().kind(), deleted);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_happened_although_it_was_answered_with_an_error_is_taken_for_what_it_did() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    env.rule(IoOp::Rename, "/", Hook::DoAndFail(IoErrorKind::Device, EIO));
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    alpha.put("k", "v").await.unwrap();
    engine.delete_space(&id("alpha")).await.unwrap();
    assert!(!temp.path().join("alpha").exists());
    let anew = engine.create_space(&id("alpha")).await.unwrap();
    assert!(entries(&anew).await.is_empty());
    // Nobody can tell: then the root refuses changes.
    env.rule(IoOp::Metadata, "/alpha", Hook::Fail(IoErrorKind::Device, EIO));
    assert_eq!(engine.delete_space(&id("alpha")).await.unwrap_err().kind(), ErrorKind::Unknown);
    env.lift();
    assert_eq!(engine.create_space(&id("beta")).await.unwrap_err().kind(), ErrorKind::Failed);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_the_root_behind_a_failed_one_is_not_believed() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    for name in ["alpha", "beta"] {
        engine.create_space(&id(name)).await.unwrap();
    }
    let root = temp.path().to_str().unwrap();
    let renames = |of: &str| env.count(IoOp::Rename, of);
    let delete = |name: &'static str| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.delete_space(&id(name)).await })
    };
    env.rule(IoOp::Rename, "/.creating", Hook::Hold);
    let gamma = tokio::spawn({
        let engine = engine.clone();
        async move { engine.create_space(&id("gamma")).await }
    });
    until("gamma is about to be renamed", || renames("/.creating") == 3).await;
    env.rule(IoOp::SyncDir, root, Hook::Hold);
    let syncs = env.count(IoOp::SyncDir, root);
    let alpha = delete("alpha");
    until("the sync for alpha is held back", || env.count(IoOp::SyncDir, root) > syncs).await;
    let beta = delete("beta");
    until("beta was renamed", || renames("/beta") == 1 && !temp.path().join("beta").exists()).await;
    env.lift_only(IoOp::Rename);
    until("gamma was renamed", || temp.path().join("gamma").exists()).await;
    env.only(IoOp::SyncDir, root, Hook::FailOnce(IoErrorKind::Device, EIO));
    assert_eq!(alpha.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(beta.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(gamma.await.unwrap().unwrap_err().kind(), ErrorKind::Failed);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_waited_for_another_one_does_not_take_the_space_made_since() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    env.rule(IoOp::Rename, "/alpha", Hook::Hold);
    let first = tokio::spawn({
        let engine = engine.clone();
        async move { engine.delete_space(&id("alpha")).await }
    });
    until("the deletion has begun", || matches!(alpha.state(), SpaceState::Deleted)).await;
    let name = id("alpha");
    let mut second = std::pin::pin!(engine.delete_space(&name));
    std::future::poll_fn(|cx| {
        assert!(second.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    env.lift();
    first.await.unwrap().unwrap();
    let anew = engine.create_space(&id("alpha")).await.unwrap();
    assert_eq!(second.await.unwrap_err().kind(), ErrorKind::Rejected(Rejected::NoSuchSpace));
    anew.put("k", "v").await.unwrap();
    engine.close().await.unwrap();
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_ticket_is_woken_when_the_space_is_gone_whatever_it_waits_for() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    alpha.put("k", "v").await.unwrap();
    env.rule(IoOp::WriteAt, "/alpha/wal/", Hook::Hold);
    let ticket = alpha.put_commit("k", "in flight").await.unwrap();
    // Several of each, so that whatever came before some of both arrived as the same of their kind; those for Process ask
    // last, and must not take the places of the others.
    let levels: Vec<_> = [Durability::Power, Durability::Process].into_iter().flat_map(|d| [d; 8]).collect();
    let wakers: Vec<_> = levels.iter().map(|_| Arc::new(Woken::default())).collect();
    let mut waits: Vec<_> = levels.iter().map(|d| Box::pin(ticket.durable(*d))).collect();
    let mut poll_all = || {
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            let waker = std::task::Waker::from(waker.clone());
            assert!(wait.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
    };
    poll_all();
    let deletion = tokio::spawn({
        let engine = engine.clone();
        async move { engine.delete_space(&id("alpha")).await }
    });
    until("the deletion has begun", || matches!(alpha.state(), SpaceState::Deleted)).await;
    // As by a neighbour in the same task that was woken.
    poll_all();
    env.lift();
    deletion.await.unwrap().unwrap();
    for (wait, woken) in waits.into_iter().zip(&wakers) {
        assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst) > 0, "it would wait for ever");
        assert_eq!(wait.await.unwrap_err().kind(), ErrorKind::Rejected(Rejected::Deleted));
    }
    engine.close().await.unwrap();
}

/// Broke: a closing took the list of removals with it, and where it was dropped, or another one ran beside it, the next gave
/// the lock back while files were being removed.
#[tokio::test(flavor = "multi_thread")]
async fn every_closing_waits_for_removals_also_after_one_that_was_dropped() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = Engine::open(env.clone(), temp.path(), options()).await.unwrap();
    engine.create_space(&id("alpha")).await.unwrap().put("k", "v").await.unwrap();
    env.rule(IoOp::Remove, "/.deleted", Hook::Hold);
    engine.delete_space(&id("alpha")).await.unwrap();
    let started = Instant::now();
    while env.count(IoOp::Remove, "/.deleted") == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "its files are never removed");
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let closes = tokio::time::timeout(Duration::from_millis(200), engine.close()).await;
        assert!(closes.is_err(), "a removal is under way");
    }
    let second = Engine::open(env.clone(), temp.path(), options()).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Rejected(Rejected::Locked));
    env.lift();
    engine.close().await.unwrap();
    Engine::open(env, temp.path(), options()).await.unwrap().close().await.unwrap();
}
