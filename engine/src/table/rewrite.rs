//! Rewriting: the versions of several tables that [`super::retain`] keeps, copied into new tables.
//!
//! A plain state machine between a [`Merge`] and a [`TableBuilder`]. It never holds more than one key's deletes: a value
//! that stays goes out at once, and one that lies apart is copied as it is stored, without being decompressed.
//!
//! The first sources may be *upper* ones: tables of which a [`Choice`] takes some keys only, or some keys first.
use super::build::TableBuilder;
use super::cursor::{View, ViewBody};
use super::entry::{Apart, Body, Entry};
use super::extent::{Extent, RangeTombstone};
use super::merge::{Bounded, Merge, MergeStep};
use super::open::{Damage, Loaded, Need, value_need};
use super::retain::{Below, Readers, Verdict, VersionKind, judge, range_stays};
use super::told_apart::told_apart;
use crate::ids::{Lsn, Priority};
use crate::key::KeyRange;
use bytes::Bytes;

/// What tables below the rewritten ones may hold.
pub trait Lower {
    /// Of a key.
    fn key(&self, key: &[u8]) -> Below;
    /// Of any key of a range.
    fn range(&self, range: &RangeTombstone) -> Below;
}

/// The same of all keys.
impl Lower for Below {
    fn key(&self, _key: &[u8]) -> Below {
        *self
    }
    fn range(&self, _range: &RangeTombstone) -> Below {
        *self
    }
}

/// How far a rewrite came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Feed this piece of the source of this number: [`Rewrite::feed`].
    Need { source: usize, need: Need },
    /// Feed the bytes of this value of the source of this number: [`Rewrite::feed_value`].
    NeedValue { source: usize, need: Need },
    /// The builder holds output: drain it and go on.
    Drain,
    /// The builder's table is as long as was asked for: finish it and go on with a new one.
    Cut,
    /// As much was taken as was to be: finish the builder's table. Nothing from [`Rewrite::stop`] on was taken.
    Stop,
    /// All was copied.
    Done,
}

/// Bounds of one call and of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes of output after which the builder is to be drained.
    pub drain: usize,
    /// Bytes of blocks and values after which a table ends.
    pub table: u64,
    /// Bytes of range tombstones after which it ends; those that reach beyond its end are in the next one too.
    pub extent: usize,
}

/// Which keys are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// Those whose newest version in the upper sources is a delete, of the key or of a range, at or below `floor`, with
    /// all of their versions; and of all others the versions of lower sources.
    Deleted { floor: Lsn },
    /// All that [`Part::Deleted`] leaves in the upper sources.
    Others { floor: Lsn },
}

/// What of its sources a rewrite takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// So many of the first sources are upper ones.
    pub upper: usize,
    pub part: Part,
    /// It stops in front of a key of an upper source once so much of these was copied, but not before one key was, and
    /// only where a run may be cut.
    pub most: Option<Taken>,
}

impl Choice {
    /// All of every source.
    pub const ALL: Choice = Choice { upper: 0, part: Part::All, most: None };
}

/// Numbers of versions that were passed over or copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Versions that are values.
    pub values: u64,
    /// Versions that are deletes.
    pub deletes: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Taken {
    fn add(&mut self, key: &[u8], body: &ViewBody<'_>) {
        let delete = matches!(body, ViewBody::Delete);
        self.values += u64::from(!delete);
        self.deletes += u64::from(delete);
        self.bytes += payload(key, body);
    }
}

/// Bytes of the key and value of a version.
fn payload(key: &[u8], body: &ViewBody<'_>) -> u64 {
    let value = match body {
        ViewBody::Delete => 0,
        ViewBody::Inline { value, .. } => value.len() as u64,
        ViewBody::Apart(apart) => u64::from(apart.len),
    };
    key.len() as u64 + value
}

