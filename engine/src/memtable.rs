//! The sorted versions of one space that are not in tables.
//!
//! Below what was written since a space was opened lies what its log held then (`run.rs`), one version a key. Above it
//! every key has its versions in LSN order. A version goes when no reader can ask for it any more: a newer one lies at
//! or below the *floor*, the lower of the durable watermark (a fenced space reads there) and the oldest snapshot. A
//! tombstone goes too, unless older memtables or tables lie [underneath](Memtable::lies_on), where it has to hide what
//! they hold. A range delete is a version of every key that it covers: it hides what is older, here and underneath, and goes
//! likewise (`range_delete.rs`, `spans.rs`). Bytes are accounted exactly: as [`entry_cost`] says above, as the arrays take below.
//!
//! A memtable that is sealed changes no more: nothing of it is collected until it is flushed.
use crate::config::Amount;
use crate::ids::{Lsn, Priority};
use crate::key::Key;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

mod pinned;
mod range_delete;
#[cfg(test)]
mod range_tests;
mod replay;
mod run;
mod sorted;
mod spans;
mod value;

use pinned::Overwritten;
pub use replay::{Progress, Replay};
use run::{Run, RunEntry};
use sorted::Sorted;
pub use spans::{Hidden, Spans, Stretch};
pub use value::{Entry, Value};

/// Bytes of bookkeeping that one version costs beside key and value (two tree slots, reference counts, queue entry).
pub const VERSION_OVERHEAD: u64 = 128;

/// Bytes that a priority costs beside: few entries have one, so it lies apart.
pub const PRIORITY_OVERHEAD: u64 = 48;

/// What one version is accounted with.
#[must_use]
pub fn entry_cost(key: usize, value: usize, priority: Priority) -> u64 {
    let priority = if priority == Priority::default() { 0 } else { PRIORITY_OVERHEAD };
    (key + value) as u64 + VERSION_OVERHEAD + priority
}

/// Versions, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    versions: u64,
    /// Those that are no tombstones.
    values: u64,
    /// Bytes of keys and values.
    payload: u64,
    /// What they are accounted with.
    cost: u64,
}

impl Tally {
    /// One more, with a key and a value of these lengths.
    fn add(&mut self, key: usize, value: Option<usize>, priority: Priority) {
        let bytes = value.unwrap_or(0);
        self.versions += 1;
        self.values += u64::from(value.is_some());
        self.payload += (key + bytes) as u64;
        self.cost += entry_cost(key, bytes, priority);
    }

    /// One less.
    fn remove(&mut self, key: usize, value: Option<usize>, priority: Priority) {
        let bytes = value.unwrap_or(0);
        self.versions -= 1;
        self.values -= u64::from(value.is_some());
        self.payload -= (key + bytes) as u64;
        self.cost -= entry_cost(key, bytes, priority);
    }

    fn tombstones(&self) -> u64 {
        self.versions - self.values
    }
}

#[derive(Debug, Default)]
struct Version {
    lsn: Lsn,
    /// `None` is a tombstone.
    value: Option<Arc<[u8]>>,
}

impl Version {
    fn len(&self) -> Option<usize> {
        self.value.as_deref().map(<[u8]>::len)
    }

    fn seen(&self) -> Seen {
        self.value.as_ref().map(Value::of)
    }
}

/// A version with its priority.
#[derive(Debug)]
struct Older {
    version: Version,
    priority: Priority,
}

/// The versions of one key. They lie in the nodes of the tree, so that they are small: most keys have one version, and
/// no priority.
#[derive(Debug)]
struct Versions {
    newest: Version,
    aside: Option<Box<Aside>>,
}

/// What few keys have.
#[derive(Debug, Default)]
struct Aside {
    /// Of the newest version.
    priority: Priority,
    /// Ascending, below the newest one.
    older: Vec<Older>,
}

const _: () = assert!(size_of::<Versions>() == 32, "half a cache line");

