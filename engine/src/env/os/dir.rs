//! [`OsDir`]: a directory by its descriptor; names are looked up relative to it and never through symbolic links.
use super::errno::error;
use super::file::OsFile;
use super::pools::Pools;
use crate::env::{
    Access, Dir, DirEntry, DiskSpace, EntryKind, File, Io, IoError, IoErrorKind, IoOp, LockGuard, Metadata,
    Owner,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of files that the engine creates.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Of directories that the engine makes.
pub(super) const DIR_MODE: Mode = Mode::RWXU;
/// Waits for nothing: a FIFO of the right name would otherwise hold up whoever opens it. Regular files ignore it.
const ALWAYS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

#[derive(Debug)]
pub(super) struct OsDir {
    at: Arc<At>,
    owner: Owner,
    pools: Arc<Pools>,
}

/// A directory's descriptor and the path that it was opened by.
#[derive(Debug)]
struct At {
    fd: OwnedFd,
    path: PathBuf,
}

impl OsDir {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, owner: Owner, pools: Arc<Pools>) -> OsDir {
        OsDir { at: Arc::new(At { fd, path }), owner, pools }
    }

    /// Checks that each of `names` is a single component and runs `call` on the pool; errors get the path of the
    /// first name.
    fn on<T: Send + 'static, const N: usize>(
        &self,
        op: IoOp,
        names: [&str; N],
        call: impl FnOnce(&At, [&str; N]) -> Result<T, Failure> + Send + 'static,
    ) -> Io<T> {
        let path = names.first().map_or_else(|| self.at.path.clone(), |name| self.at.path.join(name));
        if let Some(bad) = names.iter().find(|name| !is_single_component(name)) {
            let reason = format!("{bad:?} is not a name within a directory");
            return Io::ready(Err(IoError::new(op, path, IoErrorKind::NotOurs, reason)));
        }
        let at = Arc::clone(&self.at);
        let names = names.map(str::to_owned);
        self.pools.change(self.owner, op, &path.clone(), move || {
            let names = std::array::from_fn(|i| names[i].as_str());
            call(&at, names).map_err(|failure| failure.of(op, &path))
        })
    }

    /// What `call` answers on this thread without waiting, of a name within this directory.
    fn if_cached<T>(&self, name: &str, call: impl FnOnce(&At, &str) -> Option<T>) -> Option<T> {
        is_single_component(name).then(|| call(&self.at, name)).flatten()
    }

    fn opened_file(&self) -> impl FnOnce(OwnedFd, PathBuf) -> Arc<dyn File> + Send + 'static {
        let (owner, pools) = (self.owner, Arc::clone(&self.pools));
        move |fd, path| Arc::new(OsFile::new(fd, path, owner, pools))
    }
}

/// Why a call failed: the system's code, or what was found instead of what was asked for.
enum Failure {
    Errno(Errno),
    NotOurs(&'static str),
    Locked(String),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Errno(errno)
    }
}

impl Failure {
    fn of(self, op: IoOp, path: &Path) -> IoError {
        match self {
            Failure::Errno(errno) => error(op, path, errno),
            Failure::NotOurs(reason) => IoError::new(op, path, IoErrorKind::NotOurs, reason),
            Failure::Locked(holder) => {
                IoError::new(op, path, IoErrorKind::Locked(holder), "somebody else holds the lock")
            }
        }
    }
}

