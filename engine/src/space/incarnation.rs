//! One opening of a space: the commit line, the memtable, and who waits for what.
//!
//! Locks, in the order in which they are taken: `core`, then `layers`. Neither is held across an await or an I/O call.
use super::ending::being_deleted;
use super::hidden::Hides;
use super::home::Home;
use super::jobs::Jobs;
use super::layers::{Layers, Under};
use super::pins::Lives;
use super::pump::FenceOnPanic;
use super::quota::Quota;
use super::registry::Slot;
use super::rest::LOG_FILES;
use super::room::RoomWaiters;
use super::tables::{Hit, Reads};
use crate::cache::{Partition, Use};
use crate::config::{Durability, Tiers};
use crate::context::Context;
use crate::descriptors::Held;
use crate::env::{Dir, File, Io, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{FileUid, TableNo};
use crate::ids::{Lsn, SpaceId};
use crate::manifest::{Current, Edit, Version};
use crate::memtable::Entry;
use crate::mutants;
use crate::naming::Naming;
use crate::plan::flush::{Debt, Throttle};
use crate::plan::heat::Heat;
use crate::recovery::{Opened, RecoveryReport};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, RwLock};
use crate::wal::commit::{Line, Moved, Room};
use crate::wal::waiters::{WaiterKey, Waiters};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Open,
    Closing,
    Closed,
    Fenced(Error),
    /// It is being deleted: nothing is admitted, and who waits is told how that ended.
    Deleting,
    /// A deletion has ended it; everybody is told this.
    Gone(Error),
}

/// Everything that changes, under one lock.
pub(crate) struct Core {
    pub(crate) phase: Phase,
    pub(crate) line: Line<Arc<dyn File>>,
    pub(crate) process: Waiters,
    pub(crate) power: Waiters,
    pub(crate) room: RoomWaiters,
    pub(crate) current: Current,
    /// Edits that go into the next switch.
    pub(crate) edits: Vec<Edit>,
    pub(crate) segments_made: u32,
    pub(crate) preparing: Preparing,
    /// A delete or a flush waits for log space: it may be made from the reserve. What a put waits for may not.
    pub(super) log_takes_reserve: bool,
    pub(crate) write: Option<(Io<Vec<u8>>, u32)>,
    pub(crate) sync: Option<Io<()>>,
    /// Jobs taken from the line whose I/O is being issued right now.
    pub(crate) issuing: u32,
    pub(crate) driver: Driver,
    /// The driver sleeps although it has more to do than at ticks: it waits for what the log does next, and is to be told
    /// of that by whoever does it.
    pub(super) follows_log: bool,
    pub(crate) finished: Waiters,
    /// Preparing log space failed so last time: not tried again ahead of need, only when a commit or a search for room asks.
    pub(crate) log_failed: Option<Error>,
    pub(crate) flushing: Flushing,
    /// The last flush failed so, and the next one begins at this time.
    pub(crate) flush_failed: Option<(Error, Duration)>,
    /// It was asked to end: another opening may have begun since.
    pub(crate) ended: bool,
    pub(crate) jobs: Jobs,
    pub(crate) quota: Quota,
    /// Tables of which a move of deletes would take nothing, with the floor at this LSN; see [`crate::plan::Facts`].
    pub(crate) barren: BTreeSet<FileUid>,
    /// Hot tables that merging makes no fewer, with the floor at the same; see there.
    pub(crate) apart: BTreeSet<FileUid>,
    pub(crate) barren_at: Lsn,
    /// Tables that were opened to know their range deletes, as far as they could be.
    pub(super) looked: BTreeSet<FileUid>,
    /// What range deletes in the active memtable hide of tables, and when that was found out.
    pub(super) hides: Hides,
    /// How writers are held back.
    pub(crate) brake: Throttle,
    /// Waits that they owe.
    pub(crate) debt: Debt,
    /// Memory is short, and this space holds most of it.
    pub(crate) gives_back: bool,
    /// It has given back what it can, and those who wait are to be told.
    pub(crate) relieved: bool,
    /// Number of the next table file.
    pub(crate) next_table: TableNo,
    /// Files made in this opening, until what earlier ones left was swept.
    pub(crate) made: Option<BTreeSet<FileUid>>,
    /// What its log takes of the budget for descriptors.
    pub(super) log_files: Option<Held>,
    /// It is to seal its log now, without waiting until it was quiet for long.
    pub(super) hurries: bool,
}

/// Whether sealed memtables are being written to tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushing {
    Idle,
    UnderWay,
}

/// Whether the task that waits for I/O runs.
#[derive(Debug)]
pub(crate) enum Driver {
    Absent,
    Running(Option<Waker>),
}

/// What is being done about log space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparing {
    Nothing,
    /// Somebody needs a new segment of at least this many bytes.
    Segment(u64),
    /// Somebody needs the spare to have at least this many bytes.
    Growth(u64),
    UnderWay,
}

