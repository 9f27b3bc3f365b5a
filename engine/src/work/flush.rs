//! Flushing: sealed memtables become a hot table, or several where one would be too large.
use super::write::{NewTable, TableWriter, Written};
use super::{Failure, yield_now};
use crate::env::Dir;
use crate::ids::Lsn;
use crate::memtable::Memtable;
use crate::table::retain::{Below, Readers, Verdict, VersionKind, judge};
use crate::table::{Body, Entry, Keep, Priority, Shape};
use std::ops::Bound;
use std::sync::Arc;

/// Keys that are copied before others get their turn.
const STEP: usize = 512;

/// What a flush writes.
#[derive(Debug)]
pub struct Flush<'a> {
    /// The oldest first; they change no more.
    pub memtables: &'a [Arc<Memtable>],
    /// All of their commits are durable: no reader comes that is not named here or at the watermark or above.
    pub readers: &'a Readers,
    /// Whether tables may hold older versions of their keys.
    pub below: Below,
    /// What the new tables' entries say of when they were written.
    pub touched_ms: u64,
}

/// Writes the tables, in `dir`. None if no version stays. `next` names a new table.
///
/// # Errors
/// Of writing; no file is left then, as far as that went.
pub async fn write(
    flush: Flush<'_>,
    dir: &Arc<dyn Dir>,
    keep: Keep,
    mut next: impl FnMut() -> NewTable + Send,
) -> Result<Vec<Written>, Failure> {
    let mut written = Vec::new();
    let mut writer = TableWriter::begin(dir, next(), Shape::HOT);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let step = flush.copy(after.as_deref(), &mut writer);
        writer.drain().await?;
        match step {
            None => break,
            Some(last) => after = Some(last),
        }
        if writer.is_full() {
            let full = std::mem::replace(&mut writer, TableWriter::begin(dir, next(), Shape::HOT));
            written.extend(full.finish(flush.touched_ms, keep).await?);
        }
        yield_now().await;
    }
    written.extend(writer.finish(flush.touched_ms, keep).await?);
    Ok(written)
}

impl Flush<'_> {
    /// Copies some keys behind `after`; the last of them, or `None` if there were no more.
    fn copy(&self, after: Option<&[u8]>, writer: &mut TableWriter) -> Option<Vec<u8>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut sources: Vec<_> = self.memtables.iter().rev().map(|m| m.versions(after).peekable()).collect();
        let mut last = None;
        for _ in 0..STEP {
            let Some(key) = sources.iter_mut().filter_map(|s| s.peek().map(|k| k.key)).min() else {
                break;
            };
            let mut kept = KeptVersions { flush: self, newer: None, deletes: Vec::new() };
            for source in &mut sources {
                let versions = source.next_if(|k| k.key == key).map(|k| k.versions);
                for (lsn, value) in versions.into_iter().flatten() {
                    kept.add(key, lsn, value, writer);
                }
            }
            last = Some(key);
            if writer.is_due() || writer.is_full() {
                break;
            }
        }
        last.map(<[u8]>::to_vec)
    }
}

/// The versions of one key, the newest first.
struct KeptVersions<'a> {
    flush: &'a Flush<'a>,
    newer: Option<Lsn>,
    /// Deletes that stay if an older version does.
    deletes: Vec<Lsn>,
}

impl KeptVersions<'_> {
    fn add(&mut self, key: &[u8], lsn: Lsn, value: Option<&[u8]>, writer: &mut TableWriter) {
        let kind = if value.is_some() { VersionKind::Value } else { VersionKind::Delete };
        let verdict = judge(self.flush.readers, self.flush.below, self.newer.replace(lsn), lsn, kind);
        let entry = |lsn, body| Entry { key, lsn, priority: Priority::default(), body };
        match verdict {
            Verdict::Drop => {}
            Verdict::WithOlder => self.deletes.push(lsn),
            Verdict::Keep => {
                self.deletes.drain(..).for_each(|lsn| writer.add(entry(lsn, Body::Delete)));
                writer.add(entry(lsn, value.map_or(Body::Delete, Body::Put)));
            }
        }
    }
}
