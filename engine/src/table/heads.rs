//! The first bytes of ascending keys as numbers, side by side: what a search in a piece looks at before it looks at keys.
//!
//! In memory alone; nothing of it is on disk. The entries of a block lie further apart than a cache line is long, and
//! keys of an index are found through two places each. So every step of a search by halves waits for memory, or goes
//! through several branches. Numbers that lie in a row are counted instead, a stretch of them at once.
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// Numbers that are compared one by one rather than by halves.
const STRETCH: usize = 128;
/// Bytes of a number.
pub(super) const HEAD: usize = 4;

/// The first bytes of `rest` as a number that is ordered as they are. What is not there counts as zeros: so keys of equal
/// numbers may still differ, also in length.
#[inline]
pub(super) fn head(rest: &[u8]) -> u32 {
    match rest.first_chunk() {
        Some(bytes) => u32::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; HEAD];
            bytes[..rest.len()].copy_from_slice(rest);
            u32::from_be_bytes(bytes)
        }
    }
}

/// How many of `heads`, which ascend, are below `wanted`.
#[inline]
fn below(heads: &[u32], wanted: u32) -> usize {
    let (mut from, mut len) = (0, heads.len());
    while len > STRETCH {
        let half = len / 2;
        if heads[from + half] < wanted {
            (from, len) = (from + half, len - half);
        } else {
            len = half;
        }
    }
    from + heads[from..from + len].iter().map(|&head| u32::from(head < wanted)).sum::<u32>() as usize
}

/// Which of `heads`, which ascend, are `wanted`: an empty range where they would be, if none is.
#[inline]
pub(super) fn equal(heads: &[u32], wanted: u32) -> Range<usize> {
    let from = below(heads, wanted);
    // Mostly none or one.
    let ties = heads[from..].iter().take(2).take_while(|&&head| head == wanted).count();
    match (ties, wanted.checked_add(1)) {
        (2, Some(next)) => from..from + below(&heads[from..], next),
        (2, None) => from..heads.len(),
        (ties, _) => from..from + ties,
    }
}

/// The heads of a block's keys, and where each of its entries begins; of no entries, if that is not kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// What all keys begin with, filled up with zeros; then the heads of what they have behind that; then the places.
    words: Arc<[u32]>,
    /// Length of what all keys begin with.
    shared: usize,
    count: usize,
}

/// What [`Places::look`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Near {
    /// All entries lie in front.
    Behind,
    /// The key is not there, and the first entry behind it begins here.
    Front(usize),
    /// The entries whose keys agree with the one sought in so many bytes, as far as they are that long: number, place.
    Ties { first: usize, count: usize, agreed: usize },
    /// Nothing is known of the places.
    Anywhere,
}

impl Places {
    /// Of entries that begin at `places`, whose keys begin with `shared`, and have `heads` behind that.
    pub(super) fn new(shared: &[u8], heads: &[u32], places: &[u32]) -> Places {
        assert!(heads.len() == places.len() && !heads.is_empty(), "a place for every key");
        let prefix = shared.chunks(HEAD).map(head);
        let words = prefix.chain(heads.iter().copied()).chain(places.iter().copied()).collect();
        Places { words, shared: shared.len(), count: heads.len() }
    }

    /// Bytes that it holds in memory.
    pub(super) fn memory(&self) -> usize {
        HEAD * self.words.len() + 16
    }

    /// Where entries may be that have the key `key`.
    #[inline]
    pub(super) fn look(&self, key: &[u8]) -> Near {
        if self.count == 0 {
            return Near::Anywhere;
        }
        let (prefix, rest) = self.words.split_at(self.shared.div_ceil(HEAD));
        let (heads, places) = rest.split_at(self.count);
        let mine = &key[..key.len().min(self.shared)];
        let wanted = mine.chunks(HEAD).map(head);
        match wanted.cmp(prefix.iter().copied()).then(mine.len().cmp(&self.shared)) {
            Ordering::Less => return Near::Front(places[0] as usize),
            Ordering::Greater => return Near::Behind,
            Ordering::Equal => (),
        }
        let found = equal(heads, head(&key[self.shared..]));
        match places.get(found.start) {
            None => Near::Behind,
            Some(&first) if found.is_empty() => Near::Front(first as usize),
            Some(&first) => {
                Near::Ties { first: first as usize, count: found.len(), agreed: self.shared + HEAD }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_numbers_are_found_among_few_and_many(
            mut heads in prop::collection::vec(prop_oneof![0u32..300, Just(u32::MAX), Just(u32::MAX - 1)], 0..700),
            wanted in prop_oneof![0u32..300, Just(u32::MAX)],
        ) {
            heads.sort_unstable();
            let from = heads.partition_point(|&h| h < wanted);
            let to = heads.partition_point(|&h| h <= wanted);
            prop_assert_eq!(equal(&heads, wanted), from..to);
        }

        #[test]
        fn heads_are_ordered_as_what_they_are_of(a in prop::collection::vec(any::<u8>(), 0..7), b in prop::collection::vec(any::<u8>(), 0..7)) {
            if head(&a) != head(&b) {
                prop_assert_eq!(head(&a).cmp(&head(&b)), a.cmp(&b));
            }
        }
    }
}
