//! The lock on a data root: an operating-system lock, which goes with the process however that ends.
//!
//! It is taken twice: on a file, and on the directory that the file lies in. A lock file looks like something that a killed
//! process left, and is removed as such; who comes then makes another file, and would have a lock of its own.
//!
//! The line inside the file only tells people who holds it. It decides nothing: a stale one, left by a killed process, is
//! simply overwritten by the next holder. Only what is no such line at all is somebody else's file, and is left alone.
use crate::env::LockGuard;
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Longest line that is shown; what stands in the file may be anything.
const LINE_MAX: usize = 256;

/// Why a lock was not taken.
pub(super) enum Refused {
    /// By somebody whose line this is.
    Held(String),
    /// The file is not ours.
    Foreign,
    Errno(Errno),
}

/// What the line begins with.
const LINE: &[u8] = b"pid=";

/// Takes the lock on `file` and on `dir`, each of a description of its own, without waiting, and writes this process's line.
pub(super) fn take(file: OwnedFd, dir: OwnedFd) -> Result<LockGuard, Refused> {
    let (file, dir) = (File::from(file), File::from(dir));
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Refused::Held(holder(&file))),
        Err(TryLockError::Error(error)) => {
            return Err(Refused::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
    }
    if let Err(TryLockError::WouldBlock) = dir.try_lock() {
        return Err(Refused::Held(holder(&file)));
    }
    // On some file systems a directory cannot be locked, and the file has to do.
    let held = Held { file, dir };
    let mut begins = [0; LINE.len()];
    let len = held.file.read_at(&mut begins, 0).unwrap_or(0);
    if !LINE.starts_with(&begins[..len]) {
        return Err(Refused::Foreign);
    }
    let line = format!("pid={} host={}\n", std::process::id(), host());
    // The line is for people: a full disk, on which it cannot be written, must not keep a store from being opened
    // and emptied. The old line goes first, so that it names nobody rather than the wrong process.
    let _ = held.file.set_len(0).and_then(|()| held.file.write_all_at(line.as_bytes(), 0));
    Ok(LockGuard::new(Box::new(held)))
}

/// Unlocks by name rather than by closing: a child process that is just being started still has every descriptor of
/// this one, and would keep the lock until it runs its own program.
struct Held {
    file: File,
    dir: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.dir.unlock();
        let _ = self.file.unlock();
    }
}

/// What the holder said about itself, made fit for a message.
fn holder(file: &File) -> String {
    let mut buf = [0; LINE_MAX];
    let len = file.read_at(&mut buf, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&buf[..len]);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { "a process that has not given its name".to_owned() } else { line }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
