//! Verbs of a directory.
use super::{file_holds, file_with, fresh, holds, ok, refuses, refuses_at};
use crate::env::{Access, Dir, DirEntry, EntryKind, IoErrorKind, IoOp, Metadata, Owner};
use std::sync::Arc;

use IoErrorKind::{AlreadyExists, NotFound, NotOurs};

pub(super) async fn create_takes_only_new_names(dir: &dyn Dir) {
    let file = ok("create", dir.create("a")).await;
    assert_eq!(file.path(), dir.path().join("a"), "create: a file knows the path that it was opened by");
    assert_eq!(ok("len", file.len()).await, 0, "create: a new file is empty");
    ok("write_at", file.write_at(0, b"content".to_vec())).await;
    file_holds("create: the handle reads and writes", &*file, b"content").await;
    refuses_at(dir, "a", IoOp::Create, AlreadyExists, dir.create("a")).await;
    holds("create: a refused one changes nothing", dir, "a", b"content").await;
    ok("make_dir", dir.make_dir("d")).await;
    refuses_at(dir, "d", IoOp::Create, AlreadyExists, dir.create("d")).await;
    let odd = "MANIFEST-%c3.Ä \u{1F512}";
    drop(file_with(dir, odd, b"odd").await);
    holds("create: a name is any text without a slash", dir, odd, b"odd").await;
}

pub(super) async fn open_takes_only_regular_files(dir: &dyn Dir) {
    for access in [Access::ReadStrict, Access::ReadRaw, Access::Write] {
        refuses_at(dir, "missing", IoOp::Open, NotFound, dir.open("missing", access)).await;
    }
    assert_eq!(ok("list", dir.list()).await, [], "open: makes nothing");
    drop(file_with(dir, "a", b"12345").await);
    ok("make_dir", dir.make_dir("d")).await;
    for access in [Access::ReadStrict, Access::ReadRaw, Access::Write] {
        refuses_at(dir, "d", IoOp::Open, NotOurs, dir.open("d", access)).await;
        let file = ok("open", dir.open("a", access)).await;
        assert_eq!(file.path(), dir.path().join("a"), "open: a file knows the path that it was opened by");
        file_holds("open: changes nothing", &*file, b"12345").await;
    }
    let file = ok("open", dir.open("a", Access::Write)).await;
    ok("write_at", file.write_at(1, b"xx".to_vec())).await;
    holds("open: for Write, writes land", dir, "a", b"1xx45").await;
}

pub(super) async fn rename_never_replaces(dir: &dyn Dir) {
    for (name, content) in [("a", &b"a's"[..]), ("b", b"b's")] {
        drop(file_with(dir, name, content).await);
    }
    for name in ["d", "e"] {
        ok("make_dir", dir.make_dir(name)).await;
    }
    for from in ["a", "d"] {
        for to in ["a", "b", "d", "e"] {
            refuses(IoOp::Rename, AlreadyExists, dir.rename(from, to)).await;
        }
    }
    refuses(IoOp::Rename, NotFound, dir.rename("missing", "new")).await;
    assert_eq!(ok("list", dir.list()).await.len(), 4, "rename: a refused one changes nothing");
    holds("rename: a refused one changes nothing", dir, "a", b"a's").await;
    holds("rename: a refused one changes nothing", dir, "b", b"b's").await;

    ok("rename", dir.rename("a", "new")).await;
    refuses_at(dir, "a", IoOp::Open, NotFound, dir.open("a", Access::ReadRaw)).await;
    holds("rename: the content moves", dir, "new", b"a's").await;
    ok("rename", dir.rename("new", "a")).await;
    holds("rename: a name that became free may be taken", dir, "a", b"a's").await;
    ok("rename", dir.rename("d", "f")).await;
    refuses_at(dir, "d", IoOp::OpenDir, NotFound, dir.open_dir("d")).await;
    ok("open_dir", dir.open_dir("f")).await;
}

pub(super) async fn rename_keeps_handles(dir: &dyn Dir) {
    let file = file_with(dir, "a", b"old").await;
    ok("rename", dir.rename("a", "b")).await;
    drop(file_with(dir, "a", b"another").await);
    ok("write_at", file.write_at(0, b"new".to_vec())).await;
    ok("sync", file.sync()).await;
    holds("rename: a handle goes with its file", dir, "b", b"new").await;
    holds("rename: a handle goes with its file", dir, "a", b"another").await;
}

