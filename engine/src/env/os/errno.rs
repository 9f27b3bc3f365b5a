//! What the operating system's error codes mean to the engine.
use crate::env::{IoError, IoErrorKind, IoOp};
use rustix::io::Errno;
use std::path::Path;

/// The error of a verb that the operating system refused.
pub(super) fn error(op: IoOp, path: &Path, errno: Errno) -> IoError {
    let code = errno.raw_os_error();
    let words = std::io::Error::from_raw_os_error(code).to_string();
    // The code is a field of its own; std repeats it at the end of the text.
    let words = words.split(" (os error").next().unwrap_or_default().to_owned();
    IoError::new(op, path, kind(errno), words).with_os(code)
}

fn kind(errno: Errno) -> IoErrorKind {
    match errno {
        Errno::NOENT => IoErrorKind::NotFound,
        Errno::EXIST => IoErrorKind::AlreadyExists,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => IoErrorKind::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => IoErrorKind::Denied,
        Errno::MFILE | Errno::NFILE => IoErrorKind::TooManyFiles,
        // A directory that is not empty is not of the kind that `remove_dir` asks for.
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY => IoErrorKind::NotOurs,
        _ => IoErrorKind::Device,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds_and_keep_operation_path_and_code() {
        for (errno, kind) in [
            (Errno::NOENT, IoErrorKind::NotFound),
            (Errno::EXIST, IoErrorKind::AlreadyExists),
            (Errno::NOSPC, IoErrorKind::NoSpace),
            (Errno::DQUOT, IoErrorKind::NoSpace),
            (Errno::FBIG, IoErrorKind::NoSpace),
            (Errno::ROFS, IoErrorKind::Denied),
            (Errno::ACCESS, IoErrorKind::Denied),
            (Errno::PERM, IoErrorKind::Denied),
            (Errno::MFILE, IoErrorKind::TooManyFiles),
            (Errno::NFILE, IoErrorKind::TooManyFiles),
            (Errno::LOOP, IoErrorKind::NotOurs),
            (Errno::NOTEMPTY, IoErrorKind::NotOurs),
            (Errno::IO, IoErrorKind::Device),
            (Errno::NODEV, IoErrorKind::Device),
        ] {
            let e = error(IoOp::Sync, Path::new("/a/b"), errno);
            assert_eq!((e.op, e.path.as_path(), e.kind), (IoOp::Sync, Path::new("/a/b"), kind));
            assert_eq!(e.os, Some(errno.raw_os_error()));
        }
        let shown = error(IoOp::Open, Path::new("/a"), Errno::NOENT).to_string();
        assert_eq!(shown, "Open of /a failed: No such file or directory (os error 2)");
    }
}
