//! An ordered map from keys: a B+ tree of three levels, whose upper one is an array as long as it needs to be.
//!
//! Of two neighbours the later one has a *fence*: no key in front of it reaches the fence, and none behind it is lower. The
//! first ones have none; what stands in their place is never looked at.
//!
//! A search compares numbers: of each key the eight bytes behind those that all keys between two fences share lie apart, its
//! *head*. Keys themselves are looked at only where heads are equal, as a rule at the one that is found. So a search in a
//! leaf waits for memory once or twice, where halving an array of keys waits at every step, and a tree of small nodes at
//! every node.
//!
//! What is written in ascending or descending order, at the ends or anywhere between, fills its leaves: a full leaf is halved
//! only where a key goes into its middle.
use crate::key::Key;
use std::ops::Bound;

mod fences;
mod leaf;
mod probe;

use fences::{Fences, join};
use leaf::Leaf;
use probe::{Probe, Side};

/// Entries of a leaf, at most.
const LEAF: usize = 32;
/// Leaves of a branch, at most.
const BRANCH: usize = 64;

/// See the module. The last two are for tests that want small ones.
#[derive(Debug)]
pub(super) struct Sorted<V, const N: usize = LEAF, const M: usize = BRANCH> {
    fences: Fences,
    /// None of them is empty.
    branches: Vec<Branch<V, N>>,
    len: usize,
}

#[derive(Debug)]
struct Branch<V, const N: usize> {
    fences: Fences,
    /// None of them is empty.
    leaves: Vec<Leaf<V, N>>,
}

/// Where an entry lies, or one would that is not there. It says nothing any more once the map has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    branch: usize,
    leaf: usize,
    at: usize,
}

impl<V, const N: usize, const M: usize> Default for Sorted<V, N, M> {
    fn default() -> Self {
        Sorted { fences: Fences::default(), branches: Vec::new(), len: 0 }
    }
}

