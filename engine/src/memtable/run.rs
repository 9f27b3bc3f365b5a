//! What a log held when it was opened: a sorted array over the bytes of the log itself.
//!
//! Nothing is copied: a slot says where in which segment's bytes a key and its value lie. Everything in a run is
//! durable, so of each key it holds one version: a tombstone only where something older is underneath. A key goes when a newer version of it can be seen
//! by every reader; its bytes go when the run is packed, which it is once less than half of what it holds is alive.
use super::{Entry, KeyVersion, Seen, Tally, Value};
use crate::ids::{Lsn, Priority};
use crate::key::head;
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Bound;

/// A value is handed out without a copy only if it is at least this part of the bytes that it keeps in memory.
const SHARED_PART: usize = 16;
/// Slots of a block. Of each block one prefix is kept apart, so that a search begins in few cache lines, and how many of
/// its slots are still there, so that a scan passes over a block of which nothing is.
const STRIDE: usize = 64;

/// One entry. The value follows the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// The first bytes of the key behind those that all keys share, as an ordered number.
    pub(super) prefix: u64,
    /// Zero once the entry is gone.
    pub(super) lsn: Lsn,
    pub(super) at: u32,
    /// [`TOMBSTONE`] for none.
    pub(super) value: u32,
    /// Length of the key, less one.
    pub(super) key: u16,
    pub(super) chunk: u16,
    pub(super) priority: Priority,
}

/// Length of a value that is none.
pub(super) const TOMBSTONE: u32 = u32::MAX;

const _: () = assert!(size_of::<Slot>() == 32, "half a cache line");
const _: () = assert!(crate::limits::KEY_MAX <= 1 << 16, "a key's length less one fits its field");
const _: () = assert!(crate::limits::SEGMENTS_MAX <= 1 << 16, "every segment has a chunk");
const _: () = assert!(crate::limits::SEGMENT_HARD_MAX < u32::MAX as u64, "offsets fit");
const _: () = assert!((crate::limits::VALUE_MAX as u64) < TOMBSTONE as u64, "lengths fit");

impl Slot {
    /// The place of an entry that is not there.
    pub(super) const GONE: Slot = Slot {
        prefix: 0,
        lsn: Lsn::ZERO,
        at: 0,
        value: 0,
        key: 0,
        chunk: 0,
        priority: Priority::from_raw(0),
    };

    pub(super) fn key_len(&self) -> usize {
        usize::from(self.key) + 1
    }

    /// The length of its value; `None` for a tombstone.
    fn value(&self) -> Option<usize> {
        (self.value != TOMBSTONE).then_some(self.value as usize)
    }

    pub(super) fn value_len(&self) -> usize {
        self.value().unwrap_or(0)
    }

    fn payload(&self) -> u64 {
        (self.key_len() + self.value_len()) as u64
    }

    pub(super) fn key_in<'a>(&self, chunks: &'a [Bytes]) -> &'a [u8] {
        &chunks[usize::from(self.chunk)][self.at as usize..][..self.key_len()]
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// What all keys begin with.
    shared: Vec<u8>,
    slots: Vec<Slot>,
    /// The prefix of each block's first slot.
    fence: Vec<u64>,
    /// Slots of each block that are not gone.
    there: Vec<u8>,
    chunks: Vec<Bytes>,
    /// What is alive.
    alive: Tally,
    gone: usize,
}

impl Run {
    /// A run of `slots`, ascending by key, in `chunks`; all keys begin with `shared`.
    pub(super) fn new(shared: Vec<u8>, slots: Vec<Slot>, chunks: Vec<Bytes>) -> Run {
        let mut alive = Tally::default();
        slots.iter().for_each(|s| alive.add(s.key_len(), s.value(), s.priority));
        let mut run = Run { shared, slots, chunks, alive, ..Run::default() };
        if run.is_sparse() {
            run.pack();
        }
        run.build_blocks();
        run
    }

