//! Who waits for room: in the log, in memory, or below the limits of the space.
use super::incarnation::Incarnation;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::task::{Poll, Waker};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RoomWaiters {
    wakers: BTreeMap<u64, Waker>,
    arrivals: u64,
    /// Counts changes; a waiter goes on when it differs from what it saw.
    pub(crate) changes: u64,
    /// The failure that change number so-and-so was.
    failure: Option<(u64, Error)>,
}

impl RoomWaiters {
    /// Something changed; perhaps for the worse.
    pub(crate) fn changed(&mut self, failure: Option<Error>, wakers: &mut Vec<Waker>) {
        self.changes += 1;
        if let Some(failure) = failure {
            self.failure = Some((self.changes, failure));
        }
        wakers.extend(std::mem::take(&mut self.wakers).into_values());
    }
}

impl Incarnation {
    /// Waits until the room in the log differs from `seen`.
    pub(crate) async fn room_changed(&self, seen: u64) -> Result<()> {
        let mut ticket = RoomTicket { incarnation: self, key: None };
        std::future::poll_fn(|cx| {
            let mut core = self.core();
            if let Err(e) = self.writable(&core) {
                return Poll::Ready(Err(e));
            }
            if core.room.changes != seen {
                let failed = core.room.failure.clone().filter(|(change, _)| *change > seen);
                return Poll::Ready(failed.map_or(Ok(()), |(_, e)| Err(e)));
            }
            let key = *ticket.key.get_or_insert_with(|| {
                core.room.arrivals += 1;
                core.room.arrivals
            });
            core.room.wakers.insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

struct RoomTicket<'a> {
    incarnation: &'a Incarnation,
    key: Option<u64>,
}

impl Drop for RoomTicket<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.incarnation.core().room.wakers.remove(&key);
        }
    }
}
