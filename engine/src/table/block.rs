//! A data block: entries in order, each key without what it shares with the one in front of it.
//!
//! ```text
//! contents := base:u64 entry* (restart:u32)* restarts:u32
//! entry    := kind:u8 shared:varint rest:varint lsn:varint [priority:varint] (length:varint | apart)? key [value]
//!   kind     bits 0..4: 1 put, 2 delete, others reserved · bit 4: collection present (reserved) · bit 5: expiry
//!            present (reserved) · bit 6: priority present · bit 7: the value lies apart
//!   shared   bytes that the key begins with as the key in front does · rest: bytes of it that follow
//!   lsn      zigzag of the wrapping difference to `base`, the LSN of the first entry
//!   priority zigzag; absent means 0
//!   apart    offset:varint length of the piece:varint checksum:u32 length of the value:varint
//! restart  := where an entry begins that shares nothing, counted from the start of the contents
//! ```
//!
//! Every entry that a restart names can be read without those in front of it, and all of them together are searched by
//! halves; the first entry is one. A search goes on from there entry by entry and compares only what an entry does not
//! share with the one in front, so it never puts a key together. Where a block is likely to be searched again, it is told
//! once where each entry begins and what its key begins with ([`Block::with_places`]), and a search goes there at once.
use super::entry::{Apart, Body, Entry, Slot};
use super::heads::{Near, Places, head};
use super::piece::{Handle, Malformed};
use crate::codec::{Reader, priority_word, put_varint, unzigzag, zigzag};
use crate::ids::{Lsn, Priority};
use crate::key::common_prefix;
use crate::limits::{BOUND_MAX, KEY_MAX, TABLE_PLACES_MAX, VALUE_MAX};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const HAS_PRIORITY: u8 = 1 << 6;
const APART: u8 = 1 << 7;
/// Bytes in front of the first entry.
const FIRST: usize = 8;

/// Entries whose keys begin alike that are gone through one by one; among more a search goes by halves.
const TIES_MAX: usize = 8;

const BROKEN: Malformed = Malformed("an entry of the block's format");
const UNORDERED: Malformed = Malformed("entries in order");

/// Collects the entries of one block.
#[derive(Debug)]
pub struct BlockBuilder {
    /// Entries from one restart to the next.
    interval: usize,
    contents: Vec<u8>,
    restarts: Vec<u32>,
    since_restart: usize,
    base: Lsn,
    last_key: Vec<u8>,
}

/// What an entry's body is once large values were moved out.
#[derive(Debug, Clone, Copy)]
pub enum Placed<'a> {
    Delete,
    Inline(&'a [u8]),
    Apart(Apart),
}

impl BlockBuilder {
    /// An empty block with a restart every `interval` entries.
    #[must_use]
    pub fn new(interval: usize) -> BlockBuilder {
        assert!(interval > 0);
        BlockBuilder {
            interval,
            contents: Vec::new(),
            restarts: Vec::new(),
            since_restart: 0,
            base: Lsn::ZERO,
            last_key: Vec::new(),
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }
    /// Length of the contents, were they finished now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len() + 4 * self.restarts.len() + 4
    }
    /// The key added last.
    #[must_use]
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Adds an entry; the caller sees to the order.
    pub fn add(&mut self, key: &[u8], lsn: Lsn, priority: Priority, body: Placed<'_>) {
        if self.is_empty() {
            self.base = lsn;
            self.contents.extend_from_slice(&lsn.raw().to_le_bytes());
        }
        let restart = self.restarts.is_empty() || self.since_restart == self.interval;
        let shared = if restart { 0 } else { common_prefix(&self.last_key, key) };
        if restart {
            self.restarts.push(self.contents.len() as u32);
            self.since_restart = 0;
        }
        self.since_restart += 1;
        let out = &mut self.contents;
        let kind = match body {
            Placed::Delete => DELETE,
            Placed::Inline(_) => PUT,
            Placed::Apart(_) => PUT | APART,
        };
        out.push(kind | if priority.raw() == 0 { 0 } else { HAS_PRIORITY });
        put_varint(out, shared as u64);
        put_varint(out, (key.len() - shared) as u64);
        put_varint(out, zigzag(lsn.raw().wrapping_sub(self.base.raw()) as i64));
        if priority.raw() != 0 {
            put_varint(out, priority_word(priority));
        }
        match body {
            Placed::Delete => (),
            Placed::Inline(value) => put_varint(out, value.len() as u64),
            Placed::Apart(Apart { handle, len }) => {
                put_varint(out, handle.offset);
                put_varint(out, u64::from(handle.len));
                out.extend_from_slice(&handle.crc.to_le_bytes());
                put_varint(out, u64::from(len));
            }
        }
        out.extend_from_slice(&key[shared..]);
        if let Placed::Inline(value) = body {
            out.extend_from_slice(value);
        }
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    /// The finished contents; the builder is then as new, but for the last key.
    pub fn finish(&mut self, contents: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has at least one entry");
        contents.clear();
        std::mem::swap(contents, &mut self.contents);
        for restart in &self.restarts {
            contents.extend_from_slice(&restart.to_le_bytes());
        }
        contents.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.since_restart = 0;
    }
}

/// The contents of a verified block, ready to be searched. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Block {
    bytes: Bytes,
    /// Where the restarts begin and the entries end.
    end: usize,
    restarts: usize,
    base: Lsn,
    /// Where its entries are, if it was asked to know.
    places: Option<Places>,
}