/// See the module.
pub(crate) struct Incarnation {
    pub(crate) id: SpaceId,
    pub(crate) owner: Owner,
    pub(crate) context: Arc<Context>,
    pub(super) home: Home,
    /// Its space's place in the registry.
    pub(super) slot: Weak<Slot>,
    pub(crate) report: RecoveryReport,
    pub(crate) recovered: Lsn,
    core: Mutex<Core>,
    pub(crate) layers: RwLock<Layers>,
    /// Which of its pins have expired.
    pub(super) lives: Lives,
    /// Its capacities and what moves between them. No other lock is taken while this one is held.
    pub(super) tiers: RwLock<Arc<Tiers>>,
    /// What is read below hot. No other lock is taken while this one is held.
    pub(super) heat: Mutex<Heat>,
    /// The minute in which a read last asked for jobs; see [`super::heat`].
    pub(super) asked_ms: AtomicU64,
    /// Once the floor is here tables may go that range deletes hide; all ones if none wait for that.
    pub(super) frees_at: AtomicU64,
    /// Its part of the engine's block cache.
    pub(crate) cache: Partition,
    /// Names in each of its tiers: flushes and jobs make them durable side by side.
    pub(super) tier_names: [Naming; 3],
    /// Whose turn it is to switch the manifest.
    pub(super) switching: tokio::sync::Mutex<()>,
    /// It is being deleted, or was: what scans have fetched is not handed out any more.
    pub(super) taken_away: AtomicBool,
    /// Where readers of a fenced space read; all ones while it is not fenced.
    fenced_at: AtomicU64,
}

