//! [`OsFile`]: a file by its descriptor.
use super::block_on::Syncs;
use super::errno::error;
use super::memory::{HUGE_PAGE, Memory};
use super::pools::Pools;
use super::transfer::{read_all, read_some, write_all};
use crate::env::{File, Io, IoOp, IoResult, Owner};
use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Zeros are written in pieces of this length where the file system cannot allocate.
const ZEROS: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct OsFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    path: PathBuf,
    owner: Owner,
    pools: Arc<Pools>,
}

impl OsFile {
    pub(super) fn new(fd: OwnedFd, path: PathBuf, owner: Owner, pools: Arc<Pools>) -> OsFile {
        OsFile(Arc::new(Inner { fd, path, owner, pools }))
    }

    /// Runs a call on the pool of changes and syncs.
    fn off_thread<T: Send + 'static>(
        &self,
        op: IoOp,
        call: impl FnOnce(&Inner) -> Result<T, Errno> + Send + 'static,
    ) -> Io<T> {
        let inner = Arc::clone(&self.0);
        self.0.pools.change(self.0.owner, op, &self.0.path, move || inner.answer(op, call(&inner)))
    }
}

impl Inner {
    fn answer<T>(&self, op: IoOp, result: Result<T, Errno>) -> IoResult<T> {
        result.map_err(|errno| error(op, &self.path, errno))
    }

    fn len(&self) -> Result<u64, Errno> {
        let stat = rustix::fs::fstat(&self.fd)?;
        Ok(u64::try_from(stat.st_size).expect("the kernel gives no negative length"))
    }

    /// Fills `buf[done..]` from `offset + done` on, waiting for the device; `buf` cut to what there was.
    fn read_rest(&self, offset: u64, mut buf: Vec<u8>, done: usize) -> IoResult<Vec<u8>> {
        let from = offset.saturating_add(done as u64);
        let more = read_all(&mut buf[done..], from, |b, o| rustix::io::pread(&self.fd, b, o));
        let more = self.answer(IoOp::ReadAt, more)?;
        buf.truncate(done + more);
        Ok(buf)
    }

    /// Up to `len` bytes from `offset` on, in huge pages if there are any to be had.
    fn read_long(&self, offset: u64, len: usize) -> IoResult<Bytes> {
        let Some(mut memory) = Memory::of(len) else {
            return self.read_rest(offset, vec![0; len], 0).map(Bytes::from);
        };
        let read = read_all(memory.as_mut(), offset, |b, o| rustix::io::pread(&self.fd, b, o));
        Ok(memory.into_bytes(self.answer(IoOp::ReadAt, read)?))
    }

    fn write(&self, offset: u64, buf: Vec<u8>) -> IoResult<Vec<u8>> {
        let result = write_all(&buf, offset, |b, o| rustix::io::pwrite(&self.fd, b, o));
        self.answer(IoOp::WriteAt, result).map(|()| buf)
    }

    fn sync(&self) -> Result<(), Errno> {
        // An interrupted sync failed to wait, not to write: only that is tried again.
        retry_on_intr(|| rustix::fs::fdatasync(&self.fd))
    }

    fn allocate(&self, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Ok(()); // The call refuses a length of zero.
        }
        let mode = FallocateFlags::empty(); // Extends the file's length.
        match retry_on_intr(|| rustix::fs::fallocate(&self.fd, mode, 0, len)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(len),
            result => result,
        }
    }

    /// Allocates by writing zeros from the present end on, where the file system has no call for it (NFS before 4.2,
    /// some FUSE). Holes below the present end stay: they cannot be told from data there. Who writes beyond the end
    /// of a file while it is being allocated loses, see [`File::allocate`].
    fn write_zeros(&self, len: u64) -> Result<(), Errno> {
        let zeros = vec![0; ZEROS];
        let mut at = self.len()?;
        while at < len {
            let n = (len - at).min(ZEROS as u64);
            write_all(&zeros[..n as usize], at, |b, o| rustix::io::pwrite(&self.fd, b, o))?;
            at += n;
        }
        Ok(())
    }
}

impl File for OsFile {
    fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    fn read_at(&self, offset: u64, mut buf: Vec<u8>) -> Io<Vec<u8>> {
        let mut done = 0;
        if buf.len() <= self.0.pools.inline_max() {
            let (n, stopped) = read_some(&mut buf, offset, |b, o| {
                let mut bufs = [IoSliceMut::new(b)];
                rustix::io::preadv2(&self.0.fd, &mut bufs, o, ReadWriteFlags::NOWAIT)
            });
            match stopped {
                None => {
                    buf.truncate(n);
                    return Io::ok(buf);
                }
                // Not in the page cache, or a file system that cannot tell: whatever it is, the pool may wait for it.
                Some(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => done = n,
                Some(errno) => return Io::ready(self.0.answer(IoOp::ReadAt, Err(errno))),
            }
        }
        let inner = Arc::clone(&self.0);
        let (owner, path) = (self.0.owner, &self.0.path);
        self.0.pools.read(owner, IoOp::ReadAt, path, move || inner.read_rest(offset, buf, done))
    }

    fn read_kept(&self, offset: u64, len: usize) -> Io<Bytes> {
        if len < HUGE_PAGE {
            return self.read_at(offset, vec![0; len]).map(Bytes::from);
        }
        let inner = Arc::clone(&self.0);
        let (owner, path) = (self.0.owner, &self.0.path);
        self.0.pools.read(owner, IoOp::ReadAt, path, move || inner.read_long(offset, len))
    }

    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>> {
        if buf.len() <= self.0.pools.inline_max() {
            return Io::ready(self.0.write(offset, buf));
        }
        let inner = Arc::clone(&self.0);
        let (owner, path) = (self.0.owner, &self.0.path);
        self.0.pools.change(owner, IoOp::WriteAt, path, move || inner.write(offset, buf))
    }

    fn sync(&self) -> Io<()> {
        match Syncs::of_this_thread() {
            Syncs::OnPool => self.off_thread(IoOp::Sync, Inner::sync),
            Syncs::Here => Io::ready(self.0.answer(IoOp::Sync, self.0.sync())),
        }
    }

    fn allocate(&self, len: u64) -> Io<()> {
        self.off_thread(IoOp::Allocate, move |inner| inner.allocate(len))
    }

    fn truncate(&self, len: u64) -> Io<()> {
        self.off_thread(IoOp::Truncate, move |inner| retry_on_intr(|| rustix::fs::ftruncate(&inner.fd, len)))
    }

    fn len(&self) -> Io<u64> {
        Io::ready(self.0.answer(IoOp::Len, self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::os::OsOptions;

    #[test]
    fn allocating_by_writing_zeros_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let std_file =
            std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let pools = Arc::new(Pools::new(&OsOptions::default()));
        let inner = Inner { fd: std_file.into(), path: path.clone(), owner: Owner::ENGINE, pools };
        inner.write(0, b"kept".to_vec()).unwrap();
        let len = 2 * ZEROS as u64 + 17;
        inner.write_zeros(len).unwrap();
        inner.write_zeros(3).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, len);
        assert_eq!(&bytes[..4], b"kept");
        assert!(bytes[4..].iter().all(|b| *b == 0));
    }
}
