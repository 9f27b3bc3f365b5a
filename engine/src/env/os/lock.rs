//! The lock on a data root: an operating-system lock, which goes with the process however that ends.
//!
//! The line inside the file only tells people who holds it. It is never read to decide anything: a stale one, left by
//! a killed process, is simply overwritten by the next holder.
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
    Errno(Errno),
}

/// Takes the lock on `file`, a file of its own description, without waiting, and writes this process's line.
pub(super) fn take(file: OwnedFd) -> Result<LockGuard, Refused> {
    let file = File::from(file);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Refused::Held(holder(&file))),
        Err(TryLockError::Error(error)) => {
            return Err(Refused::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
    }
    let line = format!("pid={} host={}\n", std::process::id(), host());
    // The line is for people: a full disk, on which it cannot be written, must not keep a store from being opened
    // and emptied. The old line goes first, so that it names nobody rather than the wrong process.
    let _ = file.set_len(0).and_then(|()| file.write_all_at(line.as_bytes(), 0));
    Ok(LockGuard::new(Box::new(Held(file))))
}

/// Unlocks by name rather than by closing: a child process that is just being started still has every descriptor of
/// this one, and would keep the lock until it runs its own program.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
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
