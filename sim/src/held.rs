//! What snapshots and scans hold back, as the model has it: when one may be refused for the bytes that they hold back
//! together, and when one must be.
//!
//! - One that was refused for no other limit must itself show something that was overwritten or deleted since, and all
//!   that views of its opening ever showed of that must be more than its space allows.
//! - Where all that was flushed lies in one table, all that was overwritten has met what overwrote it. Those that still serve
//!   hold back no more of it than is allowed, and one that holds back some of it counts from then on: it may not serve after a
//!   younger one, taken since, has expired for its bytes.
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

    /// Whether a view at `lsn` shows, or would show if it was a value, what was overwritten or deleted since.
    fn holds(&self, lsn: u64) -> bool {
        self.overwritten().any(|v| v.is_shown(lsn))
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
        2 * bytes > most && (ranges || model.holds(view.lsn()))
    }

    /// A view serves, after whatever expired by now.
    ///
    /// # Errors
    /// A younger one had to make room for it.
    pub(crate) fn outlives(&self, space: usize, view: &View) -> Result<(), Failure> {
        let model = self.model(space);
        let Some(since) = model.counted.get(&view.name()).filter(|_| !model.deletes_ranges()) else {
            return Ok(());
        };
        let mut expired = model.expired_for_bytes.iter();
        if let Some(younger) = expired.find(|other| other.is_younger(view) && other.taken() >= *since) {
            let what = format!(
                "{younger:?} expired for its bytes, and {view:?} serves, which held some back before"
            );
            return Err(model.failure(Guarantee::G5Reads, what));
        }
        Ok(())
    }

    /// Of these views, which are given by age, those that serve.
    ///
    /// # Errors
    /// As [`Story::outlives`], and of the looks.
    pub(crate) async fn serving<'a>(
        &self,
        space: usize,
        kept: impl DoubleEndedIterator<Item = &'a Kept>,
    ) -> Result<Vec<View>, Failure> {
        let mut serving = Vec::new();
        // The youngest first: whatever serves behind one that has expired has outlived it.
        for kept in kept.rev() {
            if self.still_serves(space, kept).await? {
                self.outlives(space, &kept.view)?;
                serving.push(kept.view);
            }
        }
        Ok(serving)
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
        kept: impl DoubleEndedIterator<Item = &'a Kept>,
    ) -> Result<(), Failure> {
        let Some(most) = self.most_held(space) else { return Ok(()) };
        let stats = of.stats();
        if stats.tiers.iter().map(|tier| tier.tables).sum::<usize>() > 1 {
            return Ok(());
        }
        let (flushed, counted_at) = (stats.log.flushed.raw(), self.world.now());
        let met = || before.versions.iter().copied().filter(|v| v.newer <= flushed);
        let of_it = kept.filter(|kept| kept.view.opening() == before.opening && kept.of == *of);
        let serving = self.serving(space, of_it).await?;
        let mut model = self.model(space);
        for view in serving.iter().filter(|view| shown(met(), &[view.lsn()]) > 0) {
            model.counted.entry(view.name()).or_insert(counted_at);
        }
        let serve: Vec<u64> = serving.iter().map(View::lsn).collect();
        let bytes = shown(met(), &serve);
        if bytes > most && model.opening == before.opening && !model.deletes_ranges() {
            let views = serve.len();
            let what = format!("{views} views hold back {bytes} bytes, and {most} are allowed");
            return Err(model.failure(Guarantee::G10Bounded, what));
        }
        Ok(())
    }
}
