//! What holds versions back: snapshots and scans. Each is a *pin* on a commit, and lives no longer than its space allows.
//!
//! - A pin that has reached the age of `snapshot-age-ms` expires once it holds something back, which is once a commit
//!   behind the oldest one pinned is durable. Before that nothing would come of it, so who reads a space that nobody
//!   writes may take as long as it likes.
//! - One pin more than `max-snapshots` has the oldest expire, whatever it holds back.
//!
//! The oldest always goes first, so one number says which have expired: all below it. An expired pin is no reader any
//! more: the next flush, merge or collection counts without it, and what it saw may go. So whoever reads by a pin asks
//! under the lock under which it looks into memory, and again after it has awaited anything. What it got by then is right,
//! tables stay readable for those who came before, but nothing more may follow; so it hands out nothing.
//!
//! No clock is asked but by those at work anyway: readers by pins, and the driver at its ticks. A space without a driver has
//! a timer only while pins hold something back there, for the oldest of them.
use super::incarnation::{Driver, Incarnation};
use super::layers::Layers;
use crate::config::TierOptions;
use crate::error::{Error, Rejected, Result};
use crate::ids::Lsn;
use crate::mutants;
use crate::sync::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;

/// A view of one moment. What it shows is kept until it is dropped or expires.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) lsn: Lsn,
    /// Pins that share a view have one number.
    number: u64,
}

/// The pins of an opening, by age.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// Those that have expired stay until they are dropped, so that they can be told why.
    held: BTreeMap<u64, Held>,
    /// Those below have expired.
    live_from: u64,
    live: usize,
    expired: u64,
    next: u64,
    /// Dropped when the timer of an idle space is not needed any more.
    alarm: Option<oneshot::Sender<Infallible>>,
}

#[derive(Debug)]
struct Held {
    lsn: Lsn,
    since: Duration,
    /// A snapshot, and the scans made from it.
    holders: usize,
    expired: Option<Expiry>,
}

/// When and why one expired.
#[derive(Debug, Clone, Copy)]
struct Expiry {
    age: Duration,
    beyond: Beyond,
}

/// The limit that was passed.
#[derive(Debug, Clone, Copy)]
enum Beyond {
    AgeMs(u64),
    Count(u64),
}

/// What readers by pins ask without a lock.
#[derive(Debug)]
pub(super) struct Lives {
    /// Pins below have expired.
    expired_below: AtomicU64,
    /// Before this time, in microseconds of the environment's clock, none reaches the age at which it may expire.
    due_us: AtomicU64,
}

impl Default for Lives {
    fn default() -> Lives {
        Lives { expired_below: AtomicU64::new(0), due_us: AtomicU64::new(u64::MAX) }
    }
}

/// When a pin taken at `since` reaches its age; `None` is never.
fn due(limits: &TierOptions, since: Duration) -> Option<Duration> {
    (limits.snapshot_age_ms > 0).then(|| since.saturating_add(Duration::from_millis(limits.snapshot_age_ms)))
}

fn micros(at: Option<Duration>) -> u64 {
    at.map_or(u64::MAX, |at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
}

impl Pins {
    /// How many there are that have not expired.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// How many have expired.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    /// Since when the oldest is held that has not expired.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.held.range(self.live_from..).next().map(|(_, held)| held.since)
    }
}

impl Layers {
    fn pin(&mut self, lsn: Lsn, since: Duration) -> u64 {
        self.active.pin(lsn);
        let pins = &mut self.pins;
        let number = pins.next;
        pins.held.insert(number, Held { lsn, since, holders: 1, expired: None });
        pins.live += 1;
        pins.next += 1;
        number
    }

    /// One holder less. The last one releases what is pinned, unless that has expired: then it was released already.
    fn unpin(&mut self, number: u64) {
        let held = self.pins.held.get_mut(&number).expect("who lets go of a pin holds it");
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let held = self.pins.held.remove(&number).expect("just seen");
        if held.expired.is_none() {
            self.pins.live -= 1;
            self.active.unpin(held.lsn);
        } else if mutants::on("expired-snapshot-released-again") && self.active.pinned().contains(&held.lsn) {
            self.active.unpin(held.lsn);
        }
    }

