//! What all spaces of an engine share.
use crate::budget::Budget;
use crate::cache::Cache;
use crate::config::Config;
use crate::descriptors::Descriptors;
use crate::env::{Env, LockGuard};
use crate::sync::Mutex;
use std::sync::Arc;

/// What all spaces of an engine share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) config: Config,
    pub(crate) budget: Budget,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Verified pieces of tables.
    pub(crate) cache: Arc<Cache>,
    /// The data root's lock, until the engine is closed. It lies here since every opening of a space holds the context:
    /// an engine that was merely dropped keeps the root locked as long as anything of it can still write.
    pub(crate) lock: Mutex<Option<LockGuard>>,
    #[cfg(bulkhead_mutants)]
    pub(crate) everyone: Mutex<Vec<std::sync::Weak<dyn Neighbour>>>,
}

/// The mutant `fence-reaches-all`: what the fence of one space does to the others of its engine.
#[cfg(bulkhead_mutants)]
pub(crate) trait Neighbour: Send + Sync {
    fn fence_as_neighbour(&self, fenced: &crate::ids::SpaceId);
}