impl Versions {
    /// The first one.
    fn new(version: Version, priority: Priority) -> Versions {
        let some = (priority != Priority::default()).then(|| Box::new(Aside { priority, older: Vec::new() }));
        Versions { newest: version, aside: some }
    }

    fn at(&self, lsn: Lsn) -> Option<(&Version, Priority)> {
        if self.newest.lsn <= lsn {
            return Some((&self.newest, self.priority()));
        }
        let older = self.older().iter().rev().find(|older| older.version.lsn <= lsn)?;
        Some((&older.version, older.priority))
    }

    /// Of the newest one.
    fn priority(&self) -> Priority {
        self.aside.as_ref().map_or(Priority::default(), |aside| aside.priority)
    }

    fn older(&self) -> &[Older] {
        self.aside.as_ref().map_or(&[], |aside| &aside.older)
    }

    /// One more, which is newer than all.
    fn push(&mut self, version: Version, priority: Priority) {
        let old = std::mem::replace(&mut self.newest, version);
        assert!(old.lsn < self.newest.lsn, "a commit has one operation a key");
        let aside = self.aside.get_or_insert_default();
        let of_old = std::mem::replace(&mut aside.priority, priority);
        aside.older.push(Older { version: old, priority: of_old });
    }

    /// Takes the newest one out of what is to go as a whole.
    fn take_newest(&mut self) -> Older {
        Older { priority: self.priority(), version: std::mem::take(&mut self.newest) }
    }

    /// Takes the oldest `count` away, the newest one left out; tells `drop` of each.
    fn forget(&mut self, count: usize, drop: impl FnMut(Older)) {
        let Some(aside) = &mut self.aside else { return };
        aside.older.drain(..count).for_each(drop);
        if aside.older.is_empty() {
            aside.older = Vec::new();
            if aside.priority == Priority::default() {
                self.aside = None;
            }
        }
    }
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// What is under a memtable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underneath {
    /// Nothing: it holds all there is of its space.
    #[default]
    Nothing,
    /// Older memtables or tables, which may hold older versions of its keys.
    Older,
}

/// What a reader sees of a key: its value, or that it was deleted.
pub type Seen = Option<Value>;

/// One version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyVersion<'a> {
    pub lsn: Lsn,
    pub priority: Priority,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// All versions of one key.
#[derive(Debug)]
pub struct KeyVersions<'a> {
    pub key: &'a [u8],
    above: Option<&'a Versions>,
    below: Option<RunEntry<'a>>,
}

impl<'a> KeyVersions<'a> {
    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = KeyVersion<'a>> + use<'a> {
        let of = |v: &'a Version, priority| KeyVersion { lsn: v.lsn, priority, value: v.value.as_deref() };
        let newest = self.above.map(|versions| of(&versions.newest, versions.priority()));
        let older = self.above.into_iter().flat_map(|versions| versions.older().iter().rev());
        let older = older.map(move |older| of(&older.version, older.priority));
        newest.into_iter().chain(older).chain(self.below.map(|entry| entry.version()))
    }
}

/// Sorted versions of one space.
#[derive(Debug, Default)]
pub struct Memtable {
    /// What the log held when the space was opened.
    base: Run,
    map: Sorted<Versions>,
    /// The versions in `map`, together.
    tally: Tally,
    last: Lsn,
    durable: Lsn,
    underneath: Underneath,
    pins: BTreeMap<Lsn, usize>,
    /// What was overwritten under pins.
    overwritten: Overwritten,
    /// Where something may be collected once the floor reaches the LSN; ascending.
    garbage: VecDeque<(Lsn, Key)>,
    spans: Spans,
    /// Counts range deletes that every reader came to see, here and in those that this one succeeded.
    settled: u64,
}

impl Memtable {
    /// An empty one.
    #[must_use]
    pub fn new() -> Memtable {
        Memtable::default()
    }

