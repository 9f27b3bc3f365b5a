//! What a space consists of, in numbers, at one moment.
use super::handle::Space;
use super::jobs::JobCounts;
use super::pins::PinOwner;
use crate::cache::Usage;
use crate::config::Amount;
use crate::ids::Lsn;
use crate::manifest::{TableEntry, Tier};
use crate::plan::capacity::{Pressure, capacity, pressure_of};
use crate::recovery::lsn_text;
use serde::Serialize;
use std::time::Duration;

/// What a space consists of. Numbers are counted from what there is; none of them is kept beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpaceStats {
    /// All that counts for its limits: versions that are values, and bytes of keys and values, in memory and in tables.
    pub holds: Amount,
    /// Most bytes of these; 0 is no quota.
    pub quota_bytes: u64,
    /// Hot, warm and cold.
    pub tiers: Vec<TierStats>,
    pub memory: MemoryStats,
    pub log: LogStats,
    pub cache: Usage,
    /// What was done since this opening began.
    pub jobs: JobCounts,
    /// What may hold versions back, by kind: `snapshot`, `durable-snapshot` and `scan`. A snapshot and the scans made from
    /// it are one.
    pub pins: Vec<PinStats>,
    /// Most bytes that they may hold back together; 0 is no such limit.
    pub snapshot_bytes: u64,
    /// Those that have expired since this opening began.
    pub snapshots_expired: u64,
    /// Why flushes, merges or moves do not go on, if the last one failed.
    pub failed: Option<String>,
}

/// Pins of one kind, that have not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PinStats {
    pub owner: &'static str,
    pub count: usize,
    /// How old the oldest of them is, in milliseconds; 0 without any.
    pub oldest_ms: u64,
    /// Bytes of keys and values that are there for pins alone: overwritten or deleted since. What several pins see counts
    /// once, for the one that shows the earliest moment; what no job has looked at yet does not.
    pub held_bytes: u64,
}

/// One tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TierStats {
    pub tier: &'static str,
    pub tables: usize,
    /// Versions that are values, and bytes of keys and values.
    pub holds: Amount,
    /// Highest priority of an entry in it; 0 if none has one.
    pub priority: i32,
    /// Deletes of keys and of ranges.
    pub tombstones: u64,
    /// Versions that are not the newest of their key in their table; at most, for what is left of a table.
    pub hidden: u64,
    /// Bytes of files.
    pub file_bytes: u64,
    /// What it may hold.
    pub capacity: Amount,
    pub pressure: Pressure,
}

/// What is in memory and in no table yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemoryStats {
    /// Versions that are values, and bytes of keys and values.
    pub holds: Amount,
    pub tombstones: u64,
    /// Bytes that count for the engine's memory budget.
    pub bytes: u64,
    /// Memtables that wait for their flush.
    pub sealed: usize,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogStats {
    /// Live segments.
    pub segments: usize,
    /// Bytes allocated to those that hold what is in memory.
    pub bytes: u64,
    /// The last commit.
    #[serde(serialize_with = "lsn_text")]
    pub last: Lsn,
    /// Every commit up to here survives a power cut.
    #[serde(serialize_with = "lsn_text")]
    pub durable: Lsn,
    /// Every commit up to here is in tables.
    #[serde(serialize_with = "lsn_text")]
    pub flushed: Lsn,
}

impl Space {
    /// What it consists of now.
    #[must_use]
    pub fn stats(&self) -> SpaceStats {
        let space = &self.incarnation;
        let core = space.core();
        let layers = space.layers.read();
        let version = &core.current.manifest.version;
        let tiers = space.tiers();
        let o = tiers.get();
        let tier = |tier: Tier| {
            let tables = version.tables.tier(tier);
            let sum = |of: fn(&TableEntry) -> u64| tables.iter().map(of).sum();
            TierStats {
                tier: tier.dir(),
                tables: tables.len(),
                holds: crate::plan::capacity::used(tables),
                priority: tables.iter().map(|t| t.priority).max().unwrap_or(0),
                tombstones: sum(|t| t.tombstones + t.range_tombstones),
                hidden: sum(|t| t.hidden),
                file_bytes: sum(|t| t.len),
                capacity: capacity(o, tier),
                pressure: pressure_of(o, &version.tables, tier),
            }
        };
        let tiers: Vec<_> = Tier::ALL.into_iter().map(tier).collect();
        let memory = MemoryStats {
            holds: layers.holds(),
            tombstones: layers.tombstones(),
            bytes: layers.bytes(),
            sealed: layers.under.sealed.len(),
        };
        let sealed: u64 = layers.under.sealed.iter().map(|s| s.log_bytes).sum();
        let log = LogStats {
            segments: version.segments.len(),
            bytes: sealed + core.line.bytes_since_rotation(),
            last: core.line.last(),
            durable: core.line.durable(),
            flushed: version.flushed,
        };
        let failed = core.flush_failed.as_ref().or(core.jobs.failed.as_ref());
        let (pins, now) = (&layers.pins, space.context.env.now());
        let held = layers.held_back().by_owner(&pins.owners());
        let pins_of = |owner: PinOwner| {
            let (count, oldest) = pins.of(owner);
            let age = oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            PinStats {
                owner: owner.name(),
                count,
                oldest_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                held_bytes: held.get(&owner).copied().unwrap_or(0),
            }
        };
        SpaceStats {
            holds: tiers.iter().fold(memory.holds, |sum, t| sum.plus(t.holds)),
            quota_bytes: o.quota_bytes,
            tiers,
            memory,
            log,
            cache: space.cache.usage(),
            jobs: core.jobs.done,
            pins: PinOwner::ALL.into_iter().map(pins_of).collect(),
            snapshot_bytes: o.snapshot_bytes,
            snapshots_expired: pins.expired(),
            failed: failed.map(|(error, _)| error.to_string()),
        }
    }
}
