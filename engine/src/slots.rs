//! How many jobs over tables run at once in all spaces together: merges, moves and promotions.
//!
//! A space has one at most, and spaces stand in one line, so that each gets its turn whatever the others have to do. A
//! job may be stuck on a slow disk, and the others are not to be stuck with it: where nobody in front went on for a
//! while, the first in line begins regardless. So the number is a goal, and a stuck space costs the others that while at
//! most. Flushes need no turn: they are what frees memory and log for writers, and what they hold in memory counts in
//! the memory budget.
use crate::env::{Env, Owner};
use crate::limits::{SLOT_LOOK, SLOT_PATIENCE};
use crate::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: u64,
    /// Who waits, in the order in which they came.
    line: VecDeque<(u64, Option<Waker>)>,
    arrivals: u64,
    /// Counts jobs that began or ended.
    moves: u64,
}

/// The right to run one job; given back when dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Slots>);

/// A place in the line.
struct Place {
    of: Arc<Slots>,
    number: u64,
}

impl Slots {
    pub(crate) fn new(limit: u64) -> Arc<Slots> {
        Arc::new(Slots { limit, inner: Mutex::default() })
    }

    /// Waits for a turn, for `owner`; `None` once `wanted` says that it is not wanted any more.
    pub(crate) async fn turn(
        self: &Arc<Slots>,
        env: &dyn Env,
        owner: Owner,
        wanted: impl Fn() -> bool,
    ) -> Option<Running> {
        let place = self.stand();
        let (mut waited, mut seen) = (Duration::ZERO, u64::MAX);
        while wanted() {
            let mut look = env.sleep(owner, SLOT_LOOK);
            let came = std::future::poll_fn(|cx| match place.is_due(cx.waker()) {
                true => Poll::Ready(true),
                false => look.as_mut().poll(cx).map(|()| false),
            });
            if came.await {
                return Some(place.begin());
            }
            let moves = self.inner.lock().moves;
            waited = if moves == seen { waited + SLOT_LOOK } else { Duration::ZERO };
            seen = moves;
            if waited >= SLOT_PATIENCE && place.is_first() {
                tracing::warn!(
                    limit = self.limit,
                    "jobs seem stuck: one more begins than background-jobs says"
                );
                return Some(place.begin());
            }
        }
        None
    }

    fn stand(self: &Arc<Slots>) -> Place {
        let mut inner = self.inner.lock();
        let number = inner.arrivals;
        inner.arrivals += 1;
        inner.line.push_back((number, None));
        Place { of: self.clone(), number }
    }

    /// Wakes the first in line if it can begin.
    fn look(&self, mut inner: MutexGuard<'_, Inner>) {
        let free = inner.used < self.limit;
        let waker = inner.line.front_mut().filter(|_| free).and_then(|(_, waker)| waker.take());
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    #[cfg(test)]
    fn used(&self) -> u64 {
        self.inner.lock().used
    }
}

impl Place {
    /// Whether it is its turn; `waker` is told otherwise.
    fn is_due(&self, waker: &Waker) -> bool {
        let mut inner = self.of.inner.lock();
        let free = inner.used < self.of.limit;
        if free && inner.line.front().is_some_and(|(number, _)| *number == self.number) {
            return true;
        }
        if let Some((_, slot)) = inner.line.iter_mut().find(|(number, _)| *number == self.number) {
            *slot = Some(waker.clone());
        }
        false
    }

    fn is_first(&self) -> bool {
        self.of.inner.lock().line.front().is_some_and(|(number, _)| *number == self.number)
    }

    fn begin(self) -> Running {
        let mut inner = self.of.inner.lock();
        inner.used += 1;
        inner.moves += 1;
        drop(inner);
        Running(self.of.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.of.inner.lock();
        inner.line.retain(|(number, _)| *number != self.number);
        self.of.look(inner);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        inner.used -= 1;
        inner.moves += 1;
        self.0.look(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(place: &Place) -> bool {
        place.is_due(Waker::noop())
    }

    #[test]
    fn places_come_in_order_and_no_more_run_than_may() {
        let slots = Slots::new(2);
        let places: Vec<_> = (0..4).map(|_| slots.stand()).collect();
        assert_eq!(places.iter().map(due).collect::<Vec<_>>(), [true, false, false, false]);
        let mut places = places.into_iter();
        let (a, b) = (places.next().unwrap().begin(), places.next().unwrap().begin());
        let (c, d) = (places.next().unwrap(), places.next().unwrap());
        assert!(!due(&c) && !due(&d), "two run");
        drop(a);
        assert!(due(&c) && !due(&d), "who came first goes first");
        // Who does not wait any more holds nobody up.
        drop(c);
        assert!(due(&d));
        let d = d.begin();
        assert_eq!(slots.used(), 2);
        drop((b, d));
        assert_eq!(slots.used(), 0);
    }
}
