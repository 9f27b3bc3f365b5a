//! A filter: which keys the blocks of one index leaf may hold.
//!
//! ```text
//! contents := (group: 64 bytes)+
//!   the hash of a key names one group and six bits in it; all six are set for every key that was added
//! ```
//!
//! A Bloom filter whose bits for one key lie in one cache line (F. Putze, P. Sanders, J. Singler, *Cache-, Hash- and
//! Space-Efficient Bloom Filters*, 2007). With ten bits a key about 1.2 % of the keys that were never added are taken
//! for present, instead of 0.9 % with bits all over; a key that was added always is. The hash is part of the format.
use super::piece::Malformed;
use crate::codec::mix;
use crate::limits::TABLE_FILTER_BITS;
use bytes::Bytes;

/// Bytes of a group: a cache line.
const GROUP: usize = 64;
/// Bits that a key sets.
const BITS: u32 = 6;

/// Hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of `key`: eight bytes at a time, the last ones filled up with zeros, the length mixed in first.
    #[must_use]
    pub fn of(key: &[u8]) -> KeyHash {
        let mut h = mix(key.len() as u64);
        let mut words = key.chunks_exact(8);
        for word in &mut words {
            h = mix(h ^ u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        if !words.remainder().is_empty() {
            let mut last = [0; 8];
            last[..words.remainder().len()].copy_from_slice(words.remainder());
            h = mix(h ^ u64::from_le_bytes(last));
        }
        KeyHash(h)
    }

    /// The group of `groups` that it names.
    fn group(self, groups: usize) -> usize {
        ((u128::from(self.0) * groups as u128) >> 64) as usize
    }

    /// The bits that it names within its group.
    fn bits(self) -> impl Iterator<Item = usize> {
        let h = mix(self.0);
        (0..BITS).map(move |i| (h >> (9 * i)) as usize % (8 * GROUP))
    }
}

/// The contents of a filter of keys with these hashes.
#[must_use]
pub fn encode(hashes: &[KeyHash]) -> Vec<u8> {
    let groups = (hashes.len() * TABLE_FILTER_BITS).div_ceil(8 * GROUP).max(1);
    let mut out = vec![0; groups * GROUP];
    for hash in hashes {
        let group = hash.group(groups) * GROUP;
        for bit in hash.bits() {
            out[group + bit / 8] |= 1 << (bit % 8);
        }
    }
    out
}

/// The contents of a verified filter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Filter(Bytes);

impl Filter {
    /// Takes `bytes` for the contents of a filter.
    ///
    /// # Errors
    /// If they are no whole groups.
    pub fn new(bytes: Bytes) -> Result<Filter, Malformed> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(GROUP) {
            return Err(Malformed("a filter of whole groups"));
        }
        Ok(Filter(bytes))
    }

    /// Whether a key of this hash may have been added: always, if it was.
    #[must_use]
    pub fn may_hold(&self, hash: KeyHash) -> bool {
        let at = hash.group(self.0.len() / GROUP) * GROUP;
        let group = &self.0[at..at + GROUP];
        hash.bits().all(|bit| group[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u64) -> [u8; 16] {
        let mut key = *b"user/00000000000";
        key[8..].copy_from_slice(&n.to_be_bytes());
        key
    }

    #[test]
    fn every_key_added_is_found_and_about_one_other_in_eighty() {
        for n in [1u64, 10, 1000, 16_384] {
            let hashes: Vec<_> = (0..n).map(|i| KeyHash::of(&key(i))).collect();
            let contents = encode(&hashes);
            assert!(contents.len() <= crate::limits::TABLE_FILTER_MAX);
            let filter = Filter::new(contents.into()).unwrap();
            assert!(hashes.iter().all(|h| filter.may_hold(*h)));
            let others = 100_000;
            let wrong = (n..n + others).filter(|i| filter.may_hold(KeyHash::of(&key(*i)))).count();
            assert!(wrong < others as usize * 16 / 1000, "{wrong} of {others} with {n} keys");
        }
    }

    #[test]
    fn an_added_bit_is_seen_and_odd_lengths_are_refused() {
        let hashes: Vec<_> = (0..50).map(|i| KeyHash::of(&key(i))).collect();
        let contents = encode(&hashes);
        let mut lost = 0;
        for bit in (0..contents.len() * 8).filter(|bit| contents[bit / 8] & 1 << (bit % 8) != 0) {
            let mut other = contents.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let filter = Filter::new(other.into()).unwrap();
            lost += usize::from(hashes.iter().any(|h| !filter.may_hold(*h)));
        }
        let set: u32 = contents.iter().map(|b| b.count_ones()).sum();
        assert_eq!(lost, set as usize, "every bit stands for a key");
        for len in [0, 1, 63, 65] {
            assert!(Filter::new(vec![0; len].into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn keys_of_all_lengths_are_found(keys in prop::collection::vec(prop::collection::vec(0u8..3, 1..20), 1..60)) {
            let hashes: Vec<_> = keys.iter().map(|k| KeyHash::of(k)).collect();
            let filter = Filter::new(encode(&hashes).into()).unwrap();
            prop_assert!(hashes.iter().all(|h| filter.may_hold(*h)));
        }
    }
}
