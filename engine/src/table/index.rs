//! An index piece, leaf or root: which child holds which keys.
//!
//! ```text
//! contents := count:u32 prefix:u32 (child:handle [filter:handle])*count (end:u32)*count prefix key*
//!   handle  offset u64, length u32, checksum u32
//!   prefix  its length, and bytes that all keys begin with
//!   end     where the rest of a key ends, counted from the end of the prefix
//! ```
//!
//! A leaf's children are data blocks; a root's are leaves, each beside the filter of all keys in its blocks. The key of
//! a child is not below any key in it and below every key in the next child, unless both hold versions of one key: then
//! it is that key. So the first child whose key is not below the key sought is the first that can hold it, and the next
//! one need be looked at only if that child's key is the key sought. Everything has a place that can be computed: a
//! search reads what it compares. In memory the first bytes of all keys stand side by side beside it, so that a search reads
//! few of the keys themselves.
use super::heads::{equal, head};
use super::piece::{Handle, Malformed};
use crate::codec::Reader;
use crate::key::common_prefix;
use bytes::Bytes;
use std::cmp::Ordering;
use std::sync::Arc;

const HEAD: usize = 8;

/// A child on its way into an index piece.
#[derive(Debug, Clone)]
pub struct Child {
    pub key: Vec<u8>,
    pub handle: Handle,
    /// In a root alone.
    pub filter: Option<Handle>,
}

/// The shortest key that is not below `last` and below `next`; `last` itself where both are the same.
#[must_use]
pub fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    debug_assert!(last <= next);
    let common = common_prefix(last, next);
    // From the first difference on: a byte that can be raised, and is then still below `next` if it is that difference.
    for i in common..last.len() {
        let raised = last[i].checked_add(1);
        if let Some(raised) = raised
            && (i > common || next.get(i).is_some_and(|&n| raised < n))
        {
            let mut key = last[..=i].to_vec();
            key[i] = raised;
            return if key.len() < last.len() { key } else { last.to_vec() };
        }
    }
    last.to_vec()
}

/// The contents of an index piece with these children, of which there is at least one.
#[must_use]
pub fn encode(children: &[Child]) -> Vec<u8> {
    let (first, last) = (&children[0].key, &children[children.len() - 1].key);
    let prefix = common_prefix(first, last);
    let mut out = Vec::new();
    out.extend_from_slice(&(children.len() as u32).to_le_bytes());
    out.extend_from_slice(&(prefix as u32).to_le_bytes());
    for child in children {
        child.handle.encode(&mut out);
        if let Some(filter) = child.filter {
            filter.encode(&mut out);
        }
    }
    let mut end = 0;
    for child in children {
        end += (child.key.len() - prefix) as u32;
        out.extend_from_slice(&end.to_le_bytes());
    }
    out.extend_from_slice(&first[..prefix]);
    children.iter().for_each(|child| out.extend_from_slice(&child.key[prefix..]));
    out
}

/// Most bytes that a child with a key of `key` bytes adds to the contents.
#[must_use]
pub fn child_len(key: usize) -> usize {
    key + 2 * Handle::LEN + 4
}

/// Whether an index piece is a leaf or the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Leaf,
    Root,
}

/// The contents of a verified index piece. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    bytes: Bytes,
    level: Level,
    count: usize,
    prefix: usize,
    /// Where the prefix begins.
    keys: usize,
    /// Of what each key has behind the prefix.
    heads: Arc<[u32]>,
}

impl Index {
    /// Takes `bytes` for the contents of an index piece.
    ///
    /// # Errors
    /// If they cannot hold as many children as they claim, or not their keys.
    pub fn new(bytes: Bytes, level: Level) -> Result<Index, Malformed> {
        let read = || {
            let mut r = Reader::new(&bytes);
            let (count, prefix) = (r.u32()? as usize, r.u32()? as usize);
            let keys = HEAD.checked_add(count.checked_mul(stride(level) + 4)?)?;
            (count > 0 && keys.checked_add(prefix)? <= bytes.len()).then_some((count, prefix, keys))
        };
        let (count, prefix, keys) = read().ok_or(Malformed("an index with the children that it claims"))?;
        let mut index = Index { bytes, level, count, prefix, keys, heads: Arc::default() };
        if index.end(count - 1) != Some(index.bytes.len()) {
            return Err(Malformed("an index that ends with its last key"));
        }
        index.heads = (0..count).map(|i| index.rest(i).map(head)).collect::<Result<_, _>>()?;
        Ok(index)
    }

