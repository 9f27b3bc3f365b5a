//! Goal: a failing or slow disk under one space costs that space what it must and no other anything, and whoever asks
//! is told what happened, where and what to do. Method: the real file system behind hooks that fail verbs or hold them
//! back by verb and path; nothing depends on how long anything takes.
use crate::hooked_env::{Hook, HookedEnv};
use crate::multi_space_persistence::{copy_tree, entries, id, options, scratch, tree};
use bulkhead::env::{IoErrorKind, IoOp};
use bulkhead::{
    Batch, Durability, Engine, Error, ErrorKind, Options, Outcome, RecoveryStatus, Rejected, Space,
    SpaceState, WriteOptions,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn engine(env: &Arc<HookedEnv>, root: &Path, options: Options) -> Engine {
    Engine::open(env.clone(), root, options).await.unwrap()
}

/// Alpha and beta with one key each, opened anew, so that their files are at the paths of their names.
async fn two_spaces(env: &Arc<HookedEnv>, root: &Path, options: Options) -> (Engine, Space, Space) {
    let first = engine(env, root, options.clone()).await;
    for name in ["alpha", "beta"] {
        first.create_space(&id(name)).await.unwrap().put("before", name).await.unwrap();
    }
    first.close().await.unwrap();
    let engine = engine(env, root, options).await;
    let alpha = engine.space(&id("alpha")).await.unwrap();
    let beta = engine.space(&id("beta")).await.unwrap();
    (engine, alpha, beta)
}

/// Every error names the space, says what is there or was expected, and ends with what to do.
fn assert_tells(error: &Error, space: &str) {
    let text = error.to_string();
    assert_eq!(error.space().map(|s| s.as_str()), Some(space), "{text}");
    assert!(text.starts_with(&format!("space \"{space}\": ")), "{text}");
    let (what, advice) = text.split_once(". ").unwrap_or_else(|| panic!("no advice: {text}"));
    assert!(what.len() > space.len() + 20 && advice.len() > 10 && advice.ends_with('.'), "{text}");
    if let ErrorKind::Rejected(Rejected::Key | Rejected::Value | Rejected::Batch | Rejected::TooManySpaces) =
        error.kind()
    {
        assert!(text.contains("; expected "), "{text}");
    }
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
async fn sixty_four_threads_that_want_one_space_get_one_handle_and_one_log() {
    let temp = scratch();
    let env = HookedEnv::new();
    let engine = engine(&env, temp.path(), options()).await;
    let runtime = tokio::runtime::Handle::current();
    let ask = |_| {
        let (engine, runtime) = (engine.clone(), runtime.clone());
        std::thread::spawn(move || {
            runtime.block_on(async {
                let space = engine.get_or_create_space(&id("one")).await.unwrap();
                let lsn = space.put(format!("{:?}", std::thread::current().id()), "v").await.unwrap();
                (space, lsn)
            })
        })
    };
    let threads: Vec<_> = (0..64).map(ask).collect();
    let got: Vec<_> =
        tokio::task::spawn_blocking(|| threads.into_iter().map(|t| t.join().unwrap()).collect())
            .await
            .unwrap();
    let mut lsns: Vec<_> = got.iter().map(|(_, lsn)| *lsn).collect();
    lsns.sort_unstable();
    assert!(lsns.windows(2).all(|w| w[1] == w[0].next()), "one log: {lsns:?}");
    assert!(got.iter().all(|(space, _)| *space == got[0].0), "one handle");
    assert_eq!(env.count(IoOp::Create, "SPACE"), 1);
    assert_eq!(entries(&got[0].0).await.len(), 64);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_came_while_a_sync_ran_is_served_although_nobody_answered_comes_back() {
    let temp = scratch();
    let env = HookedEnv::new();
    // No tick comes to their help, and no segment is made meanwhile: its sync would be taken for one of theirs.
    let options = Options { segment_first: 1024 * 1024, ..options() };
    let engine = engine(&env, temp.path(), options).await;
    let space = engine.create_space(&id("alpha")).await.unwrap();
    space.put("first", "v").await.unwrap();
    let put = |key: &'static str| {
        tokio::spawn({
            let space = space.clone();
            async move { space.put(key, "v").await }
        })
    };
    let (syncs, last) = (|| env.count(IoOp::Sync, "alpha/wal/"), || space.stats().log.last.raw());
    let (before, first) = (syncs(), last());
    env.rule(IoOp::Sync, "alpha/wal/", Hook::Block);
    let leader = put("leader");
    until("its sync has begun", || syncs() == before + 1).await;
    let followers = [put("one"), put("another")];
    until("they are ordered", || last() == first + 3).await;
    // The leader's thread goes on with the sync for those who came meanwhile.
    env.let_one_go();
    until("theirs has begun", || syncs() == before + 2).await;
    let late = [put("late"), put("later")];
    until("they are ordered too", || last() == first + 5).await;
    // It answers the followers, none of whom comes back.
    env.lift();
    for put in [leader].into_iter().chain(followers).chain(late) {
        let served = tokio::time::timeout(std::time::Duration::from_secs(20), put).await;
        served.expect("nobody waits for ever").unwrap().unwrap();
    }
    engine.close().await.unwrap();
}

/// The disk may answer a sync before the writer who began it has looked: then nobody else is told of it by the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_for_a_sync_that_a_writer_does_itself_goes_on_when_it_ends() {
    for closes in [false, true] {
        let temp = scratch();
        let env = HookedEnv::new();
        // No tick comes to anybody's help.
        let engine = engine(&env, temp.path(), options()).await;
        let space = engine.create_space(&id("alpha")).await.unwrap();
        let segments = || space.stats().log.segments;
        for n in 0.. {
            space.put(format!("k{n}"), "v").await.unwrap();
            let made = tokio::time::timeout(Duration::from_millis(20), until("made", || segments() == 2));
            if made.await.is_ok() {
                break;
            }
        }
        let syncs = || env.count(IoOp::Sync, "alpha/wal/");
        let before = syncs();
        env.rule(IoOp::Sync, "alpha/wal/", Hook::Block);
        let writer = tokio::spawn({
            let space = space.clone();
            async move { space.put("last", "v").await }
        });
        until("its sync has begun", || syncs() == before + 1).await;
        let mut other = tokio::spawn({
            let space = space.clone();
            async move { if closes { space.shutdown().await } else { space.compact().await } }
        });
        let waits = tokio::time::timeout(Duration::from_millis(300), &mut other).await;
        assert!(waits.is_err(), "closes: {closes}: it needs what the writer writes");
        // The writer's, and that of the seal.
        env.let_one_go();
        env.let_one_go();
        writer.await.unwrap().unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), other).await;
        env.lift();
        ended.unwrap_or_else(|_| panic!("closes: {closes}: stuck")).unwrap().unwrap();
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_root_below_a_directory_that_may_not_be_read_is_opened() {
    let temp = scratch();
    let env = HookedEnv::new();
    env.rule(IoOp::SyncParent, "", Hook::Fail(IoErrorKind::Denied, 13));
    engine(&env, temp.path(), options()).await.close().await.unwrap();
    env.lift();
    env.rule(IoOp::SyncParent, "", Hook::Fail(IoErrorKind::Device, 5));
    let refused = Engine::open(env, temp.path(), options()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Failed, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_opening_holds_up_no_other_space() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (first, ..) = two_spaces(&env, temp.path(), options()).await;
    first.close().await.unwrap();
    let engine = engine(&env, temp.path(), options()).await;
    env.rule(IoOp::Open, "/alpha/", Hook::Hold);
    let before = env.count(IoOp::Open, "/alpha/");
    let slow = tokio::spawn({
        let engine = engine.clone();
        async move { engine.space(&id("alpha")).await }
    });
    until("alpha's opening is held back", || env.count(IoOp::Open, "/alpha/") > before).await;
    let beta = engine.space(&id("beta")).await.unwrap();
    beta.put("while", "alpha waits").await.unwrap();
    engine.create_space(&id("gamma")).await.unwrap().put("k", "v").await.unwrap();
    assert!(!slow.is_finished());
    env.lift();
    assert_eq!(entries(&slow.await.unwrap().unwrap()).await.len(), 1);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_by_name_serves_reads_and_clears_by_itself() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, alpha, beta) = two_spaces(&env, temp.path(), options()).await;
    for op in [IoOp::Allocate, IoOp::Create] {
        env.rule(op, "/alpha/wal/", Hook::Fail(IoErrorKind::NoSpace, 28));
        for _ in 0..3 {
            let error = alpha.put("k", "v").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{op:?}: {error}");
            assert_tells(&error, "alpha");
            assert_eq!(error.io_error().and_then(|io| io.os), Some(28));
        }
        assert_eq!(alpha.get("before").await.unwrap().unwrap().to_vec(), b"alpha");
        assert_eq!(alpha.get("k").await.unwrap(), None);
        beta.put("k", "v").await.unwrap();
        assert!(matches!(alpha.state(), SpaceState::Open));
        env.lift();
    }
    alpha.put("k", "v").await.unwrap();
    // The same with the manifest: what was prepared is given up, and nothing is in doubt.
    env.rule(IoOp::WriteAt, "/alpha/MANIFEST", Hook::Fail(IoErrorKind::NoSpace, 28));
    let error = alpha.put("big", vec![1; 100_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(matches!(alpha.state(), SpaceState::Open), "{:?}", alpha.state());
    env.lift();
    alpha.put("big", vec![1; 100_000]).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_or_sync_fences_its_space_alone_until_it_is_reopened() {
    for (op, outcome) in [(IoOp::Sync, Outcome::Present), (IoOp::WriteAt, Outcome::Absent)] {
        let temp = scratch();
        let env = HookedEnv::new();
        let (engine, alpha, beta) = two_spaces(&env, temp.path(), options()).await;
        alpha.put("durable", "yes").await.unwrap();
        env.rule(op, "/alpha/wal/", Hook::Fail(IoErrorKind::Device, 5));
        let commit = alpha.put_commit("k", "v").await.unwrap();
        let error = commit.durable(Durability::Power).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        assert_tells(&error, "alpha");
        assert!(error.to_string().contains("outcome("), "{error}");
        let SpaceState::Fenced(cause) = alpha.state() else { panic!("{:?}", alpha.state()) };
        assert_tells(&cause, "alpha");
        let error = alpha.put("more", "v").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert_tells(&error, "alpha");
        // Reads see what is durable.
        assert_eq!(alpha.get("durable").await.unwrap().unwrap().to_vec(), b"yes");
        assert_eq!(alpha.get("k").await.unwrap(), None);
        beta.put("beta", "goes on").await.unwrap();
        env.lift();
        assert_eq!(alpha.put("more", "v").await.unwrap_err().kind(), ErrorKind::Fenced, "not by itself");
        let alpha = engine.reopen(&id("alpha")).await.unwrap();
        // Here the hook decides what reached the disk; whatever it is, the space sticks to it.
        assert_eq!(alpha.outcome(commit.lsn()).unwrap(), outcome);
        assert_eq!(alpha.get("k").await.unwrap().is_some(), outcome == Outcome::Present);
        alpha.put("more", "v").await.unwrap();
        let alpha = engine.reopen(&id("alpha")).await.unwrap();
        assert_eq!(alpha.outcome(commit.lsn()).unwrap(), outcome);
        assert_eq!(alpha.get("durable").await.unwrap().unwrap().to_vec(), b"yes");
        engine.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_while_opening_is_no_damage_and_passes() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (first, ..) = two_spaces(&env, temp.path(), options()).await;
    first.close().await.unwrap();
    let engine = engine(&env, temp.path(), options()).await;
    for (op, part, kind, os) in [
        (IoOp::ReadAt, "/alpha/wal/", IoErrorKind::Device, 5),
        (IoOp::Open, "/alpha/wal/", IoErrorKind::TooManyFiles, 24),
        (IoOp::OpenDir, "/alpha", IoErrorKind::Denied, 13),
        (IoOp::ReadAt, "/alpha/MANIFEST", IoErrorKind::Device, 5),
        (IoOp::ReadAt, "/alpha/SPACE", IoErrorKind::Device, 5),
    ] {
        env.rule(op, part, Hook::Fail(kind, os));
        let error = engine.space(&id("alpha")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed, "{op:?}: {error}");
        assert_tells(&error, "alpha");
        assert!(error.path().is_some() && error.io_error().and_then(|io| io.os) == Some(os), "{error}");
        let reports = engine.recover_all().await.unwrap();
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].status, RecoveryStatus::Failed);
        assert_eq!(reports[1].status, RecoveryStatus::Clean);
        env.lift();
    }
    assert_eq!(entries(&engine.space(&id("alpha")).await.unwrap()).await.len(), 1);
    engine.close().await.unwrap();
}

/// Broke: whoever waited for a space whose opening panicked waited for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_space_is_opened_is_an_error_of_that_space_and_passes() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (first, ..) = two_spaces(&env, temp.path(), options()).await;
    first.close().await.unwrap();
    let engine = engine(&env, temp.path(), options()).await;
    let in_time = Duration::from_secs(30);
    for (op, part) in [(IoOp::Open, "/alpha/SPACE"), (IoOp::ReadAt, "/alpha/wal/")] {
        env.rule(op, part, Hook::Panic);
        let opening = tokio::time::timeout(in_time, engine.space(&id("alpha"))).await;
        let error = opening.expect("an answer").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
        assert_tells(&error, "alpha");
        let reports = tokio::time::timeout(in_time, engine.recover_all()).await.expect("an answer").unwrap();
        let statuses: Vec<_> = reports.iter().map(|r| r.status).collect();
        assert_eq!(statuses, [RecoveryStatus::Failed, RecoveryStatus::Clean]);
        env.lift();
    }
    assert_eq!(entries(&engine.space(&id("alpha")).await.unwrap()).await.len(), 1);
    engine.close().await.unwrap();
}

/// Broke: every try to open a space on a disk without room left one more file behind, and the next found even less room.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_fails_to_write_leaves_no_file_behind() {
    let temp = scratch();
    let (root, killed) = (temp.path().join("root"), temp.path().join("killed"));
    let env = HookedEnv::new();
    let (running, alpha, _) = two_spaces(&env, &root, options()).await;
    alpha.put("k", "v").await.unwrap();
    copy_tree(&root, &killed);
    running.close().await.unwrap();
    let before = tree(&killed.join("alpha"));
    let engine = engine(&env, &killed, options()).await;
    for (op, kind, os) in [
        (IoOp::Allocate, IoErrorKind::NoSpace, 28),
        (IoOp::WriteAt, IoErrorKind::NoSpace, 28),
        (IoOp::Sync, IoErrorKind::NoSpace, 28),
        (IoOp::Sync, IoErrorKind::Device, 5),
    ] {
        env.rule(op, "/alpha/wal/", Hook::Fail(kind, os));
        let error = engine.space(&id("alpha")).await.unwrap_err();
        let expected = if os == 28 { ErrorKind::NoSpace } else { ErrorKind::Failed };
        assert_eq!(error.kind(), expected, "{op:?}: {error}");
        env.lift();
        let after = tree(&killed.join("alpha"));
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{op:?}");
    }
    assert_eq!(entries(&engine.space(&id("alpha")).await.unwrap()).await.len(), 2);
    engine.close().await.unwrap();
}

/// Broke: a panic of the environment in the poll of a waiter left the space open with a write under way for ever, and one in
/// its task left it fenced with one: whoever waited, reopened or closed hung.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_in_a_write_or_sync_of_the_log_fences_the_space_whoever_does_it() {
    for op in [IoOp::WriteAt, IoOp::Sync] {
        for durability in [Durability::Power, Durability::Relaxed] {
            let temp = scratch();
            let env = HookedEnv::new();
            let options = Options { flush_interval_ms: 10, ..options() };
            let (engine, alpha, beta) = two_spaces(&env, temp.path(), options).await;
            alpha.put("warm", "up").await.unwrap();
            env.rule(op, "/alpha/wal/", Hook::Panic);
            let put = |key: &'static str| {
                let alpha = alpha.clone();
                tokio::spawn(async move {
                    let mut batch = Batch::new();
                    batch.put(key, "v");
                    alpha.write(&batch, WriteOptions::default()).await.unwrap().durable(durability).await
                })
            };
            // One of them panics itself, or the space's task does; nobody hangs.
            for put in [put("one"), put("another")] {
                let told = tokio::time::timeout(Duration::from_secs(20), put).await;
                let told = told.unwrap_or_else(|_| panic!("{op:?} {durability:?}: a waiter hangs"));
                assert!(durability == Durability::Relaxed || !matches!(told, Ok(Ok(()))), "{op:?}");
            }
            until("it is fenced", || matches!(alpha.state(), SpaceState::Fenced(_))).await;
            env.lift();
            beta.put("k", "v").await.unwrap();
            let reopened = tokio::time::timeout(Duration::from_secs(20), engine.reopen(&id("alpha"))).await;
            let alpha =
                reopened.unwrap_or_else(|_| panic!("{op:?} {durability:?}: reopening hangs")).unwrap();
            alpha.put("after", "v").await.unwrap();
            let closed = tokio::time::timeout(Duration::from_secs(20), engine.close()).await;
            closed.unwrap_or_else(|_| panic!("{op:?} {durability:?}: closing hangs")).unwrap();
        }
    }
}

