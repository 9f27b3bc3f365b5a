//! What all spaces of an engine share.
use crate::budget::Budget;
use crate::config::Config;
use crate::env::Env;
use std::sync::Arc;

/// What all spaces of an engine share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) config: Config,
    pub(crate) budget: Budget,
    #[cfg(bulkhead_mutants)]
    pub(crate) everyone: crate::sync::Mutex<Vec<std::sync::Weak<dyn Neighbour>>>,
}

/// The mutant `fence-reaches-all`: what the fence of one space does to the others of its engine.
#[cfg(bulkhead_mutants)]
pub(crate) trait Neighbour: Send + Sync {
    fn fence_as_neighbour(&self, fenced: &crate::ids::SpaceId);
}
