//! The jobs of a space over its tables: merges, moves and removals, one at a time, beside its flushes.
//!
//! What comes next is decided by [`crate::plan::next`], how it is done by [`crate::work`]; here facts are collected,
//! inputs opened, and the outcome put in effect. No other job takes tables away, so a job's inputs are live until its
//! edit; and they are opened through the handles that readers share, so that a reader that came before the edit can
//! read them after their names are gone.
use super::change::{Refused, change_tables};
use super::hidden::free;
use super::incarnation::{Core, Incarnation, Phase};
use super::layers::{Layers, Under};
use super::promote::promote;
use super::tables::KEEP;
use crate::config::Amount;
use crate::env::{Dir, IoOp};
use crate::error::{Error, ErrorKind};
use crate::ids::FileUid;
use crate::manifest::{Edit, Tier};
use crate::mutants;
use crate::plan::{self, Facts, Plan};
use crate::table::Readers;
use crate::work::{Input, Namer, SHAPES, Target};
use crate::work::{NewTable, Written, merge, moves};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// A job that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// What of jobs an opening remembers.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// One is under way.
    pub(crate) under_way: bool,
    /// The last one failed so, and the next one begins at this time.
    pub(crate) failed: Option<(Error, Duration)>,
    /// Nothing was to be done when it was asked last, and nothing has changed since.
    rests: bool,
    pub(super) done: JobCounts,
}

/// What was done to the tables of a space since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobCounts {
    /// Memtables, or several at once, that became hot tables.
    pub flushes: u64,
    /// Hot tables that became one.
    pub merges: u64,
    /// Moves of data from one tier to the next lower one, and tables of these written anew.
    pub moves: u64,
    /// Hot tables made of entries that were read repeatedly below.
    pub promotions: u64,
    /// Entries in them.
    pub entries_promoted: u64,
    /// Entries that were to be promoted and were not: overwritten, deleted or moved meanwhile.
    pub entries_left: u64,
    /// Tables that went without a rewrite: range deletes hid all of them from every reader, or they were nothing but range
    /// deletes that hid nothing.
    pub tables_freed: u64,
    /// How often it came to rest: nothing of it was open any more.
    pub rests: u64,
    /// A table of promoted entries is written, and the manifest does not name it yet.
    pub promoting: bool,
}

impl Jobs {
    /// Whether one is to be tried again.
    pub(super) fn waits(&self) -> bool {
        self.failed.as_ref().is_some_and(|(_, at)| *at < Duration::MAX)
    }

    /// Tables have changed, or time has passed, or an entry is wanted in hot: there may be something to do.
    pub(super) fn look_again(&mut self) {
        self.rests = false;
    }
}

impl Incarnation {
    /// The job to begin now, if there is one.
    pub(super) fn next_job(&self, core: &mut Core) -> Option<Plan> {
        let waits = core.jobs.failed.as_ref().is_some_and(|(_, at)| self.context.env.now() < *at);
        if core.jobs.under_way || core.jobs.rests || waits || !matches!(core.phase, Phase::Open) {
            return None;
        }
        if self.flushes_first(core) {
            // The end of a flush asks again.
            return None;
        }
        let (floor, durable, live, memory, released) = {
            let layers = self.layers.read();
            let (floor, durable) = (layers.active.floor(), layers.active.durable());
            (floor, durable, layers.under.tables.clone(), layers.holds(), layers.released())
        };
        if std::mem::replace(&mut core.barren_at, floor) != floor {
            core.barren.clear();
            core.apart.clear();
        }
        let (tiers, now_ms) = (self.tiers(), self.wall_ms());
        let wanted = self.heat.lock().wanted(tiers.get(), now_ms);
        let (accessed, extents) = (live.accessed(), live.extents());
        let facts = Facts {
            version: &core.current.manifest.version,
            tiers: &tiers,
            now_ms,
            accessed: &accessed,
            barren: &core.barren,
            apart: &core.apart,
            extents: &extents,
            looked: &core.looked,
            floor,
            memory,
            wanted: &wanted,
            puts: core.quota.puts(),
            released: &released,
        };
        let next = plan::next(&facts);
        self.note_hidden(&plan::hidden::held(&facts, durable));
        if next.is_none() && self.awaits_floor(plan::hidden::waits(&facts)) {
            // A snapshot was dropped meanwhile.
            return self.next_job(core);
        }
        if let Some(Plan::Promote(plan)) = &next {
            self.heat.lock().began(now_ms);
            core.quota.promotes(plan.adds());
        }
        core.jobs.rests = next.is_none();
        core.jobs.under_way = next.is_some();
        next
    }
}

