//! What holds versions back: snapshots and scans. Each is a *pin* on a commit, and lives no longer than its space allows.
//!
//! - A pin that has reached the age of `snapshot-age-ms` expires once it holds something back, which is once a commit
//!   behind the oldest one pinned is durable. Before that nothing would come of it, so who reads a space that nobody
//!   writes may take as long as it likes.
//! - One pin more than `max-snapshots` has the oldest expire, whatever it holds back.
//! - Where pins hold back more than `snapshot-bytes` (`held_back.rs`), the oldest of those that hold some of it expires,
//!   until it is no more than that.
//!
//! So the oldest goes first, unless it does no harm. An expired pin is no reader any more: the next flush, merge or collection counts without it, and what it saw may go. So whoever reads by a pin asks
//! under the lock under which it looks into memory, and again after it has awaited anything. What it got by then is right,
//! tables stay readable for those who came before, but nothing more may follow; so it hands out nothing.
//!
//! No clock is asked but by those at work anyway: readers by pins, and the driver at its ticks. A space without a driver has
//! a timer only while pins hold something back there, for the oldest of them.
use super::held_back::HeldBack;
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

/// What a pin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PinOwner {
    Snapshot,
    DurableSnapshot,
    /// One that was not made from a snapshot: a scan that was is another holder of that one's view.
    Scan,
}

impl PinOwner {
    pub(super) const ALL: [PinOwner; 3] = [PinOwner::Snapshot, PinOwner::DurableSnapshot, PinOwner::Scan];

    pub(super) fn name(self) -> &'static str {
        match self {
            PinOwner::Snapshot => "snapshot",
            PinOwner::DurableSnapshot => "durable-snapshot",
            PinOwner::Scan => "scan",
        }
    }
}

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
    held: BTreeMap<u64, Held>,
    /// Those that have expired stay here until they are dropped, so that they can be told why.
    gone: BTreeMap<u64, (Held, Expiry)>,
    expired: u64,
    next: u64,
    /// Dropped when the timer of an idle space is not needed any more.
    alarm: Option<oneshot::Sender<Infallible>>,
}

#[derive(Debug)]
struct Held {
    lsn: Lsn,
    owner: PinOwner,
    since: Duration,
    /// A snapshot, and the scans made from it.
    holders: usize,
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
    Bytes { most: u64, held: u64 },
}

/// What readers by pins ask without a lock.
#[derive(Debug)]
pub(super) struct Lives {
    /// No pin from this number on has expired.
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
        self.held.len()
    }

    /// How many have expired.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    /// Since when the oldest is held that has not expired.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.held.first_key_value().map(|(_, held)| held.since)
    }

    /// Those of `owner` that have not expired: how many, and since when the oldest is held.
    pub(super) fn of(&self, owner: PinOwner) -> (usize, Option<Duration>) {
        let mut all = self.held.values().filter(|held| held.owner == owner);
        let oldest = all.next().map(|held| held.since);
        (usize::from(oldest.is_some()) + all.count(), oldest)
    }

    /// What kind of pin there is at each LSN; of several, the oldest.
    pub(super) fn owners(&self) -> BTreeMap<Lsn, PinOwner> {
        self.held.values().rev().map(|held| (held.lsn, held.owner)).collect()
    }

    fn holder(&mut self, number: u64) -> &mut Held {
        let held = self.held.get_mut(&number).or_else(|| Some(&mut self.gone.get_mut(&number)?.0));
        held.expect("who asks for a pin holds it")
    }
}

impl Layers {
    fn pin(&mut self, lsn: Lsn, owner: PinOwner, since: Duration) -> u64 {
        self.active.pin(lsn);
        let pins = &mut self.pins;
        let number = pins.next;
        pins.held.insert(number, Held { lsn, owner, since, holders: 1 });
        pins.next += 1;
        number
    }

    /// One holder less. The last one releases what is pinned, unless that has expired: then it was released already.
    fn unpin(&mut self, number: u64) {
        let held = self.pins.holder(number);
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let lsn = held.lsn;
        let has_expired = self.pins.gone.remove(&number).is_some();
        let is_pinned = self.pins.held.remove(&number).is_some();
        let again = mutants::on("expired-snapshot-released-again");
        // The bug is that another one's pin goes, not that it misses it when it goes itself.
        let is_there = !again || self.active.pinned().contains(&lsn);
        if (is_pinned || again && has_expired) && is_there {
            self.active.unpin(lsn);
        }
    }

    /// The pin that is to expire next, and the limit that it is beyond. `back` is what they hold back, once that was asked for.
    fn is_beyond(
        &self,
        limits: &TierOptions,
        now: Duration,
        back: &mut Option<HeldBack>,
    ) -> Option<(u64, Beyond)> {
        let (&oldest, held) = self.pins.held.first_key_value()?;
        if limits.max_snapshots > 0 && self.pins.live() as u64 > limits.max_snapshots {
            return Some((oldest, Beyond::Count(limits.max_snapshots)));
        }
        if !self.are_held_back() {
            return None;
        }
        if due(limits, held.since).is_some_and(|due| now >= due) {
            return Some((oldest, Beyond::AgeMs(limits.snapshot_age_ms)));
        }
        if limits.snapshot_bytes == 0 {
            return None;
        }
        let back = back.get_or_insert_with(|| self.held_back());
        back.refresh(self);
        let (most, held) = (limits.snapshot_bytes, back.bytes());
        if held <= most {
            return None;
        }
        let mut holders = self.pins.held.iter().filter(|(_, held)| back.is_held_by(held.lsn));
        let next = if mutants::on("newest-pin-expires-first") { holders.next_back() } else { holders.next() };
        let (&number, _) = next.expect("what is held back has a holder");
        Some((number, Beyond::Bytes { most, held }))
    }

