//! Where entries lie.
use super::probe::{Probe, Side, among};
use crate::key::{Key, common_prefix};

/// Entries between two fences. In memory of its own: leaves are moved about in their branches.
#[derive(Debug)]
pub(super) struct Leaf<V, const N: usize>(Box<Body<V, N>>);

#[derive(Debug)]
struct Body<V, const N: usize> {
    /// In order, as many as there are entries.
    heads: [u64; N],
    /// Where in `entries` they lie, in the same order.
    slots: [u8; N],
    /// Bytes that all keys share that can lie here.
    skip: usize,
    /// In the order in which they came: they are not moved for one that comes in between.
    entries: Vec<(Key, V)>,
}

impl<V, const N: usize> Leaf<V, N> {
    pub(super) fn new(capacity: usize) -> Leaf<V, N> {
        const { assert!(N <= 256, "slots are numbers of one byte") };
        Leaf(Box::new(Body { heads: [0; N], slots: [0; N], skip: 0, entries: Vec::with_capacity(capacity) }))
    }

    pub(super) fn entry(&self, at: usize) -> &(Key, V) {
        &self.0.entries[usize::from(self.0.slots[at])]
    }

    pub(super) fn entry_mut(&mut self, at: usize) -> &mut (Key, V) {
        &mut self.0.entries[usize::from(self.0.slots[at])]
    }

    pub(super) fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// How many of its keys are in front of `probe`.
    #[inline]
    pub(super) fn rank<P: Probe + ?Sized>(&self, probe: &P, side: Side) -> usize {
        let heads = &self.0.heads[..self.len()];
        let head = probe.head(self.0.skip);
        // Counting all of them asks for them at once.
        let less = heads.iter().map(|h| usize::from(*h < head)).sum::<usize>();
        if heads.get(less).is_none_or(|h| *h != head) {
            return less;
        }
        let upto = less + heads[less..].iter().take_while(|h| **h == head).count();
        among(probe, side, less, upto, |i| &self.entry(i).0)
    }

    pub(super) fn insert(&mut self, at: usize, key: Key, value: V) {
        let len = self.len();
        self.0.heads.copy_within(at..len, at + 1);
        self.0.heads[at] = key.head(self.0.skip);
        self.0.slots.copy_within(at..len, at + 1);
        self.0.slots[at] = len as u8;
        self.0.entries.push((key, value));
    }

    pub(super) fn remove(&mut self, at: usize) -> V {
        let len = self.len();
        let slot = self.0.slots[at];
        self.0.heads.copy_within(at + 1..len, at);
        self.0.slots.copy_within(at + 1..len, at);
        // The one that came last takes its slot.
        if let Some(last) = self.0.slots[..len - 1].iter_mut().find(|slot| usize::from(**slot) == len - 1) {
            *last = slot;
        }
        self.0.entries.swap_remove(usize::from(slot)).1
    }

    /// Takes all entries out, in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Key, V)> {
        let mut entries: Vec<_> = self.0.entries.drain(..).map(Some).collect();
        let slots = self.0.slots;
        (0..entries.len())
            .map(move |at| entries[usize::from(slots[at])].take().expect("each has a slot of its own"))
    }

    /// Puts these behind all others; [`Leaf::refresh`] has to follow.
    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = (Key, V)>) {
        for (key, value) in entries {
            self.insert(self.len(), key, value);
        }
    }

    /// Its keys lie between these fences now.
    pub(super) fn refresh(&mut self, lower: Option<&Key>, upper: Option<&Key>) {
        self.0.skip = lower.zip(upper).map_or(0, |(lower, upper)| common_prefix(lower, upper));
        for at in 0..self.len() {
            self.0.heads[at] = self.entry(at).0.head(self.0.skip);
        }
    }

    /// Whatever can come to lie here shares `share` bytes.
    #[cfg(test)]
    pub(super) fn check(&self, share: usize) {
        assert!(self.0.skip <= share);
        let heads = (0..self.len()).map(|at| self.entry(at).0.head(self.0.skip));
        assert!(heads.eq(self.0.heads[..self.len()].iter().copied()));
    }
}
