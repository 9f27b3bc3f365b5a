//! When the memtable of a space is sealed, how sealed ones become tables, and how writers are held back meanwhile.
//!
//! Everything is decided by [`crate::plan::flush`]; here its facts are collected and its answers carried out. Sealing
//! rotates the log. A flush begins once the log is durable up to its last commit: table and directory synced, then the
//! manifest that names the table, drops the segments and says how far tables reach, and in the same step readers have
//! the table in place of the memtables.
use super::change::{Refused, change_tables};
use super::incarnation::{Core, Flushing, Incarnation, Phase, Preparing};
use super::jobs::Failure;
use super::layers::Layers;
use super::tables::{KEEP, minute_ms};
use crate::budget::Lender;
use crate::env::IoError;
use crate::error::{Error, ErrorKind};
use crate::ids::{FileUid, SegmentNo};
use crate::limits::{HOT_TABLES_MAX, LOG_SEGMENTS_MANY};
use crate::manifest::{Edit, Tier};
use crate::mutants;
use crate::plan::capacity::{percent_of, pressure_of};
use crate::plan::flush::{self as planner, Active, Borrower, Facts, FlushPlan, Log, Quiet, Throttle};
use crate::reserve::{Asked, Lent};
use crate::table::retain::Below;
use crate::table::{Readers, TableId};
use crate::work::NewTable;
use crate::work::flush::{Flush, write};
use crate::work::write::{give_up, sync_dir};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A flush that failed is tried again after this long.
const RETRY: Duration = Duration::from_millis(500);

impl Incarnation {
    fn with_facts<T>(&self, core: &Core, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let layers = self.layers.read();
        let sealed = |s: &super::layers::Sealed| planner::Sealed {
            last: s.mem.last(),
            bytes: s.mem.bytes(),
            log_bytes: s.log_bytes,
        };
        let sealed: Vec<_> = layers.under.sealed.iter().map(sealed).collect();
        let version = &core.current.manifest.version;
        let (tiers, tables) = (self.tiers(), &version.tables);
        let o = tiers.get();
        // Log without a commit in it is not to be got rid of by a flush.
        let commits = layers.last() > sealed.last().map_or(version.flushed, |s| s.last);
        let active = Active {
            bytes: layers.active.bytes(),
            log_bytes: core.line.bytes_since_rotation(),
            log_segments: version.segments.len(),
            deletes: layers.active.tombstones(),
        };
        ask(&Facts {
            active: if commits { active } else { Active::default() },
            sealed: &sealed,
            durable: core.line.durable(),
            hot_tables: tables.hot.len(),
            cold: pressure_of(o, tables, Tier::Cold),
            hot_percent: percent_of(o, tables, Tier::Hot),
            memory_percent: if core.gives_back { 100 } else { self.context.budget.percent() },
            largest: if core.gives_back { Borrower::Largest } else { Borrower::Other },
            quiet: if core.line.is_quiet() { Quiet::Yes } else { Quiet::No },
            puts: core.quota.puts_in_memory(),
            hides: core.hides.bytes(),
        })
    }

    /// Seals the memtable if it is time, or sees to it that it can be.
    pub(super) fn consider(&self, core: &mut Core) {
        if core.line.is_fenced() || !matches!(core.phase, Phase::Open) {
            return;
        }
        self.look_for_hidden(core);
        let tiers = self.tiers();
        if self.with_facts(core, |facts| planner::seal(&tiers, facts)).is_some() {
            self.seal(core);
        }
        core.brake = self.with_facts(core, |facts| planner::throttle(&tiers, facts));
    }

    fn seal(&self, core: &mut Core) {
        if !core.line.can_rotate() {
            // What is ordered for the next segment has to be written before another one can follow that.
            let last = core.line.last();
            core.line.want_process(last);
            if core.preparing == Preparing::Nothing && core.log_failed.is_none() && core.line.needs_spare() {
                core.preparing = Preparing::Segment(0);
            }
            core.log_takes_reserve |= core.preparing != Preparing::Nothing;
            return;
        }
        let mut layers = self.layers.write();
        let version = &core.current.manifest.version;
        let spare = core.line.unused_spare().map(|(id, _)| id.number);
        let upto = match core.line.position() {
            Some((id, _)) => id.number,
            None => {
                let mut numbers = version.segments.iter().map(|s| s.number);
                numbers.rfind(|n| Some(*n) != spare).unwrap_or(SegmentNo::from_raw(0))
            }
        };
        let log_bytes = core.line.rotate();
        layers.seal(upto, log_bytes);
        core.quota.sealed();
    }

