//! Moving keys one tier down.
//!
//! Upper inputs and the tables of the lower tier are merged; upper ones are newer. A move of everything is one pass. A move
//! of deletes is two: what goes down is written first, then what stays up is read again and written. The second pass
//! reads upper inputs alone, and there is no other way to tell whether a key's newest version is a delete before
//! the versions of its neighbours are written.
//!
//! # What is left of an input
//! Of an input that reaches beyond what was taken an entry is made with the upper part of its range. Its numbers are
//! the old ones less all versions in front of where the move stopped, every one of which passed through the merge, kept or
//! not: so they are exact as long as the old ones were, which is so from the footer on. Range tombstones are counted
//! anew, since one may lie on both sides. How many versions are hidden is an upper bound from then on. Its LSNs, priority and time stay what they were for the whole.
use super::Failure;
use super::copy::{Input, Run, Target, clipped, copy, sources, touched};
use super::write::{Written, give_up};
use crate::key::KeyRange;
use crate::manifest::{TableEntry, Tier};
use crate::plan::{MovePlan, Moved, Take};
use crate::table::{Below, Choice, Part, RangeTombstone, Readers, Rewrite, Taken};

/// A move that was carried out; no manifest knows of it yet.
#[derive(Debug)]
pub struct Done {
    pub moved: Moved,
    /// The tables that [`Moved::moved`] and then [`Moved::kept`] name. The names are durable.
    pub tables: Vec<Written>,
}

/// Carries out `plan`. The inputs stand as in the plan: of hot the oldest first.
///
/// # Errors
/// Of reading an input or writing a table; nothing is left of what was written then, as far as that went.
///
/// # Panics
/// If the inputs are not those of the plan.
pub async fn run(
    plan: &MovePlan,
    upper: &[Input],
    lower: &[Input],
    readers: Readers,
    target: &mut Target<'_>,
) -> Result<Done, Failure> {
    assert!(upper.iter().map(|input| input.entry.file).eq(plan.upper.iter().copied()), "the upper inputs");
    assert!(lower.iter().map(|input| input.entry.file).eq(plan.lower.iter().copied()), "the lower inputs");
    // Of a hot table that was trimmed since its range was looked at nothing may be left in the slice.
    let meets = |input: &&Input| input.entry.range.overlaps(&plan.range);
    let mut inputs: Vec<_> = upper.iter().rev().filter(meets).collect();
    let count = inputs.len();
    inputs.extend(lower.iter().filter(meets));
    let down = Down { plan, inputs: &inputs, upper: count, readers: &readers };
    let (tables, stop, passed) = down.take(target).await?;
    let mut tables = target.sync(plan.to, tables).await?;
    let mut moved = Moved { stop, moved: entries(&tables), ..Moved::default() };
    if plan.take == Take::Deletes {
        let kept = match down.keep(target).await {
            Ok(kept) => target.sync(plan.from, kept).await,
            failed => failed,
        };
        match kept {
            Ok(kept) => {
                moved.kept = entries(&kept);
                tables.extend(kept);
            }
            Err(why) => return give_up(tables, why).await,
        }
    }
    let taken = plan.taken(moved.stop.as_deref());
    let rest = inputs.iter().zip(passed).filter_map(|(input, passed)| rest(input, &taken, passed));
    moved.rest = rest.collect();
    Ok(Done { moved, tables })
}

fn entries(tables: &[Written]) -> Vec<TableEntry> {
    tables.iter().map(|table| table.entry.clone()).collect()
}

/// What is left of `input` once `taken` is gone, of which so much passed by.
fn rest(input: &Input, taken: &KeyRange, passed: Taken) -> Option<TableEntry> {
    let old = &input.entry;
    let range =
        taken.upper().filter(|_| old.range.overlaps(taken)).and_then(|end| old.range.starting_at(end))?;
    let entries = old.entries.saturating_sub(passed.values + passed.deletes);
    Some(TableEntry {
        entries,
        tombstones: old.tombstones.saturating_sub(passed.deletes).min(entries),
        range_tombstones: clipped(input.open.table.extent().tombstones(), &range).len() as u64,
        hidden: old.hidden.min(entries),
        bytes: old.bytes.saturating_sub(passed.bytes),
        range,
        ..old.clone()
    })
}

/// The passes over the inputs of a move.
#[derive(Debug, Clone, Copy)]
struct Down<'a> {
    plan: &'a MovePlan,
    /// Newest first.
    inputs: &'a [&'a Input],
    /// So many of them are upper ones.
    upper: usize,
    readers: &'a Readers,
}

impl Down<'_> {
    /// Writes what goes down; also says where it stopped, and what passed by of each input.
    async fn take(
        self,
        target: &mut Target<'_>,
    ) -> Result<(Vec<Written>, Option<Vec<u8>>, Vec<Taken>), Failure> {
        let Down { plan, inputs, upper, readers } = self;
        let (merge, tombstones) = sources(inputs, &plan.range)?;
        let rewrite = Rewrite::new(merge, tombstones.concat(), readers.clone());
        let mut rewrite = match plan.take {
            Take::All => {
                let most = Taken { values: plan.most.entries, deletes: u64::MAX, bytes: plan.most.bytes };
                rewrite.choosing(Choice { upper, part: Part::All, most: Some(most) })
            }
            Take::Deletes => {
                let floor = readers.lowest();
                let goes = |source: usize, t: &RangeTombstone| source >= upper || t.lsn <= floor;
                rewrite
                    .choosing(Choice { upper, part: Part::Deleted { floor }, most: None })
                    .writing(chosen(&tombstones, goes))
            }
        };
        let run = self.run(plan.to, plan.table_bytes);
        let written = copy(&mut rewrite, inputs, &plan.below, target, run).await?;
        Ok((written, rewrite.stop().map(|stop| stop.to_vec()), rewrite.passed().to_vec()))
    }

    /// Writes what stays up after deletes went down.
    async fn keep(self, target: &mut Target<'_>) -> Result<Vec<Written>, Failure> {
        let Down { plan, readers, .. } = self;
        let (inputs, floor) = (&self.inputs[..self.upper], readers.lowest());
        let (merge, tombstones) = sources(inputs, &plan.range)?;
        let written = chosen(&tombstones, |_, t| t.lsn > floor);
        let choice = Choice { upper: self.upper, part: Part::Others { floor }, most: None };
        let rewrite = Rewrite::new(merge, tombstones.concat(), readers.clone());
        let mut rewrite = rewrite.choosing(choice).writing(written);
        let bytes = if plan.from == Tier::Hot { u64::MAX } else { plan.table_bytes };
        copy(&mut rewrite, inputs, &Below::MayHold, target, self.run(plan.from, bytes)).await
    }

    fn run(self, tier: Tier, bytes: u64) -> Run {
        Run { tier, bytes, touched_ms: touched(self.inputs.iter().copied()) }
    }
}

/// The range tombstones, given by source, that `goes` is true of.
fn chosen(
    tombstones: &[Vec<RangeTombstone>],
    goes: impl Fn(usize, &RangeTombstone) -> bool,
) -> Vec<RangeTombstone> {
    let all = tombstones.iter().enumerate().flat_map(|(source, all)| all.iter().map(move |t| (source, t)));
    all.filter(|(source, t)| goes(*source, t)).map(|(_, t)| t.clone()).collect()
}
