//! The bytes of one file: sparse, in pages that snapshots share.
//!
//! Invariant: a byte at or past `len` is zero, and a sector wholly past `len` was never written.
use crate::decide::{hash_bytes, mix};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SECTOR: usize = bulkhead::limits::SECTOR;
pub(crate) const PAGE: usize = bulkhead::limits::PAGE;
pub(crate) const SECTORS: usize = PAGE / SECTOR;

/// The writer of a sector that was never written.
pub(crate) const NOBODY: u64 = u64::MAX;
/// The writer of a sector that was written, but a power cut lost it: it reads as zero.
pub(crate) const LOST: u64 = u64::MAX - 1;

#[derive(Clone)]
struct Page {
    bytes: [u8; PAGE],
    writers: [u64; SECTORS],
}

/// The bytes of one sector and who wrote them.
#[derive(Clone, Copy)]
pub(crate) struct Sector<'a> {
    pub(crate) bytes: &'a [u8; SECTOR],
    pub(crate) writer: u64,
}

/// A file's content at one moment. Cloning it is cheap.
#[derive(Clone, Default)]
pub(crate) struct Image {
    len: u64,
    /// The file has disk space for all its bytes below this, whether written or not.
    allocated: u64,
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    /// Pages that begin at or past `allocated`.
    pages_beyond: u64,
}

impl Image {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the device that the file holds.
    pub(crate) fn footprint(&self) -> u64 {
        (self.allocated.div_ceil(PAGE as u64) + self.pages_beyond) * PAGE as u64
    }

    /// Bytes of the device that a write would newly take.
    pub(crate) fn cost_of_write(&self, offset: u64, len: usize) -> u64 {
        if len == 0 {
            return 0;
        }
        let first = (offset / PAGE as u64).max(self.allocated.div_ceil(PAGE as u64));
        let end = (offset + len as u64).div_ceil(PAGE as u64);
        if end <= first {
            return 0;
        }
        (end - first - self.pages.range(first..end).count() as u64) * PAGE as u64
    }

    /// Bytes of the device that an allocation would newly take.
    pub(crate) fn cost_of_allocation(&self, len: u64) -> u64 {
        let first = self.allocated.div_ceil(PAGE as u64);
        let end = len.div_ceil(PAGE as u64);
        if end <= first {
            0
        } else {
            (end - first - self.pages.range(first..end).count() as u64) * PAGE as u64
        }
    }

