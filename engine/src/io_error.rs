//! What can go wrong with a verb of [`crate::env`]: which verb, on what path, and the operating system's code. A word
//! of its own below both the seam, which makes these errors, and [`crate::error`], which reports them.
use std::fmt;
use std::path::{Path, PathBuf};

/// Result of a verb.
pub type IoResult<T> = Result<T, IoError>;

/// The verbs, as errors and traces name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoOp {
    OpenRoot,
    SyncParent,
    Open,
    Create,
    Rename,
    Remove,
    RemoveDir,
    List,
    Metadata,
    MakeDir,
    OpenDir,
    SyncDir,
    Lock,
    ReadAt,
    WriteAt,
    Sync,
    Allocate,
    Truncate,
    Len,
    DiskSpace,
}

/// What went wrong, as far as the engine acts differently upon it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoErrorKind {
    /// No such name.
    NotFound,
    /// The name exists already.
    AlreadyExists,
    /// No room or quota left on the device (ENOSPC, EDQUOT), or the file would grow too large (EFBIG).
    NoSpace,
    /// Not permitted, or the file system refuses changes (EACCES, EPERM, EROFS).
    Denied,
    /// Too many open files in this process or system (EMFILE, ENFILE).
    TooManyFiles,
    /// The name is a symbolic link or not of the kind asked for (ELOOP, ENOTDIR, EISDIR).
    NotOurs,
    /// Somebody else holds the lock; what it said about itself.
    Locked(String),
    /// The device failed (EIO), or anything else.
    Device,
}

/// Free text beside an error.
pub type Reason = std::borrow::Cow<'static, str>;

/// An error of a verb: operation, path and raw operating-system code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoError {
    /// The verb that failed.
    pub op: IoOp,
    /// What it was about.
    pub path: PathBuf,
    /// What went wrong.
    pub kind: IoErrorKind,
    /// The operating system's code, if one was given.
    pub os: Option<i32>,
    /// In words.
    pub reason: Reason,
}

impl IoError {
    /// An error without an operating-system code.
    #[must_use]
    pub fn new(op: IoOp, path: impl AsRef<Path>, kind: IoErrorKind, reason: impl Into<Reason>) -> IoError {
        IoError { op, path: path.as_ref().to_path_buf(), kind, os: None, reason: reason.into() }
    }

    /// The same with a code.
    #[must_use]
    pub fn with_os(mut self, os: i32) -> IoError {
        self.os = Some(os);
        self
    }

    /// No such name.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == IoErrorKind::NotFound
    }

    /// No room on the device.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        self.kind == IoErrorKind::NoSpace
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} failed: {}", self.op, self.path.display(), self.reason)?;
        if let IoErrorKind::Locked(holder) = &self.kind {
            write!(f, " (held by {holder})")?;
        }
        if let Some(os) = self.os {
            write!(f, " (os error {os})")?;
        }
        Ok(())
    }
}

impl std::error::Error for IoError {}