pub(super) async fn remove_takes_the_name_and_leaves_the_handle(dir: &dyn Dir) {
    refuses_at(dir, "missing", IoOp::Remove, NotFound, dir.remove("missing")).await;
    ok("make_dir", dir.make_dir("d")).await;
    refuses_at(dir, "d", IoOp::Remove, NotOurs, dir.remove("d")).await;
    ok("open_dir", dir.open_dir("d")).await;
    let file = file_with(dir, "a", b"old").await;
    let reader = ok("open", dir.open("a", Access::ReadStrict)).await;
    ok("remove", dir.remove("a")).await;
    refuses_at(dir, "a", IoOp::Remove, NotFound, dir.remove("a")).await;
    refuses_at(dir, "a", IoOp::Open, NotFound, dir.open("a", Access::ReadRaw)).await;
    ok("write_at", file.write_at(3, b"er".to_vec())).await;
    ok("sync", file.sync()).await;
    file_holds("remove: an open file stays whole", &*reader, b"older").await;
    drop(file_with(dir, "a", b"a second").await);
    file_holds("remove: a new file of that name is another", &*reader, b"older").await;
    ok("sync", dir.sync()).await;
}

pub(super) async fn remove_dir_takes_only_empty_directories(dir: &dyn Dir) {
    refuses_at(dir, "missing", IoOp::RemoveDir, NotFound, dir.remove_dir("missing")).await;
    drop(file_with(dir, "file", b"x").await);
    refuses_at(dir, "file", IoOp::RemoveDir, NotOurs, dir.remove_dir("file")).await;
    ok("make_dir", dir.make_dir("d")).await;
    let inner = ok("open_dir", dir.open_dir("d")).await;
    drop(file_with(&*inner, "a", b"kept").await);
    refuses_at(dir, "d", IoOp::RemoveDir, NotOurs, dir.remove_dir("d")).await;
    holds("remove_dir: a refused one changes nothing", &*inner, "a", b"kept").await;
    ok("remove", inner.remove("a")).await;
    ok("remove_dir", dir.remove_dir("d")).await;
    refuses_at(dir, "d", IoOp::OpenDir, NotFound, dir.open_dir("d")).await;
    refuses_at(&*inner, "b", IoOp::Create, NotFound, inner.create("b")).await;
    ok("make_dir", dir.make_dir("d")).await;
    let again = ok("open_dir", dir.open_dir("d")).await;
    assert_eq!(ok("list", again.list()).await, [], "make_dir: a directory begins empty");
}

pub(super) async fn make_dir_takes_only_new_names(dir: &dyn Dir) {
    ok("make_dir", dir.make_dir("d")).await;
    drop(file_with(dir, "file", b"x").await);
    for name in ["d", "file"] {
        refuses_at(dir, name, IoOp::MakeDir, AlreadyExists, dir.make_dir(name)).await;
    }
    holds("make_dir: a refused one changes nothing", dir, "file", b"x").await;
}

pub(super) async fn open_dir_takes_only_directories(dir: &dyn Dir) {
    refuses_at(dir, "missing", IoOp::OpenDir, NotFound, dir.open_dir("missing")).await;
    assert_eq!(ok("list", dir.list()).await, [], "open_dir: makes nothing");
    drop(file_with(dir, "file", b"x").await);
    refuses_at(dir, "file", IoOp::OpenDir, NotOurs, dir.open_dir("file")).await;
    ok("make_dir", dir.make_dir("d")).await;
    let inner = ok("open_dir", dir.open_dir("d")).await;
    assert_eq!(inner.path(), dir.path().join("d"), "open_dir: knows the path that it was opened by");
    ok("sync", inner.sync()).await;
}

pub(super) async fn list_tells_names_and_kinds(dir: &dyn Dir) {
    assert_eq!(ok("list", dir.list()).await, [], "list: a new directory is empty");
    for n in 0..100 {
        ok("create", dir.create(&format!("file-{n:03}"))).await;
    }
    drop(file_with(dir, ".hidden", b"four").await);
    ok("make_dir", dir.make_dir("sub")).await;
    let sub = ok("open_dir", dir.open_dir("sub")).await;
    ok("create", sub.create("not-listed-above")).await;
    let mut expected: Vec<DirEntry> =
        (0..100).map(|n| DirEntry { name: format!("file-{n:03}").into(), kind: EntryKind::File }).collect();
    expected.push(DirEntry { name: ".hidden".into(), kind: EntryKind::File });
    expected.push(DirEntry { name: "sub".into(), kind: EntryKind::Dir });
    expected.sort();
    for _ in 0..2 {
        let mut entries = ok("list", dir.list()).await;
        entries.sort();
        assert_eq!(entries, expected, "list: every name once, with its kind, each time");
    }
    let metadata = ok("metadata", dir.metadata(".hidden")).await;
    assert_eq!(metadata, Metadata { kind: EntryKind::File, len: 4 }, "metadata: kind and length");
    assert_eq!(ok("metadata", dir.metadata("sub")).await.kind, EntryKind::Dir, "metadata: kind");
    refuses_at(dir, "missing", IoOp::Metadata, NotFound, dir.metadata("missing")).await;
}