    /// The limit that the oldest pin is beyond, if it is to expire.
    fn is_beyond(&self, limits: &TierOptions, now: Duration) -> Option<Beyond> {
        if limits.max_snapshots > 0 && self.pins.live as u64 > limits.max_snapshots {
            return Some(Beyond::Count(limits.max_snapshots));
        }
        let is_due = due(limits, self.pins.oldest()?).is_some_and(|due| now >= due);
        (is_due && self.are_held_back()).then_some(Beyond::AgeMs(limits.snapshot_age_ms))
    }

    /// Whether pins hold something back: who does not read by one reads at the durable watermark or above.
    fn are_held_back(&self) -> bool {
        self.active.floor() < self.active.durable()
    }

    fn expire_oldest(&mut self, now: Duration, beyond: Beyond) {
        let pins = &mut self.pins;
        let (number, held) = pins.held.range_mut(pins.live_from..).next().expect("one is live");
        held.expired = Some(Expiry { age: now.saturating_sub(held.since), beyond });
        let lsn = held.lsn;
        pins.live_from = number + 1;
        pins.live -= 1;
        pins.expired += 1;
        self.active.unpin(lsn);
    }
}

impl Pin {
    /// Pins what a read at `at` sees. The caller knows that nothing visible there was collected yet.
    pub(super) fn take(incarnation: &Arc<Incarnation>, at: impl FnOnce(&Layers) -> Lsn) -> Pin {
        let tiers = incarnation.tiers();
        let limits = tiers.get();
        let mut layers = incarnation.layers.write();
        let (lsn, since) = (at(&layers), incarnation.context.env.now());
        let number = layers.pin(lsn, since);
        incarnation.lives.due_us.fetch_min(micros(due(limits, since)), Ordering::Relaxed);
        let too_many = limits.max_snapshots > 0 && layers.pins.live as u64 > limits.max_snapshots;
        drop(layers);
        let pin = Pin { incarnation: incarnation.clone(), lsn, number };
        if too_many {
            incarnation.expire_pins();
        }
        pin
    }

    /// Another holder of the same view, which is as old as this one.
    pub(super) fn share(&self) -> Pin {
        let mut layers = self.incarnation.layers.write();
        layers.pins.held.get_mut(&self.number).expect("this one holds it").holders += 1;
        drop(layers);
        Pin { incarnation: self.incarnation.clone(), lsn: self.lsn, number: self.number }
    }

    fn has_expired(&self) -> bool {
        let expired = self.incarnation.lives.expired_below.load(Ordering::Acquire) > self.number;
        expired && !mutants::on("expired-snapshot-still-serves")
    }

    /// What a reader has to ask before it looks, under the same lock.
    pub(super) fn serve(&self, layers: &Layers) -> Result<()> {
        layers.serve()?;
        if self.has_expired() { Err(self.told(layers)) } else { Ok(()) }
    }

    /// What a reader has to ask after it has awaited something, and before it hands anything out.
    pub(super) fn still_serves(&self) -> Result<()> {
        if self.has_expired() { Err(self.told(&self.incarnation.layers.read())) } else { Ok(()) }
    }

    /// What a reader does when it begins: has pins expire whose time has come, as its own may.
    pub(super) fn look_at_clock(&self) {
        let due_us = self.incarnation.lives.due_us.load(Ordering::Relaxed);
        if due_us < u64::MAX && micros(Some(self.incarnation.context.env.now())) >= due_us {
            self.incarnation.expire_pins();
        }
    }

