//! What snapshots and scans hold back, as the model has it: when one may be refused for the bytes that they hold back
//! together, and when one must be.
//!
//! - One that was refused for no other limit must itself show something that was overwritten or deleted since, and all
//!   that views of its opening ever showed of that must be more than its space allows.
//! - An older one that shows all of what it did, and that was overwritten, may not serve after it.
//! - After everything in a space was merged, those that still serve hold back no more than it allows. That is asked only
//!   where every tier has room, so that nothing keeps what was overwritten from meeting what overwrote it.
//!
//! Range deletes hold back tables as a whole. Where there were some, only what was ever written bounds that.
use crate::failure::{Failure, Guarantee};
use crate::model::Model;
use crate::plan::key_len;
use crate::story::Story;
use crate::views::{Kept, View};
use bulkhead::{Space, TierOptions};

/// What views may show that was overwritten by a commit, and was so up to some commit.
#[derive(Debug)]
pub struct Overwritten {
    opening: u64,
    /// First LSN, LSN of the next version, bytes of the key and value.
    versions: Vec<(u64, u64, u64)>,
}

impl Model {
    fn overwritten(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.versions().flat_map(|(key, all)| {
            let len = move |content: Option<crate::model::Content>| {
                key_len(*key) + content.map_or(0, |content| u64::from(content.len))
            };
            all.windows(2).map(move |pair| (pair[0].0, pair[1].0, len(pair[0].1)))
        })
    }

    /// Whether a view at `lsn` shows, or would show if it was a value, what was overwritten or deleted since, and what a
    /// view at `unlike` does not.
    fn holds(&self, lsn: u64, unlike: Option<u64>) -> bool {
        let shows = |(from, to): (u64, u64), at: u64| from <= at && at < to;
        self.overwritten().any(|(from, to, _)| {
            shows((from, to), lsn) && !unlike.is_some_and(|other| shows((from, to), other))
        })
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
            let views = model.views.get(&view.opening()).map_or(&[][..], |views| views);
            let shown = |from, to| views.iter().any(|lsn| (from..to).contains(lsn));
            model.overwritten().filter(|(from, to, _)| shown(*from, *to)).map(|(.., bytes)| bytes).sum()
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

    /// What was overwritten in a space by now, if everything of it can meet what it was overwritten by.
    pub(crate) fn overwritten(&self, space: usize) -> Option<Overwritten> {
        let (tiers, generous) = (self.tiers(space), TierOptions::default());
        let roomy = |of: &TierOptions| (of.hot_capacity, of.warm_capacity, of.cold_capacity);
        let model = self.model(space);
        let asks =
            self.most_held(space).is_some() && roomy(tiers) == roomy(&generous) && !model.deletes_ranges();
        asks.then(|| Overwritten { opening: model.opening, versions: model.overwritten().collect() })
    }

    /// Everything was merged since, without an error; these views may serve or not.
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
        let mut serve = Vec::new();
        for kept in kept.filter(|kept| kept.view.opening() == before.opening && kept.of == *of) {
            if self.still_serves(space, kept).await? {
                serve.push(kept.view.lsn());
            }
        }
        let model = self.model(space);
        let shown = |from, to| serve.iter().any(|lsn| (from..to).contains(lsn));
        let bytes: u64 =
            before.versions.iter().filter(|(from, to, _)| shown(*from, *to)).map(|(.., bytes)| bytes).sum();
        if bytes > most && model.opening == before.opening && !model.deletes_ranges() {
            let what = format!("{} views hold back {bytes} bytes, and {most} are allowed", serve.len());
            return Err(model.failure(Guarantee::G10Bounded, what));
        }
        Ok(())
    }
}
