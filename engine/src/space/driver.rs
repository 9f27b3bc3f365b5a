//! The space's own task: waits for writes and syncs that did not return at once, sees to the flush interval, prepares
//! log space, and seals the log when it is quiet. It runs only while there is something to wait for: an idle space has
//! no task and no timer.
use super::incarnation::{Core, Driver, Flushing, Incarnation, Phase, Preparing};
use crate::env::{IoResult, Sleep};
use crate::error::{Error, ErrorKind};
use crate::ids::Lsn;
use crate::limits::WITHHELD_TURNS;
use crate::plan::Plan;
use crate::plan::capacity::Puts;
use crate::plan::flush::FlushPlan;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

enum Event {
    Wrote(IoResult<Vec<u8>>, u32),
    Synced(IoResult<()>),
    Tick,
    Prepare(Preparing),
    Flush(FlushPlan),
    Job(Box<Plan>),
    /// Something may have changed: look for work again.
    Work,
    Done,
}

/// What the driver remembers between ticks.
struct Rhythm {
    timer: Option<Sleep>,
    /// The last commit seen at a tick, and when that was.
    seen: Lsn,
    since: Duration,
    synced_at: Duration,
    /// Turns left that others get before a sync is not withheld for them any longer.
    turns: u32,
    /// The space is closing: everything is synced and sealed as soon as possible.
    closing: bool,
}

impl Incarnation {
    /// Marks the driver as running if it is not; then the caller starts it once the lock is released.
    #[must_use]
    pub(super) fn must_start_driver(&self, core: &mut Core) -> bool {
        if matches!(core.driver, Driver::Running(_)) {
            return false;
        }
        core.driver = Driver::Running(None);
        true
    }

    pub(super) fn start_driver(self: &Arc<Self>) {
        let guarded =
            Guarded { incarnation: self.clone(), role: Role::Driver, task: Box::pin(drive(self.clone())) };
        self.context.run_for(&self.id, "space", guarded);
    }

