//! Flushing: sealed memtables become a hot table, or several where one would be too large.
use super::write::{NewTable, TableWriter, Written, give_up};
use super::{Failure, yield_now};
use crate::env::Dir;
use crate::ids::{Lsn, Priority};
use crate::key::Key;
use crate::limits::TABLE_EXTENT_TARGET;
use crate::memtable::{KeyVersion, KeyVersions, Memtable, Spans};
use crate::table::retain::{Below, Readers, Verdict, VersionKind, judge, range_stays};
use crate::table::{Body, Entry, Keep, RangeTombstone, Shape};
use bytes::Bytes;
use std::collections::BTreeMap;
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
    let mut copying = Copying::begin(&flush).await;
    loop {
        let step = copying.copy(&mut writer);
        // A writer that fails has removed its file.
        if let Err(why) = writer.drain().await {
            return give_up(written, why).await;
        }
        match step {
            Step::More => yield_now().await,
            Step::Full | Step::End => {
                copying.cut(step, &mut writer);
                let next = (step == Step::Full).then(|| TableWriter::begin(dir, next(), Shape::HOT));
                match writer.finish(flush.touched_ms, keep).await {
                    Ok(table) => written.extend(table),
                    Err(why) => return give_up(written, why).await,
                }
                let Some(next) = next else { return Ok(written) };
                writer = next;
                yield_now().await;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    /// The table is as long as it should become.
    Full,
    End,
}

/// How far a flush came.
struct Copying<'a> {
    flush: &'a Flush<'a>,
    /// Range deletes of all memtables.
    spans: Spans,
    /// Those that stay, by start.
    ranges: Ranges,
    /// Every key up to here was copied.
    after: Option<Vec<u8>>,
}

impl<'a> Copying<'a> {
    async fn begin(flush: &'a Flush<'a>) -> Copying<'a> {
        let mut spans = Spans::default();
        for mem in flush.memtables {
            for (i, (start, end, lsns)) in mem.spans().iter().enumerate() {
                if i % STEP == STEP - 1 {
                    yield_now().await;
                }
                let stretch = (start.clone(), end.cloned());
                lsns.iter().for_each(|lsn| spans.insert(&stretch, *lsn));
            }
        }
        let ranges = Ranges::of(&spans, flush.readers, flush.below);
        Copying { flush, spans, ranges, after: None }
    }

    /// Copies some keys.
    fn copy(&mut self, writer: &mut TableWriter) -> Step {
        let after = self.after.take();
        let Copying { flush, spans, ranges, .. } = self;
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut sources: Vec<_> = flush.memtables.iter().rev().map(|m| m.versions(from).peekable()).collect();
        let (mut last, mut result) = (None, Step::More);
        for _ in 0..STEP {
            let key = sources.iter_mut().filter_map(|s| s.peek().map(|k| k.key)).min();
            if ranges.pass(key) == Extents::Full {
                result = Step::Full;
                break;
            }
            let Some(key) = key else {
                result = Step::End;
                break;
            };
            let mut kept = KeptVersions { flush, spans, newer: None, deletes: Vec::new() };
            for source in &mut sources {
                let versions = source.next_if(|k| k.key == key);
                for version in versions.iter().flat_map(KeyVersions::iter) {
                    kept.add(key, version, writer);
                }
            }
            last = Some(key);
            if writer.is_full() {
                // The very next key.
                ranges.at = [key, &[0]].concat().into();
                result = Step::Full;
                break;
            }
            if writer.is_due() {
                break;
            }
        }
        let last = last.map(<[u8]>::to_vec);
        drop(sources);
        self.after = last.or(after);
        result
    }

    /// The table ends here, and was the last one if `step` says so.
    fn cut(&mut self, step: Step, writer: &mut TableWriter) {
        let at = self.ranges.at.clone();
        self.ranges.put((step == Step::Full).then_some(&at), writer);
    }
}

/// Range tombstones on their way into tables: into each what lies between its bounds.
#[derive(Debug, Default)]
struct Ranges {
    /// By start.
    all: Vec<RangeTombstone>,
    /// So many of them begin in front of where the flush stands.
    passed: usize,
    /// Bytes of those that the table being written gets.
    bytes: usize,
    /// Where that table begins.
    from: Bytes,
    /// Where it ends, if it ends now.
    at: Bytes,
}