    /// How writers are held back now.
    pub(super) fn brake(&self, core: &mut Core) -> Throttle {
        let most = self.tiers().memtable_bytes().saturating_mul(2);
        let heavy = || self.layers.read().active.bytes() >= most;
        if core.brake != Throttle::Stop && heavy() {
            self.consider(core);
        }
        let stops = core.brake == Throttle::Stop || heavy();
        if stops && core.line.needs_spare() && core.preparing == Preparing::Nothing {
            // What is to be sealed may wait for it; where preparing one failed, a write asks anew.
            core.preparing = Preparing::Segment(0);
            core.log_takes_reserve = true;
        }
        if stops { Throttle::Stop } else { core.brake }
    }

    /// Why memtables are not flushed now, if something failed.
    pub(super) fn flush_is_blocked(&self, core: &Core) -> Option<Error> {
        let full = core.current.manifest.version.tables.hot.len() >= HOT_TABLES_MAX;
        let jobs = core.jobs.failed.as_ref().filter(|_| full);
        core.flush_failed.as_ref().or(jobs).map(|(error, _)| error.clone())
    }

    /// The flush to begin now, if there is one. Asks for the sync that it waits for.
    pub(super) fn next_flush(&self, core: &mut Core) -> Option<FlushPlan> {
        let waits = core.flush_failed.as_ref().is_some_and(|(_, at)| self.context.env.now() < *at);
        if core.flushing == Flushing::UnderWay || waits || !matches!(core.phase, Phase::Open) {
            return None;
        }
        let tiers = self.tiers();
        let plan = self.with_facts(core, |facts| planner::flush(&tiers, facts))?;
        if plan.log == Log::SyncFirst && !mutants::on("flush-ahead-of-log") {
            core.line.want_power(plan.last);
            return None;
        }
        core.flushing = Flushing::UnderWay;
        Some(plan)
    }

    /// Whether memory that was asked for has been given back, or cannot be; said once. [`Budget::relieved`] then wants to
    /// be told, without any lock.
    ///
    /// [`Budget::relieved`]: crate::budget::Budget::relieved
    #[must_use]
    pub(super) fn settles_relief(&self, core: &mut Core) -> bool {
        core.gives_back && !self.unloads(core) && std::mem::take(&mut core.gives_back)
    }

    /// Whether what was sealed is on its way into tables.
    pub(super) fn flushes(&self, core: &Core) -> bool {
        let can = matches!(core.phase, Phase::Open) && self.flush_is_blocked(core).is_none();
        let sealed = !self.layers.read().under.sealed.is_empty();
        can && (core.flushing == Flushing::UnderWay || sealed)
    }

    /// Whether jobs are to let flushes go first.
    pub(super) fn flushes_first(&self, core: &Core) -> bool {
        self.flushes(core) && self.with_facts(core, |facts| planner::is_behind(&self.tiers(), facts))
    }

    /// Whether what is in memory is.
    pub(super) fn unloads(&self, core: &Core) -> bool {
        let can = matches!(core.phase, Phase::Open) && self.flush_is_blocked(core).is_none();
        let prepares = core.preparing != Preparing::Nothing && core.line.needs_spare();
        let waits_for_write = !core.line.can_rotate() && !core.line.needs_spare();
        let heavy = self.layers.read().active.bytes() > 0;
        self.flushes(core) || can && heavy && (prepares || waits_for_write)
    }

