//! Moving up: entries that are read repeatedly are copied into hot. The rule and its proof are in [`super`].
use super::Facts;
use super::capacity::{Pressure, capacity, pressure, used};
use crate::config::Amount;
use crate::ids::Lsn;
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

/// Whether the version `planned` may be copied up, given the key's newest version as found in the very version of the
/// manifest that the edit applies to.
#[must_use]
pub fn confirm(planned: Lsn, found: Option<Newest>) -> Promotion {
    match found {
        Some(n) if n.lsn == planned && n.kind == Kind::Value && n.tier != Tier::Hot => Promotion::Copy,
        _ => Promotion::Leave,
    }
}

/// The copies as the newest table of hot.
#[must_use]
pub fn edits(table: TableEntry) -> Vec<Edit> {
    vec![Edit::AddTable { tier: Tier::Hot, entry: table }]
}

/// Which entries to copy up, most read first: as many as hot takes without coming under pressure, so that none is sent
/// down for them.
pub(super) fn plan(f: &Facts<'_>) -> Option<PromotePlan> {
    let (o, tables) = (f.tiers.get(), &f.version.tables);
    if o.promote_reads == 0 || tables.hot.len() >= o.hot_tables {
        return None;
    }
    let mut wanted: Vec<_> =
        f.wanted.iter().filter(|w| w.reads >= o.promote_reads && w.tier != Tier::Hot).cloned().collect();
    wanted.sort_by(|a, b| b.reads.cmp(&a.reads).then_with(|| a.key.cmp(&b.key)));
    wanted.dedup_by(|a, b| a.key == b.key);
    let all = |hot: Amount| hot.plus(used(&tables.warm)).plus(used(&tables.cold));
    let most = Tier::ALL.into_iter().fold(Amount::default(), |sum, t| sum.plus(capacity(o, t)));
    let mut hot = used(&tables.hot);
    let mut writes = 0;
    wanted.retain(|w| {
        let with = hot.plus(Amount { entries: 1, bytes: w.bytes });
        let calm = pressure(o, with, o.hot_capacity) == Pressure::Low
            && pressure(o, all(with), most) < Pressure::High;
        let fits = calm && writes + w.bytes <= o.job_bytes;
        if fits {
            hot = with;
            writes += w.bytes;
        }
        fits
    });
    (!wanted.is_empty()).then_some(PromotePlan { wanted, writes })
}
