//! Snapshots, and ordered scans over them.
use super::incarnation::Incarnation;
use super::layers::{Layers, Look};
use super::pins::{Pin, PinOwner};
use super::walk::{Stop, Walk, Wanted};
use crate::batch::check_key;
use crate::cache::Use;
use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::key::Key;
use crate::memtable::{Direction, Entry, Seen, Value, is_empty_range};
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Entries that a scan makes ready at first, and fetches from memory; then twice as many each time, up to [`CHUNK_MAX`]. Many
/// scans read few entries, and those that read many are to take the lock seldom.
const CHUNK_MIN: usize = 8;
const CHUNK_MAX: usize = 128;

/// A view of a space that never changes, also across a fence. What it sees is kept, in memory or in tables, until it is
/// dropped or expires: it does once it is older than [`crate::TierOptions::snapshot_age_ms`] and holds something back, or
/// is the oldest of more than [`crate::TierOptions::max_snapshots`], or of those that hold back more than
/// [`crate::TierOptions::snapshot_bytes`]. From then on every read of it, and of scans made from
/// it, is answered with `Rejected(SnapshotExpired)`. Once its opening has ended, as by a reopen, a read of tables may be answered with `Closed`; once its space was
/// deleted reads are answered with `Rejected(Deleted)`, whatever was created under the same id since.
#[derive(Debug)]
pub struct Snapshot {
    pin: Pin,
}

impl Snapshot {
    /// Pins what a read at `lsn` sees. The caller knows that nothing visible there was collected yet.
    pub(crate) fn pin(
        incarnation: &Arc<Incarnation>,
        owner: PinOwner,
        at: impl FnOnce(&Layers) -> Lsn,
    ) -> Snapshot {
        Snapshot { pin: Pin::take(incarnation, owner, at) }
    }

