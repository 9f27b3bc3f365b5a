//! How full a space is, and what that means: pressure that moves data down, and the refusal of puts.
//!
//! Values count as entries, tombstones do not; several versions of a key count each. Nothing is ever evicted. A put is
//! refused when the cold tier is full or when all tiers together would be, so that whatever was let in has a place:
//! once the jobs of a space have come to rest, no tier is above its capacity, but for the versions of one key at most,
//! which are never parted.
use crate::config::{Amount, TierOptions, Tiers};
use crate::error::{Error, Rejected};
use crate::ids::Lsn;
use crate::manifest::{TableEntry, Tables, Tier};
use serde::Serialize;

/// How full a tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    Low,
    /// Data moves down when nothing else is to be done.
    Raised,
    /// Data moves down now.
    High,
    /// Writers are slowed down.
    Critical,
    /// At capacity, in entries or in bytes.
    Full,
}

/// The capacity of `tier`.
#[must_use]
pub fn capacity(o: &TierOptions, tier: Tier) -> Amount {
    match tier {
        Tier::Hot => o.hot_capacity,
        Tier::Warm => o.warm_capacity,
        Tier::Cold => o.cold_capacity,
    }
}

/// What `tables` hold.
#[must_use]
pub fn used(tables: &[TableEntry]) -> Amount {
    tables.iter().fold(Amount::default(), |sum, t| sum.plus(Amount { entries: t.live(), bytes: t.bytes }))
}

/// How full a tier is that holds `used` of `capacity`.
#[must_use]
pub fn pressure(o: &TierOptions, used: Amount, capacity: Amount) -> Pressure {
    let at = |percent: u64| {
        let reached = |u: u64, c: u64| u128::from(u) * 100 >= u128::from(c) * u128::from(percent);
        reached(used.entries, capacity.entries) || reached(used.bytes, capacity.bytes)
    };
    match () {
        () if at(100) => Pressure::Full,
        () if at(o.critical_percent) => Pressure::Critical,
        () if at(o.high_percent) => Pressure::High,
        () if at(o.raised_percent) => Pressure::Raised,
        () => Pressure::Low,
    }
}

/// How full `tier` is.
#[must_use]
pub fn pressure_of(o: &TierOptions, tables: &Tables, tier: Tier) -> Pressure {
    pressure(o, used(tables.tier(tier)), capacity(o, tier))
}

/// How full `tier` is, in percent of its capacity: of entries or of bytes, whichever is more.
#[must_use]
pub fn percent_of(o: &TierOptions, tables: &Tables, tier: Tier) -> u64 {
    let (used, most) = (used(tables.tier(tier)), capacity(o, tier));
    let part = |u: u64, c: u64| u64::try_from(u128::from(u) * 100 / u128::from(c.max(1))).unwrap_or(u64::MAX);
    part(used.entries, most.entries).max(part(used.bytes, most.bytes))
}

/// Which limit a put would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The cold tier is full.
    Cold,
    /// All tiers together would be more than full.
    Tiers,
    /// The quota of bytes.
    Quota,
}

/// Why puts are refused: which limit, what is used of it (with what was asked for), and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub limit: Limit,
    pub used: Amount,
    pub most: Amount,
}

impl QuotaExceeded {
    /// Whether `adds` would fit if nothing else were there.
    #[must_use]
    pub fn could_fit(&self, adds: Amount) -> bool {
        adds.fits(self.most)
    }
}

/// Whether puts find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Puts {
    Fit,
    /// Some do not, and wait until what is not needed any more of commits up to this one was merged away.
    Wait {
        since: Lsn,
    },
}

/// What a space with these tables, and `memory` in its memtables, still takes: [`admit`] lets in whatever fits.
#[must_use]
pub fn left(tiers: &Tiers, tables: &Tables, memory: Amount) -> Amount {
    let o = tiers.get();
    if pressure_of(o, tables, Tier::Cold) == Pressure::Full {
        return Amount::default();
    }
    let (all, most) = together(o, tables, memory);
    let left = most.minus(all);
    let quota = if o.quota_bytes > 0 { o.quota_bytes.saturating_sub(all.bytes) } else { u64::MAX };
    Amount { bytes: left.bytes.min(quota), ..left }
}

/// What all tiers and `memory` hold together, and what all tiers may hold.
fn together(o: &TierOptions, tables: &Tables, memory: Amount) -> (Amount, Amount) {
    let all = Tier::ALL.into_iter().fold(memory, |sum, t| sum.plus(used(tables.tier(t))));
    let most = Tier::ALL.into_iter().fold(Amount::default(), |sum, t| sum.plus(capacity(o, t)));
    (all, most)
}