    /// Says what is underneath, before anything else.
    #[must_use]
    pub fn lies_on(self, underneath: Underneath) -> Memtable {
        Memtable { underneath, ..self }
    }

    /// Says that everything up to `lsn` is here or underneath, and durable.
    pub fn begin_at(&mut self, lsn: Lsn) {
        self.last = self.last.max(lsn);
        self.set_durable(lsn);
    }

    /// The one that takes what is written after this one was sealed, with its readers.
    #[must_use]
    pub fn successor(&self) -> Memtable {
        let (last, durable, pins) = (self.last, self.durable, self.pins.clone());
        let underneath = match crate::mutants::on("tombstone-forgotten") {
            true => Underneath::Nothing,
            false => Underneath::Older,
        };
        Memtable { last, durable, pins, underneath, settled: self.settled, ..Memtable::default() }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty() && self.base.is_empty() && self.spans.is_empty()
    }

    /// The LSNs that snapshots read at, ascending.
    #[must_use]
    pub fn pinned(&self) -> Vec<Lsn> {
        self.pins.keys().copied().collect()
    }

    /// The newest LSN in it.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// Every commit up to here survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// What all versions cost together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tally.cost + self.base.bytes() + self.spans.bytes()
    }

    /// What all versions hold together: values, and bytes of keys and values, those of tombstones too.
    #[must_use]
    pub fn holds(&self) -> Amount {
        let base = self.base.tally();
        Amount { entries: self.tally.values + base.values, bytes: self.tally.payload + base.payload }
    }

    /// Tombstones in it, of keys and of ranges.
    #[must_use]
    pub fn tombstones(&self) -> u64 {
        self.tally.tombstones() + self.base.tally().tombstones() + self.spans.count()
    }

    /// Notes that `lsn` was committed; its operations follow by [`Memtable::apply`].
    pub fn begin(&mut self, lsn: Lsn) {
        assert!(lsn > self.last, "commits enter the memtable in order: {lsn} after {}", self.last);
        self.last = lsn;
    }

    /// Adds a version at the LSN begun last; a tombstone, which is no value, has no priority.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>, priority: Priority) {
        let lsn = self.last;
        self.tally.add(key.len(), value.map(<[u8]>::len), priority);
        let version = Version { lsn, value: value.map(Arc::from) };
        let own = Key::from(key);
        match self.map.find(&own) {
            Err(place) => {
                if version.value.is_none() || self.base.written(key).is_some() {
                    self.garbage.push_back((lsn, own.clone()));
                }
                self.map.insert(place, own, Versions::new(version, priority));
                if !self.pins.is_empty()
                    && let Some((old, _)) = self.base.written(key)
                {
                    let value = self.base.get(key).flatten().map_or(0, |entry| entry.value.len());
                    self.overwritten(key, old, value);
                }
            }
            Ok(place) => {
                self.garbage.push_back((lsn, own));
                let versions = self.map.at_mut(place);
                let (old, value) = (versions.newest.lsn, versions.newest.len().unwrap_or(0));
                versions.push(version, priority);
                if !self.pins.is_empty() {
                    self.overwritten(key, old, value);
                }
            }
        }
    }

    /// What a reader at `lsn` sees of `key` here, nothing being a delete; `None` if it has to look underneath.
    #[must_use]
    pub fn get(&self, key: &[u8], lsn: Lsn) -> Option<Option<Entry>> {
        let version = self.map.get_bytes(key).and_then(|versions| versions.at(lsn));
        if let Some(cover) = self.spans.cover(key, lsn) {
            let written = version.map(|(v, _)| v.lsn).or_else(|| Some(self.base.written(key)?.0));
            if written.is_none_or(|lsn| lsn < cover) {
                return Some(None);
            }
        }
        match version {
            Some((version, priority)) => {
                Some(version.seen().map(|value| Entry { value, lsn: version.lsn, priority }))
            }
            None => self.base.get(key),
        }
    }

    /// The LSN of the newest version of `key` here, and whether it is a value: a tombstone may be collected already
    /// where nothing is underneath.
    #[must_use]
    pub fn newest(&self, key: &[u8]) -> Option<(Lsn, bool)> {
        let written = match self.map.get_bytes(key) {
            Some(versions) => Some((versions.newest.lsn, versions.newest.value.is_some())),
            None => self.base.written(key),
        };
        match self.spans.cover(key, Lsn::from_raw(u64::MAX)) {
            Some(cover) if written.is_none_or(|(lsn, _)| lsn < cover) => Some((cover, false)),
            _ => written,
        }
    }

    /// All versions of every key behind `after`, in order of keys.
    pub fn versions<'a>(&'a self, after: Bound<&[u8]>) -> impl Iterator<Item = KeyVersions<'a>> {
        let mut above = self.map.range(after, Bound::Unbounded).peekable();
        let mut below = self.base.range(after, Bound::Unbounded).peekable();
        std::iter::from_fn(move || {
            let order = match (above.peek(), below.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some(entry)) => (***key).cmp(entry.key()),
            };
            let above = if order.is_le() { above.next() } else { None };
            let below = if order.is_ge() { below.next() } else { None };
            let key = above.map(|(key, _)| &**key).or_else(|| below.map(|entry| entry.key()))?;
            Some(KeyVersions { key, above: above.map(|(_, versions)| versions), below })
        })
    }

    /// Up to `limit` keys of which a reader at `lsn` sees something here, between the bounds, in `direction`.
    #[must_use]
    pub fn range(
        &self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        lsn: Lsn,
        direction: Direction,
        limit: usize,
    ) -> Vec<(Key, Seen)> {
        if is_empty_range(lower, upper) {
            return Vec::new();
        }
        let above = self.map.range(lower, upper);
        let hides = |key: &[u8], written| self.spans.cover(key, lsn).is_some_and(|cover| written < cover);
        let visible = |(key, versions): (&'_ Key, &'_ Versions)| {
            let hidden = |v: &Version| v.value.is_some() && hides(key, v.lsn);
            versions.at(lsn).map(|(v, _)| (key.clone(), if hidden(v) { None } else { v.seen() }))
        };
        let below = self.base.range(lower, upper);
        let seen = |e: RunEntry<'_>| if hides(e.key(), e.lsn()) { None } else { e.value() };
        match direction {
            Direction::Ascending => merge(above.filter_map(visible), below, seen, Ordering::Less, limit),
            Direction::Descending => {
                merge(above.rev().filter_map(visible), below.rev(), seen, Ordering::Greater, limit)
            }
        }
    }

    /// Keeps what a reader at `lsn` sees, until [`Memtable::unpin`].
    pub fn pin(&mut self, lsn: Lsn) {
        *self.pins.entry(lsn).or_insert(0) += 1;
    }

    /// Releases one pin at `lsn`.
    pub fn unpin(&mut self, lsn: Lsn) {
        let count = self.pins.get_mut(&lsn).expect("only what was pinned is unpinned");
        *count -= 1;
        if *count == 0 {
            self.pins.remove(&lsn);
            self.forget_overwritten();
        }
        self.collect();
    }

    /// Moves the durable watermark up.
    pub fn set_durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn);
        self.overwritten.settle(self.durable);
        self.collect();
    }

    /// No reader is below this: the lower of the durable watermark and the oldest snapshot.
    #[must_use]
    pub fn floor(&self) -> Lsn {
        self.pins.first_key_value().map_or(self.durable, |(&pin, _)| pin.min(self.durable))
    }

    /// Drops every version that nobody can ask for any more.
    fn collect(&mut self) {
        let floor = self.floor();
        while let Some((lsn, _)) = self.garbage.front() {
            if *lsn > floor {
                break;
            }
            let (_, key) = self.garbage.pop_front().expect("just seen");
            self.collect_key(&key, floor);
        }
        self.collect_ranges(floor);
    }

    fn collect_key(&mut self, key: &Key, floor: Lsn) {
        let Some(versions) = self.map.get_mut(key) else { return };
        if versions.at(floor).is_some() {
            self.base.remove(key);
        }
        let tally = &mut self.tally;
        let mut drop = |old: Older| tally.remove(key.len(), old.version.len(), old.priority);
        let tombstones_go = self.underneath == Underneath::Nothing;
        if versions.newest.lsn <= floor {
            versions.forget(versions.older().len(), &mut drop);
            if versions.newest.value.is_none() && tombstones_go {
                drop(versions.take_newest());
                self.map.remove(key);
            }
            return;
        }
        // The newest at or below the floor is what a reader at the floor sees: those before it go, and it too if it
        // is a tombstone, since then nothing is left for it to hide.
        let older = versions.older();
        let Some(seen) = older.iter().rposition(|old| old.version.lsn <= floor) else { return };
        let goes = seen + usize::from(older[seen].version.value.is_none() && tombstones_go);
        versions.forget(goes, drop);
    }
}

