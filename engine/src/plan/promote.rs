//! Moving up: entries that are read repeatedly are copied into hot. The rule and its proof are in [`super`].
use super::Facts;
use super::capacity::{Pressure, Puts, capacity, pressure, used};
use crate::config::Amount;
use crate::ids::{FileUid, Lsn};
use crate::manifest::{Edit, TableEntry, Tier};

/// An entry that was read repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub key: Vec<u8>,
    /// Its newest version, when it was read.
    pub lsn: Lsn,
    /// Where that was found.
    pub tier: Tier,
    /// Reads within the window of time that the options give.
    pub reads: u32,
    /// Bytes of key and value.
    pub bytes: u64,
}

/// Entries to be looked up again, and copied into one new hot table as far as [`confirm`] says so. Those asked for are
/// to be forgotten, copied or not: only further reads bring them up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotePlan {
    pub wanted: Vec<Wanted>,
    /// Bytes of keys and values that are written at most.
    pub writes: u64,
}

impl PromotePlan {
    /// What it adds at most: room that puts may not have while it is under way.
    #[must_use]
    pub fn adds(&self) -> Amount {
        Amount { entries: self.wanted.len() as u64, bytes: self.writes }
    }
}

/// Whether a version is a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Value,
    /// A tombstone, or a range delete that covers the key.
    Delete,
}

/// What a look from the top of a version found first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    pub lsn: Lsn,
    pub kind: Kind,
    pub tier: Tier,
}

/// What is to be done about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    Copy,
    Leave,
}

/// Whether the version `planned` may be copied up, given the key's newest version in tables as found since the job began.
#[must_use]
pub fn confirm(planned: Lsn, found: Option<Newest>) -> Promotion {
    match found {
        Some(n) if n.lsn == planned && n.kind == Kind::Value && n.tier != Tier::Hot => Promotion::Copy,
        _ => Promotion::Leave,
    }
}

/// The copies as a hot table, right above `above`: the newest hot table that the look saw, if there was one.
#[must_use]
pub fn edits(table: TableEntry, above: Option<FileUid>) -> Vec<Edit> {
    vec![Edit::AddAbove { above, entry: table }]
}

/// Which entries to copy up, most read first: as many as hot takes without coming under pressure, so that none is sent
/// down for them, nor a put refused.
pub(super) fn plan(f: &Facts<'_>) -> Option<PromotePlan> {
    let (o, tables) = (f.tiers.get(), &f.version.tables);
    if o.promote_reads == 0 || f.wanted.is_empty() || f.puts != Puts::Fit {
        return None;
    }
    // One hot table too many merges with its neighbour, which is not to be much for a few entries.
    let merges = || tables.hot.last().is_some_and(|newest| newest.bytes <= o.table_bytes);
    let crowded = tables.hot.len() > o.hot_tables || tables.hot.len() == o.hot_tables && !merges();
    if crowded {
        return None;
    }
    let mut wanted: Vec<_> =
        f.wanted.iter().filter(|w| w.reads >= o.promote_reads && w.tier != Tier::Hot).cloned().collect();
    wanted.sort_by(|a, b| b.reads.cmp(&a.reads).then_with(|| a.key.cmp(&b.key)));
    wanted.dedup_by(|a, b| a.key == b.key);
    // What was let into memory has its place, too.
    let all = |hot: Amount| hot.plus(used(&tables.warm)).plus(used(&tables.cold)).plus(f.memory);
    let most = Tier::ALL.into_iter().fold(Amount::default(), |sum, t| sum.plus(capacity(o, t)));
    let most_of_quota = Amount { entries: 0, bytes: o.quota_bytes }.percent(o.high_percent).bytes;
    let mut hot = used(&tables.hot);
    let mut writes = 0;
    wanted.retain(|w| {
        let with = hot.plus(Amount { entries: 1, bytes: w.bytes });
        let calm = pressure(o, with, o.hot_capacity) == Pressure::Low
            && pressure(o, all(with), most) < Pressure::High
            && (o.quota_bytes == 0 || all(with).bytes < most_of_quota);
        let fits = calm && writes + w.bytes <= o.job_bytes;
        if fits {
            hot = with;
            writes += w.bytes;
        }
        fits
    });
    (!wanted.is_empty()).then_some(PromotePlan { wanted, writes })
}
