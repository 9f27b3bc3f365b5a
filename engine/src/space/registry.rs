//! All spaces of a data root, by id: which are there, which are open, and who waits for one to open.
//!
//! Opening, creating and reopening run in tasks of their own, one at a time for each space: a caller only waits, and
//! dropping its future changes nothing. A slow open of one space holds up nobody else's.
use super::handle::Space;
use super::incarnation::Incarnation;
use crate::error::{Error, ErrorKind};
use crate::ids::{Lsn, SpaceId};
use crate::recovery::RecoveryReport;
use crate::sync::Mutex;
use crate::wal::waiters::{WaiterKey, Waiters};
use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

/// Fixed, so that nothing depends on the number of cores.
const SHARDS: usize = 64;

/// Where a space stands.
#[derive(Debug, Clone)]
pub(crate) enum SlotState {
    /// Known, and not open.
    Idle,
    /// A task is making, opening or reopening it.
    Busy,
    /// A task is deleting it.
    Deleting,
    Open(Space),
    /// Opening or deleting it failed. With `Unknown`, nobody may say whether it is there until the engine is opened again.
    Broken(Error, Box<RecoveryReport>),
    /// Its creation failed, or it was deleted: it is not there.
    Gone(Error),
}

impl SlotState {
    /// Whether a task is at work, and whoever comes has to wait.
    fn is_settling(&self) -> bool {
        matches!(self, SlotState::Busy | SlotState::Deleting)
    }

    /// A deletion of it could not be made durable.
    pub(crate) fn is_in_doubt(&self) -> bool {
        matches!(self, SlotState::Broken(e, _) if e.kind() == ErrorKind::Unknown)
    }

    /// Whether a task may take it over: to open, repair or delete it.
    pub(crate) fn is_free(&self) -> bool {
        !self.is_settling() && !self.is_in_doubt() && !matches!(self, SlotState::Gone(_))
    }
}

/// One space's place in the registry. Who waits is woken in the order of arrival: a channel that shuffles its waiters
/// by random numbers of its own would let them into the schedule (G7).
#[derive(Debug)]
pub(crate) struct Slot {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: SlotState,
    waiting: Waiters,
    /// Openings that have ended, as far as anybody still holds on to them.
    earlier: Vec<Weak<Incarnation>>,
}

/// What [`Slot::claim`] found.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The caller must start the task that does the work.
    Mine,
    /// Somebody else does it, or it is done.
    Theirs,
}

impl Slot {
    pub(crate) fn new(state: SlotState) -> Arc<Slot> {
        Arc::new(Slot {
            inner: Mutex::new(Inner { state, waiting: Waiters::default(), earlier: Vec::new() }),
        })
    }

    /// Moves on from a state that `from` accepts to `Busy`, in one step.
    pub(crate) fn claim(&self, from: impl FnOnce(&SlotState) -> bool) -> Claim {
        let mut inner = self.inner.lock();
        if !from(&inner.state) {
            return Claim::Theirs;
        }
        inner.state = SlotState::Busy;
        Claim::Mine
    }

    /// Moves on to `Deleting`, in one step, from any state from which that is possible and while `may` says so; the state
    /// it was in.
    pub(crate) fn claim_for_deletion(&self, may: impl FnOnce() -> bool) -> Option<SlotState> {
        let mut inner = self.inner.lock();
        let claims = inner.state.is_free() && may();
        claims.then(|| std::mem::replace(&mut inner.state, SlotState::Deleting))
    }

    /// Whether a task is at work now.
    pub(crate) fn is_busy(&self) -> bool {
        self.inner.lock().state.is_settling()
    }

    /// Whether it is being deleted now.
    pub(crate) fn is_being_deleted(&self) -> bool {
        matches!(self.inner.lock().state, SlotState::Deleting)
    }

    /// Notes an opening that has ended, and that others follow.
    pub(crate) fn note_earlier(&self, opening: &Arc<Incarnation>) {
        let earlier = &mut self.inner.lock().earlier;
        earlier.retain(|opening| opening.strong_count() > 0);
        earlier.push(Arc::downgrade(opening));
    }

    /// The openings that were noted and that somebody still holds on to.
    pub(crate) fn earlier(&self) -> Vec<Arc<Incarnation>> {
        self.inner.lock().earlier.iter().filter_map(Weak::upgrade).collect()
    }

    /// Says how a task ended.
    pub(crate) fn settle(&self, state: SlotState) {
        let mut wakers = Vec::new();
        let mut inner = self.inner.lock();
        let former = std::mem::replace(&mut inner.state, state);
        inner.waiting.all(&mut wakers);
        drop(inner);
        drop(former);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until no task is at work, and says where the space stands then.
    pub(crate) async fn settled(&self) -> SlotState {
        let mut wait = Wait { slot: self, key: None };
        std::future::poll_fn(|cx| {
            let mut inner = self.inner.lock();
            if !inner.state.is_settling() {
                return Poll::Ready(inner.state.clone());
            }
            inner.waiting.register(Lsn::ZERO, &mut wait.key, cx.waker());
            Poll::Pending
        })
        .await
    }
}

/// Takes a dropped future's registration away.
struct Wait<'a> {
    slot: &'a Slot,
    key: Option<WaiterKey>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.slot.inner.lock().waiting.remove(key);
        }
    }
}

/// A panic while a space is made, opened, repaired or shut down is a bug of the engine: whoever waits for it gets an error.
pub(crate) struct SettleOnPanic {
    pub(crate) slot: Arc<Slot>,
    pub(crate) id: SpaceId,
}

impl Drop for SettleOnPanic {
    fn drop(&mut self) {
        if !crate::sync::unwinds() {
            return;
        }
        let error = Error::new(ErrorKind::Failed, "the engine panicked on this space: a bug of the engine")
            .in_space(&self.id)
            .advice("Report it; the other spaces go on.");
        let mut report = RecoveryReport::new(&self.id);
        report.fails(&error);
        self.slot.settle(SlotState::Broken(error, Box::new(report)));
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry {
    slots: DashMap<SpaceId, Arc<Slot>, FxBuildHasher>,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry { slots: DashMap::with_hasher_and_shard_amount(FxBuildHasher, SHARDS) }
    }

    /// The slot of a known space.
    pub(crate) fn get(&self, id: &SpaceId) -> Option<Arc<Slot>> {
        self.slots.get(id).map(|slot| slot.value().clone())
    }

    /// Makes a space known. False if it was already.
    pub(crate) fn adopt(&self, id: SpaceId) -> bool {
        self.insert(id, SlotState::Idle).is_ok()
    }

    /// Makes a space known whose creation the caller starts; the existing slot if there is one.
    pub(crate) fn begin_create(&self, id: SpaceId) -> Result<Arc<Slot>, Arc<Slot>> {
        self.insert(id, SlotState::Busy)
    }

    fn insert(&self, id: SpaceId, state: SlotState) -> Result<Arc<Slot>, Arc<Slot>> {
        match self.slots.entry(id) {
            dashmap::Entry::Occupied(entry) => Err(entry.get().clone()),
            dashmap::Entry::Vacant(entry) => {
                let slot = Slot::new(state);
                entry.insert(slot.clone());
                Ok(slot)
            }
        }
    }

    /// Forgets a space whose creation failed, or that was deleted.
    pub(crate) fn forget(&self, id: &SpaceId) {
        self.slots.remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All ids, sorted.
    pub(crate) fn ids(&self) -> Vec<SpaceId> {
        let mut ids: Vec<SpaceId> = self.slots.iter().map(|entry| entry.key().clone()).collect();
        ids.sort_unstable();
        ids
    }
}
