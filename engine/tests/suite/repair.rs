//! Goal: damage in front of what was durable is reported with its place, costs one space only, and is repaired on
//! explicit order alone. Method: real files, damaged by hand.
use bulkhead::env::os::{OsEnv, OsOptions};
use bulkhead::{Engine, ErrorKind, Options, RecoveryStatus, Rejected, SpaceId};
use std::path::{Path, PathBuf};

async fn open(root: &Path) -> Engine {
    let env = OsEnv::new(tokio::runtime::Handle::current(), OsOptions::default());
    let options = Options { segment_first: 16 * 1024, segment_max: 16 * 1024, ..Options::default() };
    Engine::open(env, root, options).await.unwrap()
}

fn id(s: &str) -> SpaceId {
    SpaceId::new(s).unwrap()
}

/// Two spaces with forty durable commits each, over several segments, closed cleanly.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    for name in ["alpha", "beta"] {
        let space = engine.create_space(&id(name)).await.unwrap();
        for i in 0..40u8 {
            space.put([b'k', i], vec![i; 700]).await.unwrap();
        }
    }
    engine.close().await.unwrap();
    dir
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(root.join("alpha/wal")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn damage(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

async fn repaired(root: &Path, kept: u8) {
    let engine = open(root).await;
    let reports = engine.recover_all().await.unwrap();
    assert_eq!(
        reports.iter().map(|r| r.status).collect::<Vec<_>>(),
        [RecoveryStatus::Corrupt, RecoveryStatus::Clean]
    );
    assert!(reports[0].damage.is_some(), "{:?}", reports[0]);
    let refused = engine.space(&id("alpha")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.path().is_some() && refused.offset().is_some(), "{refused}");
    let beta = engine.space(&id("beta")).await.unwrap();
    assert_eq!(beta.get([b'k', 39]).await.unwrap().unwrap().to_vec(), vec![39; 700]);

    let salvage = engine.salvage(&id("alpha")).await.unwrap();
    assert_eq!(salvage.entries().len(), usize::from(kept));
    let plan = engine.repair_plan(&id("alpha")).await.unwrap();
    assert_eq!(plan.commits, u64::from(kept));
    assert!(plan.lost.is_some() && !plan.set_aside.is_empty(), "{plan}");
    let space = engine.repair(&plan).await.unwrap();
    for i in 0..40u8 {
        let got = space.get([b'k', i]).await.unwrap().map(|v| v.to_vec());
        assert_eq!(got, (i < kept).then(|| vec![i; 700]), "key {i}");
    }
    space.put("after", "repair").await.unwrap();
    let stale = engine.repair(&plan).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Rejected(Rejected::State));
    engine.close().await.unwrap();
    assert!(std::fs::read_dir(root.join("alpha/quarantine")).unwrap().count() > 0);

    let engine = open(root).await;
    let space = engine.space(&id("alpha")).await.unwrap();
    assert_eq!(space.get("after").await.unwrap().unwrap().to_vec(), b"repair");
    assert_eq!(space.get([b'k', kept - 1]).await.unwrap().unwrap().to_vec(), vec![kept - 1; 700]);
    assert_eq!(space.get([b'k', kept]).await.unwrap(), None);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_first_segment_is_corruption_and_repair_keeps_the_prefix() {
    let dir = filled().await;
    // Frames of one commit take 1024 bytes; the link takes the first 80 of the page behind the header.
    damage(&segments(dir.path())[0], 4096 + 80 + 3 * 1024 + 100);
    repaired(dir.path(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_corruption() {
    let dir = filled().await;
    let gone = segments(dir.path());
    assert!(gone.len() > 3, "the log has several segments");
    std::fs::remove_file(&gone[1]).unwrap();
    let engine = open(dir.path()).await;
    let first = engine.salvage(&id("alpha")).await.unwrap().entries().len();
    engine.close().await.unwrap();
    assert!((5..40).contains(&first));
    repaired(dir.path(), first as u8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_front_of_the_seal_is_corruption() {
    let dir = filled().await;
    let files = segments(dir.path());
    let seal_or_last =
        files.iter().rev().find(|f| std::fs::read(f).unwrap()[4096..].iter().any(|&b| b != 0)).unwrap();
    damage(seal_or_last, 4096 + 80 + 100);
    let engine = open(dir.path()).await;
    assert_eq!(engine.space(&id("alpha")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_identity_is_rebuilt_from_the_manifest_on_order() {
    let dir = filled().await;
    std::fs::remove_file(dir.path().join("alpha/SPACE")).unwrap();
    let engine = open(dir.path()).await;
    let reports = engine.recover_all().await.unwrap();
    assert_eq!(reports[0].status, RecoveryStatus::Failed);
    let plan = engine.repair_plan(&id("alpha")).await.unwrap();
    assert!(plan.rebuilds_identity && plan.lost.is_none(), "{plan}");
    let space = engine.repair(&plan).await.unwrap();
    assert_eq!(space.get([b'k', 39]).await.unwrap().unwrap().to_vec(), vec![39; 700]);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_copied_from_another_space_is_refused() {
    let dir = filled().await;
    let ours = segments(dir.path())[0].clone();
    let mut theirs: Vec<_> =
        std::fs::read_dir(dir.path().join("beta/wal")).unwrap().map(|e| e.unwrap().path()).collect();
    theirs.sort();
    std::fs::copy(&theirs[0], &ours).unwrap();
    let engine = open(dir.path()).await;
    let refused = engine.space(&id("alpha")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(engine.salvage(&id("alpha")).await.unwrap().entries().is_empty());
    engine.close().await.unwrap();
}

/// Recovery swept every file in wal/ that looked like a segment and was not listed, also one of another space that
/// somebody had put there.
#[tokio::test(flavor = "multi_thread")]
async fn recovery_sweeps_its_own_leftovers_and_nobody_elses() {
    let dir = filled().await;
    let stranger = std::fs::read_dir(dir.path().join("beta/wal")).unwrap().next().unwrap().unwrap().path();
    let wal = dir.path().join("alpha/wal");
    let (foreign, cut_short) =
        (wal.join(stranger.file_name().unwrap()), wal.join("0000000000000099-00000000000000aa.wal"));
    std::fs::copy(&stranger, &foreign).unwrap();
    std::fs::write(&cut_short, vec![0; 8192]).unwrap();
    // Taking the seal away makes the log an unclean one.
    let last = segments(dir.path()).into_iter().rfind(|f| {
        *f != foreign && *f != cut_short && std::fs::read(f).unwrap()[4096..].iter().any(|&b| b != 0)
    });
    let last = last.unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|&b| b != 0).unwrap();
    bytes[end / 512 * 512..].fill(0);
    std::fs::write(&last, bytes).unwrap();
    let engine = open(dir.path()).await;
    let space = engine.space(&id("alpha")).await.unwrap();
    assert_eq!(space.get([b'k', 39]).await.unwrap().unwrap().to_vec(), vec![39; 700]);
    assert_eq!(space.recovery_report().case, "not sealed (R6)");
    engine.close().await.unwrap();
    assert_eq!(std::fs::read(&foreign).unwrap(), std::fs::read(&stranger).unwrap(), "never touched");
    assert!(!cut_short.exists(), "left by a creation that was cut short");
}

/// An engine that was dropped without a close gave its lock back while its spaces could still write.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_engine_keeps_the_lock_while_a_handle_lives() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    let space = engine.create_space(&id("alpha")).await.unwrap();
    drop(engine);
    let try_open = || async {
        let env = OsEnv::new(tokio::runtime::Handle::current(), OsOptions::default());
        Engine::open(env, dir.path(), Options::default()).await
    };
    assert_eq!(try_open().await.unwrap_err().kind(), ErrorKind::Rejected(Rejected::Locked));
    space.put("still", "writes").await.unwrap();
    drop(space);
    let opens = async {
        loop {
            match try_open().await {
                Ok(engine) => return engine,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Rejected(Rejected::Locked)),
            }
        }
    };
    let engine = tokio::time::timeout(std::time::Duration::from_secs(30), opens).await.unwrap();
    let space = engine.space(&id("alpha")).await.unwrap();
    assert_eq!(space.get("still").await.unwrap().unwrap().to_vec(), b"writes");
    engine.close().await.unwrap();
}

/// Broke: the last segment of a space that was closed cleanly, cut back in front of its last frames, read as a shorter
/// log: `clean`, and durable commits gone without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_last_segment_that_was_cut_short_is_damage_wherever_the_cut_is() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    for name in ["alpha", "beta"] {
        engine.create_space(&id(name)).await.unwrap().put("k", "v").await.unwrap();
    }
    engine.close().await.unwrap();
    let tail = segments(dir.path()).pop().unwrap();
    let whole = std::fs::read(&tail).unwrap();
    for len in [whole.len() - 1, 5000, 4096, 4095, 1, 0] {
        std::fs::write(&tail, &whole[..len]).unwrap();
        let engine = open(dir.path()).await;
        let reports = engine.recover_all().await.unwrap();
        let statuses: Vec<_> = reports.iter().map(|r| r.status).collect();
        assert_eq!(statuses, [RecoveryStatus::Corrupt, RecoveryStatus::Clean], "cut to {len}");
        let refused = engine.space(&id("alpha")).await.unwrap_err();
        assert_eq!((refused.kind(), refused.path()), (ErrorKind::Corrupt, Some(tail.as_path())), "{refused}");
        engine.close().await.unwrap();
    }
    std::fs::write(&tail, &whole[..whole.len() - 1]).unwrap();
    let engine = open(dir.path()).await;
    let plan = engine.repair_plan(&id("alpha")).await.unwrap();
    assert_eq!(plan.commits, 1, "{plan}");
    engine.repair(&plan).await.unwrap();
    engine.close().await.unwrap();
    let engine = open(dir.path()).await;
    let alpha = engine.space(&id("alpha")).await.unwrap();
    assert_eq!(alpha.get("k").await.unwrap().unwrap().to_vec(), b"v");
    engine.close().await.unwrap();
}

/// Broke: a repair said that nothing would be lost, cut the log back, and left the space as shut as it had been.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_missing_table_leaves_is_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let tiers = bulkhead::TierOptions { memtable_bytes: 1024, ..Default::default() };
    let env = OsEnv::new(tokio::runtime::Handle::current(), OsOptions::default());
    let engine = Engine::open(env, dir.path(), Options { tiers, ..Options::default() }).await.unwrap();
    let space = engine.create_space(&id("alpha")).await.unwrap();
    let hot = dir.path().join("alpha/hot");
    let table = || Some(std::fs::read_dir(&hot).ok()?.next()?.unwrap().path());
    while table().is_none() {
        space.put("k", vec![1; 700]).await.unwrap();
    }
    space.compact().await.unwrap();
    engine.close().await.unwrap();
    let tiers = ["hot", "warm", "cold"].map(|tier| dir.path().join("alpha").join(tier));
    let tables = tiers.iter().filter_map(|tier| std::fs::read_dir(tier).ok()).flatten();
    tables.for_each(|table| std::fs::remove_file(table.unwrap().path()).unwrap());
    let names = || {
        let all = std::fs::read_dir(dir.path().join("alpha")).unwrap();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let before = names();
    let engine = open(dir.path()).await;
    assert_eq!(engine.space(&id("alpha")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let refused = engine.repair_plan(&id("alpha")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("backup"), "{refused}");
    engine.close().await.unwrap();
    assert_eq!(names(), before, "nothing was touched");
}

/// Broke: the plan said nothing of a file whose content nobody knows; and who merely opened the space was told that
/// another one's order was out of date.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_out_of_date_concerns_nobody_else() {
    let dir = filled().await;
    let files = segments(dir.path());
    damage(&files[1], 100);
    let engine = open(dir.path()).await;
    let stale = engine.repair_plan(&id("alpha")).await.unwrap();
    let place = stale.damaged.clone().unwrap();
    assert_eq!(dir.path().join("alpha").join(place.file), files[1]);
    assert!(stale.to_string().contains("LOSES what wal/"), "{stale}");
    assert!(stale.lost.unwrap() > stale.kept, "later segments tell how far the log was durable: {stale}");
    assert_eq!(engine.space(&id("alpha")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    damage(&files[0], 4096 + 80 + 3 * 1024 + 100);
    let refused = engine.repair(&stale).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::State));
    assert_eq!(engine.space(&id("alpha")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let plan = engine.repair_plan(&id("alpha")).await.unwrap();
    assert!(plan.kept < stale.kept, "{plan}");
    engine.repair(&plan).await.unwrap();
    engine.close().await.unwrap();
}
