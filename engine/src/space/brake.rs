//! Jobs of a space let flushes go first that are behind, and wait for their turn in the engine's line of background work;
//! see [`crate::rate`].
use super::incarnation::{Incarnation, Phase};
use crate::rate::{WAIT_MAX, WAIT_MIN};
use crate::work::Brake;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A job looks again after this long whether flushes are still behind.
const FLUSH_WAIT: Duration = Duration::from_millis(2);

impl Brake for Incarnation {
    fn wait(&self, bytes: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let env = &self.context.env;
            while self.flushes_first(&self.core()) {
                env.sleep(self.owner, FLUSH_WAIT).await;
            }
            let Some(turn) = self.context.rate.turn(env.now(), bytes) else { return };
            // Whoever closes or deletes the space waits for this job.
            while matches!(self.core().phase, Phase::Open) {
                let left = turn.saturating_sub(env.now());
                // What is left out comes to the next one's turn.
                if left < WAIT_MIN {
                    return;
                }
                env.sleep(self.owner, left.min(WAIT_MAX)).await;
            }
        })
    }
}
