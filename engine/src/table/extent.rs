//! The extent of a table: its lowest and highest key, and its range tombstones.
//!
//! ```text
//! contents  := bounds:u8 [first:key last:key] count:u32 tombstone*
//!   bounds    1: keys of the first and the last entry follow · 0: there are no entries
//! tombstone := lsn:u64 start:key end:key       ordered by start, of one start the newest first
//!   key       varint(length) bytes; an end of no bytes is the end of all keys
//! ```
//!
//! A range tombstone hides every version of every key from `start` up to but without `end` whose LSN is lower than its
//! own. A version with the same LSN was written behind it in the same commit and stays visible.
use super::piece::Malformed;
use crate::codec::{Reader, put_varint, varint_len};
use crate::ids::Lsn;
use crate::limits::RANGE_BOUND_MAX;
use bytes::Bytes;

/// One range of keys deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeTombstone {
    /// First key hidden; no bytes are in front of all keys.
    pub start: Bytes,
    /// First key behind it that is not hidden; without it all are, to the end.
    pub end: Option<Bytes>,
    pub lsn: Lsn,
}

impl RangeTombstone {
    /// Whether `key` lies in the range.
    #[must_use]
    pub fn covers(&self, key: &[u8]) -> bool {
        self.start[..] <= *key && !self.ends_by(key)
    }
    /// Whether all keys of the range are lower than `key`.
    #[must_use]
    pub fn ends_by(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_some_and(|end| end[..] <= *key)
    }
    /// The part of it from `from` on and below `to`, if there is one; without `to`, to the end.
    #[must_use]
    pub fn clipped(&self, from: &Bytes, to: Option<&Bytes>) -> Option<RangeTombstone> {
        let start = (&self.start).max(from).clone();
        let end = match (&self.end, to) {
            (Some(end), Some(to)) => Some(end.min(to).clone()),
            (end, to) => end.as_ref().or(to).cloned(),
        };
        let part = RangeTombstone { start, end, lsn: self.lsn };
        (!part.ends_by(&part.start)).then_some(part)
    }
    fn end_len(&self) -> usize {
        self.end.as_ref().map_or(0, Bytes::len)
    }
    /// Bytes that it takes on disk.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let len = |n: usize| varint_len(n as u64) + n;
        8 + len(self.start.len()) + len(self.end_len())
    }
}

/// The extent of a table, in memory as long as the table is open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    bounds: Option<(Bytes, Bytes)>,
    tombstones: Vec<RangeTombstone>,
    /// The tombstones as a tree: the middle one of a stretch of them stands over the middle ones of both halves. For each of
    /// them the one with the greatest end in its stretch: where a search need not go down.
    reach: Vec<u32>,
}

/// Fills in `reach` for a stretch and tells the one with the greatest end.
fn farthest(tombstones: &[RangeTombstone], from: usize, to: usize, reach: &mut [u32]) -> Option<u32> {
    if from == to {
        return None;
    }
    let middle = from.midpoint(to);
    let halves = [
        farthest(tombstones, from, middle, reach),
        farthest(tombstones, middle + 1, to, reach),
        Some(middle as u32),
    ];
    // The end of all keys is behind every other one.
    let end = |i: &u32| tombstones[*i as usize].end.as_ref().map_or((1, &[][..]), |end| (0, &end[..]));
    let found = halves.into_iter().flatten().max_by(|a, b| end(a).cmp(&end(b)));
    reach[middle] = found.expect("one of three at least");
    found
}

/// A search for the tombstones that cover a key: as long as it finds some, and about as many steps for each as the tree is
/// high, whatever else there is.
#[derive(Debug)]
struct Covering<'a> {
    extent: &'a Extent,
    key: &'a [u8],
    /// Stretches not looked at yet.
    open: Vec<(usize, usize)>,
    #[cfg(test)]
    steps: usize,
}

impl<'a> Iterator for Covering<'a> {
    type Item = &'a RangeTombstone;

