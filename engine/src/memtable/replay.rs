//! Building a memtable from a log: changes are gathered, sorted by key and then put into the tree, so that neighbours
//! in the tree come one after the other and are found in the cache.
//!
//! What a log holds when recovery ends is durable, and nobody reads before: so of each key only the newest version is
//! kept, and a tombstone leaves nothing. The result is what [`Memtable::apply`] one by one, then
//! [`Memtable::set_durable`] with the last LSN would have made.
use super::{Memtable, Value, Version, Versions, entry_cost};
use crate::ids::Lsn;
use crate::key::Key;
use std::collections::btree_map::Entry;

/// Changes gathered before they are put into the tree: the more, the closer neighbours are; the fewer, the sooner
/// others on the same thread get their turn.
const BATCH: usize = 64 * 1024;
/// Bytes of values gathered at most, since old versions among them only take room.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
struct Change {
    key: Key,
    version: Version,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Replay {
    table: Memtable,
    batch: Vec<Change>,
    batch_bytes: usize,
}

impl Replay {
    /// The newest LSN so far.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.table.last
    }

    /// Notes that `lsn` was committed; its operations follow by [`Replay::apply`].
    pub fn begin(&mut self, lsn: Lsn) {
        self.table.begin(lsn);
    }

    /// Adds a version at the LSN begun last.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let version = Version { lsn: self.table.last, value: value.map(Value::copy_from) };
        self.batch.push(Change { key: key.into(), version });
        self.batch_bytes += value.map_or(0, <[u8]>::len);
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.settle();
        }
    }

    /// The memtable, with everything in it.
    #[must_use]
    pub fn finish(mut self) -> Memtable {
        self.settle();
        self.table
    }

    /// Puts the batch into the tree.
    fn settle(&mut self) {
        let batch = &mut self.batch;
        let prefix = |key: &Key| {
            let mut word = [0; 8];
            let n = key.len().min(8);
            word[..n].copy_from_slice(&key[..n]);
            u64::from_be_bytes(word)
        };
        // Sorting a number and a place moves a quarter of the bytes, and seldom looks at the key itself.
        let mut order: Vec<(u64, u32)> =
            batch.iter().enumerate().map(|(i, change)| (prefix(&change.key), i as u32)).collect();
        order.sort_unstable_by(|a, b| {
            let keys = || batch[a.1 as usize].key.cmp(&batch[b.1 as usize].key);
            a.0.cmp(&b.0).then_with(keys).then(a.1.cmp(&b.1))
        });
        let mut order = order.into_iter().map(|(_, i)| i as usize).peekable();
        while let Some(i) = order.next() {
            if order.peek().is_some_and(|&next| batch[next].key == batch[i].key) {
                continue;
            }
            let key = std::mem::take(&mut batch[i].key);
            let version = std::mem::take(&mut batch[i].version);
            self.table.replace(key, version);
        }
        batch.clear();
        self.batch_bytes = 0;
    }
}

impl Memtable {
    /// Makes `version` the only one of `key`; a tombstone makes it none.
    fn replace(&mut self, key: Key, version: Version) {
        let cost = |key: &Key, v: &Version| entry_cost(key.len(), v.value.as_ref().map_or(0, |v| v.len()));
        let gone = version.value.is_none();
        match self.map.entry(key) {
            Entry::Vacant(_) if gone => {}
            Entry::Vacant(entry) => {
                self.bytes += cost(entry.key(), &version);
                entry.insert(Versions { newest: version, older: Vec::new() });
            }
            Entry::Occupied(mut entry) => {
                let old = cost(entry.key(), &entry.get().newest);
                self.bytes -= old;
                if gone {
                    entry.remove();
                } else {
                    self.bytes += cost(entry.key(), &version);
                    entry.get_mut().newest = version;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memtable::Direction;
    use proptest::prelude::*;
    use std::ops::Bound;

    fn all(table: &Memtable) -> Vec<(Vec<u8>, Value)> {
        let entries =
            table.range(Bound::Unbounded, Bound::Unbounded, table.last(), Direction::Ascending, usize::MAX);
        entries.into_iter().map(|(key, value)| (key.to_vec(), value)).collect()
    }

    proptest! {
        #[test]
        fn a_replay_makes_what_applying_one_by_one_makes(
            changes in prop::collection::vec((prop::collection::vec(0..3u8, 1..12), prop::option::of(0..200u8)), 0..200),
            settle_every in 1..50usize,
        ) {
            let (mut replay, mut table) = (Replay::default(), Memtable::new());
            for (i, (key, value)) in changes.iter().enumerate() {
                let lsn = Lsn::from_raw(i as u64 + 1);
                let value = value.map(|n| vec![n; usize::from(n)]);
                replay.begin(lsn);
                replay.apply(key, value.as_deref());
                table.begin(lsn);
                table.apply(key, value.as_deref());
                if i % settle_every == 0 {
                    replay.settle();
                }
            }
            table.set_durable(table.last());
            let replayed = replay.finish();
            prop_assert_eq!(all(&replayed), all(&table));
            prop_assert_eq!((replayed.bytes(), replayed.last()), (table.bytes(), table.last()));
            let newest = |t: &Memtable| changes.iter().map(|(k, _)| t.newest(k)).collect::<Vec<_>>();
            prop_assert_eq!(newest(&replayed), newest(&table));
        }
    }

    #[test]
    fn full_batches_settle_by_themselves() {
        let mut replay = Replay::default();
        for n in 0..=BATCH as u64 {
            replay.begin(Lsn::from_raw(n + 1));
            replay.apply(&n.to_be_bytes(), Some(b"v"));
        }
        assert_eq!((replay.batch.len(), replay.finish().map.len()), (1, BATCH + 1));
    }
}
