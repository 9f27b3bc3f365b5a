//! All spaces of a data root, by id: which are there, which are open, and who waits for one to open.
//!
//! Opening, creating and reopening run in tasks of their own, one at a time for each space: a caller only waits, and
//! dropping its future changes nothing. A slow open of one space holds up nobody else's.
use super::handle::Space;
use crate::error::Error;
use crate::ids::SpaceId;
use crate::recovery::RecoveryReport;
use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use std::sync::Arc;
use tokio::sync::watch;

/// Fixed, so that nothing depends on the number of cores.
const SHARDS: usize = 64;

/// Where a space stands.
#[derive(Debug, Clone)]
pub(crate) enum SlotState {
    /// Known, and not open.
    Idle,
    /// A task is making, opening or reopening it.
    Busy,
    Open(Space),
    /// Opening it failed.
    Broken(Error, Box<RecoveryReport>),
    /// Its creation failed: it is not there.
    Gone(Error),
}

/// One space's place in the registry.
#[derive(Debug)]
pub(crate) struct Slot {
    state: watch::Sender<SlotState>,
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
    fn new(state: SlotState) -> Arc<Slot> {
        Arc::new(Slot { state: watch::Sender::new(state) })
    }

    /// Moves on from a state that `from` accepts to `Busy`, in one step.
    pub(crate) fn claim(&self, from: impl FnOnce(&SlotState) -> bool) -> Claim {
        let mut from = Some(from);
        let claimed = self.state.send_if_modified(|state| {
            let accepts = from.take().expect("called once")(state);
            if accepts {
                *state = SlotState::Busy;
            }
            accepts
        });
        if claimed { Claim::Mine } else { Claim::Theirs }
    }

    /// Says how a task ended.
    pub(crate) fn settle(&self, state: SlotState) {
        self.state.send_replace(state);
    }

    /// Waits until no task is at work, and says where the space stands then.
    pub(crate) async fn settled(&self) -> SlotState {
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|s| !matches!(s, SlotState::Busy)).await;
        settled.expect("the slot holds the sender").clone()
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

    /// Forgets a space whose creation failed.
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