impl<V, const N: usize, const M: usize> Sorted<V, N, M> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &Key) -> Option<&V> {
        self.value(self.search(key).ok()?)
    }

    /// The same for a key in bytes, however long.
    pub(super) fn get_bytes(&self, key: &[u8]) -> Option<&V> {
        match Key::in_place(key) {
            Some(key) => self.get(&key),
            None => self.value(self.search(key).ok()?),
        }
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        Some(self.at_mut(place))
    }

    /// Where `key` lies, or where it is to be put.
    #[inline]
    pub(super) fn find(&self, key: &Key) -> Result<Place, Place> {
        // Many write in ascending order.
        if let Some(branch) = self.branches.last()
            && let Some(last) = branch.leaves.last()
            && last.entry(last.len() - 1).0 < *key
        {
            return Err(Place {
                branch: self.branches.len() - 1,
                leaf: branch.leaves.len() - 1,
                at: last.len(),
            });
        }
        self.search(key)
    }

    #[inline]
    fn search<P: Probe + ?Sized>(&self, probe: &P) -> Result<Place, Place> {
        let place = self.seek(probe, Side::Before);
        let leaf = self.branches.get(place.branch).map(|b| &b.leaves[place.leaf]);
        match leaf {
            Some(leaf) if place.at < leaf.len() && probe.compare(&leaf.entry(place.at).0).is_eq() => {
                Ok(place)
            }
            _ => Err(place),
        }
    }

    /// Behind all keys that are in front of `probe`.
    #[inline]
    fn seek<P: Probe + ?Sized>(&self, probe: &P, side: Side) -> Place {
        let branch = self.fences.part(probe);
        let Some(found) = self.branches.get(branch) else { return Place { branch, leaf: 0, at: 0 } };
        let leaf = found.fences.part(probe);
        Place { branch, leaf, at: found.leaves[leaf].rank(probe, side) }
    }

    fn leaf(&self, place: Place) -> &Leaf<V, N> {
        &self.branches[place.branch].leaves[place.leaf]
    }

    fn value(&self, place: Place) -> Option<&V> {
        Some(&self.leaf(place).entry(place.at).1)
    }

    /// The value that lies there.
    pub(super) fn at_mut(&mut self, place: Place) -> &mut V {
        &mut self.branches[place.branch].leaves[place.leaf].entry_mut(place.at).1
    }

    /// Puts a key in that is not there, where [`Sorted::find`] says.
    pub(super) fn insert(&mut self, place: Place, key: Key, value: V) {
        let Place { branch: b, leaf: l, at } = place;
        self.len += 1;
        let Some(branch) = self.branches.get_mut(b) else {
            let mut leaf = Leaf::new(1);
            leaf.insert(0, key, value);
            let mut fences = Fences::default();
            fences.insert(0, Key::default());
            self.fences.insert(0, Key::default());
            self.branches.push(Branch { fences, leaves: vec![leaf] });
            return;
        };
        let leaf = &mut branch.leaves[l];
        if leaf.len() < N {
            leaf.insert(at, key, value);
            return;
        }
        // What goes to an end of it leaves it as it is: the new leaf then has all the space up to the neighbour for itself.
        let from = if at == 0 || at == N { at } else { N / 2 };
        let mut new = Leaf::new(N);
        if from < N {
            let mut all = leaf.take();
            let front: Vec<_> = all.by_ref().take(from).collect();
            new.extend(all);
            leaf.extend(front);
        }
        match at.checked_sub(leaf.len()) {
            Some(at) if from > 0 => new.insert(at, key, value),
            _ => leaf.insert(at, key, value),
        }
        let fence = if from < N { new.entry(0).0.clone() } else { leaf.entry(N - 1).0.successor() };
        branch.fences.insert(l + 1, fence);
        branch.leaves.insert(l + 1, new);
        if branch.leaves.len() > M {
            let from = if l + 1 == M { M } else { M / 2 };
            let new = Branch { fences: branch.fences.split_off(from), leaves: branch.leaves.split_off(from) };
            self.fences.insert(b + 1, new.fences.keys[0].clone());
            self.branches.insert(b + 1, new);
        }
        // Wherever they are now.
        let moved = |l: usize| match l.checked_sub(self.branches[b].leaves.len()) {
            Some(l) => (b + 1, l),
            None => (b, l),
        };
        for (b, l) in [moved(l), moved(l + 1)] {
            self.refresh(b, l);
        }
    }

    /// Takes `key` out, if it is there.
    pub(super) fn remove(&mut self, key: &Key) -> Option<V> {
        let Place { branch: b, leaf: l, at } = self.search(key).ok()?;
        let leaf = &mut self.branches[b].leaves[l];
        let value = leaf.remove(at);
        self.len -= 1;
        if leaf.len() < N / 2 {
            self.join_leaf(b, l);
            if self.branches[b].leaves.len() < M / 2 {
                self.join_branch(b);
            }
        }
        Some(value)
    }

    /// Takes out what lies between the bounds and is not kept.
    pub(super) fn retain_between(
        &mut self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        mut keep: impl FnMut(&Key, &mut V) -> bool,
    ) {
        let (front, back) = (self.lower(lower), self.upper(upper));
        if front >= back {
            return;
        }
        let branches = front.branch..=back.branch.min(self.branches.len() - 1);
        for b in branches.clone() {
            for (l, leaf) in self.branches[b].leaves.iter_mut().enumerate() {
                let is = |place: Place| (place.branch, place.leaf).cmp(&(b, l));
                if is(front).is_gt() || is(back).is_lt() {
                    continue;
                }
                let from = if is(front).is_eq() { front.at } else { 0 };
                let to = if is(back).is_eq() { back.at } else { leaf.len() };
                let before = leaf.len();
                // From the end on: one that goes moves those behind it.
                for at in (from..to).rev() {
                    let (key, value) = leaf.entry_mut(at);
                    if !keep(key, value) {
                        leaf.remove(at);
                    }
                }
                self.len -= before - leaf.len();
            }
        }
        // From the end on, so that what is joined has been passed.
        for b in branches.rev() {
            let first = if b == front.branch { front.leaf } else { 0 };
            let leaves = self.branches[b].leaves.len();
            let last = if b == back.branch { leaves.min(back.leaf + 1) } else { leaves };
            for l in (first..last).rev() {
                self.join_leaf(b, l);
            }
            self.join_branch(b);
        }
    }

    /// Drops leaf `l` of branch `b` if it is empty, or joins it with a neighbour. So any two neighbours that were looked at are
    /// three quarters of a leaf together, and what is joined has room for a quarter before it is halved again.
    fn join_leaf(&mut self, b: usize, l: usize) {
        let Branch { fences, leaves } = &mut self.branches[b];
        if join(fences, leaves, l, N * 3 / 4, |leaf| leaf.len(), |one, mut other, _| one.extend(other.take()))
        {
            self.refresh_beside(b, l);
        }
    }

    /// The same for branch `b`.
    fn join_branch(&mut self, b: usize) {
        let (fences, branches) = (&mut self.fences, &mut self.branches);
        let joined = join(
            fences,
            branches,
            b,
            M * 3 / 4,
            |branch| branch.leaves.len(),
            |one, other, fence| {
                one.fences.append(fence, other.fences);
                one.leaves.extend(other.leaves);
            },
        );
        if !joined {
            return;
        }
        for b in b.saturating_sub(1)..=b {
            if let Some(branch) = self.branches.get(b) {
                let last = branch.leaves.len() - 1;
                self.refresh_beside(b, 0);
                self.refresh_beside(b, last);
            }
        }
    }

    /// Leaf `l` of branch `b` was taken out, or others lie beside it.
    fn refresh_beside(&mut self, b: usize, l: usize) {
        for l in l.saturating_sub(1)..=l {
            if l < self.branches[b].leaves.len() {
                self.refresh(b, l);
            }
        }
    }

    /// What leaf `l` of branch `b` holds has changed, or where it lies.
    fn refresh(&mut self, b: usize, l: usize) {
        let fence = |fences: &Fences, at: usize| if at > 0 { fences.keys.get(at).cloned() } else { None };
        let of_branch = &self.branches[b].fences;
        let lower = fence(of_branch, l).or_else(|| fence(&self.fences, b));
        let upper = fence(of_branch, l + 1).or_else(|| fence(&self.fences, b + 1));
        self.branches[b].leaves[l].refresh(lower.as_ref(), upper.as_ref());
    }

    /// In front of all keys that are not below the bound; where there is none, behind all.
    fn lower(&self, bound: Bound<&[u8]>) -> Place {
        self.settled(match bound {
            Bound::Unbounded => Place { branch: 0, leaf: 0, at: 0 },
            Bound::Included(b) => self.seek(b, Side::Before),
            Bound::Excluded(b) => self.seek(b, Side::Behind),
        })
    }

    /// Behind all keys that are not above the bound.
    fn upper(&self, bound: Bound<&[u8]>) -> Place {
        self.settled(match bound {
            Bound::Unbounded => Place { branch: self.branches.len(), leaf: 0, at: 0 },
            Bound::Included(b) => self.seek(b, Side::Behind),
            Bound::Excluded(b) => self.seek(b, Side::Before),
        })
    }

    /// The same place, in the next leaf where it is at the end of one.
    fn settled(&self, place: Place) -> Place {
        let Place { branch, leaf, at } = place;
        match self.branches.get(branch) {
            Some(found) if at < found.leaves[leaf].len() => place,
            Some(found) if leaf + 1 < found.leaves.len() => Place { branch, leaf: leaf + 1, at: 0 },
            Some(_) => Place { branch: branch + 1, leaf: 0, at: 0 },
            None => place,
        }
    }

    /// What lies between the bounds, in order; nothing where no key can lie there.
    pub(super) fn range(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Range<'_, V, N, M> {
        let (front, back) = (self.lower(lower), self.upper(upper));
        let leaf = if front < back { Some(self.leaf(front)) } else { None };
        Range { map: self, front, leaf, back }
    }
}

