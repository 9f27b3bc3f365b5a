//! What a space holds, from the newest to the oldest: the memtable that takes writes, sealed ones, tables.
//!
//! A reader takes the memtable and all that is underneath in one step, under one lock. What is underneath never
//! changes in place: sealing, a flush and every other job put another one in its place, with a new generation number.
use super::pins::Pins;
use super::tables::LiveTables;
use crate::budget::Budget;
use crate::config::Amount;
use crate::error::{Error, Result};
use crate::held::Holders;
use crate::ids::{Lsn, SegmentNo};
use crate::key::Key;
use crate::manifest::Tables;
use crate::memtable::{Direction, Entry, Hidden, Memtable, Seen};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) active: Memtable,
    pub(crate) under: Arc<Under>,
    /// Snapshots and scans; each that has not expired is pinned in the memtable.
    pub(super) pins: Pins,
    /// Tables have something for pins alone that lie between these; nothing, without.
    pub(super) held_between: Option<Holders>,
    /// What readers are told instead, once the space is being deleted.
    refused: Option<Error>,
    charge: Charge,
    /// Bytes of log that count against the engine's budget for it.
    log_charged: u64,
}

/// Whether its memory counts against the engine's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    Engine,
    /// The opening has ended: only handles and snapshots that somebody still holds keep what is left of it.
    Nobody,
}

/// All that is underneath the memtable that takes writes.
#[derive(Debug, Default)]
pub(crate) struct Under {
    /// The oldest first.
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) tables: Arc<LiveTables>,
    /// Counts changes, so that whoever comes back can see whether there was one.
    pub(crate) generation: u64,
}

/// A memtable that changes no more and waits for its flush.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) mem: Arc<Memtable>,
    /// Its commits, and those of sealed ones before it, lie in the log's segments up to this one.
    pub(crate) upto: SegmentNo,
    /// Allocated bytes of these segments, without those of memtables before it.
    pub(crate) log_bytes: u64,
}

/// Where a reader finds what it sees of a key.
pub(crate) enum Look {
    /// In memory, or nowhere; nothing is a delete.
    Seen(Option<Entry>),
    /// Not in memory.
    InTables(Arc<Under>),
}

impl Layers {
    pub(crate) fn new(active: Memtable, tables: &Tables) -> Layers {
        let tables = Arc::new(LiveTables::of(tables, &LiveTables::default()));
        let under = Arc::new(Under { sealed: Vec::new(), tables, generation: 0 });
        Layers {
            active,
            under,
            pins: Pins::default(),
            held_between: None,
            refused: None,
            charge: Charge::Engine,
            log_charged: 0,
        }
    }

    /// What a reader has to ask before it looks, under the same lock.
    pub(crate) fn serve(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// Readers are told `error` from now on.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.refused = Some(error);
    }

    /// Memory went from `before` to `after` bytes.
    pub(crate) fn moved(&self, budget: &Budget, before: u64, after: u64) {
        if self.counts() {
            budget.moved(before, after);
        }
    }

    /// Brings up to date what its log takes of the engine's budget; `since_rotation` is what the active memtable keeps.
    pub(crate) fn note_log(&mut self, budget: &Budget, since_rotation: u64) {
        if self.counts() {
            let sealed = self.under.sealed.iter().map(|s| s.log_bytes).sum::<u64>();
            let before = std::mem::replace(&mut self.log_charged, sealed + since_rotation);
            budget.log_moved(before, self.log_charged);
        }
    }

    /// What its log takes of the engine's budget.
    pub(crate) fn log_charged(&self) -> u64 {
        self.log_charged
    }

    /// Whether the opening goes on, and so its memory counts.
    pub(crate) fn counts(&self) -> bool {
        self.charge == Charge::Engine
    }

    /// The opening has ended: its memory no longer counts against the budget.
    pub(crate) fn uncharge(&mut self, budget: &Budget) {
        self.moved(budget, self.bytes(), 0);
        budget.log_moved(std::mem::take(&mut self.log_charged), 0);
        if std::mem::replace(&mut self.charge, Charge::Nobody) == Charge::Engine {
            budget.left();
        }
    }

    /// Drops all that it holds; readers are refused. Pins stay, to be released by those who hold them.
    pub(crate) fn clear(&mut self) {
        assert!(self.refused.is_some(), "what is gone is not to be read as absent");
        self.active = self.active.successor();
        self.change(|under| *under = Under { generation: under.generation, ..Under::default() });
    }

    /// What all memtables take.
    pub(crate) fn bytes(&self) -> u64 {
        self.active.bytes() + self.under.sealed.iter().map(|s| s.mem.bytes()).sum::<u64>()
    }

    /// What all memtables hold.
    pub(crate) fn holds(&self) -> Amount {
        self.under.sealed.iter().fold(self.active.holds(), |sum, s| sum.plus(s.mem.holds()))
    }

    /// Tombstones in all memtables.
    pub(crate) fn tombstones(&self) -> u64 {
        self.active.tombstones() + self.under.sealed.iter().map(|s| s.mem.tombstones()).sum::<u64>()
    }

