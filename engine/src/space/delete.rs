//! Deleting a space: one rename within the root, made durable. What follows is housekeeping.
//!
//! The new name, `.deleted-<uid>`, is no space's, and no space is ever looked for under it. So after a crash the space is
//! there as a whole or not at all, and its id is free as soon as the rename is durable.
use super::naming::{Renamed, look_after_failure, settle};
use super::remove::{Itself, remove_tree};
use crate::context::Context;
use crate::env::{Dir, Env, IoError, IoErrorKind, Owner};
use crate::error::{Error, ErrorKind};
use crate::ids::{SpaceId, SpaceUid};
use crate::limits::PAGE;
use crate::mutants;
use crate::naming::Naming;
use crate::paths::{deleted_name, is_deleted_name};
use crate::recovery;
use crate::reserve::{Asked, Lent};
use std::sync::Arc;

/// How deleting a space failed.
#[derive(Debug)]
pub(crate) enum NotDeleted {
    /// It is there as a whole.
    Untouched(Error),
    /// The name is gone, but whether durably is not known: the root must refuse changes, and nobody may say whether there
    /// is such a space.
    RootInDoubt(Error),
}

/// Takes the space `id` away from its name; no task or I/O of an opening is under way. Its uid is `known` if it was open,
/// and read otherwise; where nothing in the directory tells it, since neither SPACE nor a manifest verifies, another one
/// stands for it: the name under which it goes only has to be nobody else's. What is to be removed then, if anything.
pub(crate) async fn delete_space(
    context: &Arc<Context>,
    root: &Arc<dyn Dir>,
    naming: &Naming,
    id: &SpaceId,
    known: Option<SpaceUid>,
) -> std::result::Result<Option<String>, NotDeleted> {
    let owner = Owner::of(id);
    let root = root.as_owner(owner);
    let fresh = || fresh_uid(&*context.env, owner);
    let uid = match known {
        Some(uid) => uid,
        None => recovery::uid_of(&root, id).await.ok().flatten().unwrap_or_else(fresh),
    };
    let mut name = deleted_name(uid);
    let mut renamed = root.rename(&id.dir_name(), &name).await;
    if renamed.as_ref().is_err_and(|e| e.kind == IoErrorKind::AlreadyExists) {
        // Somebody put back a copy of a space whose removal has not come to its end.
        name = deleted_name(fresh());
        renamed = root.rename(&id.dir_name(), &name).await;
    }
    if renamed.as_ref().is_err_and(IoError::is_no_space)
        && context.reserve.lend(PAGE as u64, &mut Asked::default()).await == Lent::Yes
    {
        renamed = root.rename(&id.dir_name(), &name).await;
    }
    let left = match renamed {
        Ok(()) => Some(name),
        // Somebody else removed the directory; that only has to be durable.
        Err(e) if e.is_not_found() => None,
        Err(e) => match look_after_failure(&root, &id.dir_name()).await {
            Renamed::Yes => Some(name),
            Renamed::Unknown => {
                naming.doubt(&e);
                return Err(in_doubt(id, e));
            }
            Renamed::No => {
                let kind = if e.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
                return Err(NotDeleted::Untouched(
                    Error::io("the space could not be deleted", e)
                        .with_kind(kind)
                        .in_space(id)
                        .advice("It is there as before and can be opened; find the cause and try again."),
                ));
            }
        },
    };
    if mutants::on("delete-acked-before-root-sync") {
        return Ok(left);
    }
    settle(naming, &root).await.map(|()| left).map_err(|e| in_doubt(id, e))
}

fn in_doubt(id: &SpaceId, e: IoError) -> NotDeleted {
    NotDeleted::RootInDoubt(
        Error::io("the space was taken away, but whether that survives a power cut is not known", e)
            .with_kind(ErrorKind::Unknown)
            .in_space(id)
            .advice("Open the engine again: the space is then there as a whole, or not at all."),
    )
}

/// Removes what was deleted. Only after a sync of the root: a name that is gone may come back otherwise. Best effort: what
/// stays is removed after the next opening of the engine.
pub(crate) async fn purge_deleted(root: Arc<dyn Dir>, names: Vec<String>, itself: Itself) {
    for name in names {
        assert!(is_deleted_name(&name), "only what was deleted is removed");
        if let Err(e) = remove_tree(&root, &name, itself).await {
            tracing::warn!(%name, error = %e, "a deleted space could not be removed yet");
        }
    }
}

/// A uid that no other space has.
pub(crate) fn fresh_uid(env: &dyn Env, owner: Owner) -> SpaceUid {
    let mut uid = [0; 16];
    uid[..8].copy_from_slice(&env.entropy(owner).to_be_bytes());
    uid[8..].copy_from_slice(&env.entropy(owner).to_be_bytes());
    SpaceUid(uid)
}