    fn next(&mut self) -> Option<&'a RangeTombstone> {
        let Extent { tombstones, reach, .. } = self.extent;
        while let Some((from, to)) = self.open.pop() {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let middle = from.midpoint(to);
            if from == to || tombstones[reach[middle] as usize].ends_by(self.key) {
                continue;
            }
            self.open.push((from, middle));
            let tombstone = &tombstones[middle];
            if tombstone.start[..] <= *self.key {
                self.open.push((middle + 1, to));
                if !tombstone.ends_by(self.key) {
                    return Some(tombstone);
                }
            }
        }
        None
    }
}

impl Extent {
    /// The extent of a table with these first and last keys and range tombstones, in any order.
    #[must_use]
    pub fn new(bounds: Option<(Bytes, Bytes)>, mut tombstones: Vec<RangeTombstone>) -> Extent {
        tombstones.sort_by(|a, b| a.start.cmp(&b.start).then(b.lsn.cmp(&a.lsn)).then(a.end.cmp(&b.end)));
        tombstones.dedup();
        let mut reach = vec![0; tombstones.len()];
        farthest(&tombstones, 0, tombstones.len(), &mut reach);
        Extent { bounds, tombstones, reach }
    }

    /// Keys of the first and the last entry.
    #[must_use]
    pub fn bounds(&self) -> Option<(&Bytes, &Bytes)> {
        self.bounds.as_ref().map(|(first, last)| (first, last))
    }
    /// All range tombstones, ordered by start, of one start the newest first.
    #[must_use]
    pub fn tombstones(&self) -> &[RangeTombstone] {
        &self.tombstones
    }
    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let keys = |t: &RangeTombstone| t.start.len() + t.end_len();
        let bounds = self.bounds.as_ref().map_or(0, |(a, b)| a.len() + b.len());
        bounds + self.tombstones.iter().map(|t| keys(t) + size_of::<RangeTombstone>() + 4).sum::<usize>()
    }

    /// The newest range tombstone not above `lsn` that covers `key`.
    #[must_use]
    pub fn cover(&self, key: &[u8], lsn: Lsn) -> Option<Lsn> {
        self.covering(key).filter(|cover| *cover <= lsn).max()
    }

    /// The LSNs of all range tombstones that cover `key`, in no order.
    pub fn covering<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = Lsn> + 'a {
        self.search(key).map(|tombstone| tombstone.lsn)
    }

    /// All range tombstones that cover `key`, in no order.
    pub fn over<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a RangeTombstone> + 'a {
        self.search(key)
    }

    fn search<'a>(&'a self, key: &'a [u8]) -> Covering<'a> {
        let open = if self.tombstones.is_empty() { Vec::new() } else { vec![(0, self.tombstones.len())] };
        Covering {
            extent: self,
            key,
            open,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The contents of the piece.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.bounds.is_some())];
        if let Some((first, last)) = &self.bounds {
            put_key(&mut out, first);
            put_key(&mut out, last);
        }
        out.extend_from_slice(&(self.tombstones.len() as u32).to_le_bytes());
        for tombstone in &self.tombstones {
            out.extend_from_slice(&tombstone.lsn.raw().to_le_bytes());
            put_key(&mut out, &tombstone.start);
            put_key(&mut out, tombstone.end.as_deref().unwrap_or_default());
        }
        out
    }

    /// Reads the contents of a verified piece. Keys are slices of `bytes`; a tombstone takes at most four times the
    /// bytes that it has there.
    ///
    /// # Errors
    /// If they are not what [`Extent::encode`] writes.
    pub fn decode(bytes: &Bytes) -> Result<Extent, Malformed> {
        let extent = Extent::read(bytes).ok_or(Malformed("bounds and range tombstones of their format"))?;
        if extent.encode() == bytes[..] { Ok(extent) } else { Err(Malformed("range tombstones in order")) }
    }

    fn read(bytes: &Bytes) -> Option<Extent> {
        let mut r = Reader::new(bytes);
        let bounds = match r.u8()? {
            0 => None,
            1 => {
                let (first, last) = (key(bytes, &mut r)?, key(bytes, &mut r)?);
                (first <= last).then_some(())?;
                Some((first, last))
            }
            _ => return None,
        };
        let count = r.u32()?;
        let mut tombstones = Vec::new();
        for _ in 0..count {
            let lsn = Lsn::from_raw(r.u64()?);
            let (start, end) = (key(bytes, &mut r)?, key(bytes, &mut r)?);
            let end = Some(end).filter(|end| !end.is_empty());
            end.as_ref().is_none_or(|end| start < *end).then_some(())?;
            tombstones.push(RangeTombstone { start, end, lsn });
        }
        r.is_empty().then(|| Extent::new(bounds, tombstones))
    }
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    put_varint(out, key.len() as u64);
    out.extend_from_slice(key);
}

