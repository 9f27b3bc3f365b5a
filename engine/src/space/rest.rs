//! Spaces that are not used rest: their log is sealed, and nothing of them is open. What is in memory stays there, and
//! counts against the budget as before. Handles, snapshots and tickets notice nothing: whatever they need next is opened
//! again, and the next commit begins a new segment, as after a clean reopen.
use super::incarnation::{Core, Driver, Incarnation, Phase};
use crate::descriptors::Holder;
use crate::ids::FileUid;
use crate::manifest::{Edit, SegmentEnd};
use crate::mutants;
use crate::wal::frame::Link;
use std::sync::Arc;

/// Descriptors of the log: the active segment and the one after it.
pub(super) const LOG_FILES: u64 = 2;

impl Incarnation {
    /// Whether recovery left it a log that is not sealed, and nothing has happened since.
    fn never_began(core: &Core) -> bool {
        matches!(core.phase, Phase::Open) && matches!(core.driver, Driver::Absent) && !core.line.is_sealed()
    }

    /// Whether nothing of it is in use, and the log is sealed.
    fn can_rest(core: &Core) -> bool {
        let ended = matches!(core.phase, Phase::Open | Phase::Closed);
        let ended = ended && matches!(core.driver, Driver::Absent) && !core.is_busy();
        ended && core.line.is_sealed() && !core.line.is_fenced()
    }
}

impl Holder for Incarnation {
    fn was_used(&self) -> bool {
        self.home.was_used()
    }

    fn rest(self: Arc<Self>) -> bool {
        // Whoever asks works for another space: a broken invariant here is to fence this one alone.
        let rested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.try_to_rest()));
        rested.unwrap_or_else(|_| {
            self.fence_after_panic();
            true
        })
    }

    fn hurry(self: Arc<Self>) {
        self.core().hurries = true;
        self.wake_driver();
    }
}

impl Incarnation {
    fn try_to_rest(self: &Arc<Self>) -> bool {
        let mut core = self.core();
        // Held to the end, so that nobody begins to read meanwhile.
        let mut layers = self.layers.write();
        if !layers.is_unread() {
            return false;
        }
        if core.line.is_fenced() && matches!(core.driver, Driver::Absent) && !core.is_busy() {
            core.line.let_go();
        } else if Incarnation::can_rest(&core) {
            let before = core.line.predecessor();
            let rested = core.line.rest();
            // A segment whose commits were flushed meanwhile is listed no more.
            let segments = &core.current.manifest.version.segments;
            let listed = |f: FileUid| segments.iter().find(|s| s.file == f);
            let ends = |link: Link| {
                let Link { file, len, last, chain } = link;
                let file = listed(file?).filter(|s| s.end.is_none())?.file;
                Some(Edit::End { file, end: SegmentEnd { len, last, chain } })
            };
            let mut edits: Vec<Edit> =
                [before, rested.ended].into_iter().flatten().filter_map(ends).collect();
            if let (Some(Edit::End { file, .. }), true) = (edits.last(), mutants::on("rest-drops-its-log")) {
                edits.push(Edit::Drop { file: *file });
            }
            let unused = rested.unused.filter(|file| listed(*file).is_some());
            edits.extend(unused.map(|file| Edit::Drop { file }));
            core.edits.extend(edits);
            core.segments_made = 0;
        } else {
            if Incarnation::never_began(&core) {
                drop(layers);
                drop(core);
                self.clone().hurry();
            }
            return false;
        }
        core.jobs.done.rests += 1;
        // What is closed is not known any more.
        core.looked.clear();
        let log_files = core.log_files.take();
        // Whoever finds these gone joins the holders anew: so they go first, and under the lock.
        let dirs = self.home.take();
        let tables = layers.close_tables();
        drop(layers);
        drop(core);
        drop((log_files, dirs, tables));
        tracing::debug!(space = %self.id, "at rest");
        true
    }
}