#[derive(Debug, PartialEq, Eq)]
enum Extents {
    Fit,
    Full,
}

impl Ranges {
    /// Of each stretch the range deletes that some reader can tell from newer ones, if they have anything to hide.
    /// Neighbours of one commit become one.
    fn of(spans: &Spans, readers: &Readers, below: Below) -> Ranges {
        let mut all: Vec<RangeTombstone> = Vec::new();
        let mut open: BTreeMap<Lsn, usize> = BTreeMap::new();
        for (start, end, lsns) in spans.iter() {
            let copy = |key: &Key| Bytes::copy_from_slice(key);
            for (i, &lsn) in lsns.iter().enumerate() {
                let newer = lsns.get(i + 1).copied();
                if !readers.any_between(lsn, newer) || !range_stays(readers, below, lsn) {
                    continue;
                }
                match open.get(&lsn).map(|at| &mut all[*at]) {
                    Some(before) if before.end.as_deref() == Some(start) => before.end = end.map(copy),
                    _ => {
                        open.insert(lsn, all.len());
                        all.push(RangeTombstone { start: copy(start), end: end.map(copy), lsn });
                    }
                }
            }
        }
        Ranges { all, ..Ranges::default() }
    }

    /// Goes on to `key`, or to the end, unless the table's range tombstones become too many on the way.
    fn pass(&mut self, key: Option<&[u8]>) -> Extents {
        while let Some(next) = self.all.get(self.passed).filter(|t| key.is_none_or(|key| t.start[..] <= *key))
        {
            if self.bytes >= TABLE_EXTENT_TARGET && next.start > self.from {
                self.at = next.start.clone();
                return Extents::Full;
            }
            self.bytes += next.encoded_len();
            self.passed += 1;
        }
        Extents::Fit
    }

    /// Adds what lies between the bounds of the table, which ends at `to`, and goes on with the next one.
    fn put(&mut self, to: Option<&Bytes>, writer: &mut TableWriter) {
        if crate::mutants::on("range-delete-not-flushed") {
            return;
        }
        let parts = self.all.iter().filter_map(|t| t.clipped(&self.from, to));
        parts.for_each(|part| writer.add_range(part));
        let Some(to) = to else { return };
        self.from = to.clone();
        let reach = |t: &&RangeTombstone| !t.ends_by(to);
        self.bytes = self.all[..self.passed].iter().filter(reach).map(RangeTombstone::encoded_len).sum();
    }
}

/// The versions of one key, the newest first.
struct KeptVersions<'a> {
    flush: &'a Flush<'a>,
    spans: &'a Spans,
    newer: Option<Lsn>,
    /// Deletes that stay if an older version does.
    deletes: Vec<Lsn>,
}

impl KeptVersions<'_> {
    fn add(&mut self, key: &[u8], version: KeyVersion<'_>, writer: &mut TableWriter) {
        let KeyVersion { lsn, mut priority, value } = version;
        if crate::mutants::on("priority-lost-in-flush") {
            priority = Priority::default();
        }
        let kind = if value.is_some() { VersionKind::Value } else { VersionKind::Delete };
        let newer = [self.newer.replace(lsn), self.spans.next_above(key, lsn)].into_iter().flatten().min();
        let verdict = judge(self.flush.readers, self.flush.below, newer, lsn, kind);
        let delete = |lsn| Entry { key, lsn, priority: Priority::default(), body: Body::Delete };
        match verdict {
            Verdict::Drop => {}
            Verdict::WithOlder => self.deletes.push(lsn),
            Verdict::Keep => {
                self.deletes.drain(..).for_each(|lsn| writer.add(delete(lsn)));
                writer.add(match value {
                    Some(value) => Entry { key, lsn, priority, body: Body::Put(value) },
                    None => delete(lsn),
                });
                if let Some(holders) = self.flush.readers.holders(lsn, newer) {
                    writer.hold(key, holders, (key.len() + value.map_or(0, <[u8]>::len)) as u64);
                }
            }
        }
    }
}