/// Copies what stays of several tables.
#[derive(Debug)]
pub struct Rewrite {
    merge: Merge<Bounded>,
    readers: Readers,
    choice: Choice,
    /// The range tombstones of all inputs.
    ranges: Extent,
    /// Those of them that go into the tables written, if that is not all.
    written: Option<Vec<RangeTombstone>>,
    /// By source: all versions in front of where the merge stands.
    passed: Vec<Taken>,
    /// What was copied of upper sources.
    copied: Taken,
    /// Whether any key of an upper source was taken.
    begun: bool,
    /// Whether the versions of this key in upper sources are taken.
    takes: bool,
    stop: Option<Bytes>,
    /// The key whose versions are being copied.
    key: Vec<u8>,
    /// The LSN of its version looked at last.
    newer: Option<Lsn>,
    /// Its deletes that stay if an older version does; newest first.
    deletes: Vec<(Lsn, Priority)>,
    /// The first key of the table being built; range tombstones in front of it went into the tables before.
    from: Bytes,
    /// Where the table being built has as many range tombstones as one should, once that was looked for.
    fills: Option<Option<Bytes>>,
    awaiting: Option<Apart>,
}

impl Rewrite {
    /// A rewrite of what `merge` walks over, upwards, and of these range tombstones, cut to the parts that count.
    #[must_use]
    pub fn new(merge: Merge<Bounded>, ranges: Vec<RangeTombstone>, readers: Readers) -> Rewrite {
        let passed = vec![Taken::default(); merge.count()];
        let ranges = told_apart(&ranges, &readers);
        Rewrite {
            merge,
            readers,
            choice: Choice::ALL,
            ranges: Extent::new(None, ranges),
            written: None,
            passed,
            copied: Taken::default(),
            begun: false,
            takes: true,
            stop: None,
            key: Vec::new(),
            newer: None,
            deletes: Vec::new(),
            from: Bytes::new(),
            fills: None,
            awaiting: None,
        }
    }

    /// The same of what `choice` says.
    #[must_use]
    pub fn choosing(mut self, choice: Choice) -> Rewrite {
        self.choice = choice;
        self
    }
    /// The same with no range tombstones but `written` in its output. All of them count for what stays.
    #[must_use]
    pub fn writing(mut self, written: Vec<RangeTombstone>) -> Rewrite {
        self.written = Some(Extent::new(None, told_apart(&written, &self.readers)).tombstones().to_vec());
        self
    }

    /// All that was passed over or copied, by source.
    #[must_use]
    pub fn passed(&self) -> &[Taken] {
        &self.passed
    }
    /// Where it stopped, if not at the end.
    #[must_use]
    pub fn stop(&self) -> Option<&Bytes> {
        self.stop.as_ref()
    }

    /// Hands over the piece that was needed.
    ///
    /// # Errors
    /// What of the inputs is damaged.
    pub fn feed(&mut self, source: usize, loaded: &Loaded) -> Result<(), Damage> {
        self.merge.feed(source, loaded).map(drop)
    }

    /// Hands over the bytes of the value that was needed.
    ///
    /// # Errors
    /// What of the inputs is damaged.
    ///
    /// # Panics
    /// If no value was needed.
    pub fn feed_value(&mut self, bytes: &Bytes, builder: &mut TableBuilder) -> Result<(), Damage> {
        let apart = self.awaiting.take().expect("a value was needed");
        let source = self.merge.current().expect("the merge stands at the entry of the value");
        let stored = self.merge.source(source).cursor().table().stored_value(apart, bytes)?;
        let view = self.merge.view().expect("the merge stands at an entry");
        builder.add(Entry {
            key: view.key,
            lsn: view.lsn,
            priority: view.priority,
            body: Body::Stored(&stored),
        });
        self.merge.advance().map(drop)
    }

