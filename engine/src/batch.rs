//! A batch: several operations that are in or out as a whole.
use crate::config::Amount;
use crate::error::{Error, Rejected, Result};
use crate::ids::{Lsn, Priority};
use crate::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX, KEY_MAX, RANGE_BOUND_MAX, VALUE_MAX};
use crate::wal::operation::Operation;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Operations that commit together. The last operation on a key wins, a range delete being one on each of its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// What is done behind all range deletes.
    operations: BTreeMap<Vec<u8>, Option<Value>>,
    ranges: Ranges,
    /// A range was given in which no key can lie.
    hollow: bool,
}

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    options: PutOptions,
}

impl Value {
    fn as_put(&self) -> Put<'_> {
        Put { value: &self.bytes, options: self.options }
    }
}

/// From their starts on to their ends, or to the end of all keys; none meets another.
type Ranges = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }
    /// Sets `key` to `value`, with priority 0 whatever it had before.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Batch {
        self.put_with(key, value, PutOptions::default())
    }
    /// Sets `key` to `value`, as `options` say.
    pub fn put_with(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        options: PutOptions,
    ) -> &mut Batch {
        self.operations.insert(key.into(), Some(Value { bytes: value.into(), options }));
        self
    }
    /// Removes `key`; fine if it is not there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Batch {
        self.operations.insert(key.into(), None);
        self
    }
    /// Removes every key within `range`, also those that this batch put there so far; what is put there later stays. A
    /// range in which no key can lie, as one whose end is not behind its start, has the whole batch rejected. All keys:
    /// `delete_range::<&[u8]>(..)`.
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> &mut Batch {
        let (mut start, mut end) = bounds_of(range);
        if is_hollow(&start, end.as_deref()) {
            self.hollow = true;
            return self;
        }
        let to = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.operations.extract_if((Bound::Included(&start), to), |_, _| true).for_each(drop);
        // With those that it meets it becomes one.
        let before =
            self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(&start[..]))).next_back();
        if let Some((from, to)) = before
            && to.as_ref().is_none_or(|to| start <= *to)
        {
            start.clone_from(from);
        }
        while let Some((from, to)) =
            self.ranges.range::<[u8], _>((Bound::Included(&start[..]), Bound::Unbounded)).next()
            && end.as_ref().is_none_or(|end| from <= end)
        {
            end = end.zip(to.clone()).map(|(a, b)| a.max(b));
            let from = from.clone();
            self.ranges.remove(&from);
        }
        self.ranges.insert(start, end);
        self
    }
    /// Operations in it; ranges that meet count as one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len() + self.ranges.len()
    }
    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The ranges that it deletes, by ascending key: from the first key on and below the second, or to the end. What it
    /// does to single keys is done behind that.
    pub fn ranges(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.ranges.iter().map(|(start, end)| (start.as_slice(), end.as_deref()))
    }
    /// What it does to single keys, by ascending key; `None` is a delete.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Put<'_>>)> {
        self.operations.iter().map(|(key, value)| (key.as_slice(), value.as_ref().map(Value::as_put)))
    }
}

