//! Which seeds are being executed now, told to whoever watches from outside that none goes on for ever.
//!
//! Virtual time ends what waits for ever; a loop that never waits only ends from outside. No run reads anything of this.
use crate::summary::Check;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The seeds that are being executed, by how many began before them.
#[derive(Debug, Default)]
pub struct Running(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    now: BTreeMap<u64, (u64, Check)>,
}

/// A seed that is being executed, until this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    running: &'a Running,
    number: u64,
}

impl Running {
    /// `seed` begins, with a run by itself.
    #[must_use]
    pub fn begin(&self, seed: u64) -> Turn<'_> {
        let mut turns = self.turns();
        turns.begun += 1;
        let number = turns.begun;
        turns.now.insert(number, (seed, Check::Run));
        Turn { running: self, number }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Its next check begins.
    pub fn goes_on_to(&self, check: Check) {
        if let Some((_, of)) = self.running.turns().now.get_mut(&self.number) {
            *of = check;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.running.turns().now.remove(&self.number);
    }
}

/// Looks at the same intervals at what is running. It reads no clock: it counts its looks.
#[derive(Debug)]
pub struct Watch {
    most: u64,
    seen: BTreeMap<u64, u64>,
}

impl Watch {
    /// A seed that is still running `most` looks after one that saw it is stuck.
    #[must_use]
    pub fn new(most: u64) -> Watch {
        Watch { most, seen: BTreeMap::new() }
    }

    /// Looks once: a seed that is stuck, and in which check.
    pub fn look(&mut self, running: &Running) -> Option<(u64, Check)> {
        let turns = running.turns();
        self.seen.retain(|number, _| turns.now.contains_key(number));
        let mut stuck = None;
        for (number, found) in &turns.now {
            let looks = self.seen.entry(*number).or_default();
            *looks += 1;
            if *looks > self.most && stuck.is_none() {
                stuck = Some(*found);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A busy loop in the engine hung the hunt for ever.
    #[test]
    fn a_seed_that_goes_on_for_ever_is_stuck_and_those_that_end_are_not() {
        let running = Running::default();
        let mut watch = Watch::new(2);
        let stuck = running.begin(7);
        for looks in 1..3 {
            // The same seed again and again is another turn each time.
            let _other = running.begin(8);
            assert_eq!(watch.look(&running), None, "after {looks} looks");
        }
        stuck.goes_on_to(Check::Pair);
        assert_eq!(watch.look(&running), Some((7, Check::Pair)));
        drop(stuck);
        assert_eq!(watch.look(&running), None);
        assert!(watch.seen.is_empty(), "nothing is kept of what ended");
    }
}
