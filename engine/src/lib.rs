//! Bulkhead: an embedded, multi-tenant storage engine.
//!
//! A tenant is a *space*. Each space has a directory, a write-ahead log, tiers, recovery and a fate of its own:
//! nothing that happens to one space reaches another. The engine sees the world only through [`env::Env`], so the
//! same code runs on the real operating system ([`env::os::OsEnv`]) and in a deterministic simulator.
//!
//! # How a write goes
//! [`Space::put`] is admitted (bounds, budget, log space already allocated and synced), then ordered in one step under
//! the space's lock: it gets its [`ids::Lsn`], enters the open commit group and the memtable, and is visible. Waiting
//! is separate: [`Commit::durable`] returns once the space's watermark has passed the commit, `Process` when the group
//! was written to the page cache, `Power` when it was synced. One write and one sync serve everyone in a group.
//!
//! # How an open goes
//! See [`recovery`]: look, decide by a table, copy forward what nothing proves durable, switch the manifest, serve.
#![forbid(unsafe_code)]

mod batch;
pub mod blocking;
mod budget;
pub mod cache;
pub mod codec;
pub mod config;
mod context;
mod descriptors;
mod engine;
pub mod env;
pub mod error;
mod held;
mod identity;
pub mod ids;
pub mod inspect;
mod io_error;
mod key;
pub mod limits;
pub mod manifest;
mod memtable;
pub mod mutants;
pub mod naming;
pub mod paths;
pub mod plan;
mod rate;
pub mod recovery;
mod reserve;
mod root;
mod slots;
pub mod space;
mod sync;
pub mod table;
mod twice;
pub mod wal;
pub mod work;

pub use batch::{Batch, Expected, Precondition, Put, PutOptions, WriteOptions};
pub use config::{Amount, Config, Durability, Options, TierOptions, Tiers, parse_size};
pub use engine::{Engine, Listing};
pub use error::{Error, ErrorKind, Rejected, Result};
pub use ids::{Lsn, Priority, SpaceId};
pub use key::Key;
pub use memtable::{Direction, Entry, Value};
pub use recovery::{RecoveryReport, RecoveryStatus, RepairPlan};
pub use reserve::ReserveStats;
pub use root::{Ignored, decode_engine_file, encode_engine_file};
pub use space::{
    Commit, JobCounts, Outcome, PinStats, Salvage, Scan, Snapshot, Space, SpaceState, SpaceStats,
};

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
