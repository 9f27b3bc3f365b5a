//! What is searched for, and how it compares.
use crate::key::Key;
use std::cmp::Ordering;

/// What can be searched for.
pub(super) trait Probe {
    /// Eight bytes behind the first `skip`, zeros behind the end.
    fn head(&self, skip: usize) -> u64;
    fn compare(&self, key: &Key) -> Ordering;
    fn bytes(&self) -> &[u8];
}

impl Probe for Key {
    #[inline]
    fn head(&self, skip: usize) -> u64 {
        Key::head(self, skip)
    }
    #[inline]
    fn compare(&self, key: &Key) -> Ordering {
        self.cmp(key)
    }
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Probe for [u8] {
    fn head(&self, skip: usize) -> u64 {
        crate::key::head(self, skip)
    }
    fn compare(&self, key: &Key) -> Ordering {
        self.cmp(&**key)
    }
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// On which side of a key that is equal to what is searched for its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    Behind,
}

/// How many of the sorted `keys` are in front of `probe`; those whose head is less are `less`, those up to `upto` have the
/// same head.
#[inline]
pub(super) fn among<'a, P: Probe + ?Sized>(
    probe: &P,
    side: Side,
    less: usize,
    upto: usize,
    key: impl Fn(usize) -> &'a Key,
) -> usize {
    let (mut from, mut to) = (less, upto);
    while from < to {
        let middle = from.midpoint(to);
        let behind = match probe.compare(key(middle)) {
            Ordering::Less => false,
            Ordering::Equal => side == Side::Behind,
            Ordering::Greater => true,
        };
        if behind { from = middle + 1 } else { to = middle }
    }
    from
}