    /// The last commit that it sees.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.pin.lsn
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Rejected(Key)` for a key outside its bounds; `Rejected(SnapshotExpired)`; `Failed` and `Corrupt` as
    /// [`crate::Space::get`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value of `key`, with the commit that wrote it and its priority.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub async fn get_entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let (incarnation, lsn) = (&self.pin.incarnation, self.pin.lsn);
        check_key(key).map_err(|e| e.in_space(&incarnation.id))?;
        self.pin.look_at_clock();
        let look = {
            let layers = incarnation.layers.read();
            self.pin.serve(&layers)?;
            layers.look(key, lsn)
        };
        match look {
            Look::Seen(seen) => Ok(seen),
            Look::InTables(under) => {
                let entry = incarnation.get_in_tables(&under, key, lsn).await?;
                self.pin.still_serves()?;
                Ok(entry)
            }
        }
    }

    /// The entries within `range`, in `direction`. The scan keeps the snapshot's view by itself, and expires with it.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, direction: Direction) -> Scan {
        Scan::new(Snapshot { pin: self.pin.share() }, range, direction)
    }
}

/// An ordered stream of entries. After an error or the end it yields nothing more.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    /// What was not fetched from memory yet.
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    direction: Direction,
    /// What memory holds next.
    memory: VecDeque<(Key, Seen)>,
    /// Entries that are handed out next, of memory and tables.
    ready: VecDeque<(Key, Value)>,
    /// What it came to behind those.
    failed: Option<Error>,
    /// How many entries are made ready at once, and fetched from memory.
    chunk: usize,
    /// Whether anything was handed out.
    begun: bool,
    /// Nothing comes from memory behind that.
    memory_ended: bool,
    /// Tables, of the same moment as `memory`: what a flush took from memory since is not in them yet.
    walk: Option<Walk>,
    ended: bool,
}

impl Scan {
    pub(crate) fn new<K: AsRef<[u8]>>(
        snapshot: Snapshot,
        range: impl RangeBounds<K>,
        direction: Direction,
    ) -> Scan {
        let owned = |b: Bound<&K>| b.map(|k| k.as_ref().to_vec());
        Scan::between(snapshot, owned(range.start_bound()), owned(range.end_bound()), direction)
    }

    fn between(
        snapshot: Snapshot,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        direction: Direction,
    ) -> Scan {
        let empty = is_empty_range(lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let memory = VecDeque::new();
        Scan {
            snapshot,
            lower,
            upper,
            direction,
            memory,
            ready: VecDeque::new(),
            failed: None,
            chunk: CHUNK_MIN,
            begun: false,
            memory_ended: false,
            walk: None,
            ended: empty,
        }
    }

    /// A scan over every key that begins with `prefix`.
    pub(crate) fn prefix(snapshot: Snapshot, prefix: &[u8], direction: Direction) -> Scan {
        let lower = Bound::Included(prefix.to_vec());
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let upper = match end.last_mut() {
            None => Bound::Unbounded,
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
        };
        Scan::between(snapshot, lower, upper, direction)
    }

    /// The next entry; `None` at the end. Dropping the future loses none. Its key and value are cheap to clone and stay as
    /// they are whatever becomes of the scan; a value may keep the block of a table alive that it lies in.
    ///
    /// # Errors
    /// `Rejected(SnapshotExpired)`, as for a [`Snapshot`]: not all was shown, what was is right. `Failed` and `Corrupt` as [`crate::Space::get`], once a table is read.
    #[inline]
    pub async fn next(&mut self) -> Result<Option<(Key, Value)>> {
        if self.ready.is_empty() {
            if self.ended {
                return Ok(None);
            }
            if let Err(e) = self.fill().await {
                return self.end(e);
            }
        }
        // Whatever that waited for, and also of what was ready for long: an end, too, is one only while the view is there.
        if let Err(e) = self.still_serves() {
            return self.end(e);
        }
        let next = self.ready.pop_front();
        (self.begun, self.ended) = (true, next.is_none());
        Ok(next)
    }

    #[cold]
    fn end(&mut self, error: Error) -> Result<Option<(Key, Value)>> {
        self.ready.clear();
        self.ended = true;
        Err(error)
    }

    /// Whether what is ready may be handed out: not once the space is being deleted, nor once the view has expired.
    #[inline]
    fn still_serves(&self) -> Result<()> {
        self.snapshot.pin.incarnation.serve()?;
        if self.is_blind() { Ok(()) } else { self.snapshot.pin.still_serves() }
    }

    /// The mutant `expired-scan-goes-on`.
    fn is_blind(&self) -> bool {
        self.begun && crate::mutants::on("expired-scan-goes-on")
    }

    /// Makes entries ready; none if there are no more.
    async fn fill(&mut self) -> Result<()> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        self.snapshot.pin.look_at_clock();
        loop {
            let wanted = self.fill_at_hand();
            if !self.ready.is_empty() {
                // The rest has its turn behind these.
                self.failed = wanted.err();
                return Ok(());
            }
            let Some(wanted) = wanted? else { return Ok(()) };
            let incarnation = &self.snapshot.pin.incarnation;
            // Nothing is read for those who are not to see it.
            incarnation.serve()?;
            let walk = self.walk.as_mut().expect("a walk wants it");
            let supplied = walk.supply(incarnation.reads(Use::Scan), wanted).await;
            supplied.map_err(|e| incarnation.unreadable(e))?;
        }
    }

    /// Makes entries ready without awaiting anything, and says what is wanted for more; `None` if there are enough, or all.
    fn fill_at_hand(&mut self) -> Result<Option<Wanted>> {
        while self.ready.len() < self.chunk {
            while self.memory.is_empty() && !self.memory_ended {
                self.fetch()?;
            }
            if let Some(walk) = &mut self.walk {
                let until = self.memory.front().map(|(key, _)| key);
                let stop = walk.fill(until, self.chunk, &mut self.ready);
                match stop.map_err(|e| self.snapshot.pin.incarnation.unreadable(e))? {
                    Stop::Full => break,
                    Stop::Wants(wanted) => return Ok(Some(wanted)),
                    Stop::Until | Stop::End => (),
                }
            }
            match self.memory.pop_front() {
                Some((key, Some(value))) => self.ready.push_back((key, value)),
                Some((_, None)) => (),
                None => break,
            }
        }
        self.chunk = (2 * self.chunk).min(CHUNK_MAX);
        Ok(None)
    }

    /// Fetches what memory holds next, and has the tables of the same moment.
    fn fetch(&mut self) -> Result<()> {
        let (lower, upper) = (self.lower.as_ref().map(Vec::as_slice), self.upper.as_ref().map(Vec::as_slice));
        let layers = self.snapshot.pin.incarnation.layers.read();
        if self.is_blind() {
            layers.serve()?
        } else {
            self.snapshot.pin.serve(&layers)?
        }
        let (found, ended) = layers.range(lower, upper, self.snapshot.pin.lsn, self.direction, self.chunk);
        let under = layers.under.clone();
        let mixes = crate::mutants::on("scan-mixes-moments");
        let is_new = self.walk.as_ref().is_none_or(|walk| walk.generation != under.generation && !mixes);
        // Later range deletes do not concern this reader.
        let begins = is_new && !under.tables.is_empty();
        let hidden = begins.then(|| layers.hidden(lower, upper, self.snapshot.pin.lsn));
        drop(layers);
        if is_new {
            let above = |bound: Bound<&[u8]>| match bound {
                Bound::Unbounded => None,
                Bound::Included(key) => Some(key.to_vec()),
                // The very next key.
                Bound::Excluded(key) => Some([key, &[0]].concat()),
            };
            let below = |bound: Bound<&[u8]>| match bound {
                Bound::Unbounded => None,
                Bound::Included(key) => Some([key, &[0]].concat()),
                Bound::Excluded(key) => Some(key.to_vec()),
            };
            let (from, to) = match self.direction {
                Direction::Ascending => (above(lower), below(upper)),
                Direction::Descending => (below(upper), above(lower)),
            };
            let walk = |hidden| Walk::new(&under, hidden, self.snapshot.pin.lsn, self.direction, from, to);
            self.walk = hidden.map(walk);
        }
        if let Some((last, _)) = found.last() {
            let past = Bound::Excluded(last.to_vec());
            match self.direction {
                Direction::Ascending => self.lower = past,
                Direction::Descending => self.upper = past,
            }
        }
        self.memory_ended = ended;
        self.memory = found.into();
        Ok(())
    }
}
