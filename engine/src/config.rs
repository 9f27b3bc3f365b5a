//! [`Options`] are what a caller writes, unchecked; [`Config`] is what the engine sees, checked once.
use crate::error::{Error, Rejected, Result};
use crate::ids::SpaceId;
use crate::limits::{FRAME_MAX, PAGE, SEGMENT_FIRST, SEGMENT_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

mod size;
mod spaces;
mod tiers;

pub use size::parse_size;
pub(crate) use spaces::SpaceTiers;
pub use tiers::{Amount, TierOptions, Tiers};

/// What an acknowledgement promises (guarantee G1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Ordered and visible; survives what the flush interval says.
    Relaxed,
    /// Survives a kill of the process: the bytes are with the operating system.
    Process,
    /// Survives a power cut: the bytes were synced.
    #[default]
    Power,
}

/// Options of an engine. Public and unchecked: [`crate::Engine::open`] checks them. Where they are read from a text, bytes
/// are numbers or texts as [`parse_size`] takes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// What `put`, `delete` and the other convenience calls wait for.
    pub durability: Durability,
    /// Most spaces in one data root.
    pub max_spaces: usize,
    /// Bytes that memtables of all spaces together may take; beyond it writes get `Busy`.
    #[serde(deserialize_with = "size::deserialize")]
    pub memory_budget: u64,
    /// Bytes of it that each space is guaranteed, whatever the others hold; all guarantees together take a quarter of it
    /// at most.
    #[serde(deserialize_with = "size::deserialize")]
    pub memory_share_bytes: u64,
    /// Bytes that verified blocks of all spaces together may take; 0 keeps none.
    #[serde(deserialize_with = "size::deserialize")]
    pub cache_bytes: u64,
    /// Bytes of it that each space which reads is guaranteed, as long as all guarantees together fit.
    #[serde(deserialize_with = "size::deserialize")]
    pub cache_share_bytes: u64,
    /// First log segment of a space, in bytes; each further one doubles.
    #[serde(deserialize_with = "size::deserialize")]
    pub segment_first: u64,
    /// Largest regular log segment, in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub segment_max: u64,
    /// Longest time, in milliseconds, before commits that nobody waits for are synced.
    pub flush_interval_ms: u64,
    /// Bytes that a space writes to its log before they are synced, whether anybody waits for that or not; fewer before the
    /// end of a segment, behind which nothing is written before all of it is synced. What was not synced when the process
    /// ended is written anew when the space is opened, so this bounds the time that takes.
    #[serde(deserialize_with = "size::deserialize")]
    pub flush_bytes: u64,
    /// Quiet time, in milliseconds, after which a space's log is synced and sealed.
    pub idle_seal_ms: u64,
    /// File descriptors that all spaces together aim to stay below; those that are not used rest then.
    pub max_descriptors: u64,
    /// Time, in milliseconds, after which a space that is not used rests: nothing of it stays open but what it has in
    /// memory. Twice as long at most.
    pub idle_close_ms: u64,
    /// Bytes a second that merges, moves and promotions of all spaces together read and write at most; 0 is no limit. Flushes
    /// are not held back. Where it is less than what writes bring along tiers fill up, and writers are slowed down.
    #[serde(deserialize_with = "size::deserialize")]
    pub background_bytes_per_s: u64,
    /// Bytes of disk that are kept for deletes and flushes once the disk is full, in one file for all spaces together; at
    /// most a sixteenth of the file system. While they are not there puts get `NoSpace`. 0 keeps none: then a full disk
    /// refuses deletes too.
    #[serde(deserialize_with = "size::deserialize")]
    pub reserve_bytes: u64,
    /// Merges, moves and promotions that run at once in all spaces together. Where none of those that run goes on for a
    /// second one more begins, so that a space whose disk is stuck holds up no other.
    pub background_jobs: u64,
    /// Bytes of log that all spaces together aim to stay below: beyond it the space with the longest log flushes its
    /// memtable, so that segments can go. What a space may have for itself is [`TierOptions::log_bytes`].
    #[serde(deserialize_with = "size::deserialize")]
    pub log_budget: u64,
    /// Spaces that `recover_all` opens at once.
    pub recovery_parallelism: usize,
    /// Capacities of tiers and what moves between them, for every space that has none of its own.
    pub tiers: TierOptions,
    /// Those of single spaces, whether they exist already or not. Nothing is taken over from `tiers`.
    pub spaces: BTreeMap<SpaceId, TierOptions>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Power,
            max_spaces: 100_000,
            memory_budget: 1 << 30,
            memory_share_bytes: 256 << 10,
            cache_bytes: 256 << 20,
            cache_share_bytes: 1 << 20,
            segment_first: SEGMENT_FIRST,
            segment_max: SEGMENT_MAX,
            flush_interval_ms: 200,
            flush_bytes: 16 << 20,
            idle_seal_ms: 100,
            max_descriptors: 512,
            idle_close_ms: 60_000,
            background_bytes_per_s: 0,
            reserve_bytes: 4 << 20,
            background_jobs: 8,
            log_budget: 4 << 30,
            recovery_parallelism: 4,
            tiers: TierOptions::default(),
            spaces: BTreeMap::new(),
        }
    }
}

/// Options that passed every check.
#[derive(Debug, Clone)]
pub struct Config {
    options: Options,
    tiers: Arc<Tiers>,
    spaces: BTreeMap<SpaceId, Arc<Tiers>>,
}

