//! The block cache: verified pieces of tables, of all spaces within one budget, with a share for each space.
//!
//! A piece is known by its file and its offset. No file's uid is ever used twice and no piece ever changes, so nothing
//! has to be invalidated for what is read to be right; pieces of tables that are gone are dropped to save memory.
//! Values that lie apart are not kept: each is one read at a known place, and one of them would push out blocks that
//! answer for hundreds of keys; the page cache of the operating system has them.
//!
//! # Who gives
//! Each space has a [`Partition`] with a lock of its own, so a hit takes no lock of another space, and one that loads
//! takes that of another only to take one piece out. With `n` spaces that hold anything, each is guaranteed its
//! configured share, or `7/8` of an `n`-th of the budget less the largest piece if that is less; what is free beyond
//! may be borrowed. One rule holds for every eviction: a piece goes only where what is left is still what is
//! guaranteed. When a load finds the budget exceeded, its own space gives if it has borrowed; but for a point read
//! another gives that holds more than twice as much, or else a space that no longer reads would keep what it borrowed
//! for ever. A space that has not borrowed takes from the one that holds the most. That one can always give: over the
//! budget, the one that holds the most has at least an `n`-th of it, of which an eighth is lost since spaces are ordered
//! by size only that exactly.
//!
//! Everything here is decided by the order of the calls: no clock, no chance, no order of a hash map.
mod shelf;
#[cfg(test)]
mod tests;

use crate::ids::FileUid;
use crate::limits::CACHE_PIECE_MAX;
use crate::mutants;
use crate::sync::{AtomicU64, Mutex, MutexGuard, OnceLock, Ordering};
use crate::table::Loaded;
use shelf::Shelf;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use shelf::Use;

/// Slots that are looked at under one hold of the lock when a file is forgotten.
const FORGET_STEP: usize = 1024;

/// The cache of one engine.
#[derive(Debug)]
pub struct Cache {
    budget: u64,
    share: u64,
    /// Bytes of the largest piece that is kept.
    largest_piece: u64,
    /// Bytes of all partitions together.
    used: AtomicU64,
    /// Partitions that were made.
    made: AtomicU64,
    /// Partitions that hold anything, those that hold the most in front; of the same size the one made first.
    holders: Mutex<BTreeMap<Rank, Arc<Held>>>,
}

/// Where a partition stands among those that hold anything: by its size, then by its number.
type Rank = (Reverse<Size>, u64);

/// Bytes, exact to an eighth: so that the order of spaces need not change with every piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Size(u32);

impl Size {
    /// Steps from one size to its double.
    const DOUBLE: u32 = 8;

    fn of(bytes: u64) -> Size {
        let bytes = bytes.max(Size::DOUBLE.into());
        let exponent = bytes.ilog2();
        Size(exponent * Size::DOUBLE + (bytes >> (exponent - 3)) as u32 % Size::DOUBLE)
    }
}

/// What a partition holds, where other spaces find it.
#[derive(Debug)]
struct Held {
    number: u64,
    shelf: Mutex<Shelf>,
    /// Bytes of the shelf; changes only under its lock.
    bytes: AtomicU64,
}

/// What a partition holds and how often it helped.
#[derive(serde::Serialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Pieces in it.
    pub pieces: u64,
    /// Bytes of them, each with what it costs to keep.
    pub bytes: u64,
    /// Pieces that were asked for and there.
    pub hits: u64,
    /// Pieces that were asked for and not there.
    pub misses: u64,
}

impl Cache {
    /// A cache of `budget` bytes, of which each space that needs them is guaranteed `share` if that much is there for
    /// all. With a budget of zero nothing is kept.
    #[must_use]
    pub fn new(budget: u64, share: u64) -> Arc<Cache> {
        Arc::new(Cache {
            budget,
            share,
            largest_piece: CACHE_PIECE_MAX.min(budget / 8),
            used: AtomicU64::new(0),
            made: AtomicU64::new(0),
            holders: Mutex::default(),
        })
    }

    /// An empty partition, for one space. It holds no memory before the first read.
    #[must_use]
    pub fn partition(self: &Arc<Cache>) -> Partition {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Partition { cache: self.clone(), number, held: OnceLock::new() }
    }

    /// An empty partition, for an opening of the space that `number` stands for.
    pub(crate) fn partition_of(self: &Arc<Cache>, number: u64) -> Partition {
        if !mutants::on("recreated-space-serves-old-block") {
            return self.partition();
        }
        let left = self.holders.lock().values().find(|held| held.number == number).cloned();
        Partition { cache: self.clone(), number, held: left.map_or_else(OnceLock::new, OnceLock::from) }
    }

    /// Bytes of all partitions together. No more than the budget, but for the one piece that a thread is about to make
    /// room for.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// Bytes that it may hold.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that each of `holders` spaces keeps whatever the others do.
    fn guaranteed(&self, holders: u64) -> u64 {
        let part = self.budget / holders.max(1);
        (part - part / 8).saturating_sub(self.largest_piece).min(self.share)
    }

