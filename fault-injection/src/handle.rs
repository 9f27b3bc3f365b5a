//! Handles as the engine holds them. Each carries the boot that it belongs to: through a handle of an earlier boot, or
//! of a boot that is frozen, nothing is answered and nothing changes.
use crate::decide::{hash_bytes, mix};
use crate::dir::Ino;
use crate::verbs::{Covers, OpenFile, Target, Verb, What};
use crate::world::World;
use bulkhead::env::{
    Access, Completer, Dir, DirEntry, DiskSpace, File, Io, IoOp, LockGuard, Metadata, Missing, Owner,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The world as one boot of the program sees it.
#[derive(Debug, Clone)]
pub struct SimFs {
    pub(crate) world: World,
    pub(crate) boot: u64,
}

impl SimFs {
    /// Which boot this is, from 1.
    #[must_use]
    pub fn boot_no(&self) -> u64 {
        self.boot
    }

    /// See [`bulkhead::env::Env::open_root`]. There is one root file system; relative paths begin at its root.
    pub fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>> {
        let target = root_target(path);
        self.io(Owner::ENGINE, IoOp::OpenRoot, target, |done| Verb::OpenRoot(missing, done))
    }

    /// See [`bulkhead::env::Env::sync_parent`].
    pub fn sync_parent(&self, path: &Path) -> Io<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let target = root_target(parent);
        let ino = self.world.find_dir(&target.path);
        self.io(Owner::ENGINE, IoOp::SyncParent, target, |done| {
            Verb::SyncParent(ino, Covers::default(), done)
        })
    }

    /// Completes once virtual time has advanced by `duration`. Dropping it cancels it.
    pub fn sleep(&self, owner: Owner, duration: Duration) -> Io<()> {
        let (done, io) = Io::pending();
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let target = Target { path: TIMER.into(), name: None, hash: 0 };
        self.world.submit(self.boot, owner, What::Timer, target, Verb::Wake(done), micros);
        io
    }

    /// Completes when it is this client's turn: a choice like that between completions. `client` names the client
    /// within its owner.
    pub fn turn(&self, owner: Owner, client: u64) -> Io<()> {
        let (done, io) = Io::pending();
        let target = Target { path: CLIENT.into(), name: None, hash: client };
        self.world.submit(self.boot, owner, What::Turn, target, Verb::Wake(done), 0);
        io
    }

    /// 64 random bits: a function of the seed, the boot, the owner and how often it asked.
    #[must_use]
    pub fn entropy(&self, owner: Owner) -> u64 {
        self.world.entropy(self.boot, owner.0)
    }

    fn io<T>(
        &self,
        owner: Owner,
        op: IoOp,
        target: Target,
        verb: impl FnOnce(Completer<T>) -> Verb,
    ) -> Io<T> {
        let (done, io) = Io::pending();
        self.world.submit(self.boot, owner, What::Io(op), target, verb(done), 0);
        io
    }
}

const TIMER: &str = "(timer)";
const CLIENT: &str = "(client)";

fn root_target(path: &Path) -> Target {
    let text = path.to_string_lossy();
    let path: Arc<str> = if text.starts_with('/') { text.into() } else { format!("/{text}").into() };
    Target { hash: hash_bytes(path.as_bytes()), path, name: None }
}

#[derive(Debug)]
pub(crate) struct SimDir {
    pub(crate) fs: SimFs,
    pub(crate) ino: Ino,
    pub(crate) owner: Owner,
    pub(crate) path: Arc<str>,
    pub(crate) path_hash: u64,
}

impl SimDir {
    fn at<T>(&self, op: IoOp, name: &str, verb: impl FnOnce(Completer<T>) -> Verb) -> Io<T> {
        let hash = mix(self.path_hash, hash_bytes(name.as_bytes()));
        let target = Target { path: self.path.clone(), name: Some(name.into()), hash };
        self.fs.io(self.owner, op, target, verb)
    }

    fn itself<T>(&self, op: IoOp, verb: impl FnOnce(Completer<T>) -> Verb) -> Io<T> {
        let target = Target { path: self.path.clone(), name: None, hash: self.path_hash };
        self.fs.io(self.owner, op, target, verb)
    }
}

