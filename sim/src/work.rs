//! What openings did to tables, counted when they end or the machine stops.
use crate::model::Model;
use crate::probe::Probe;
use crate::story::Story;
use bulkhead::Space;

/// Jobs of all openings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    pub flushes: u64,
    pub merges: u64,
    pub moves: u64,
    pub promotions: u64,
}

impl Work {
    /// Adds those of others.
    pub fn add(&mut self, other: Work) {
        self.flushes += other.flushes;
        self.merges += other.merges;
        self.moves += other.moves;
        self.promotions += other.promotions;
    }
}

impl Story {
    /// Another opening takes the place of the present one of `model`, or none does.
    pub fn replace_handle(&self, model: &mut Model, handle: Option<Space>) {
        let Some(old) = std::mem::replace(&mut model.handle, handle) else { return };
        let counts = old.stats().jobs;
        let mut shared = self.shared();
        shared.work.add(Work {
            flushes: counts.flushes,
            merges: counts.merges,
            moves: counts.moves,
            promotions: counts.promotions,
        });
        let happened = [
            (counts.tables_freed > 0, Probe::RangeDeleteFreed),
            (counts.promotions > 0, Probe::Promoted),
            (counts.entries_left > 0, Probe::PromotionLeft),
            (counts.promoting, Probe::PromotionNotNamed),
            (counts.rests > 0, Probe::Rested),
            (counts.rests > 1, Probe::RestedAgain),
        ];
        happened
            .into_iter()
            .filter(|(happened, _)| *happened)
            .for_each(|(_, probe)| shared.probes.hit(probe));
    }
}
