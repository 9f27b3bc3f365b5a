//! A commit ticket: an LSN and the way to wait for its durability.
use super::incarnation::Incarnation;
use crate::config::Durability;
use crate::error::Result;
use crate::ids::Lsn;
use crate::wal::waiters::WaiterKey;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A commit that was ordered and is visible. It belongs to the opening of the space that ordered it.
#[derive(Debug, Clone)]
pub struct Commit {
    incarnation: Arc<Incarnation>,
    lsn: Lsn,
}

impl Commit {
    pub(crate) fn new(incarnation: Arc<Incarnation>, lsn: Lsn) -> Commit {
        Commit { incarnation, lsn }
    }

    /// Its place in the space's commit order.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Waits until this commit, and with it every earlier one of its space, survives what `durability` names.
    /// Dropping the future loses nothing: the commit stays, and can be waited for again.
    ///
    /// # Errors
    /// `Unknown` if a write or sync failed first: then `outcome(lsn)` after a reopen says whether it survived.
    pub async fn durable(&self, durability: Durability) -> Result<()> {
        Reached { incarnation: &self.incarnation, lsn: self.lsn, durability, key: None }.await
    }
}

/// Waits for a watermark.
pub(crate) struct Reached<'a> {
    pub(crate) incarnation: &'a Arc<Incarnation>,
    pub(crate) lsn: Lsn,
    pub(crate) durability: Durability,
    pub(crate) key: Option<WaiterKey>,
}

impl Future for Reached<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Reached { incarnation, lsn, durability, key } = &mut *self;
        incarnation.poll_reached(*lsn, *durability, key, cx.waker())
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.incarnation.forget(self.durability, key);
        }
    }
}
