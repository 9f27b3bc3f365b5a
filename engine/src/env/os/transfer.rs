//! Moves all the bytes: interrupted and short reads and writes are completed.
use rustix::io::Errno;

/// Fills `buf` from `offset` on with what `read` gives; the number of bytes that there were before the end of the
/// file.
pub(super) fn read_all(
    buf: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    match read_some(buf, offset, &mut read) {
        (done, None) => Ok(done),
        (_, Some(errno)) => Err(errno),
    }
}

/// As [`read_all`], but tells how many bytes were read before an error as well.
pub(super) fn read_some(
    buf: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> (usize, Option<Errno>) {
    let mut done = 0;
    while done < buf.len() {
        match read(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return (done, Some(errno)),
        }
    }
    (done, None)
}

/// Gives all of `buf` to `write`, to be put at `offset`.
pub(super) fn write_all(
    buf: &[u8],
    offset: u64,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < buf.len() {
        match write(&buf[done..], offset.saturating_add(done as u64)) {
            // Not known to happen with a regular file; to go on would be to go on for ever.
            Ok(0) => return Err(Errno::IO),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A device that answers by script: how many bytes it moves at most, or an error.
    struct Scripted {
        bytes: Vec<u8>,
        script: VecDeque<Result<usize, Errno>>,
    }

    impl Scripted {
        fn new(bytes: &[u8], script: &[Result<usize, Errno>]) -> Scripted {
            Scripted { bytes: bytes.to_vec(), script: script.iter().copied().collect() }
        }
        fn step(&mut self, wanted: usize) -> Result<usize, Errno> {
            self.script.pop_front().unwrap_or(Ok(wanted)).map(|n| n.min(wanted))
        }
        fn read(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
            let n = self.step(buf.len())?.min(self.bytes.len() - offset as usize);
            buf[..n].copy_from_slice(&self.bytes[offset as usize..][..n]);
            Ok(n)
        }
        fn write(&mut self, buf: &[u8], offset: u64) -> Result<usize, Errno> {
            let n = self.step(buf.len())?;
            self.bytes.resize(self.bytes.len().max(offset as usize + n), 0);
            self.bytes[offset as usize..][..n].copy_from_slice(&buf[..n]);
            Ok(n)
        }
    }

    #[test]
    fn interrupted_and_short_reads_are_completed_up_to_the_end_of_the_file() {
        let mut device =
            Scripted::new(b"0123456789", &[Err(Errno::INTR), Ok(1), Ok(2), Err(Errno::INTR), Ok(1)]);
        let mut buf = [0; 20];
        assert_eq!(read_all(&mut buf, 3, |b, o| device.read(b, o)), Ok(7));
        assert_eq!(&buf[..8], b"3456789\0");
        let mut device = Scripted::new(b"0123456789", &[Ok(4), Err(Errno::IO)]);
        assert_eq!(read_all(&mut buf, 0, |b, o| device.read(b, o)), Err(Errno::IO));
        let mut device = Scripted::new(b"0123456789", &[Ok(4), Err(Errno::AGAIN)]);
        assert_eq!(read_some(&mut buf, 0, |b, o| device.read(b, o)), (4, Some(Errno::AGAIN)));
    }

    #[test]
    fn interrupted_and_short_writes_are_completed() {
        let mut device = Scripted::new(b"..", &[Ok(1), Err(Errno::INTR), Ok(2), Err(Errno::INTR)]);
        assert_eq!(write_all(b"abcdefg", 1, |b, o| device.write(b, o)), Ok(()));
        assert_eq!(device.bytes, b".abcdefg");
        let mut device = Scripted::new(b"", &[Ok(3), Err(Errno::NOSPC)]);
        assert_eq!(write_all(b"abcdefg", 0, |b, o| device.write(b, o)), Err(Errno::NOSPC));
        assert_eq!(device.bytes, b"abc");
        let mut device = Scripted::new(b"", &[Ok(0)]);
        assert_eq!(write_all(b"a", 0, |b, o| device.write(b, o)), Err(Errno::IO));
    }
}
