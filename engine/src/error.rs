//! Errors that name the caller's next step and whom they concern.
//!
//! One opaque [`Error`] with at most eight [`ErrorKind`]s: the kind says what to do, the message says which space,
//! which path, what happened and what was expected.
use crate::ids::SpaceId;
use crate::io_error::IoError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is at fault: send another one. Nothing was done.
    Rejected(Rejected),
    /// Too much at once: try again after `retry_after`. Nothing was done.
    Busy { retry_after: Duration },
    /// No room on the disk: free some, or delete, for which there is a reserve. Nothing was ordered; clears by itself.
    NoSpace,
    /// A write or sync of this space failed: reads see the durable state; reopen the space to write again.
    Fenced,
    /// This commit was ordered, but whether it survives is not known: reopen the space and ask `outcome(lsn)`.
    Unknown,
    /// Acknowledged data of this space is damaged or missing: restore it, or look at `repair`.
    Corrupt,
    /// It could not be read or written now; nothing was changed, and trying again may work.
    Failed,
    /// The space or the engine was closed.
    Closed,
}

/// Why a request was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Not a space id.
    Id,
    /// No space of this id.
    NoSuchSpace,
    /// There is one of this id already.
    SpaceExists,
    /// One more space than `max_spaces`.
    TooManySpaces,
    /// A key outside its bounds, or a range in which no key can lie.
    Key,
    /// A value outside its bounds.
    Value,
    /// A batch outside its bounds.
    Batch,
    /// The space is full: its cold tier, all of its tiers, or its quota of bytes. Deletes and reads go on.
    QuotaExceeded,
    /// An option or a combination of options.
    Config,
    /// A precondition of the write does not hold.
    Precondition,
    /// Another process has the data root open.
    Locked,
    /// Written by a newer release, or a format level this release does not know.
    Format,
    /// The snapshot is older than its space allows, or was the oldest of too many, and what it showed may be gone: take
    /// another one and begin anew. See [`crate::TierOptions::snapshot_age_ms`], [`crate::TierOptions::max_snapshots`] and
    /// [`crate::TierOptions::snapshot_bytes`].
    SnapshotExpired,
    /// Not possible in the state that the space is in.
    State,
    /// The space is being deleted, or was deleted. What its commits wrote is gone or about to go.
    Deleted,
}

/// Result of the engine's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the engine. Cheap to clone: every waiter of a group gets the same one.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    what: String,
    space: Option<SpaceId>,
    path: Option<PathBuf>,
    offset: Option<u64>,
    expected: Option<String>,
    next: Option<String>,
    io: Option<IoError>,
}

impl Error {
    /// An error of this kind; `what` says what happened, in a few words.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            space: None,
            path: None,
            offset: None,
            expected: None,
            next: None,
            io: None,
        }))
    }

    pub(crate) fn rejected(why: Rejected, what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Rejected(why), what)
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Corrupt, what)
    }

    /// An I/O error of something that may be tried again.
    pub(crate) fn io(what: &str, io: IoError) -> Error {
        let kind = if io.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
        let mut e = Error::new(kind, format!("{what}: {io}"));
        e.0.path = Some(io.path.clone());
        e.0.io = Some(io);
        e
    }

    /// A space has as many files as a manifest can name.
    pub(crate) fn too_many_files() -> Error {
        use crate::limits::{HOT_TABLES_MAX, SEGMENTS_MAX, TABLES_MAX};
        Error::new(ErrorKind::NoSpace, "the space has as many files as a manifest can name")
            .expected(format!(
                "at most {SEGMENTS_MAX} log segments and {TABLES_MAX} tables, of which {HOT_TABLES_MAX} hot"
            ))
            .advice("Flushes and merges make room by themselves; if none does, look at why they fail.")
    }

    #[must_use]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.0.kind = kind;
        self
    }
    #[must_use]
    pub(crate) fn in_space(mut self, space: &SpaceId) -> Error {
        self.0.space.get_or_insert_with(|| space.clone());
        self
    }
    #[must_use]
    pub(crate) fn at_path(mut self, path: impl AsRef<Path>) -> Error {
        self.0.path.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }
    #[must_use]
    pub(crate) fn at_offset(mut self, offset: u64) -> Error {
        self.0.offset = Some(offset);
        self
    }
    #[must_use]
    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Error {
        self.0.expected = Some(expected.into());
        self
    }
    /// What the caller should do now, as a sentence.
    #[must_use]
    pub(crate) fn advice(mut self, next: impl Into<String>) -> Error {
        self.0.next = Some(next.into());
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The space concerned; `None` if it concerns the whole engine.
    #[must_use]
    pub fn space(&self) -> Option<&SpaceId> {
        self.0.space.as_ref()
    }
    /// The file or directory concerned.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }
    /// The byte offset in [`Error::path`] concerned.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
    /// The I/O error underneath.
    #[must_use]
    pub fn io_error(&self) -> Option<&IoError> {
        self.0.io.as_ref()
    }
}

impl ErrorKind {
    /// One word, for logs and scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Rejected(_) => "rejected",
            ErrorKind::Busy { .. } => "busy",
            ErrorKind::NoSpace => "no-space",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Unknown => "unknown",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Failed => "failed",
            ErrorKind::Closed => "closed",
        }
    }

    fn default_advice(self) -> &'static str {
        match self {
            ErrorKind::Rejected(_) => "Change the request; nothing was done.",
            ErrorKind::Busy { .. } => "Try again later; nothing was done.",
            ErrorKind::NoSpace => "Free disk space; reads go on, and writing resumes by itself.",
            ErrorKind::Fenced => "Reopen this space to write again; reads see its durable state until then.",
            ErrorKind::Unknown => "Reopen this space and ask outcome(lsn) whether the commit survived.",
            ErrorKind::Corrupt => "Restore this space from a backup, or look at what repair would keep.",
            ErrorKind::Failed => "Nothing was changed; find the cause and try again.",
            ErrorKind::Closed => "Open it again.",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, what, space, path, offset, expected, next, io } = &*self.0;
        if let Some(space) = space {
            write!(f, "space {space:?}: ")?;
        }
        write!(f, "{what}")?;
        if let (Some(path), None) = (path, io) {
            write!(f, " in {}", path.display())?;
        }
        if let Some(offset) = offset {
            write!(f, " at offset {offset}")?;
        }
        if let Some(expected) = expected {
            write!(f, "; expected {expected}")?;
        }
        write!(f, ". {}", next.as_deref().unwrap_or(kind.default_advice()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {self})", self.0.kind.name())
    }
}

impl std::error::Error for Error {}

impl From<crate::ids::SpaceIdError> for Error {
    fn from(e: crate::ids::SpaceIdError) -> Error {
        let what = e.to_string();
        Error::rejected(Rejected::Id, what).advice("Nothing was done.")
    }
}
