//! Which versions a merge keeps. This is the one place where the rule stands.
//!
//! # What readers there are
//! A reader at LSN `r` sees of a key the newest version not above `r`. Readers are the live snapshots, and every LSN
//! from the durable watermark on: a fenced space reads at the watermark, everyone else above it, and snapshots taken
//! later lie there too. No reader comes to lie below the watermark but those that are there, since it only rises.
//!
//! # The rule
//! Let a version have the LSN `v`, and let `n` be the LSN of the next newer version of its key, or of a range
//! tombstone that covers the key, if there is one. Exactly the readers with `v <= r < n` see the version.
//!
//! 1. A version that no reader sees goes.
//! 2. A value that some reader sees stays.
//! 3. A delete that some reader sees stays if lower tables may hold the key, or if an older version of it stays.
//! 4. A range tombstone stays unless no table below may hold a key of its range and every reader is at or above it.
//!
//! # Why no reader sees a difference
//! The inputs of a merge hold all versions of the key that are neither in tables above, which are newer than all of
//! these (for any key, a higher tier never holds an older version), nor in tables below, which are older. A reader that
//! finds a version above is not concerned. Let reader `r` come to the merged versions.
//!
//! - It saw a value: that stayed by 2, and what is newer than it and stayed was newer before. It sees it still.
//! - It saw a delete that stayed: the same.
//! - It saw a delete that went. By 3 nothing below may hold the key and no older version stayed, so it finds nothing,
//!   which is what it saw.
//! - A range tombstone hid all from it. If that stayed it still does. If it went, every reader is at or above its LSN,
//!   so no reader sees a version older than it: all of these went by 1, and nothing below holds the key.
//! - It saw nothing in the inputs: nothing was added to them. It goes on below as before.
//!
//! The same holds for readers that come later: each is at some `r` from the watermark on, and of those the argument
//! never used that they exist already.
use crate::held::Holders;
use crate::ids::Lsn;

/// Who reads: the live snapshots and everyone from the durable watermark on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readers {
    /// Ascending, each once.
    snapshots: Vec<Lsn>,
    durable: Lsn,
}

impl Readers {
    /// The readers at these snapshots, in any order, and all from `durable` on.
    #[must_use]
    pub fn new(mut snapshots: Vec<Lsn>, durable: Lsn) -> Readers {
        snapshots.sort_unstable();
        snapshots.dedup();
        Readers { snapshots, durable }
    }

    /// Whether one of them is at or above `from` and below `below`, if that is given.
    #[must_use]
    pub fn any_between(&self, from: Lsn, below: Option<Lsn>) -> bool {
        let Some(below) = below else { return true };
        let snapshot = self.snapshots.get(self.snapshots.partition_point(|s| *s < from));
        from < below && below > self.durable || snapshot.is_some_and(|s| *s < below)
    }

    /// The snapshots that alone see the version `from` of a key, of which `newer` is the next newer one; `None` if others do
    /// too, or nobody does.
    #[must_use]
    pub fn holders(&self, from: Lsn, newer: Option<Lsn>) -> Option<Holders> {
        let newer = newer.filter(|newer| *newer <= self.durable)?;
        let below = |lsn| self.snapshots.partition_point(|s| *s < lsn);
        let within = self.snapshots.get(below(from)..below(newer))?;
        Some(Holders { oldest: *within.first()?, newest: *within.last()? })
    }

    /// The lowest of them.
    #[must_use]
    pub fn lowest(&self) -> Lsn {
        self.snapshots.first().map_or(self.durable, |s| self.durable.min(*s))
    }
}

/// Whether tables below the merged ones may hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// No version of it.
    Nothing,
    /// An older version, possibly.
    MayHold,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    Value,
    Delete,
}

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Drop,
    /// Keep it if an older version of the key is kept.
    WithOlder,
}

/// What becomes of the version `lsn` of a key. `newer` is the LSN of the next newer version of the key, kept or not, or
/// of the oldest range tombstone above `lsn` that covers it, whichever is older.
#[must_use]
pub fn judge(readers: &Readers, below: Below, newer: Option<Lsn>, lsn: Lsn, kind: VersionKind) -> Verdict {
    if !readers.any_between(lsn, newer) {
        return Verdict::Drop;
    }
    match (kind, below) {
        (VersionKind::Delete, Below::Nothing) => Verdict::WithOlder,
        _ => Verdict::Keep,
    }
}

/// Whether a range tombstone stays; `below` is about all keys of its range.
#[must_use]
pub fn range_stays(readers: &Readers, below: Below, lsn: Lsn) -> bool {
    below == Below::MayHold || readers.lowest() < lsn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(n: u64) -> Lsn {
        Lsn::from_raw(n)
    }

    #[test]
    fn readers_are_snapshots_and_all_from_the_watermark_on() {
        let readers = Readers::new(vec![lsn(7), lsn(3), lsn(7)], lsn(10));
        for (from, below, expected) in [
            (1, 3, false),
            (1, 4, true),
            (3, 4, true),
            (4, 7, false),
            (7, 8, true),
            (8, 10, false),
            (8, 11, true),
        ] {
            assert_eq!(readers.any_between(lsn(from), Some(lsn(below))), expected, "{from}..{below}");
        }
        assert!(readers.any_between(lsn(1), None));
        assert!(!readers.any_between(lsn(12), Some(lsn(12))), "no reader lies between a version and itself");
        assert_eq!(readers.lowest(), lsn(3));
    }

    #[test]
    fn snapshots_alone_hold_what_the_watermark_does_not_see() {
        let readers = Readers::new(vec![lsn(3), lsn(7), lsn(9)], lsn(10));
        let of = |from, newer: Option<u64>| {
            readers.holders(lsn(from), newer.map(lsn)).map(|h| (h.oldest.raw(), h.newest.raw()))
        };
        assert_eq!(of(1, Some(4)), Some((3, 3)));
        assert_eq!(of(3, Some(10)), Some((3, 9)));
        assert_eq!(of(4, Some(9)), Some((7, 7)));
        assert_eq!(of(4, Some(7)), None, "nobody");
        assert_eq!(of(3, Some(11)), None, "a fenced space reads at the watermark");
        assert_eq!(of(3, None), None, "who comes later sees it");
        assert_eq!(of(8, Some(8)), None);
    }

    #[test]
    fn every_row_of_the_rule() {
        let readers = Readers::new(vec![lsn(3)], lsn(10));
        let row = |below, newer: Option<u64>, n, kind| judge(&readers, below, newer.map(lsn), lsn(n), kind);
        for kind in [VersionKind::Value, VersionKind::Delete] {
            assert_eq!(row(Below::MayHold, Some(9), 5, kind), Verdict::Drop, "nobody sees it");
            assert_eq!(row(Below::MayHold, Some(9), 2, kind), Verdict::Keep, "a snapshot sees it");
            assert_eq!(row(Below::MayHold, Some(11), 9, kind), Verdict::Keep, "the watermark sees it");
        }
        assert_eq!(row(Below::Nothing, None, 9, VersionKind::Value), Verdict::Keep);
        assert_eq!(row(Below::Nothing, None, 9, VersionKind::Delete), Verdict::WithOlder);
        assert!(range_stays(&readers, Below::MayHold, lsn(1)));
        assert!(range_stays(&readers, Below::Nothing, lsn(4)));
        assert!(!range_stays(&readers, Below::Nothing, lsn(3)));
    }
}
