//! Range deletes of a memtable: which stretches of keys are deleted, and since when.
//!
//! All keys that some range delete covers are cut into *parts* that do not overlap. Within a part every key is covered by
//! the same range deletes, and the part has their LSNs, ascending. So a search for the range deletes over a key is one
//! search in a tree, however many of them overlap. Adding one takes as long as it meets parts.
//!
//! A range delete hides every version whose LSN is *lower* than its own: one with the same LSN was written behind it in
//! the same commit.
use super::entry_cost;
use crate::ids::{Lsn, Priority};
use crate::key::{Key, KeyRange};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Bytes that one more LSN costs a part.
const LSN_COST: u64 = 16;
/// A part with so many LSNs is looked through for those that no reader tells apart; then again whenever they have doubled.
const LOOK_THROUGH: usize = 4;

/// A stretch of keys: from the first one on and below the second; without that, to the end.
pub type Stretch = (Key, Option<Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    end: Option<Key>,
    /// Ascending; never empty.
    lsns: Vec<Lsn>,
}

impl Part {
    fn ends_by(&self, key: &[u8]) -> bool {
        self.end.as_deref().is_some_and(|end| end <= key)
    }

    fn cost(&self, start: &Key) -> u64 {
        let end = self.end.as_ref().map_or(0, |end| end.len());
        entry_cost(start.len() + end, 0, Priority::default()) + LSN_COST * self.lsns.len() as u64
    }

    /// Forgets each LSN that no reader tells from the next one that stays.
    fn forget_unread(&mut self, read: impl Fn(Lsn, Lsn) -> bool) {
        let mut newer = None;
        let mut stay: Vec<Lsn> = Vec::with_capacity(self.lsns.len());
        for &lsn in self.lsns.iter().rev() {
            if newer.is_none_or(|newer| read(lsn, newer)) {
                stay.push(lsn);
                newer = Some(lsn);
            }
        }
        stay.reverse();
        self.lsns = stay;
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    parts: BTreeMap<Key, Part>,
    bytes: u64,
    /// LSNs of all parts.
    lsns: u64,
    /// Range deletes whose keys and older LSNs may be collected once the floor reaches their LSN; ascending. They are
    /// accounted with what an entry of their bounds costs: a stretch deleted again keeps bounds that no part has.
    garbage: VecDeque<(Lsn, Stretch)>,
}

fn garbage_cost((start, end): &Stretch) -> u64 {
    entry_cost(start.len() + end.as_ref().map_or(0, |end| end.len()), 0, Priority::default())
}

impl Spans {
    /// Whether nothing is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What they are accounted with.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many range deletes there are, counted in each part.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lsns
    }