/// Whether a space with these tables, and `memory` in its memtables, takes a batch whose puts are `incoming`. Deletes are
/// not asked about: they always go on.
///
/// # Errors
/// The limit that would be broken.
pub fn admit(tiers: &Tiers, tables: &Tables, memory: Amount, incoming: Amount) -> Result<(), QuotaExceeded> {
    let o = tiers.get();
    let cold = used(&tables.cold);
    if pressure(o, cold, o.cold_capacity) == Pressure::Full {
        return Err(QuotaExceeded { limit: Limit::Cold, used: cold, most: o.cold_capacity });
    }
    let (all, most) = together(o, tables, memory.plus(incoming));
    if !all.fits(most) {
        return Err(QuotaExceeded { limit: Limit::Tiers, used: all, most });
    }
    if o.quota_bytes > 0 && all.bytes > o.quota_bytes {
        let most = Amount { bytes: o.quota_bytes, ..most };
        return Err(QuotaExceeded { limit: Limit::Quota, used: all, most });
    }
    Ok(())
}

impl From<QuotaExceeded> for Error {
    fn from(full: QuotaExceeded) -> Error {
        let (what, option) = match full.limit {
            Limit::Cold => ("the cold tier is full", "tiers.cold-capacity"),
            Limit::Tiers => ("the tiers are full together", "tiers.cold-capacity"),
            Limit::Quota => ("the quota is used up", "tiers.quota-bytes"),
        };
        let (used, most) = (full.used, full.most);
        // A full cold tier refuses whatever comes; the others what would break them.
        let (with, limit) = match full.limit {
            Limit::Cold => ("", "fewer than"),
            Limit::Tiers | Limit::Quota => (" with this write", "at most"),
        };
        let what = format!("{what}: {} entries and {} bytes{with}", used.entries, used.bytes);
        Error::rejected(Rejected::QuotaExceeded, what)
            .expected(format!("{limit} {} entries and {} bytes", most.entries, most.bytes))
            .advice(format!("Delete entries, or raise option {option}; reads and deletes go on."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::entry;

    fn tiers(quota: u64) -> Tiers {
        let capacity = |entries| Amount { entries, bytes: 1 << 20 };
        Tiers::new(TierOptions {
            hot_capacity: capacity(20),
            warm_capacity: capacity(100),
            cold_capacity: capacity(200),
            quota_bytes: quota,
            ..TierOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn steps_of_filling_raise_the_pressure() {
        let tiers = tiers(0);
        let level = |entries, bytes| {
            pressure(tiers.get(), Amount { entries, bytes }, Amount { entries: 20, bytes: 1000 })
        };
        assert_eq!([13, 14, 16, 17, 18, 19, 20, 25].map(|n| level(n, 0)), {
            use Pressure::{Critical, Full, High, Low, Raised};
            [Low, Raised, Raised, High, High, Critical, Full, Full]
        });
        assert_eq!(
            (level(1, 699), level(1, 700), level(1, 1000)),
            (Pressure::Low, Pressure::Raised, Pressure::Full)
        );
    }

    #[test]
    fn puts_are_refused_by_the_limit_that_they_would_break_and_the_error_says_so() {
        let one = Amount { entries: 1, bytes: 10 };
        let mut tables = Tables { cold: vec![entry(1, "a", "m", 199, 1000)], ..Tables::default() };
        assert_eq!(admit(&tiers(0), &tables, Amount::default(), one), Ok(()));
        let quota = admit(&tiers(1005), &tables, Amount::default(), one).unwrap_err();
        assert_eq!((quota.limit, quota.used.bytes), (Limit::Quota, 1010));
        let text = Error::from(quota).to_string();
        assert!(text.contains("1010 bytes with this write; expected at most"), "{text}");
        let memory = Amount { entries: 121, bytes: 0 };
        assert_eq!(admit(&tiers(0), &tables, memory, one).unwrap_err().limit, Limit::Tiers);
        tables.cold.push(entry(2, "m", "z", 1, 10));
        let full = admit(&tiers(0), &tables, Amount::default(), one).unwrap_err();
        let text = Error::from(full).to_string();
        for part in [
            "cold tier is full: 200 entries and 1010 bytes; ",
            "expected fewer than 200 entries",
            "raise option tiers.cold-capacity",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