/// One entry as it lies in a block.
#[derive(Debug, Clone)]
pub struct RawEntry {
    /// Where it begins.
    pub at: usize,
    /// Where the next one begins.
    pub next: usize,
    /// Bytes of the key in front that its key begins with.
    pub shared: usize,
    /// Where the rest of its key is.
    pub rest: Range<usize>,
    pub lsn: Lsn,
    pub priority: Priority,
    pub body: RawBody,
}

/// What an entry says, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawBody {
    Delete,
    Inline(Range<usize>),
    Apart(Apart),
}

/// The first entry at or behind what was sought.
#[derive(Debug)]
pub struct Hit {
    pub entry: RawEntry,
    /// Whether its key is the key sought.
    pub same_key: bool,
}

impl Block {
    /// Takes `bytes` for the contents of a block. Entries are looked at when they are read.
    ///
    /// # Errors
    /// If the bytes cannot hold the restarts that they claim.
    pub fn new(bytes: Bytes) -> Result<Block, Malformed> {
        let read = || {
            let base = Reader::new(&bytes).u64()?;
            let count_at = bytes.len().checked_sub(4)?;
            let restarts = Reader::new(&bytes[count_at..]).u32()? as usize;
            let end = count_at.checked_sub(restarts.checked_mul(4)?)?;
            (restarts > 0 && end > FIRST).then_some((base, restarts, end))
        };
        let (base, restarts, end) = read().ok_or(Malformed("a block with entries and restarts"))?;
        let block = Block { bytes, end, restarts, base: Lsn::from_raw(base), places: None };
        if block.restart(0)? != FIRST {
            return Err(Malformed("a first entry that is a restart"));
        }
        Ok(block)
    }

    /// The same block, which knows in memory where each of its entries is. One of more than [`TABLE_PLACES_MAX`] entries
    /// stays as it is; so does one that is not of its format, where a search comes to the damage.
    #[must_use]
    pub fn with_places(mut self) -> Block {
        self.places = self.places.take().or_else(|| Some(self.list().ok().flatten().unwrap_or_default()));
        self
    }

    /// Whether it knows them already, or has found that it cannot.
    #[must_use]
    pub fn has_places(&self) -> bool {
        self.places.is_some()
    }