/// What a commit does: one operation without allocating, or a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operations<'a> {
    One(Operation<'a>),
    Many(&'a Batch),
}

impl<'a> Operations<'a> {
    pub(crate) fn for_each(&self, mut f: impl FnMut(Operation<'a>)) {
        match *self {
            Operations::One(op) => f(op),
            Operations::Many(batch) => {
                batch.ranges().for_each(|(start, end)| f(Operation::DeleteRange { start, end }));
                for (key, put) in batch.iter() {
                    f(match put {
                        Some(Put { value, options }) => {
                            Operation::Put { key, value, priority: options.priority }
                        }
                        None => Operation::Delete { key },
                    });
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Operations::One(_) => 1,
            Operations::Many(batch) => batch.len(),
        }
    }

    /// Checks every bound; the encoded length of all operations together.
    pub(crate) fn check(&self) -> Result<Sizes> {
        if let Operations::Many(Batch { hollow: true, .. }) = self {
            return Err(no_key());
        }
        if !(1..=BATCH_OPS_MAX).contains(&self.len()) {
            return Err(Error::rejected(Rejected::Batch, format!("a batch of {} operations", self.len()))
                .expected(format!("1..={BATCH_OPS_MAX} operations")));
        }
        let mut sizes = Sizes { encoded: 0, memory: 0, puts: false, adds: Amount::default() };
        let mut bad = None;
        self.for_each(|op| {
            let (key, value, priority) = match op {
                Operation::Put { key, value, priority } => (key.len(), value.len(), priority),
                Operation::Delete { key } => (key.len(), 0, Priority::default()),
                Operation::DeleteRange { start, end } => {
                    (start.len(), end.map_or(0, <[u8]>::len), Priority::default())
                }
            };
            sizes.encoded += op.encoded_len();
            sizes.memory += crate::memtable::entry_cost(key, value, priority);
            sizes.puts |= matches!(op, Operation::Put { .. });
            if !matches!(op, Operation::DeleteRange { .. }) {
                sizes.adds.entries += u64::from(matches!(op, Operation::Put { .. }));
                sizes.adds.bytes += (key + value) as u64;
            }
            if bad.is_none() {
                bad = check_operation(op).err();
            }
        });
        if let Some(bad) = bad {
            return Err(bad);
        }
        if sizes.encoded > BATCH_BYTES_MAX {
            return Err(Error::rejected(Rejected::Batch, format!("a batch of {} bytes", sizes.encoded))
                .expected(format!("at most {BATCH_BYTES_MAX} encoded bytes"))
                .advice("Split the batch; nothing was done."));
        }
        Ok(sizes)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) encoded: usize,
    pub(crate) memory: u64,
    pub(crate) puts: bool,
    /// What it adds to what the space holds.
    pub(crate) adds: Amount,
}

fn check_operation(op: Operation<'_>) -> Result<()> {
    match op {
        Operation::Put { key, value, .. } => {
            check_key(key)?;
            if value.len() > VALUE_MAX {
                return Err(Error::rejected(Rejected::Value, format!("a value of {} bytes", value.len()))
                    .expected(format!("0..={VALUE_MAX} bytes"))
                    .advice("Split the value over several keys; nothing was done."));
            }
            Ok(())
        }
        Operation::Delete { key } => check_key(key),
        Operation::DeleteRange { start, end } if is_hollow(start, end) => Err(no_key()),
        Operation::DeleteRange { start, end } => {
            let longest = start.len().max(end.map_or(0, <[u8]>::len));
            if longest <= RANGE_BOUND_MAX {
                return Ok(());
            }
            Err(Error::rejected(Rejected::Key, format!("a range with a bound of {longest} bytes"))
                .expected(format!("at most {KEY_MAX} bytes"))
                .advice("Use a shorter bound; nothing was done."))
        }
    }
}

/// The bounds of a range of keys: the first key in it, and the first one behind it that is not; `None` is the end.
pub(crate) fn bounds_of<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> (Vec<u8>, Option<Vec<u8>>) {
    // The very next key.
    let next = |key: &K| [key.as_ref(), &[0]].concat();
    let start = match range.start_bound() {
        Bound::Unbounded => Vec::new(),
        Bound::Included(key) => key.as_ref().to_vec(),
        Bound::Excluded(key) => next(key),
    };
    let end = match range.end_bound() {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(next(key)),
        Bound::Excluded(key) => Some(key.as_ref().to_vec()),
    };
    (start, end)
}

/// Whether no key can lie between the bounds.
fn is_hollow(start: &[u8], end: Option<&[u8]>) -> bool {
    end.is_some_and(|end| end <= start)
}

fn no_key() -> Error {
    Error::rejected(Rejected::Key, "a range in which no key can lie".to_owned())
        .expected("an end that is behind the start".to_owned())
        .advice("Look at the order of the bounds; nothing was done.")
}

/// Checks a key's bounds.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if (1..=KEY_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::rejected(Rejected::Key, format!("a key of {} bytes", key.len()))
        .expected(format!("1..={KEY_MAX} bytes"))
        .advice("Use another key; nothing was done."))
}

/// What must hold of a key for a write to be done; checked in the same step that orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: Vec<u8>,
    /// What it must hold.
    pub expected: Expected,
}

/// What a key must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No value.
    Absent,
    /// The value that this commit wrote.
    WrittenBy(Lsn),
}