    /// The last commit.
    pub(crate) fn last(&self) -> Lsn {
        self.active.last()
    }

    /// What a reader at `lsn` sees of `key` in memory, or where it has to go on.
    pub(crate) fn look(&self, key: &[u8], lsn: Lsn) -> Look {
        let sealed = || self.under.sealed.iter().rev().find_map(|s| s.mem.get(key, lsn));
        match self.active.get(key, lsn).or_else(sealed) {
            Some(seen) => Look::Seen(seen),
            None if self.under.tables.is_empty() => Look::Seen(None),
            None => Look::InTables(self.under.clone()),
        }
    }

    /// The first keys between the bounds, in `direction`, of which a reader at `lsn` sees something in memory: up to
    /// `limit` and more of several memtables. And whether these were all.
    pub(crate) fn range(
        &self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        lsn: Lsn,
        direction: Direction,
        limit: usize,
    ) -> (Vec<(Key, Seen)>, bool) {
        let found = self.active.range(lower, upper, lsn, direction, limit);
        if self.under.sealed.is_empty() {
            let ended = found.len() < limit;
            return (found, ended);
        }
        let sealed = self.under.sealed.iter();
        let sealed = sealed.map(|s| (&*s.mem, s.mem.range(lower, upper, lsn, direction, limit)));
        let (mut all, mut known) = (BTreeMap::<Key, Seen>::new(), None);
        let before = |a: &Key, b: &Key| match direction {
            Direction::Ascending => a < b,
            Direction::Descending => a > b,
        };
        // The oldest first: newer ones take their place.
        for (mem, found) in sealed.chain([(&self.active, found)]) {
            if !mem.spans().is_empty() {
                all.iter_mut().filter(|(key, _)| mem.hides(key, lsn)).for_each(|(_, seen)| *seen = None);
            }
            let last = found.last().filter(|_| found.len() == limit).map(|(key, _)| key.clone());
            if let Some(last) = last
                && known.as_ref().is_none_or(|known| before(&last, known))
            {
                known = Some(last);
            }
            all.extend(found);
        }
        // Behind the last key of a memtable that may have more, nothing is known of that memtable.
        let within = |key: &Key| known.as_ref().is_none_or(|known| !before(known, key));
        let mut found: Vec<_> = all.into_iter().filter(|(key, _)| within(key)).collect();
        if direction == Direction::Descending {
            found.reverse();
        }
        (found, known.is_none())
    }

    /// What of the tables between the bounds a reader at `lsn` finds deleted by ranges in memory.
    pub(crate) fn hidden(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, lsn: Lsn) -> Hidden {
        let sealed = self.under.sealed.iter().map(|s| &*s.mem);
        let memtables = sealed.chain([&self.active]);
        Hidden::of(memtables.flat_map(|mem| mem.hidden(lower, upper, lsn)).collect())
    }

    /// The newest version of `key` in memory, and whether it is a value.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<(Lsn, bool)> {
        let sealed = || self.under.sealed.iter().rev().find_map(|s| s.mem.newest(key));
        self.active.newest(key).or_else(sealed)
    }

    /// Seals the memtable.
    pub(crate) fn seal(&mut self, upto: SegmentNo, log_bytes: u64) {
        let next = self.active.successor();
        let mem = Arc::new(std::mem::replace(&mut self.active, next));
        self.change(|under| under.sealed.push(Sealed { mem, upto, log_bytes }));
    }

    /// The oldest `count` sealed memtables are in tables now.
    pub(crate) fn flushed(&mut self, count: usize) {
        self.change(|under| drop(under.sealed.drain(..count)));
    }

    /// Shows the tables of a new version.
    pub(crate) fn show(&mut self, tables: &Tables) {
        if !self.under.tables.are(tables) {
            self.change(|under| under.tables = Arc::new(LiveTables::of(tables, &under.tables)));
        }
    }

    /// Whether nobody reads what is underneath, or was.
    pub(crate) fn is_unread(&self) -> bool {
        let tables = &self.under.tables;
        let unread = Arc::strong_count(&self.under) == 1 && Arc::strong_count(tables) == 1;
        unread && tables.is_only_version() || crate::mutants::on("rests-under-readers")
    }

    /// Closes the tables; each is opened again when it is next read. What was closed, to be dropped without any lock.
    ///
    /// # Panics
    /// Unless [`Layers::is_unread`].
    pub(crate) fn close_tables(&mut self) -> Arc<LiveTables> {
        assert!(self.is_unread(), "tables that are read stay open");
        let before = self.under.tables.clone();
        self.change(|under| under.tables = Arc::new(before.closed()));
        before
    }

    fn change(&mut self, with: impl FnOnce(&mut Under)) {
        let old = &self.under;
        let (sealed, tables) = (old.sealed.clone(), old.tables.clone());
        let mut new = Under { sealed, tables, generation: old.generation + 1 };
        with(&mut new);
        self.under = Arc::new(new);
    }
}
