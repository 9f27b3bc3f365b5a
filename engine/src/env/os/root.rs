//! The one place where a whole path is walked: opening the data root.
use super::dir::DIR_MODE;
use super::errno::error;
use crate::env::{IoError, IoErrorKind, IoOp, IoResult, Missing};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Opens the directory `path`, making it and its missing ancestors if asked to.
pub(super) fn open(path: &Path, missing: Missing) -> IoResult<OwnedFd> {
    match (open_existing(path), missing) {
        (Err(Errno::NOENT), Missing::Create) => make(path),
        (result, _) => result.map_err(|errno| error(IoOp::OpenRoot, path, errno)),
    }
}

/// Syncs the directory that holds the last component of `path`.
pub(super) fn sync_parent(path: &Path) -> IoResult<()> {
    let failed = |errno| error(IoOp::SyncParent, path, errno);
    // A path that ends in `..` or is a link has its name somewhere else than it says.
    let real =
        std::fs::canonicalize(path).map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    let Some(parent) = real.parent() else {
        return Ok(()); // The root of the file system has no name.
    };
    let fd = open_existing(parent).map_err(failed)?;
    retry_on_intr(|| rustix::fs::fsync(&fd)).map_err(failed)
}

fn open_existing(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))
}

/// Makes what is missing, from the top down, each name synced in its parent before anything is made below it: so a
/// name that is seen has durable ancestors, also if the process that made them was killed in between. Its own name may
/// lack the sync then: so the lowest directory that is there is synced in its parent before anything is made below it.
fn make(path: &Path) -> IoResult<OwnedFd> {
    let mut missing = Vec::new();
    let mut at: PathBuf = path.to_path_buf();
    let mut fd = loop {
        let failed = |errno| error(IoOp::OpenRoot, path, errno);
        let (Some(name), Some(parent)) = (at.file_name(), at.parent()) else {
            return Err(failed(Errno::NOENT)); // `..` below something that is missing.
        };
        missing.push(name.to_os_string());
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match open_existing(parent) {
            Ok(fd) => {
                match sync_parent(parent) {
                    // Where not even reading is allowed nobody like us made a directory.
                    Err(e) if e.kind != IoErrorKind::Denied => return Err(e),
                    _ => break fd,
                }
            }
            Err(Errno::NOENT) => at = parent.to_path_buf(),
            Err(errno) => return Err(failed(errno)),
        }
    };
    while let Some(name) = missing.pop() {
        let failed = |errno| error(IoOp::OpenRoot, path, errno);
        match retry_on_intr(|| rustix::fs::mkdirat(&fd, &name, DIR_MODE)) {
            Ok(()) => retry_on_intr(|| rustix::fs::fsync(&fd)).map_err(failed)?,
            Err(Errno::EXIST) => {} // Somebody made it since, or it is a link that leads nowhere.
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fd = match retry_on_intr(|| rustix::fs::openat(&fd, &name, flags, Mode::empty())) {
            Err(Errno::NOENT) => {
                let reason = "a symbolic link that leads nowhere";
                return Err(IoError::new(IoOp::OpenRoot, path, IoErrorKind::NotOurs, reason));
            }
            result => result.map_err(failed)?,
        };
    }
    Ok(fd)
}