impl Dir for SimDir {
    fn path(&self) -> PathBuf {
        PathBuf::from(&*self.path)
    }
    fn as_owner(&self, owner: Owner) -> Arc<dyn Dir> {
        let SimDir { fs, ino, path, path_hash, .. } = self;
        Arc::new(SimDir { fs: fs.clone(), ino: *ino, owner, path: path.clone(), path_hash: *path_hash })
    }
    fn open(&self, name: &str, access: Access) -> Io<Arc<dyn File>> {
        self.at(IoOp::Open, name, |done| Verb::Open(self.ino, access, done))
    }
    fn create(&self, name: &str) -> Io<Arc<dyn File>> {
        self.at(IoOp::Create, name, |done| Verb::Create(self.ino, done))
    }
    fn rename(&self, from: &str, to: &str) -> Io<()> {
        self.at(IoOp::Rename, from, |done| Verb::Rename(self.ino, to.into(), done))
    }
    fn remove(&self, name: &str) -> Io<()> {
        self.at(IoOp::Remove, name, |done| Verb::Remove(self.ino, done))
    }
    fn remove_dir(&self, name: &str) -> Io<()> {
        self.at(IoOp::RemoveDir, name, |done| Verb::RemoveDir(self.ino, done))
    }
    fn list(&self) -> Io<Vec<DirEntry>> {
        self.itself(IoOp::List, |done| Verb::List(self.ino, done))
    }
    fn metadata(&self, name: &str) -> Io<Metadata> {
        self.at(IoOp::Metadata, name, |done| Verb::Metadata(self.ino, done))
    }
    fn make_dir(&self, name: &str) -> Io<()> {
        self.at(IoOp::MakeDir, name, |done| Verb::MakeDir(self.ino, done))
    }
    fn open_dir(&self, name: &str) -> Io<Arc<dyn Dir>> {
        self.at(IoOp::OpenDir, name, |done| Verb::OpenDir(self.ino, done))
    }
    fn sync(&self) -> Io<()> {
        self.itself(IoOp::SyncDir, |done| Verb::SyncDir(self.ino, Covers::default(), done))
    }
    fn disk_space(&self) -> Io<DiskSpace> {
        self.itself(IoOp::DiskSpace, |done| Verb::DiskSpace(self.ino, done))
    }
    fn lock(&self, name: &str) -> Io<LockGuard> {
        self.at(IoOp::Lock, name, |done| Verb::Lock(self.ino, done))
    }
}

pub(crate) struct SimFile {
    pub(crate) fs: SimFs,
    pub(crate) file: OpenFile,
    pub(crate) owner: Owner,
    pub(crate) path: Arc<str>,
    pub(crate) path_hash: u64,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({}, boot {})", self.path, self.fs.boot)
    }
}

impl SimFile {
    fn io<T>(&self, op: IoOp, verb: impl FnOnce(OpenFile, Completer<T>) -> Verb) -> Io<T> {
        let target = Target { path: self.path.clone(), name: None, hash: self.path_hash };
        self.fs.io(self.owner, op, target, |done| verb(self.file.clone(), done))
    }
}

impl File for SimFile {
    fn path(&self) -> PathBuf {
        PathBuf::from(&*self.path)
    }
    fn read_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>> {
        self.io(IoOp::ReadAt, |file, done| Verb::ReadAt(file, offset, buf, done))
    }
    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>> {
        self.io(IoOp::WriteAt, |file, done| Verb::WriteAt(file, offset, buf, done))
    }
    fn sync(&self) -> Io<()> {
        self.io(IoOp::Sync, |file, done| Verb::Sync(file, Covers::default(), done))
    }
    fn allocate(&self, len: u64) -> Io<()> {
        self.io(IoOp::Allocate, |file, done| Verb::Allocate(file, len, done))
    }
    fn truncate(&self, len: u64) -> Io<()> {
        self.io(IoOp::Truncate, |file, done| Verb::Truncate(file, len, done))
    }
    fn len(&self) -> Io<u64> {
        self.io(IoOp::Len, Verb::Len)
    }
}
