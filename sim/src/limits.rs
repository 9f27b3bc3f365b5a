//! The limits of spaces: no more is let in than they allow, and nothing is refused for good that they allow.
use crate::failure::{Failure, Guarantee};
use crate::model::Model;
use crate::plan::{PUT_IN_PEACE, key_len};
use crate::probe::Probe;
use crate::story::Story;
use bulkhead::{Amount, TierOptions};

/// The longest batch or value of a client, and more than any key: what a put may add at most.
const ONE_PUT: u64 = 1 << 20;

/// What the one put of the quiet phase adds.
fn put_in_peace() -> Amount {
    let (key, len) = PUT_IN_PEACE;
    Amount { entries: 1, bytes: key_len(key) + u64::from(len) }
}

impl Model {
    /// What a reader sees now.
    #[must_use]
    pub fn live(&self) -> Amount {
        let seen = self.state(u64::MAX);
        let bytes = |(key, content): (&u16, &crate::model::Content)| key_len(*key) + u64::from(content.len);
        Amount { entries: seen.len() as u64, bytes: seen.iter().map(bytes).sum() }
    }

    /// All versions that were ever written and not lost.
    #[must_use]
    pub fn written(&self) -> Amount {
        let of = self.versions().map(|(key, all)| (key_len(*key), all));
        let versions = of.flat_map(|(key, all)| all.iter().map(move |v| (key, v.1)));
        versions.fold(Amount::default(), |sum, (key, content)| {
            let value = content.map_or(0, |content| u64::from(content.len));
            sum.plus(Amount { entries: u64::from(content.is_some()), bytes: key + value })
        })
    }
}

impl Story {
    /// Tiers of a space: its own, or those of all.
    pub(crate) fn tiers(&self, space: usize) -> &TierOptions {
        let options = &self.run.options;
        options.spaces.get(&self.run.spaces[space]).unwrap_or(&options.tiers)
    }

    /// What a space may hold: entries in all tiers, and bytes as its quota says.
    fn most(&self, space: usize) -> Amount {
        let tiers = self.tiers(space);
        let all = tiers.hot_capacity.plus(tiers.warm_capacity).plus(tiers.cold_capacity);
        let quota = if tiers.quota_bytes > 0 { tiers.quota_bytes } else { u64::MAX };
        Amount { bytes: all.bytes.min(quota), ..all }
    }

    /// A put was let in.
    ///
    /// # Errors
    /// The space holds more than it may.
    pub fn let_in(&self, space: usize) -> Result<(), Failure> {
        let (most, model) = (self.most(space), self.model(space));
        let live = model.live();
        if !live.fits(most) {
            let what = format!("a put was let in, and now it holds {live:?} of {most:?}");
            return Err(model.failure(Guarantee::G10Bounded, what));
        }
        let found = !model.written().fits(most);
        drop(model);
        if found {
            self.hit(Probe::RoomFound);
        }
        Ok(())
    }

    /// Whether a put may have been refused for want of room.
    #[must_use]
    pub fn may_be_full(&self, space: usize) -> bool {
        let (most, cold) = (self.most(space), self.tiers(space).cold_capacity);
        let model = self.model(space);
        let quiet = self.shared().is_quiet;
        let (there, adds) = match quiet {
            // Nobody reads what was before, and nothing else is under way: only what is live counts.
            true => (model.live(), put_in_peace()),
            // What was promoted is there twice.
            false => (model.written().plus(model.written()), Amount { entries: 64, bytes: ONE_PUT }),
        };
        drop(model);
        self.hit(if quiet { Probe::FullForGood } else { Probe::Full });
        if self.run.options.spaces.contains_key(&self.run.spaces[space]) {
            self.hit(Probe::FullByItsOwn);
        }
        let there = there.plus(adds);
        !there.fits(most) || there.entries > cold.entries
    }
}
