//! Copying entries up into hot. The rule and its proof are in [`crate::plan`].
use super::Failure;
use super::copy::Target;
use super::write::{TableWriter, Written};
use crate::ids::Priority;
use crate::manifest::Tier;
use crate::plan::promote::{Newest, PromotePlan, Promotion, Wanted, confirm};
use crate::table::{Body, Entry};
use bytes::Bytes;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

/// What a look from the top of a version found of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub newest: Newest,
    pub priority: Priority,
    /// Empty for a delete.
    pub value: Bytes,
}

/// The answer of a [`Look`].
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Option<Seen>, Failure>> + Send + 'a>>;

/// Looks for the newest version of keys in the tables of one version of a space: of that to which the promotion's edit
/// applies, but for hot tables that flushes add meanwhile. From the first look until the edit is in effect no other edit
/// may come.
pub trait Look: Debug + Send {
    /// From the top: hot from the newest table on, warm, cold. Deletes, also of ranges, are versions.
    fn newest<'a>(&'a mut self, wanted: &'a Wanted) -> Looking<'a>;
}

/// What a promotion wrote.
#[derive(Debug)]
pub struct Promoted {
    /// The copies, in a hot table whose name is durable; `None` if there are none.
    pub table: Option<Written>,
    /// Entries that were not copied: overwritten, deleted, or gone up or down since.
    pub left: u64,
}

/// Looks again for every entry that is wanted and writes those that are still the newest into one hot table. `now_ms` is
/// wall time, since the Unix epoch: the entries were just read.
///
/// # Errors
/// Of a look, or of writing the table; nothing is left of it then, as far as that went.
pub async fn run(
    plan: &PromotePlan,
    look: &mut dyn Look,
    target: &mut Target<'_>,
    now_ms: u64,
) -> Result<Promoted, Failure> {
    // Few enough to be waited for at once: each is read and written.
    target.brake.wait(2 * plan.writes).await;
    let mut wanted: Vec<_> = plan.wanted.iter().collect();
    wanted.sort_by(|a, b| a.key.cmp(&b.key));
    wanted.dedup_by(|a, b| a.key == b.key);
    let mut writer = target.begin(Tier::Hot);
    let left = match copy(wanted, look, &mut writer).await {
        Ok(left) => left,
        Err(why) => {
            writer.abandon().await;
            return Err(why);
        }
    };
    let table = writer.finish(now_ms, target.keep).await?;
    let table = target.sync(Tier::Hot, table.into_iter().collect()).await?.pop();
    Ok(Promoted { table, left })
}

/// Copies those of `wanted` that are still the newest; how many are not.
async fn copy(wanted: Vec<&Wanted>, look: &mut dyn Look, writer: &mut TableWriter) -> Result<u64, Failure> {
    let mut left = 0;
    for wanted in wanted {
        let seen = look.newest(wanted).await?;
        let Some(seen) = seen.filter(|s| confirm(wanted.lsn, Some(s.newest)) == Promotion::Copy) else {
            left += 1;
            continue;
        };
        let body = Body::Put(&seen.value);
        writer.add(Entry { key: &wanted.key, lsn: seen.newest.lsn, priority: seen.priority, body });
        writer.drain().await?;
    }
    Ok(left)
}