/// Why a job came to nothing.
pub(super) enum Failure {
    /// Nothing named its files. Trying again later is safe.
    Abandoned(Error),
    Refused(Refused),
}

impl From<crate::work::Failure> for Failure {
    fn from(failure: crate::work::Failure) -> Failure {
        if let crate::work::Failure::Io(io) = &failure
            && io.op == IoOp::SyncDir
        {
            // A flush may have a name in the same directory, and a later sync proves nothing about it.
            return Failure::Refused(Refused::InDoubt(io.clone()));
        }
        Failure::Abandoned(failure.into())
    }
}

/// Carries out `plan` and tells everybody who waits for it.
pub(super) async fn work(space: Arc<Incarnation>, plan: Plan) {
    let open = || matches!(space.core().phase, Phase::Open);
    let turn = space.context.slots.turn(&*space.context.env, space.owner, open).await;
    let result = match &turn {
        Some(_) => run(&space, &plan).await,
        // Whoever ended the opening meanwhile waits for this job.
        None => Err(Failure::Refused(Refused::Fenced)),
    };
    drop(turn);
    let mut wakers = Vec::new();
    let mut core = space.core();
    core.jobs.under_way = false;
    core.jobs.look_again();
    let failed = match result {
        Ok(()) => {
            tracing::debug!(space = %space.id, job = plan.name(), "tables changed");
            None
        }
        Err(Failure::Refused(Refused::Fenced)) => None,
        Err(Failure::Refused(Refused::Full)) => Some(Error::too_many_files()),
        Err(Failure::Abandoned(error)) => Some(error),
        Err(Failure::Refused(Refused::NotWritten(io))) => {
            let kind = if io.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
            Some(Error::io("the outcome of a job could not be written", io).with_kind(kind))
        }
        Err(Failure::Refused(Refused::InDoubt(io))) => {
            let cause = Error::io("the files of a job could not be made durable", io);
            space.fence(&mut core, cause, &mut wakers);
            None
        }
    };
    let mut failed = failed.map(|error| error.in_space(&space.id));
    if let Some(error) = &failed {
        tracing::warn!(space = %space.id, error = %error, "a job over tables failed; it is tried again");
    }
    if let Plan::Promote(plan) = &plan {
        // Copied or not: only further reads bring these up again, and nothing else waits for them.
        space.heat.lock().forget(&plan.wanted);
        core.quota.promotes(Amount::default());
        failed = None;
    }
    core.room.changed(failed.clone(), &mut wakers);
    core.jobs.failed = failed.map(|error| {
        // Damage stays damage until somebody repairs it: this opening does not read it again and again.
        let damaged = error.kind() == ErrorKind::Corrupt;
        let again = if damaged { Duration::MAX } else { space.context.env.now() + RETRY };
        (error, again)
    });
    space.consider(&mut core);
    drop(core);
    wakers.into_iter().for_each(std::task::Waker::wake);
    space.wake_driver();
}