    /// Has a log of very many segments flushed, and waits for that as long as it can be done. Each opening that was not closed
    /// adds a segment: a process that is killed again and again before a flush has ended would come to the end of what a
    /// manifest can list, and then could not open the space.
    pub(crate) async fn shorten_log(self: &Arc<Self>) {
        loop {
            let seen = {
                let mut core = self.core();
                if core.current.manifest.version.segments.len() < LOG_SEGMENTS_MANY {
                    return;
                }
                self.consider(&mut core);
                if !self.unloads(&core) {
                    return;
                }
                core.room.changes
            };
            self.wake_driver();
            if self.room_changed(seen).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn as_lender(self: &Arc<Self>) -> Weak<dyn Lender> {
        let weak: Weak<Incarnation> = Arc::downgrade(self);
        weak
    }
}

impl Lender for Incarnation {
    fn lent(&self) -> u64 {
        let core = self.core();
        let no_log = core.log_failed.is_some() && core.line.needs_spare();
        let flushes = self.flush_is_blocked(&core).is_none();
        let can = matches!(core.phase, Phase::Open) && flushes && !no_log;
        if can { self.layers.read().bytes() } else { 0 }
    }

    fn log(&self) -> u64 {
        if self.lent() > 0 { self.layers.read().log_charged() } else { 0 }
    }

    fn give_back(self: Arc<Self>) {
        self.core().gives_back = true;
        self.wake_driver();
    }

    fn freed(&self) {
        let mut wakers = Vec::new();
        self.core().room.changed(None, &mut wakers);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Carries out `plan` and tells everybody who waits for it.
pub(super) async fn flush(space: Arc<Incarnation>, plan: FlushPlan) {
    let result = run(&space, &plan).await;
    let mut wakers = Vec::new();
    let mut core = space.core();
    core.flushing = Flushing::Idle;
    core.jobs.look_again();
    let io_error = |io: IoError| {
        let kind = if io.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
        Error::io("a flush could not be written", io).with_kind(kind)
    };
    let failed = match result {
        Ok(()) => {
            tracing::debug!(space = %space.id, last = %plan.last, memtables = plan.memtables, "flushed");
            None
        }
        Err(Failure::Abandoned(error)) => Some(error),
        Err(Failure::Refused(Refused::NotWritten(io))) => Some(io_error(io)),
        Err(Failure::Refused(Refused::InDoubt(io))) => {
            let cause = Error::io("the files of a flush could not be made durable", io);
            space.fence(&mut core, cause, &mut wakers);
            None
        }
        Err(Failure::Refused(Refused::Fenced)) => None,
        Err(Failure::Refused(Refused::Full)) => Some(Error::too_many_files()),
    };
    if failed.is_none() && std::mem::take(&mut core.gives_back) {
        // What was asked for is given back. Who needs more asks again: somebody else may hold the most by now.
        core.relieved = true;
    }
    let failed = failed.map(|error| error.in_space(&space.id));
    if let Some(error) = &failed {
        tracing::warn!(space = %space.id, error = %error, "a flush failed; it is tried again");
    }
    core.room.changed(failed.clone(), &mut wakers);
    core.flush_failed = failed.map(|error| (error, space.context.env.now() + RETRY));
    space.consider(&mut core);
    drop(core);
    wakers.into_iter().for_each(std::task::Waker::wake);
    space.wake_driver();
}

async fn run(space: &Arc<Incarnation>, plan: &FlushPlan) -> Result<(), Failure> {
    let (memtables, readers, below) = {
        let core = space.core();
        let layers = space.layers.read();
        let memtables: Vec<_> = layers.under.sealed.iter().take(plan.memtables).cloned().collect();
        // Who comes to read later reads at the durable watermark or above.
        let mut snapshots = layers.active.pinned();
        if mutants::on("flush-ignores-snapshots") {
            snapshots.clear();
        }
        let readers = Readers::new(snapshots, core.line.durable());
        let below = if layers.under.tables.is_empty() { Below::Nothing } else { Below::MayHold };
        (memtables, readers, below)
    };
    assert_eq!(memtables.last().map(|s| s.mem.last()), Some(plan.last), "memtables are flushed in order");
    let upto = memtables.last().map_or(SegmentNo::from_raw(0), |s| s.upto);
    let bytes: u64 = memtables.iter().map(|s| s.mem.bytes()).sum();
    let sources: Vec<_> = memtables.iter().map(|s| s.mem.clone()).collect();
    let abandoned = |e: IoError| Failure::Abandoned(crate::work::Failure::from(e).into());
    let dirs = space.home.dirs().await.map_err(abandoned)?;
    let dir = dirs.tier(Tier::Hot).await.map_err(abandoned)?;
    let mut asked = Asked::default();
    let written = loop {
        let what = Flush { memtables: &sources, readers: &readers, below, touched_ms: space.wall_ms() };
        match write(what, dir, KEEP, || space.new_table()).await {
            Err(why)
                if why.is_no_space() && space.context.reserve.lend(bytes, &mut asked).await == Lent::Yes => {}
            written => break written?,
        }
    };
    if !written.is_empty()
        && let Err(why) = sync_dir(&space.tier_names[Tier::Hot as usize], dir).await
    {
        return Ok(give_up(written, why).await?);
    }
    let last = plan.last;
    let entries: Vec<_> = written.iter().map(|w| w.entry.clone()).collect();
    let edits = |core: &Core| {
        let add = entries.into_iter().map(|entry| Edit::AddTable { tier: Tier::Hot, entry });
        let version = core.current.manifest.version.apply(&core.edits);
        let dead = version.segments.iter().filter(|s| s.number <= upto).map(|s| Edit::Drop { file: s.file });
        add.chain([Edit::Flush { last }]).chain(dead).collect()
    };
    let install = |core: &mut Core, layers: &mut Layers| {
        layers.flushed(plan.memtables);
        core.jobs.done.flushes += 1;
        layers.moved(&space.context.budget, bytes, 0);
    };
    change_tables(space, written, edits, install).await.map_err(Failure::Refused)
}

impl Incarnation {
    /// The name of a new table.
    pub(super) fn new_table(&self) -> NewTable {
        let file = FileUid::from_raw(self.context.env.entropy(self.owner));
        let mut core = self.core();
        core.note_made(file);
        let number = core.next_table;
        core.next_table = number.next();
        NewTable { number, id: TableId { origin: core.current.manifest.identity.uid, file } }
    }

    /// Wall time as tables are aged with it.
    pub(super) fn wall_ms(&self) -> u64 {
        minute_ms(&*self.context.env)
    }
}
