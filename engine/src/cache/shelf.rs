//! What one space keeps in the cache: its pieces, and the order in which they go. Plain state, behind one lock.
//!
//! There are two queues. What was read in bulk stands in the first and goes first, oldest in front; so however much a
//! scan reads, it pushes out nothing but scanned pieces. A piece that a point read asks for stands in the second, which
//! is a clock (F. Corbató, *A Paging Experiment with the Multics System*, 1968) that counts to three: each read of a
//! piece earns it one more round.
//!
//! Slots lie densely in one vector, and the queues are links between them: a shelf that shrinks gives back its memory,
//! and walking over all slots has an order that no hash decides.
use crate::ids::FileUid;
use crate::table::Loaded;
use rustc_hash::FxHashMap;

/// Who reads a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A lookup or a short scan: what it read is likely to be read again.
    Point,
    /// A long scan or a merge: it reads each piece once.
    Scan,
}

/// Where a piece lies: its file, and the offset in it. Files are never used twice, so neither is this.
pub(super) type Place = (FileUid, u64);

/// Bytes that a piece takes besides its own: its slot, twice for the vector's spare room, its place in the map, twice
/// for the map's spare room, and what shares out its bytes.
pub(super) const OVERHEAD: usize = 2 * size_of::<Slot>() + 2 * (size_of::<(Place, u32)>() + 1) + 40;

/// Most rounds that a piece can earn.
const ROUNDS_MAX: u8 = 3;
/// Most pieces that get their round while one is to go; then the next one goes, whatever it earned. So the time that the
/// lock is held has a bound, also where every piece was read often.
const PASSED_MAX: usize = 64;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    place: Place,
    loaded: Loaded,
    /// Its own bytes and [`OVERHEAD`].
    bytes: u32,
    /// The slot in front of it in its queue, and the one behind it.
    front: u32,
    behind: u32,
    queue: Use,
    /// Rounds that it has earned.
    rounds: u8,
}

/// The ends of a queue.
#[derive(Debug)]
struct Queue {
    first: u32,
    last: u32,
}

/// The pieces of one space.
#[derive(Debug)]
pub(super) struct Shelf {
    slots: Vec<Slot>,
    places: FxHashMap<Place, u32>,
    scanned: Queue,
    clock: Queue,
    /// Of all slots.
    bytes: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// It takes nothing in.
    closed: bool,
}

/// Bytes that `loaded` takes in a cache.
pub(super) fn cost(loaded: &Loaded) -> u64 {
    (loaded.memory() + OVERHEAD) as u64
}

impl Shelf {
    /// An empty shelf; it holds no memory.
    pub(super) fn new() -> Shelf {
        let empty = || Queue { first: NONE, last: NONE };
        Shelf {
            slots: Vec::new(),
            places: FxHashMap::default(),
            scanned: empty(),
            clock: empty(),
            bytes: 0,
            hits: 0,
            misses: 0,
            closed: false,
        }
    }

    /// A shelf that stays empty.
    pub(super) fn closed() -> Shelf {
        Shelf { closed: true, ..Shelf::new() }
    }

    /// Bytes of all pieces, each with its overhead.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Number of pieces.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The piece at `place`. A point read earns it a round.
    pub(super) fn get(&mut self, place: Place, by: Use) -> Option<Loaded> {
        let Some(&at) = self.places.get(&place) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        if by == Use::Point {
            self.earn(at);
        }
        Some(self.slots[at as usize].loaded.clone())
    }

    fn earn(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if slot.queue == Use::Point {
            slot.rounds = (slot.rounds + 1).min(ROUNDS_MAX);
        } else {
            self.unlink(at);
            self.slots[at as usize].queue = Use::Point;
            self.link_last(at);
        }
    }

    /// Puts a piece at the end of its queue, or in the place of the same one where it has become larger since, and so
    /// readier to be searched; whether it holds more now.
    pub(super) fn insert(&mut self, place: Place, loaded: Loaded, by: Use) -> bool {
        if self.closed {
            return false;
        }
        if let Some(&at) = self.places.get(&place) {
            // Two read it at the same time, or one made more of it. They read the same.
            if by == Use::Point {
                self.earn(at);
            }
            return self.enlarge(at, loaded);
        }
        let at = self.slots.len() as u32;
        let bytes = u32::try_from(cost(&loaded)).expect("pieces are bounded");
        self.slots.push(Slot { place, loaded, bytes, front: NONE, behind: NONE, queue: by, rounds: 0 });
        self.places.insert(place, at);
        self.bytes += u64::from(bytes);
        self.link_last(at);
        true
    }

