//! The seam: everything that the engine knows of the world outside.
//!
//! [`Env`], [`Dir`] and [`File`] are object-safe; verbs take owned buffers and return an [`Io`], which is either ready
//! at once or completed by someone else. Dropping an `Io` abandons the answer, never the operation.
//!
//! Each verb's documentation says what holds after a crash. Two kinds of crash are meant: a *process kill* loses
//! nothing that a verb answered Ok for, since the page cache survives; a *power cut* loses, reorders and tears
//! whatever was not synced. [`contract`] is a suite that asks every verb, run on the real and the simulated disk alike.
pub mod contract;
mod io;
pub mod os;

pub use crate::io_error::{IoError, IoErrorKind, IoOp, IoResult, Reason};
pub use io::{Completer, Io};

use bytes::Bytes;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Whom an operation is done for: one space, or the engine itself.
///
/// Stable across runs and machines (a hash of the space's id), so that decisions keyed by it do not depend on which
/// other spaces exist; a real backend bounds each owner's share of its pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

impl Owner {
    /// The engine: what is done for no single space.
    pub const ENGINE: Owner = Owner(0);

    /// The owner that stands for a space.
    #[must_use]
    pub fn of(id: &crate::ids::SpaceId) -> Owner {
        // Zero is taken, and a hash of zero would merely share the engine's keys: move it away all the same.
        Owner(crate::ids::stable_hash(id.as_str().as_bytes()).max(1))
    }
}

/// A task of the engine, to be run to its end by the environment.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
/// Completes when its time has come. Dropping it cancels it.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// The world: file system, clock, tasks and entropy.
pub trait Env: Send + Sync + std::fmt::Debug + 'static {
    /// Opens the directory `path`, an absolute path or one relative to the working directory, and, with
    /// [`Missing::Create`], makes it and every missing ancestor first (mode 0700), syncing each parent whose entry it
    /// made. The last component must not be a symbolic link's dangling end; a link to a directory is followed here,
    /// and only here.
    fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>>;

    /// Syncs the directory that holds `path`'s last component, so that the root's own name survives a power cut.
    fn sync_parent(&self, path: &Path) -> Io<()>;

    /// Time since some fixed moment, never going back.
    fn now(&self) -> Duration;

    /// Wall-clock time since the Unix epoch. May jump; never compared for correctness.
    fn wall(&self) -> Duration;

    /// Completes once [`Env::now`] has advanced by `duration`.
    fn sleep(&self, owner: Owner, duration: Duration) -> Sleep;

    /// Runs `task` to its end, on whatever the environment runs tasks. `name` says what it is, for people.
    fn spawn(&self, owner: Owner, name: &'static str, task: Task);

    /// 64 random bits. In the simulator a function of the seed, the boot, the owner and how often it asked.
    fn entropy(&self, owner: Owner) -> u64;
}

/// What [`Env::open_root`] does about a missing directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it, and its ancestors.
    Create,
    /// Answer `NotFound`.
    Refuse,
}

/// What an open file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only; the simulator fails a run that reads bytes which nobody ever wrote (tables, manifests).
    ReadStrict,
    /// Reads only; never-written bytes read as zero (log scans look at what a crash left).
    ReadRaw,
    /// Reads and writes.
    Write,
}

/// What a name stands for; symbolic links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File,
    Dir,
    Symlink,
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of its path.
    pub name: OsString,
    /// What it stands for.
    pub kind: EntryKind,
}

/// What [`Dir::metadata`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What the name stands for.
    pub kind: EntryKind,
    /// Length in bytes; meaningful for files only.
    pub len: u64,
}

/// What [`Dir::disk_space`] tells, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still take.
    pub free: u64,
    /// What there is altogether, taken or not.
    pub total: u64,
}

/// An open directory. All names are single components relative to it: nothing can reach a directory that later took
/// the same path, and symbolic links are never followed (opening one answers [`IoErrorKind::NotOurs`]). A name that is
/// not a single component (empty, `.`, `..`, or holding a `/` or a zero byte) is refused with `NotOurs` by every verb.
/// An error's path is that of the name it was asked about; `rename` answers that of the old name.
pub trait Dir: Send + Sync + std::fmt::Debug {
    /// The path that it was opened by, for messages. It may since have been renamed.
    fn path(&self) -> PathBuf;

    /// The same directory, with what is done through the returned handle done for `owner`. Directories and files
    /// opened through a handle inherit its owner.
    fn as_owner(&self, owner: Owner) -> Arc<dyn Dir>;

    /// Opens an existing regular file. Changes nothing.
    fn open(&self, name: &str, access: Access) -> Io<Arc<dyn File>>;

    /// Creates an empty file (mode 0600) that must not exist, open for [`Access::Write`]. After a power cut the name
    /// is there only if this directory was synced since; with the name the content is what `File::sync` made durable.
    fn create(&self, name: &str) -> Io<Arc<dyn File>>;

