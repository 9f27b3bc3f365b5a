//! Walking over the tables of a space in order of keys, as a reader at one LSN sees them.
//!
//! Hot tables may overlap and are walked over all at once. Of each sorted run below only the table at hand is: where it
//! ends the walk begins anew with the next one, so that a scan opens no more tables than it reads.
use super::layers::Under;
use super::tables::{LiveTable, LiveTables, Reads, value_of};
use crate::ids::Lsn;
use crate::key::{Key, KeyRange};
use crate::limits::HIDDEN_STEPS;
use crate::memtable::{Direction, Hidden, Stretch, Value};
use crate::table::{Bounded, Cursor, Damage, Merge, MergeStep, Slot};
use crate::work::{Failure, OpenTable};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(super) struct Walk {
    /// Of memtables it keeps none: they are to go when they are flushed, however long a scan rests.
    tables: Arc<LiveTables>,
    /// Of which they are the tables.
    pub(super) generation: u64,
    /// What range deletes in memory hide of them.
    hidden: Hidden,
    /// Entries stepped over since the last one that was not hidden.
    stepped: usize,
    direction: Direction,
    lsn: Lsn,
    /// Upwards no key at or above it is wanted, downwards none below it.
    to: Option<Vec<u8>>,
    window: Option<Window>,
    /// Where the next window begins; `None` before the first and behind the last.
    next: Option<Start>,
    /// The entry that comes next, once it is known.
    head: Option<Entry>,
}

/// Upwards the first key, downwards the first one that is above all.
type Start = Option<Vec<u8>>;

#[derive(Debug)]
struct Entry {
    key: Key,
    value: Slot,
    table: OpenTable,
}

/// Tables that are walked over together.
#[derive(Debug)]
struct Window {
    merge: Merge<Bounded>,
    tables: Vec<OpenTable>,
    /// Those of them that have range tombstones, and which keys of them count. Nothing of it is copied: a scan that goes
    /// from one table of a run to the next would do so again and again.
    hiding: Vec<(OpenTable, KeyRange)>,
    /// Where a table of a run ends.
    end: Option<Vec<u8>>,
    /// The key looked at, and what is seen of it so far: downwards the oldest version comes first.
    key: Option<Key>,
    seen: Option<(Option<Slot>, usize)>,
}

impl Walk {
    /// Begins with the first key at or above `from`, or downwards below it, and goes on to `to`.
    pub(super) fn new(
        under: &Under,
        hidden: Hidden,
        lsn: Lsn,
        direction: Direction,
        from: Option<Vec<u8>>,
        to: Option<Vec<u8>>,
    ) -> Walk {
        let (tables, generation) = (under.tables.clone(), under.generation);
        let (window, next, head) = (None, Some(from), None);
        Walk { tables, generation, hidden, stepped: 0, direction, lsn, to, window, next, head }
    }

    /// The key that comes next.
    pub(super) async fn peek(&mut self, reads: Reads<'_>) -> Result<Option<&Key>, Failure> {
        while self.head.is_none() {
            if self.window.is_none() {
                let Some(start) = &self.next else { return Ok(None) };
                let window = self.open(reads, start.as_deref()).await?;
                self.next = window.end.clone().map(Some);
                self.window = Some(window);
            }
            let window = self.window.as_mut().expect("just opened");
            match window.step(self.lsn, self.direction)? {
                Found::Entry(entry) if !wanted(&self.to, &entry.key, self.direction) => {
                    (self.window, self.next) = (None, None);
                }
                Found::Entry(entry) => match self.hidden.find(&entry.key) {
                    None => (self.head, self.stepped) = (Some(entry), 0),
                    Some(stretch) => {
                        self.stepped += 1;
                        if self.stepped > HIDDEN_STEPS {
                            // Many more may follow: begin anew behind all of them.
                            self.next = behind(stretch, self.direction);
                            (self.window, self.stepped) = (None, 0);
                        }
                    }
                },
                Found::Need(source, need) => {
                    let loaded = reads.fetch(&window.tables[source], need).await?;
                    let fed = window.merge.feed(source, &loaded);
                    fed.map_err(|damage| window.damaged(damage))?;
                }
                Found::End => self.window = None,
            }
        }
        Ok(self.head.as_ref().map(|entry| &entry.key))
    }

    /// The value of the key that comes next.
    pub(super) async fn value(&self) -> Result<Value, Failure> {
        let head = self.head.as_ref().expect("asked of an entry that was peeked at");
        value_of(&head.table, head.value.clone()).await
    }

    /// Goes on behind the key that came next, which it hands over.
    pub(super) fn skip(&mut self) -> Option<Key> {
        self.head.take().map(|entry| entry.key)
    }

