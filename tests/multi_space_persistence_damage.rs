//! Goal: damage costs the space it is in and nothing else, is told with its place, and what is not a space is left
//! alone. Method: three spaces on the real file system, one of them damaged by hand, in eight ways.
use crate::multi_space_persistence::{copy_tree, entries, id, open, options, scratch, tree};
use bulkhead::RecoveryStatus::{self, Clean, Corrupt, Failed, TornTail};
use bulkhead::env::os::OsEnv;
use bulkhead::{Durability, Engine, ErrorKind, Options, Rejected};
use std::path::{Path, PathBuf};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Three spaces with ten durable commits each and one that was only written; closed, or as a kill leaves them.
async fn filled(into: &Path, closed: bool) {
    let work = scratch();
    let root = work.path().join("root");
    let engine = open(&root).await;
    for name in NAMES {
        let space = engine.create_space(&id(name)).await.unwrap();
        for i in 0..10u8 {
            space.put([b'k', i], [i; 100]).await.unwrap();
        }
        let last = space.put_commit("last", "x").await.unwrap();
        last.durable(Durability::Process).await.unwrap();
    }
    if closed {
        engine.close().await.unwrap();
        copy_tree(&root, into);
    } else {
        copy_tree(&root, into);
        engine.close().await.unwrap();
    }
}