pub(super) async fn names_are_single_components(dir: &dyn Dir) {
    ok("make_dir", dir.make_dir("d")).await;
    drop(file_with(dir, "a", b"x").await);
    for bad in ["", ".", "..", "/", "d/x", "/x", "x/", "../x", "d/.."] {
        refuses(IoOp::Open, NotOurs, dir.open(bad, Access::ReadRaw)).await;
        refuses(IoOp::Create, NotOurs, dir.create(bad)).await;
        refuses(IoOp::Rename, NotOurs, dir.rename("a", bad)).await;
        refuses(IoOp::Rename, NotOurs, dir.rename(bad, "b")).await;
        refuses(IoOp::Remove, NotOurs, dir.remove(bad)).await;
        refuses(IoOp::RemoveDir, NotOurs, dir.remove_dir(bad)).await;
        refuses(IoOp::Metadata, NotOurs, dir.metadata(bad)).await;
        refuses(IoOp::MakeDir, NotOurs, dir.make_dir(bad)).await;
        refuses(IoOp::OpenDir, NotOurs, dir.open_dir(bad)).await;
        refuses(IoOp::Lock, NotOurs, dir.lock(bad)).await;
    }
    assert_eq!(ok("list", dir.list()).await.len(), 2, "names: refused ones change nothing");
}

pub(super) async fn a_handle_means_the_directory_not_its_path(dir: &dyn Dir) {
    ok("make_dir", dir.make_dir("a")).await;
    let first = ok("open_dir", dir.open_dir("a")).await;
    ok("rename", dir.rename("a", "b")).await;
    ok("make_dir", dir.make_dir("a")).await;
    let second = ok("open_dir", dir.open_dir("a")).await;
    drop(file_with(&*first, "file", b"in b").await);
    assert_eq!(ok("list", second.list()).await, [], "open_dir: a handle is not its path");
    let renamed = ok("open_dir", dir.open_dir("b")).await;
    holds("open_dir: a handle goes with its directory", &*renamed, "file", b"in b").await;
}

pub(super) async fn an_owner_changes_nothing_but_the_owner(dir: &dyn Dir) {
    let theirs: Arc<dyn Dir> = dir.as_owner(Owner(42));
    assert_eq!(theirs.path(), dir.path(), "as_owner: the same directory");
    drop(file_with(&*theirs, "a", b"theirs").await);
    holds("as_owner: the same directory", dir, "a", b"theirs").await;
    let sub = fresh(&theirs, "sub").await;
    ok("create", sub.create("b")).await;
    ok("sync", sub.sync()).await;
    ok("sync", theirs.sync()).await;
}

pub(super) async fn disk_space_is_what_there_is(dir: &dyn Dir) {
    let before = ok("disk_space", dir.disk_space()).await;
    assert!(before.free <= before.total, "disk_space: no more is free than there is, {before:?}");
    let file = ok("create", dir.create("a")).await;
    ok("allocate", file.allocate(64 * 1024)).await;
    ok("make_dir", dir.make_dir("d")).await;
    let below = ok("open_dir", dir.open_dir("d")).await;
    let after = ok("disk_space", below.disk_space()).await;
    assert_eq!(after.total, before.total, "disk_space: that of the file system, whatever the directory");
    assert!(after.total >= 64 * 1024, "disk_space: in bytes, {after:?}");
}

pub(super) async fn lock_admits_one(dir: &dyn Dir) {
    for round in 0..3 {
        let guard = ok("lock", dir.lock(".lock")).await;
        let again = dir.as_owner(Owner(round + 1));
        for dir in [dir, &*again] {
            match dir.lock(".lock").await {
                Ok(_) => panic!("lock: admits one"),
                Err(error) => {
                    let IoErrorKind::Locked(holder) = &error.kind else { panic!("lock: {error}") };
                    assert!(!holder.is_empty(), "lock: says who holds it");
                    assert_eq!(error.op, IoOp::Lock, "lock: names itself");
                }
            }
        }
        // Somebody tidies up.
        ok("remove", dir.remove(".lock")).await;
        match dir.lock(".lock").await {
            Err(e) if matches!(&e.kind, IoErrorKind::Locked(holder) if !holder.is_empty()) => {}
            other => panic!("lock: admits one also without its file: {other:?}"),
        }
        drop(guard);
        let kind = ok("metadata", dir.metadata(".lock")).await.kind;
        assert_eq!(kind, EntryKind::File, "lock: the file stays");
    }
    ok("make_dir", dir.make_dir("d")).await;
    refuses_at(dir, "d", IoOp::Lock, NotOurs, dir.lock("d")).await;
}