impl Config {
    /// Checks `options`.
    ///
    /// # Errors
    /// `Rejected(Config)` naming the option, its value and the values expected, and the space whose option it is.
    pub fn new(options: Options) -> Result<Config> {
        let o = &options;
        let min_segment = 4 * PAGE as u64;
        bounded("max-spaces", o.max_spaces as u64, 1, 10_000_000)?;
        bounded("memory-budget", o.memory_budget, 64 * 1024, 1 << 50)?;
        bounded("memory-share-bytes", o.memory_share_bytes, 0, 1 << 50)?;
        bounded("cache-bytes", o.cache_bytes, 0, 1 << 50)?;
        bounded("cache-share-bytes", o.cache_share_bytes, 0, 1 << 50)?;
        bounded("segment-first", o.segment_first, min_segment, o.segment_max)?;
        bounded("segment-max", o.segment_max, min_segment, SEGMENT_MAX.max(FRAME_MAX as u64))?;
        bounded("flush-interval-ms", o.flush_interval_ms, 1, 3_600_000)?;
        bounded("flush-bytes", o.flush_bytes, 4096, 1 << 40)?;
        bounded("idle-seal-ms", o.idle_seal_ms, 1, 3_600_000)?;
        bounded("max-descriptors", o.max_descriptors, 16, 1 << 30)?;
        bounded("idle-close-ms", o.idle_close_ms, 1, 7 * 86_400_000)?;
        bounded("background-bytes-per-s", o.background_bytes_per_s, 0, 1 << 50)?;
        bounded("reserve-bytes", o.reserve_bytes, 0, 1 << 50)?;
        bounded("background-jobs", o.background_jobs, 1, 1 << 20)?;
        bounded("log-budget", o.log_budget, 64 * 1024, 1 << 60)?;
        bounded("recovery-parallelism", o.recovery_parallelism as u64, 1, 1024)?;
        let tiers = checked(o, o.tiers.clone())?;
        let of = |(id, tiers): (&SpaceId, &TierOptions)| {
            Ok((id.clone(), checked(o, tiers.clone()).map_err(|e| e.in_space(id))?))
        };
        let spaces = o.spaces.iter().map(of).collect::<Result<_>>()?;
        Ok(Config { options, tiers, spaces })
    }

    /// What convenience calls wait for.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.options.durability
    }
    /// Most spaces in the data root.
    #[must_use]
    pub fn max_spaces(&self) -> usize {
        self.options.max_spaces
    }
    /// Bytes for memtables.
    #[must_use]
    pub fn memory_budget(&self) -> u64 {
        self.options.memory_budget
    }
    /// Bytes of them that each space is guaranteed.
    #[must_use]
    pub fn memory_share_bytes(&self) -> u64 {
        self.options.memory_share_bytes
    }
    /// Bytes for verified blocks.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        self.options.cache_bytes
    }
    /// Bytes of them that each space is guaranteed.
    #[must_use]
    pub fn cache_share_bytes(&self) -> u64 {
        self.options.cache_share_bytes
    }
    /// First segment's bytes.
    #[must_use]
    pub fn segment_first(&self) -> u64 {
        self.options.segment_first
    }
    /// Largest regular segment's bytes.
    #[must_use]
    pub fn segment_max(&self) -> u64 {
        self.options.segment_max
    }
    /// Longest time that a commit nobody waits for stays unsynced.
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.options.flush_interval_ms)
    }

    /// See [`Options::flush_bytes`].
    #[must_use]
    pub fn flush_bytes(&self) -> u64 {
        self.options.flush_bytes
    }
    /// Quiet time before a log is sealed.
    #[must_use]
    pub fn idle_seal(&self) -> Duration {
        Duration::from_millis(self.options.idle_seal_ms)
    }
    /// Descriptors that all spaces together aim to stay below.
    #[must_use]
    pub fn max_descriptors(&self) -> u64 {
        self.options.max_descriptors
    }
    /// Time after which a space that is not used rests.
    #[must_use]
    pub fn idle_close(&self) -> Duration {
        Duration::from_millis(self.options.idle_close_ms)
    }
    /// Bytes a second that jobs over tables of all spaces together move at most; 0 is no limit.
    #[must_use]
    pub fn background_bytes_per_s(&self) -> u64 {
        self.options.background_bytes_per_s
    }
    /// See [`Options::reserve_bytes`].
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.options.reserve_bytes
    }
    /// See [`Options::background_jobs`].
    #[must_use]
    pub fn background_jobs(&self) -> u64 {
        self.options.background_jobs
    }
    /// See [`Options::log_budget`].
    #[must_use]
    pub fn log_budget(&self) -> u64 {
        self.options.log_budget
    }
    /// Capacities of a space's tiers and what moves between them.
    #[must_use]
    pub fn tiers(&self, space: &SpaceId) -> Arc<Tiers> {
        self.spaces.get(space).unwrap_or(&self.tiers).clone()
    }
    /// Checks tiers for a single space.
    ///
    /// # Errors
    /// As [`Config::new`].
    pub(crate) fn checked(&self, tiers: TierOptions) -> Result<Arc<Tiers>> {
        checked(&self.options, tiers)
    }
    /// Spaces that `recover_all` opens at once.
    #[must_use]
    pub fn recovery_parallelism(&self) -> usize {
        self.options.recovery_parallelism
    }
}

fn checked(o: &Options, tiers: TierOptions) -> Result<Arc<Tiers>> {
    Ok(Arc::new(Tiers::new(tiers)?.within(o.memory_budget, o.segment_first)))
}

fn bounded(name: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::rejected(Rejected::Config, format!("option {name} is {value}"))
        .expected(format!("{min}..={max}"))
        .advice("Change the option; nothing was opened."))
}