/// Broke: a panic while log space was being prepared marked the space's task as ended although it was waiting for a
/// sync, and a reopening began while that sync was under way.
#[tokio::test(flavor = "current_thread")]
async fn a_panic_while_log_space_is_prepared_ends_the_opening_only_with_its_last_io() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, alpha, _) = two_spaces(&env, temp.path(), options()).await;
    alpha.put("warm", "up").await.unwrap();
    let calls = |op| env.count(op, "/alpha/wal/");
    let (syncs, creates) = (calls(IoOp::Sync), calls(IoOp::Create));
    env.rule(IoOp::Sync, "/alpha/wal/", Hook::Hold);
    env.rule(IoOp::Create, "/alpha/wal/", Hook::Hold);
    env.rule(IoOp::Allocate, "/alpha/wal/", Hook::Panic);
    let put = |key: &'static str, len| {
        let alpha = alpha.clone();
        tokio::spawn(async move { alpha.put(key, vec![1; len]).await })
    };
    let syncing = put("k", 1);
    until("a sync is held back", || calls(IoOp::Sync) > syncs).await;
    let waiting = put("big", 100_000);
    until("log space is being prepared", || calls(IoOp::Create) > creates).await;
    let (opens, engine_too) = (env.count(IoOp::OpenDir, "/alpha"), engine.clone());
    let reopening = tokio::spawn(async move { engine_too.reopen(&id("alpha")).await });
    until("alpha is being closed", || matches!(alpha.state(), SpaceState::Closed)).await;
    env.lift_only(IoOp::Create);
    until("the panic fences it", || matches!(alpha.state(), SpaceState::Fenced(_))).await;
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(syncing.await.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(env.count(IoOp::OpenDir, "/alpha"), opens, "reopened while a sync was under way");
    env.lift();
    let alpha = reopening.await.unwrap().unwrap();
    assert!(alpha.get("warm").await.unwrap().is_some());
    alpha.put("big", vec![1; 100_000]).await.unwrap();
    engine.close().await.unwrap();
}

