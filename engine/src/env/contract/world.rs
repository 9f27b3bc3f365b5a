//! Verbs of the environment itself.
use super::{ok, refuses};
use crate::env::{Env, Io, IoErrorKind, IoOp, Missing, Owner};
use std::path::Path;
use std::time::Duration;

pub(super) async fn open_root_makes_or_refuses(env: &dyn Env, root: &Path) {
    let deep = root.join("root/of/all");
    refuses(IoOp::OpenRoot, IoErrorKind::NotFound, env.open_root(&deep, Missing::Refuse)).await;
    refuses(IoOp::OpenRoot, IoErrorKind::NotFound, env.open_root(root, Missing::Refuse)).await;
    let dir = ok("open_root", env.open_root(&deep, Missing::Create)).await;
    assert_eq!(dir.path(), deep, "open_root: a directory knows the path that it was opened by");
    ok("sync_parent", env.sync_parent(&deep)).await;
    ok("create", dir.create("file")).await;
    for missing in [Missing::Create, Missing::Refuse] {
        let again = ok("open_root", env.open_root(&deep, missing)).await;
        let entries = ok("list", again.list()).await;
        assert_eq!(entries.len(), 1, "open_root: what is there stays, {missing:?}");
        let file = deep.join("file");
        refuses(IoOp::OpenRoot, IoErrorKind::NotOurs, env.open_root(&file, missing)).await;
        refuses(IoOp::OpenRoot, IoErrorKind::NotOurs, env.open_root(&file.join("below"), missing)).await;
    }
}

pub(super) async fn clock_and_entropy_go_on(env: &dyn Env) {
    let _ = env.wall();
    let before = env.now();
    for sleep in [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(20)] {
        let since = env.now();
        env.sleep(Owner(7), sleep).await;
        assert!(env.now() - since >= sleep, "sleep: completes once now has advanced by {sleep:?}");
    }
    drop(env.sleep(Owner(7), Duration::from_secs(3600)));
    assert!(env.now() >= before + Duration::from_millis(20), "now: never goes back");
    let drawn: std::collections::BTreeSet<u64> = (0..8).map(|_| env.entropy(Owner(7))).collect();
    assert_eq!(drawn.len(), 8, "entropy: 64 random bits do not repeat");
}

pub(super) async fn tasks_run_to_their_end(env: &dyn Env) {
    let mut ends = Vec::new();
    for n in 0..3_u64 {
        let (completer, end) = Io::pending();
        let nap = env.sleep(Owner(n), Duration::from_millis(1));
        env.spawn(
            Owner(n),
            "contract",
            Box::pin(async move {
                nap.await;
                completer.complete(Ok(n));
            }),
        );
        ends.push(end);
    }
    for (n, end) in ends.into_iter().enumerate() {
        assert_eq!(ok("spawn", end).await, n as u64, "spawn: a task runs to its end");
    }
}