    /// All parts, by ascending key, each with its LSNs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Key>, &[Lsn])> {
        self.parts.iter().map(|(start, part)| (start, part.end.as_ref(), &part.lsns[..]))
    }

    /// Stretches of which something is still to be collected.
    #[cfg(test)]
    pub fn waiting(&self) -> impl Iterator<Item = &Stretch> {
        self.garbage.iter().map(|(_, stretch)| stretch)
    }

    fn part(&self, key: &[u8]) -> Option<&Part> {
        let (_, part) = self.parts.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        Some(part).filter(|part| !part.ends_by(key))
    }

    /// The newest range delete not above `lsn` that covers `key`.
    #[must_use]
    pub fn cover(&self, key: &[u8], lsn: Lsn) -> Option<Lsn> {
        if self.parts.is_empty() {
            return None;
        }
        let lsns = &self.part(key)?.lsns;
        lsns[..lsns.partition_point(|l| *l <= lsn)].last().copied()
    }

    /// The oldest range delete above `lsn` that covers `key`.
    #[must_use]
    pub fn next_above(&self, key: &[u8], lsn: Lsn) -> Option<Lsn> {
        let lsns = &self.part(key)?.lsns;
        lsns.get(lsns.partition_point(|l| *l <= lsn)).copied()
    }

    /// The LSN that some range delete not above `floor` has over every key of `range`: whatever is older there, a reader at
    /// the floor or above does not see.
    #[must_use]
    pub fn cover_all(&self, range: &KeyRange, floor: Lsn) -> Option<Lsn> {
        let mut covered = self.cover(range.lower(), floor)?;
        let mut part = self.part(range.lower())?;
        loop {
            match (&part.end, range.upper()) {
                (None, _) => return Some(covered),
                (Some(end), Some(upper)) if **end >= *upper => return Some(covered),
                (Some(end), _) => {
                    covered = covered.min(self.cover(end, floor)?);
                    part = self.part(end)?;
                }
            }
        }
    }

    /// The stretches between the bounds that a reader at `lsn` finds deleted; those at the bounds may reach beyond.
    #[must_use]
    pub fn hidden(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, lsn: Lsn) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = Vec::new();
        if self.parts.is_empty() {
            return found;
        }
        let from = match lower {
            Bound::Unbounded => &[][..],
            Bound::Included(key) | Bound::Excluded(key) => key,
        };
        let before = self.parts.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(from))).next_back();
        let rest = self.parts.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        for (start, part) in before.into_iter().chain(rest) {
            let behind = match upper {
                Bound::Unbounded => false,
                Bound::Included(key) | Bound::Excluded(key) => **start > *key,
            };
            if behind {
                break;
            }
            if part.lsns[0] > lsn || part.ends_by(from) {
                continue;
            }
            match found.last_mut() {
                Some((_, end)) if end.as_ref() == Some(start) => *end = part.end.clone(),
                _ => found.push((start.clone(), part.end.clone())),
            }
        }
        found
    }

    fn put_part(&mut self, start: Key, part: Part) {
        self.bytes += part.cost(&start);
        self.lsns += part.lsns.len() as u64;
        assert!(self.parts.insert(start, part).is_none(), "parts do not overlap");
    }

    fn take_part(&mut self, start: &[u8]) -> Option<(Key, Part)> {
        let (start, part) = self.parts.remove_entry(start)?;
        self.bytes -= part.cost(&start);
        self.lsns -= part.lsns.len() as u64;
        Some((start, part))
    }

    /// Sees to it that no part goes on across `at`.
    fn cut(&mut self, at: &Key) {
        let before = self.parts.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&at[..]))).next_back();
        let Some((start, part)) = before else { return };
        if part.ends_by(at) {
            return;
        }
        let start = start.clone();
        let (start, part) = self.take_part(&start).expect("just seen");
        self.put_part(at.clone(), part.clone());
        self.put_part(start, Part { end: Some(at.clone()), ..part });
    }

    /// The starts of all parts within a stretch at whose bounds parts were cut.
    fn starts(&self, (start, end): &Stretch) -> Vec<Key> {
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let within = self.parts.range::<[u8], _>((Bound::Included(&start[..]), to));
        within.map(|(start, _)| start.clone()).collect()
    }

    /// Everything within `stretch` is deleted at `lsn`, which no range delete here is above. What it hides may be collected
    /// once [`Spans::due`] says so. `read` says whether there is, or may come to be, a reader at or above the first LSN and
    /// below the second: the older one of two range deletes between which nobody reads is forgotten in time, so that no
    /// part has more LSNs than about twice as many as readers tell apart, however long a snapshot lives.
    pub fn add(&mut self, stretch: Stretch, lsn: Lsn, read: impl Fn(Lsn, Lsn) -> bool) {
        self.insert_with(&stretch, lsn, read);
        self.bytes += garbage_cost(&stretch);
        self.garbage.push_back((lsn, stretch));
    }

    /// The same, with nothing to collect and nothing to forget.
    pub fn insert(&mut self, stretch: &Stretch, lsn: Lsn) {
        self.insert_with(stretch, lsn, |_, _| true);
    }

    fn insert_with(&mut self, stretch: &Stretch, lsn: Lsn, read: impl Fn(Lsn, Lsn) -> bool) {
        let (start, end) = stretch;
        assert!(end.as_ref().is_none_or(|end| start < end), "a range delete covers something");
        self.cut_both(stretch);
        let mut gaps = Vec::new();
        let mut at = Some(start.clone());
        for key in self.starts(stretch) {
            let part = self.parts.get_mut(&key[..]).expect("a start of a part");
            if at.as_ref() != Some(&key) {
                gaps.extend(at.take().map(|from| (from, Some(key.clone()))));
            }
            at.clone_from(&part.end);
            assert!(part.lsns.last().is_none_or(|last| *last <= lsn), "range deletes come in order");
            if part.lsns.last() != Some(&lsn) {
                part.lsns.push(lsn);
                self.bytes += LSN_COST;
                self.lsns += 1;
                let before = part.lsns.len();
                if before >= LOOK_THROUGH && before.is_power_of_two() {
                    part.forget_unread(&read);
                    let forgotten = (before - part.lsns.len()) as u64;
                    self.bytes -= LSN_COST * forgotten;
                    self.lsns -= forgotten;
                }
            }
        }
        if let Some(from) = at.filter(|from| end.as_ref() != Some(from)) {
            gaps.push((from, end.clone()));
        }
        for (start, end) in gaps {
            self.put_part(start, Part { end, lsns: vec![lsn] });
        }
    }

    fn cut_both(&mut self, (start, end): &Stretch) {
        self.cut(start);
        if let Some(end) = end {
            self.cut(end);
        }
    }

    /// Everything within `stretch` is deleted at `lsn`, and nobody asks for what was there before.
    pub fn replace(&mut self, stretch: Stretch, lsn: Lsn) {
        self.cut_both(&stretch);
        for start in self.starts(&stretch) {
            self.take_part(&start);
        }
        let (start, end) = stretch;
        self.put_part(start, Part { end, lsns: vec![lsn] });
    }

    /// The next range delete at or below `floor` whose hidden versions were not collected yet.
    pub fn due(&mut self, floor: Lsn) -> Option<(Lsn, Stretch)> {
        let due = self.garbage.pop_front_if(|(lsn, _)| *lsn <= floor)?;
        self.bytes -= garbage_cost(&due.1);
        Some(due)
    }

    /// Forgets within `stretch` what no reader at `floor` or above can tell from newer range deletes; with
    /// [`Newest::Goes`] also the newest that they all see, since nothing is left for it to hide.
    pub fn settle(&mut self, stretch: &Stretch, floor: Lsn, newest: Newest) {
        if newest == Newest::Goes {
            self.cut_both(stretch);
        }
        let mut last: Option<(Key, Part)> = None;
        for start in self.starts(stretch) {
            let (start, mut part) = self.take_part(&start).expect("a start of a part");
            let seen = part.lsns.partition_point(|lsn| *lsn <= floor);
            part.lsns.drain(..if newest == Newest::Goes { seen } else { seen.saturating_sub(1) });
            if part.lsns.is_empty() {
                continue;
            }
            match &mut last {
                // Parts that do not differ any more become one.
                Some((_, before)) if before.end.as_ref() == Some(&start) && before.lsns == part.lsns => {
                    before.end = part.end;
                }
                _ => {
                    let done = last.replace((start, part));
                    done.into_iter().for_each(|(start, part)| self.put_part(start, part));
                }
            }
        }
        last.into_iter().for_each(|(start, part)| self.put_part(start, part));
    }
}