async fn run(space: &Arc<Incarnation>, plan: &Plan) -> Result<(), Failure> {
    let (under, readers) = {
        let core = space.core();
        let layers = space.layers.read();
        // Who comes to read later reads at the durable watermark or above.
        let mut snapshots = layers.active.pinned();
        if mutants::on("merge-ignores-snapshots") {
            snapshots.clear();
        }
        (layers.under.clone(), Readers::new(snapshots, core.line.durable()))
    };
    let mut names = Names(space.clone());
    let dirs = tier_dirs(space).await?;
    let mut target = Target {
        dirs: &dirs,
        naming: &space.tier_names,
        shapes: SHAPES,
        names: &mut names,
        brake: &**space,
        keep: KEEP,
    };
    match plan {
        Plan::Merge(plan) => {
            let inputs = inputs(space, &under, Tier::Hot, &plan.inputs).await?;
            let barren = {
                let core = space.core();
                plan.is_barren(&core.current.manifest.version, &core.barren)
            };
            let written = merge::run(plan, &inputs, readers, &mut target).await?;
            let new: Vec<_> = written.iter().map(|w| w.entry.clone()).collect();
            let edits = |core: &Core| {
                assert!(plan.applies_to(&core.current.manifest.version), "only one job takes tables away");
                vec![Edit::MergeHot { old: plan.inputs.clone(), new: new.clone() }]
            };
            let apart: Vec<_> = plan.apart(&new).iter().map(|entry| entry.file).collect();
            let barren: Vec<_> = new.iter().map(|entry| entry.file).filter(|_| barren).collect();
            let install = |core: &mut Core| {
                core.jobs.done.merges += 1;
                core.barren.extend(barren);
                core.apart.extend(apart);
            };
            put_in_effect(space, edits, install, written).await
        }
        Plan::Move(plan) => {
            #[cfg(bulkhead_mutants)]
            let _others_wait = space.context.begin_move().await;
            let upper = inputs(space, &under, plan.from, &plan.upper).await?;
            let lower = inputs(space, &under, plan.to, &plan.lower).await?;
            let done = moves::run(plan, &upper, &lower, readers, &mut target).await?;
            let kept: Vec<_> = done.moved.kept.iter().map(|entry| entry.file).collect();
            let edits = |core: &Core| {
                let version = &core.current.manifest.version;
                assert!(plan.applies_to(version), "only one job takes tables away");
                plan.edits(version, done.moved)
            };
            let install = |core: &mut Core| {
                core.jobs.done.moves += 1;
                core.barren.extend(kept);
            };
            put_in_effect(space, edits, install, done.tables).await
        }
        Plan::Promote(plan) => promote(space, plan, &under, &mut target).await,
        Plan::Free(plan) => free(space, plan, &under).await,
    }
}

async fn put_in_effect(
    space: &Arc<Incarnation>,
    edits: impl FnOnce(&Core) -> Vec<Edit> + Send,
    note: impl FnOnce(&mut Core) + Send,
    written: Vec<Written>,
) -> Result<(), Failure> {
    let install = |core: &mut Core, _: &mut Layers| note(core);
    change_tables(space, written, edits, install).await.map_err(Failure::Refused)
}

async fn tier_dirs(space: &Incarnation) -> Result<[Arc<dyn Dir>; 3], Failure> {
    let dirs = space.home.dirs().await.map_err(crate::work::Failure::from)?;
    let open = async |tier| dirs.tier(tier).await.cloned().map_err(crate::work::Failure::from);
    Ok([open(Tier::Hot).await?, open(Tier::Warm).await?, open(Tier::Cold).await?])
}

async fn inputs(
    space: &Incarnation,
    under: &Under,
    tier: Tier,
    files: &[FileUid],
) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        let live = under.tables.find_file(tier, *file).expect("a job's inputs are live");
        let open = live.open(&space.home).await?.clone();
        inputs.push(Input { entry: live.entry.clone(), open });
    }
    Ok(inputs)
}

/// Names new tables.
#[derive(Debug)]
struct Names(Arc<Incarnation>);

impl Namer for Names {
    fn name(&mut self) -> NewTable {
        self.0.new_table()
    }
}
