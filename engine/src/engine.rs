//! The engine: one data root, its spaces, and the calls that concern more than one of them. Control flow only.
use crate::budget::Budget;
use crate::config::{Config, Options, SpaceTiers};
use crate::context::Context;
use crate::descriptors::Descriptors;
use crate::env::{Dir, Env, IoErrorKind, Missing, Owner};
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::ids::SpaceId;
use crate::naming::Naming;
use crate::paths::RESERVE_FILE;
use crate::recovery::{self, RecoveryReport, RecoveryStatus, RepairPlan, recover};
use crate::reserve::{Reserve, ReserveStats};
use crate::root::{self, Ignored};
use crate::space::{
    Claim, Home, Incarnation, Registry, SettleOnPanic, Slot, SlotState, Space, being_deleted, create_space,
    in_doubt, purge_creating, purge_deleted,
};
use crate::sync::Mutex;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

mod delete;

/// An open data root. Cheap to clone; all clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    context: Arc<Context>,
    root: Arc<dyn Dir>,
    naming: Naming,
    registry: Registry,
    ignored: Vec<Ignored>,
    state: Mutex<RootState>,
}

#[derive(Debug)]
struct RootState {
    closed: bool,
    /// Removals in the background that may still be under way.
    removals: Vec<Arc<Slot>>,
}

/// What lies in a data root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// All spaces, sorted; also those that cannot be opened.
    pub spaces: Vec<SpaceId>,
    /// Everything else that was there at open, with why; never touched.
    pub ignored: Vec<Ignored>,
}

