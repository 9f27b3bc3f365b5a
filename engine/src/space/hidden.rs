//! Tables that range deletes hide from every reader: when somebody is to look for them, and how they go.
//!
//! Which ones go is decided by [`crate::plan::hidden`]. Here are the occasions: a job or flush that has ended, as for any
//! job; a snapshot that was dropped, if it held some back; and a quiet log while memory holds range deletes that hide
//! more of tables than a flush of them writes.
use super::change::change;
use super::incarnation::{Core, Incarnation};
use super::jobs::Failure;
use super::layers::{Layers, Under};
use crate::ids::{FileUid, Lsn};
use crate::manifest::{TableEntry, Tier};
use crate::plan::hidden::FreePlan;
use crate::reserve::Takes;
use crate::sync::Ordering;
use std::sync::Arc;

/// What range deletes in the active memtable hide of tables.
#[derive(Debug, Default)]
pub(crate) struct Hides {
    /// Bytes of files.
    bytes: u64,
    /// So many range deletes had come to be seen by every reader, over these tables; and under pins, what was written.
    at: Option<(u64, u64, Lsn)>,
}

impl Hides {
    /// Bytes of tables of which no reader sees anything.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Incarnation {
    /// Finds out what range deletes in memory hide of tables, if that may have changed and writes have paused.
    pub(super) fn look_for_hidden(&self, core: &mut Core) {
        if !core.line.is_quiet() {
            return;
        }
        let layers = self.layers.read();
        let (active, under) = (&layers.active, &layers.under);
        let (floor, durable) = (active.floor(), active.durable());
        let written = if floor < durable { active.last() } else { Lsn::ZERO };
        let at = Some((active.settled(), under.generation, written));
        if core.hides.at == at {
            return;
        }
        let is_hidden =
            |t: &TableEntry, floor| active.hides_all(&t.range, floor).is_some_and(|since| since > t.highest);
        let tables = || core.current.manifest.version.tables.iter();
        let (mut bytes, mut held) = (0, Vec::new());
        if !active.spans().is_empty() {
            bytes = tables().filter(|(_, t)| is_hidden(t, floor)).map(|(_, t)| t.len).sum();
            if floor < durable {
                let is_held = |t: &TableEntry| t.entries > 0 && t.highest >= floor && is_hidden(t, durable);
                held.extend(tables().filter(|(_, t)| is_held(t)).map(|(tier, t)| (tier, t.file)));
            }
        }
        drop(layers);
        core.hides = Hides { bytes, at };
        self.note_hidden(&held);
    }

    /// Range deletes hide these tables from everybody but pins.
    pub(super) fn note_hidden(&self, tables: &[(Tier, FileUid)]) {
        if !tables.is_empty() {
            let mut layers = self.layers.write();
            tables.iter().for_each(|&(tier, file)| layers.under.tables.note_hidden(tier, file));
            layers.note_held();
        }
    }

    /// Has the drop of a snapshot look again once the floor is at `at`. Whether it is there already: the caller holds the
    /// core's lock, and whoever drops one later will notice.
    pub(super) fn awaits_floor(&self, at: Option<Lsn>) -> bool {
        self.frees_at.store(at.map_or(u64::MAX, Lsn::raw), Ordering::Release);
        // A snapshot that was dropped before this lock was taken may not have seen that; one dropped later does.
        let floor = self.layers.read().active.floor();
        at.is_some_and(|at| floor >= at)
    }

    /// A snapshot was dropped, and the floor is here now; `settles` if range deletes in memory came to be seen by all, or else tables have
    /// something that nobody needs any more.
    pub(super) fn released(self: &Arc<Self>, floor: Lsn, settles: bool) {
        if settles || floor.raw() >= self.frees_at.load(Ordering::Acquire) {
            self.frees_at.store(u64::MAX, Ordering::Release);
            self.ask_for_jobs();
        }
    }
}

/// Opens the tables that are to be looked at; removes those that go.
pub(super) async fn free(space: &Arc<Incarnation>, plan: &FreePlan, under: &Under) -> Result<(), Failure> {
    for &(tier, file) in &plan.look {
        let live = under.tables.find_file(tier, file).expect("a job's tables are live");
        if let Err(failure) = live.open(&space.home).await {
            // Who needs more of it than this look is told.
            tracing::debug!(space = %space.id, ?failure, "a table could not be opened to know its range deletes");
        }
        space.core().looked.insert(file);
    }
    if plan.tables.is_empty() {
        return Ok(());
    }
    for &(tier, file) in &plan.tables {
        // Readers who came before may still want it after its name is gone.
        under.tables.find_file(tier, file).expect("a job's tables are live").open(&space.home).await?;
    }
    let edits = |core: &Core| {
        assert!(plan.applies_to(&core.current.manifest.version), "only one job takes tables away");
        plan.edits()
    };
    let install = |core: &mut Core, _: &mut Layers| {
        core.jobs.done.tables_freed += plan.tables.len() as u64;
        tracing::debug!(space = %space.id, tables = plan.tables.len(), bytes = plan.frees, "hidden tables went");
    };
    change(space, Takes::Reserve, edits, install).await.map_err(Failure::Refused)
}