    /// Goes on until something is to be done by the caller.
    ///
    /// # Errors
    /// What of the inputs is damaged.
    pub fn step(
        &mut self,
        builder: &mut TableBuilder,
        pace: Pace,
        lower: &dyn Lower,
    ) -> Result<Progress, Damage> {
        loop {
            if let (Some(apart), Some(source)) = (self.awaiting, self.merge.current()) {
                return Ok(Progress::NeedValue { source, need: value_need(apart) });
            }
            match self.merge.state() {
                MergeStep::Need { source, need } => return Ok(Progress::Need { source, need }),
                MergeStep::End => {
                    self.look_for_fill(pace);
                    if let Some(cut) = self.cut_between(None) {
                        self.cut_at(builder, cut, lower);
                        return Ok(Progress::Cut);
                    }
                    let from = std::mem::take(&mut self.from);
                    self.put_ranges(builder, &from, None, lower);
                    return Ok(Progress::Done);
                }
                MergeStep::At => (),
            }
            if builder.pending() >= pace.drain {
                return Ok(Progress::Drain);
            }
            if self.at_new_key()
                && let Some(end) = self.begin_key(builder, pace, lower)
            {
                return Ok(end);
            }
            self.copy_version(builder, lower)?;
        }
    }

    fn at_new_key(&self) -> bool {
        let view = self.merge.view().expect("the merge stands at an entry");
        self.newer.is_none() || view.key != self.key
    }

    /// Goes on to the next key, unless the table ends in front of it.
    fn begin_key(&mut self, builder: &mut TableBuilder, pace: Pace, lower: &dyn Lower) -> Option<Progress> {
        self.look_for_fill(pace);
        let view = self.merge.view().expect("the merge stands at an entry");
        if let Some(cut) = self.cut_between(Some(view.key)) {
            self.cut_at(builder, cut, lower);
            return Some(Progress::Cut);
        }
        let upper = self.merge.current().is_some_and(|source| source < self.choice.upper);
        let full = self
            .choice
            .most
            .filter(|_| upper && self.begun)
            .is_some_and(|most| self.copied.values >= most.values || self.copied.bytes >= most.bytes);
        let fills = self.fills.as_ref().and_then(Option::as_ref).is_some_and(|at| at[..] <= *view.key);
        let long = builder.len() >= pace.table || builder.is_full() || fills;
        let cut = ((long || full) && self.newer.is_some() && KeyRange::may_cut(&self.key, view.key))
            .then(|| Bytes::copy_from_slice(KeyRange::lower_bound(view.key)));
        self.takes = !upper || self.takes_upper(view);
        self.begun |= upper;
        self.key.clear();
        self.key.extend_from_slice(view.key);
        self.newer = None;
        self.deletes.clear();
        let cut = cut?;
        self.cut_at(builder, cut.clone(), lower);
        if full {
            self.stop = Some(cut);
            return Some(Progress::Stop);
        }
        Some(Progress::Cut)
    }

    /// Finds out where the table being built has as many range tombstones as one should, unless that is known.
    fn look_for_fill(&mut self, pace: Pace) {
        if self.fills.is_none() {
            self.fills = Some(self.fills(pace.extent));
        }
    }

    /// Where the table has to end for its range tombstones, between the key copied last and `next`, if that may be.
    fn cut_between(&self, next: Option<&[u8]>) -> Option<Bytes> {
        let at = self.fills.as_ref()?.as_ref()?;
        if next.is_some_and(|next| *next < at[..]) {
            return None;
        }
        // The first one from there on that the last key can be parted from.
        let all = self.tombstones();
        let parted = |t: &RangeTombstone| {
            t.start >= *at && (self.key.is_empty() || KeyRange::may_cut(&self.key, &t.start))
        };
        let start = &all.get(all.partition_point(|t| !parted(t)))?.start;
        let fits = next.is_none_or(|next| start[..] <= *next);
        fits.then(|| Bytes::copy_from_slice(KeyRange::lower_bound(start)))
    }

