//! Snapshots, and ordered scans over them.
use super::incarnation::Incarnation;
use super::layers::{Layers, Look};
use super::pins::Pin;
use super::walk::Walk;
use crate::batch::check_key;
use crate::cache::Use;
use crate::error::Result;
use crate::ids::Lsn;
use crate::key::Key;
use crate::memtable::{Direction, Seen, Value, is_empty_range};
use crate::work::Failure;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Entries that a scan fetches from memory at first; then twice as many each time, up to [`CHUNK_MAX`]. Many scans read
/// few entries, and those that read many are to take the lock seldom.
const CHUNK_MIN: usize = 8;
const CHUNK_MAX: usize = 128;

/// A view of a space that never changes, also across a fence. What it sees is kept, in memory or in tables, until it is
/// dropped or expires: it does once it is older than [`crate::TierOptions::snapshot_age_ms`] and holds something back, or
/// is the oldest of more than [`crate::TierOptions::max_snapshots`]. From then on every read of it, and of scans made from
/// it, is answered with `Rejected(SnapshotExpired)`. Once its opening has ended, as by a reopen, a read of tables may be answered with `Closed`; once its space was
/// deleted reads are answered with `Rejected(Deleted)`, whatever was created under the same id since.
#[derive(Debug)]
pub struct Snapshot {
    pin: Pin,
}

impl Snapshot {
    /// Pins what a read at `lsn` sees. The caller knows that nothing visible there was collected yet.
    pub(crate) fn pin(incarnation: &Arc<Incarnation>, at: impl FnOnce(&Layers) -> Lsn) -> Snapshot {
        Snapshot { pin: Pin::take(incarnation, at) }
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
                let value = incarnation.get_in_tables(&under, key, lsn).await?;
                self.pin.still_serves()?;
                Ok(value)
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
    /// How many entries are fetched next.
    chunk: usize,
    /// How many entries were asked for.
    asked: usize,
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
            chunk: CHUNK_MIN,
            asked: 0,
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

    /// The next entry; `None` at the end. Dropping the future loses none.
    ///
    /// # Errors
    /// `Rejected(SnapshotExpired)`, as for a [`Snapshot`]: not all was shown, what was is right. `Failed` and `Corrupt` as [`crate::Space::get`], once a table is read.
    pub async fn next(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.ended {
            return Ok(None);
        }
        if self.asked.is_multiple_of(CHUNK_MAX) {
            self.snapshot.pin.look_at_clock();
        }
        self.asked += 1;
        let next = self.advance().await;
        // Whatever that waited for: an end, too, is one only while the view is there.
        let next = match self.is_blind() {
            true => next,
            false => next.and_then(|entry| self.snapshot.pin.still_serves().map(|()| entry)),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next
    }

    /// The mutant `expired-scan-goes-on`.
    fn is_blind(&self) -> bool {
        self.asked > 1 && crate::mutants::on("expired-scan-goes-on")
    }

    async fn advance(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        let unreadable = |e: Failure, of: &Snapshot| of.pin.incarnation.unreadable(e);
        loop {
            // What it has fetched is not to be seen any more once the space is being deleted.
            self.snapshot.pin.incarnation.serve()?;
            if self.memory.is_empty() && !self.memory_ended {
                self.fetch()?;
            }
            let in_tables = match &mut self.walk {
                Some(walk) => {
                    let peeked = walk.peek(self.snapshot.pin.incarnation.reads(Use::Scan)).await;
                    peeked.map_err(|e| unreadable(e, &self.snapshot))?
                }
                None => None,
            };
            let order = match (self.memory.front(), in_tables) {
                (None, None) if self.memory_ended => return Ok(None),
                (None, None) => continue,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) if !self.memory_ended => continue,
                (None, Some(_)) => Ordering::Greater,
                (Some((memory, _)), Some(table)) if self.direction == Direction::Ascending => {
                    memory[..].cmp(table)
                }
                (Some((memory, _)), Some(table)) => table[..].cmp(memory),
            };
            if order == Ordering::Greater {
                let walk = self.walk.as_mut().expect("an entry of a table was seen");
                let value = walk.value().await.map_err(|e| unreadable(e, &self.snapshot))?;
                self.snapshot.pin.incarnation.serve()?;
                return Ok(walk.skip().map(|key| (key.to_vec(), value)));
            }
            if order == Ordering::Equal
                && let Some(walk) = &mut self.walk
            {
                walk.skip();
            }
            if let Some((key, Some(value))) = self.memory.pop_front() {
                return Ok(Some((key.to_vec(), value)));
            }
        }
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
        self.chunk = (2 * self.chunk).min(CHUNK_MAX);
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
