//! Merging hot tables that are neighbours in age.
use super::Failure;
use super::copy::{Input, Run, Target, copy, sources, touched};
use super::write::Written;
use crate::key::KeyRange;
use crate::manifest::Tier;
use crate::plan::MergePlan;
use crate::table::{Readers, Rewrite};

/// Merges `inputs`, which stand as in the plan, the oldest first. What comes of it is one table, or none if nothing
/// stayed, or several disjoint ones, by key, where one would be larger than a table may be. Their names are durable.
///
/// # Errors
/// Of reading an input or writing a table; nothing is left of what was written then, as far as that went.
///
/// # Panics
/// If the inputs are not those of the plan.
pub async fn run(
    plan: &MergePlan,
    inputs: &[Input],
    readers: Readers,
    target: &mut Target<'_>,
) -> Result<Vec<Written>, Failure> {
    assert!(inputs.iter().map(|input| input.entry.file).eq(plan.inputs.iter().copied()), "the plan's inputs");
    let newest_first: Vec<_> = inputs.iter().rev().collect();
    let (merge, tombstones) = sources(&newest_first, &KeyRange::all())?;
    let mut rewrite = Rewrite::new(merge, tombstones.concat(), readers);
    let run = Run { tier: Tier::Hot, bytes: u64::MAX, touched_ms: touched(inputs.iter()) };
    let written = copy(&mut rewrite, &newest_first, &plan.below, target, run).await?;
    target.sync(Tier::Hot, written).await
}
