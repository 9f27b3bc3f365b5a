//! What the pins of an opening hold back, in bytes of keys and values: in memory and in tables, for them alone.
//!
//! It is the sum of notes that were made where versions were kept ([`crate::held`]), of which some holder is still there,
//! and of tables that range deletes hide from everybody else. Each version that is there counts once, however many pins
//! see it; of kinds of pins it counts for that of the lowest of its holders, and of these for the oldest. What a job has
//! yet to find out is not in it, so it is never more than what goes once the pins are gone.
use super::layers::Layers;
use super::pins::PinOwner;
use crate::held::Holders;
use crate::ids::{FileUid, Lsn};
use std::collections::BTreeMap;

/// What is held back, by holders some of which are there.
#[derive(Debug)]
pub(super) struct HeldBack(Vec<(Holders, u64)>);

impl HeldBack {
    /// Bytes, all together.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether a pin at `lsn` holds some of it.
    pub(super) fn is_held_by(&self, lsn: Lsn) -> bool {
        self.0.iter().any(|(holders, _)| holders.include(lsn))
    }

    /// Leaves out what nobody holds any more.
    pub(super) fn refresh(&mut self, layers: &Layers) {
        self.0.retain(|(holders, _)| layers.active.is_held(*holders));
    }

    /// Bytes by kind of pin, given which kind there is at which LSN.
    pub(super) fn by_owner(&self, owners: &BTreeMap<Lsn, PinOwner>) -> BTreeMap<PinOwner, u64> {
        let mut sums = BTreeMap::new();
        for (holders, bytes) in &self.0 {
            if let Some((_, owner)) = owners.range(holders.oldest..=holders.newest).next() {
                *sums.entry(*owner).or_default() += bytes;
            }
        }
        sums
    }
}

impl Layers {
    /// What pins hold back now.
    pub(super) fn held_back(&self) -> HeldBack {
        let durable = self.active.durable();
        let memtables = self.under.sealed.iter().map(|s| &*s.mem).chain([&self.active]);
        let memory = memtables.flat_map(|mem| mem.held(durable));
        // Another opening may have begun, and whoever rewrites its tables does not ask these pins.
        let asks = self.counts() && self.held_between.is_some();
        let tables = asks.then(|| self.under.tables.held()).into_iter().flatten();
        let is_held = |(holders, _): &(Holders, u64)| self.active.is_held(*holders);
        HeldBack(memory.chain(tables).filter(is_held).collect())
    }

    /// Bytes that go of each table if it is written anew: kept for pins alone, all of which are gone.
    pub(super) fn released(&self) -> BTreeMap<FileUid, u64> {
        let mut released = BTreeMap::new();
        if self.held_between.is_some() {
            for (file, holders, bytes) in self.under.tables.kept() {
                if !self.active.is_held(holders) {
                    *released.entry(file).or_default() += bytes;
                }
            }
        }
        released
    }

    /// Tables have changed, or what is known of them: notes between which pins they hold something for pins alone.
    pub(super) fn note_held(&mut self) {
        let all = self.under.tables.held().map(|(holders, _)| holders);
        self.held_between =
            all.reduce(|a, b| Holders { oldest: a.oldest.min(b.oldest), newest: a.newest.max(b.newest) });
    }

    /// Whether nobody is left at `lsn` who was, and tables may have something that only a pin there needed.
    pub(super) fn may_release(&self, lsn: Lsn) -> bool {
        let is_gone = !self.active.is_held(Holders { oldest: lsn, newest: lsn });
        is_gone && self.held_between.is_some_and(|between| between.include(lsn))
    }
}
