//! Many sorted sources as one: keys ascending, of one key the newest version first, or all of it the other way round.
//!
//! Sources are given newest first. Where two hold the same version of the same key, the first of them comes first; they
//! are copies of each other, and whoever walks over a merge takes one.
use super::cursor::{Cursor, View};
use super::entry::version_order;
use super::open::{Damage, Loaded, Need, Step};
use crate::ids::Lsn;
use crate::key::KeyRange;
use crate::memtable::Direction;
use std::cmp::Ordering;

/// Something sorted that can be walked over.
pub trait Source {
    /// The entry that it stands at; `None` at the end, and as long as something is needed.
    fn view(&self) -> Option<View<'_>>;

    /// To the next entry in `direction`.
    ///
    /// # Errors
    /// What is damaged.
    fn step(&mut self, direction: Direction) -> Result<Step<bool>, Damage>;

    /// Goes on with the piece that was needed.
    ///
    /// # Errors
    /// What is damaged.
    fn feed(&mut self, loaded: &Loaded) -> Result<Step<bool>, Damage>;
}

/// A cursor over the part of a table that counts.
#[derive(Debug)]
pub struct Bounded {
    cursor: Cursor,
    range: KeyRange,
    /// Whether it stands at an entry within the range.
    inside: bool,
}

impl Bounded {
    /// The entries within `range`, and the first move: to the first of them in `direction`.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn begin(
        cursor: Cursor,
        range: KeyRange,
        direction: Direction,
    ) -> Result<(Bounded, Step<bool>), Damage> {
        Bounded::begin_at(cursor, range, direction, None)
    }

    /// As [`Bounded::begin`], but no key below `start` upwards, and none at or above it downwards.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn begin_at(
        mut cursor: Cursor,
        range: KeyRange,
        direction: Direction,
        start: Option<&[u8]>,
    ) -> Result<(Bounded, Step<bool>), Damage> {
        let step = match direction {
            Direction::Ascending => {
                let first = start.map_or(range.lower(), |start| start.max(range.lower()));
                cursor.seek(first, Lsn::from_raw(u64::MAX))?
            }
            Direction::Descending => match [start, range.upper()].into_iter().flatten().min() {
                Some(bound) => cursor.seek_before(bound)?,
                None => cursor.seek_last()?,
            },
        };
        let mut bounded = Bounded { cursor, range, inside: false };
        let step = bounded.bound(step);
        Ok((bounded, step))
    }

    /// The cursor within.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn bound(&mut self, step: Step<bool>) -> Step<bool> {
        self.inside = self.cursor.entry().is_some_and(|entry| self.range.contains(entry.key));
        match step {
            Step::Done(_) => Step::Done(self.inside),
            need => need,
        }
    }
}

impl Source for Bounded {
    fn view(&self) -> Option<View<'_>> {
        if self.inside { self.cursor.entry() } else { None }
    }
    fn step(&mut self, direction: Direction) -> Result<Step<bool>, Damage> {
        let step = match direction {
            Direction::Ascending => self.cursor.forward()?,
            Direction::Descending => self.cursor.back()?,
        };
        Ok(self.bound(step))
    }
    fn feed(&mut self, loaded: &Loaded) -> Result<Step<bool>, Damage> {
        let step = self.cursor.feed(loaded)?;
        Ok(self.bound(step))
    }
}

/// Where a merge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeStep {
    /// At an entry: [`Merge::view`].
    At,
    /// Behind the last one.
    End,
    /// It goes on when the source of this number is fed this piece.
    Need { source: usize, need: Need },
}

/// Walks over several sources at once.
#[derive(Debug)]
pub struct Merge<S> {
    direction: Direction,
    sources: Vec<S>,
    /// Sources that stand at an entry, in the order of these. Moving one on seldom changes its place by much.
    order: Vec<usize>,
    /// Sources that need something.
    waiting: Vec<(usize, Need)>,
}

impl<S: Source> Merge<S> {
    /// A merge of sources, newest first, each with how far its first move in `direction` came.
    #[must_use]
    pub fn new(direction: Direction, sources: Vec<(S, Step<bool>)>) -> Merge<S> {
        let (sources, steps): (Vec<S>, Vec<_>) = sources.into_iter().unzip();
        let mut merge = Merge { direction, sources, order: Vec::new(), waiting: Vec::new() };
        for (source, step) in steps.into_iter().enumerate() {
            merge.enter(source, step);
        }
        merge
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> MergeStep {
        match (self.waiting.last(), self.order.first()) {
            (Some(&(source, need)), _) => MergeStep::Need { source, need },
            (None, Some(_)) => MergeStep::At,
            (None, None) => MergeStep::End,
        }
    }

    /// How many sources there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sources.len()
    }
    /// The source of this number.
    #[must_use]
    pub fn source(&self, source: usize) -> &S {
        &self.sources[source]
    }
    /// The number of the source that it stands at, if it is at an entry.
    #[must_use]
    pub fn current(&self) -> Option<usize> {
        self.order.first().copied().filter(|_| self.waiting.is_empty())
    }
    /// The entry that it stands at.
    #[must_use]
    pub fn view(&self) -> Option<View<'_>> {
        self.sources[self.current()?].view()
    }

    /// Hands `source` the piece that it needed.
    ///
    /// # Errors
    /// What is damaged.
    ///
    /// # Panics
    /// If it needed none.
    pub fn feed(&mut self, source: usize, loaded: &Loaded) -> Result<MergeStep, Damage> {
        let at = self.waiting.iter().position(|(s, _)| *s == source).expect("a source is fed what it needs");
        self.waiting.swap_remove(at);
        let step = self.sources[source].feed(loaded)?;
        self.enter(source, step);
        Ok(self.state())
    }

    /// To the next entry.
    ///
    /// # Errors
    /// What is damaged.
    ///
    /// # Panics
    /// If it stands at none.
    pub fn advance(&mut self) -> Result<MergeStep, Damage> {
        let source = self.current().expect("a merge moves on from an entry");
        let step = self.sources[source].step(self.direction)?;
        if step == Step::Done(true) {
            self.sink(0);
        } else {
            self.order.remove(0);
            self.enter(source, step);
        }
        Ok(self.state())
    }

    fn enter(&mut self, source: usize, step: Step<bool>) {
        match step {
            Step::Done(false) => (),
            Step::Need(need) => self.waiting.push((source, need)),
            Step::Done(true) => {
                self.order.insert(0, source);
                self.sink(0);
            }
        }
    }

    /// Moves the source at place `at` behind those that come before it.
    fn sink(&mut self, mut at: usize) {
        while at + 1 < self.order.len() && self.compare(self.order[at + 1], self.order[at]).is_lt() {
            self.order.swap(at, at + 1);
            at += 1;
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let place = |source: usize| {
            let view = self.sources[source].view().expect("only sources at an entry are ordered");
            (view.key, view.lsn)
        };
        let order = version_order(place(a), place(b));
        match self.direction {
            Direction::Ascending => order.then(a.cmp(&b)),
            Direction::Descending => order.reverse().then(a.cmp(&b)),
        }
    }
}
