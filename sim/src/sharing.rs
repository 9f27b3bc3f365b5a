//! What spaces hold in the cache that they share: whoever reads takes nothing from another that holds no more than its share.
use crate::failure::{Failure, Guarantee};
use crate::story::Story;
use bulkhead::SpaceState;
use bulkhead::limits::CACHE_PIECE_MAX;

/// What a space was seen to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Of which space of its id, and which opening of it.
    of: (u64, u64),
    bytes: u64,
    /// What the space had done by then.
    activity: u64,
}

impl Story {
    /// Bytes that each space keeps in the cache whatever others read: its share, or what is left of an equal part of all less
    /// an eighth and one piece. `None` where the cache is not so small that anybody could take from another.
    fn kept_in_cache(&self) -> Option<u64> {
        let options = &self.run.options;
        let (budget, spaces) = (options.cache_bytes, self.len() as u64);
        let part = budget / spaces;
        let piece = CACHE_PIECE_MAX.min(budget / 8);
        let kept = (part - part / 8).saturating_sub(piece).min(options.cache_share_bytes);
        (kept > 0 && budget < CACHE_PIECE_MAX).then_some(kept)
    }

    /// Looks at what every space holds: where one did nothing since the last look and holds less now, others took it.
    ///
    /// # Errors
    /// They left it less than its share.
    pub fn look_at_cache(&self) -> Result<(), Failure> {
        let Some(kept) = self.kept_in_cache() else { return Ok(()) };
        for space in 0..self.len() {
            let before = self.shared().cache.remove(&space);
            let activity = self.world.activity(self.owner(space));
            let model = self.model(space);
            let Some(handle) = model.handle.as_ref().filter(|h| matches!(h.state(), SpaceState::Open)) else {
                continue;
            };
            let bytes = handle.stats().cache.bytes;
            let now = Seen { of: (model.generation, model.opening), bytes, activity };
            let taken = before.is_some_and(|b| Seen { bytes, ..b } == now && bytes < b.bytes);
            if taken && bytes < kept {
                let what =
                    format!("others read, and of {before:?} left {bytes} bytes in the cache, not {kept}");
                return Err(model.failure(Guarantee::G3Isolation, what));
            }
            drop(model);
            self.shared().cache.insert(space, now);
        }
        Ok(())
    }
}