/// Entries between two bounds, to be taken from both ends.
pub(super) struct Range<'a, V, const N: usize = LEAF, const M: usize = BRANCH> {
    map: &'a Sorted<V, N, M>,
    front: Place,
    /// That of `front`, as long as there is something left.
    leaf: Option<&'a Leaf<V, N>>,
    back: Place,
}

impl<'a, V, const N: usize, const M: usize> Iterator for Range<'a, V, N, M> {
    type Item = (&'a Key, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let (leaf, at) = (self.leaf?, self.front.at);
        self.front.at += 1;
        if self.front.at == leaf.len() {
            self.front = self.map.settled(self.front);
            self.leaf = if self.front < self.back { Some(self.map.leaf(self.front)) } else { None };
        }
        let (key, value) = leaf.entry(at);
        Some((key, value))
    }
}

impl<V, const N: usize, const M: usize> DoubleEndedIterator for Range<'_, V, N, M> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let Place { branch, leaf, at } = &mut self.back;
        if *at == 0 {
            if *leaf == 0 {
                *branch -= 1;
                *leaf = self.map.branches[*branch].leaves.len();
            }
            *leaf -= 1;
            *at = self.map.branches[*branch].leaves[*leaf].len();
        }
        *at -= 1;
        let (key, value) = self.map.leaf(self.back).entry(self.back.at);
        Some((key, value))
    }
}

#[cfg(test)]
mod tests;
