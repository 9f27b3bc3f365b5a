//! Goal: a deleted space is gone for good, its id is free at once and starts empty, whoever held on to it is told so, and
//! no other space notices. Method: real files; spaces in every state; a neighbour under load beside them.
use bulkhead::env::os::OsEnv;
use bulkhead::{
    Direction, Durability, Engine, ErrorKind, Options, RecoveryStatus, Rejected, Space, SpaceId, SpaceState,
    TierOptions,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

const DELETED: ErrorKind = ErrorKind::Rejected(Rejected::Deleted);
const NO_SUCH: ErrorKind = ErrorKind::Rejected(Rejected::NoSuchSpace);

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

/// Small memtables, so that there are tables too.
fn options() -> Options {
    let tiers = TierOptions { memtable_bytes: 16 * 1024, ..TierOptions::default() };
    // What lies in the root is looked at: there is nothing in it but spaces.
    let reserve_bytes = 0;
    Options {
        durability: Durability::Process,
        segment_max: 64 * 1024,
        reserve_bytes,
        tiers,
        ..Options::default()
    }
}

async fn open(root: &Path) -> Engine {
    Engine::open(OsEnv::current(), root, options()).await.unwrap()
}

async fn fill(space: &Space, entries: u32) {
    for n in 0..entries {
        space.put(format!("key {n:05}"), vec![n as u8; 300]).await.unwrap();
    }
}

async fn count(space: &Space) -> usize {
    let mut scan = space.scan::<&[u8]>(.., Direction::Ascending);
    let mut entries = 0;
    while scan.next().await.unwrap().is_some() {
        entries += 1;
    }
    entries
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn kind<T: std::fmt::Debug>(result: bulkhead::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_space_is_gone_and_its_id_starts_empty_while_a_neighbour_works_on() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    let beta = engine.create_space(&id("beta")).await.unwrap();
    let load = tokio::spawn({
        let beta = beta.clone();
        async move {
            fill(&beta, 2000).await;
        }
    });
    for round in 0..5 {
        let alpha = engine.create_space(&id("alpha")).await.unwrap();
        assert_eq!(count(&alpha).await, 0, "round {round}");
        let uid = std::fs::read(temp.path().join("alpha/SPACE")).unwrap();
        fill(&alpha, 300).await;
        engine.delete_space(&id("alpha")).await.unwrap();
        assert!(!temp.path().join("alpha").exists());
        assert_eq!(engine.list_spaces().spaces, [id("beta")]);
        assert_eq!(kind(engine.space(&id("alpha")).await), NO_SUCH);
        assert_eq!(kind(engine.reopen(&id("alpha")).await), NO_SUCH);
        assert_eq!(kind(engine.delete_space(&id("alpha")).await), NO_SUCH);
        let anew = engine.create_space(&id("alpha")).await.unwrap();
        assert_eq!(count(&anew).await, 0, "round {round}");
        assert_ne!(std::fs::read(temp.path().join("alpha/SPACE")).unwrap(), uid, "another space");
        anew.put("anew", "1").await.unwrap();
        let anew = engine.reopen(&id("alpha")).await.unwrap();
        assert_eq!(count(&anew).await, 1);
        engine.delete_space(&id("alpha")).await.unwrap();
    }
    load.await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(names(temp.path()), set([".engine", ".lock", "beta"]), "all is removed once it is closed");
    let engine = open(temp.path()).await;
    assert_eq!(engine.recover_all().await.unwrap().len(), 1);
    assert_eq!(count(&engine.space(&id("beta")).await.unwrap()).await, 2000);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_held_on_to_it_is_told_and_never_sees_the_next_one() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    let alpha = engine.create_space(&id("alpha")).await.unwrap();
    fill(&alpha, 500).await;
    let snapshot = alpha.snapshot();
    let ticket = alpha.put_commit("later", "1").await.unwrap();
    let earlier = (alpha.clone(), snapshot, ticket.clone());
    let alpha = engine.reopen(&id("alpha")).await.unwrap();
    let mut scan = alpha.scan::<&[u8]>(.., Direction::Ascending);
    assert!(scan.next().await.unwrap().is_some());
    let (snapshot, ticket) = (alpha.snapshot(), alpha.put_commit("later", "2").await.unwrap());
    assert_eq!(earlier.0.get("key 00400").await.unwrap().map(|v| v.len()), Some(300));
    engine.delete_space(&id("alpha")).await.unwrap();
    let anew = engine.create_space(&id("alpha")).await.unwrap();
    anew.put("key 00400", "of the next one").await.unwrap();

    assert!(matches!(alpha.state(), SpaceState::Deleted));
    assert_eq!(kind(alpha.put("k", "v").await), DELETED);
    assert_eq!(kind(alpha.delete("k").await), DELETED);
    assert_eq!(kind(alpha.get("key 00400").await), DELETED);
    assert_eq!(kind(alpha.multi_get(&["key 00400"]).await), DELETED);
    assert_eq!(kind(alpha.flush(Durability::Power).await), DELETED);
    assert_eq!(kind(alpha.outcome(ticket.lsn())), DELETED);
    for durability in [Durability::Relaxed, Durability::Process, Durability::Power] {
        assert_eq!(kind(ticket.durable(durability).await), DELETED, "{durability:?}");
    }
    assert_eq!(kind(snapshot.get(b"key 00400").await), DELETED);
    // So are those of an opening before.
    assert!(matches!(earlier.0.state(), SpaceState::Deleted));
    assert_eq!(kind(earlier.0.get("key 00400").await), DELETED);
    assert_eq!(kind(earlier.1.get(b"key 00400").await), DELETED);
    assert_eq!(kind(earlier.2.durable(Durability::Power).await), DELETED);
    assert_eq!(kind(alpha.scan::<&[u8]>(.., Direction::Descending).next().await), DELETED);
    let told = scan.next().await.unwrap_err();
    assert_eq!(told.kind(), DELETED, "{told}");
    assert_eq!((alpha.memory_bytes(), told.space()), (0, Some(&id("alpha"))));
    drop((snapshot, scan));
    assert_eq!(count(&anew).await, 1);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_waiters_in_flight_get_a_clear_error() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    for round in 0..20 {
        let alpha = engine.create_space(&id("alpha")).await.unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let alpha = alpha.clone();
                tokio::spawn(async move {
                    for n in 0.. {
                        let commit = match alpha.put_commit(format!("{writer} {n}"), vec![1; 500]).await {
                            Ok(commit) => commit,
                            Err(told) => return told,
                        };
                        if let Err(told) = commit.durable(Durability::Power).await {
                            return told;
                        }
                    }
                    unreachable!("it is deleted")
                })
            })
            .collect();
        while alpha.last_lsn().counter() < 5 * round {
            tokio::task::yield_now().await;
        }
        let name = id("alpha");
        let (first, second) = tokio::join!(engine.delete_space(&name), engine.delete_space(&name));
        assert!(first.is_ok() && kind(second) == NO_SUCH);
        for writer in writers {
            let told = writer.await.unwrap();
            assert_eq!(told.kind(), DELETED, "{told}");
        }
    }
    engine.close().await.unwrap();
    assert_eq!(names(temp.path()), set([".engine", ".lock"]));
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.iter_mut().for_each(|b| *b ^= 0x55);
    std::fs::write(file, bytes).unwrap();
}