    /// Number of children, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.heads) + 16
    }

    /// The child number `i`.
    #[must_use]
    pub fn child(&self, i: usize) -> Handle {
        self.handle(HEAD + i * stride(self.level))
    }
    /// The filter of the root's child number `i`.
    #[must_use]
    pub fn filter(&self, i: usize) -> Handle {
        assert!(self.level == Level::Root, "a leaf has no filters");
        self.handle(HEAD + i * stride(self.level) + Handle::LEN)
    }
    fn handle(&self, at: usize) -> Handle {
        Handle::decode(&mut Reader::new(&self.bytes[at..])).expect("the handles were seen to be there")
    }

    fn end(&self, i: usize) -> Option<usize> {
        let at = HEAD + self.count * stride(self.level) + 4 * i;
        let end = Reader::new(self.bytes.get(at..)?).u32()? as usize;
        (self.keys + self.prefix).checked_add(end)
    }

    /// What the key of child number `i` has behind the prefix.
    fn rest(&self, i: usize) -> Result<&[u8], Malformed> {
        let read = || {
            let start = if i == 0 { self.keys + self.prefix } else { self.end(i - 1)? };
            self.bytes.get(start..self.end(i)?)
        };
        read().ok_or(Malformed("keys of an index within it"))
    }

    /// Whether the key of child number `i` is `key`.
    ///
    /// # Errors
    /// If the key lies outside the piece.
    pub fn has_key(&self, i: usize, key: &[u8]) -> Result<bool, Malformed> {
        let prefix = &self.bytes[self.keys..self.keys + self.prefix];
        Ok(key.strip_prefix(prefix).is_some_and(|rest| self.rest(i) == Ok(rest)) || {
            self.rest(i)?;
            false
        })
    }

    /// The first child whose key is not below `key`; [`Index::count`] if there is none.
    ///
    /// # Errors
    /// If a key lies outside the piece.
    pub fn find(&self, key: &[u8]) -> Result<usize, Malformed> {
        let prefix = &self.bytes[self.keys..self.keys + self.prefix];
        let front = &key[..key.len().min(prefix.len())];
        match front.cmp(prefix) {
            Ordering::Less => return Ok(0),
            Ordering::Greater => return Ok(self.count),
            Ordering::Equal => (),
        }
        let sought = &key[prefix.len()..];
        let ties = equal(&self.heads, head(sought));
        let (mut low, mut high) = (ties.start, ties.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.rest(middle)? < sought { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

fn stride(level: Level) -> usize {
    match level {
        Level::Leaf => Handle::LEN,
        Level::Root => 2 * Handle::LEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn handle(n: u32) -> Handle {
        Handle { offset: u64::from(n) * 7, len: n, crc: !n }
    }

    fn index(keys: &[Vec<u8>], level: Level) -> Index {
        let child = |(i, key): (usize, &Vec<u8>)| Child {
            key: key.clone(),
            handle: handle(i as u32),
            filter: (level == Level::Root).then(|| handle(i as u32 + 1000)),
        };
        Index::new(encode(&keys.iter().enumerate().map(child).collect::<Vec<_>>()).into(), level).unwrap()
    }

    #[test]
    fn bytes_that_cannot_hold_their_children_are_refused() {
        let contents = index(&[b"aa".to_vec(), b"ab".to_vec()], Level::Leaf).bytes;
        for cut in 0..contents.len() {
            assert!(Index::new(contents.slice(..cut), Level::Leaf).is_err(), "{cut}");
        }
        for field in [0, 4] {
            let mut other = contents.to_vec();
            other[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(Index::new(other.into(), Level::Leaf).is_err());
        }
    }

    /// The checksum of the piece sees every flipped bit; behind it nothing may panic.
    #[test]
    fn no_flipped_bit_panics() {
        let contents = index(&[b"aa".to_vec(), b"ab".to_vec(), b"ac".to_vec()], Level::Root).bytes;
        for bit in 0..contents.len() * 8 {
            let mut other = contents.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            if let Ok(index) = Index::new(other.into(), Level::Root) {
                let _ =
                    index.find(b"ab").map(|i| (i < index.count()).then(|| (index.child(i), index.filter(i))));
                let _ = index.has_key(0, b"aa");
            }
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 254, 255]), 0..6)
    }

    proptest! {
        #[test]
        fn a_separator_separates_and_is_no_longer_than_it_need_be(a in key(), b in key()) {
            let (a, b) = if a <= b { (a, b) } else { (b, a) };
            let s = separator(&a, &b);
            prop_assert!(s >= a && s.len() <= a.len());
            prop_assert!(s < b || a == b && s == a);
        }

        #[test]
        fn the_child_found_is_the_first_whose_key_is_not_below(keys in prop::collection::btree_set(key(), 1..20), sought in key()) {
            let keys: Vec<_> = keys.into_iter().collect();
            for level in [Level::Leaf, Level::Root] {
                let index = index(&keys, level);
                let expected = keys.iter().position(|k| *k >= sought).unwrap_or(keys.len());
                prop_assert_eq!(index.find(&sought), Ok(expected));
                for (i, key) in keys.iter().enumerate() {
                    prop_assert_eq!(index.child(i), handle(i as u32));
                    prop_assert_eq!(index.has_key(i, &sought), Ok(*key == sought));
                    if level == Level::Root {
                        prop_assert_eq!(index.filter(i), handle(i as u32 + 1000));
                    }
                }
            }
        }
    }
}