    /// Makes sure that the driver runs and looks for work.
    pub(super) fn wake_driver(self: &Arc<Self>) {
        let mut core = self.core();
        let starts = self.must_start_driver(&mut core);
        let waker = core.take_driver_waker();
        drop(core);
        if starts {
            self.start_driver();
        } else if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn answer_relief(&self) {
        if std::mem::take(&mut self.core().relieved) {
            self.context.budget.relieved(self);
        }
    }

    /// Stops admission and has the driver sync and seal the log.
    pub(crate) fn begin_close(self: &Arc<Self>) {
        let mut wakers = Vec::new();
        let mut core = self.core();
        core.ended = true;
        if matches!(core.phase, Phase::Open) {
            core.phase = Phase::Closing;
            core.room.changed(None, &mut wakers);
        }
        let at_work = !matches!(core.phase, Phase::Closed);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        if at_work {
            self.wake_driver();
        }
    }

    /// Stops admission, syncs and seals the log, and waits until all I/O of this opening has ended. Idempotent; goes
    /// on when the future is dropped.
    pub(crate) async fn close(self: &Arc<Self>) -> crate::error::Result<()> {
        self.begin_close();
        let mut key = None;
        std::future::poll_fn(|cx| {
            let mut core = self.core();
            let ended = matches!(core.driver, Driver::Absent);
            match (&core.phase, ended) {
                (Phase::Closed | Phase::Gone(_), true) => Poll::Ready(Ok(())),
                (Phase::Fenced(e), true) => Poll::Ready(Err(e.clone())),
                _ => {
                    core.finished.register(Lsn::ZERO, &mut key, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

async fn drive(space: Arc<Incarnation>) {
    let now = space.context.env.now();
    let mut rhythm = Rhythm {
        timer: None,
        seen: Lsn::ZERO,
        since: now,
        synced_at: now,
        turns: WITHHELD_TURNS,
        closing: false,
    };
    loop {
        space.answer_relief();
        if std::mem::take(&mut space.core().hurries) || rhythm.closing {
            let mut core = space.core();
            let last = core.line.last();
            core.line.want_power(last);
            core.line.want_seal();
        }
        space.pump();
        match std::future::poll_fn(|cx| poll_event(&space, &mut rhythm, cx)).await {
            Event::Wrote(result, chain) => {
                space.answered(|core, wakers| space.write_done(core, result, chain, wakers))
            }
            Event::Synced(result) => space.answered(|core, wakers| space.sync_done(core, result, wakers)),
            Event::Tick => tick(&space, &mut rhythm),
            Event::Prepare(what) => {
                let task = super::rotation::prepare(space.clone(), what);
                spawn(&space, "prepare-log", Role::Preparer, Box::pin(task));
            }
            Event::Flush(plan) => {
                let task = super::flush::flush(space.clone(), plan);
                spawn(&space, "flush", Role::Flusher, Box::pin(task));
            }
            Event::Job(plan) => {
                let task = super::jobs::work(space.clone(), *plan);
                spawn(&space, "tables", Role::Worker, Box::pin(task));
            }
            Event::Work => {}
            Event::Done => {
                space.answer_relief();
                space.expire_pins();
                space.watch_pins();
                space.context.descriptors.may_rest();
                return;
            }
        }
    }
}

fn spawn(space: &Arc<Incarnation>, name: &'static str, role: Role, task: Task) {
    let guarded = Guarded { incarnation: space.clone(), role, task };
    space.context.run_for(&space.id, name, guarded);
}

fn poll_event(space: &Arc<Incarnation>, rhythm: &mut Rhythm, cx: &mut Context<'_>) -> Poll<Event> {
    let mut guard = space.core();
    let core = &mut *guard;
    let wanted = core.line.wanted();
    space.consider(core);
    if let Some((io, chain)) = &mut core.write
        && let Poll::Ready(result) = Pin::new(io).poll(cx)
    {
        let chain = *chain;
        core.write = None;
        return Poll::Ready(Event::Wrote(result, chain));
    }
    if let Some(io) = &mut core.sync
        && let Poll::Ready(result) = Pin::new(io).poll(cx)
    {
        core.sync = None;
        return Poll::Ready(Event::Synced(result));
    }
    if core.line.withholds() {
        if rhythm.turns == 0 {
            core.line.release();
            return Poll::Ready(Event::Work);
        }
        // Behind everybody whom the sync woke.
        rhythm.turns -= 1;
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    rhythm.turns = WITHHELD_TURNS;
    if core.gives_back && space.settles_relief(core) {
        core.relieved = true;
    }
    if core.relieved {
        // Whoever waits is told at once, not at the next tick.
        return Poll::Ready(Event::Work);
    }
    if !core.line.is_fenced() {
        if let Some(plan) = space.next_flush(core) {
            return Poll::Ready(Event::Flush(plan));
        }
        if let Some(plan) = space.next_job(core) {
            return Poll::Ready(Event::Job(Box::new(plan)));
        }
        if core.wants_segment() {
            core.preparing = Preparing::Segment(0);
        }
        if matches!(core.preparing, Preparing::Segment(_) | Preparing::Growth(_)) {
            let what = std::mem::replace(&mut core.preparing, Preparing::UnderWay);
            return Poll::Ready(Event::Prepare(what));
        }
    }
    let mut wakers = Vec::new();
    if space.settles_room(core, &mut wakers) {
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        return Poll::Ready(Event::Work);
    }
    if core.line.wanted() != wanted {
        // A seal or a flush waits for that.
        return Poll::Ready(Event::Work);
    }
    if !core.is_busy() && ends(core, space) {
        let mut wakers = Vec::new();
        core.driver = Driver::Absent;
        core.finished.all(&mut wakers);
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
        return Poll::Ready(Event::Done);
    }
    if matches!(core.phase, Phase::Closing) && !rhythm.closing {
        rhythm.closing = true;
        return Poll::Ready(Event::Work);
    }
    core.driver = Driver::Running(Some(cx.waker().clone()));
    let is_to_flush = core.flushing == Flushing::Idle && (core.gives_back || space.flushes(core));
    core.follows_log = rhythm.closing || is_to_flush;
    let fenced = core.line.is_fenced();
    drop(guard);
    if fenced {
        return Poll::Pending;
    }
    let timer = rhythm.timer.get_or_insert_with(|| {
        let config = &space.context.config;
        space.context.env.sleep(space.owner, config.flush_interval().min(config.idle_seal()))
    });
    match timer.as_mut().poll(cx) {
        Poll::Ready(()) => {
            rhythm.timer = None;
            Poll::Ready(Event::Tick)
        }
        Poll::Pending => Poll::Pending,
    }
}

/// Whether nothing is left to wait for. Moves a closing space on to closed.
fn ends(core: &mut Core, space: &Incarnation) -> bool {
    match core.phase {
        Phase::Fenced(_) | Phase::Closed | Phase::Deleting | Phase::Gone(_) => true,
        Phase::Closing if core.line.is_sealed() => {
            core.phase = Phase::Closed;
            true
        }
        Phase::Closing => false,
        Phase::Open => {
            let flushed = space.layers.read().under.sealed.is_empty();
            core.line.is_sealed()
                && core.preparing == Preparing::Nothing
                && flushed
                && !core.jobs.waits()
                && core.quota.puts() == Puts::Fit
        }
    }
}

/// The flush interval for commits that nobody waits for, and the seal of a log that is quiet.
fn tick(space: &Arc<Incarnation>, rhythm: &mut Rhythm) {
    // While it runs it is the space's clock; see [`super::pins`].
    space.expire_pins();
    let now = space.context.env.now();
    let config = &space.context.config;
    let mut core = space.core();
    let last = core.line.last();
    if last != rhythm.seen {
        rhythm.seen = last;
        rhythm.since = now;
    } else if now.saturating_sub(rhythm.since) >= config.idle_seal() {
        core.line.want_power(last);
        core.line.want_seal();
    }
    if now.saturating_sub(rhythm.synced_at) >= config.flush_interval() {
        rhythm.synced_at = now;
        core.line.want_power(last);
    }
    space.minute_passes(&mut core);
}

/// What a task of a space does.
#[derive(Debug, Clone, Copy)]
enum Role {
    Driver,
    /// Prepares log space.
    Preparer,
    /// Writes sealed memtables to tables.
    Flusher,
    /// Merges and moves tables.
    Worker,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a task of a space; a panic inside fences that space and answers its waiters, and goes no further than the task.
struct Guarded {
    incarnation: Arc<Incarnation>,
    role: Role,
    task: Task,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| this.task.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll,
            Err(panic) => {
                this.incarnation.fence_after_panic();
                this.incarnation.task_is_gone(this.role);
                std::panic::resume_unwind(panic)
            }
        }
    }
}

impl Incarnation {
    pub(super) fn fence_after_panic(&self) {
        let mut wakers = Vec::new();
        let mut core = self.core();
        let cause = Error::new(ErrorKind::Fenced, "the engine panicked on this space: a bug of the engine");
        self.fence(&mut core, cause, &mut wakers);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The task that panicked waits for nothing any more, so nobody waits for it. The other one goes on.
    fn task_is_gone(self: &Arc<Self>, role: Role) {
        let mut wakers = Vec::new();
        let mut core = self.core();
        match role {
            Role::Driver => {
                core.driver = Driver::Absent;
                core.finished.all(&mut wakers);
            }
            Role::Preparer => core.preparing = Preparing::Nothing,
            Role::Flusher => core.flushing = Flushing::Idle,
            Role::Worker => core.jobs.under_way = false,
        }
        // The space is fenced: what was asked of its memory is not given back any more.
        let asked = std::mem::take(&mut core.gives_back) | std::mem::take(&mut core.relieved);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        if asked {
            self.context.budget.relieved(&**self);
        }
        match role {
            Role::Driver => self.watch_pins(),
            // It ends once its last I/O has.
            _ => self.wake_driver(),
        }
    }
}