impl Engine {
    /// Opens the data root `path`, making it if it is not there, and takes its lock. No space is opened yet.
    ///
    /// # Errors
    /// `Rejected(Config)` for a bad option, `Rejected(Locked)` naming the process that has it open, `Failed` or
    /// `NoSpace` for an I/O error, `Corrupt` for a damaged `.engine` file.
    pub async fn open(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Engine> {
        let config = Config::new(options)?;
        let failed = |e| Error::io("the data root could not be opened", e);
        let dir = env.open_root(path, Missing::Create).await.map_err(failed)?;
        let lock = root::lock(&dir).await?;
        if !crate::mutants::on("root-not-synced-before-adopt") {
            // Names seen before this may not survive a power cut; nothing is built on them.
            match env.sync_parent(path).await {
                // Where not even reading is allowed nobody like us made a directory.
                Err(e) if e.kind == IoErrorKind::Denied => {}
                synced => synced.map_err(failed)?,
            }
            dir.sync().await.map_err(failed)?;
        }
        let mut found = root::look(&dir).await?;
        root::identify(&env, &dir, !found.spaces.is_empty()).await?;
        if found.has_reserve && config.reserve_bytes() == 0 {
            // Of an opening that was configured otherwise.
            let _ = dir.remove(RESERVE_FILE).await;
        }
        let husks = delete::resume(&*env, &dir, &mut found).await?;
        let context = Arc::new(Context {
            tiers: SpaceTiers::default(),
            budget: Budget::new(config.memory_budget(), config.memory_share_bytes(), config.log_budget()),
            slots: crate::slots::Slots::new(config.background_jobs()),
            rate: crate::rate::Rate::new(config.background_bytes_per_s()),
            descriptors: Descriptors::new(config.max_descriptors()),
            reserve: Reserve::new(dir.clone(), config.reserve_bytes()),
            cache: crate::cache::Cache::new(config.cache_bytes(), config.cache_share_bytes()),
            env,
            config,
            lock: Mutex::new(Some(lock)),
            #[cfg(bulkhead_mutants)]
            moves: tokio::sync::RwLock::default(),
            #[cfg(bulkhead_mutants)]
            everyone: Mutex::new(Vec::new()),
        });
        let registry = Registry::new();
        for id in found.spaces {
            registry.adopt(id);
        }
        let state = Mutex::new(RootState { closed: false, removals: Vec::new() });
        let shared = Arc::new(Shared {
            context,
            root: dir.clone(),
            naming: Naming::default(),
            registry,
            ignored: found.ignored,
            state,
        });
        if !found.creating.is_empty() {
            shared.in_background(Owner::ENGINE, purge_creating(dir.clone(), found.creating));
        }
        if !found.deleted.is_empty() {
            shared.in_background(Owner::ENGINE, purge_deleted(dir, found.deleted, husks));
        }
        Ok(Engine { shared })
    }

    /// Makes the space `id`. When this returns Ok it survives a power cut.
    ///
    /// # Errors
    /// `Rejected(SpaceExists)`, `Rejected(TooManySpaces)`, `Rejected(Deleted)` while one of this id is being deleted, or
    /// `NoSpace` and `Failed` for an I/O error; then there is no such space.
    pub async fn create_space(&self, id: &SpaceId) -> Result<Space> {
        self.may_change_root()?;
        let exists = || {
            Error::rejected(Rejected::SpaceExists, "there is a space of this id already")
                .in_space(id)
                .advice("Open it, or choose another id; nothing was done.")
        };
        match self.begin_create(id)? {
            Ok(slot) => self.open_slot(id, &slot, |_| false).await,
            Err(slot) if slot.is_being_deleted() => Err(being_deleted(id)),
            Err(_) => Err(exists()),
        }
    }

    /// The space `id`, opened if it is not: its log is replayed then.
    ///
    /// # Errors
    /// `Rejected(NoSuchSpace)`, `Rejected(Deleted)` while it is being deleted, `Unknown` where a deletion could not be made
    /// durable, or why it could not be opened: `Corrupt` or `Failed`.
    pub async fn space(&self, id: &SpaceId) -> Result<Space> {
        self.alive()?;
        let Some(slot) = self.shared.registry.get(id) else { return Err(no_such_space(id)) };
        let retry = |state: &SlotState| match state {
            SlotState::Idle => true,
            SlotState::Broken(e, _) => e.kind() != ErrorKind::Corrupt && !state.is_in_doubt(),
            _ => false,
        };
        self.open_slot(id, &slot, retry).await
    }

    /// The space `id`, made if it is not there. Concurrent calls for one id give the same handle and one log.
    ///
    /// # Errors
    /// As [`Engine::create_space`] and [`Engine::space`].
    pub async fn get_or_create_space(&self, id: &SpaceId) -> Result<Space> {
        self.alive()?;
        if self.shared.registry.get(id).is_some() {
            return self.space(id).await;
        }
        self.may_change_root()?;
        match self.begin_create(id)? {
            Ok(slot) => self.open_slot(id, &slot, |_| false).await,
            Err(_) => self.space(id).await,
        }
    }

    /// Ends the present opening of `id`, whatever state it is in, and opens it anew. Handles, tickets, snapshots and
    /// scans of the former opening stay with it.
    ///
    /// # Errors
    /// As [`Engine::space`].
    pub async fn reopen(&self, id: &SpaceId) -> Result<Space> {
        self.alive()?;
        let Some(slot) = self.shared.registry.get(id) else { return Err(no_such_space(id)) };
        self.open_slot(id, &slot, SlotState::is_free).await
    }

    /// Says what a repair of `id` would keep and lose. Changes nothing. The space must not be open.
    ///
    /// # Errors
    /// `Rejected(State)` for an open space, `Failed` where nothing can be planned: no manifest verifies, or a file
    /// cannot be read.
    pub async fn repair_plan(&self, id: &SpaceId) -> Result<RepairPlan> {
        self.not_open(id).await?;
        recovery::plan(&self.shared.root, id).await
    }

    /// Reads what can be read of a space that cannot be opened. Changes nothing.
    ///
    /// # Errors
    /// As [`Engine::repair_plan`].
    pub async fn salvage(&self, id: &SpaceId) -> Result<crate::space::Salvage> {
        self.not_open(id).await?;
        crate::space::salvage(&self.shared.root, id).await
    }

    /// Carries out `plan`, if the space still is as the plan saw it, and opens the space.
    ///
    /// # Errors
    /// `Rejected(State)` if the space changed since, or is open; otherwise as [`Engine::space`].
    pub async fn repair(&self, plan: &RepairPlan) -> Result<Space> {
        let slot = self.not_open(&plan.id).await?;
        let mut former = SlotState::Idle;
        let claim = slot.claim(|state| {
            former = state.clone();
            self.alive().is_ok() && state.is_free() && !matches!(state, SlotState::Open(_))
        });
        if matches!(claim, Claim::Theirs) {
            self.alive()?;
            return Err(open_already(&plan.id));
        }
        let (shared, plan, mine) = (self.shared.clone(), plan.clone(), slot.clone());
        let id = plan.id.clone();
        let refused = Arc::new(Mutex::new(None));
        let refuses = refused.clone();
        let task = async move {
            let _settles = SettleOnPanic { slot: mine.clone(), id: plan.id.clone() };
            match recovery::repair(&shared.context, &shared.root, &plan).await {
                Ok(()) => mine.settle(open(&shared, &plan.id, &mine).await),
                // Nothing was done. Who gave the order is told; to all others the space is what it was.
                Err(e) if matches!(e.kind(), ErrorKind::Rejected(_)) => {
                    *refuses.lock() = Some(e);
                    mine.settle(former);
                }
                Err(e) => {
                    let mut report = RecoveryReport::new(&plan.id);
                    report.fails(&e);
                    mine.settle(SlotState::Broken(e, Box::new(report)));
                }
            }
        };
        self.shared.context.run_for(&id, "repair-space", task);
        let state = slot.settled().await;
        match refused.lock().take() {
            Some(refused) => Err(refused),
            None => self.opened(&id, state),
        }
    }

    async fn not_open(&self, id: &SpaceId) -> Result<Arc<Slot>> {
        self.alive()?;
        let Some(slot) = self.shared.registry.get(id) else { return Err(no_such_space(id)) };
        match slot.settled().await {
            SlotState::Open(_) => Err(open_already(id)),
            SlotState::Gone(e) => Err(e),
            state if state.is_in_doubt() => self.opened(id, state).map(|_| slot),
            _ => Ok(slot),
        }
    }

    /// File descriptors that spaces have open now, as far as they count against `max-descriptors`: not those of tables that
    /// jobs read and write at the moment, nor what readers under way hold of a space that came to rest meanwhile.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.shared.context.descriptors.used()
    }