    /// Brings sum and order up to date; to be called whenever `shelf`, which is that of `held`, has changed.
    fn changed(&self, held: &Arc<Held>, shelf: &MutexGuard<'_, Shelf>) {
        let (before, after) = (held.bytes.load(Ordering::Relaxed), shelf.bytes());
        held.bytes.store(after, Ordering::Relaxed);
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
        let key = |bytes| (Reverse(Size::of(bytes)), held.number);
        if (before == 0) != (after == 0) || key(before) != key(after) {
            let mut holders = self.holders.lock();
            holders.remove(&key(before));
            if after > 0 {
                holders.insert(key(after), held.clone());
            }
        }
    }

    /// Evicts until the budget is kept, after `by` had `held` take a piece in.
    fn make_room(&self, held: &Arc<Held>, by: Use) {
        while self.used() > self.budget {
            let holders = self.holders.lock();
            let guaranteed = self.guaranteed(holders.len() as u64);
            let most = holders.first_key_value().map(|((Reverse(size), _), most)| (*size, most.clone()));
            let mut others = holders.values().filter(|other| other.number != held.number);
            let least =
                mutants::on("cache-evicts-below-share").then(|| others.next_back().cloned()).flatten();
            drop(holders);
            if least.is_some_and(|least| self.evict(&least, 0).is_some()) {
                continue;
            }
            let Some((size, most)) = most else { return };
            let own = held.bytes.load(Ordering::Relaxed);
            let much_less = Size(Size::of(own).0 + Size::DOUBLE) < size;
            let gives_itself = own > guaranteed && (by == Use::Scan || !much_less);
            let order = if gives_itself { [held, &most] } else { [&most, held] };
            let gone = order.into_iter().find_map(|held| self.evict(held, guaranteed));
            // Only where others load and evict at the same time may none be left that can give.
            if gone.or_else(|| self.evict(held, 0)).is_none() {
                return;
            }
        }
    }

    /// Takes one piece out of `held`, if `floor` bytes are left. It is returned so that its memory is given back after
    /// the lock.
    fn evict(&self, held: &Arc<Held>, floor: u64) -> Option<Loaded> {
        let mut shelf = held.shelf.lock();
        let gone = shelf.evict(floor);
        self.changed(held, &shelf);
        gone
    }
}

/// The part of a cache that one space reads through. When it is dropped, all that it holds is given back.
#[derive(Debug)]
pub struct Partition {
    cache: Arc<Cache>,
    number: u64,
    /// There since the first read.
    held: OnceLock<Arc<Held>>,
}

impl Partition {
    fn held(&self) -> &Arc<Held> {
        self.held.get_or_init(|| {
            let shelf = Mutex::new(Shelf::new());
            Arc::new(Held { number: self.number, shelf, bytes: AtomicU64::new(0) })
        })
    }

    /// The piece at `offset` of `file`, if it is there.
    #[must_use]
    pub fn get(&self, file: FileUid, offset: u64, by: Use) -> Option<Loaded> {
        self.held().shelf.lock().get((file, offset), by)
    }

    /// Keeps the piece that was read at `offset` of `file`, unless it is too large, and makes room for it.
    pub fn insert(&self, file: FileUid, offset: u64, loaded: Loaded, by: Use) {
        if shelf::cost(&loaded) > self.cache.largest_piece {
            return;
        }
        let held = self.held();
        let mut shelf = held.shelf.lock();
        if !shelf.insert((file, offset), loaded, by) {
            return;
        }
        self.cache.changed(held, &shelf);
        drop(shelf);
        self.cache.make_room(held, by);
    }

    /// Drops all pieces of `file`, which is gone. What another thread inserts of it meanwhile may stay, and goes in its
    /// turn.
    pub fn forget(&self, file: FileUid) {
        let Some(held) = self.held.get() else { return };
        let mut upto = usize::MAX;
        while upto > 0 {
            let mut shelf = held.shelf.lock();
            let (from, gone) = shelf.forget(file, upto, FORGET_STEP);
            self.cache.changed(held, &shelf);
            upto = from;
            drop(shelf);
            drop(gone);
        }
    }

    /// Drops all that it holds and keeps nothing any more: its space is not read on.
    pub fn close(&self) {
        if mutants::on("recreated-space-serves-old-block") {
            return;
        }
        let held = self.held();
        let mut shelf = held.shelf.lock();
        let gone = std::mem::replace(&mut *shelf, Shelf::closed());
        self.cache.changed(held, &shelf);
        drop(shelf);
        drop(gone);
    }

    /// What it holds and how often it helped.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.held.get().map_or_else(Usage::default, |held| {
            let shelf = held.shelf.lock();
            let (pieces, bytes) = (shelf.len() as u64, shelf.bytes());
            Usage { pieces, bytes, hits: shelf.hits, misses: shelf.misses }
        })
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Some(held) = self.held.get()
            && !mutants::on("recreated-space-serves-old-block")
        {
            let mut shelf = held.shelf.lock();
            let gone = std::mem::replace(&mut *shelf, Shelf::new());
            self.cache.changed(held, &shelf);
            drop(shelf);
            drop(gone);
        }
    }
}
