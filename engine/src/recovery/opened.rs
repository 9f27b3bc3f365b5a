//! What recovery, or the making of a new space, hands over to the opening that follows.
use super::RecoveryReport;
use crate::env::{Dir, File};
use crate::ids::{Lsn, SpaceId};
use crate::manifest::{Current, Edit};
use crate::memtable::Memtable;
use crate::wal::commit::{Before, Resume};
use std::sync::Arc;

/// The directories of a space that are open while it is.
#[derive(Debug)]
pub(crate) struct Dirs {
    pub(crate) space: Arc<dyn Dir>,
    pub(crate) wal: Arc<dyn Dir>,
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
    pub(crate) report: RecoveryReport,
}