/// The only segment with frames, and where its last frame begins.
fn segment(space: &Path) -> (PathBuf, Vec<u8>, usize) {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(space.join("wal")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let bytes = std::fs::read(&files[0]).unwrap();
    // Every frame begins with the same tag.
    let tag = &bytes[4096..4104];
    let last = (4096..bytes.len() - 8).step_by(8).rfind(|&at| &bytes[at..at + 8] == tag).unwrap();
    (files[0].clone(), bytes, last)
}

struct Damage {
    name: &'static str,
    /// Of a log that was closed, or as a kill left it.
    closed: bool,
    status: RecoveryStatus,
    /// Commits that are there; of a space that does not open, none are asked for.
    commits: u64,
    act: fn(&Path),
}

fn rewrite(space: &Path, change: impl FnOnce(&mut Vec<u8>, usize)) {
    let (file, mut bytes, last) = segment(space);
    change(&mut bytes, last);
    std::fs::write(file, bytes).unwrap();
}

const DAMAGES: [Damage; 8] = [
    Damage {
        name: "torn tail",
        closed: false,
        status: TornTail,
        commits: 10,
        act: |space| rewrite(space, |bytes, last| bytes[last + 50] ^= 1),
    },
    Damage {
        name: "bit flip in a segment's header",
        closed: true,
        status: Corrupt,
        commits: 0,
        act: |space| rewrite(space, |bytes, _| bytes[20] ^= 1),
    },
    Damage {
        name: "bit flip in a payload",
        closed: true,
        status: Corrupt,
        commits: 0,
        act: |space| rewrite(space, |bytes, _| bytes[4096 + 1024 + 70] ^= 1),
    },
    Damage {
        name: "empty file",
        closed: true,
        status: Corrupt,
        commits: 0,
        act: |space| rewrite(space, |bytes, _| bytes.clear()),
    },
    Damage {
        name: "zeros where the last frame was",
        closed: false,
        status: Clean,
        commits: 10,
        act: |space| rewrite(space, |bytes, last| bytes[last..].fill(0)),
    },
    Damage {
        name: "foreign files",
        closed: true,
        status: Clean,
        commits: 11,
        act: |space| {
            std::fs::write(space.join("wal/notes.txt"), "not ours").unwrap();
            std::fs::write(space.join("README"), "not ours").unwrap();
        },
    },
    Damage {
        name: "missing wal/",
        closed: true,
        status: Corrupt,
        commits: 0,
        act: |space| std::fs::remove_dir_all(space.join("wal")).unwrap(),
    },
    Damage {
        // Permissions do not keep the superuser out; a link in the place of a file keeps everybody out.
        name: "a segment that cannot be opened",
        closed: true,
        status: Failed,
        commits: 0,
        act: |space| {
            let (file, _, _) = segment(space);
            std::fs::rename(&file, space.join("moved")).unwrap();
            std::os::unix::fs::symlink("../moved", &file).unwrap();
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_spaces_damaged_in_eight_ways() {
    for Damage { name, closed, status, commits, act } in DAMAGES {
        let temp = scratch();
        filled(temp.path(), closed).await;
        let beta = temp.path().join("beta");
        act(&beta);
        let before = tree(&beta);
        let engine = open(temp.path()).await;
        let reports = engine.recover_all().await.unwrap();
        let told: Vec<_> = reports.iter().map(|r| (r.id.as_str(), r.status)).collect();
        assert_eq!(told, [("alpha", Clean), ("beta", status), ("gamma", Clean)], "{name}: {reports:?}");
        for neighbour in ["alpha", "gamma"] {
            let space = engine.space(&id(neighbour)).await.unwrap();
            assert_eq!(entries(&space).await.len(), 11, "{name}");
            space.put("still", "works").await.unwrap();
        }
        let report = &reports[1];
        if matches!(status, Clean | TornTail) {
            let space = engine.space(&id("beta")).await.unwrap();
            assert_eq!((report.commits, entries(&space).await.len() as u64), (commits, commits), "{name}");
            assert_eq!(report.torn_bytes > 0, status == TornTail, "{name}: {report:?}");
            if closed {
                assert_eq!(tree(&beta), before, "{name}: opening changed something");
            }
        } else {
            let error = engine.space(&id("beta")).await.unwrap_err();
            let kind = if status == Corrupt { ErrorKind::Corrupt } else { ErrorKind::Failed };
            assert_eq!((error.kind(), error.space().unwrap().as_str()), (kind, "beta"), "{name}: {error}");
            assert!(error.path().is_some() && report.error.is_some(), "{name}: {error}");
            assert_eq!(tree(&beta), before, "{name}: a space that is not opened is not touched");
        }
        engine.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alphas_segment_in_betas_log_is_never_betas_data() {
    let temp = scratch();
    filled(temp.path(), true).await;
    let other = scratch();
    let root = other.path().join("root");
    let (alphas, bytes, _) = segment(&temp.path().join("alpha"));
    // Beside beta's own, under its own name: nothing lists it.
    copy_tree(temp.path(), &root);
    std::fs::copy(&alphas, root.join("beta/wal").join(alphas.file_name().unwrap())).unwrap();
    let engine = open(&root).await;
    let beta = engine.space(&id("beta")).await.unwrap();
    assert_eq!((beta.recovery_report().commits, entries(&beta).await.len()), (11, 11));
    engine.close().await.unwrap();
    // In the place of beta's own: it is listed, and it is not beta's.
    let (betas, ..) = segment(&temp.path().join("beta"));
    std::fs::write(&betas, bytes).unwrap();
    let engine = open(temp.path()).await;
    let reports = engine.recover_all().await.unwrap();
    assert_eq!(reports.iter().map(|r| r.status).collect::<Vec<_>>(), [Clean, Corrupt, Clean]);
    let damage = reports[1].damage.as_ref().expect("the report names the file");
    assert!(betas.ends_with(&damage.file), "{damage:?}");
    assert_eq!((reports[1].commits, reports[1].operations), (0, 0));
    assert!(engine.salvage(&id("beta")).await.unwrap().entries().is_empty());
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_space_is_named_and_never_touched() {
    let temp = scratch();
    filled(temp.path(), true).await;
    let at = |name: &str| temp.path().join(name);
    for dir in ["backup", "lost+found", "Zeta", ".hidden", "impostor", "bad%zz"] {
        std::fs::create_dir(at(dir)).unwrap();
        std::fs::write(at(dir).join("file"), "somebody's").unwrap();
    }
    std::fs::write(at("notes"), "a file").unwrap();
    std::os::unix::fs::symlink("alpha", at("link")).unwrap();
    std::os::unix::fs::symlink("/", at("way-out")).unwrap();
    // Its SPACE is another one's: so it is a space, and none that can be opened.
    std::fs::copy(at("alpha/SPACE"), at("impostor/SPACE")).unwrap();
    let strangers =
        ["backup", "lost+found", "Zeta", ".hidden", "impostor", "bad%zz", "notes", "link", "way-out"];
    let look = || strangers.map(|name| tree(&at(name).parent().unwrap().join(name)));
    let before = look();
    let engine = open(temp.path()).await;
    let listing = engine.list_spaces();
    let spaces: Vec<&str> = listing.spaces.iter().map(|s| s.as_str()).collect();
    assert_eq!(spaces, ["alpha", "beta", "gamma", "impostor"]);
    let ignored: Vec<&str> = listing.ignored.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(ignored, [".hidden", "Zeta", "backup", "bad%zz", "link", "lost+found", "notes", "way-out"]);
    assert!(listing.ignored.iter().all(|i| !i.why.is_empty()));
    let reports = engine.recover_all().await.unwrap();
    assert_eq!(reports.iter().map(|r| r.status).collect::<Vec<_>>(), [Clean, Clean, Clean, Failed]);
    for name in ["backup", "link", "notes"] {
        let refused = engine.create_space(&id(name)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::SpaceExists), "{refused}");
    }
    let refused = engine.create_space(&id("impostor")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::SpaceExists), "{refused}");
    engine.space(&id("alpha")).await.unwrap().put("k", "v").await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(look(), before);
    let left: Vec<String> = tree(temp.path()).into_keys().filter(|n| n.starts_with("/.creating")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Broke: both were taken for what a crash had left of ours, and overwritten.
#[tokio::test]
async fn files_of_somebody_else_that_have_our_names_are_refused_and_never_touched() {
    for (name, kind) in [(".engine", ErrorKind::Corrupt), (".lock", ErrorKind::Failed)] {
        for content in ["my precious config", "BHENGI but then something else", "p"] {
            let temp = scratch();
            let file = temp.path().join(name);
            std::fs::write(&file, content).unwrap();
            let opened = Engine::open(OsEnv::current(), temp.path(), options()).await;
            if name == ".lock" && content == "p" {
                // As little as that a full disk may leave of a line of ours.
                opened.unwrap().close().await.unwrap();
                continue;
            }
            let refused = opened.unwrap_err();
            assert_eq!(refused.kind(), kind, "{content}: {refused}");
            assert!(refused.to_string().contains(&file.display().to_string()), "{refused}");
            assert_eq!(std::fs::read(&file).unwrap(), content.as_bytes());
            std::fs::remove_file(&file).unwrap();
            open(temp.path()).await.close().await.unwrap();
        }
    }
    // What a crash may leave of a root that was being made.
    let made = scratch();
    open(made.path()).await.close().await.unwrap();
    let whole = std::fs::read(made.path().join(".engine")).unwrap();
    for torn in [&whole[..0], &whole[..512], &[0; 8192], &[&whole[..4096], &[0; 4096]].concat()] {
        std::fs::write(made.path().join(".engine"), torn).unwrap();
        open(made.path()).await.close().await.unwrap();
    }
}

/// Broke: each opening that is not closed adds a segment. A process that is killed again and again before a flush has ended
/// came to the end of what a manifest can list, and the space could not be opened any more.
#[test]
fn a_space_whose_process_is_always_killed_stays_one_that_can_be_opened() {
    let temp = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| scratch());
    let options = Options { reserve_bytes: 0, ..options() };
    let opened = |n: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let segments = runtime.block_on(async {
            let engine = Engine::open(OsEnv::current(), temp.path(), options.clone()).await.unwrap();
            let space = engine.get_or_create_space(&id("alpha")).await.unwrap();
            space.put(n.to_be_bytes(), "v").await.unwrap();
            space.stats().log.segments
        });
        // All that is under way ends here.
        drop(runtime);
        segments
    };
    let most = (0..560).map(opened).max().unwrap();
    assert!((500..530).contains(&most), "{most} segments");
    assert!(opened(560) < 100, "they were flushed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = runtime.block_on(async {
        let engine = Engine::open(OsEnv::current(), temp.path(), options.clone()).await.unwrap();
        entries(&engine.space(&id("alpha")).await.unwrap()).await.len()
    });
    assert_eq!(kept, 561);
}