/// A key as a slice of `bytes`, of which `r` has the rest.
fn key(bytes: &Bytes, r: &mut Reader<'_>) -> Option<Bytes> {
    let len = r.length(RANGE_BOUND_MAX)?;
    let at = bytes.len() - r.rest().len();
    r.bytes(len)?;
    Some(bytes.slice(at..at + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tombstone(start: &[u8], end: &[u8], lsn: u64) -> RangeTombstone {
        let copy = Bytes::copy_from_slice;
        RangeTombstone {
            start: copy(start),
            end: Some(copy(end)).filter(|e| !e.is_empty()),
            lsn: Lsn::from_raw(lsn),
        }
    }

    fn sample() -> Extent {
        let bounds = Some((Bytes::from_static(b"a"), Bytes::from_static(b"zebra")));
        Extent::new(
            bounds,
            vec![
                tombstone(b"c", b"d", 9),
                tombstone(b"b", b"x", 4),
                tombstone(b"c", b"cc", 11),
                tombstone(b"", b"", 2),
            ],
        )
    }

    #[test]
    fn an_extent_round_trips_and_has_one_encoding() {
        for extent in [sample(), Extent::default(), Extent::new(sample().bounds.clone(), Vec::new())] {
            let bytes = Bytes::from(extent.encode());
            assert_eq!(Extent::decode(&bytes), Ok(extent));
            for cut in 0..bytes.len() {
                assert!(Extent::decode(&bytes.slice(..cut)).is_err());
            }
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = Extent::decode(&other.clone().into()) {
                    assert_eq!(read.encode(), other, "bit {bit}");
                }
            }
        }
        let mut swapped = sample().encode();
        swapped[8..].rotate_left(3);
        assert!(Extent::decode(&swapped.into()).is_err());
    }

    #[test]
    fn a_search_behind_a_wide_tombstone_goes_past_the_narrow_ones() {
        let key = |n: u32| n.to_be_bytes();
        let narrow = (0..10_000u32).map(|n| tombstone(&key(2 * n), &key(2 * n + 1), 5));
        let wide = [tombstone(b"", b"", 3), tombstone(&key(7), &key(40_000), 9)];
        let extent = Extent::new(None, narrow.chain(wide).collect());
        for (n, expected) in [(19_001, vec![3, 9]), (12_000, vec![3, 5, 9]), (50_000, vec![3])] {
            let at = key(n);
            let mut search = extent.search(&at);
            let mut found: Vec<_> = search.by_ref().map(|t| t.lsn.raw()).collect();
            found.sort_unstable();
            assert_eq!(found, expected);
            assert!(search.steps < 100, "{} steps among 10,002", search.steps);
        }
    }

    proptest! {
        #[test]
        fn the_newest_tombstone_that_covers_is_found(
            ranges in prop::collection::vec((0u8..20, 1u8..9, 1u64..9), 0..12), key in 0u8..30, lsn in 0u64..10,
        ) {
            let tombstones: Vec<_> = ranges.iter().map(|&(s, n, l)| { let end = [s + n]; tombstone(&[s], if s + n < 24 { &end[..] } else { b"" }, l) }).collect();
            let covering = tombstones.iter().filter(|t| t.covers(&[key]) && t.lsn.raw() <= lsn).map(|t| t.lsn);
            let expected = covering.max();
            prop_assert_eq!(Extent::new(None, tombstones).cover(&[key], Lsn::from_raw(lsn)), expected);
        }
    }
}
