//! Reads that make work: entries read repeatedly below hot, and tables that have come of age meanwhile.
//!
//! A space without a task has nobody to look at a clock, so its readers do. A read that a table answered knows the minute
//! anyway; the first one of a minute, and one that makes an entry wanted in hot, ask for jobs, and start the driver if it
//! does not run. All others take no lock but that of the counts, and only where a table below hot answered them. A space
//! that nobody reads or writes stays without a task and a timer, however old its tables become.
use super::incarnation::{Core, Incarnation, Phase};
use super::tables::Hit;
use crate::manifest::Tier;
use crate::plan::heat::{Asks, Read};
use crate::sync::Ordering;
use std::sync::Arc;

impl Incarnation {
    /// A table answered a point read.
    pub(super) fn note_read(self: &Arc<Self>, key: &[u8], hit: &Hit) {
        let asks = self.counts(key, hit);
        let first = self.asked_ms.load(Ordering::Relaxed) != hit.at_ms
            && self.asked_ms.swap(hit.at_ms, Ordering::Relaxed) != hit.at_ms;
        if asks == Asks::Yes || first {
            self.ask_for_jobs();
        }
    }

    fn counts(&self, key: &[u8], hit: &Hit) -> Asks {
        let Some(value) = &hit.value else { return Asks::No };
        let tiers = self.tiers();
        let tiers = tiers.get();
        if hit.tier == Tier::Hot || tiers.promote_reads == 0 {
            return Asks::No;
        }
        let bytes = (key.len() + value.len()) as u64;
        let read = Read { key, lsn: hit.lsn, tier: hit.tier, bytes, now_ms: hit.at_ms };
        self.heat.lock().note(tiers, read)
    }

    /// There may be something to do: the driver looks, also if it has ended.
    pub(super) fn ask_for_jobs(self: &Arc<Self>) {
        let mut core = self.core();
        if !matches!(core.phase, Phase::Open) {
            return;
        }
        core.jobs.look_again();
        let starts = self.must_start_driver(&mut core);
        let waker = core.take_driver_waker();
        drop(core);
        if starts {
            self.start_driver();
        } else if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A tick of the driver: once a minute ages are looked at again.
    pub(super) fn minute_passes(&self, core: &mut Core) {
        let now_ms = self.wall_ms();
        if self.asked_ms.swap(now_ms, Ordering::Relaxed) != now_ms {
            core.jobs.look_again();
        }
    }
}
