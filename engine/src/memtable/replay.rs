//! Building a memtable from a log: where each key and value lies is noted while the log is scanned, then sorted.
//!
//! What a log holds when recovery ends is durable, and nobody reads before: so of each key only the newest version is
//! kept, and a tombstone leaves nothing where there are no tables. The result reads as what [`Memtable::apply`] one by one, then
//! [`Memtable::set_durable`] with the last LSN would have made. So what a range delete hides is gone, and it stays itself only
//! where there are tables.
//!
//! Sorting: entries are distributed by the first bytes of their keys to buckets of equal width, and each bucket is
//! sorted by a number of those bytes and the place in the log; only where the bytes are equal keys are looked at.
use super::run::{Run, Slot, TOMBSTONE};
use super::{Memtable, Spans, Underneath};
use crate::ids::{Lsn, Priority};
use crate::key::{Key, common_prefix, head};
use bytes::Bytes;
use std::collections::VecDeque;

/// Entries sorted before others on the same thread get their turn, as long as buckets are of about equal size.
const STEP: usize = 16 * 1024;
/// Bytes of log above which it is sorted on the way, so that values long overwritten do not add up.
const SETTLE_AT: u64 = 384 * 1024 * 1024;
/// Entries in a bucket, about.
const BUCKET: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Replay {
    underneath: Underneath,
    last: Lsn,
    /// In log order. Prefixes count from `valid` on; the others were taken when more seemed to be shared.
    loose: Vec<Slot>,
    valid: usize,
    chunks: Vec<Bytes>,
    /// What all keys so far begin with.
    shared: Option<Vec<u8>>,
    sorting: Option<Sorting>,
    /// Bytes held after the last settling, and entries then.
    settled: u64,
    in_order: usize,
    /// Range deletes, each in place of older ones.
    spans: Spans,
    /// The last of them.
    newest_span: Lsn,
    /// The newest of them that was there when it was settled last.
    spans_settled: Lsn,
}

#[derive(Debug)]
struct Sorting {
    /// By bucket, and in log order in each; up to `sorted` what is done.
    slots: Vec<Slot>,
    /// Where each bucket ends that is not done.
    ends: VecDeque<usize>,
    next: usize,
    sorted: usize,
    /// Of one bucket: prefix in the upper half, place in the lower.
    order: Vec<u128>,
    bucket: Vec<Slot>,
    underneath: Underneath,
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Done,
}

impl Replay {
    /// The beginning of a replay of what lies on this.
    #[must_use]
    pub fn onto(underneath: Underneath) -> Replay {
        Replay { underneath, ..Replay::default() }
    }

    #[cfg(test)]
    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    /// Notes that `lsn` was committed; its operations follow by [`Replay::apply`].
    pub fn begin(&mut self, lsn: Lsn) {
        assert!(lsn > self.last, "commits enter the memtable in order: {lsn} after {}", self.last);
        self.last = lsn;
    }

    /// Adds a version at the LSN begun last: `key` begins at offset `at` of the bytes that [`Replay::attach`] is going
    /// to be given next, and a value of length `value` follows it; `None` is a tombstone, which has no priority.
    pub fn apply(&mut self, at: usize, key: &[u8], value: Option<usize>, priority: Priority) {
        let shared = match &mut self.shared {
            None => self.shared.insert(key.to_vec()).len(),
            Some(shared) if !key.starts_with(shared) => {
                let common = common_prefix(shared, key);
                shared.truncate(common);
                self.valid = self.loose.len();
                common
            }
            Some(shared) => shared.len(),
        };
        self.loose.push(Slot {
            prefix: head(key, shared),
            lsn: self.last,
            at: u32::try_from(at).expect("segments are shorter"),
            value: value.map_or(TOMBSTONE, |v| v as u32),
            key: (key.len() - 1) as u16,
            chunk: self.chunks.len() as u16,
            priority,
        });
    }