    /// Its parts again, as [`Run::new`] took them.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<Slot>, Vec<Bytes>) {
        assert!(self.gone == 0, "a run is taken apart before it is used");
        (self.shared, self.slots, self.chunks)
    }

    /// Of slots none of which is gone.
    fn build_blocks(&mut self) {
        let blocks = self.slots.chunks(STRIDE);
        (self.fence, self.there) = blocks.map(|b| (b[0].prefix, b.len() as u8)).unzip();
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.slots.len() * size_of::<Slot>()) as u64 + self.held()
    }

    /// What is in it.
    pub(super) fn tally(&self) -> &Tally {
        &self.alive
    }

    fn held(&self) -> u64 {
        self.chunks.iter().map(|c| c.len() as u64).sum()
    }

    fn key(&self, i: usize) -> &[u8] {
        self.slots[i].key_in(&self.chunks)
    }

    /// Where `key` is, or where it would be.
    fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(&self.shared[..]) else {
            return Err(if key < &self.shared[..] { 0 } else { self.slots.len() });
        };
        let wanted = head(rest, 0);
        let from = self.fence.partition_point(|&p| p < wanted).saturating_sub(1) * STRIDE;
        let to = (self.fence.partition_point(|&p| p <= wanted) * STRIDE).min(self.slots.len());
        let order = |slot: &Slot| match slot.prefix.cmp(&wanted) {
            Ordering::Equal => slot.key_in(&self.chunks).cmp(key),
            other => other,
        };
        match self.slots[from..to].binary_search_by(order) {
            Ok(i) => Ok(from + i),
            Err(i) => Err(from + i),
        }
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        self.search(key).ok().filter(|&i| self.slots[i].lsn > Lsn::ZERO)
    }

    fn value(&self, i: usize) -> Seen {
        let slot = &self.slots[i];
        if slot.value == TOMBSTONE {
            return None;
        }
        let (at, len) = (slot.at as usize + slot.key_len(), slot.value_len());
        let chunk = &self.chunks[usize::from(slot.chunk)];
        if len * SHARED_PART < chunk.len() {
            return Some(Value::copy_from(&chunk[at..at + len]));
        }
        Some(Value::from_bytes(chunk.slice(at..at + len)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone == self.slots.len()
    }

    /// The LSN that wrote `key`, and whether it wrote a value.
    pub(super) fn written(&self, key: &[u8]) -> Option<(Lsn, bool)> {
        self.find(key).map(|i| (self.slots[i].lsn, self.slots[i].value != TOMBSTONE))
    }

    /// What it holds of `key`, nothing being a tombstone.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Entry>> {
        let i = self.find(key)?;
        let Slot { lsn, priority, .. } = self.slots[i];
        Some(self.value(i).map(|value| Entry { value, lsn, priority }))
    }

    /// Forgets `key`, if it is there.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let Some(i) = self.find(key) else { return };
        let slot = &self.slots[i];
        self.alive.remove(slot.key_len(), slot.value(), slot.priority);
        self.slots[i].lsn = Lsn::ZERO;
        self.there[i / STRIDE] -= 1;
        self.gone += 1;
        self.pack_if_worth();
    }

    /// Forgets all keys between the bounds that were written before `lsn`.
    pub(super) fn remove_range(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, lsn: Lsn) {
        if self.slots.is_empty() {
            return;
        }
        let Entries { from, to, .. } = self.range(lower, upper);
        for i in from..to {
            let slot = &mut self.slots[i];
            if slot.lsn > Lsn::ZERO && slot.lsn < lsn {
                self.alive.remove(slot.key_len(), slot.value(), slot.priority);
                slot.lsn = Lsn::ZERO;
                self.there[i / STRIDE] -= 1;
                self.gone += 1;
            }
        }
        self.pack_if_worth();
    }

    fn pack_if_worth(&mut self) {
        if self.is_sparse() || self.gone * 2 > self.slots.len() {
            self.pack();
            self.build_blocks();
        }
    }

    fn is_sparse(&self) -> bool {
        self.alive.payload * 2 < self.held()
    }

    /// Drops the slots that are gone, and copies what is alive out of chunks that are mostly dead.
    fn pack(&mut self) {
        self.slots.retain(|s| s.lsn > Lsn::ZERO);
        self.gone = 0;
        let mut alive = vec![0u64; self.chunks.len()];
        for slot in &self.slots {
            alive[usize::from(slot.chunk)] += slot.payload();
        }
        let mut packed: Vec<Option<Vec<u8>>> = (self.chunks.iter().zip(&alive))
            .map(|(c, &n)| (n * 2 < c.len() as u64).then(|| Vec::with_capacity(n as usize)))
            .collect();
        for slot in &mut self.slots {
            let chunk = usize::from(slot.chunk);
            if let Some(to) = &mut packed[chunk] {
                let from = &self.chunks[chunk][slot.at as usize..][..slot.key_len() + slot.value_len()];
                slot.at = to.len() as u32;
                to.extend_from_slice(from);
            }
        }
        for (chunk, packed) in self.chunks.iter_mut().zip(packed) {
            if let Some(packed) = packed {
                *chunk = Bytes::from(packed);
            }
        }
    }

    /// The entries between the bounds, by ascending key.
    pub(super) fn range(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Entries<'_> {
        let at = |key: &[u8], behind: bool| match self.search(key) {
            Ok(i) => i + usize::from(behind),
            Err(i) => i,
        };
        let from = match lower {
            Bound::Unbounded => 0,
            Bound::Included(key) => at(key, false),
            Bound::Excluded(key) => at(key, true),
        };
        let to = match upper {
            Bound::Unbounded => self.slots.len(),
            Bound::Included(key) => at(key, true),
            Bound::Excluded(key) => at(key, false),
        };
        Entries { run: self, from, to: to.max(from) }
    }
}

/// Entries of a run, from both ends.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    run: &'a Run,
    from: usize,
    to: usize,
}

/// One entry of a run; its value is made when it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunEntry<'a> {
    run: &'a Run,
    i: usize,
}

impl<'a> RunEntry<'a> {
    pub(super) fn key(&self) -> &'a [u8] {
        self.run.key(self.i)
    }
    pub(super) fn value(&self) -> Seen {
        self.run.value(self.i)
    }
    pub(super) fn lsn(&self) -> Lsn {
        self.run.slots[self.i].lsn
    }
    /// It as a version, its value where it lies.
    pub(super) fn version(&self) -> KeyVersion<'a> {
        let slot = &self.run.slots[self.i];
        let chunk = &self.run.chunks[usize::from(slot.chunk)];
        let at = slot.at as usize + slot.key_len();
        let value = (slot.value != TOMBSTONE).then(|| &chunk[at..at + slot.value_len()]);
        KeyVersion { lsn: slot.lsn, priority: slot.priority, value }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = RunEntry<'a>;
    fn next(&mut self) -> Option<RunEntry<'a>> {
        while self.from < self.to {
            let i = self.from;
            if self.run.there[i / STRIDE] == 0 {
                self.from = (i / STRIDE + 1) * STRIDE;
                continue;
            }
            self.from += 1;
            if self.run.slots[i].lsn > Lsn::ZERO {
                return Some(RunEntry { run: self.run, i });
            }
        }
        None
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.from < self.to {
            let i = self.to - 1;
            if self.run.there[i / STRIDE] == 0 {
                self.to = i / STRIDE * STRIDE;
                continue;
            }
            self.to = i;
            if self.run.slots[i].lsn > Lsn::ZERO {
                return Some(RunEntry { run: self.run, i });
            }
        }
        None
    }
}
