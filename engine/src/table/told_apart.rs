//! Which range tombstones of several tables anybody can tell apart.
use super::extent::RangeTombstone;
use super::retain::Readers;
use crate::ids::Lsn;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The same deletes for every reader, in tombstones of which none covers a key where only a newer one counts, and of one
/// LSN none meets another. Never more than a sweep over `all` finds bounds, however much these overlap: the same range
/// deleted a thousand times is one tombstone, and one more for each snapshot in between.
#[must_use]
pub fn told_apart(all: &[RangeTombstone], readers: &Readers) -> Vec<RangeTombstone> {
    let mut bounds: BTreeMap<&Bytes, (Vec<Lsn>, Vec<Lsn>)> = BTreeMap::new();
    for t in all {
        bounds.entry(&t.start).or_default().0.push(t.lsn);
        if let Some(end) = &t.end {
            bounds.entry(end).or_default().1.push(t.lsn);
        }
    }
    let mut sweep = Sweep { readers, covers: BTreeMap::new(), open: BTreeMap::new(), found: Vec::new() };
    for (at, (begin, end)) in bounds {
        sweep.pass(at, &begin, &end);
    }
    let Sweep { open, mut found, .. } = sweep;
    found.extend(open.into_iter().map(|(lsn, start)| RangeTombstone { start, end: None, lsn }));
    found
}

struct Sweep<'a> {
    readers: &'a Readers,
    /// How many of each LSN cover the keys here.
    covers: BTreeMap<Lsn, u32>,
    /// Those that count here, and since which key.
    open: BTreeMap<Lsn, Bytes>,
    found: Vec<RangeTombstone>,
}

impl Sweep<'_> {
    /// From `at` on these cover keys, and these no longer.
    fn pass(&mut self, at: &Bytes, begin: &[Lsn], end: &[Lsn]) {
        let mut changed = BTreeSet::new();
        for lsn in begin {
            *self.covers.entry(*lsn).or_default() += 1;
            changed.insert(*lsn);
        }
        for lsn in end {
            let count = self.covers.get_mut(lsn).expect("what ends has begun");
            *count -= 1;
            if *count == 0 {
                self.covers.remove(lsn);
            }
            changed.insert(*lsn);
        }
        // Whether one counts depends on the next newer one.
        let older: Vec<Lsn> = changed
            .iter()
            .filter_map(|lsn| self.covers.range(..lsn).next_back().map(|(lsn, _)| *lsn))
            .collect();
        changed.extend(older);
        for lsn in changed {
            match (self.counts(lsn), self.open.contains_key(&lsn)) {
                (true, false) => drop(self.open.insert(lsn, at.clone())),
                (false, true) => {
                    let start = self.open.remove(&lsn).expect("just seen");
                    self.found.push(RangeTombstone { start, end: Some(at.clone()), lsn });
                }
                _ => (),
            }
        }
    }

    fn counts(&self, lsn: Lsn) -> bool {
        let mut from = self.covers.range(lsn..).map(|(lsn, _)| *lsn);
        from.next() == Some(lsn) && self.readers.any_between(lsn, from.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tombstone(start: u8, end: u8, lsn: u64) -> RangeTombstone {
        let end = Some(end).filter(|end| *end < 12).map(|end| Bytes::from(vec![end]));
        RangeTombstone { start: Bytes::from(vec![start]), end, lsn: Lsn::from_raw(lsn) }
    }

    fn cover(all: &[RangeTombstone], key: &[u8], at: u64) -> Option<Lsn> {
        all.iter().filter(|t| t.covers(key) && t.lsn.raw() <= at).map(|t| t.lsn).max()
    }

    #[test]
    fn a_range_deleted_again_and_again_is_one_tombstone_and_one_for_each_snapshot() {
        let all: Vec<_> = (1..=1000).map(|lsn| tombstone(2, 5, lsn)).collect();
        let now = Readers::new(Vec::new(), Lsn::from_raw(1000));
        assert_eq!(told_apart(&all, &now), [tombstone(2, 5, 1000)]);
        let with = Readers::new([7, 300].map(Lsn::from_raw).to_vec(), Lsn::from_raw(1000));
        let mut kept: Vec<_> = told_apart(&all, &with).iter().map(|t| t.lsn.raw()).collect();
        kept.sort_unstable();
        assert_eq!(kept, [7, 300, 1000]);
    }

    proptest! {
        #[test]
        fn every_reader_finds_the_same_deleted(
            ranges in proptest::collection::vec((0..11u8, 1..6u8, 1..20u64), 0..30),
            snapshots in proptest::collection::vec(1..20u64, 0..4),
        ) {
            let all: Vec<_> = ranges.iter().map(|(s, n, lsn)| tombstone(*s, s + n, *lsn)).collect();
            let readers = Readers::new(snapshots.iter().map(|s| Lsn::from_raw(*s)).collect(), Lsn::from_raw(20));
            let told = told_apart(&all, &readers);
            prop_assert!(told.len() <= 2 * all.len() + 1);
            for key in 0..13u8 {
                for at in snapshots.iter().copied().chain([20, 25]) {
                    prop_assert_eq!(cover(&told, &[key], at).is_some(), cover(&all, &[key], at).is_some());
                    // What a reader sees of versions depends on the newest alone.
                    prop_assert_eq!(cover(&told, &[key], at), cover(&all, &[key], at));
                }
                let over = told.iter().filter(|t| t.covers(&[key])).count();
                prop_assert!(over <= snapshots.len() + 1, "one for each reader");
            }
            for (i, a) in told.iter().enumerate() {
                let meets = |b: &RangeTombstone| a.lsn == b.lsn && a.end.as_ref() == Some(&b.start);
                prop_assert!(!told[i + 1..].iter().any(meets), "neighbours of one commit are one");
            }
        }
    }
}