impl Incarnation {
    /// Begins an opening with what recovery or creation handed over.
    pub(crate) fn new(
        context: &Arc<Context>,
        root: &Arc<dyn Dir>,
        slot: &Arc<Slot>,
        held: Held,
        opened: Opened,
    ) -> Arc<Incarnation> {
        let Opened { id, dirs, current, mut mem, durable, before, edits, resume, log_bytes, report } = opened;
        mem.begin_at(durable);
        context.budget.entered();
        context.budget.moved(0, mem.bytes());
        let home = Home::new(context, root, &id, dirs, held);
        let log_files = resume.is_some().then(|| context.descriptors.take(LOG_FILES));
        let cache = context.cache.partition_of(Owner::of(&id).0);
        let mut layers = Layers::new(mem, &current.manifest.version.tables);
        let next_table = current.manifest.version.next_table;
        // Recovery that wrote has swept, and a space just made has nothing to sweep.
        let made = (resume.is_none() && !report.case.is_empty()).then(BTreeSet::new);
        let mut line = Line::new(durable, before);
        line.note_recovered(log_bytes);
        layers.note_log(&context.budget, line.bytes_since_rotation());
        if let Some(resume) = resume {
            line.begin_epoch(current.manifest.version.epoch.first_lsn());
            line.resume(resume);
        }
        let core = Core {
            phase: Phase::Open,
            line,
            process: Waiters::default(),
            power: Waiters::default(),
            room: RoomWaiters::default(),
            current,
            edits,
            segments_made: 0,
            preparing: Preparing::Nothing,
            log_takes_reserve: false,
            write: None,
            sync: None,
            issuing: 0,
            driver: Driver::Absent,
            follows_log: false,
            finished: Waiters::default(),
            log_failed: None,
            flushing: Flushing::Idle,
            flush_failed: None,
            ended: false,
            jobs: Jobs::default(),
            quota: Quota::new(),
            barren: BTreeSet::new(),
            apart: BTreeSet::new(),
            barren_at: Lsn::ZERO,
            looked: BTreeSet::new(),
            hides: Hides::default(),
            brake: Throttle::None,
            debt: Debt::default(),
            gives_back: false,
            relieved: false,
            next_table,
            made,
            log_files,
            hurries: false,
        };
        let new = Arc::new(Incarnation {
            owner: Owner::of(&id),
            slot: Arc::downgrade(slot),
            tiers: RwLock::new(context.tiers.of(&context.config, &id)),
            id,
            context: context.clone(),
            home,
            report,
            recovered: durable,
            core: Mutex::new(core),
            cache,
            layers: RwLock::new(layers),
            lives: Lives::default(),
            heat: Mutex::new(Heat::default()),
            asked_ms: AtomicU64::new(0),
            tier_names: Default::default(),
            frees_at: AtomicU64::new(u64::MAX),
            switching: tokio::sync::Mutex::new(()),
            taken_away: AtomicBool::new(false),
            fenced_at: AtomicU64::new(u64::MAX),
        });
        new.context.budget.join(new.as_lender());
        new.home.belongs_to(Arc::<Incarnation>::downgrade(&new));
        #[cfg(bulkhead_mutants)]
        new.context.everyone.lock().push(Arc::<Incarnation>::downgrade(&new));
        new
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// The LSN that reads begun now see.
    pub(crate) fn read_lsn(&self, layers: &Layers) -> Lsn {
        layers.last().min(Lsn::from_raw(self.fenced_at.load(Ordering::Acquire)))
    }

    /// Its capacities and what moves between them.
    pub(super) fn tiers(&self) -> Arc<Tiers> {
        self.tiers.read().clone()
    }

    pub(super) fn writable(&self, core: &Core) -> Result<()> {
        match &core.phase {
            Phase::Open => Ok(()),
            Phase::Closing | Phase::Closed => Err(self.closed()),
            Phase::Fenced(error) | Phase::Gone(error) => Err(error.clone()),
            Phase::Deleting => Err(being_deleted(&self.id)),
        }
    }

    pub(crate) fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, "the space was closed").in_space(&self.id)
    }

    /// What a reader is told who goes on with what it has.
    pub(super) fn serve(&self) -> Result<()> {
        if self.taken_away.load(Ordering::Acquire) { self.layers.read().serve() } else { Ok(()) }
    }

    /// How its tables are read.
    pub(crate) fn reads(&self, by: Use) -> Reads<'_> {
        Reads { home: &self.home, cache: &self.cache, by, env: Some(&*self.context.env) }
    }

    /// What a reader at `lsn` sees of `key` in tables.
    pub(crate) async fn get_in_tables(
        self: &Arc<Self>,
        under: &Under,
        key: &[u8],
        lsn: Lsn,
    ) -> Result<Option<Entry>> {
        let found = under.tables.find(self.reads(Use::Point), key, lsn).await;
        let Some(hit) = found.map_err(|e| self.unreadable(e))? else { return Ok(None) };
        self.note_read(key, &hit);
        let Hit { lsn, priority, value, .. } = hit;
        Ok(value.map(|value| Entry { value, lsn, priority }))
    }

    /// What a reader is told of a table that could not be read.
    pub(crate) fn unreadable(&self, failure: crate::work::Failure) -> Error {
        let gone = failure.is_missing();
        let core = self.core();
        if let Phase::Deleting | Phase::Gone(_) = core.phase
            && let Err(told) = self.writable(&core)
        {
            return told;
        }
        if gone && core.ended {
            return Error::new(
                ErrorKind::Closed,
                "this opening has ended, and a later one has removed a table",
            )
            .in_space(&self.id)
            .advice("Read through the handle that the reopening returned.");
        }
        Error::from(failure).in_space(&self.id)
    }

    /// Whether `lsn` has reached `durability`; registers `waker` if that is still open.
    pub(crate) fn poll_reached(
        self: &Arc<Self>,
        lsn: Lsn,
        durability: Durability,
        key: &mut Option<WaiterKey>,
        waker: &Waker,
    ) -> Poll<Result<()>> {
        let _fences = FenceOnPanic::of(self);
        let mut asked = false;
        let mut guard = self.core();
        loop {
            let core = &mut *guard;
            if let Some(told) = self.poll_deletion(core, lsn, durability, key, waker) {
                return told;
            }
            let line = &mut core.line;
            let reached = match durability {
                Durability::Relaxed => true,
                Durability::Process => line.written() >= lsn,
                Durability::Power if mutants::on("ack-before-sync") => line.written() >= lsn,
                Durability::Power => line.durable() >= lsn,
            };
            // After a failure only the durable watermark still means anything: a write that returned may be lost.
            if reached && !(line.is_fenced() && line.durable() < lsn) {
                if asked && durability == Durability::Power {
                    // The sync ran here, and answered this waiter too.
                    line.answered(1);
                }
                self.drive_withheld(guard);
                return Poll::Ready(Ok(()));
            }
            if let Phase::Fenced(cause) = &core.phase {
                if core.ended && mutants::on("ticket-answered-after-reopen") {
                    return Poll::Ready(Ok(()));
                }
                let unknown = cause.clone().with_kind(ErrorKind::Unknown);
                return Poll::Ready(Err(unknown.advice(format!(
                    "Commit {lsn} may or may not survive: reopen this space and ask outcome({lsn})."
                ))));
            }
            match durability {
                Durability::Power => {
                    if !asked && key.is_none() {
                        line.came_back();
                    }
                    line.want_power(lsn);
                }
                _ => line.want_process(lsn),
            }
            if asked {
                core.waiters(durability).register(lsn, key, waker);
                self.drive_withheld(guard);
                return Poll::Pending;
            }
            // Do the write here and now if nobody else does: it usually returns at once, and nobody has to be woken.
            asked = true;
            guard = self.pump_from(guard);
        }
    }

    /// Takes a dropped future's registration away.
    pub(crate) fn forget(&self, durability: Durability, key: WaiterKey) {
        self.core().waiters(durability).remove(key);
    }

    /// Fences the space: see G6. Wakes everyone.
    pub(crate) fn fence(&self, core: &mut Core, cause: Error, wakers: &mut Vec<Waker>) {
        if core.line.is_fenced() {
            return;
        }
        let cause = cause.with_kind(ErrorKind::Fenced).in_space(&self.id);
        tracing::error!(space = %self.id, error = %cause, "space fenced");
        core.line.fence();
        self.fenced_at.store(core.line.durable().raw(), Ordering::Release);
        core.phase = Phase::Fenced(cause);
        if mutants::on("leader-only") {
            core.power.first(wakers);
            core.process.first(wakers);
        } else {
            core.power.all(wakers);
            core.process.all(wakers);
        }
        core.room.changed(None, wakers);
        core.finished.all(wakers);
        wakers.extend(core.take_driver_waker());
        #[cfg(bulkhead_mutants)]
        self.fence_neighbours();
    }

    #[cfg(bulkhead_mutants)]
    fn fence_neighbours(&self) {
        if !mutants::on("fence-reaches-all") {
            return;
        }
        let everyone: Vec<_> =
            self.context.everyone.lock().iter().filter_map(std::sync::Weak::upgrade).collect();
        everyone.into_iter().for_each(|other| other.fence_as_neighbour(&self.id));
    }

    /// The version that the manifest in effect holds.
    pub(crate) fn version(&self) -> Version {
        self.core().current.manifest.version.clone()
    }
}