    /// Whether pins hold something back: who does not read by one reads at the durable watermark or above.
    fn are_held_back(&self) -> bool {
        self.active.floor() < self.active.durable()
    }

    fn expire(&mut self, number: u64, now: Duration, beyond: Beyond) {
        let held = self.pins.held.remove(&number).expect("only who is there expires");
        let (lsn, age) = (held.lsn, now.saturating_sub(held.since));
        self.pins.gone.insert(number, (held, Expiry { age, beyond }));
        self.pins.expired += 1;
        self.active.unpin(lsn);
    }
}

impl Pin {
    /// Pins what a read at `at` sees. The caller knows that nothing visible there was collected yet.
    pub(super) fn take(
        incarnation: &Arc<Incarnation>,
        owner: PinOwner,
        at: impl FnOnce(&Layers) -> Lsn,
    ) -> Pin {
        let tiers = incarnation.tiers();
        let limits = tiers.get();
        let mut layers = incarnation.layers.write();
        let (lsn, since) = (at(&layers), incarnation.context.env.now());
        let number = layers.pin(lsn, owner, since);
        incarnation.lives.due_us.fetch_min(micros(due(limits, since)), Ordering::Relaxed);
        let too_many = limits.max_snapshots > 0 && layers.pins.live() as u64 > limits.max_snapshots;
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
        layers.pins.holder(self.number).holders += 1;
        drop(layers);
        Pin { incarnation: self.incarnation.clone(), lsn: self.lsn, number: self.number }
    }

    fn may_have_expired(&self) -> bool {
        let may = self.incarnation.lives.expired_below.load(Ordering::Acquire) > self.number;
        may && !mutants::on("expired-snapshot-still-serves")
    }

    /// What a reader has to ask before it looks, under the same lock.
    pub(super) fn serve(&self, layers: &Layers) -> Result<()> {
        layers.serve()?;
        if self.may_have_expired() { self.told(layers) } else { Ok(()) }
    }

    /// What a reader has to ask after it has awaited something, and before it hands anything out.
    pub(super) fn still_serves(&self) -> Result<()> {
        if self.may_have_expired() { self.told(&self.incarnation.layers.read()) } else { Ok(()) }
    }

    /// What a reader does when it begins: has pins expire whose time has come, as its own may.
    pub(super) fn look_at_clock(&self) {
        let due_us = self.incarnation.lives.due_us.load(Ordering::Relaxed);
        if due_us < u64::MAX && micros(Some(self.incarnation.context.env.now())) >= due_us {
            self.incarnation.expire_pins();
        }
    }

    /// Why it has expired, if it has.
    fn told(&self, layers: &Layers) -> Result<()> {
        let Some((_, Expiry { age, beyond })) = layers.pins.gone.get(&self.number) else { return Ok(()) };
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
            Beyond::Bytes { most, held } => (
                format!(
                    "it was {age} ms old, the oldest of those that held back {held} bytes of what was overwritten or \
                     deleted since"
                ),
                format!("at most {most} bytes of keys and values, as tiers.snapshot-bytes says"),
                "Take a new one and begin anew; drop those that are not needed any more, or allow more bytes.",
            ),
        };
        let what = format!("the snapshot of commit {lsn} has expired: {why}");
        let told = Error::rejected(Rejected::SnapshotExpired, what).in_space(&self.incarnation.id);
        Err(told.expected(most).advice(next))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.incarnation.release(|layers| {
            layers.unpin(self.number);
            layers.may_release(self.lsn)
        });
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
            if layers.is_beyond(limits, now, &mut None).is_none() {
                note_due(&layers);
                return;
            }
        }
        let mut expired = 0;
        self.release(|layers| {
            let (mut back, mut frees) = (None, false);
            while let Some((number, beyond)) = layers.is_beyond(limits, now, &mut back) {
                let lsn = layers.pins.holder(number).lsn;
                layers.expire(number, now, beyond);
                self.lives.expired_below.fetch_max(number + 1, Ordering::Release);
                frees |= layers.may_release(lsn);
                expired += 1;
            }
            note_due(layers);
            frees
        });
        tracing::info!(space = %self.id, expired, "snapshots have expired");
    }

    /// Has `release` let go of pins, and sees to what comes of it. It says whether tables may have something that nobody
    /// needs any more.
    fn release(self: &Arc<Self>, release: impl FnOnce(&mut Layers) -> bool) {
        let mut layers = self.layers.write();
        let (before, settled) = (layers.active.bytes(), layers.active.settled());
        let frees = release(&mut layers);
        layers.moved(&self.context.budget, before, layers.active.bytes());
        let settles = layers.active.settled() != settled && !layers.under.tables.is_empty() || frees;
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
