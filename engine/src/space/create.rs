//! Making a space: everything is built and synced under a name that is no space's, then renamed into place.
use super::delete::fresh_uid;
use super::naming::{Renamed, look_after_failure, settle};
use super::remove::{Itself, remove_tree};
use crate::context::Context;
use crate::env::{Dir, IoError, IoErrorKind, Owner};
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::identity::Identity;
use crate::ids::{FileUid, Generation, Lsn, SpaceId};
use crate::manifest::{Current, Manifest, ManifestName, Version, encode};
use crate::memtable::Memtable;
use crate::naming::Naming;
use crate::paths::{SPACE_FILE, TIER_DIRS, WAL_DIR, creating_name, is_creating_name};
use crate::recovery::{Dirs, Opened, RecoveryReport};
use std::sync::Arc;

/// Makes the space `id`. Four syncs: SPACE, the manifest, the new directory, the root.
pub(crate) async fn create_space(
    context: &Arc<Context>,
    root: &Arc<dyn Dir>,
    naming: &Naming,
    id: &SpaceId,
) -> Result<Opened> {
    let owner = Owner::of(id);
    let root = root.as_owner(owner);
    let uid = fresh_uid(&*context.env, owner);
    let created_ms = u64::try_from(context.env.wall().as_millis()).unwrap_or(u64::MAX);
    let identity = Identity { id: id.clone(), uid, created_ms };
    let name = ManifestName {
        generation: Generation::from_raw(1),
        file: FileUid::from_raw(context.env.entropy(owner)),
    };
    let manifest = Manifest { name, identity, version: Version::new() };
    let building = creating_name(manifest.identity.uid);

    let dirs = match build(&root, &building, &manifest).await {
        Ok(dirs) => dirs,
        Err(e) => {
            remove(&root, &building).await;
            return Err(creation_error(id, e));
        }
    };
    if let Err(e) = root.rename(&building, &id.dir_name()).await {
        match look_after_failure(&root, &building).await {
            Renamed::Yes => {}
            Renamed::Unknown => {
                naming.doubt(&e);
                return Err(creation_error(id, e));
            }
            Renamed::No => {
                remove(&root, &building).await;
                // The error is to name what stands in the way, not what was to take its place.
                return Err(creation_error(id, IoError { path: root.path().join(id.dir_name()), ..e }));
            }
        }
    }
    settle(naming, &root).await.map_err(|e| creation_error(id, e))?;
    // The handles were opened under the name that is gone; errors are to name the one that is there.
    let dirs = match reopen(&root, id).await {
        Ok(reopened) => reopened,
        Err(_) => dirs,
    };
    Ok(Opened {
        id: id.clone(),
        dirs,
        current: Current { highest: manifest.name.generation, manifest, stale: Vec::new() },
        mem: Memtable::new(),
        durable: Lsn::ZERO,
        before: None,
        edits: Vec::new(),
        resume: None,
        log_bytes: 0,
        report: RecoveryReport::new(id),
    })
}

async fn build(root: &Arc<dyn Dir>, name: &str, manifest: &Manifest) -> std::result::Result<Dirs, IoError> {
    root.make_dir(name).await?;
    let space = root.open_dir(name).await?;
    for (name, bytes) in
        [(SPACE_FILE.to_owned(), manifest.identity.encode()), (manifest.name.file_name(), encode(manifest))]
    {
        let file = space.create(&name).await?;
        file.write_at(0, bytes).await?;
        file.sync().await?;
    }
    space.make_dir(WAL_DIR).await?;
    for tier in TIER_DIRS {
        space.make_dir(tier).await?;
    }
    let wal = space.open_dir(WAL_DIR).await?;
    space.sync().await?;
    Ok(Dirs::new(space, wal))
}

async fn reopen(root: &Arc<dyn Dir>, id: &SpaceId) -> std::result::Result<Dirs, IoError> {
    let space = root.open_dir(&id.dir_name()).await?;
    let wal = space.open_dir(WAL_DIR).await?;
    Ok(Dirs::new(space, wal))
}

fn creation_error(id: &SpaceId, e: IoError) -> Error {
    if e.kind == IoErrorKind::AlreadyExists {
        return Error::rejected(
            Rejected::SpaceExists,
            "something else already has the name of the space's directory",
        )
        .in_space(id)
        .at_path(&e.path)
        .expected("no such name")
        .advice("Move it out of the data root; nothing was touched.");
    }
    let kind = if e.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
    Error::io("the space could not be made", e).with_kind(kind).in_space(id)
}

/// Removes what creations left half done. Only after a sync of the root: a name that is gone may come back otherwise.
pub(crate) async fn purge_creating(root: Arc<dyn Dir>, names: Vec<String>) {
    for name in names {
        assert!(is_creating_name(&name), "only directories of ours under way are purged");
        remove(&root, &name).await;
    }
}

/// Best effort: what stays is purged next time.
async fn remove(root: &Arc<dyn Dir>, name: &str) {
    let _ = remove_tree(root, name, Itself::Goes).await;
}
