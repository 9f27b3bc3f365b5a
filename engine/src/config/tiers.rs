//! How large tiers may be, and when data moves between them. Sizes and times are integers, shares are in percent.
use super::{bounded, size};
use crate::error::{Error, Rejected, Result};
use crate::limits::{HOT_TABLES_MAX, VALUE_MAX};
use serde::{Deserialize, Serialize};

/// Entries, and bytes of their keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Amount {
    /// Versions that are values; tombstones do not count.
    pub entries: u64,
    /// Bytes of keys and values, those of tombstones too.
    #[serde(deserialize_with = "size::deserialize")]
    pub bytes: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What is left of it once `used` is taken away.
    #[must_use]
    pub fn minus(self, used: Amount) -> Amount {
        Amount {
            entries: self.entries.saturating_sub(used.entries),
            bytes: self.bytes.saturating_sub(used.bytes),
        }
    }

    /// Whether it is no more than `most`, in entries and in bytes.
    #[must_use]
    pub fn fits(self, most: Amount) -> bool {
        self.entries <= most.entries && self.bytes <= most.bytes
    }

    /// `percent` of it, rounded down.
    #[must_use]
    pub fn percent(self, percent: u64) -> Amount {
        let part = |n: u64| u64::try_from(u128::from(n) * u128::from(percent) / 100).unwrap_or(u64::MAX);
        Amount { entries: part(self.entries), bytes: part(self.bytes) }
    }
}

/// Options of the tiers of a space. Public and unchecked: [`Tiers::new`] checks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TierOptions {
    /// Capacity of the hot tier. Each tier holds at least as much as the one above it.
    pub hot_capacity: Amount,
    /// Capacity of the warm tier.
    pub warm_capacity: Amount,
    /// Capacity of the cold tier; when it is full, puts get `QuotaExceeded`.
    pub cold_capacity: Amount,
    /// Most bytes of keys and values of one space, in all tiers and memory together; 0 is no such quota.
    #[serde(deserialize_with = "size::deserialize")]
    pub quota_bytes: u64,
    /// Bytes at which a memtable is sealed and flushed; at most a quarter of the memory budget is used.
    #[serde(deserialize_with = "size::deserialize")]
    pub memtable_bytes: u64,
    /// Bytes of log, per space, beyond which the memtable is flushed so that segments can go.
    #[serde(deserialize_with = "size::deserialize")]
    pub log_bytes: u64,
    /// Hot tables beyond which neighbours in age merge.
    pub hot_tables: usize,
    /// Bytes that a table of warm or cold aims at; a huge tier has larger ones.
    #[serde(deserialize_with = "size::deserialize")]
    pub table_bytes: u64,
    /// Bytes of tables that one job aims to read at most, and so of room that it needs for a while.
    #[serde(deserialize_with = "size::deserialize")]
    pub job_bytes: u64,
    /// Share of a tier's capacity, in percent, from which its data moves down when there is time.
    pub raised_percent: u64,
    /// Share from which moving down comes before all else.
    pub high_percent: u64,
    /// Share from which writers are slowed down: hardly at first, and more the further above it the tier is.
    pub critical_percent: u64,
    /// Seconds without an access after which a hot table moves down; 0 is never.
    pub hot_age_s: u64,
    /// Seconds without an access after which a warm table moves down; 0 is never.
    pub warm_age_s: u64,
    /// Reads within [`TierOptions::promote_window_s`] by which an entry is copied up into hot; 0 is never.
    pub promote_reads: u32,
    /// Seconds over which reads are counted.
    pub promote_window_s: u64,
    /// Milliseconds after which a snapshot or scan expires, as soon as it holds something back: a commit behind it is
    /// durable. What it showed may go then, and its reads get `SnapshotExpired`. 0 is never.
    pub snapshot_age_ms: u64,
    /// Most snapshots and scans at once; with one more the oldest expires, whatever its age. A scan made from a snapshot
    /// counts with that. 0 is any number.
    pub max_snapshots: u64,
    /// Most bytes of keys and values that snapshots and scans hold back together: there for them alone, overwritten or
    /// deleted since. Beyond it the oldest that holds some of it expires, until it is no more. What no flush, merge or move
    /// has come to yet does not count. 0 is any number.
    #[serde(deserialize_with = "size::deserialize")]
    pub snapshot_bytes: u64,
}