    /// How the reserve for deletes on a full disk stands.
    #[must_use]
    pub fn reserve(&self) -> ReserveStats {
        self.shared.context.reserve.stats()
    }

    /// What lies in the data root.
    #[must_use]
    pub fn list_spaces(&self) -> Listing {
        Listing { spaces: self.shared.registry.ids(), ignored: self.shared.ignored.clone() }
    }

    /// Opens every space, at most `recovery_parallelism` at once, and reports on every one, sorted by id. A space that
    /// cannot be opened has a report like any other.
    ///
    /// # Errors
    /// `Closed` only.
    pub async fn recover_all(&self) -> Result<Vec<RecoveryReport>> {
        self.alive()?;
        let ids = self.shared.registry.ids();
        let mut reports = Vec::with_capacity(ids.len());
        let width = self.shared.context.config.recovery_parallelism();
        let mut begun = 0;
        for (i, id) in ids.iter().enumerate() {
            // Keep `width` openings under way, and take their results in order.
            while begun < ids.len() && begun < i + width {
                self.begin_open(&ids[begun]);
                begun += 1;
            }
            let Some(slot) = self.shared.registry.get(id) else { continue };
            loop {
                match slot.settled().await {
                    SlotState::Open(space) => reports.push(space.recovery_report().clone()),
                    SlotState::Broken(_, report) => reports.push(*report),
                    // It was shut down before its report could be read.
                    SlotState::Idle if self.alive().is_ok() => {
                        self.begin_open(id);
                        continue;
                    }
                    SlotState::Idle | SlotState::Busy | SlotState::Deleting | SlotState::Gone(_) => {}
                }
                break;
            }
            let torn = reports.last().is_some_and(|r| r.status == RecoveryStatus::TornTail);
            if torn && crate::mutants::on("torn-tail-stops-all") {
                break;
            }
        }
        Ok(reports)
    }

