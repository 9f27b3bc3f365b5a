//! What merges and moves have in common: reading live tables, copying what stays of them, naming what is written.
use super::table::{OpenTable, read_bytes, read_piece};
use super::write::{NewTable, TableWriter, Written, give_up, sync_dir};
use super::{Failure, yield_now};
use crate::env::Dir;
use crate::key::KeyRange;
use crate::limits::{TABLE_CHUNK, TABLE_EXTENT_TARGET};
use crate::manifest::{TableEntry, Tier};
use crate::memtable::Direction;
use crate::naming::Naming;
use crate::table::{
    Bounded, Cursor, Damage, Keep, Lower, Merge, Need, Pace, Progress, RangeTombstone, Rewrite, Shape,
};
use bytes::Bytes;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A live table, and its file.
#[derive(Debug, Clone)]
pub struct Input {
    pub entry: TableEntry,
    pub open: OpenTable,
}

/// Gives new tables their names.
pub trait Namer: Debug + Send + Sync {
    /// The next one: a number higher than all that were given before, and a file uid that nothing else has.
    fn name(&mut self) -> NewTable;
}

/// Holds work in the background back, so that others have the disk.
pub trait Brake: Debug + Send + Sync {
    /// Waits until `bytes` may be read or written.
    fn wait(&self, bytes: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The layout of tables, by tier.
pub const SHAPES: [Shape; 3] = [Shape::HOT, Shape::WARM, Shape::COLD];

/// Where tables are written, and how.
#[derive(Debug)]
pub struct Target<'a> {
    /// The tiers' directories.
    pub dirs: &'a [Arc<dyn Dir>; 3],
    /// Of each of these: flushes name tables in hot as well.
    pub naming: &'a [Naming; 3],
    /// [`SHAPES`], by tier.
    pub shapes: [Shape; 3],
    pub names: &'a mut dyn Namer,
    pub brake: &'a dyn Brake,
    /// How much of a new table stays in memory.
    pub keep: Keep,
}

/// Tables that are written are of this tier, and end at so many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) tier: Tier,
    pub(super) bytes: u64,
    /// What their entries say.
    pub(super) touched_ms: u64,
}

impl Target<'_> {
    /// A writer of the next table of `tier`.
    #[must_use]
    pub fn begin(&mut self, tier: Tier) -> TableWriter {
        TableWriter::begin(&self.dirs[tier as usize], self.names.name(), self.shapes[tier as usize])
    }

    /// Makes the names of `written`, tables of `tier`, durable, if there are any.
    ///
    /// # Errors
    /// As [`sync_dir`]; the tables are gone then.
    pub async fn sync(&self, tier: Tier, written: Vec<Written>) -> Result<Vec<Written>, Failure> {
        if written.is_empty() {
            return Ok(written);
        }
        match sync_dir(&self.naming[tier as usize], &self.dirs[tier as usize]).await {
            Ok(()) => Ok(written),
            Err(why) => give_up(written, why).await,
        }
    }
}

/// What of `inputs`, newest first, lies in both their own ranges and `within`: one merge of their versions, and their
/// range tombstones, by input. An input outside stands at its end.
pub(super) fn sources(
    inputs: &[&Input],
    within: &KeyRange,
) -> Result<(Merge<Bounded>, Vec<Vec<RangeTombstone>>), Failure> {
    let (mut sources, mut tombstones) = (Vec::new(), Vec::new());
    for input in inputs {
        let table = &input.open.table;
        let range = input.entry.range.intersection(within).expect("an input of a job holds some of its keys");
        tombstones.push(clipped(table.extent().tombstones(), &range));
        let begun = Bounded::begin(Cursor::new(table.clone()), &range, Direction::Ascending);
        sources.push(begun.map_err(|damage| input.open.damaged(damage))?);
    }
    Ok((Merge::new(Direction::Ascending, sources), tombstones))
}

/// What of `tombstones` lies in `range`.
pub(super) fn clipped(tombstones: &[RangeTombstone], range: &KeyRange) -> Vec<RangeTombstone> {
    let (from, to) = (Bytes::copy_from_slice(range.lower()), range.upper().map(Bytes::copy_from_slice));
    tombstones.iter().filter_map(|t| t.clipped(&from, to.as_ref())).collect()
}

/// Goes through `rewrite`, whose sources are `inputs`, and writes what stays into new tables.
///
/// # Errors
/// Of reading or writing; nothing is left of what was written then, as far as that went.
pub(super) async fn copy(
    rewrite: &mut Rewrite,
    inputs: &[&Input],
    lower: &(dyn Lower + Sync),
    target: &mut Target<'_>,
    run: Run,
) -> Result<Vec<Written>, Failure> {
    let (mut written, mut writer) = (Vec::new(), Some(target.begin(run.tier)));
    match copy_into(rewrite, inputs, lower, target, run, (&mut written, &mut writer)).await {
        Ok(()) => Ok(written),
        Err(why) => {
            if let Some(writer) = writer {
                writer.abandon().await;
            }
            give_up(written, why).await
        }
    }
}

async fn copy_into(
    rewrite: &mut Rewrite,
    inputs: &[&Input],
    lower: &(dyn Lower + Sync),
    target: &mut Target<'_>,
    run: Run,
    (written, writing): (&mut Vec<Written>, &mut Option<TableWriter>),
) -> Result<(), Failure> {
    let pace = Pace { drain: TABLE_CHUNK, table: run.bytes, extent: TABLE_EXTENT_TARGET };
    let damaged = |damage: Damage| {
        let of = inputs.iter().find(|input| input.entry.file == damage.file);
        of.expect("what is damaged is an input").open.damaged(damage)
    };
    let mut read = Reading::default();
    loop {
        let writer = writing.as_mut().expect("a table is being written");
        let progress = rewrite.step(&mut writer.builder, pace, lower).map_err(damaged)?;
        match progress {
            Progress::Need { source, need } => {
                let piece = read_piece(&inputs[source].open, need).await?;
                rewrite.feed(source, &piece).map_err(damaged)?;
                read.pass(need, target.brake).await;
            }
            Progress::NeedValue { source, need } => {
                let bytes = read_bytes(&inputs[source].open, need).await?;
                rewrite.feed_value(&bytes, &mut writer.builder).map_err(damaged)?;
                read.pass(need, target.brake).await;
            }
            Progress::Drain => {
                target.brake.wait(writer.builder.pending() as u64).await;
                writer.drain().await?;
            }
            Progress::Cut | Progress::Stop | Progress::Done => {
                target.brake.wait(writer.builder.pending() as u64).await;
                let writer = writing.take().expect("just used");
                written.extend(writer.finish(run.touched_ms, target.keep).await?);
                if progress != Progress::Cut {
                    return Ok(());
                }
                *writing = Some(target.begin(run.tier));
            }
        }
    }
}

/// Bytes read since others could go first: a read may be answered at once.
#[derive(Debug, Default)]
struct Reading(usize);

impl Reading {
    async fn pass(&mut self, need: Need, brake: &dyn Brake) {
        self.0 += need.handle.len as usize;
        if self.0 >= TABLE_CHUNK {
            brake.wait(std::mem::take(&mut self.0) as u64).await;
            yield_now().await;
        }
    }
}

/// When any of these was last touched.
pub(super) fn touched<'a>(inputs: impl Iterator<Item = &'a Input>) -> u64 {
    inputs.map(|input| input.entry.touched_ms).max().unwrap_or(0)
}