    /// Where range tombstones from `from` on are more than `most` bytes, if another one begins there that the table can
    /// end in front of.
    fn fills(&self, most: usize) -> Option<Bytes> {
        let mut bytes = 0;
        self.tombstones().iter().filter_map(|t| t.clipped(&self.from, None)).find_map(|part| {
            let full = bytes >= most && *KeyRange::lower_bound(&part.start) > self.from[..];
            bytes += part.encoded_len();
            full.then_some(part.start)
        })
    }

    /// What goes into the tables written, if it stays; by start.
    fn tombstones(&self) -> &[RangeTombstone] {
        self.written.as_deref().unwrap_or(self.ranges.tombstones())
    }

    /// Ends the table at `cut`.
    fn cut_at(&mut self, builder: &mut TableBuilder, cut: Bytes, lower: &dyn Lower) {
        let from = std::mem::replace(&mut self.from, cut.clone());
        self.put_ranges(builder, &from, Some(&cut), lower);
        self.fills = None;
    }

    /// Whether the versions in upper sources of a key, of which `newest` is the newest, are taken.
    fn takes_upper(&self, newest: View<'_>) -> bool {
        let deleted = |floor| match self.ranges.covering(newest.key).max() {
            Some(cover) if cover > newest.lsn => cover <= floor,
            _ => matches!(newest.body, ViewBody::Delete) && newest.lsn <= floor,
        };
        match self.choice.part {
            Part::All => true,
            Part::Deleted { floor } => deleted(floor),
            Part::Others { floor } => !deleted(floor),
        }
    }

    /// Copies the version that the merge stands at if it stays, and moves on.
    fn copy_version(&mut self, builder: &mut TableBuilder, lower: &dyn Lower) -> Result<(), Damage> {
        let view = self.merge.view().expect("the merge stands at an entry");
        let (lsn, priority) = (view.lsn, view.priority);
        let source = self.merge.current().expect("the merge stands at an entry");
        let upper = source < self.choice.upper;
        self.passed[source].add(view.key, &view.body);
        if self.newer == Some(lsn) {
            // A copy of the version just seen.
            return self.merge.advance().map(drop);
        }
        if upper && !self.takes {
            // It goes elsewhere, above what is copied here.
            self.newer = Some(lsn);
            return self.merge.advance().map(drop);
        }
        let covered = self.ranges.covering(view.key).filter(|cover| *cover > lsn).min();
        let newer = [self.newer, covered].into_iter().flatten().min();
        self.newer = Some(lsn);
        let (kind, below) = match view.body {
            ViewBody::Delete => (VersionKind::Delete, lower.key(view.key)),
            _ => (VersionKind::Value, Below::MayHold),
        };
        match judge(&self.readers, below, newer, lsn, kind) {
            Verdict::Drop => (),
            Verdict::WithOlder => self.deletes.push((lsn, priority)),
            Verdict::Keep => {
                if upper {
                    self.copied.add(view.key, &view.body);
                }
                if let Some(holders) = self.readers.holders(lsn, newer) {
                    builder.hold(view.key, holders, payload(view.key, &view.body));
                }
                for (lsn, priority) in self.deletes.drain(..) {
                    builder.add(Entry { key: view.key, lsn, priority, body: Body::Delete });
                }
                let body = match view.body {
                    ViewBody::Delete => Body::Delete,
                    ViewBody::Inline { value, .. } => Body::Put(value),
                    ViewBody::Apart(apart) => {
                        self.awaiting = Some(apart);
                        return Ok(());
                    }
                };
                builder.add(Entry { key: view.key, lsn, priority, body });
            }
        }
        self.merge.advance().map(drop)
    }

    /// Adds what stays of the range tombstones between `from` and `to`.
    fn put_ranges(&self, builder: &mut TableBuilder, from: &Bytes, to: Option<&Bytes>, lower: &dyn Lower) {
        for tombstone in self.tombstones() {
            if let Some(part) = tombstone.clipped(from, to)
                && range_stays(&self.readers, lower.range(&part), part.lsn)
            {
                builder.add_range(part);
            }
        }
    }
}