/// What becomes of the newest range delete that all readers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    Stays,
    Goes,
}

/// Stretches of keys that a reader finds deleted: sorted, none meets another.
#[derive(Debug, Clone, Default)]
pub struct Hidden(Vec<Stretch>);

impl Hidden {
    /// What all of `stretches`, in any order, cover.
    #[must_use]
    pub fn of(mut stretches: Vec<Stretch>) -> Hidden {
        stretches.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut all: Vec<Stretch> = Vec::with_capacity(stretches.len());
        for (start, end) in stretches {
            match all.last_mut() {
                Some((_, None)) => break,
                Some((_, to)) if to.as_ref().is_some_and(|to| start <= *to) => *to = farther(to.take(), end),
                _ => all.push((start, end)),
            }
        }
        Hidden(all)
    }

    /// The stretch that holds `key`.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<&Stretch> {
        if crate::mutants::on("range-delete-missed-by-scan") {
            return None;
        }
        let (before, _) = self.0.split_at(self.0.partition_point(|(start, _)| **start <= *key));
        before.last().filter(|(_, end)| end.as_deref().is_none_or(|end| key < end))
    }
}

/// The one of two ends that is farther.
fn farther(a: Option<Key>, b: Option<Key>) -> Option<Key> {
    Some(a?.max(b?))
}
