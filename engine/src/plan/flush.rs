//! When a memtable is sealed, which sealed ones are flushed, and how writers are held back.
//!
//! Sealing rotates the log, so that a segment never spans two memtables; memtables are flushed in order; a flush is
//! installed only once the log is synced up to its last LSN.
use super::capacity::{Pressure, Puts};
use crate::config::Tiers;
use crate::ids::Lsn;
use crate::limits::{HOT_TABLES_MAX, LOG_SEGMENTS_MANY};
use std::time::Duration;

/// The memtable that takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Active {
    /// What it takes in memory.
    pub bytes: u64,
    /// Bytes of log segments that only it keeps.
    pub log_bytes: u64,
    /// Log segments of the space.
    pub log_segments: usize,
    /// Tombstones and range deletes in it.
    pub deletes: u64,
}

/// A sealed memtable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Its last commit.
    pub last: Lsn,
    pub bytes: u64,
    pub log_bytes: u64,
}

/// What there is of a space's memtables and of what they press against.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub active: Active,
    /// The oldest first.
    pub sealed: &'a [Sealed],
    pub durable: Lsn,
    pub hot_tables: usize,
    /// How full cold is: puts are refused, and deletes must come down to make room.
    pub cold: Pressure,
    /// How full the tier is that flushes go to, in percent.
    pub hot_percent: u64,
    /// Bytes of all memtables of the engine, in percent of its budget.
    pub memory_percent: u64,
    /// Whether this space borrows more memory than any other.
    pub largest: Borrower,
    /// Whether writes have paused.
    pub quiet: Quiet,
    pub puts: Puts,
    /// Bytes of tables that range deletes in the active memtable hide from every reader.
    pub hides: u64,
}

/// Whether a space is the one to give memory back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Borrower {
    Largest,
    Other,
}

/// Whether writes have paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    Yes,
    No,
}

/// Why a memtable is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It is as large as it may get.
    Bytes,
    /// The log is.
    Log,
    /// Memory is short, and this space has borrowed most.
    Memory,
    /// The space is full, and deletes wait in memory.
    Deletes,
    /// The space is full, and puts wait until it is known what in it is still needed.
    Room,
    /// Once its range deletes are in a table, more of tables goes than a flush writes.
    Hidden,
}

/// Memory use, in percent of the budget, from which the largest borrower flushes.
const MEMORY_HIGH: u64 = 75;

/// Whether the active memtable is to be sealed. One with nothing in it is only where commits that left nothing fill the log.
#[must_use]
pub fn seal(tiers: &Tiers, f: &Facts<'_>) -> Option<Seal> {
    let log: u64 = f.sealed.iter().map(|s| s.log_bytes).sum::<u64>() + f.active.log_bytes;
    let behind = !f.sealed.is_empty();
    match () {
        // Sealed ones wait for their flush already: sealing more frees no log earlier.
        () if (log >= tiers.log_bytes() || f.active.log_segments >= LOG_SEGMENTS_MANY) && !behind => {
            Some(Seal::Log)
        }
        () if f.active.bytes == 0 => None,
        () if f.active.bytes >= tiers.memtable_bytes() => Some(Seal::Bytes),
        () if f.memory_percent >= MEMORY_HIGH && f.largest == Borrower::Largest && !behind => {
            Some(Seal::Memory)
        }
        () if f.cold == Pressure::Full && f.active.deletes > 0 && f.quiet == Quiet::Yes && !behind => {
            Some(Seal::Deletes)
        }
        () if f.puts != Puts::Fit && !behind => Some(Seal::Room),
        () if f.hides > f.active.bytes && f.quiet == Quiet::Yes && !behind => Some(Seal::Hidden),
        () => None,
    }
}

/// A flush: the oldest memtables become the newest hot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPlan {
    /// How many of the sealed memtables, from the oldest on.
    pub memtables: usize,
    /// The last commit in them.
    pub last: Lsn,
    /// What must be of the log before the flush is installed.
    pub log: Log,
    /// Bytes of log that go with it.
    pub frees_log: u64,
    /// Bytes of memory likewise.
    pub frees_memory: u64,
}