/// Broke: a put from a destructor that ran because of somebody else's panic fenced the space.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_while_the_caller_unwinds_is_a_put_like_any_other() {
    struct PutsWhenDropped(Space);
    impl Drop for PutsWhenDropped {
        fn drop(&mut self) {
            // Not unwrapped: a second panic would abort.
            let _ = bulkhead::env::os::block_on(self.0.put("from", "a destructor"));
        }
    }
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, alpha, _) = two_spaces(&env, temp.path(), options()).await;
    let unwinding = alpha.clone();
    let thread = std::thread::spawn(move || {
        let _puts = PutsWhenDropped(unwinding);
        panic!("the caller's own, on purpose");
    });
    assert!(tokio::task::spawn_blocking(|| thread.join()).await.unwrap().is_err());
    assert!(matches!(alpha.state(), SpaceState::Open), "{:?}", alpha.state());
    assert!(alpha.get("from").await.unwrap().is_some());
    engine.close().await.unwrap();
}

/// Creations that meet at the last free place must not count each other, or all of them are refused.
#[tokio::test(flavor = "multi_thread")]
async fn of_creations_that_race_for_the_last_place_one_gets_it() {
    const THREADS: usize = 8;
    let env = HookedEnv::new();
    let runtime = tokio::runtime::Handle::current();
    for round in 0..100 {
        let temp = scratch();
        let engine = engine(&env, temp.path(), Options { max_spaces: 1, ..options() }).await;
        let start = Arc::new(std::sync::Barrier::new(THREADS));
        let create = |n| {
            let (engine, runtime, start) = (engine.clone(), runtime.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                runtime.block_on(engine.create_space(&id(&format!("s{n}")))).map(|_| ())
            })
        };
        let threads: Vec<_> = (0..THREADS).map(create).collect();
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().map(|t| t.join().unwrap()).collect());
        let results: Vec<bulkhead::Result<()>> = joined.await.unwrap();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "round {round}: {results:?}");
        engine.close().await.unwrap();
    }
}