    async fn open(&self, reads: Reads<'_>, start: Option<&[u8]>) -> Result<Window, Failure> {
        let (live, end) = self.tables(start);
        let (mut tables, mut sources, mut hiding) = (Vec::new(), Vec::new(), Vec::new());
        for live in live {
            let open = live.open(reads.home).await?.clone();
            live.touch(reads.minute_ms());
            let range = &live.entry.range;
            if !open.table.extent().tombstones().is_empty() {
                hiding.push((open.clone(), range.clone()));
            }
            let cursor = Cursor::new(open.table.clone());
            let begun = Bounded::begin_at(cursor, range.clone(), self.direction, start);
            sources.push(begun.map_err(|damage| open.damaged(damage))?);
            tables.push(open);
        }
        let merge = Merge::new(self.direction, sources);
        Ok(Window { merge, tables, hiding, end, key: None, seen: None })
    }

    /// The tables to walk over from `start` on, the newest first, and where another one of a run takes its turn.
    fn tables(&self, start: Option<&[u8]>) -> (Vec<&Arc<LiveTable>>, Option<Vec<u8>>) {
        let up = self.direction == Direction::Ascending;
        let reaches = |t: &LiveTable| match (up, start) {
            (_, None) => true,
            (true, Some(start)) => !t.entry.range.ends_by(start),
            (false, Some(start)) => t.entry.range.lower() < start,
        };
        let wanted = |t: &LiveTable| match (&self.to, up) {
            (None, _) => true,
            (Some(to), true) => t.entry.range.lower() < &to[..],
            (Some(to), false) => !t.entry.range.ends_by(to),
        };
        let tables = &self.tables;
        let mut found: Vec<_> = tables.hot.iter().filter(|t| reaches(t) && wanted(t)).collect();
        let mut end: Option<Vec<u8>> = None;
        for run in [&tables.warm, &tables.cold] {
            let first = if up {
                run.get(run.partition_point(|t| !reaches(t)))
            } else {
                run[..run.partition_point(|t| reaches(t))].last()
            };
            let Some(table) = first.filter(|t| wanted(t)) else { continue };
            found.push(table);
            let range = &table.entry.range;
            let last = if up { range.upper() } else { Some(range.lower()).filter(|l| !l.is_empty()) };
            let nearer = |last: &&[u8]| end.as_deref().is_none_or(|e| if up { *last < e } else { *last > e });
            if let Some(last) = last.filter(nearer) {
                end = Some(last.to_vec());
            }
        }
        (found, end)
    }
}

/// Whether `key` does not lie behind the end `to` of a walk.
fn wanted(to: &Option<Vec<u8>>, key: &[u8], direction: Direction) -> bool {
    match (to, direction) {
        (None, _) => true,
        (Some(to), Direction::Ascending) => key < &to[..],
        (Some(to), Direction::Descending) => key >= &to[..],
    }
}

/// Where a walk goes on behind `stretch`, if anything may follow.
fn behind((start, end): &Stretch, direction: Direction) -> Option<Start> {
    let next = match direction {
        Direction::Ascending => end.as_ref()?,
        Direction::Descending => start,
    };
    (!next.is_empty()).then(|| Some(next.to_vec()))
}

enum Found {
    Entry(Entry),
    Need(usize, crate::table::Need),
    End,
}

impl Window {
    /// To the next entry that a reader at `lsn` sees.
    fn step(&mut self, lsn: Lsn, direction: Direction) -> Result<Found, Failure> {
        let up = direction == Direction::Ascending;
        loop {
            let next = match self.merge.state() {
                MergeStep::Need { source, need } => return Ok(Found::Need(source, need)),
                MergeStep::End => None,
                MergeStep::At => self.merge.view().filter(|view| match &self.end {
                    None => true,
                    Some(end) if up => view.key < &end[..],
                    Some(end) => view.key >= &end[..],
                }),
            };
            let Some(view) = next else {
                return Ok(self.seen().map_or(Found::End, Found::Entry));
            };
            if self.key.as_deref() != Some(view.key) {
                let key = Key::from(view.key);
                if let Some(entry) = self.seen() {
                    return Ok(Found::Entry(entry));
                }
                self.key = Some(key);
                continue;
            }
            // Upwards the first version that is low enough counts, downwards the last one.
            if view.lsn <= lsn && (!up || self.seen.is_none()) {
                let source = self.merge.current().expect("it stands at an entry");
                let value = if self.hides(view.key, view.lsn, lsn) { None } else { view.value() };
                self.seen = Some((value, source));
            }
            self.merge.advance().map_err(|damage| self.damaged(damage))?;
        }
    }

    /// Whether a reader at `lsn` does not see the version `written` of `key` since a range delete hides it.
    fn hides(&self, key: &[u8], written: Lsn, lsn: Lsn) -> bool {
        let mut hiding = self.hiding.iter().filter(|(_, range)| range.contains(key));
        hiding.any(|(open, _)| open.table.extent().covering(key).any(|cover| cover > written && cover <= lsn))
    }

    /// What was seen of the key that was looked at last, if it is a value.
    fn seen(&mut self) -> Option<Entry> {
        let (value, source) = self.seen.take()?;
        let key = self.key.take()?;
        Some(Entry { key, value: value?, table: self.tables[source].clone() })
    }

    fn damaged(&self, damage: Damage) -> Failure {
        let table = self.tables.iter().find(|t| t.table.id().file == damage.file);
        table.expect("damage is that of a table walked over").damaged(damage)
    }
}