/// Whether the log holds a flush back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// It is durable up to the flush's last commit.
    Durable,
    /// It must be synced up to there first.
    SyncFirst,
}

/// Which sealed memtables to flush: the oldest, and those after it that fit into one table of a memtable's size with it.
/// None while hot has no place for one more table: it merges first.
#[must_use]
pub fn flush(tiers: &Tiers, f: &Facts<'_>) -> Option<FlushPlan> {
    if f.hot_tables >= HOT_TABLES_MAX {
        return None;
    }
    let mut plan =
        FlushPlan { memtables: 0, last: Lsn::ZERO, log: Log::Durable, frees_log: 0, frees_memory: 0 };
    for s in f.sealed {
        assert!(s.last > plan.last, "memtables are sealed in order");
        if plan.memtables > 0 && plan.frees_memory + s.bytes > tiers.memtable_bytes() {
            break;
        }
        plan.memtables += 1;
        plan.last = s.last;
        plan.log = if s.last <= f.durable { Log::Durable } else { Log::SyncFirst };
        plan.frees_log += s.log_bytes;
        plan.frees_memory += s.bytes;
    }
    (plan.memtables > 0).then_some(plan)
}

/// How much writers are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Throttle {
    None,
    /// Each write waits for this many microseconds a KiB.
    Slow {
        micros_per_kib: u64,
    },
    /// Writes wait until a flush or merge has ended.
    Stop,
}

/// Waits that writers owe. One write owes less than a timer can tell, and a timer that was asked for a millisecond may
/// take two: what is owed is added up, and what was waited for too long is counted in.
#[derive(Debug, Default)]
pub struct Debt {
    /// Below zero writers have waited more than they had to.
    nanos: i64,
}

/// Writers wait once they owe this much: timers are not finer.
const DEBT_NANOS: i64 = 1_000_000;
/// Most that counts as waited ahead: who was not run for a second is not to write at full speed for as long.
const AHEAD_NANOS: i64 = 4 * DEBT_NANOS;

impl Debt {
    /// A write of `bytes` comes at this pace. The wait that is due now, if there is one.
    pub fn charge(&mut self, micros_per_kib: u64, bytes: u64) -> Option<Duration> {
        let owed = (u128::from(micros_per_kib) * u128::from(bytes)).saturating_mul(1000) / 1024;
        self.nanos = self.nanos.saturating_add(i64::try_from(owed).unwrap_or(i64::MAX));
        (self.nanos >= DEBT_NANOS).then(|| {
            let due = std::mem::take(&mut self.nanos);
            Duration::from_nanos(u64::try_from(due).expect("what is due is above zero"))
        })
    }

    /// A wait took so much longer than was due.
    pub fn overslept(&mut self, by: Duration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.nanos = self.nanos.saturating_sub(by).max(-AHEAD_NANOS);
    }
}

/// The slowest pace before a stop, in microseconds a KiB: 4 MiB a second.
const SLOWEST: u64 = 250;

/// Percent of its capacity at which a full hot tier holds writers back as much as it ever does, by half of the slowest pace.
const HOT_PERCENT_MAX: u64 = 1000;

/// Whether flushes are so far behind that jobs let them go first. Flushes free memory and log for writers, and the more a
/// flush adds to hot, the less the next move rewrites below for each entry. But not while hot tables are so many that
/// writers are held back for that: then a merge or move is what they wait for.
#[must_use]
pub fn is_behind(tiers: &Tiers, f: &Facts<'_>) -> bool {
    f.sealed.len() > 1 && f.hot_tables < 2 * tiers.get().hot_tables
}

