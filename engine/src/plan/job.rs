//! Jobs over tables, and what becomes of the version when one is done.
use super::Below;
use crate::config::Amount;
use crate::ids::FileUid;
use crate::key::KeyRange;
use crate::manifest::{Edit, TableEntry, Tier, Version};
use std::collections::BTreeSet;

/// Hot tables that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    /// Neighbours in age, the oldest first.
    pub inputs: Vec<FileUid>,
    /// All that lies under them: older hot tables, warm, cold.
    pub below: Below,
    /// Bytes of keys and values that are written at most.
    pub writes: u64,
    /// Bytes of files that go.
    pub frees: u64,
}

/// Which keys a move takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// All of them.
    All,
    /// Those whose newest version, among the upper inputs, is a delete at or below the floor, with all of their versions;
    /// and the range deletes at or below the floor. All else stays in the upper tier, written anew. So deletes come
    /// down where there is no room for anything else, and make some.
    Deletes,
}

/// Keys that move one tier down, with all of their versions in the inputs.
///
/// The executor merges the inputs' versions of keys in `range`, drops what the rules in [`super`] say, and writes tables
/// of the lower tier. A table is cut only where [`KeyRange::may_cut`] allows it. With [`Take::All`] it stops at the first
/// such place at which `most` is used up by entries of the upper inputs, and so takes the versions of one key at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovePlan {
    pub from: Tier,
    pub to: Tier,
    /// Tables of `from`; of hot the oldest first. They hold keys beyond the range, which stay.
    pub upper: Vec<FileUid>,
    /// Every table of `to` that overlaps the range.
    pub lower: Vec<FileUid>,
    pub range: KeyRange,
    pub take: Take,
    /// Most that the upper inputs may add to the lower tier.
    pub most: Amount,
    /// What lies under the lower tier.
    pub below: Below,
    /// Bytes that a table written aims at.
    pub table_bytes: u64,
    /// Bytes of keys and values that are written at most.
    pub writes: u64,
    /// Bytes of files that go, if the job takes all of its range.
    pub frees: u64,
}

/// What a move came to. Tables have new numbers, in the order in which they stand here: `moved`, then `kept`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Keys below this were taken, and none from it on; `None` if the move took its whole range.
    pub stop: Option<Vec<u8>>,
    /// New tables of the lower tier, by key.
    pub moved: Vec<TableEntry>,
    /// New tables of the upper tier, by key, in hot one at most: what a move of deletes left there.
    pub kept: Vec<TableEntry>,
    /// For every input that reaches beyond what was taken: what is left of it.
    pub rest: Vec<TableEntry>,
}

impl MergePlan {
    /// Whether all inputs are still live, side by side.
    #[must_use]
    pub fn applies_to(&self, version: &Version) -> bool {
        let hot: Vec<_> = version.tables.hot.iter().map(|t| t.file).collect();
        hot.windows(self.inputs.len()).any(|w| w == self.inputs)
    }

    /// Which of the tables that came of it stay apart, see [`super::Facts::apart`]: all, if they are not fewer.
    #[must_use]
    pub fn apart<'a>(&self, merged: &'a [TableEntry]) -> &'a [TableEntry] {
        if merged.len() < self.inputs.len() { &[] } else { merged }
    }

    /// Whether what comes of it is barren, given which tables of `version` are; see [`super::Facts::barren`].
    #[must_use]
    pub fn is_barren(&self, version: &Version, barren: &BTreeSet<FileUid>) -> bool {
        let inputs = version.tables.hot.iter().filter(|t| self.inputs.contains(&t.file));
        inputs.into_iter().all(|t| barren.contains(&t.file) || t.tombstones + t.range_tombstones == 0)
    }

    /// The merge as an edit. `merged` is nothing if nothing was left, and more than one table, disjoint and by key, only
    /// where one would have become too large.
    #[must_use]
    pub fn edits(&self, merged: impl IntoIterator<Item = TableEntry>) -> Vec<Edit> {
        vec![Edit::MergeHot { old: self.inputs.clone(), new: merged.into_iter().collect() }]
    }
}

impl MovePlan {
    /// Whether all inputs are still live.
    #[must_use]
    pub fn applies_to(&self, version: &Version) -> bool {
        let live = |tier, files: &[FileUid]| files.iter().all(|&f| version.tables.find(tier, f).is_some());
        live(self.from, &self.upper) && live(self.to, &self.lower)
    }

    /// The range that is taken if the move stopped at `stop`.
    #[must_use]
    pub fn taken(&self, stop: Option<&[u8]>) -> KeyRange {
        let taken = stop.map_or(Some(self.range.clone()), |stop| self.range.ending_at(stop));
        taken.expect("a move takes some keys")
    }

    /// The move as edits of `version`.
    ///
    /// # Panics
    /// When `done` does not belong to this plan: that is a bug of ours.
    #[must_use]
    pub fn edits(&self, version: &Version, done: Moved) -> Vec<Edit> {
        assert!(
            done.kept.is_empty() || self.take == Take::Deletes,
            "only a move of deletes leaves keys behind"
        );
        let taken = self.taken(done.stop.as_deref());
        let mut rest = done.rest;
        let mut edits = Vec::new();
        let inputs =
            self.upper.iter().map(|f| (self.from, *f)).chain(self.lower.iter().map(|f| (self.to, *f)));
        for (tier, file) in inputs {
            let range = &version.tables.find(tier, file).expect("an input is live").range;
            if !range.overlaps(&taken) {
                rest.retain(|t| t.file != file);
                continue;
            }
            assert!(taken.lower() <= range.lower(), "what is taken of a table is its lower part");
            let left = taken.upper().and_then(|end| range.starting_at(end));
            edits.push(match left {
                None => Edit::DropTable { tier, file },
                Some(left) => {
                    let at =
                        rest.iter().position(|t| t.file == file).expect("what is left of an input is told");
                    let entry = rest.swap_remove(at);
                    assert_eq!(entry.range, left, "what is left of an input begins where the move stopped");
                    Edit::TrimTable { tier, entry }
                }
            });
        }
        assert!(rest.is_empty(), "what is left is left of an input");
        edits.extend(done.moved.into_iter().map(|entry| Edit::AddTable { tier: self.to, entry }));
        if self.from == Tier::Hot && !done.kept.is_empty() {
            edits.push(Edit::AddOldest { entries: done.kept });
        } else {
            edits.extend(done.kept.into_iter().map(|entry| Edit::AddTable { tier: self.from, entry }));
        }
        edits
    }
}
