//! Which tiers each space has: its own, or those of all.
use super::{Config, TierOptions, Tiers};
use crate::error::{Error, Result};
use crate::ids::SpaceId;
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is configured, and what was changed since the engine was opened.
#[derive(Debug, Default)]
pub(crate) struct SpaceTiers {
    changed: Mutex<BTreeMap<SpaceId, Arc<Tiers>>>,
}

impl SpaceTiers {
    /// Those of `space` now.
    pub(crate) fn of(&self, config: &Config, space: &SpaceId) -> Arc<Tiers> {
        let changed = self.changed.lock();
        changed.get(space).cloned().unwrap_or_else(|| config.tiers(space))
    }

    /// Changes those of `space`.
    ///
    /// # Errors
    /// `Rejected(Config)`: they are as they were.
    pub(crate) fn change(&self, config: &Config, space: &SpaceId, to: TierOptions) -> Result<Arc<Tiers>> {
        let tiers = config.checked(to).map_err(|e: Error| e.in_space(space))?;
        self.changed.lock().insert(space.clone(), tiers.clone());
        Ok(tiers)
    }

    /// The space was deleted: what follows it has what is configured.
    pub(crate) fn forget(&self, space: &SpaceId) {
        self.changed.lock().remove(space);
    }
}