/// How writers are held back: not at all, then slower with each step towards the limit, then stopped.
#[must_use]
pub fn throttle(tiers: &Tiers, f: &Facts<'_>) -> Throttle {
    let o = tiers.get();
    let log: u64 = f.sealed.iter().map(|s| s.log_bytes).sum::<u64>() + f.active.log_bytes;
    // Each in percent of the way from where it begins to hurt to where it must stop.
    let part =
        |value: u64, from: u64, to: u64| value.saturating_sub(from).saturating_mul(100) / (to - from).max(1);
    let stop = tiers.sealed_max();
    let steps = [
        part(f.sealed.len() as u64, stop / 4, stop).pow(2).div_ceil(100),
        part(f.hot_tables as u64, 2 * o.hot_tables as u64, HOT_TABLES_MAX as u64),
        part(log, tiers.log_bytes(), 2 * tiers.log_bytes()),
    ];
    let micros = match steps.into_iter().max().unwrap_or(0) {
        100.. => return Throttle::Stop,
        0 => 0,
        step => (SLOWEST * step / 100).max(1),
    };
    match micros.max(full_hot(o.critical_percent, f.hot_percent)) {
        0 => Throttle::None,
        micros_per_kib => Throttle::Slow { micros_per_kib },
    }
}

/// How much hot holds writers back, in microseconds a KiB, once it is critically full. It grows with the square of the
/// excess: what hot holds too much leaves it with the next move, and the more one move takes the less it rewrites below for
/// each entry, so that a little more is hardly worth a wait; but who writes faster than moves can follow is met half-way.
fn full_hot(critical: u64, percent: u64) -> u64 {
    if percent < critical {
        return 0;
    }
    let over = percent.min(HOT_PERCENT_MAX) - critical;
    (SLOWEST / 2 * over * over / (HOT_PERCENT_MAX - critical).pow(2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TierOptions;

    fn tiers() -> Tiers {
        let options = TierOptions { memtable_bytes: 10_000, log_bytes: 50_000, ..TierOptions::default() };
        Tiers::new(options).unwrap().within(1 << 30, 16 * 1024)
    }

    fn facts(sealed: &[Sealed]) -> Facts<'_> {
        Facts {
            active: Active { bytes: 100, log_bytes: 100, log_segments: 1, deletes: 1 },
            sealed,
            durable: Lsn::from_raw(100),
            hot_tables: 0,
            cold: Pressure::Low,
            hot_percent: 0,
            memory_percent: 0,
            largest: Borrower::Other,
            quiet: Quiet::Yes,
            puts: Puts::Fit,
            hides: 0,
        }
    }

    fn sealed(last: u64, bytes: u64) -> Sealed {
        Sealed { last: Lsn::from_raw(last), bytes, log_bytes: 2 * bytes }
    }

    #[test]
    fn each_reason_seals_and_an_empty_memtable_never_is() {
        let t = tiers();
        let f = facts(&[]);
        assert_eq!(seal(&t, &f), None);
        let cases = [
            (Facts { active: Active { bytes: 10_000, ..f.active }, ..f }, Seal::Bytes),
            (Facts { memory_percent: 75, largest: Borrower::Largest, ..f }, Seal::Memory),
            (Facts { cold: Pressure::Full, ..f }, Seal::Deletes),
            (Facts { puts: Puts::Wait { since: Lsn::from_raw(3) }, ..f }, Seal::Room),
            (Facts { hides: 101, ..f }, Seal::Hidden),
        ];
        for (facts, why) in cases {
            assert_eq!(seal(&t, &facts), Some(why));
            assert_eq!(seal(&t, &Facts { active: Active { bytes: 0, ..facts.active }, ..facts }), None);
        }
        let log = [
            Active { log_bytes: 70_000, ..f.active },
            Active { log_segments: LOG_SEGMENTS_MANY, ..f.active },
            Active { log_bytes: 70_000, bytes: 0, ..f.active },
        ];
        for active in log {
            assert_eq!(
                seal(&t, &Facts { active, ..f }),
                Some(Seal::Log),
                "also of commits that left nothing"
            );
        }
        assert_eq!(seal(&t, &Facts { memory_percent: 75, ..f }), None, "another space has borrowed more");
        assert_eq!(seal(&t, &Facts { cold: Pressure::Full, quiet: Quiet::No, ..f }), None);
        assert_eq!(seal(&t, &Facts { hides: 101, quiet: Quiet::No, ..f }), None);
        assert_eq!(seal(&t, &Facts { hides: 100, ..f }), None, "what goes is no more than what is written");
    }

    #[test]
    fn memtables_are_flushed_in_order_and_small_ones_together() {
        let t = tiers();
        let all = [sealed(5, 4000), sealed(7, 6000), sealed(9, 1)];
        let plan = flush(&t, &facts(&all)).unwrap();
        assert_eq!((plan.memtables, plan.last.raw(), plan.frees_log, plan.log), (2, 7, 20_000, Log::Durable));
        let behind = Facts { durable: Lsn::from_raw(6), ..facts(&all) };
        assert_eq!(flush(&t, &behind).unwrap().log, Log::SyncFirst);
        let large = [sealed(5, 40_000), sealed(7, 1)];
        assert_eq!(flush(&t, &facts(&large)).unwrap().memtables, 1);
        assert_eq!(flush(&t, &facts(&[])), None);
        assert_eq!(flush(&t, &Facts { hot_tables: HOT_TABLES_MAX, ..facts(&all) }), None);
    }

    #[test]
    fn writers_slow_down_before_they_stop() {
        let t = tiers();
        let all: Vec<_> = (1..=8).map(|n| sealed(n, 1)).collect();
        let of = |n: usize| throttle(&t, &facts(&all[..n]));
        assert_eq!((of(0), of(2), of(8)), (Throttle::None, Throttle::None, Throttle::Stop));
        assert!((2..8).all(|n| of(n) < of(n + 1)));
        let scarce = Tiers::new(t.get().clone()).unwrap().within(40_000, 16 * 1024);
        assert_eq!(throttle(&scarce, &facts(&all[..4])), Throttle::Stop, "no more than memory allows");
        assert!(throttle(&scarce, &facts(&all[..2])) > Throttle::None);
        let hot = |n| throttle(&t, &Facts { hot_tables: n, ..facts(&[]) });
        assert!(hot(16) == Throttle::None && hot(20) < hot(40) && hot(HOT_TABLES_MAX) == Throttle::Stop);
        let full = |hot_percent| throttle(&t, &Facts { hot_percent, ..facts(&[]) });
        assert_eq!((full(94), full(95)), (Throttle::None, Throttle::Slow { micros_per_kib: 1 }));
        assert!(full(95) < full(300) && full(300) < full(600) && full(600) < full(1000));
        assert_eq!(
            (full(1000), full(u64::MAX)),
            (Throttle::Slow { micros_per_kib: SLOWEST / 2 }, full(1000))
        );
    }

    #[test]
    fn jobs_let_flushes_go_first_that_are_behind_but_not_when_hot_tables_are_many() {
        let (t, all) = (tiers(), [sealed(1, 1), sealed(2, 1)]);
        let behind = |n: usize, hot_tables| is_behind(&t, &Facts { hot_tables, ..facts(&all[..n]) });
        assert!(!behind(0, 0) && !behind(1, 0) && behind(2, 0) && behind(2, 15));
        assert!(!behind(2, 16), "what writers wait for is not held back");
    }

    #[test]
    fn writers_wait_for_as_long_as_their_bytes_take_at_the_pace() {
        let mut debt = Debt::default();
        let waits: Vec<_> = (0..1024).filter_map(|_| debt.charge(125, 256)).collect();
        let waited: Duration = waits.iter().sum();
        assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(1)));
        assert_eq!(waited, Duration::from_millis(32) - Duration::from_nanos(debt.nanos as u64));
        assert!(debt.nanos < DEBT_NANOS);
    }

    #[test]
    fn a_wait_that_took_too_long_counts_for_the_next_within_bounds() {
        let mut debt = Debt::default();
        assert_eq!(debt.charge(1000, 1024), Some(Duration::from_millis(1)));
        debt.overslept(Duration::from_millis(2));
        assert_eq!(debt.charge(1000, 2 * 1024), None);
        assert_eq!(debt.charge(1000, 1024), Some(Duration::from_millis(1)));
        debt.overslept(Duration::from_secs(60));
        assert_eq!(debt.charge(1000, 4 * 1024), None);
        assert_eq!(debt.charge(u64::MAX, u64::MAX), Some(Duration::from_nanos(i64::MAX as u64)));
    }
}