/// What goes with a value that is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// How much the entry is worth keeping in hot: under pressure lower ones leave first, as far as whole tables go (see
    /// [`crate::plan`]). Any `i32`; 0 unless it is given, also where the key had another one before.
    pub priority: Priority,
}

/// What a batch sets a key to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put<'a> {
    /// The value.
    pub value: &'a [u8],
    /// What goes with it.
    pub options: PutOptions,
}

/// How a write is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Refuse the write unless this holds.
    pub precondition: Option<Precondition>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    fn operations(batch: &Batch) -> Vec<String> {
        let mut found = Vec::new();
        Operations::Many(batch).for_each(|op| found.push(format!("{op:?}")));
        found
    }

    #[test]
    fn ranges_that_meet_become_one_and_come_first() {
        let mut batch = Batch::new();
        batch.put("b", "1").put("x", "2").delete_range("a".."c").put("bb", "3").delete_range("c"..="d");
        let one = batch.clone();
        assert_eq!(batch.ranges().collect::<Vec<_>>(), [(&b"a"[..], Some(&b"d\0"[..]))]);
        assert_eq!(batch.iter().map(|(k, _)| k).collect::<Vec<_>>(), [&b"bb"[..], b"x"]);
        assert!(operations(&batch)[0].starts_with("DeleteRange"));
        assert_eq!((batch.len(), Operations::Many(&batch).check().unwrap().puts), (3, true));
        batch.delete_range::<&[u8]>(..);
        assert_eq!(operations(&batch), ["DeleteRange { start: [], end: None }"]);
        assert!(!Operations::Many(&batch).check().unwrap().puts);
        assert_ne!(one, batch);
    }

    #[test]
    fn ranges_without_a_key_and_bounds_that_no_key_has_are_rejected() {
        let rejected = |batch: &Batch| Operations::Many(batch).check().unwrap_err().kind();
        for (start, end) in [("b", "a"), ("a", "a"), ("", "")] {
            let mut batch = Batch::new();
            batch.put("k", "v").delete_range(start..end);
            assert_eq!(rejected(&batch), ErrorKind::Rejected(Rejected::Key), "{start:?}..{end:?}");
        }
        let mut batch = Batch::new();
        batch.delete_range(vec![1; RANGE_BOUND_MAX + 1]..);
        assert_eq!(rejected(&batch), ErrorKind::Rejected(Rejected::Key));
        let mut batch = Batch::new();
        batch.delete_range((Bound::Excluded(vec![1; KEY_MAX]), Bound::Included(vec![2; KEY_MAX])));
        assert!(Operations::Many(&batch).check().is_ok());
    }

    proptest! {
        #[test]
        fn the_last_operation_on_a_key_wins(
            steps in prop::collection::vec((0..12u8, 0..14u8, 0..3u8), 0..30),
        ) {
            let mut batch = Batch::new();
            // Of each key: nothing was said, it is deleted, or its value.
            let mut model: BTreeMap<u8, Option<u8>> = BTreeMap::new();
            for (n, &(key, other, what)) in steps.iter().enumerate() {
                match what {
                    0 => { batch.put([key], [n as u8]); model.insert(key, Some(n as u8)); }
                    1 => { batch.delete([key]); model.insert(key, None); }
                    _ if key < other => {
                        batch.delete_range([key]..[other]);
                        model.extend((key..other).map(|key| (key, None)));
                    }
                    _ => {}
                }
            }
            let mut found: BTreeMap<u8, Option<u8>> = BTreeMap::new();
            let mut behind: Option<Vec<u8>> = Some(Vec::new());
            for (start, end) in batch.ranges() {
                prop_assert!(behind.is_some_and(|b| b[..] < *start || b.is_empty()), "ranges are apart");
                behind = end.map(<[u8]>::to_vec);
                let end = end.map_or(14, |e| e[0]);
                found.extend((start[0]..end).map(|key| (key, None)));
            }
            found.extend(batch.iter().map(|(k, put)| (k[0], put.map(|put| put.value[0]))));
            prop_assert_eq!(found, model);
        }
    }
}
