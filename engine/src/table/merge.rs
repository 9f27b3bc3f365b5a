//! Many sorted sources as one: keys ascending, of one key the newest version first, or all of it the other way round.
//!
//! Sources are given newest first. Where two hold the same version of the same key, the first of them comes first; they
//! are copies of each other, and whoever walks over a merge takes one.
use super::cursor::{Cursor, View};
use super::entry::version_order;
use super::open::{Damage, Loaded, Need, Step};
use crate::ids::Lsn;
use crate::key::{Key, KeyRange};
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

    /// Hands the entry that it stands at, and those that follow in `direction`, to `each` as long as that takes them. Then it
    /// stands at the first that was not taken.
    ///
    /// # Errors
    /// What is damaged.
    fn step_while(
        &mut self,
        direction: Direction,
        each: impl FnMut(&View<'_>) -> Flow,
    ) -> Result<Step<bool>, Damage>;

    /// Goes on with the piece that was needed, in the same direction.
    ///
    /// # Errors
    /// What is damaged.
    fn feed(&mut self, loaded: &Loaded, direction: Direction) -> Result<Step<bool>, Damage>;
}

/// Whether whoever is handed an entry takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    On,
    /// Neither this one nor what follows.
    Stop,
}

/// A cursor over the part of a table that counts.
#[derive(Debug)]
pub struct Bounded {
    cursor: Cursor,
    /// Where that part ends: upwards no key at or above it counts, downwards none below it. `None` if all of the table that
    /// follows counts, as of most tables: then no key is compared with anything.
    end: Option<Key>,
    /// Whether it stands at an entry that counts.
    inside: bool,
}

impl Bounded {
    /// The entries within `range`, and the first move: to the first of them in `direction`.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn begin(
        cursor: Cursor,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<(Bounded, Step<bool>), Damage> {
        Bounded::between(cursor, range, direction, None, None)
    }

    /// As [`Bounded::begin`], but upwards no key below `from` and none at or above `to`, downwards no key at or above `from`
    /// and none below `to`.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn between(
        mut cursor: Cursor,
        range: &KeyRange,
        direction: Direction,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> Result<(Bounded, Step<bool>), Damage> {
        let bounds = cursor.table().extent().bounds();
        let (end, step) = match direction {
            Direction::Ascending => {
                let end = [to, range.upper()].into_iter().flatten().min();
                let end = end.filter(|end| bounds.is_some_and(|(_, last)| *end <= &last[..])).map(Key::from);
                let first = from.map_or(range.lower(), |from| from.max(range.lower()));
                (end, cursor.seek(first, Lsn::from_raw(u64::MAX))?)
            }
            Direction::Descending => {
                let end = to.map_or(range.lower(), |to| to.max(range.lower()));
                let end = bounds.filter(|(first, _)| &first[..] < end).map(|_| Key::from(end));
                let step = match [from, range.upper()].into_iter().flatten().min() {
                    Some(bound) => cursor.seek_before(bound)?,
                    None => cursor.seek_last()?,
                };
                (end, step)
            }
        };
        let mut bounded = Bounded { cursor, end, inside: false };
        let step = bounded.bound(step, direction);
        Ok((bounded, step))
    }

    /// The cursor within.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    #[inline]
    fn bound(&mut self, step: Step<bool>, direction: Direction) -> Step<bool> {
        self.inside = step == Step::Done(true) && (self.end.is_none() || self.is_in_front(direction));
        match step {
            Step::Done(_) => Step::Done(self.inside),
            need => need,
        }
    }

    /// Whether the entry that it stands at lies in front of its end.
    fn is_in_front(&self, direction: Direction) -> bool {
        match (&self.end, self.cursor.entry(), direction) {
            (None, ..) => true,
            (_, None, _) => false,
            (Some(end), Some(entry), Direction::Ascending) => entry.key < &end[..],
            (Some(end), Some(entry), Direction::Descending) => entry.key >= &end[..],
        }
    }
}

impl Source for Bounded {
    #[inline]
    fn view(&self) -> Option<View<'_>> {
        if self.inside { self.cursor.entry() } else { None }
    }
    #[inline]
    fn step(&mut self, direction: Direction) -> Result<Step<bool>, Damage> {
        let step = match direction {
            Direction::Ascending => self.cursor.forward()?,
            Direction::Descending => self.cursor.back()?,
        };
        Ok(self.bound(step, direction))
    }
    #[inline]
    fn step_while(
        &mut self,
        direction: Direction,
        mut each: impl FnMut(&View<'_>) -> Flow,
    ) -> Result<Step<bool>, Damage> {
        if direction == Direction::Descending {
            loop {
                let view = self.view().expect("it stands at an entry");
                if each(&view) == Flow::Stop {
                    return Ok(Step::Done(true));
                }
                let step = self.step(direction)?;
                if step != Step::Done(true) {
                    return Ok(step);
                }
            }
        }
        let end = &self.end;
        let step = self.cursor.forward_while(|view| match end {
            Some(end) if *view.key >= **end => Flow::Stop,
            _ => each(view),
        })?;
        Ok(self.bound(step, direction))
    }
    fn feed(&mut self, loaded: &Loaded, direction: Direction) -> Result<Step<bool>, Damage> {
        let step = self.cursor.feed(loaded)?;
        Ok(self.bound(step, direction))
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
        let step = self.sources[source].feed(loaded, self.direction)?;
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

    /// Hands the entry that it stands at, and those that follow, to `each` with the number of their source, as long as that
    /// takes them. Then it stands at the first that was not taken. One source is gone through as long as no other one comes
    /// before what it holds next.
    ///
    /// # Errors
    /// What is damaged.
    #[inline]
    pub fn run(&mut self, mut each: impl FnMut(usize, &View<'_>) -> Flow) -> Result<MergeStep, Damage> {
        let direction = self.direction;
        while let Some(source) = self.current() {
            let (lead, next) = match self.order.get(1) {
                None => (&mut self.sources[source], None),
                Some(&next) => {
                    let both = self.sources.get_disjoint_mut([source, next]);
                    let [lead, other] = both.expect("a source has one place in the order");
                    (lead, other.view().map(|view| (view.key, view.lsn, next)))
                }
            };
            let mut stopped = false;
            let step = lead.step_while(direction, |view| {
                let here = (view.key, view.lsn, source);
                if next.is_some_and(|next| order(direction, next, here).is_lt()) {
                    return Flow::Stop;
                }
                let flow = each(source, view);
                stopped = flow == Flow::Stop;
                flow
            })?;
            match step {
                Step::Done(true) if stopped => break,
                Step::Done(true) => self.sink(0),
                step => {
                    self.order.remove(0);
                    self.enter(source, step);
                }
            }
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
            (view.key, view.lsn, source)
        };
        order(self.direction, place(a), place(b))
    }
}

/// The order in which versions come that sources of these numbers stand at.
#[inline]
fn order(direction: Direction, a: (&[u8], Lsn, usize), b: (&[u8], Lsn, usize)) -> Ordering {
    let order = version_order((a.0, a.1), (b.0, b.1));
    match direction {
        Direction::Ascending => order.then(a.2.cmp(&b.2)),
        Direction::Descending => order.reverse().then(a.2.cmp(&b.2)),
    }
}
