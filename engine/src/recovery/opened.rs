//! What recovery, or the making of a new space, hands over to the opening that follows.
use super::RecoveryReport;
use crate::env::{Dir, File, IoResult};
use crate::ids::{Lsn, SpaceId};
use crate::manifest::{Current, Edit, Tier};
use crate::memtable::Memtable;
use crate::wal::commit::{Before, Resume};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The directories of a space that are open while it is.
#[derive(Debug)]
pub(crate) struct Dirs {
    pub(crate) space: Arc<dyn Dir>,
    pub(crate) wal: Arc<dyn Dir>,
    tiers: [OnceCell<Arc<dyn Dir>>; 3],
}

impl Dirs {
    pub(crate) fn new(space: Arc<dyn Dir>, wal: Arc<dyn Dir>) -> Dirs {
        Dirs { space, wal, tiers: Default::default() }
    }

    /// The directory of `tier`, opened when it is first asked for: most spaces have tables in few tiers.
    pub(crate) async fn tier(&self, tier: Tier) -> IoResult<&Arc<dyn Dir>> {
        self.tiers[tier as usize].get_or_try_init(|| async { self.space.open_dir(tier.dir()).await }).await
    }
}

/// What recovery or creation hands over.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: SpaceId,
    pub(crate) dirs: Dirs,
    pub(crate) current: Current,
    pub(crate) mem: Memtable,
    pub(crate) durable: Lsn,
    pub(crate) before: Before,
    /// Edits that the first switch of this opening must make.
    pub(crate) edits: Vec<Edit>,
    /// The segment that recovery wrote; then the epoch was raised already.
    pub(crate) resume: Option<Resume<Arc<dyn File>>>,
    /// Allocated bytes of the log, about.
    pub(crate) log_bytes: u64,
    pub(crate) report: RecoveryReport,
}
