//! What was submitted and not yet released, in the order in which it will be.
use crate::verbs::Work;
use bulkhead::env::IoOp;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How long operations take: at least the first number of microseconds, and up to the second one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub read: (u32, u32),
    pub write: (u32, u32),
    pub sync: (u32, u32),
    /// Everything that concerns names.
    pub names: (u32, u32),
    /// A client's turn.
    pub turn: (u32, u32),
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { read: (5, 95), write: (2, 18), sync: (100, 900), names: (5, 45), turn: (1, 9) }
    }
}

impl Latency {
    pub(crate) fn of(&self, op: IoOp) -> (u32, u32) {
        match op {
            IoOp::ReadAt | IoOp::Len => self.read,
            IoOp::WriteAt | IoOp::Truncate => self.write,
            IoOp::Sync | IoOp::SyncDir | IoOp::SyncParent | IoOp::Allocate => self.sync,
            _ => self.names,
        }
    }
}

/// When something is released: first by time, then by a keyed number, then by the place in the queue.
pub(crate) type Turn = (u64, u32, u32);

/// Ordered by [`Turn`]; places are used again.
#[derive(Default)]
pub(crate) struct Queue {
    turns: BinaryHeap<Reverse<Turn>>,
    places: Vec<Option<Work>>,
    free: Vec<u32>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.turns.len()
    }

    pub(crate) fn push(&mut self, due: u64, tie: u32, work: Work) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 operations under way")
        });
        self.places[place as usize] = Some(work);
        self.turns.push(Reverse((due, tie, place)));
    }

    /// What comes next, and when.
    pub(crate) fn peek(&self) -> Option<(u64, &Work)> {
        let Reverse((due, _, place)) = self.turns.peek()?;
        Some((*due, self.places[*place as usize].as_ref().expect("a queued place is taken")))
    }

    /// All that is under way, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Work> {
        self.places.iter().flatten()
    }

    pub(crate) fn pop(&mut self) -> Option<Work> {
        let Reverse((_, _, place)) = self.turns.pop()?;
        self.free.push(place);
        Some(self.places[place as usize].take().expect("a queued place is taken"))
    }
}
