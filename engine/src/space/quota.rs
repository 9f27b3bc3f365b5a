//! Room within a space's limits: its quota of bytes, and the capacities of its tiers. The limits themselves are in
//! [`crate::plan::capacity`].
//!
//! What a space uses is told by its manifest and its memtables; no counter is kept beside them that could be wrong after
//! a crash. Counting takes a walk over the tables, so what is left is remembered, and counted again only once puts may
//! have used that up, or tables have changed.
//!
//! Versions that were overwritten or deleted count until they are merged away. So a put that finds no room waits once: the
//! memtable is flushed and tables move down as long as something may be found, and only then the put is refused.
use super::admission::Admission;
use super::incarnation::{Core, Incarnation};
use crate::config::Amount;
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::mutants;
use crate::plan::capacity::{Puts, admit, left};
use std::task::Waker;

/// What an opening remembers of its limits.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// What puts may add before it is counted again: never more than there is.
    left: Amount,
    /// A put waits: flushes and moves are to find out whether there is room.
    wanted: bool,
    /// How often they did.
    rounds: u64,
    /// The last commit and the lowest reader at the end of the last round. With both the same, another one finds nothing.
    round_at: Option<(Lsn, Lsn)>,
}

impl Quota {
    /// Of an opening that has counted nothing yet.
    pub(super) fn new() -> Quota {
        let mut quota = Quota::default();
        if mutants::on("quota-not-rebuilt") {
            quota.left = Amount { entries: u64::MAX, bytes: u64::MAX };
        }
        quota
    }

    /// What planners are told of puts.
    pub(super) fn puts(&self) -> Puts {
        if self.wanted { Puts::Wait } else { Puts::Fit }
    }

    /// A commit was ordered that adds `adds`.
    pub(super) fn used(&mut self, adds: Amount) {
        self.left = self.left.minus(adds);
    }

    /// Tables have changed: what is left has to be counted again.
    pub(super) fn forget(&mut self) {
        self.left = Amount::default();
    }
}

impl Incarnation {
    /// Whether puts that add `adds` fit. If not the caller waits, with the driver awake.
    ///
    /// # Errors
    /// `Rejected(QuotaExceeded)`: they do not, and nothing was found that is not needed any more.
    pub(super) fn fits(&self, core: &mut Core, adds: Amount, admission: &mut Admission) -> Result<bool> {
        if adds.fits(core.quota.left) {
            return Ok(true);
        }
        let tiers = self.context.config.tiers();
        let (memory, now) = {
            let layers = self.layers.read();
            (layers.holds(), (layers.last(), layers.active.floor()))
        };
        let tables = &core.current.manifest.version.tables;
        let Err(full) = admit(tiers, tables, memory, adds) else {
            core.quota.left = left(tiers, tables, memory);
            return Ok(true);
        };
        let quota = &mut core.quota;
        let asked = *admission.asked_for_room.get_or_insert(quota.rounds);
        let vain = asked != quota.rounds || quota.round_at == Some(now) || !full.could_fit(adds);
        if vain || mutants::on("room-not-looked-for") {
            return Err(Error::from(full).in_space(&self.id));
        }
        if !std::mem::replace(&mut quota.wanted, true) {
            core.jobs.look_again();
        }
        Ok(false)
    }

    /// Nothing is under way that could make room for puts: those that wait find out whether there is some.
    pub(super) fn settles_room(&self, core: &mut Core, wakers: &mut Vec<Waker>) -> bool {
        if !core.quota.wanted || core.jobs.under_way || self.unloads(core) {
            return false;
        }
        let layers = self.layers.read();
        let quota = &mut core.quota;
        quota.wanted = false;
        quota.rounds += 1;
        quota.round_at = Some((layers.last(), layers.active.floor()));
        drop(layers);
        core.room.changed(None, wakers);
        true
    }
}