fn first_with(dir: &Path, part: &str) -> PathBuf {
    dir.join(names(dir).into_iter().find(|name| name.contains(part)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_deleted_whatever_state_it_is_in() {
    let temp = tempfile::tempdir().unwrap();
    let spaces = ["idle", "no-space", "no-manifest", "neither", "no-wal", "damaged"];
    let engine = open(temp.path()).await;
    for name in spaces {
        fill(&engine.create_space(&id(name)).await.unwrap(), 100).await;
    }
    engine.close().await.unwrap();
    let at = |name: &str| temp.path().join(name);
    flip(&at("no-space").join("SPACE"));
    flip(&first_with(&at("no-manifest"), "MANIFEST"));
    flip(&at("neither").join("SPACE"));
    flip(&first_with(&at("neither"), "MANIFEST"));
    std::fs::remove_dir_all(at("no-wal").join("wal")).unwrap();
    flip(&first_with(&at("damaged").join("wal"), ".wal"));
    // What does not belong there goes too, and what a link points at does not.
    std::fs::create_dir_all(at("idle").join("quarantine/deep/deeper")).unwrap();
    std::fs::write(at("idle").join("quarantine/deep/deeper/foreign"), "x").unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("kept"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), at("idle").join("wal/link")).unwrap();

    let engine = open(temp.path()).await;
    for (report, serves) in
        engine.recover_all().await.unwrap().iter().zip([false, true, false, false, false, false])
    {
        let ok = report.status == RecoveryStatus::Clean;
        assert_eq!(ok, serves, "{report:?}");
    }
    for name in spaces {
        engine.delete_space(&id(name)).await.unwrap();
        assert!(!at(name).exists(), "{name}");
        assert_eq!(count(&engine.create_space(&id(name)).await.unwrap()).await, 0, "{name}");
        engine.delete_space(&id(name)).await.unwrap();
    }
    engine.close().await.unwrap();
    assert_eq!(names(temp.path()), set([".engine", ".lock"]));
    assert_eq!(names(outside.path()), set(["kept"]));
    assert_eq!(kind(engine.delete_space(&id("idle")).await), ErrorKind::Closed);
}

#[tokio::test(flavor = "current_thread")]
async fn a_deletion_goes_on_without_its_caller() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    for waits in 0..100 {
        let alpha = engine.create_space(&id("alpha")).await.unwrap();
        fill(&alpha, 20).await;
        let name = id("alpha");
        let mut call = pin!(engine.delete_space(&name));
        let mut polled = 0;
        let done = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if polled == waits => Poll::Ready(None),
            Poll::Pending => {
                polled += 1;
                Poll::Pending
            }
        })
        .await;
        if let Some(done) = done {
            assert!(waits > 0, "it has to wait for the disk");
            done.unwrap();
            break;
        }
        // Whoever comes while it is under way is told, and nobody gets the old one back.
        let told = loop {
            match engine.get_or_create_space(&id("alpha")).await {
                Ok(anew) => break count(&anew).await,
                Err(e) => assert_eq!(e.kind(), DELETED, "{e}"),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(told, 0);
        engine.delete_space(&id("alpha")).await.unwrap();
    }
    assert!(engine.list_spaces().spaces.is_empty());
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn places_and_memory_are_given_back_while_handles_are_still_held() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = Options { max_spaces: 2, memory_budget: 1 << 20, ..options() };
    options.tiers.memtable_bytes = 1 << 20;
    let engine = Engine::open(OsEnv::current(), temp.path(), options).await.unwrap();
    let beta = engine.create_space(&id("beta")).await.unwrap();
    let mut held = Vec::new();
    for round in 0..6 {
        let alpha = engine.create_space(&id("alpha")).await.unwrap();
        assert_eq!(
            kind(engine.create_space(&id("one too many")).await),
            ErrorKind::Rejected(Rejected::TooManySpaces)
        );
        // Two thirds of the budget, kept in memory by a snapshot.
        held.push(alpha.snapshot());
        for n in 0..7 {
            alpha.put(format!("{n}"), vec![round; 90 * 1024]).await.unwrap();
        }
        if round % 2 == 0 {
            for _ in 0..3 {
                let again = engine.reopen(&id("alpha")).await.unwrap();
                assert_eq!(count(&again).await, 7);
                held.push(again.snapshot());
            }
            beta.put("k", vec![1; 200 * 1024]).await.unwrap();
        }
        engine.delete_space(&id("alpha")).await.unwrap();
        held.push(alpha.snapshot());
        beta.put("k", vec![1; 200 * 1024]).await.unwrap();
    }
    engine.close().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy(&from, &to) } else { assert!(std::fs::copy(from, to).is_ok()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_left_is_removed_at_the_next_opening_and_wins_over_a_space_of_its_uid() {
    let temp = tempfile::tempdir().unwrap();
    let engine = open(temp.path()).await;
    for name in ["alpha", "beta", "gamma"] {
        fill(&engine.create_space(&id(name)).await.unwrap(), 100).await;
    }
    engine.close().await.unwrap();
    let uid = |name: &str| {
        let bytes = std::fs::read(temp.path().join(name).join("SPACE")).unwrap();
        bulkhead::space::Identity::decode(&bytes).unwrap().uid
    };
    let at = |name: &str| temp.path().join(name);
    let (alpha, gamma) = (format!(".deleted-{}", uid("alpha")), format!(".deleted-{}", uid("gamma")));
    copy(&at("alpha"), &at(&alpha));
    std::fs::rename(at("gamma"), at(&gamma)).unwrap();
    // These are none of ours.
    std::fs::write(at(".deleted-0123456789abcdef0123456789abcdef"), "a file").unwrap();
    std::fs::create_dir(at(".deleted-me")).unwrap();
    std::fs::write(at(".deleted-me/kept"), "x").unwrap();
    let engine = open(temp.path()).await;
    assert_eq!(engine.list_spaces().spaces, [id("beta")]);
    assert_eq!(kind(engine.space(&id("alpha")).await), NO_SUCH);
    assert_eq!(count(&engine.create_space(&id("alpha")).await.unwrap()).await, 0);
    assert_eq!(count(&engine.space(&id("beta")).await.unwrap()).await, 100);
    engine.close().await.unwrap();
    let left =
        [".deleted-0123456789abcdef0123456789abcdef", ".deleted-me", ".engine", ".lock", "alpha", "beta"];
    assert_eq!(names(temp.path()), set(left));
    assert!(at(".deleted-me/kept").exists());
    let engine = open(temp.path()).await;
    assert_eq!(engine.list_spaces().spaces, [id("alpha"), id("beta")], "the new one is not the deleted one");
    engine.close().await.unwrap();
}
