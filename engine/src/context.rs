//! What all spaces of an engine share.
use crate::budget::Budget;
use crate::cache::Cache;
use crate::config::{Config, SpaceTiers};
use crate::descriptors::Descriptors;
use crate::env::{Dir, Env, LockGuard, Owner};
use crate::ids::{FileUid, SpaceId};
use crate::limits::RESERVE_SLACK;
use crate::manifest::{Current, SwitchError, Version, switch};
use crate::rate::Rate;
use crate::reserve::{Asked, Lent, Reserve, Takes};
use crate::slots::Slots;
use crate::sync::Mutex;
use std::future::Future;
use std::sync::Arc;
use tracing::Instrument;

/// What all spaces of an engine share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) config: Config,
    pub(crate) tiers: SpaceTiers,
    pub(crate) budget: Budget,
    /// Of what jobs over tables move.
    pub(crate) rate: Rate,
    /// Turns of jobs over tables.
    pub(crate) slots: Arc<Slots>,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Room on the disk for deletes.
    pub(crate) reserve: Reserve,
    /// Verified pieces of tables.
    pub(crate) cache: Arc<Cache>,
    /// The data root's lock, until the engine is closed. It lies here since every opening of a space holds the context:
    /// an engine that was merely dropped keeps the root locked as long as anything of it can still write.
    pub(crate) lock: Mutex<Option<LockGuard>>,
    /// The mutant `move-blocks-neighbours`: moves exclude writes.
    #[cfg(bulkhead_mutants)]
    pub(crate) moves: tokio::sync::RwLock<()>,
    #[cfg(bulkhead_mutants)]
    pub(crate) everyone: Mutex<Vec<std::sync::Weak<dyn Neighbour>>>,
}

impl Context {
    /// Runs a task of a space's own; whatever is traced in it tells the space.
    pub(crate) fn run_for(
        &self,
        space: &SpaceId,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let span = tracing::info_span!("space", space = %space, task = name);
        self.env.spawn(Owner::of(space), name, Box::pin(task.instrument(span)));
    }
}

impl Context {
    /// Switches the manifest in `dir` from `current` to one that holds `version`, in a file of a new name. One that finds no
    /// room and was not written is tried again with room from the reserve, if it may take that.
    ///
    /// # Errors
    /// As [`switch`].
    pub(crate) async fn switch(
        &self,
        owner: Owner,
        dir: &Arc<dyn Dir>,
        current: &Current,
        version: &Version,
        takes: Takes,
    ) -> Result<Current, SwitchError> {
        let mut asked = Asked::default();
        loop {
            let file = FileUid::from_raw(self.env.entropy(owner));
            match switch(dir, current, version.clone(), file).await {
                Err(SwitchError::NotWritten(e))
                    if e.is_no_space()
                        && takes == Takes::Reserve
                        && self.reserve.lend(RESERVE_SLACK, &mut asked).await == Lent::Yes => {}
                done => return done,
            }
        }
    }
}

#[cfg(bulkhead_mutants)]
impl Context {
    /// The mutant `move-blocks-neighbours`: held while a move is under way.
    pub(crate) async fn begin_move(&self) -> Option<tokio::sync::RwLockWriteGuard<'_, ()>> {
        match crate::mutants::on("move-blocks-neighbours") {
            true => Some(self.moves.write().await),
            false => None,
        }
    }
}

/// The mutant `fence-reaches-all`: what the fence of one space does to the others of its engine.
#[cfg(bulkhead_mutants)]
pub(crate) trait Neighbour: Send + Sync {
    fn fence_as_neighbour(&self, fenced: &crate::ids::SpaceId);
}
