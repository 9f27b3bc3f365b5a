//! How a deletion ends an opening: nothing is admitted any more, what is under way comes to its end, and whoever still
//! holds a handle, a ticket, a snapshot or a scan is told so. None of them ever sees what a later space of the same id
//! holds: all that they know are handles on this opening's own directory.
use super::incarnation::{Core, Driver, Incarnation, Phase};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::ids::{Lsn, SpaceId, SpaceUid};
use crate::sync::Ordering;
use crate::wal::waiters::WaiterKey;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// What is answered while a space is being deleted.
pub(crate) fn being_deleted(id: &SpaceId) -> Error {
    Error::rejected(Rejected::Deleted, "the space is being deleted")
        .in_space(id)
        .advice("Wait until delete_space has returned: then the id is free.")
}

/// What is answered once it was deleted.
pub(crate) fn was_deleted(id: &SpaceId) -> Error {
    Error::rejected(Rejected::Deleted, "the space was deleted, and what was written to it is gone")
        .in_space(id)
        .advice("Create it anew if it is needed.")
}

impl Incarnation {
    /// What tells this space from others of the same id.
    pub(crate) fn uid(&self) -> SpaceUid {
        self.core().current.manifest.identity.uid
    }

    /// Stops admission, reads included, and all I/O that is not under way yet. Nothing is synced or sealed. Who waits for
    /// durability goes on waiting: how the deletion ends decides what they are told.
    pub(crate) fn begin_delete(self: &Arc<Self>) {
        let mut wakers = Vec::new();
        let mut core = self.core();
        core.ended = true;
        core.line.fence();
        core.phase = Phase::Deleting;
        core.room.changed(None, &mut wakers);
        self.home.move_away();
        self.layers.write().refuse(being_deleted(&self.id));
        self.taken_away.store(true, Ordering::Release);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        // It ends at once, or when the last job and the last I/O have.
        self.wake_driver();
    }

    /// Waits until every task and every I/O of this opening has ended, after [`Incarnation::begin_delete`]. Reads that
    /// callers have under way are theirs: they change nothing, and know only files of this opening.
    pub(crate) async fn ended(&self) {
        let mut key = None;
        std::future::poll_fn(|cx| {
            let mut core = self.core();
            if matches!(core.driver, Driver::Absent) && !core.is_busy() {
                return Poll::Ready(());
            }
            core.finished.register(Lsn::ZERO, &mut key, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// The deletion has come to its end: everybody is told `answer`, and the memory is given back. Also for earlier openings
    /// of the space, which have long ended.
    pub(crate) fn gone(&self, answer: Error) {
        let mut wakers = Vec::new();
        let mut core = self.core();
        core.ended = true;
        core.line.fence();
        core.line.let_go();
        core.power.all(&mut wakers);
        core.process.all(&mut wakers);
        core.finished.all(&mut wakers);
        core.room.changed(None, &mut wakers);
        let mut layers = self.layers.write();
        layers.refuse(answer.clone());
        self.home.move_away();
        self.taken_away.store(true, Ordering::Release);
        layers.uncharge(&self.context.budget);
        layers.clear();
        drop(layers);
        core.phase = Phase::Gone(answer);
        drop(core);
        self.cache.close();
        wakers.into_iter().for_each(Waker::wake);
        self.context.budget.tell_waiting();
    }

    /// Another opening follows this one. What handles and snapshots of this one still keep in memory is theirs, and no
    /// longer counts against what all spaces share.
    pub(crate) fn retire(&self) {
        self.layers.write().uncharge(&self.context.budget);
        self.cache.close();
        self.context.budget.tell_waiting();
    }

    /// What a deletion tells somebody who waits for the durability of `lsn`; `None` if there is none.
    pub(super) fn poll_deletion(
        &self,
        core: &mut Core,
        lsn: Lsn,
        durability: Durability,
        key: &mut Option<WaiterKey>,
        waker: &Waker,
    ) -> Option<Poll<Result<()>>> {
        match &core.phase {
            Phase::Deleting => {
                core.waiters(durability).register(lsn, key, waker);
                Some(Poll::Pending)
            }
            Phase::Gone(told) if told.kind() == ErrorKind::Rejected(Rejected::Deleted) => {
                Some(Poll::Ready(Err(told.clone())))
            }
            // The deletion failed, and left what was durable.
            Phase::Gone(_) if core.line.durable() >= lsn => Some(Poll::Ready(Ok(()))),
            Phase::Gone(told) => {
                let unknown = told.clone().with_kind(ErrorKind::Unknown);
                Some(Poll::Ready(Err(unknown.advice(format!(
                    "Commit {lsn} may or may not be there: open the space anew and ask outcome({lsn})."
                )))))
            }
            _ => None,
        }
    }
}