impl Core {
    /// Who waits for `durability`.
    pub(super) fn waiters(&mut self, durability: Durability) -> &mut Waiters {
        match durability {
            Durability::Power => &mut self.power,
            Durability::Process | Durability::Relaxed => &mut self.process,
        }
    }

    /// Notes what a commit that found no room needs, and has what is ordered written, so that rotation can go on.
    pub(super) fn ask_for(&mut self, room: Room) {
        let last = self.line.last();
        self.line.want_process(last);
        if self.preparing == Preparing::UnderWay {
            return;
        }
        match (room, self.preparing) {
            (Room::Prepare(n), Preparing::Segment(m)) => self.preparing = Preparing::Segment(n.max(m)),
            (Room::Prepare(n), _) => self.preparing = Preparing::Segment(n),
            (Room::Grow(n), _) => self.preparing = Preparing::Growth(n),
            (Room::Here | Room::Buffer, _) => {}
        }
    }

    pub(super) fn moved(&mut self, moved: Moved, wakers: &mut Vec<Waker>) {
        match moved {
            Moved::Written(lsn) => {
                self.process.reached(lsn, wakers);
                if mutants::on("ack-before-sync") {
                    self.power.reached(lsn, wakers);
                }
            }
            Moved::Durable(lsn) => {
                self.process.reached(lsn, wakers);
                let before = wakers.len();
                self.power.reached(lsn, wakers);
                self.line.answered(wakers.len() - before);
            }
        }
        self.room.changed(None, wakers);
    }

    /// Notes a file that this opening makes and that no manifest names yet.
    pub(crate) fn note_made(&mut self, file: FileUid) {
        if let Some(made) = &mut self.made {
            made.insert(file);
        }
    }

    /// Whether a task of this opening is at work, or an I/O of one under way.
    pub(super) fn is_busy(&self) -> bool {
        self.write.is_some()
            || self.sync.is_some()
            || self.issuing > 0
            || self.preparing == Preparing::UnderWay
            || self.flushing == Flushing::UnderWay
            || self.jobs.under_way
    }

    pub(crate) fn take_driver_waker(&mut self) -> Option<Waker> {
        match &mut self.driver {
            Driver::Absent => None,
            Driver::Running(waker) => waker.take(),
        }
    }
}

impl Drop for Incarnation {
    fn drop(&mut self) {
        self.layers.write().uncharge(&self.context.budget);
        let core = self.core();
        let asked = core.gives_back || core.relieved;
        drop(core);
        if asked {
            self.context.budget.relieved(self);
        }
    }
}

impl std::fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incarnation").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(bulkhead_mutants)]
impl crate::context::Neighbour for Incarnation {
    fn fence_as_neighbour(&self, fenced: &SpaceId) {
        if self.id == *fenced {
            return;
        }
        let mut core = self.core();
        core.line.fence();
        self.fenced_at.store(core.line.durable().raw(), Ordering::Release);
        core.phase = Phase::Fenced(Error::new(ErrorKind::Fenced, "a neighbour's fence").in_space(&self.id));
        let mut wakers = Vec::new();
        core.power.all(&mut wakers);
        core.process.all(&mut wakers);
        core.room.changed(None, &mut wakers);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
    }
}
