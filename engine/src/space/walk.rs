//! Walking over the tables of a space in order of keys, as a reader at one LSN sees them.
//!
//! Hot tables may overlap and are walked over all at once. Of each sorted run below only the table at hand is: where it
//! ends the walk begins anew with the next one, so that a scan opens no more tables than it reads.
//!
//! Entries are made ready many at a time, without awaiting anything, until a piece of a table is wanted that is not at hand.
//! It is there once [`Walk::supply`] has returned; dropped before that, it is wanted again. Nothing is fetched while
//! entries are ready, so that a scan keeps alive no more than one block of each table that it stands in.
use super::layers::Under;
use super::sieve::{Held, Seen, Sieve, Stopped};
use super::tables::{LiveTable, LiveTables, Reads};
use crate::ids::Lsn;
use crate::key::Key;
use crate::memtable::{Direction, Hidden, Stretch, Value};
use crate::table::{Apart, Bounded, Cursor, Damage, Merge, MergeStep, Need, Slot};
use crate::work::table::read_value;
use crate::work::{Failure, OpenTable};
use std::collections::VecDeque;
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
    /// Entries passed over since the last one that was not hidden.
    passed: usize,
    direction: Direction,
    lsn: Lsn,
    /// Upwards no key at or above it is wanted, downwards none below it.
    to: Option<Vec<u8>>,
    window: Option<Window>,
    /// Where the next window begins; `None` behind the last.
    next: Option<Start>,
    held: Option<Held>,
}

/// Upwards the first key, downwards the first one that is above all.
type Start = Option<Vec<u8>>;

/// Why a walk makes no more entries ready.
#[derive(Debug)]
pub(super) enum Stop {
    /// There are as many as there may be.
    Full,
    /// What comes next lies behind the key that it was to go on until.
    Until,
    /// Nothing follows.
    End,
    Wants(Wanted),
}

/// What a walk needs to go on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The tables of the next window.
    Window,
    /// A piece of a table of the window, by its number.
    Piece(usize, Need),
    /// The value of the entry that comes next, which lies apart in the table of this number.
    Value(usize, Apart),
}