    fn told(&self, layers: &Layers) -> Error {
        let held = layers.pins.held.get(&self.number).expect("this one holds it");
        let Expiry { age, beyond } = held.expired.expect("it has expired");
        let (lsn, age) = (self.lsn, age.as_millis());
        let (why, most, next) = match beyond {
            Beyond::AgeMs(most) => (
                format!("it was {age} ms old, and held back what was overwritten or deleted since"),
                format!("at most {most} ms, as tiers.snapshot-age-ms says"),
                "Take a new one and begin anew; allow more time where reads need it.",
            ),
            Beyond::Count(most) => (
                format!("it was {age} ms old, the oldest of more than there may be"),
                format!("at most {most} snapshots and scans at once, as tiers.max-snapshots says"),
                "Take a new one and begin anew; drop those that are not needed any more.",
            ),
        };
        Error::rejected(Rejected::SnapshotExpired, format!("the snapshot of commit {lsn} has expired: {why}"))
            .in_space(&self.incarnation.id)
            .expected(most)
            .advice(next)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.incarnation.release(|layers| layers.unpin(self.number));
    }
}

impl Incarnation {
    /// Has pins expire that are beyond the limits now. To be called without any lock.
    pub(super) fn expire_pins(self: &Arc<Self>) {
        let tiers = self.tiers();
        let (limits, now) = (tiers.get(), self.context.env.now());
        let note_due = |layers: &Layers| {
            let oldest = layers.pins.oldest().and_then(|since| due(limits, since));
            self.lives.due_us.store(micros(oldest), Ordering::Relaxed);
        };
        {
            let layers = self.layers.read();
            if layers.is_beyond(limits, now).is_none() {
                note_due(&layers);
                return;
            }
        }
        let mut expired = 0;
        self.release(|layers| {
            while let Some(beyond) = layers.is_beyond(limits, now) {
                layers.expire_oldest(now, beyond);
                expired += 1;
            }
            self.lives.expired_below.store(layers.pins.live_from, Ordering::Release);
            note_due(layers);
        });
        tracing::info!(space = %self.id, expired, "snapshots have expired");
    }

    /// Has `release` let go of pins, and sees to what comes of it.
    fn release(self: &Arc<Self>, release: impl FnOnce(&mut Layers)) {
        let mut layers = self.layers.write();
        let (before, settled) = (layers.active.bytes(), layers.active.settled());
        release(&mut layers);
        layers.moved(&self.context.budget, before, layers.active.bytes());
        let settles = layers.active.settled() != settled && !layers.under.tables.is_empty();
        let floor = layers.active.floor();
        let alarm = if layers.are_held_back() { None } else { layers.pins.alarm.take() };
        drop(layers);
        drop(alarm);
        self.released(floor, settles);
    }

    /// The driver has ended: a timer takes its place while pins hold something back.
    pub(super) fn watch_pins(self: &Arc<Self>) {
        let tiers = self.tiers();
        let mut layers = self.layers.write();
        let oldest = layers.pins.oldest().filter(|_| layers.are_held_back() && layers.serve().is_ok());
        let (alarm, watched) = oldest.and_then(|since| due(tiers.get(), since)).map_or((None, None), |at| {
            let (alarm, stopped) = oneshot::channel();
            (Some(alarm), Some((at, stopped)))
        });
        let before = std::mem::replace(&mut layers.pins.alarm, alarm);
        drop(layers);
        drop(before);
        let Some((at, mut stopped)) = watched else { return };
        let wait = at.saturating_sub(self.context.env.now());
        let (sleep, space) = (self.context.env.sleep(self.owner, wait), Arc::downgrade(self));
        let task = async move {
            let mut sleep = sleep;
            let rings = std::future::poll_fn(|cx| match pin!(&mut stopped).poll(cx) {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| true),
            });
            // A space that nobody holds on to has no pins.
            if rings.await
                && let Some(space) = space.upgrade()
            {
                space.expire_pins();
                // Else the driver will see to it when it ends.
                let has_driver = matches!(space.core().driver, Driver::Running(_));
                if !has_driver {
                    space.watch_pins();
                }
            }
        };
        self.context.run_for(&self.id, "snapshots", task);
    }
}
