//! A simulated disk that misbehaves on purpose, as far as a real one may, and never further.
//!
//! A plain synchronous state machine: no executor, no threads, no clock, no knowledge of any file format. The engine
//! submits verbs of its [`Dir`](bulkhead::env::Dir) and [`File`](bulkhead::env::File) seam to a queue; whoever drives
//! the [`World`] calls [`World::step`], which releases exactly one completion.
//!
//! What is guaranteed here:
//! - **Same seed, same program: same world.** Every choice is a hash of (seed, site, owner, that owner's own count):
//!   adding or removing the operations of one owner changes nothing of what another one meets.
//! - **Every state after a crash is legal** by the rules C1–C10 of the fault model, and every legal state is reachable.
//! - **A crash is a freeze**: from then on every verb of that boot stays unanswered and changes nothing, and handles
//!   of an earlier boot never reach the world of a later one.
//! - Choice 0 is always the harmless one, so that an empty list of decisions is the boring run.
#![forbid(unsafe_code)]

pub mod decide;
pub mod plan;

mod dir;
mod disk;
mod dispatch;
mod execute;
mod file;
mod handle;
mod image;
mod inspect;
mod queue;
mod rot;
mod survive;
mod trace;
mod verbs;
mod violation;
mod world;

pub use decide::{Decider, Decision, Replay, Schedule, Site};
pub use disk::DirProfile;
pub use handle::SimFs;
pub use inspect::{TreeEntry, TreeKind};
pub use plan::{FaultKind, FaultPlan, FaultRule, Tally};
pub use queue::Latency;
pub use rot::{Rot, Rotted};
pub use violation::{Violation, ViolationKind};
pub use world::{CrashPoint, DiskOptions, Release, Released, Step, View, World};