    /// Closes every space (syncs and seals its log), waits for removals in the background, and gives the lock back.
    /// Idempotent.
    ///
    /// # Errors
    /// The first space's that could not be closed cleanly; the others are closed all the same.
    pub async fn close(&self) -> Result<()> {
        self.shared.state.lock().closed = true;
        let mut open = Vec::new();
        let mut first_error = None;
        for id in self.shared.registry.ids() {
            let Some(slot) = self.shared.registry.get(&id) else { continue };
            if let SlotState::Open(space) = slot.settled().await {
                // Begin all closings before waiting for the first.
                space.incarnation.begin_close();
                open.push(space);
            }
        }
        for space in open {
            if let Err(e) = space.incarnation.close().await {
                first_error.get_or_insert(e);
            }
        }
        // They stay in the list: this future may be dropped, and whoever closes once more waits for them, too.
        let removals = self.shared.state.lock().removals.clone();
        for removal in removals {
            removal.settled().await;
        }
        *self.shared.context.lock.lock() = None;
        first_error.map_or(Ok(()), Err)
    }

    fn alive(&self) -> Result<()> {
        if self.shared.state.lock().closed {
            return Err(engine_closed());
        }
        Ok(())
    }

    /// Whether spaces may be made and deleted.
    fn may_change_root(&self) -> Result<()> {
        self.alive()?;
        self.shared.naming.check().map_err(in_doubt)
    }

    /// Starts making `id` in a task of its own; its slot, or the one that is there already.
    fn begin_create(&self, id: &SpaceId) -> Result<std::result::Result<Arc<Slot>, Arc<Slot>>> {
        let shared = &self.shared;
        if let Some(slot) = shared.registry.get(id) {
            return Ok(Err(slot));
        }
        let slot = {
            // Held over both questions and the entry: `close` either finds the slot or came first, and creations that
            // meet at the last place do not count each other.
            let state = shared.state.lock();
            if state.closed {
                return Err(engine_closed());
            }
            let max = shared.context.config.max_spaces();
            if shared.registry.len() >= max && shared.registry.get(id).is_none() {
                let error =
                    Error::rejected(Rejected::TooManySpaces, format!("there are {max} spaces already"))
                        .in_space(id)
                        .expected(format!("at most max-spaces = {max}"))
                        .advice("Delete a space or raise max-spaces; nothing was done.");
                return Err(error);
            }
            match shared.registry.begin_create(id.clone()) {
                Ok(slot) => slot,
                Err(slot) => return Ok(Err(slot)),
            }
        };
        let (shared, name, mine) = (shared.clone(), id.clone(), slot.clone());
        let task = async move {
            let _settles = SettleOnPanic { slot: mine.clone(), id: name.clone() };
            let held = Home::admit(&shared.context, &name).await;
            match create_space(&shared.context, &shared.root, &shared.naming, &name).await {
                Ok(opened) => {
                    let incarnation = Incarnation::new(&shared.context, &shared.root, &mine, held, opened);
                    mine.settle(SlotState::Open(Space { incarnation }));
                }
                Err(e) => {
                    shared.registry.forget(&name);
                    mine.settle(SlotState::Gone(e));
                }
            }
        };
        self.shared.context.run_for(id, "create-space", task);
        Ok(Ok(slot))
    }