/// Tables that are walked over together.
#[derive(Debug)]
struct Window {
    merge: Merge<Bounded>,
    tables: Vec<OpenTable>,
    /// Numbers of those that have range tombstones. Nothing of these is copied: a scan that goes from one table of a run
    /// to the next would do so again and again.
    hiding: Vec<(usize, Arc<LiveTable>)>,
    seen: Seen,
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
        let (window, next, held) = (None, Some(from), None);
        Walk { tables, generation, hidden, passed: 0, direction, lsn, to, window, next, held }
    }

    /// Makes the next entries ready, up to `limit` and those in front of `until` alone, the next key that memory has a version
    /// of. Of that key it passes over all that tables hold.
    ///
    /// # Errors
    /// What of a table is damaged. What is ready by then is right.
    pub(super) fn fill(
        &mut self,
        until: Option<&Key>,
        limit: usize,
        ready: &mut VecDeque<(Key, Value)>,
    ) -> Result<Stop, Failure> {
        loop {
            match self.held.take() {
                Some(Held { key, value: Slot::Inline(bytes), .. }) => {
                    ready.push_back((key, Value::from_bytes(bytes)));
                }
                Some(held @ Held { value: Slot::Apart(apart), table, .. }) => {
                    self.held = Some(held);
                    return Ok(Stop::Wants(Wanted::Value(table, apart)));
                }
                None => (),
            }
            if ready.len() >= limit {
                return Ok(Stop::Full);
            }
            let Some(window) = &mut self.window else {
                return Ok(if self.next.is_some() { Stop::Wants(Wanted::Window) } else { Stop::End });
            };
            let mut sieve = Sieve {
                lsn: self.lsn,
                until,
                ready: &mut *ready,
                limit,
                tables: &window.tables,
                hiding: &window.hiding,
                hidden: &self.hidden,
                passed: &mut self.passed,
                seen: &mut window.seen,
                held: &mut self.held,
                stopped: None,
            };
            let ran = match self.direction {
                Direction::Ascending => window.merge.run(|table, view| sieve.up(table, view)),
                Direction::Descending => window.merge.run(|table, view| sieve.down(table, view)),
            };
            if matches!(ran, Ok(MergeStep::End)) && !sieve.has_enough() {
                sieve.settle();
            }
            let (stopped, has_enough) = (sieve.stopped, sieve.has_enough());
            match (ran.map_err(|damage| window.damaged(damage))?, stopped) {
                (_, Some(Stopped::Until)) => return Ok(Stop::Until),
                (_, Some(Stopped::Hidden)) => {
                    // Begin anew behind all of them.
                    let stretch = self.hidden.find(&window.seen.key);
                    self.next = stretch.and_then(|stretch| behind(stretch, self.direction));
                    (self.window, self.passed) = (None, 0);
                }
                (_, None) if has_enough => (),
                (MergeStep::Need { source, need }, None) => {
                    return Ok(Stop::Wants(Wanted::Piece(source, need)));
                }
                (MergeStep::End, None) => self.window = None,
                (MergeStep::At, None) => panic!("a sieve takes what comes until it has enough"),
            }
        }
    }

    /// Gets what was wanted.
    pub(super) async fn supply(&mut self, reads: Reads<'_>, wanted: Wanted) -> Result<(), Failure> {
        match wanted {
            Wanted::Window => {
                let start = self.next.as_ref().expect("a window is wanted while one is next");
                let (window, next) = self.open(reads, start.as_deref()).await?;
                (self.window, self.next) = (Some(window), next);
            }
            Wanted::Piece(source, need) => {
                let window = self.window.as_mut().expect("a window wants it");
                let loaded = reads.fetch(&window.tables[source], need).await?;
                let fed = window.merge.feed(source, &loaded);
                fed.map_err(|damage| window.damaged(damage))?;
            }
            Wanted::Value(table, apart) => {
                let window = self.window.as_ref().expect("its entry lies in a window");
                let bytes = read_value(&window.tables[table], apart).await?;
                self.held.as_mut().expect("an entry wants it").value = Slot::Inline(bytes);
            }
        }
        Ok(())
    }

    /// The window that begins at `start`, and where the one behind it does.
    async fn open(&self, reads: Reads<'_>, start: Option<&[u8]>) -> Result<(Window, Option<Start>), Failure> {
        let (live, end) = self.tables(start);
        let (mut tables, mut sources, mut hiding) = (Vec::new(), Vec::new(), Vec::new());
        let to = end.as_deref().or(self.to.as_deref());
        for live in live {
            let open = live.open(reads.home).await?.clone();
            live.touch(reads.minute_ms());
            if !open.table.extent().tombstones().is_empty() {
                hiding.push((tables.len(), live.clone()));
            }
            let cursor = Cursor::new(open.table.clone());
            let begun = Bounded::between(cursor, &live.entry.range, self.direction, start, to);
            sources.push(begun.map_err(|damage| open.damaged(damage))?);
            tables.push(open);
        }
        let merge = Merge::new(self.direction, sources);
        Ok((Window { merge, tables, hiding, seen: Seen::default() }, end.map(Some)))
    }

    /// The tables to walk over from `start` on, the newest first, and where another one of a run takes its turn; `None` if
    /// the walk ends before.
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
        let mut end = self.to.as_deref();
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
            let nearer = |last: &&[u8]| end.is_none_or(|e| if up { *last < e } else { *last > e });
            end = last.filter(nearer).or(end);
        }
        (found, end.filter(|end| self.to.as_deref() != Some(end)).map(<[u8]>::to_vec))
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

impl Window {
    fn damaged(&self, damage: Damage) -> Failure {
        let table = self.tables.iter().find(|t| t.table.id().file == damage.file);
        table.expect("damage is that of a table walked over").damaged(damage)
    }
}
