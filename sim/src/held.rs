//! What snapshots and scans hold back, as the model has it: when one may be refused for the bytes that they hold back
//! together, and when one must be.
//!
//! - One that was refused for no other limit must itself show something that was overwritten or deleted since, and all
//!   that views of its opening ever showed of that must be more than its space allows.
//! - An older one that shows all of what it did, and that was overwritten, may not serve after it.
//! - Where all that was flushed lies in one table, those that still serve hold back no more of it than is allowed: all that
//!   was overwritten has met what overwrote it.
//!
//! Range deletes hold back tables as a whole. Where there were some, only what was ever written bounds that.
use crate::failure::{Failure, Guarantee};
use crate::model::Model;
use crate::plan::key_len;
use crate::story::Story;
use crate::views::{Kept, View};
use bulkhead::{Space, TierOptions};

/// A version that is not the newest.
#[derive(Debug, Clone, Copy)]
struct Version {
    lsn: u64,
    /// The next one of its key.
    newer: u64,
    /// Bytes of the key and value.
    bytes: u64,
    is_delete: bool,
}

impl Version {
    fn is_shown(self, at: u64) -> bool {
        self.lsn <= at && at < self.newer
    }
}

/// Bytes of those that a view at some of these LSNs shows.
fn shown(versions: impl Iterator<Item = Version>, at: &[u64]) -> u64 {
    versions.filter(|v| at.iter().any(|at| v.is_shown(*at))).map(|v| v.bytes).sum()
}

/// Values that were overwritten or deleted by some moment.
#[derive(Debug)]
pub struct Overwritten {
    opening: u64,
    versions: Vec<Version>,
}

impl Model {
    fn overwritten(&self) -> impl Iterator<Item = Version> {
        self.versions().flat_map(|(key, all)| {
            all.windows(2).map(|pair| {
                let ((lsn, content), (newer, _)) = (pair[0], pair[1]);
                let bytes = key_len(*key) + content.map_or(0, |content| u64::from(content.len));
                Version { lsn, newer, bytes, is_delete: content.is_none() }
            })
        })
    }

    /// Whether a view at `lsn` shows, or would show if it was a value, what was overwritten or deleted since, and what a
    /// view at `unlike` does not.
    fn holds(&self, lsn: u64, unlike: Option<u64>) -> bool {
        self.overwritten().any(|v| v.is_shown(lsn) && !unlike.is_some_and(|other| v.is_shown(other)))
    }
}

impl Story {
    /// Most bytes that views of a space may hold back, if they are few.
    pub(crate) fn most_held(&self, space: usize) -> Option<u64> {
        let most = self.tiers(space).snapshot_bytes;
        (most > 0 && most < TierOptions::default().snapshot_bytes).then_some(most)
    }

    /// Whether a view may have expired for the bytes that it and others held back.
    pub(crate) fn explained_by_bytes(&self, space: usize, view: &View) -> bool {
        let Some(most) = self.most_held(space) else { return false };
        let model = self.model(space);
        if model.opening != view.opening() {
            // What it held back then may be lost since.
            return true;
        }
        let ranges = model.deletes_ranges();
        let bytes = if ranges {
            model.written().bytes
        } else {
            shown(model.overwritten(), model.views.get(&view.opening()).map_or(&[], |views| views))
        };
        // What was promoted is there twice.
        2 * bytes > most && (ranges || model.holds(view.lsn(), None))
    }

    /// A view served all that it shows, after whatever expired by now.
    ///
    /// # Errors
    /// A younger one had to make room for it.
    pub(crate) fn outlives(&self, space: usize, view: &View) -> Result<(), Failure> {
        let model = self.model(space);
        if model.deletes_ranges() || model.opening != view.opening() {
            return Ok(());
        }
        let younger = model.expired_for_bytes.iter().filter(|other| other.is_younger(view));
        for other in younger {
            if !model.holds(other.lsn(), Some(view.lsn())) {
                let what = format!("{other:?} expired for the bytes held back, and {view:?} serves");
                return Err(model.failure(Guarantee::G5Reads, what));
            }
        }
        Ok(())
    }

    /// What was overwritten in a space by now, if that is to be asked.
    pub(crate) fn overwritten(&self, space: usize) -> Option<Overwritten> {
        let model = self.model(space);
        let asks = self.most_held(space).is_some() && !model.deletes_ranges();
        // A delete stays only where it has something to hide.
        let values = || model.overwritten().filter(|v| !v.is_delete).collect();
        asks.then(|| Overwritten { opening: model.opening, versions: values() })
    }

    /// Everything was to be merged since; these views may serve or not.
    ///
    /// # Errors
    /// Those that do hold back more than the space allows.
    pub(crate) async fn are_within_bytes<'a>(
        &self,
        space: usize,
        of: &Space,
        before: &Overwritten,
        kept: impl Iterator<Item = &'a Kept>,
    ) -> Result<(), Failure> {
        let Some(most) = self.most_held(space) else { return Ok(()) };
        let stats = of.stats();
        if stats.tiers.iter().map(|tier| tier.tables).sum::<usize>() > 1 {
            return Ok(());
        }
        let met = before.versions.iter().copied().filter(|v| v.newer <= stats.log.flushed.raw());
        let mut serve = Vec::new();
        for kept in kept.filter(|kept| kept.view.opening() == before.opening && kept.of == *of) {
            if self.still_serves(space, kept).await? {
                serve.push(kept.view.lsn());
            }
        }
        let model = self.model(space);
        let bytes = shown(met, &serve);
        if bytes > most && model.opening == before.opening && !model.deletes_ranges() {
            let views = serve.len();
            let what = format!("{views} views hold back {bytes} bytes, and {most} are allowed");
            return Err(model.failure(Guarantee::G10Bounded, what));
        }
        Ok(())
    }
}
