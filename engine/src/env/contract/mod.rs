//! The contract of [`Env`], [`Dir`] and [`File`] as a suite to be run: what every verb does when it succeeds, when it
//! refuses, and what it must leave alone.
//!
//! For embedders who bring an `Env` of their own, and for the two of this project. A violation panics with the verb's
//! name and the promise that was broken. What holds after a crash is not asked here: that takes a simulator.
//!
//! ```no_run
//! # async fn check(my_env: std::sync::Arc<dyn bulkhead::env::Env>) {
//! bulkhead::env::contract::all(my_env, "/tmp/a/new/directory".as_ref()).await;
//! # }
//! ```
#![allow(clippy::missing_panics_doc, reason = "to panic is what the suite is for")]

mod dir;
mod file;
mod world;

use super::{Access, Dir, Env, File, Io, IoError, IoErrorKind, IoOp, Missing};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs the whole suite in `root`, an absolute path that must not exist yet and is left behind with what was made.
pub async fn all(env: Arc<dyn Env>, root: &Path) {
    world::open_root_makes_or_refuses(&*env, root).await;
    let root = ok("open_root", env.open_root(root, Missing::Create)).await;
    world::clock_and_entropy_go_on(&*env).await;
    world::tasks_run_to_their_end(&*env).await;
    let at = |name| fresh(&root, name);
    dir::create_takes_only_new_names(&*at("create").await).await;
    dir::open_takes_only_regular_files(&*at("open").await).await;
    dir::rename_never_replaces(&*at("rename").await).await;
    dir::rename_keeps_handles(&*at("rename-handles").await).await;
    dir::remove_takes_the_name_and_leaves_the_handle(&*at("remove").await).await;
    dir::remove_dir_takes_only_empty_directories(&*at("remove-dir").await).await;
    dir::make_dir_takes_only_new_names(&*at("make-dir").await).await;
    dir::open_dir_takes_only_directories(&*at("open-dir").await).await;
    dir::list_tells_names_and_kinds(&*at("list").await).await;
    dir::names_are_single_components(&*at("names").await).await;
    dir::a_handle_means_the_directory_not_its_path(&*at("handles").await).await;
    dir::an_owner_changes_nothing_but_the_owner(&*at("owner").await).await;
    dir::disk_space_is_what_there_is(&*at("disk-space").await).await;
    dir::lock_admits_one(&*at("lock").await).await;
    file::what_is_written_is_read(&*at("read-write").await).await;
    file::reads_are_short_only_at_the_end(&*at("short").await).await;
    file::what_was_never_written_is_zero(&*at("holes").await).await;
    file::allocate_only_extends(&*at("allocate").await).await;
    file::truncate_cuts_and_extends(&*at("truncate").await).await;
    file::long_transfers_are_whole(&*at("long").await).await;
    file::calls_may_overlap(&*at("overlap").await).await;
    file::two_handles_are_one_file(&*at("two-handles").await).await;
    file::dropping_an_io_abandons_only_the_answer(&*env, &*at("drop").await).await;
}

/// A new directory for one case.
async fn fresh(root: &Arc<dyn Dir>, name: &str) -> Arc<dyn Dir> {
    ok("make_dir", root.make_dir(name)).await;
    ok("open_dir", root.open_dir(name)).await
}

/// The answer of a verb that must succeed.
async fn ok<T: Unpin>(verb: &str, io: Io<T>) -> T {
    match io.await {
        Ok(value) => value,
        Err(error) => panic!("{verb} must succeed here, but: {error}"),
    }
}

/// Asserts that a verb refuses with an error of this operation and kind, and gives the error.
async fn refuses<T: Unpin + Debug>(op: IoOp, kind: IoErrorKind, io: Io<T>) -> IoError {
    match io.await {
        Ok(value) => panic!("{op:?} must answer {kind:?}, not Ok({value:?})"),
        Err(error) => {
            assert_eq!((error.op, &error.kind), (op, &kind), "{op:?} answers operation and kind: {error}");
            error
        }
    }
}

/// As [`refuses`]; the error must name `name` in `dir` too.
async fn refuses_at<T: Unpin + Debug>(dir: &dyn Dir, name: &str, op: IoOp, kind: IoErrorKind, io: Io<T>) {
    let error = refuses(op, kind, io).await;
    assert_eq!(error.path, dir.path().join(name), "{op:?} answers the path that it is about");
}

/// A new file with this content.
async fn file_with(dir: &dyn Dir, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = ok("create", dir.create(name)).await;
    ok("write_at", file.write_at(0, content.to_vec())).await;
    file
}

/// Asserts that the file `name` holds exactly `content`.
async fn holds(verb: &str, dir: &dyn Dir, name: &str, content: &[u8]) {
    let file = ok("open", dir.open(name, Access::ReadRaw)).await;
    file_holds(verb, &*file, content).await;
}

async fn file_holds(verb: &str, file: &dyn File, content: &[u8]) {
    assert_eq!(ok("len", file.len()).await, content.len() as u64, "{verb}: length of {:?}", file.path());
    let read = ok("read_at", file.read_at(0, vec![0xee; content.len() + 1])).await;
    // Not assert_eq: a difference in megabytes is no message.
    assert!(read == content, "{verb}: content of {:?}", file.path());
}

/// Asks until it is so; gives up after ten seconds of the environment's time.
async fn eventually<F: Future<Output = bool>>(env: &dyn Env, what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..1000 {
        if is_so().await {
            return;
        }
        env.sleep(super::Owner::ENGINE, Duration::from_millis(10)).await;
    }
    panic!("{what}: not within ten seconds");
}