    /// Deletes every key from `start` on and below `end`, or to the end, at the LSN begun last.
    pub fn apply_range(&mut self, start: &[u8], end: Option<&[u8]>) {
        if crate::mutants::on("replay-ignores-range-delete") {
            return;
        }
        self.spans.replace((Key::from(start), end.map(Key::from)), self.last);
        self.newest_span = self.last;
    }

    /// Takes the bytes in which everything lies that was applied since the last time.
    pub fn attach(&mut self, bytes: Bytes) {
        self.chunks.push(bytes);
    }

    /// Whether [`Replay::settle`] should run now, and not only at the end.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.held() > self.settled.saturating_mul(2).max(SETTLE_AT)
    }

    fn held(&self) -> u64 {
        self.chunks.iter().map(|c| c.len() as u64).sum()
    }

    /// Sorts some of it. To be called until it is [`Progress::Done`].
    pub fn settle(&mut self) -> Progress {
        let Some(sorting) = &mut self.sorting else {
            self.distribute();
            return Progress::More;
        };
        let before = sorting.next;
        while sorting.next < before + STEP
            && let Some(end) = sorting.ends.pop_front()
        {
            sorting.bucket(end, &self.chunks, &self.spans);
        }
        if !sorting.ends.is_empty() {
            return Progress::More;
        }
        let Sorting { slots: mut sorted, sorted: count, .. } = self.sorting.take().expect("just seen");
        sorted.truncate(count);
        let chunks = std::mem::take(&mut self.chunks);
        let run = Run::new(self.shared.clone().unwrap_or_default(), sorted, chunks);
        (_, self.loose, self.chunks) = run.into_parts();
        (self.settled, self.in_order) = (self.held(), self.loose.len());
        self.spans_settled = self.newest_span;
        Progress::Done
    }

    /// The memtable, once it was settled.
    #[must_use]
    pub fn finish(self) -> Memtable {
        assert_eq!(self.in_order, self.loose.len(), "what was applied last was settled");
        assert_eq!(self.spans_settled, self.newest_span, "what ranges hide was settled");
        let base = Run::new(self.shared.unwrap_or_default(), self.loose, self.chunks);
        let spans = match self.underneath {
            Underneath::Nothing => Spans::default(),
            Underneath::Older => self.spans,
        };
        Memtable { base, spans, last: self.last, underneath: self.underneath, ..Memtable::default() }
    }

    /// Fills in prefixes and distributes everything to buckets.
    fn distribute(&mut self) {
        let skip = self.shared.as_ref().map_or(0, Vec::len);
        for slot in &mut self.loose[..self.valid] {
            slot.prefix = head(slot.key_in(&self.chunks), skip);
        }
        self.valid = 0;
        let (mut least, mut most) = (u64::MAX, 0);
        for slot in &self.loose {
            (least, most) = (least.min(slot.prefix), most.max(slot.prefix));
        }
        let buckets = (self.loose.len() / BUCKET).next_power_of_two();
        let width = most.saturating_sub(least);
        let shift = (64 - width.leading_zeros()).saturating_sub(buckets.trailing_zeros());
        // With a single bucket the whole number may be shifted out.
        let bucket = |slot: &Slot| (slot.prefix - least).checked_shr(shift).unwrap_or(0) as usize;
        let mut starts = vec![0usize; buckets + 1];
        for slot in &self.loose {
            starts[bucket(slot) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let ends = starts[1..].iter().copied().collect();
        let mut slots = vec![Slot::GONE; self.loose.len()];
        for slot in &self.loose {
            let to = &mut starts[bucket(slot)];
            slots[*to] = *slot;
            *to += 1;
        }
        let (order, bucket, underneath) = (Vec::new(), Vec::new(), self.underneath);
        self.sorting = Some(Sorting { slots, ends, next: 0, sorted: 0, order, bucket, underneath });
    }
}

impl Sorting {
    /// Sorts the bucket that ends at `end`: appends the newest version of every key of it to what is sorted, unless that
    /// is hidden by a range delete, or a tombstone that has nothing to hide.
    fn bucket(&mut self, end: usize, chunks: &[Bytes], spans: &Spans) {
        let Sorting { slots, next, sorted, order, bucket, underneath, .. } = self;
        bucket.clear();
        bucket.extend_from_slice(&slots[*next..end]);
        *next = end;
        order.clear();
        order.extend(bucket.iter().enumerate().map(|(i, slot)| u128::from(slot.prefix) << 64 | i as u128));
        order.sort_unstable();
        let slot = |packed: &u128| &bucket[*packed as u64 as usize];
        for equal in order.chunk_by_mut(|a, b| a >> 64 == b >> 64) {
            if equal.len() > 1 {
                // In the log's order where the keys are equal.
                equal.sort_by(|a, b| slot(a).key_in(chunks).cmp(slot(b).key_in(chunks)));
            }
            for i in 0..equal.len() {
                let this = slot(&equal[i]);
                let newer = equal.get(i + 1).map(slot);
                let overwritten = newer.is_some_and(|n| n.key_in(chunks) == this.key_in(chunks));
                let hides = this.value != TOMBSTONE || *underneath == Underneath::Older;
                let hidden = || {
                    spans.cover(this.key_in(chunks), Lsn::from_raw(u64::MAX)).is_some_and(|c| c > this.lsn)
                };
                if !overwritten && hides && !hidden() {
                    slots[*sorted] = *this;
                    *sorted += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Amount;
    use crate::memtable::{Direction, KeyVersion, Value};
    use proptest::prelude::*;
    use std::ops::Bound;

    /// What values of this length have.
    fn priority(value: Option<&[u8]>) -> Priority {
        Priority::from_raw(value.map_or(0, |value| value.len() as i32 % 3 - 1))
    }

    fn all(table: &Memtable) -> Vec<(Vec<u8>, Value)> {
        let entries =
            table.range(Bound::Unbounded, Bound::Unbounded, table.last(), Direction::Ascending, usize::MAX);
        entries.into_iter().filter_map(|(key, seen)| Some((key.to_vec(), seen?))).collect()
    }

    fn settle(replay: &mut Replay) {
        while replay.settle() == Progress::More {}
    }

    /// Applies `changes` in chunks of `each`, at LSNs from 1 on.
    fn replayed(changes: &[(Vec<u8>, Option<Vec<u8>>)], each: usize, settle_between: bool) -> Memtable {
        let mut replay = Replay::default();
        let mut lsn = 0;
        for part in changes.chunks(each) {
            let mut bytes = Vec::new();
            for (key, value) in part {
                lsn += 1;
                replay.begin(Lsn::from_raw(lsn));
                replay.apply(bytes.len(), key, value.as_ref().map(Vec::len), priority(value.as_deref()));
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(value.as_deref().unwrap_or(&[]));
            }
            replay.attach(Bytes::from(bytes));
            if settle_between {
                settle(&mut replay);
            }
        }
        settle(&mut replay);
        replay.finish()
    }

    type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    /// Few keys of few different bytes, also behind a long common beginning.
    fn changes() -> impl Strategy<Value = Changes> {
        let byte = prop_oneof![9 => 0..3u8, 1 => Just(255)];
        let key = (prop::bool::weighted(0.9), prop::collection::vec(byte, 1..12));
        let key = key.prop_map(
            |(long, key)| if long { [&b"a long common beginning "[..], &key].concat() } else { key },
        );
        let value = prop::option::weighted(0.8, (0..200u8).prop_map(|n| vec![n; usize::from(n)]));
        prop::collection::vec((key, value), 0..300)
    }

    proptest! {
        #[test]
        fn a_replay_reads_as_what_applying_one_by_one_makes(
            changes in changes(), more in changes(), each in 1..50usize, between: bool,
        ) {
            let mut table = Memtable::new();
            let mut found = replayed(&changes, each, between);
            let apply = |table: &mut Memtable, changes: &Changes| for (key, value) in changes {
                table.begin(Lsn::from_raw(table.last().raw() + 1));
                table.apply(key, value.as_deref(), priority(value.as_deref()));
            };
            apply(&mut table, &changes);
            table.set_durable(table.last());
            found.set_durable(table.last());
            prop_assert_eq!(all(&found), all(&table));
            // What is written afterwards hides what was there, for those who may see it.
            let before = table.last();
            for (i, part) in more.chunks(each).enumerate() {
                for t in [&mut found, &mut table] {
                    apply(t, &part.to_vec());
                    if i == 0 {
                        t.pin(before);
                    }
                    if i % 3 == 0 {
                        t.set_durable(t.last());
                    }
                }
                prop_assert_eq!(all(&found), all(&table));
            }
            let keys: Vec<_> = changes.iter().chain(&more).map(|(k, _)| k).collect();
            let read = |t: &Memtable, at| keys.iter().map(|k| t.get(k, at).flatten()).collect::<Vec<_>>();
            let newest = |t: &Memtable| keys.iter().map(|k| t.newest(k).filter(|n| n.1)).collect::<Vec<_>>();
            if !more.is_empty() {
                prop_assert_eq!(read(&found, before), read(&table, before));
                for t in [&mut found, &mut table] {
                    t.unpin(before);
                }
            }
            prop_assert_eq!(read(&found, table.last()), read(&table, table.last()));
            prop_assert_eq!(newest(&found), newest(&table));
            let between = (Bound::Excluded(&b"a long common beginning \x01"[..]), Bound::Included(&[1, 2][..]));
            for direction in [Direction::Ascending, Direction::Descending] {
                for (lower, upper) in [between, (between.1, between.0)] {
                    let range = |t: &Memtable| {
                        let found = t.range(lower, upper, t.last(), direction, usize::MAX).into_iter();
                        found.filter(|(_, seen)| seen.is_some()).take(7).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(range(&found), range(&table));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_replay_onto_something_older_keeps_tombstones(changes in changes(), each in 1..20usize) {
            let mut table = Memtable::new().lies_on(Underneath::Older);
            let mut replay = Replay::onto(Underneath::Older);
            for part in changes.chunks(each) {
                let mut bytes = Vec::new();
                for (key, value) in part {
                    let lsn = replay.last().advance(1);
                    table.begin(lsn);
                    table.apply(key, value.as_deref(), priority(value.as_deref()));
                    replay.begin(lsn);
                    replay.apply(bytes.len(), key, value.as_ref().map(Vec::len), priority(value.as_deref()));
                    bytes.extend_from_slice(key);
                    bytes.extend_from_slice(value.as_deref().unwrap_or(&[]));
                }
                replay.attach(Bytes::from(bytes));
            }
            settle(&mut replay);
            let found = replay.finish();
            table.set_durable(table.last());
            let versions = |t: &Memtable| -> Vec<_> {
                let owned = |v: KeyVersion<'_>| (v.lsn, v.priority, v.value.map(<[u8]>::to_vec));
                let all = t.versions(Bound::Unbounded);
                all.map(|k| (k.key.to_vec(), k.iter().map(owned).collect::<Vec<_>>())).collect()
            };
            prop_assert_eq!(versions(&found), versions(&table));
            for (key, _) in &changes {
                prop_assert_eq!(found.get(key, found.last()), table.get(key, table.last()));
                prop_assert_eq!(found.newest(key), table.newest(key));
            }
            let mut found = found;
            for (n, (key, value)) in changes.iter().enumerate() {
                let all: Vec<_> = versions(&found)
                    .into_iter()
                    .flat_map(|(key, all)| all.into_iter().map(move |v| (key.len(), v.2)))
                    .collect();
                let values: Vec<_> = all.iter().filter_map(|(_, v)| v.as_ref().map(Vec::len)).collect();
                let bytes = all.iter().map(|(key, _)| key).sum::<usize>() + values.iter().sum::<usize>();
                prop_assert_eq!(found.holds(), Amount { entries: values.len() as u64, bytes: bytes as u64 });
                prop_assert_eq!(found.tombstones(), (all.len() - values.len()) as u64);
                // Once more, the other way round, so that some hide what was replayed.
                found.begin(found.last().advance(1));
                found.apply(key, value.as_ref().map_or(Some(&b"again"[..]), |_| None), Priority::default());
                if n % 3 == 0 {
                    found.set_durable(found.last());
                }
            }
        }
    }

    #[test]
    fn many_keys_are_sorted_whatever_their_first_bytes_are() {
        for spread in [1, 1 << 20, u64::MAX / 9000] {
            let change = |n: u64| (((n * 7919 % 9000) * spread).to_be_bytes().to_vec(), Some(vec![n as u8]));
            let changes: Changes = (0..9000).map(change).collect();
            let table = replayed(&changes, 1000, false);
            let mut expected: Vec<_> = changes.into_iter().map(|(k, v)| (k, v.unwrap())).collect();
            expected.sort();
            let found: Vec<_> = all(&table).into_iter().map(|(k, v)| (k, v.to_vec())).collect();
            assert!(found == expected, "spread {spread}");
        }
    }

    #[test]
    fn a_few_keys_may_lie_as_far_apart_as_keys_can() {
        let changes: Changes = [0u8, 255, 128].map(|n| (vec![n; 8], Some(vec![n]))).to_vec();
        let keys: Vec<_> = all(&replayed(&changes, 3, false)).into_iter().map(|(k, _)| k[0]).collect();
        assert_eq!(keys, [0, 128, 255]);
    }

    /// Broke: each scan from an end stepped over all that was deleted there, one entry at a time.
    #[test]
    fn a_queue_is_drained_from_either_end_in_order() {
        let changes: Changes = (0..1000u16).map(|n| (n.to_be_bytes().to_vec(), Some(vec![7; 20]))).collect();
        let mut table = replayed(&changes, 100, false);
        let (mut front, mut back) = (0u16, 999u16);
        for n in 0..1000u64 {
            let direction = if n % 3 == 0 { Direction::Descending } else { Direction::Ascending };
            let first = table.range(Bound::Unbounded, Bound::Unbounded, table.last(), direction, 1);
            let expected = if n % 3 == 0 { back } else { front };
            assert_eq!(&*first[0].0, expected.to_be_bytes(), "after {n}");
            if n % 3 == 0 {
                back = back.wrapping_sub(1)
            } else {
                front += 1
            }
            table.begin(Lsn::from_raw(2000 + n));
            table.apply(&expected.to_be_bytes(), None, Priority::default());
            table.set_durable(table.last());
        }
        assert_eq!((all(&table).len(), table.bytes()), (0, 0));
    }

    #[test]
    fn a_value_that_is_kept_keeps_little_else_in_memory() {
        let changes: Changes = (0..100u8).map(|n| (vec![n], Some(vec![n; 10_000]))).collect();
        let table = replayed(&changes, 100, false);
        let kept = table.get(&[5], table.last()).flatten().unwrap().value;
        assert!(kept.stands_alone(), "a hundredth of the log's bytes is copied");
        let changes: Changes = (0..10u8).map(|n| (vec![n], Some(vec![n; 10_000]))).collect();
        let table = replayed(&changes, 10, false);
        let shared = table.get(&[5], table.last()).flatten().unwrap().value;
        assert!(!shared.stands_alone(), "a tenth is not");
        assert_eq!((&kept[..], &shared[..]), (&[5; 10_000][..], &[5; 10_000][..]));
    }

    #[test]
    fn what_was_overwritten_takes_no_room_in_the_end() {
        let value = |n: u8| Some(vec![n; 1000]);
        let changes: Changes = (0..1000u32).map(|n| (vec![(n % 10) as u8], value(n as u8))).collect();
        let mut table = replayed(&changes, 100, false);
        assert!(table.bytes() < 2 * 10 * 1100, "{}", table.bytes());
        for key in 0..10u8 {
            table.begin(Lsn::from_raw(2000 + u64::from(key)));
            table.apply(&[key], None, Priority::default());
        }
        table.set_durable(table.last());
        assert_eq!(table.bytes(), 0, "an emptied space gives back everything");
    }
}