    /// Reads from `offset` into `out`, tells `met` each sector and its writer, and returns how many bytes there were.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8], mut met: impl FnMut(u64, u64)) -> usize {
        let n = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let mut done = 0;
        while done < n {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let part = (PAGE - within).min(n - done);
            let to = &mut out[done..done + part];
            let first = at / SECTOR as u64;
            let last = (at + part as u64 - 1) / SECTOR as u64;
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => {
                    to.copy_from_slice(&page.bytes[within..within + part]);
                    (first..=last).for_each(|s| met(s, page.writers[s as usize % SECTORS]));
                }
                None => {
                    to.fill(0);
                    (first..=last).for_each(|s| met(s, NOBODY));
                }
            }
            done += part;
        }
        n
    }

    /// Writes `data` at `offset`, growing the file where needed.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], writer: u64) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let part = (PAGE - within).min(data.len() - done);
            let page = self.page_mut(at / PAGE as u64);
            page.bytes[within..within + part].copy_from_slice(&data[done..done + part]);
            page.writers[within / SECTOR..(within + part).div_ceil(SECTOR)].fill(writer);
            done += part;
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    /// The sector, if somebody wrote it and it was not lost.
    pub(crate) fn sector(&self, sector: u64) -> Option<Sector<'_>> {
        let page = self.pages.get(&(sector / SECTORS as u64))?;
        let i = sector as usize % SECTORS;
        let writer = page.writers[i];
        (writer < LOST).then(|| Sector { bytes: &page.bytes.as_chunks::<SECTOR>().0[i], writer })
    }

    /// Replaces a whole sector without touching the length.
    pub(crate) fn put_sector(&mut self, sector: u64, bytes: &[u8], writer: u64) {
        let page = self.page_mut(sector / SECTORS as u64);
        let i = sector as usize % SECTORS;
        page.bytes[i * SECTOR..][..SECTOR].copy_from_slice(bytes);
        page.writers[i] = writer;
    }

    /// Whether a sector holds the same bytes here and there.
    pub(crate) fn same_sector(&self, other: &Image, sector: u64) -> bool {
        let zero = [0; SECTOR];
        let of = |image: &Image| image.sector(sector).map_or(zero, |s| *s.bytes);
        of(self) == of(other)
    }

    /// Sectors that somebody wrote, in order.
    pub(crate) fn written(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().flat_map(|(no, page)| {
            let written = (0..SECTORS).filter(|i| page.writers[*i] < LOST);
            written.map(|i| *no * SECTORS as u64 + i as u64)
        })
    }

    /// Sets the length; what lies past it is forgotten, what is new reads as zero.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.forget_past(len);
        }
        self.len = len;
    }

    /// Sets the length of an image into which sectors past its length may have been put.
    pub(crate) fn settle_len(&mut self, len: u64) {
        self.forget_past(len);
        self.len = len;
    }

    /// Has disk space for everything below `len` from now on.
    pub(crate) fn allocate(&mut self, len: u64) {
        if len > self.allocated {
            let range = self.allocated.div_ceil(PAGE as u64)..len.div_ceil(PAGE as u64);
            self.pages_beyond -= self.pages.range(range).count() as u64;
            self.allocated = len;
        }
    }

    fn forget_past(&mut self, len: u64) {
        let keep = len.div_ceil(PAGE as u64);
        if self.allocated > len {
            let (low, high) = (keep, self.allocated.div_ceil(PAGE as u64));
            // Written pages between the two would now count on their own, but they go anyway.
            self.allocated = len;
            self.pages_beyond += self.pages.range(low..high.max(low)).count() as u64;
        }
        if self.pages.range(keep..).next().is_some() {
            let dropped = Arc::make_mut(&mut self.pages).split_off(&keep);
            self.pages_beyond -= dropped.len() as u64;
        }
        let within = (len % PAGE as u64) as usize;
        let last = len / PAGE as u64;
        if within != 0 && self.pages.contains_key(&last) {
            let page = self.page_mut(last);
            page.bytes[within..].fill(0);
            page.writers[within.div_ceil(SECTOR)..].fill(NOBODY);
        }
    }

    fn page_mut(&mut self, no: u64) -> &mut Page {
        let beyond = no >= self.allocated.div_ceil(PAGE as u64);
        let pages = Arc::make_mut(&mut self.pages);
        let page = pages.entry(no).or_insert_with(|| {
            self.pages_beyond += u64::from(beyond);
            Arc::new(Page { bytes: [0; PAGE], writers: [NOBODY; SECTORS] })
        });
        Arc::make_mut(page)
    }

    /// All bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(self.len).expect("a simulated file fits into memory")];
        self.read(0, &mut out, |_, _| ());
        out
    }

    /// A hash of length and bytes; pages of zeros count like pages that are not there.
    pub(crate) fn hash(&self) -> u64 {
        self.pages.iter().fold(mix(0, self.len), |state, (no, page)| {
            if page.bytes == [0; PAGE] { state } else { mix(mix(state, *no), hash_bytes(&page.bytes)) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![7; len];
        let n = image.read(offset, &mut out, |_, _| ());
        out.truncate(n);
        out
    }

    #[test]
    fn bytes_come_back_across_pages_and_copies_are_independent() {
        let mut image = Image::default();
        let data: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        image.write(3000, &data, 1);
        let before = image.clone();
        assert_eq!(image.len(), 13_000);
        assert_eq!(read(&image, 3000, 20_000), data);
        assert_eq!(read(&image, 0, 3000), vec![0; 3000]);
        image.write(4000, &[9; 5000], 2);
        assert_eq!(before.to_vec()[3000..], data);
        assert_ne!(before.hash(), image.hash());
        assert_eq!(image.sector(5).unwrap().writer, 1);
        assert_eq!(image.sector(10).unwrap().writer, 2);
        assert!(image.sector(0).is_none());
    }

    #[test]
    fn cutting_forgets_and_growing_shows_zeros() {
        let mut image = Image::default();
        image.write(0, &[5; 9000], 1);
        image.set_len(700);
        image.set_len(9000);
        assert_eq!(read(&image, 0, 9000), [vec![5; 700], vec![0; 8300]].concat());
        assert!(image.sector(1).is_some() && image.sector(2).is_none());
    }

    #[test]
    fn disk_space_is_counted_once() {
        let page = PAGE as u64;
        let mut image = Image::default();
        assert_eq!(image.cost_of_allocation(16 * page), 16 * page);
        image.write(2 * page, &[1; 10], 1);
        assert_eq!((image.footprint(), image.cost_of_allocation(16 * page)), (page, 15 * page));
        image.allocate(16 * page);
        assert_eq!(image.footprint(), 16 * page);
        assert_eq!(image.cost_of_write(3 * page, 2 * PAGE), 0);
        assert_eq!(image.cost_of_write(15 * page + 1, 2 * PAGE), 2 * page);
        image.write(15 * page + 1, &[1; 2 * PAGE], 1);
        assert_eq!(image.footprint(), 18 * page);
        image.set_len(2 * page + 5);
        assert_eq!(image.footprint(), 3 * page);
        image.set_len(0);
        assert_eq!(image.footprint(), 0);
        image.write(5 * page, &[1; 1], 1);
        assert_eq!(image.footprint(), page);
    }
}