impl At {
    /// Opens `name` if the kernel has all that it takes in memory. `None` where it may have to wait for the device, cannot
    /// tell, or does not open it: then a thread that may wait asks again, and says why not.
    fn open_cached(&self, name: &str, flags: OFlags) -> Option<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), ResolveFlags::CACHED).ok()
    }

    /// As [`At::open_regular`] and [`At::open_cached`] do: for reading.
    fn open_regular_cached(&self, name: &str) -> Option<OwnedFd> {
        let fd = self.open_cached(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(fd)
    }

    /// As [`At::stat`] and [`At::open_cached`] do.
    fn stat_cached(&self, name: &str) -> Option<Metadata> {
        let fd = self.open_cached(name, OFlags::PATH)?;
        rustix::fs::fstat(&fd).ok().map(metadata)
    }

    /// Opens `name` and answers `NotOurs` unless it is a regular file.
    fn open_regular(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Failure> {
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags | ALWAYS, FILE_MODE))
            // A FIFO or device that nobody serves.
            .map_err(|errno| match errno {
                Errno::NXIO => Failure::NotOurs("not a regular file"),
                errno => Failure::Errno(errno),
            })?;
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(fd),
            _ => Err(Failure::NotOurs("not a regular file")),
        }
    }

    fn stat(&self, name: &OsStr) -> Result<Metadata, Errno> {
        retry_on_intr(|| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)).map(metadata)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let result =
            retry_on_intr(|| rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE));
        match result {
            Err(Errno::INVAL | Errno::NOSYS) => self.rename_checked(from, to),
            result => result,
        }
    }

    /// For file systems without RENAME_NOREPLACE (EINVAL). Between the look and the rename somebody else could take
    /// the name; within a data root nobody but the engine that holds its lock makes names, and it renames to a name
    /// from one place at a time.
    fn rename_checked(&self, from: &str, to: &str) -> Result<(), Errno> {
        match self.stat(OsStr::new(to)) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(&self.fd, from, &self.fd, to),
            Err(errno) => Err(errno),
        }
    }

    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        // Opens the directory anew: handles that list at the same time would share one position.
        let mut stream = rustix::fs::Dir::read_from(&self.fd)?;
        while let Some(entry) = stream.read() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                entry => entry?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system tells.
                FileType::Unknown => match self.stat(name) {
                    Ok(metadata) => metadata.kind,
                    Err(Errno::NOENT) => continue, // Removed since.
                    Err(errno) => return Err(errno),
                },
                known => entry_kind(known),
            };
            entries.push(DirEntry { name: name.to_os_string(), kind });
        }
        Ok(entries)
    }
}

impl Dir for OsDir {
    fn path(&self) -> PathBuf {
        self.at.path.clone()
    }

    fn as_owner(&self, owner: Owner) -> Arc<dyn Dir> {
        Arc::new(OsDir { at: Arc::clone(&self.at), owner, pools: Arc::clone(&self.pools) })
    }