/// Up to `limit` entries of both, where those `above` hide those `below` of the same key; of these `seen` says what a
/// reader sees, and `first` is how a key compares with one that comes after it.
fn merge<'a>(
    above: impl Iterator<Item = (Key, Seen)>,
    below: impl Iterator<Item = RunEntry<'a>>,
    seen: impl Fn(RunEntry<'a>) -> Seen,
    first: Ordering,
    limit: usize,
) -> Vec<(Key, Seen)> {
    let (mut above, mut below) = (above.peekable(), below.peekable());
    let mut merged = Vec::new();
    while merged.len() < limit {
        let order = match (above.peek(), below.peek()) {
            (None, None) => break,
            (Some(_), None) => first,
            (None, Some(_)) => first.reverse(),
            (Some((key, _)), Some(entry)) => (**key).cmp(entry.key()),
        };
        if order == first.reverse() {
            merged.extend(below.next().map(|e| (Key::from(e.key()), seen(e))));
            continue;
        }
        if order == Ordering::Equal {
            below.next();
        }
        merged.extend(above.next());
    }
    merged
}

/// Whether no key can lie between the bounds; `BTreeMap::range` panics on some of these.
pub(crate) fn is_empty_range(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match (lower, upper) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(a), Included(b)) => a > b,
        (Included(a) | Excluded(a), Excluded(b)) | (Excluded(a), Included(b)) => a >= b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(n: u64) -> Lsn {
        Lsn::from_raw(n)
    }
    fn cost(key: usize, value: usize) -> u64 {
        entry_cost(key, value, Priority::default())
    }
    fn put(m: &mut Memtable, n: u64, key: &str, value: Option<&str>) {
        m.begin(lsn(n));
        m.apply(key.as_bytes(), value.map(str::as_bytes), Priority::default());
    }
    fn get(m: &Memtable, key: &str, n: u64) -> Option<String> {
        m.get(key.as_bytes(), lsn(n)).flatten().map(|e| String::from_utf8(e.value.to_vec()).unwrap())
    }

    #[test]
    fn a_reader_sees_the_newest_version_at_its_lsn() {
        let mut m = Memtable::new();
        put(&mut m, 1, "k", Some("a"));
        put(&mut m, 2, "k", None);
        put(&mut m, 3, "k", Some("c"));
        assert_eq!([0, 1, 2, 3].map(|n| get(&m, "k", n)), [None, Some("a".into()), None, Some("c".into())]);
    }

    #[test]
    fn versions_go_once_the_floor_passed_a_newer_one_and_bytes_are_exact() {
        let mut m = Memtable::new();
        put(&mut m, 1, "k", Some("aaa"));
        put(&mut m, 2, "k", Some("b"));
        m.pin(lsn(1));
        m.set_durable(lsn(2));
        assert_eq!(get(&m, "k", 1), Some("aaa".into()), "pinned");
        m.unpin(lsn(1));
        assert_eq!((get(&m, "k", 1), get(&m, "k", 2)), (None, Some("b".into())));
        assert_eq!((m.bytes(), m.holds()), (cost(1, 1), Amount { entries: 1, bytes: 2 }));
        put(&mut m, 3, "k", None);
        assert_eq!((m.tombstones(), m.holds()), (1, Amount { entries: 1, bytes: 3 }));
        assert_eq!(get(&m, "k", 2), Some("b".into()), "not durable yet: a fence would read here");
        m.set_durable(lsn(3));
        assert_eq!((m.bytes(), m.map.len(), m.tally), (0, 0, Tally::default()));
    }

    #[test]
    fn a_tombstone_between_versions_hides_until_it_has_nothing_to_hide() {
        let mut m = Memtable::new();
        put(&mut m, 1, "k", Some("a"));
        put(&mut m, 2, "k", None);
        put(&mut m, 3, "k", Some("c"));
        m.set_durable(lsn(2));
        assert_eq!((get(&m, "k", 2), get(&m, "k", 3)), (None, Some("c".into())));
        assert_eq!(m.bytes(), cost(1, 1));
    }

    #[test]
    fn ranges_go_both_ways_and_odd_bounds_are_empty() {
        let mut m = Memtable::new();
        for (i, k) in ["a", "b", "c", "d"].iter().enumerate() {
            put(&mut m, i as u64 + 1, k, Some(k));
        }
        put(&mut m, 5, "b", None);
        let keys = |lower: Bound<&[u8]>, upper: Bound<&[u8]>, d| {
            let found = m.range(lower, upper, lsn(9), d, 9).into_iter().filter(|(_, seen)| seen.is_some());
            found.map(|(k, _)| k[0] as char).collect::<String>()
        };
        assert_eq!(keys(Bound::Unbounded, Bound::Unbounded, Direction::Ascending), "acd");
        assert_eq!(keys(Bound::Unbounded, Bound::Excluded(b"d"), Direction::Descending), "ca");
        assert_eq!(keys(Bound::Excluded(b"c"), Bound::Excluded(b"c"), Direction::Ascending), "");
        assert_eq!(keys(Bound::Included(b"d"), Bound::Included(b"a"), Direction::Ascending), "");
    }

    #[test]
    fn a_tombstone_stays_as_long_as_something_older_is_underneath() {
        let mut m = Memtable::new().lies_on(Underneath::Older);
        put(&mut m, 1, "k", Some("a"));
        put(&mut m, 2, "k", None);
        put(&mut m, 3, "l", None);
        m.set_durable(lsn(3));
        assert_eq!(
            (m.get(b"k", lsn(3)), m.get(b"l", lsn(3)), m.get(b"m", lsn(3))),
            (Some(None), Some(None), None)
        );
        assert_eq!(m.bytes(), 2 * cost(1, 0));
        put(&mut m, 4, "k", Some("b"));
        put(&mut m, 5, "k", Some("c"));
        m.set_durable(lsn(4));
        let next = m.successor();
        assert_eq!((next.last(), next.durable(), next.is_empty()), (lsn(5), lsn(4), true));
        let plain = |v: KeyVersion<'_>| (v.lsn, v.value.map(<[u8]>::to_vec));
        let all: Vec<_> = m.versions(Bound::Unbounded).collect();
        let all: Vec<_> =
            all.iter().map(|v| (v.key.to_vec(), v.iter().map(plain).collect::<Vec<_>>())).collect();
        let [(k, k_versions), (l, l_versions)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((&k[..], &l[..]), (&b"k"[..], &b"l"[..]));
        assert_eq!(k_versions[..], [(lsn(5), Some(b"c".to_vec())), (lsn(4), Some(b"b".to_vec()))]);
        assert_eq!(l_versions[..], [(lsn(3), None)]);
        assert_eq!(m.versions(Bound::Excluded(b"k")).count(), 1);
    }
}
