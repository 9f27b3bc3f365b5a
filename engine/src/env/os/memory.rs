//! [`Memory`]: a long stretch of memory in huge pages.
//!
//! To clear and map four-kibibyte pages costs more than to read a file into them. A mapping of its own can ask for huge
//! pages, where the system grants them on request; where it refuses, it is memory like any other. A huge page is used
//! only where all of it lies inside of the mapping, and none before it is written: so a mapping never takes more memory
//! than its length, rounded up to a small page.
use bytes::Bytes;
use memmap2::{Advice, MmapMut};

/// Length of a huge page on the processors known; what is shorter has no use for [`Memory`].
pub(super) const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// Zeros, until something is written.
#[derive(Debug)]
pub(super) struct Memory(MmapMut);

impl Memory {
    /// `len` bytes; `None` where the system has no mapping for them.
    pub(super) fn of(len: usize) -> Option<Memory> {
        let map = MmapMut::map_anon(len).ok()?;
        // A system without huge pages refuses, and nothing is lost.
        let _ = map.advise(Advice::HugePage);
        Some(Memory(map))
    }

    /// The first `len` bytes, to be shared. The memory is given back with the last share.
    pub(super) fn into_bytes(self, len: usize) -> Bytes {
        Bytes::from_owner(self).slice(..len)
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_until_it_is_written_and_shared_without_a_copy() {
        let mut memory = Memory::of(3 * HUGE_PAGE + 17).unwrap();
        assert!(memory.as_ref().len() == 3 * HUGE_PAGE + 17 && memory.as_ref().iter().all(|b| *b == 0));
        memory.as_mut()[HUGE_PAGE] = 7;
        let at = memory.as_ref().as_ptr();
        let bytes = memory.into_bytes(HUGE_PAGE + 1);
        assert_eq!((bytes.as_ptr(), bytes.len(), bytes[HUGE_PAGE]), (at, HUGE_PAGE + 1, 7));
    }
}
