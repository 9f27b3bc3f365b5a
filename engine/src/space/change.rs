//! Changing what a space consists of: the one place where an opening switches its manifest.
//!
//! Switches of one opening follow one another. What a switch dropped is removed once it is in effect, and readers get
//! the tables of the new version in the same step in which it becomes the one in effect.
use super::incarnation::{Core, Incarnation};
use super::layers::Layers;
use crate::env::IoError;
use crate::ids::FileUid;
use crate::manifest::{Edit, SegmentEnd, SwitchError, Version};
use crate::mutants;
use crate::recovery::sweep;
use crate::reserve::Takes;
use crate::wal::frame::Link;
use crate::work::Written;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a change was not made.
pub(super) enum Refused {
    /// The space is fenced: nothing was done.
    Fenced,
    /// A manifest cannot name as many files as there would be: nothing was done.
    Full,
    /// It was not written and will never be seen. Trying again later is safe.
    NotWritten(IoError),
    /// The space must be fenced.
    InDoubt(IoError),
}

/// Makes the edits that `plan` asks for, against the version in effect then; `install` runs in the step in which they
/// are in effect, before anybody reads the new version.
pub(super) async fn change(
    space: &Arc<Incarnation>,
    takes: Takes,
    plan: impl FnOnce(&Core) -> Vec<Edit> + Send,
    install: impl FnOnce(&mut Core, &mut Layers) + Send,
) -> Result<(), Refused> {
    let _turn = space.switching.lock().await;
    let (current, edits) = {
        let core = space.core();
        if core.line.is_fenced() {
            return Err(Refused::Fenced);
        }
        let mut edits = core.edits.clone();
        note_end(&core, &mut edits);
        edits.extend(plan(&core));
        if !core.current.manifest.version.has_room(&edits) {
            return Err(Refused::Full);
        }
        edits.push(Edit::Durable { lsn: core.line.durable() });
        (core.current.clone(), edits)
    };
    let old = current.manifest.version.clone();
    if mutants::on("log-cut-before-flush") || mutants::on("source-gone-before-switch") {
        remove_dropped(space, &old, &old.apply(&edits)).await;
    }
    let dirs = space.home.dirs().await.map_err(Refused::NotWritten)?;
    let version = old.apply(&edits);
    let current = match space.context.switch(space.owner, &dirs.space, &current, &version, takes).await {
        Ok(current) => current,
        Err(SwitchError::NotWritten(io)) => return Err(Refused::NotWritten(io)),
        Err(SwitchError::InDoubt(io)) => return Err(Refused::InDoubt(io)),
    };
    let (new, sweeps) = {
        let mut core = space.core();
        core.current = current.clone();
        core.edits.clear();
        core.quota.forget();
        let mut layers = space.layers.write();
        layers.show(&current.manifest.version.tables);
        install(&mut core, &mut layers);
        layers.note_held();
        layers.note_log(&space.context.budget, core.line.bytes_since_rotation());
        (current.manifest.version.clone(), core.made.is_some())
    };
    // Pins may hold back more than is allowed, now that what they do is known.
    space.expire_pins();
    remove_dropped(space, &old, &new).await;
    if sweeps {
        // The first manifest of this opening is in effect: what earlier ones left is dead for good. Whoever makes a file
        // meanwhile has said so before.
        let made = |file| space.core().made.as_ref().is_some_and(|made| made.contains(&file));
        let forgets = mutants::on("sweep-takes-new-files");
        sweep(&space.id, &dirs, &current, &|file| !forgets && made(file)).await;
        space.core().made = None;
    }
    Ok(())
}

/// As [`change`], with new tables whose bytes and names are durable: they are in the version that `plan`'s edits make.
pub(super) async fn change_tables(
    space: &Arc<Incarnation>,
    written: Vec<Written>,
    plan: impl FnOnce(&Core) -> Vec<Edit> + Send,
    install: impl FnOnce(&mut Core, &mut Layers) + Send,
) -> Result<(), Refused> {
    // From here on the switch alone decides what becomes of the files: should this future be dropped, a manifest may
    // name them already. What none names is swept.
    let (mut names, mut opened) = (Vec::new(), Vec::new());
    for written in written {
        let dir = written.dir().clone();
        let (entry, table, held) = written.keep();
        opened.push((entry.file, table, held));
        names.push((dir, entry.file_name()));
    }
    let install = |core: &mut Core, layers: &mut Layers| {
        install(core, layers);
        let adopt = |(file, table, held)| {
            layers.under.tables.adopt(file, table, space.context.descriptors.take(1), held);
        };
        opened.into_iter().for_each(adopt);
    };
    let changed = change(space, Takes::Reserve, plan, install).await;
    if let Err(Refused::Fenced | Refused::Full | Refused::NotWritten(_)) = changed {
        for (dir, name) in names {
            let _ = dir.remove(&name).await;
        }
    }
    changed
}

/// How the segment in front of the active one ended, if that is known and not said yet.
fn note_end(core: &Core, edits: &mut Vec<Edit>) {
    let ended = edits.iter().any(|e| matches!(e, Edit::End { .. }));
    if let (Some(Link { file: Some(file), len, last, chain }), false) = (core.line.predecessor(), ended) {
        let end = SegmentEnd { len, last, chain };
        let segments = &core.current.manifest.version.segments;
        if segments.iter().any(|s| s.file == file && s.end.is_none()) {
            edits.push(Edit::End { file, end });
        }
    }
}

/// Removes the files that the new version no longer names; it is in effect. Best effort: recovery sweeps the rest.
async fn remove_dropped(space: &Arc<Incarnation>, old: &Version, new: &Version) {
    let uid = space.core().current.manifest.identity.uid;
    let live: BTreeSet<(&str, FileUid)> = new.files(uid).map(|f| (f.dir, f.file)).collect();
    for dropped in old.files(uid).filter(|f| !live.contains(&(f.dir, f.file))) {
        if mutants::on("log-cut-before-flush") && dropped.dir != crate::paths::WAL_DIR {
            continue;
        }
        if mutants::on("source-gone-before-switch") && dropped.dir == crate::paths::WAL_DIR {
            continue;
        }
        let removed = async {
            let dirs = space.home.dirs().await?;
            match crate::manifest::Tier::of_dir(dropped.dir) {
                Some(tier) => {
                    space.cache.forget(dropped.file);
                    dirs.tier(tier).await?.remove(&dropped.name).await
                }
                None => dirs.wal.remove(&dropped.name).await,
            }
        };
        if let Err(e) = removed.await {
            tracing::warn!(space = %space.id, error = %e, "a file that is no longer needed could not be removed");
        }
    }
}