const MIB: u64 = 1 << 20;
const DAY: u64 = 24 * 60 * 60;

impl Default for TierOptions {
    fn default() -> TierOptions {
        TierOptions {
            hot_capacity: Amount { entries: 100_000, bytes: 256 * MIB },
            warm_capacity: Amount { entries: 1_000_000, bytes: 8192 * MIB },
            cold_capacity: Amount { entries: 10_000_000, bytes: 1 << 40 },
            quota_bytes: 0,
            memtable_bytes: 16 * MIB,
            log_bytes: 256 * MIB,
            hot_tables: 8,
            table_bytes: 32 * MIB,
            job_bytes: 256 * MIB,
            raised_percent: 70,
            high_percent: 85,
            critical_percent: 95,
            hot_age_s: DAY,
            warm_age_s: 7 * DAY,
            promote_reads: 3,
            promote_window_s: DAY,
            snapshot_age_ms: 60 * 60 * 1000,
            max_snapshots: 10_000,
            snapshot_bytes: 8192 * MIB,
        }
    }
}

/// [`TierOptions`] that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    options: TierOptions,
    memtable_bytes: u64,
    log_bytes: u64,
    sealed_max: u64,
}

/// Fewest sealed memtables at which writers may have to stop, and most.
const SEALED_MAX: (u64, u64) = (4, 8);

/// As long as anything may be configured to take.
const AGES: u64 = 100 * 366 * DAY;

impl Tiers {
    /// Checks `options`.
    ///
    /// # Errors
    /// `Rejected(Config)` naming the option, its value and the values expected.
    pub fn new(options: TierOptions) -> Result<Tiers> {
        let o = &options;
        let tiers = [("hot", o.hot_capacity), ("warm", o.warm_capacity), ("cold", o.cold_capacity)];
        for (name, capacity) in tiers {
            bounded(&format!("tiers.{name}-capacity.entries"), capacity.entries, 1, 1 << 48)?;
            bounded(&format!("tiers.{name}-capacity.bytes"), capacity.bytes, 64, 1 << 56)?;
        }
        for ((upper, above), (name, capacity)) in tiers.into_iter().zip(tiers.into_iter().skip(1)) {
            if !above.fits(capacity) {
                return Err(Error::rejected(
                    Rejected::Config,
                    format!(
                        "option tiers.{name}-capacity is {} entries and {} bytes",
                        capacity.entries, capacity.bytes
                    ),
                )
                .expected(format!("at least tiers.{upper}-capacity, {} and {}", above.entries, above.bytes))
                .advice("Change the option; nothing was opened."));
            }
        }
        bounded("tiers.quota-bytes", o.quota_bytes, 0, 1 << 56)?;
        bounded("tiers.memtable-bytes", o.memtable_bytes, 256, 1 << 40)?;
        bounded("tiers.log-bytes", o.log_bytes, 4096, 1 << 50)?;
        bounded("tiers.hot-tables", o.hot_tables as u64, 1, HOT_TABLES_MAX as u64 / 2)?;
        bounded("tiers.table-bytes", o.table_bytes, 16, 1 << 36)?;
        bounded("tiers.job-bytes", o.job_bytes, 16, 1 << 40)?;
        bounded("tiers.raised-percent", o.raised_percent, 1, o.high_percent)?;
        bounded("tiers.high-percent", o.high_percent, o.raised_percent, o.critical_percent)?;
        bounded("tiers.critical-percent", o.critical_percent, o.high_percent, 100)?;
        bounded("tiers.hot-age-s", o.hot_age_s, 0, AGES)?;
        bounded("tiers.warm-age-s", o.warm_age_s, 0, AGES)?;
        bounded("tiers.promote-reads", u64::from(o.promote_reads), 0, 1_000_000)?;
        bounded("tiers.promote-window-s", o.promote_window_s, 1, AGES)?;
        bounded("tiers.snapshot-age-ms", o.snapshot_age_ms, 0, 1000 * AGES)?;
        bounded("tiers.max-snapshots", o.max_snapshots, 0, 1 << 32)?;
        bounded("tiers.snapshot-bytes", o.snapshot_bytes, 0, 1 << 56)?;
        let (memtable_bytes, log_bytes) = (o.memtable_bytes, o.log_bytes);
        Ok(Tiers { memtable_bytes, log_bytes, sealed_max: SEALED_MAX.0, options })
    }

