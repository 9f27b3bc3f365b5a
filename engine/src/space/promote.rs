//! Promotions: the look of [`crate::work::promote`] into live tables, and its outcome put in effect.
//!
//! The look goes into the tables that there are when the job begins. No other job changes any until its edit, and what
//! flushes add meanwhile stays above the copies: the proof is in [`crate::plan`]. What is in memory need not be looked at.
use super::change::change_tables;
use super::incarnation::{Core, Incarnation};
use super::jobs::Failure;
use super::layers::{Layers, Under};
use crate::cache::Use;
use crate::ids::Lsn;
use crate::mutants;
use crate::plan::promote::{Kind, Newest, PromotePlan, Wanted, edits};
use crate::work::Target;
use crate::work::promote::{Look, Looking, Seen, run};
use std::sync::Arc;

/// Looks into the tables of one moment.
#[derive(Debug)]
struct InTables<'a> {
    space: &'a Incarnation,
    under: &'a Under,
}

impl Look for InTables<'_> {
    fn newest<'a>(&'a mut self, wanted: &'a Wanted) -> Looking<'a> {
        Box::pin(async move {
            let reads = self.space.reads(Use::Point);
            let mut at = Lsn::from_raw(u64::MAX);
            if mutants::on("promotion-without-newest-check") {
                at = wanted.lsn;
            }
            let mut hit = self.under.tables.find(reads, &wanted.key, at).await?;
            while let Some(delete) = hit.as_ref().filter(|hit| hit.value.is_none())
                && mutants::on("promotion-blind-to-tombstone")
            {
                let before = Lsn::from_raw(delete.lsn.raw() - 1);
                hit = self.under.tables.find(reads, &wanted.key, before).await?;
            }
            Ok(hit.map(|hit| {
                let kind = if hit.value.is_some() { Kind::Value } else { Kind::Delete };
                let newest = Newest { lsn: hit.lsn, kind, tier: hit.tier };
                Seen { newest, priority: hit.priority, value: hit.value.unwrap_or_default().into_bytes() }
            }))
        })
    }
}

/// Carries out `plan` over the tables of `under`, those of now.
pub(super) async fn promote(
    space: &Arc<Incarnation>,
    plan: &PromotePlan,
    under: &Under,
    target: &mut Target<'_>,
) -> Result<(), Failure> {
    let above = under.tables.hot.first().map(|newest| newest.entry.file);
    let mut look = InTables { space, under };
    let promoted = run(plan, &mut look, target, space.wall_ms()).await?;
    space.core().jobs.done.entries_left += promoted.left;
    let Some(written) = promoted.table else { return Ok(()) };
    let (entry, entries) = (written.entry.clone(), written.entry.entries);
    space.core().jobs.done.promoting = true;
    let install = |core: &mut Core, _: &mut Layers| {
        core.jobs.done.promotions += 1;
        core.jobs.done.entries_promoted += entries;
    };
    let changed = change_tables(space, vec![written], |_| edits(entry, above), install).await;
    space.core().jobs.done.promoting = false;
    changed.map_err(Failure::Refused)
}
