//! The engine-wide budget for file descriptors. A space needs some while it is used; one that is not gives them back and
//! goes on where it was once it is used again.
//!
//! Whoever needs more than there are has those rest who were not used for longest: a queue with a second chance for who
//! was used since it was asked last (the CLOCK algorithm). Who cannot rest yet is asked to hurry, and is waited for; but
//! not for long: the limit is a goal, and nobody is refused for it. What readers under way still hold of what a resting
//! space closed, and the tables that jobs read and write, is not counted.
use crate::env::{Env, Owner};
use crate::limits::{HURRIED_AT_ONCE, REST_PATIENCE};
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

/// Who holds descriptors and can give them back.
pub(crate) trait Holder: Send + Sync + std::fmt::Debug {
    /// Whether it was used since this was last asked.
    fn was_used(&self) -> bool;
    /// Gives back what it holds, if nothing of it is in use. Whether it did; then it joins again once it needs more.
    fn rest(self: Arc<Self>) -> bool;
    /// Asks it to come to an end with what keeps it from resting.
    fn hurry(self: Arc<Self>);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: u64,
    /// Whose turn it is to be asked, in order.
    holders: VecDeque<Weak<dyn Holder>>,
    /// Counts what may help those who wait.
    changes: u64,
    /// Who waits for some to be given back.
    waiting: Vec<Waker>,
    /// A task asks all of them from time to time.
    is_swept: bool,
}

/// Descriptors in use; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of: Arc<Descriptors>,
    count: u64,
}

/// Whom a round asks to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Those who were not used since the last round.
    Unused,
    Everybody,
}

impl Descriptors {
    pub(crate) fn new(limit: u64) -> Arc<Descriptors> {
        Arc::new(Descriptors { limit, inner: Mutex::default() })
    }

    /// Takes `count`, whether or not that many are left.
    pub(crate) fn take(self: &Arc<Self>, count: u64) -> Held {
        self.inner.lock().used += count;
        Held { of: self.clone(), count }
    }

    /// Takes `count`, for `owner`, once that many are left or others could not give them back for a while.
    pub(crate) async fn acquire(self: &Arc<Self>, count: u64, env: &dyn Env, owner: Owner) -> Held {
        if let Some(held) = self.try_take(count) {
            return held;
        }
        self.hurry();
        let mut patience = env.sleep(owner, REST_PATIENCE);
        loop {
            let seen = self.inner.lock().changes;
            if let Some(held) = self.make_room(count) {
                return held;
            }
            let changed = std::future::poll_fn(|cx| {
                let mut inner = self.inner.lock();
                if inner.changes != seen {
                    return Poll::Ready(true);
                }
                inner.waiting.retain(|waker| !waker.will_wake(cx.waker()));
                inner.waiting.push(cx.waker().clone());
                drop(inner);
                patience.as_mut().poll(cx).map(|()| false)
            });
            if !changed.await {
                tracing::warn!(
                    limit = self.limit,
                    "more descriptors are needed at once than max-descriptors says"
                );
                return self.take(count);
            }
        }
    }

    /// Somebody may be able to rest by now who was not before.
    pub(crate) fn may_rest(&self) {
        let mut inner = self.inner.lock();
        inner.changes += 1;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn try_take(self: &Arc<Self>, count: u64) -> Option<Held> {
        let mut inner = self.inner.lock();
        let fits = inner.used + count <= self.limit;
        fits.then(|| {
            inner.used += count;
            Held { of: self.clone(), count }
        })
    }

    fn make_room(self: &Arc<Self>, count: u64) -> Option<Held> {
        for round in [Round::Unused, Round::Everybody] {
            self.ask_to_rest(round, |used| used + count <= self.limit);
            if let Some(held) = self.try_take(count) {
                return Some(held);
            }
        }
        None
    }

    /// Asks some of those who hold descriptors for longest to come to an end. Once for each who waits: their end is what
    /// those who wait are woken by, also where they still cannot rest.
    fn hurry(&self) {
        let first: Vec<_> = self.inner.lock().holders.iter().take(HURRIED_AT_ONCE).cloned().collect();
        first.iter().filter_map(Weak::upgrade).for_each(Holder::hurry);
    }

    /// Asks holders to rest, each at most once, until it is `enough` that so many are in use. To be called without any lock
    /// of a space.
    pub(crate) fn ask_to_rest(&self, round: Round, enough: impl Fn(u64) -> bool) {
        let all = self.inner.lock().holders.len();
        for _ in 0..all {
            let mut inner = self.inner.lock();
            if enough(inner.used) {
                return;
            }
            let Some(next) = inner.holders.pop_front() else { return };
            drop(inner);
            let Some(holder) = next.upgrade() else { continue };
            let asked = !holder.was_used() || round == Round::Everybody;
            if !(asked && holder.rest()) {
                self.inner.lock().holders.push_back(next);
            }
        }
    }

    /// One more that holds some and can give them back. Whether the caller is to start a task that asks all of them from
    /// time to time; see [`Descriptors::is_still_swept`].
    pub(crate) fn join(&self, holder: Weak<dyn Holder>) -> bool {
        let mut inner = self.inner.lock();
        inner.holders.push_back(holder);
        !std::mem::replace(&mut inner.is_swept, true)
    }

    /// Whether the task that asks from time to time still has somebody to ask; it ends otherwise.
    pub(crate) fn is_still_swept(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.is_swept = !inner.holders.is_empty();
        inner.is_swept
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> u64 {
        self.inner.lock().used
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.inner.lock().used -= self.count;
        self.of.may_rest();
    }
}