    fn begin_open(&self, id: &SpaceId) {
        let Some(slot) = self.shared.registry.get(id) else { return };
        self.claim_and_open(id, &slot, |state| state.is_free() && !matches!(state, SlotState::Open(_)));
    }

    async fn open_slot(
        &self,
        id: &SpaceId,
        slot: &Arc<Slot>,
        from: impl FnOnce(&SlotState) -> bool,
    ) -> Result<Space> {
        self.claim_and_open(id, slot, from);
        loop {
            if slot.is_being_deleted() {
                return Err(being_deleted(id));
            }
            let state = slot.settled().await;
            if !matches!(state, SlotState::Idle) {
                return self.opened(id, state);
            }
            // It was shut down before it could be handed out.
            self.alive()?;
            self.claim_and_open(id, slot, |state| matches!(state, SlotState::Idle));
        }
    }

    fn claim_and_open(&self, id: &SpaceId, slot: &Arc<Slot>, from: impl FnOnce(&SlotState) -> bool) {
        let mut former = None;
        let claim = slot.claim(|state| {
            if let SlotState::Open(space) = state {
                former = Some(space.clone());
            }
            // Under the slot's lock: `close` either sees that it is busy, or was there before.
            self.alive().is_ok() && from(state)
        });
        if matches!(claim, Claim::Theirs) {
            return;
        }
        let (shared, name, slot) = (self.shared.clone(), id.clone(), slot.clone());
        let task = async move {
            let _settles = SettleOnPanic { slot: slot.clone(), id: name.clone() };
            if let Some(space) = former {
                // Whatever it says: it has ended, and recovery finds what there is.
                let _ = space.incarnation.close().await;
                space.incarnation.retire();
                slot.note_earlier(&space.incarnation);
            }
            slot.settle(open(&shared, &name, &slot).await);
        };
        self.shared.context.run_for(id, "open-space", task);
    }

    fn opened(&self, id: &SpaceId, state: SlotState) -> Result<Space> {
        match state {
            SlotState::Open(space) => Ok(space),
            SlotState::Broken(e, _) | SlotState::Gone(e) => Err(e),
            SlotState::Idle | SlotState::Busy | SlotState::Deleting => Err(no_such_space(id)),
        }
    }
}

impl Shared {
    /// Runs a removal in a task of its own; [`Engine::close`] waits for it.
    fn in_background(&self, owner: Owner, removal: impl Future<Output = ()> + Send + 'static) {
        let slot = Slot::new(SlotState::Busy);
        let ends = Ends(slot.clone());
        let mut state = self.state.lock();
        state.removals.retain(|slot| slot.is_busy());
        state.removals.push(slot);
        drop(state);
        let task = async move {
            let _ends = ends;
            removal.await;
        };
        self.context.env.spawn(owner, "purge", Box::pin(task));
    }
}

/// Settles a slot that only tells whether a task has ended, however it did.
struct Ends(Arc<Slot>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.settle(SlotState::Idle);
    }
}

async fn open(shared: &Arc<Shared>, id: &SpaceId, slot: &Arc<Slot>) -> SlotState {
    let held = Home::admit(&shared.context, id).await;
    match recover(&shared.context, &shared.root, id).await {
        Ok(opened) => {
            let incarnation = Incarnation::new(&shared.context, &shared.root, slot, held, opened);
            incarnation.shorten_log().await;
            SlotState::Open(Space { incarnation })
        }
        Err(not) => SlotState::Broken(not.error, Box::new(not.report)),
    }
}

fn engine_closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine was closed")
}

fn open_already(id: &SpaceId) -> Error {
    Error::rejected(Rejected::State, "the space is open")
        .in_space(id)
        .advice("Only a space that cannot be opened is repaired.")
}

fn no_such_space(id: &SpaceId) -> Error {
    Error::rejected(Rejected::NoSuchSpace, "there is no such space")
        .in_space(id)
        .advice("Create it first; nothing was done.")
}
