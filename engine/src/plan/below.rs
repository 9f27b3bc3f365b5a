//! What lies under a job.
use crate::key::KeyRange;
use crate::manifest::TableEntry;
use crate::table::{self, Lower, RangeTombstone};

/// The key ranges of tables under a job's output: what a delete may still have to hide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Below(Vec<KeyRange>);

impl Below {
    /// What of `tables` overlaps `range`.
    pub(super) fn of<'a>(tables: impl Iterator<Item = &'a TableEntry>, range: &KeyRange) -> Below {
        Below(tables.map(|t| &t.range).filter(|r| r.overlaps(range)).cloned().collect())
    }

    /// Whether a version of `key` may lie there. If not, a delete of it at or below the floor has nothing to hide.
    #[must_use]
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.0.iter().any(|r| r.contains(key)) && !crate::mutants::on("tombstone-dropped-midway")
    }

    /// Whether a version of any key in `range` may.
    #[must_use]
    pub fn may_hold_in(&self, range: &KeyRange) -> bool {
        self.0.iter().any(|r| r.overlaps(range)) && !crate::mutants::on("range-delete-dropped-at-middle-tier")
    }
}

/// What merges ask.
impl Lower for Below {
    fn key(&self, key: &[u8]) -> table::Below {
        held(self.may_hold(key))
    }
    fn range(&self, range: &RangeTombstone) -> table::Below {
        held(self.may_hold_in(&KeyRange::covering_between(&range.start, range.end.as_deref())))
    }
}

fn held(may_hold: bool) -> table::Below {
    if may_hold { table::Below::MayHold } else { table::Below::Nothing }
}
