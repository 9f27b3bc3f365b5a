//! Ending one space's opening while the engine goes on.
use super::handle::Space;
use super::incarnation::Incarnation;
use super::registry::{Claim, SettleOnPanic, SlotState};
use crate::descriptors::Holder;
use crate::error::Result;
use std::sync::Arc;

impl Space {
    /// Ends this opening: admits no write any more, syncs and seals the log, and waits until its task and its jobs have
    /// ended. Nothing of it stays open then but for reads under way, and what it has in memory counts no longer. Snapshots go on, and reads by this
    /// handle show what was there when it ended. The space is opened anew by the next [`crate::Engine::space`]. Idempotent, and without an effect on later openings; goes on when
    /// the future is dropped.
    ///
    /// # Errors
    /// `Fenced` as the space was or is since its log could not be written or synced; it has ended all the same.
    pub async fn shutdown(&self) -> Result<()> {
        let opening = &self.incarnation;
        let Some(slot) = opening.slot.upgrade() else {
            // The engine was dropped: nobody opens it anew.
            opening.let_go_of_all().await;
            return opening.close().await;
        };
        let is_this = |state: &SlotState| matches!(state, SlotState::Open(space) if space == self);
        if matches!(slot.claim(is_this), Claim::Mine) {
            let (slot, opening) = (slot.clone(), opening.clone());
            let task = async move {
                let _settles = SettleOnPanic { slot: slot.clone(), id: opening.id.clone() };
                opening.let_go_of_all().await;
                slot.note_earlier(&opening);
                slot.settle(SlotState::Idle);
            };
            self.incarnation.context.run_for(self.id(), "shutdown-space", task);
        }
        slot.settled().await;
        opening.close().await
    }
}

impl Incarnation {
    /// Ends and keeps neither files nor a share of what all spaces have in common. How it ended is asked for later.
    async fn let_go_of_all(self: &Arc<Self>) {
        let _ = self.close().await;
        self.retire();
        self.clone().rest();
    }
}