    /// Gives the file or directory `from` the name `to`, both in this directory; `to` must not exist
    /// (`AlreadyExists` otherwise, nothing changed). After a power cut before a sync of this directory: the old name,
    /// the new one, or both.
    fn rename(&self, from: &str, to: &str) -> Io<()>;

    /// Removes a file's or a symbolic link's name (a directory is `NotOurs`). Open handles stay valid and keep the
    /// content. After a power cut before a sync of this directory the name may be back, with any content that it ever
    /// had since its last sync.
    fn remove(&self, name: &str) -> Io<()>;

    /// Removes an empty directory; one that holds anything is refused with `NotOurs`. Through handles that are still
    /// open nothing can be created any more (`NotFound`). After a power cut before a sync of this directory it may be
    /// back.
    fn remove_dir(&self, name: &str) -> Io<()>;

    /// The entries of this directory, without `.` and `..`, in no particular order.
    fn list(&self) -> Io<Vec<DirEntry>>;

    /// What `name` stands for and how long it is.
    fn metadata(&self, name: &str) -> Io<Metadata>;

    /// Makes an empty directory (mode 0700) that must not exist. After a power cut its name is there only if this
    /// directory was synced since.
    fn make_dir(&self, name: &str) -> Io<()>;

    /// Opens a directory. Changes nothing.
    fn open_dir(&self, name: &str) -> Io<Arc<dyn Dir>>;

    /// Makes every name created, renamed or removed in this directory before the call durable: the entries of this
    /// directory only, neither the data of what they name nor this directory's own name in its parent. After an error
    /// nothing is known about any of them.
    fn sync(&self) -> Io<()>;

    /// How much room the file system has that this directory lies in. Others may take it at any time: what is free is a
    /// hint, and only [`File::allocate`] makes room one's own. A file system that does not tell answers all ones.
    fn disk_space(&self) -> Io<DiskSpace>;

    /// Takes the exclusive lock on this directory, and on the file `name` in it, which is created when it is missing,
    /// without waiting; writes a line that names this process into the file. Held by another process or handle, also if the
    /// file was removed since: [`IoErrorKind::Locked`] with that line. A file that holds something else is left as it is:
    /// [`IoErrorKind::NotOurs`]. The lock is free again when the guard was dropped or the process ended, however that
    /// happened; the file stays.
    fn lock(&self, name: &str) -> Io<LockGuard>;
}

/// Holds a lock taken with [`Dir::lock`] until it is dropped.
pub struct LockGuard(#[allow(dead_code, reason = "kept only to be dropped")] Box<dyn Send + Sync>);

impl LockGuard {
    /// A guard that releases its lock when `held` is dropped.
    #[must_use]
    pub fn new(held: Box<dyn Send + Sync>) -> LockGuard {
        LockGuard(held)
    }
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockGuard")
    }
}

/// An open file. Calls may overlap; a sync covers only what was answered before the sync was called.
#[expect(clippy::len_without_is_empty, reason = "a verb that asks the disk, not the length of a collection")]
pub trait File: Send + Sync + std::fmt::Debug {
    /// The path that it was opened by, for messages.
    fn path(&self) -> PathBuf;

    /// Reads up to `buf.len()` bytes from `offset` and returns `buf` cut to what was read: shorter only at the end of
    /// the file. Interrupted and short reads are completed.
    fn read_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>>;

    /// Reads as [`File::read_at`] does, up to `len` bytes, into memory that is made for long reads whose bytes are kept.
    fn read_kept(&self, offset: u64, len: usize) -> Io<Bytes> {
        self.read_at(offset, vec![0; len]).map(Bytes::from)
    }

    /// Writes all of `buf` at `offset`, extending the file where needed, and returns `buf`. Interrupted and short
    /// writes are completed. After Ok the bytes are in the page cache: a kill keeps them; a power cut before a sync
    /// leaves any sector old or new, and the length anywhere between. After an error any part may have been written.
    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>>;

    /// Makes all data written and all length changes answered Ok before this call durable (fdatasync). Nothing about
    /// the file's name. After an error nothing is known about any byte written since the last Ok, **a later Ok
    /// proves nothing about them**, and what reads return may not be what the disk holds.
    fn sync(&self) -> Io<()>;

    /// Makes the file at least `len` bytes long with disk space allocated for all of them; new bytes read as zero.
    /// Answers `NoSpace` when there is not enough, and leaves the length anywhere between. Until the next sync a power
    /// cut may undo it. Must not overlap a write beyond the present end: where the file system has no call for it, the
    /// room is made by writing zeros there.
    fn allocate(&self, len: u64) -> Io<()>;

    /// Cuts or extends (with zeros, nothing allocated) the file to `len` bytes. Until the next sync a power cut may
    /// undo it.
    fn truncate(&self, len: u64) -> Io<()>;

    /// Length in bytes.
    fn len(&self) -> Io<u64>;
}