    fn list(&self) -> Result<Option<Places>, Malformed> {
        let (mut key, mut before, mut at) = (Vec::new(), None, self.restart(self.restarts - 1)?);
        while at < self.end {
            let entry = self.follow(at, &mut key, before)?;
            (at, before) = (entry.next, Some(entry.lsn));
        }
        let last = std::mem::take(&mut key);
        let (mut heads, mut places) = (Vec::new(), Vec::new());
        (at, before) = (FIRST, None);
        let mut shared = 0;
        while at < self.end {
            let entry = self.follow(at, &mut key, before)?;
            if before.is_none() {
                shared = common_prefix(&key, &last).min(BOUND_MAX);
            }
            // Keys are in order: what the first and the last one begin with, all do.
            heads.push(head(key.get(shared..).ok_or(UNORDERED)?));
            places.push(at as u32);
            (at, before) = (entry.next, Some(entry.lsn));
        }
        if key != last {
            return Err(UNORDERED);
        }
        let few = places.len() <= TABLE_PLACES_MAX;
        Ok(few.then(|| Places::new(&last[..shared], &heads, &places)))
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.places.as_ref().map_or(0, Places::memory)
    }
    /// All of its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// Bytes of the block in `range`, which one of its entries named.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
    /// The value in `body`, as a slice of this block that keeps it alive.
    #[must_use]
    pub fn slot(&self, body: &RawBody) -> Option<Slot> {
        match body {
            RawBody::Delete => None,
            RawBody::Inline(range) => Some(Slot::Inline(self.bytes.slice(range.clone()))),
            RawBody::Apart(apart) => Some(Slot::Apart(*apart)),
        }
    }
    /// Where the first entry begins.
    #[must_use]
    pub fn first(&self) -> usize {
        FIRST
    }
    /// Where the last entry ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    fn restart(&self, index: usize) -> Result<usize, Malformed> {
        assert!(index < self.restarts);
        let at = self.end + 4 * index;
        let at = Reader::new(&self.bytes[at..]).u32().ok_or(BROKEN)? as usize;
        if (FIRST..self.end).contains(&at) { Ok(at) } else { Err(Malformed("restarts among the entries")) }
    }

    /// The entry that begins at `at`.
    ///
    /// # Errors
    /// If there is no entry of this format.
    #[inline]
    pub fn entry(&self, at: usize) -> Result<RawEntry, Malformed> {
        self.decode(at).ok_or(BROKEN)
    }

    #[inline]
    fn decode(&self, at: usize) -> Option<RawEntry> {
        let mut r = Reader::new(self.bytes.get(at..self.end)?);
        let kind = r.u8()?;
        let shared = r.length(KEY_MAX)?;
        let rest = r.length(KEY_MAX - shared)?;
        let lsn = Lsn::from_raw(self.base.raw().wrapping_add(unzigzag(r.varint()?) as u64));
        let priority = if kind & HAS_PRIORITY != 0 { r.priority()? } else { Priority::default() };
        let mut inline = 0;
        let mut body = RawBody::Delete;
        match kind & !HAS_PRIORITY {
            PUT => inline = r.length(VALUE_MAX)?,
            DELETE => (),
            k if k == PUT | APART => {
                let (offset, len) = (r.varint()?, u32::try_from(r.varint()?).ok()?);
                let handle = Handle { offset, len, crc: r.u32()? };
                body = RawBody::Apart(Apart { handle, len: r.length(VALUE_MAX)? as u32 });
            }
            _ => return None,
        }
        let rest_at = self.end - r.rest().len();
        let value_at = rest_at + rest;
        let next = value_at + inline;
        if next > self.end || shared + rest == 0 {
            return None;
        }
        if kind & !HAS_PRIORITY == PUT {
            body = RawBody::Inline(value_at..next);
        }
        Some(RawEntry { at, next, shared, rest: rest_at..value_at, lsn, priority, body })
    }

    /// The last restart whose entry lies in front of (`key`, `lsn`); the first one if none does.
    ///
    /// # Errors
    /// If a restart names no entry that stands on its own.
    pub fn restart_before(&self, key: &[u8], lsn: Lsn) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low.midpoint(high);
            let entry = self.entry(self.restart(middle)?)?;
            if entry.shared != 0 {
                return Err(BROKEN);
            }
            match self.bytes[entry.rest].cmp(key).then(lsn.cmp(&entry.lsn)) {
                Ordering::Less => low = middle,
                _ => high = middle,
            }
        }
        self.restart(low)
    }

    /// The last restart in front of the entry at `at`; `None` if that is the first entry.
    ///
    /// # Errors
    /// If restarts are not among the entries.
    pub fn restart_in_front_of(&self, at: usize) -> Result<Option<usize>, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low.midpoint(high);
            if self.restart(middle)? < at { low = middle + 1 } else { high = middle }
        }
        if low == 0 { Ok(None) } else { self.restart(low - 1).map(Some) }
    }

    /// The first entry at or behind (`key`, `lsn`); `None` if all lie in front.
    ///
    /// # Errors
    /// If an entry on the way is not of this format.
    pub fn find(&self, key: &[u8], lsn: Lsn) -> Result<Option<Hit>, Malformed> {
        match self.places.as_ref().map(|places| places.look(key)) {
            Some(Near::Behind) => Ok(None),
            Some(Near::Front(at)) => Ok(Some(Hit { entry: self.entry(at)?, same_key: false })),
            Some(Near::Ties { first, count, agreed }) if count <= TIES_MAX => {
                let entry = self.entry(first)?;
                let (order, matched) = self.order_of(&entry, key, agreed)?;
                if is_hit(order, &entry, lsn) {
                    return Ok(Some(Hit { entry, same_key: order.is_eq() }));
                }
                self.walk(entry.next, matched, key, lsn)
            }
            Some(Near::Ties { .. } | Near::Anywhere) | None => {
                self.walk(self.restart_before(key, lsn)?, 0, key, lsn)
            }
        }
    }

    /// The order of an entry's key to `key`, and in how many bytes both agree, where they agree in `agreed` bytes, as far as
    /// they are that long and with zeros behind them.
    fn order_of(&self, entry: &RawEntry, key: &[u8], agreed: usize) -> Result<(Ordering, usize), Malformed> {
        let len = entry.shared + entry.rest.len();
        if len.min(key.len()) < agreed {
            // One of them is the other and zeros.
            return Ok((len.cmp(&key.len()), len.min(key.len())));
        }
        // The entry in front does not begin so: more than that it has not in common with this one.
        let rest = &self.bytes[entry.rest.clone()];
        let rest = agreed.checked_sub(entry.shared).and_then(|at| rest.get(at..)).ok_or(BROKEN)?;
        let (order, common) = order(rest, &key[agreed..]);
        Ok((order, agreed + common))
    }

    /// The first entry at or behind (`key`, `lsn`) from the one at `at` on. The key of the entry in front of that lies in
    /// front, and has `matched` bytes in common with `key`; none are assumed of a restart.
    fn walk(
        &self,
        mut at: usize,
        mut matched: usize,
        key: &[u8],
        lsn: Lsn,
    ) -> Result<Option<Hit>, Malformed> {
        while at < self.end {
            let entry = self.entry(at)?;
            at = entry.next;
            if entry.shared == 0 {
                // It may be a restart, which says nothing about the key in front.
                matched = 0;
            }
            // The order of this entry's key to the key sought.
            let order = match entry.shared.cmp(&matched) {
                // It differs from the one in front only behind the place where that one is smaller.
                Ordering::Greater => Ordering::Less,
                // Where it differs from the one in front, and is greater, that one still agreed.
                Ordering::Less => Ordering::Greater,
                Ordering::Equal => {
                    let (order, common) = order(&self.bytes[entry.rest.clone()], &key[matched..]);
                    matched += common;
                    order
                }
            };
            if is_hit(order, &entry, lsn) {
                return Ok(Some(Hit { entry, same_key: order.is_eq() }));
            }
        }
        Ok(None)
    }

    /// Reads the entry at `at` and turns `key`, the key of the entry in front, into its key.
    ///
    /// # Errors
    /// If it is not of this format, or not behind the entry in front, which has the LSN `before`.
    #[inline]
    pub fn follow(&self, at: usize, key: &mut Vec<u8>, before: Option<Lsn>) -> Result<RawEntry, Malformed> {
        let entry = self.entry(at)?;
        let rest = &self.bytes[entry.rest.clone()];
        if let Some(before) = before {
            let behind = key.get(entry.shared..).ok_or(BROKEN)?;
            // Where a key differs from the one in front is mostly at the first byte that they do not share.
            let order = rest.first().cmp(&behind.first()).then_with(|| rest.cmp(behind));
            match order {
                Ordering::Greater => (),
                Ordering::Equal if entry.lsn < before => (),
                _ => return Err(UNORDERED),
            }
        } else if entry.shared != 0 {
            return Err(BROKEN);
        }
        key.truncate(entry.shared);
        key.extend_from_slice(rest);
        Ok(entry)
    }
}

/// Whether `entry`, whose key is in `order` to the one sought, is at or behind that and `lsn`.
fn is_hit(order: Ordering, entry: &RawEntry, lsn: Lsn) -> bool {
    order.is_gt() || order.is_eq() && entry.lsn <= lsn
}

/// The order of `a` to `b`, and the length of the longest prefix that both have.
#[inline]
fn order(a: &[u8], b: &[u8]) -> (Ordering, usize) {
    let common = common_prefix(a, b);
    (a[common..].first().cmp(&b[common..].first()), common)
}

/// Where the body of `entry` is to lie if its value stays in the block.
#[must_use]
pub fn inline<'a>(entry: &Entry<'a>) -> Option<Placed<'a>> {
    match entry.body {
        Body::Delete => Some(Placed::Delete),
        Body::Put(value) => Some(Placed::Inline(value)),
        Body::Stored(_) => None,
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