    fn enlarge(&mut self, at: u32, loaded: Loaded) -> bool {
        let slot = &mut self.slots[at as usize];
        let bytes = u32::try_from(cost(&loaded)).expect("pieces are bounded");
        let more = bytes.saturating_sub(slot.bytes);
        if more > 0 {
            (slot.loaded, slot.bytes) = (loaded, bytes);
            self.bytes += u64::from(more);
        }
        more > 0
    }

    /// Takes out the piece whose turn it is, if what is left is still at least `floor` bytes.
    pub(super) fn evict(&mut self, floor: u64) -> Option<Loaded> {
        let at = self.next_to_go()?;
        let left = self.bytes - u64::from(self.slots[at as usize].bytes);
        (left >= floor).then(|| self.remove(at))
    }

    fn next_to_go(&mut self) -> Option<u32> {
        if self.scanned.first != NONE {
            return Some(self.scanned.first);
        }
        for _ in 0..PASSED_MAX {
            let at = self.clock.first;
            if at == NONE || self.slots[at as usize].rounds == 0 {
                break;
            }
            self.slots[at as usize].rounds -= 1;
            self.unlink(at);
            self.link_last(at);
        }
        Some(self.clock.first).filter(|&at| at != NONE)
    }

    /// Takes out the pieces of `file` among the last `most` of the first `upto` slots; where to go on, and what was taken
    /// out.
    pub(super) fn forget(&mut self, file: FileUid, upto: usize, most: usize) -> (usize, Vec<Loaded>) {
        let upto = upto.min(self.slots.len());
        let from = upto.saturating_sub(most);
        let mut gone = Vec::new();
        // The slot that takes the place of one removed comes from behind, where all were looked at.
        for at in (from..upto).rev() {
            if self.slots[at].place.0 == file {
                gone.push(self.remove(at as u32));
            }
        }
        (from, gone)
    }

    fn remove(&mut self, at: u32) -> Loaded {
        self.unlink(at);
        let slot = self.slots.swap_remove(at as usize);
        self.places.remove(&slot.place);
        self.bytes -= u64::from(slot.bytes);
        if (at as usize) < self.slots.len() {
            self.moved(at);
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * self.slots.len());
            self.places.shrink_to(2 * self.slots.len());
        }
        slot.loaded
    }

    /// A slot has come to lie at `at`: sees to it that it is found there.
    fn moved(&mut self, at: u32) {
        let Slot { place, front, behind, queue, .. } = self.slots[at as usize];
        self.places.insert(place, at);
        match front {
            NONE => self.queue(queue).first = at,
            front => self.slots[front as usize].behind = at,
        }
        match behind {
            NONE => self.queue(queue).last = at,
            behind => self.slots[behind as usize].front = at,
        }
    }

    fn queue(&mut self, queue: Use) -> &mut Queue {
        match queue {
            Use::Point => &mut self.clock,
            Use::Scan => &mut self.scanned,
        }
    }

    fn link_last(&mut self, at: u32) {
        let queue = self.queue(self.slots[at as usize].queue);
        let last = std::mem::replace(&mut queue.last, at);
        if last == NONE {
            queue.first = at;
        } else {
            self.slots[last as usize].behind = at;
        }
        let slot = &mut self.slots[at as usize];
        (slot.front, slot.behind) = (last, NONE);
    }

    fn unlink(&mut self, at: u32) {
        let Slot { front, behind, queue, .. } = self.slots[at as usize];
        match front {
            NONE => self.queue(queue).first = behind,
            front => self.slots[front as usize].behind = behind,
        }
        match behind {
            NONE => self.queue(queue).last = front,
            behind => self.slots[behind as usize].front = front,
        }
    }

    /// Whether all parts of it agree, and the places in the order in which they would go if none had earned a round.
    #[cfg(test)]
    pub(super) fn checked(&self) -> Vec<(Place, Use)> {
        let mut order = Vec::new();
        for (queue, ends) in [(Use::Scan, &self.scanned), (Use::Point, &self.clock)] {
            let (mut front, mut at) = (NONE, ends.first);
            while at != NONE {
                let slot = &self.slots[at as usize];
                assert_eq!((slot.front, slot.queue), (front, queue));
                assert_eq!(self.places.get(&slot.place), Some(&at));
                order.push((slot.place, queue));
                (front, at) = (at, slot.behind);
            }
            assert_eq!(ends.last, front);
        }
        assert_eq!((order.len(), self.places.len()), (self.slots.len(), self.slots.len()));
        assert_eq!(self.bytes, self.slots.iter().map(|slot| cost(&slot.loaded)).sum::<u64>());
        assert!(self.slots.capacity() <= 4 * self.slots.len().max(4), "room for what is no longer there");
        order
    }
}
