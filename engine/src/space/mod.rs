//! One space: its identity, its paths, and what one opening of it (an *incarnation*) does.
mod admission;
mod change;
mod create;
mod delete;
mod driver;
mod ending;
mod flush;
mod handle;
mod incarnation;
mod jobs;
mod layers;
mod quota;
mod registry;
mod remove;
mod rotation;
mod salvage;
mod scan;
mod stats;
mod tables;
mod ticket;
mod walk;

pub use crate::identity::{IDENTITY_LEN, Identity, SPACE_LEVEL};
pub use crate::paths::{ENGINE_FILE, LOCK_FILE, QUARANTINE_DIR, SPACE_FILE, SpacePaths, TIER_DIRS, WAL_DIR};
pub use handle::{Outcome, Space, SpaceState};
pub use salvage::Salvage;
pub use scan::{Scan, Snapshot};
pub use stats::{LogStats, MemoryStats, SpaceStats, TierStats};
pub use ticket::Commit;

pub(crate) use create::{NotCreated, create_space, purge_creating};
pub(crate) use delete::{NotDeleted, delete_space, fresh_uid, purge_deleted};
pub(crate) use ending::{being_deleted, was_deleted};
pub(crate) use incarnation::Incarnation;
pub(crate) use registry::{Claim, Registry, Slot, SlotState};
pub(crate) use remove::Itself;
pub(crate) use salvage::salvage;
