//! [`Io`]: the answer of a verb, ready at once or completed by someone else; and what can go wrong.
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Result of a verb.
pub type IoResult<T> = Result<T, IoError>;

/// The answer of a verb.
///
/// A concrete future. When the other side goes away without an answer it never completes: that is what a frozen
/// machine looks like from inside.
#[must_use = "an Io that is not awaited hides its error"]
pub struct Io<T>(State<T>);

enum State<T> {
    Ready(Option<IoResult<T>>),
    Waiting(oneshot::Receiver<IoResult<T>>),
    Never,
}

/// The other end of an [`Io`]. Dropping it unanswered leaves the `Io` waiting for ever.
pub struct Completer<T>(oneshot::Sender<IoResult<T>>);

impl<T> Io<T> {
    /// An answer that is there already.
    pub fn ready(result: IoResult<T>) -> Io<T> {
        Io(State::Ready(Some(result)))
    }

    /// Short for an Ok that is there already.
    pub fn ok(value: T) -> Io<T> {
        Io::ready(Ok(value))
    }

    /// An answer that never comes.
    pub fn never() -> Io<T> {
        Io(State::Never)
    }

    /// An answer that the [`Completer`] gives later, from any thread.
    pub fn pending() -> (Completer<T>, Io<T>) {
        let (sender, receiver) = oneshot::channel();
        (Completer(sender), Io(State::Waiting(receiver)))
    }

    /// The answer if it is there, else the `Io` back. Never waits.
    ///
    /// # Errors
    /// Not an error: the unanswered `Io`.
    pub fn try_take(mut self) -> Result<IoResult<T>, Io<T>> {
        match &mut self.0 {
            State::Ready(result) => Ok(result.take().expect("an Io is not used after it answered")),
            State::Never => Err(self),
            State::Waiting(receiver) => match receiver.try_recv() {
                Ok(result) => Ok(result),
                Err(oneshot::error::TryRecvError::Empty) => Err(self),
                Err(oneshot::error::TryRecvError::Closed) => Err(Io::never()),
            },
        }
    }
}

impl<T> Completer<T> {
    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    /// Gives the answer. Nobody waiting for it any more is fine.
    pub fn complete(self, result: IoResult<T>) {
        let _ = self.0.send(result);
    }
}

impl<T: Unpin> Future for Io<T> {
    type Output = IoResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<T>> {
        match &mut self.0 {
            State::Ready(result) => {
                Poll::Ready(result.take().expect("an Io is not polled after it answered"))
            }
            State::Never => Poll::Pending,
            State::Waiting(receiver) => match Pin::new(receiver).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(result)) => Poll::Ready(result),
                Poll::Ready(Err(_)) => {
                    self.0 = State::Never;
                    Poll::Pending
                }
            },
        }
    }
}

impl<T> fmt::Debug for Io<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Io(ready)",
            State::Waiting(_) => "Io(waiting)",
            State::Never => "Io(never)",
        })
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completer")
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_io_never_completes_and_a_ready_one_is_taken_at_once() {
        assert_eq!(Io::ok(3).try_take().unwrap(), Ok(3));
        let (completer, io) = Io::<u8>::pending();
        let io = io.try_take().expect_err("not answered yet");
        drop(completer);
        let io = io.try_take().expect_err("abandoned");
        assert!(io.try_take().is_err());
        let (completer, io) = Io::pending();
        completer.complete(Ok(7));
        assert_eq!(io.try_take().unwrap(), Ok(7));
    }
}
