//! What divides parts that lie beside each other.
use super::probe::{Probe, Side, among};
use crate::key::{Key, common_prefix};
use std::cmp::Ordering;

/// Those of parts that lie beside each other.
#[derive(Debug, Default)]
pub(super) struct Fences {
    pub(super) keys: Vec<Key>,
    heads: Vec<u64>,
    /// Bytes that all fences share, the first one left out.
    skip: usize,
}

impl Fences {
    /// Which part holds `probe`.
    #[inline]
    pub(super) fn part<P: Probe + ?Sized>(&self, probe: &P) -> usize {
        let Some(heads) = self.heads.get(1..) else { return 0 };
        let Some(first) = self.keys.get(1).filter(|_| self.skip > 0) else {
            return self.among(probe, heads, 0);
        };
        let bytes = probe.bytes();
        match bytes[..bytes.len().min(self.skip)].cmp(&first[..self.skip]) {
            Ordering::Less => 0,
            Ordering::Equal => self.among(probe, heads, self.skip),
            Ordering::Greater => heads.len(),
        }
    }

    #[inline]
    pub(super) fn among<P: Probe + ?Sized>(&self, probe: &P, heads: &[u64], skip: usize) -> usize {
        let head = probe.head(skip);
        let less = heads.partition_point(|h| *h < head);
        if heads.get(less).is_none_or(|h| *h != head) {
            return less;
        }
        let upto = less + heads[less..].partition_point(|h| *h == head);
        among(probe, Side::Behind, less, upto, |i| &self.keys[i + 1])
    }

    pub(super) fn insert(&mut self, at: usize, fence: Key) {
        self.keys.insert(at, fence);
        self.refresh();
    }

    pub(super) fn remove(&mut self, at: usize) -> Key {
        let fence = self.keys.remove(at);
        self.refresh();
        fence
    }

    pub(super) fn split_off(&mut self, at: usize) -> Fences {
        let keys = self.keys.split_off(at);
        self.refresh();
        let mut new = Fences { keys, ..Fences::default() };
        new.refresh();
        new
    }

    /// Has `other` follow, the first of which becomes `fence`.
    pub(super) fn append(&mut self, fence: Key, other: Fences) {
        self.keys.push(fence);
        self.keys.extend(other.keys.into_iter().skip(1));
        self.refresh();
    }

    pub(super) fn refresh(&mut self) {
        let skip = match self.keys.get(1..) {
            Some([first, .., last]) => common_prefix(first, last),
            _ => 0,
        };
        self.skip = skip;
        self.heads.clear();
        self.heads.extend(self.keys.iter().map(|key| key.head(skip)));
    }
}

/// Drops the part that lies `at` if it is empty, or joins it with a neighbour if both together are at most `most` long:
/// `append` is told the fence between both. Whether it did either.
pub(super) fn join<T>(
    fences: &mut Fences,
    parts: &mut Vec<T>,
    at: usize,
    most: usize,
    len: impl Fn(&T) -> usize,
    append: impl FnOnce(&mut T, T, Key),
) -> bool {
    if len(&parts[at]) == 0 {
        fences.remove(at);
        parts.remove(at);
        return true;
    }
    let fits = |i: usize| parts.get(i + 1).is_some_and(|next| len(&parts[i]) + len(next) <= most);
    let Some(first) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|i| fits(*i)) else {
        return false;
    };
    let (fence, part) = (fences.remove(first + 1), parts.remove(first + 1));
    append(&mut parts[first], part, fence);
    true
}
