//! What a reader sees of the versions that a walk over tables comes to.
//!
//! Upwards the newest version of a key comes first: the first one that the reader's LSN allows counts, and what follows of
//! the key is passed over. Downwards the oldest comes first: the last one that is allowed counts, which is known once
//! another key comes. A version that counts is an entry, unless it is a delete, a range delete hides it, or memory has a
//! version of that key.
use super::tables::LiveTable;
use crate::ids::Lsn;
use crate::key::Key;
use crate::limits::HIDDEN_STEPS;
use crate::memtable::{Hidden, Value};
use crate::table::{Flow, Slot, View};
use crate::work::OpenTable;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is seen of one key, across the stops of a walk.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The key that was come to last.
    pub(super) key: Key,
    /// Downwards, the version of that key that counts so far: its value and its table, or that it is none.
    version: Option<Option<(Slot, usize)>>,
}

/// An entry whose value lies apart, or lay there and was read. Nothing behind it is ready before it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) value: Slot,
    /// Number of its table.
    pub(super) table: usize,
}

/// Why a sieve takes no more, unless it is full or holds an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// What comes next lies behind `until`.
    Until,
    /// Many entries one behind the other were hidden, and more may follow.
    Hidden,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sieve<'a> {
    pub(super) lsn: Lsn,
    /// The next key in memory: it hides what tables hold of it.
    pub(super) until: Option<&'a Key>,
    /// Entries, of which there are to be no more than `limit`.
    pub(super) ready: &'a mut VecDeque<(Key, Value)>,
    pub(super) limit: usize,
    /// The tables walked over, and those of them that have range tombstones.
    pub(super) tables: &'a [OpenTable],
    pub(super) hiding: &'a [(usize, Arc<LiveTable>)],
    /// What range deletes in memory hide.
    pub(super) hidden: &'a Hidden,
    /// Entries that these have hidden since the last one that they did not.
    pub(super) passed: &'a mut usize,
    pub(super) seen: &'a mut Seen,
    pub(super) held: &'a mut Option<Held>,
    pub(super) stopped: Option<Stopped>,
}

impl Sieve<'_> {
    /// Comes to the next version upwards.
    #[inline]
    pub(super) fn up(&mut self, table: usize, view: &View<'_>) -> Flow {
        if self.has_enough() {
            return Flow::Stop;
        }
        if view.lsn > self.lsn {
            return Flow::On;
        }
        let key = Key::from(view.key);
        if key == self.seen.key {
            return Flow::On;
        }
        match self.until.map_or(Ordering::Less, |until| key.cmp(until)) {
            Ordering::Less => (),
            Ordering::Equal => {
                self.seen.key = key;
                return Flow::On;
            }
            Ordering::Greater => return self.stop(Stopped::Until),
        }
        self.seen.key = key.clone();
        match view.value() {
            Some(value) if !self.hides(view) => self.enter(key, value, table),
            _ => Flow::On,
        }
    }

    /// Comes to the next version downwards.
    #[inline]
    pub(super) fn down(&mut self, table: usize, view: &View<'_>) -> Flow {
        if self.has_enough() {
            return Flow::Stop;
        }
        if *view.key != *self.seen.key {
            if self.settle() == Flow::Stop {
                return Flow::Stop;
            }
            self.seen.key = Key::from(view.key);
        }
        if view.lsn <= self.lsn {
            let value = if self.hides(view) { None } else { view.value() };
            self.seen.version = Some(value.map(|value| (value, table)));
        }
        Flow::On
    }

    /// Downwards: no more comes of the key that was come to last.
    pub(super) fn settle(&mut self) -> Flow {
        let Some(version) = self.seen.version.take() else { return Flow::On };
        match self.until.map_or(Ordering::Less, |until| until.cmp(&self.seen.key)) {
            Ordering::Less => (),
            Ordering::Equal => return Flow::On,
            Ordering::Greater => {
                self.seen.version = Some(version);
                return self.stop(Stopped::Until);
            }
        }
        match version {
            Some((value, table)) => self.enter(self.seen.key.clone(), value, table),
            None => Flow::On,
        }
    }

    /// Whether it is full, or holds an entry.
    #[inline]
    pub(super) fn has_enough(&self) -> bool {
        self.ready.len() >= self.limit || self.held.is_some()
    }

    fn stop(&mut self, why: Stopped) -> Flow {
        self.stopped = Some(why);
        Flow::Stop
    }

    #[inline]
    fn enter(&mut self, key: Key, value: Slot, table: usize) -> Flow {
        if self.hidden.find(&key).is_some() {
            *self.passed += 1;
            return if *self.passed > HIDDEN_STEPS { self.stop(Stopped::Hidden) } else { Flow::On };
        }
        *self.passed = 0;
        match value {
            Slot::Inline(bytes) => self.ready.push_back((key, Value::from_bytes(bytes))),
            value @ Slot::Apart(_) => *self.held = Some(Held { key, value, table }),
        }
        Flow::On
    }

    /// Whether the reader does not see this version since a range delete in a table hides it.
    fn hides(&self, view: &View<'_>) -> bool {
        let mut hiding = self.hiding.iter().filter(|(_, live)| live.entry.range.contains(view.key));
        hiding.any(|(table, _)| {
            let mut covers = self.tables[*table].table.extent().covering(view.key);
            covers.any(|cover| cover > view.lsn && cover <= self.lsn)
        })
    }
}