    fn open(&self, name: &str, access: Access) -> Io<Arc<dyn File>> {
        let opened = self.opened_file();
        let flags = match access {
            Access::ReadStrict | Access::ReadRaw => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        if flags == OFlags::RDONLY
            && let Some(fd) = self.if_cached(name, At::open_regular_cached)
        {
            return Io::ok(opened(fd, self.at.path.join(name)));
        }
        self.on(IoOp::Open, [name], move |at, [name]| {
            Ok(opened(at.open_regular(name, flags)?, at.path.join(name)))
        })
    }

    fn create(&self, name: &str) -> Io<Arc<dyn File>> {
        let opened = self.opened_file();
        self.on(IoOp::Create, [name], move |at, [name]| {
            let fd = at.open_regular(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
            Ok(opened(fd, at.path.join(name)))
        })
    }

    fn rename(&self, from: &str, to: &str) -> Io<()> {
        self.on(IoOp::Rename, [from, to], |at, [from, to]| Ok(at.rename(from, to)?))
    }

    fn remove(&self, name: &str) -> Io<()> {
        self.on(IoOp::Remove, [name], |at, [name]| {
            Ok(retry_on_intr(|| rustix::fs::unlinkat(&at.fd, name, AtFlags::empty()))?)
        })
    }

    fn remove_dir(&self, name: &str) -> Io<()> {
        self.on(IoOp::RemoveDir, [name], |at, [name]| {
            Ok(retry_on_intr(|| rustix::fs::unlinkat(&at.fd, name, AtFlags::REMOVEDIR))?)
        })
    }

    fn list(&self) -> Io<Vec<DirEntry>> {
        self.on(IoOp::List, [], |at, []| Ok(at.list()?))
    }

    fn metadata(&self, name: &str) -> Io<Metadata> {
        if let Some(metadata) = self.if_cached(name, At::stat_cached) {
            return Io::ok(metadata);
        }
        self.on(IoOp::Metadata, [name], |at, [name]| Ok(at.stat(OsStr::new(name))?))
    }

    fn make_dir(&self, name: &str) -> Io<()> {
        self.on(IoOp::MakeDir, [name], |at, [name]| {
            Ok(retry_on_intr(|| rustix::fs::mkdirat(&at.fd, name, DIR_MODE))?)
        })
    }

    fn open_dir(&self, name: &str) -> Io<Arc<dyn Dir>> {
        let (owner, pools) = (self.owner, Arc::clone(&self.pools));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | ALWAYS;
        let opened = move |fd, path| -> Arc<dyn Dir> { Arc::new(OsDir::new(fd, path, owner, pools)) };
        if let Some(fd) = self.if_cached(name, |at, name| at.open_cached(name, flags)) {
            return Io::ok(opened(fd, self.at.path.join(name)));
        }
        self.on(IoOp::OpenDir, [name], move |at, [name]| {
            let fd = retry_on_intr(|| rustix::fs::openat(&at.fd, name, flags, Mode::empty()))?;
            Ok(opened(fd, at.path.join(name)))
        })
    }

    fn sync(&self) -> Io<()> {
        self.on(IoOp::SyncDir, [], |at, []| Ok(retry_on_intr(|| rustix::fs::fsync(&at.fd))?))
    }

    fn disk_space(&self) -> Io<DiskSpace> {
        self.on(IoOp::DiskSpace, [], |at, []| {
            let stat = retry_on_intr(|| rustix::fs::fstatvfs(&at.fd))?;
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            // Some file systems have no size that they could tell.
            let tells = stat.f_blocks > 0;
            let of = |blocks| if tells { bytes(blocks) } else { u64::MAX };
            Ok(DiskSpace { free: of(stat.f_bavail), total: of(stat.f_blocks) })
        })
    }

    fn lock(&self, name: &str) -> Io<LockGuard> {
        self.on(IoOp::Lock, [name], |at, [name]| {
            let fd = at.open_regular(name, OFlags::RDWR | OFlags::CREATE)?;
            // A description of its own: the lock is this one's.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = retry_on_intr(|| rustix::fs::openat(&at.fd, ".", flags, Mode::empty()))?;
            match super::lock::take(fd, dir) {
                Ok(guard) => Ok(guard),
                Err(super::lock::Refused::Held(holder)) => Err(Failure::Locked(holder)),
                Err(super::lock::Refused::Foreign) => {
                    Err(Failure::NotOurs("it holds something else than who has the lock"))
                }
                Err(super::lock::Refused::Errno(errno)) => Err(Failure::Errno(errno)),
            }
        })
    }
}

/// Whether `name` can only mean an entry of the directory itself.
fn is_single_component(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn metadata(stat: Stat) -> Metadata {
    let len = u64::try_from(stat.st_size).expect("the kernel gives no negative length");
    Metadata { kind: entry_kind(FileType::from_raw_mode(stat.st_mode)), len }
}

fn entry_kind(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Dir,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_without_help_of_the_file_system_replaces_nothing_either() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().to_path_buf();
        let at = At { fd: std::fs::File::open(&path).unwrap().into(), path: path.clone() };
        std::fs::write(path.join("a"), "a").unwrap();
        std::fs::write(path.join("b"), "b").unwrap();
        std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
        for to in ["a", "b", "link"] {
            assert_eq!(at.rename_checked("a", to), Err(Errno::EXIST));
        }
        assert_eq!(std::fs::read(path.join("b")).unwrap(), b"b");
        assert_eq!(at.rename_checked("missing", "c"), Err(Errno::NOENT));
        assert_eq!(at.rename_checked("a", "c"), Ok(()));
        assert_eq!(std::fs::read(path.join("c")).unwrap(), b"a");
        assert!(!path.join("a").exists());
    }
}