    /// Fits them into an engine with this memory budget and first log segments of this size, both in bytes.
    #[must_use]
    pub fn within(self, memory_budget: u64, segment_first: u64) -> Tiers {
        let share = memory_budget / 4;
        let memtable_bytes = self.options.memtable_bytes.min(share);
        Tiers {
            memtable_bytes,
            log_bytes: self.options.log_bytes.max(4 * segment_first),
            sealed_max: (share / memtable_bytes).clamp(SEALED_MAX.0, SEALED_MAX.1),
            ..self
        }
    }

    /// The checked values.
    #[must_use]
    pub fn get(&self) -> &TierOptions {
        &self.options
    }

    /// Bytes at which a memtable is sealed: as configured, and at most a quarter of the memory budget.
    #[must_use]
    pub fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes
    }

    /// Sealed memtables at which writers stop until one is flushed: as many as a quarter of the memory budget holds, within
    /// bounds. A burst of writes goes on while they fill.
    #[must_use]
    pub fn sealed_max(&self) -> u64 {
        self.sealed_max
    }

    /// Bytes of log beyond which the memtable is flushed: as configured, and at least four first segments.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }
}

impl Default for Tiers {
    fn default() -> Tiers {
        Tiers::new(TierOptions::default()).expect("the defaults are within their bounds")
    }
}

const _: () =
    assert!(VALUE_MAX as u64 <= 256 * MIB, "the hot tier's default capacity holds the longest value");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn options_out_of_bounds_are_refused_with_what_would_be_right() {
        type Wrong = fn(&mut TierOptions);
        let cases: &[(Wrong, &str, &str)] = &[
            (|o| o.hot_capacity.entries = 0, "option tiers.hot-capacity.entries is 0", "1..="),
            (|o| o.cold_capacity.bytes = 63, "option tiers.cold-capacity.bytes is 63", "64..="),
            (
                |o| o.hot_capacity.entries = 2_000_000,
                "option tiers.warm-capacity is 1000000 entries",
                "at least tiers.hot-capacity, 2000000",
            ),
            (
                |o| o.cold_capacity.bytes = 4096,
                "option tiers.cold-capacity is 10000000 entries",
                "at least tiers.warm-capacity",
            ),
            (|o| o.memtable_bytes = 0, "option tiers.memtable-bytes is 0", "256..="),
            (|o| o.raised_percent = 86, "option tiers.raised-percent is 86", "1..=85"),
            (|o| o.critical_percent = 101, "option tiers.critical-percent is 101", "85..=100"),
            (|o| o.hot_tables = 33, "option tiers.hot-tables is 33", "1..=32"),
            (|o| o.promote_window_s = 0, "option tiers.promote-window-s is 0", "1..="),
            (|o| o.snapshot_age_ms = u64::MAX, "option tiers.snapshot-age-ms is 1844", "0..=3162240000000"),
            (|o| o.snapshot_bytes = u64::MAX, "option tiers.snapshot-bytes is 1844", "0..=72057594037927936"),
            (|o| o.max_snapshots = 1 << 33, "option tiers.max-snapshots is 8589934592", "0..="),
        ];
        for (wrong, what, right) in cases {
            let mut options = TierOptions::default();
            wrong(&mut options);
            let error = Tiers::new(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected(Rejected::Config));
            let text = error.to_string();
            assert!(text.contains(what) && text.contains(right), "{text}");
        }
        assert_eq!(Tiers::default().get(), &TierOptions::default());
    }
}
