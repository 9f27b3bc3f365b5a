//! Deleting spaces, and going on with deletions that were cut short.
use super::{Engine, Shared, no_such_space};
use crate::env::{Dir, Env, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::SpaceId;
use crate::mutants;
use crate::paths::deleted_name;
use crate::recovery::{self, RecoveryReport, RecoveryStatus};
use crate::root::{Found, Ignored};
use crate::space::{
    Incarnation, Itself, NotDeleted, Slot, SlotState, delete_space, fresh_uid, purge_deleted, was_deleted,
};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Engine {
    /// Deletes the space `id` with all that is in its directory, whatever state it is in: open, fenced, or not to be
    /// opened at all. Once this returns Ok none of its data ever comes back, whatever crashes, and the id is free for
    /// another space, which starts empty. The files go in the background; what a crash leaves of them goes after the next
    /// opening of the engine.
    ///
    /// It first ends the present opening: writes and reads are answered with `Rejected(Deleted)` from then on, and so is
    /// whoever waits for a commit's durability, once the deletion is done. While it is under way, other calls for `id` get
    /// the same error, and a second deletion waits for the first. Dropping the future changes nothing: it goes on.
    ///
    /// # Errors
    /// `Rejected(NoSuchSpace)`. `NoSpace` or `Failed` where the data root could not be changed: the space is there as a
    /// whole and can be opened anew; what was not acknowledged may be lost, as after a fence. `Unknown` where the change
    /// could not be made durable: until the engine is opened again nobody may say whether the space is there.
    pub async fn delete_space(&self, id: &SpaceId) -> Result<()> {
        loop {
            self.may_change_root()?;
            let Some(slot) = self.shared.registry.get(id) else { return Err(no_such_space(id)) };
            if let Some(former) = slot.claim_for_deletion(|| self.may_change_root().is_ok()) {
                let (answer, answered) = oneshot::channel();
                let deletion = Deletion { shared: self.shared.clone(), id: id.clone(), slot, former };
                let task = async move {
                    let _ = answer.send(deletion.run().await);
                };
                self.shared.context.run_for(id, "delete-space", task);
                return answered.await.unwrap_or_else(|_| Err(panicked(id)));
            }
            // Somebody else is at it; then it is asked anew, unless there is nothing left to ask for.
            match slot.settled().await {
                // Whatever is there of this id by now was made since, and is not what the caller meant.
                SlotState::Gone(_) => return Err(no_such_space(id)),
                state if state.is_in_doubt() => return self.opened(id, state).map(|_| ()),
                _ => {}
            }
        }
    }
}

/// A deletion under way: the space's slot says so. Whichever way it ends, the slot and whoever waits are told.
struct Deletion {
    shared: Arc<Shared>,
    id: SpaceId,
    slot: Arc<Slot>,
    former: SlotState,
}

impl Deletion {
    async fn run(mut self) -> Result<()> {
        let mut uid = None;
        if let Some(opening) = self.opening() {
            opening.begin_delete();
            if !mutants::on("straggler-job-of-deleted-incarnation") {
                opening.ended().await;
            }
            uid = Some(opening.uid());
        }
        let shared = self.shared.clone();
        if mutants::on("deletion-syncs-neighbours") {
            for other in shared.registry.ids().iter().filter_map(|id| shared.registry.get(id)) {
                if !other.is_busy()
                    && let SlotState::Open(space) = other.settled().await
                {
                    let _ = space.flush(crate::config::Durability::Power).await;
                }
            }
        }
        match delete_space(&shared.context, &shared.root, &shared.naming, &self.id, uid).await {
            Ok(left) => {
                tracing::info!(space = %self.id, "space deleted");
                if let Some(name) = left {
                    let owner = Owner::of(&self.id);
                    let purge = purge_deleted(shared.root.as_owner(owner), vec![name], Itself::Goes);
                    shared.in_background(owner, purge);
                }
                shared.context.tiers.forget(&self.id);
                // The id is free before anybody is told.
                shared.registry.forget(&self.id);
                let told = was_deleted(&self.id);
                self.tell_earlier(&told);
                self.end(told.clone(), SlotState::Gone(told));
                Ok(())
            }
            Err(NotDeleted::Untouched(e)) => {
                let after = match std::mem::replace(&mut self.former, SlotState::Idle) {
                    SlotState::Open(space) => {
                        self.former = SlotState::Open(space);
                        broken(&self.id, &e)
                    }
                    former => former,
                };
                if let Some(opening) = self.opening() {
                    self.slot.note_earlier(&opening);
                }
                self.end(not_deleted(&self.id, &e), after);
                Err(e)
            }
            Err(NotDeleted::RootInDoubt(e)) => {
                self.tell_earlier(&e);
                self.end(e.clone(), broken(&self.id, &e));
                Err(e)
            }
        }
    }

    fn opening(&self) -> Option<Arc<Incarnation>> {
        match &self.former {
            SlotState::Open(space) => Some(space.incarnation.clone()),
            _ => None,
        }
    }

    /// Tells those who hold on to openings before the last one.
    fn tell_earlier(&self, told: &Error) {
        self.slot.earlier().iter().for_each(|opening| opening.gone(told.clone()));
    }

    /// Tells those who hold on to the ended opening, then those who wait for the slot.
    fn end(&mut self, told: Error, after: SlotState) {
        if let Some(opening) = self.opening() {
            opening.gone(told);
        }
        self.former = SlotState::Busy;
        self.slot.settle(after);
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        if crate::sync::unwinds() && !matches!(self.former, SlotState::Busy) {
            let error = panicked(&self.id);
            self.end(error.clone(), broken(&self.id, &error));
        }
    }
}

/// A space that could not be deleted, or that nobody knows of whether it was.
fn broken(id: &SpaceId, e: &Error) -> SlotState {
    let mut report = RecoveryReport::new(id);
    report.status = RecoveryStatus::Failed;
    report.error = Some(e.to_string());
    SlotState::Broken(e.clone(), Box::new(report))
}

/// What handles of the opening are told that a deletion ended in vain.
fn not_deleted(id: &SpaceId, e: &Error) -> Error {
    let what = "this opening was ended by a deletion, which then failed";
    let error = match e.io_error() {
        Some(io) => Error::io(what, io.clone()),
        None => Error::new(ErrorKind::Closed, what),
    };
    error.with_kind(ErrorKind::Closed).in_space(id).advice("Open the space anew.")
}

fn panicked(id: &SpaceId) -> Error {
    // Whether the name is gone is not known either.
    Error::new(ErrorKind::Unknown, "the engine panicked while it deleted this space: a bug of the engine")
        .in_space(id)
        .advice("Report it, and open the engine again; the other spaces go on.")
}

/// Where a space is seen and a `.deleted-` entry of its uid too, the deletion wins: such a space is moved away as well,
/// durably, before anything is removed. To be called after a sync of the root.
///
/// While it is not known of every space that it is none of these, since a file could not be read or a name not changed,
/// the entries are emptied and stay.
pub(super) async fn resume(env: &dyn Env, root: &Arc<dyn Dir>, found: &mut Found) -> Result<Itself> {
    if found.deleted.is_empty() {
        return Ok(Itself::Goes);
    }
    let mut husks = Itself::Goes;
    let mut moved = Vec::new();
    for id in std::mem::take(&mut found.spaces) {
        let owner = Owner::of(&id);
        let root = root.as_owner(owner);
        match recovery::uid_of(&root, &id).await {
            Ok(Some(uid)) if found.deleted.contains(&deleted_name(uid)) => {
                let name = deleted_name(fresh_uid(env, owner));
                match root.rename(&id.dir_name(), &name).await {
                    Ok(()) => moved.push(name),
                    Err(e) => {
                        tracing::warn!(space = %id, error = %e, "a deleted space could not be moved away");
                        let why = "it was deleted, and could not be moved away yet";
                        found.ignored.push(Ignored { name: id.dir_name(), why });
                        husks = Itself::Stays;
                    }
                }
            }
            Ok(_) => found.spaces.push(id),
            Err(_) => {
                found.spaces.push(id);
                husks = Itself::Stays;
            }
        }
    }
    if !moved.is_empty() {
        root.sync().await.map_err(|e| Error::io("the data root could not be synced", e))?;
        found.deleted.append(&mut moved);
    }
    Ok(husks)
}
