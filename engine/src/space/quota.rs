//! Room within a space's limits: its quota of bytes, and the capacities of its tiers. The limits themselves are in
//! [`crate::plan::capacity`].
//!
//! What a space uses is told by its manifest and its memtables; no counter is kept beside them that could be wrong after
//! a crash. Counting takes a walk over the tables, so what is left is remembered, and counted again only once puts may
//! have used that up, or tables have changed.
//!
//! Versions that were overwritten or deleted count until they are merged away. So a put that finds no room waits for a
//! *search*: the memtable is flushed and tables move down as long as something may be found, and only then the put is
//! refused.
use super::admission::Admission;
use super::incarnation::{Core, Incarnation, Phase};
use crate::config::{Amount, TierOptions};
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::mutants;
use crate::plan::capacity::{Puts, admit, left};
use std::sync::Arc;
use std::task::Waker;

/// What an opening remembers of its limits.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// What puts may add before it is counted again: never more than there is.
    left: Amount,
    /// What a promotion under way may add.
    on_its_way: Amount,
    /// Somebody waits for a search: flushes and moves are to get rid of what is not needed.
    search: Option<Search>,
    /// How many searches have ended.
    ended: u64,
    /// Up to which commit the last one searched, and the lowest reader then. With both the same another finds nothing.
    searched: Option<(Lsn, Lsn)>,
    /// Why the last one did not come to its end.
    failed: Option<Error>,
}

/// A search for what is not needed of commits up to one.
#[derive(Debug, Clone, Copy)]
struct Search {
    since: Lsn,
    /// What it began with is in memory still.
    in_memory: bool,
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

    /// How many searches have ended once one has that began from now on. One that is under way may have passed by already
    /// what was written since it began.
    fn next_whole(&self) -> u64 {
        self.ended + 1 + u64::from(self.search.is_some())
    }

    /// What planners of jobs are told of puts.
    pub(super) fn puts(&self) -> Puts {
        self.search.map_or(Puts::Fit, |search| Puts::Wait { since: search.since })
    }

    /// What planners of flushes are told: a search has one memtable sealed, not every one that comes after it.
    pub(super) fn puts_in_memory(&self) -> Puts {
        if self.search.is_some_and(|s| s.in_memory) { self.puts() } else { Puts::Fit }
    }

    /// The memtable was sealed.
    pub(super) fn sealed(&mut self) {
        if let Some(search) = &mut self.search {
            search.in_memory = false;
        }
    }

    /// A commit was ordered that adds `adds`.
    pub(super) fn used(&mut self, adds: Amount) {
        self.left = self.left.minus(adds);
    }

    /// A promotion that may add so much is under way; none if that is nothing. Whoever finds no room beside it waits, as for
    /// any job.
    pub(super) fn promotes(&mut self, adds: Amount) {
        self.on_its_way = adds;
        self.searched = None;
        self.forget();
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
        let tiers = &*self.tiers();
        let (memory, now) = {
            let layers = self.layers.read();
            let taken = layers.holds().plus(core.quota.on_its_way);
            (taken, (layers.last(), layers.active.floor()))
        };
        let tables = &core.current.manifest.version.tables;
        let Err(full) = admit(tiers, tables, memory, adds) else {
            core.quota.left = left(tiers, tables, memory);
            return Ok(true);
        };
        let quota = &mut core.quota;
        let enough = *admission.searched_by.get_or_insert_with(|| quota.next_whole());
        let vain = quota.ended >= enough || quota.searched == Some(now) || !full.could_fit(adds);
        if vain || mutants::on("room-not-looked-for") {
            return Err(Error::from(full).in_space(&self.id));
        }
        core.begin_search();
        Ok(false)
    }

    pub(super) fn set_tiers(self: &Arc<Self>, tiers: TierOptions) -> Result<()> {
        let mut wakers = Vec::new();
        let mut core = self.core();
        if let Phase::Deleting | Phase::Gone(_) = core.phase {
            self.writable(&core)?;
        }
        if core.ended {
            return Err(self.closed().advice("Open the space again, and change those of that opening."));
        }
        *self.tiers.write() = self.context.tiers.change(&self.context.config, &self.id, tiers)?;
        core.quota.forget();
        core.jobs.look_again();
        // There may be room now for those who wait for some.
        core.room.changed(None, &mut wakers);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        // What it allows of snapshots counts for those that there are.
        self.expire_pins();
        self.wake_driver();
        Ok(())
    }

    /// Gets rid of versions that nobody can read any more: flushes what is in memory and moves tables down as long as
    /// they may hide something.
    pub(crate) async fn compact(self: &Arc<Self>) -> Result<()> {
        let enough = self.core().quota.next_whole();
        loop {
            let seen = {
                let mut core = self.core();
                self.writable(&core)?;
                if core.quota.ended >= enough {
                    return core.quota.failed.clone().map_or(Ok(()), Err);
                }
                core.begin_search();
                core.room.changes
            };
            self.wake_driver();
            // What failed on the way is told at the end.
            let _ = self.room_changed(seen).await;
        }
    }

    /// Nothing is under way that could make room for puts: those that wait find out whether there is some.
    pub(super) fn settles_room(&self, core: &mut Core, wakers: &mut Vec<Waker>) -> bool {
        let Some(search) = core.quota.search else { return false };
        let unloads = if search.in_memory { self.unloads(core) } else { self.flushes(core) };
        if core.jobs.under_way || unloads {
            return false;
        }
        let (floor, in_memory) = {
            let layers = self.layers.read();
            (layers.active.floor(), search.in_memory && layers.active.bytes() > 0)
        };
        let no_log = core.log_failed.as_ref().filter(|_| in_memory && core.line.needs_spare());
        let failed = core.jobs.failed.as_ref().or(core.flush_failed.as_ref()).map(|(error, _)| error);
        let failed = failed.or(no_log).cloned();
        let quota = &mut core.quota;
        quota.search = None;
        quota.ended += 1;
        // What failed on the way may find something once it is tried again.
        quota.searched = failed.is_none().then_some((search.since, floor));
        quota.failed = failed;
        core.room.changed(None, wakers);
        true
    }
}

impl Core {
    fn begin_search(&mut self) {
        if self.quota.search.is_none() {
            self.quota.search = Some(Search { since: self.line.last(), in_memory: true });
            self.jobs.look_again();
            // Whoever searches asks for log space, too, where memory cannot be flushed without.
            self.log_failed = None;
        }
    }
}