/// Broke: while a root held no space, its `.engine` was made anew although a newer release had written it.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_root_of_a_newer_format_level_is_refused_and_left_alone() {
    let temp = scratch();
    let env = HookedEnv::new();
    engine(&env, temp.path(), options()).await.close().await.unwrap();
    let path = temp.path().join(".engine");
    let mut bytes = std::fs::read(&path).unwrap();
    for start in [0, 4096] {
        let page = &mut bytes[start..start + 4096];
        page[20..24].copy_from_slice(&2u32.to_le_bytes());
        let tag = u64::from_le_bytes(page[8..16].try_into().unwrap());
        let crc = bulkhead::codec::checksum(tag, start as u64, page, 16);
        page[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&path, &bytes).unwrap();
    let refused = Engine::open(env.clone(), temp.path(), options()).await.unwrap_err();
    assert!(refused.to_string().contains("newer release"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_serves_all_who_came_while_the_one_before_ran() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, alpha, _) = two_spaces(&env, temp.path(), options()).await;
    alpha.put("warm", "up").await.unwrap();
    let (mut commits, before) = (0, env.count(IoOp::Sync, "/alpha/wal/"));
    for round in 0..10 {
        env.rule(IoOp::Sync, "/alpha/wal/", Hook::Hold);
        let seen = env.count(IoOp::Sync, "/alpha/wal/");
        let put = |i: usize| {
            let alpha = alpha.clone();
            tokio::spawn(async move { alpha.put(format!("{round}-{i}"), "v").await })
        };
        let mut writers = vec![put(0)];
        until("the first sync is held back", || env.count(IoOp::Sync, "/alpha/wal/") > seen).await;
        let last = alpha.last_lsn();
        writers.extend((1..8).map(put));
        until("seven more are ordered", || alpha.last_lsn() == last.advance(7)).await;
        env.lift();
        for writer in writers {
            writer.await.unwrap().unwrap();
            commits += 1;
        }
    }
    let syncs = env.count(IoOp::Sync, "/alpha/wal/") - before;
    assert_eq!(commits, 80);
    // Two for each round, and some to prepare segments.
    assert!(syncs <= 24, "{syncs} syncs for {commits} commits");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_commits_become_durable_within_the_interval_and_nobody_waits() {
    let temp = scratch();
    let env = HookedEnv::new();
    let relaxed = Options { durability: Durability::Relaxed, flush_interval_ms: 20, ..options() };
    let (engine, alpha, beta) = two_spaces(&env, temp.path(), relaxed).await;
    let lsn = alpha.put("k", "v").await.unwrap();
    assert_eq!(alpha.get("k").await.unwrap().unwrap().to_vec(), b"v");
    until("the interval passes", || alpha.durable_lsn() >= lsn).await;
    assert_eq!(beta.durable_lsn(), beta.last_lsn());
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_bytes_of_log_are_synced_whoever_waits_for_that() {
    let temp = scratch();
    let env = HookedEnv::new();
    // In one segment: the end of one is synced in any case.
    let process = Options {
        durability: Durability::Process,
        flush_bytes: 64 * 1024,
        segment_first: 1 << 20,
        segment_max: 1 << 20,
        ..options()
    };
    let (engine, alpha, beta) = two_spaces(&env, temp.path(), process).await;
    let durable = alpha.durable_lsn();
    // Less than the bound, in either space: nobody syncs for an hour.
    for space in [&alpha, &beta] {
        space.put("k", vec![1; 40_000]).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!((alpha.durable_lsn(), beta.durable_lsn() < beta.last_lsn()), (durable, true));
    let lsn = alpha.put("k", vec![1; 40_000]).await.unwrap();
    until("the bytes are synced", || alpha.durable_lsn() >= lsn).await;
    assert!(beta.durable_lsn() < beta.last_lsn(), "that is of no concern to a neighbour");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_kept_exactly_and_refusals_say_what_would_fit() {
    let temp = scratch();
    let env = HookedEnv::new();
    let process = Options { durability: Durability::Process, ..options() };
    let (engine, alpha, _) = two_spaces(&env, temp.path(), process).await;
    let (key_max, value_max) = (64 * 1024, 64 * 1024 * 1024);
    alpha.put([0], "").await.unwrap();
    alpha.put(vec![1; key_max], vec![2; value_max]).await.unwrap();
    assert_eq!(alpha.get(vec![1; key_max]).await.unwrap().unwrap().to_vec(), vec![2; value_max]);
    let mut large = Batch::new();
    large.put("a", vec![0; value_max / 2 + key_max]).put("b", vec![0; value_max / 2 + key_max]);
    let before = alpha.last_lsn();
    let refused = [
        (Rejected::Key, alpha.put("", "v").await.unwrap_err()),
        (Rejected::Key, alpha.put(vec![1; key_max + 1], "v").await.unwrap_err()),
        (Rejected::Key, alpha.get("").await.unwrap_err()),
        (Rejected::Key, alpha.delete(vec![1; key_max + 1]).await.unwrap_err()),
        (Rejected::Value, alpha.put("k", vec![0; value_max + 1]).await.unwrap_err()),
        (Rejected::Batch, alpha.write(&Batch::new(), WriteOptions::default()).await.unwrap_err()),
        (Rejected::Batch, alpha.write(&large, WriteOptions::default()).await.unwrap_err()),
    ];
    for (why, error) in refused {
        assert_eq!(error.kind(), ErrorKind::Rejected(why), "{error}");
        assert_tells(&error, "alpha");
    }
    assert_eq!(alpha.last_lsn(), before, "what is refused is not ordered");
    let missing = engine.space(&id("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Rejected(Rejected::NoSuchSpace));
    assert_tells(&missing, "missing");
    let exists = engine.create_space(&id("alpha")).await.unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::Rejected(Rejected::SpaceExists));
    assert_tells(&exists, "alpha");
    engine.close().await.unwrap();
    let closed = alpha.put("k", "v").await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    assert_tells(&closed, "alpha");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_space_more_than_allowed_is_refused() {
    let temp = scratch();
    let env = HookedEnv::new();
    let (engine, ..) = two_spaces(&env, temp.path(), Options { max_spaces: 2, ..options() }).await;
    for refused in [engine.create_space(&id("c")).await, engine.get_or_create_space(&id("c")).await] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected(Rejected::TooManySpaces));
        assert_tells(&error, "c");
    }
    engine.get_or_create_space(&id("alpha")).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_memory_budget_memtables_are_flushed_and_what_never_fits_is_busy() {
    let temp = scratch();
    let env = HookedEnv::new();
    let small = Options { memory_budget: 256 * 1024, ..options() };
    let (engine, alpha, beta) = two_spaces(&env, temp.path(), small).await;
    // Beta holds a part of the memory and rests; alpha needs more than all of it.
    let key = |n: usize| format!("k{n}");
    for n in 0..100 {
        beta.put(key(n), vec![b'b'; 1000]).await.unwrap();
    }
    for n in 0..2000 {
        alpha.put(key(n), vec![b'a'; 1000]).await.unwrap();
        assert!(alpha.memory_bytes() + beta.memory_bytes() <= 256 * 1024, "after {n}");
    }
    for n in 0..2000 {
        assert!(alpha.get(key(n)).await.unwrap().is_some(), "{n}");
    }
    let error = alpha.put("large", vec![b'a'; 300_000]).await.unwrap_err();
    let ErrorKind::Busy { retry_after } = error.kind() else { panic!("{error}") };
    assert!(!retry_after.is_zero());
    assert_tells(&error, "alpha");
    alpha.delete(key(0)).await.unwrap();
    beta.put("room", vec![b'v'; 1000]).await.unwrap();
    assert!(alpha.get(key(0)).await.unwrap().is_none());
    engine.close().await.unwrap();
}
