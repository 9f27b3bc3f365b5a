//! Removing what no manifest names any more. Best effort: what stays is swept next time.
//!
//! Only once a manifest of this opening is in effect: one that was merely seen may be lost in a power cut, and the one
//! before it may name what the seen one does not.
use super::Dirs;
use crate::env::{Access, Dir, EntryKind, IoError};
use crate::ids::{FileUid, SpaceId};
use crate::limits::PAGE;
use crate::manifest::{Current, Tier, parse_table_file_name};
use crate::table::TableId;
use crate::table::piece::{PIECE_HEADER, is_piece_of};
use crate::wal::segment::{SegmentId, verify_header};
use std::sync::Arc;

/// Says whether this opening made a file.
pub(crate) type Made<'a> = &'a (dyn Fn(FileUid) -> bool + Sync);

/// Removes files of ours in `wal/` and in the tiers that the manifest in effect does not name, but for those that this
/// opening has `made`: it is not done with them. That is asked once they were seen, and so knows of each of them.
pub(crate) async fn sweep(id: &SpaceId, dirs: &Dirs, current: &Current, made: Made<'_>) {
    segments(id, &dirs.wal, current, made).await;
    for tier in Tier::ALL {
        if let Ok(dir) = dirs.tier(tier).await {
            tables(id, dir, tier, current, made).await;
        }
    }
}

/// Segments whose header is this space's, and those whose making was cut short before they had one. Others are left
/// alone, also under a segment's name.
async fn segments(id: &SpaceId, wal: &Arc<dyn Dir>, current: &Current, made: Made<'_>) {
    let manifest = &current.manifest;
    let mut found: Vec<SegmentId> = files(wal)
        .await
        .iter()
        .filter_map(|name| SegmentId::parse(manifest.identity.uid, name))
        .filter(|id| manifest.version.segments.iter().all(|s| (s.file, s.number) != (id.file, id.number)))
        .filter(|id| !made(id.file))
        .collect();
    found.sort_unstable_by_key(|id| (id.number, id.file));
    for segment in found {
        match is_ours(wal, segment).await {
            Ok(true) => remove(id, wal, &segment.file_name()).await,
            Ok(false) => {
                tracing::warn!(space = %id, file = %segment.file_name(), "a file in wal/ is not this space's; left alone");
            }
            Err(_) => {}
        }
    }
}

/// Tables that no manifest named, and those that a later one dropped: files that begin as a table of this space does, or
/// with nothing, since their making was cut short. Others are left alone, also under a table's name.
async fn tables(id: &SpaceId, dir: &Arc<dyn Dir>, tier: Tier, current: &Current, made: Made<'_>) {
    let (live, origin) = (&current.manifest.version.tables, current.manifest.identity.uid);
    let mut found: Vec<(String, FileUid)> = files(dir)
        .await
        .into_iter()
        .filter_map(|name| parse_table_file_name(&name).map(|(_, file)| (name, file)))
        .filter(|(_, file)| live.find(tier, *file).is_none() && !made(*file))
        .collect();
    found.sort_unstable();
    for (name, file) in found {
        let begin = async { dir.open(&name, Access::ReadRaw).await?.read_at(0, vec![0; PIECE_HEADER]).await };
        match begin.await {
            Ok(begin) if begin.iter().all(|&b| b == 0) || is_piece_of(&begin, TableId { origin, file }) => {
                remove(id, dir, &name).await;
            }
            Ok(_) => {
                tracing::warn!(space = %id, file = %name, "a file in a tier is not this space's; left alone");
            }
            Err(_) => {}
        }
    }
}

async fn files(dir: &Arc<dyn Dir>) -> Vec<String> {
    let entries = dir.list().await.unwrap_or_default();
    entries
        .into_iter()
        .filter(|e| e.kind == EntryKind::File)
        .filter_map(|e| e.name.into_string().ok())
        .collect()
}

async fn remove(id: &SpaceId, dir: &Arc<dyn Dir>, name: &str) {
    if let Err(e) = dir.remove(name).await {
        tracing::warn!(space = %id, error = %e, "a file that is no longer needed could not be removed");
    }
}

/// Whether a segment has this space's header, or none at all yet.
async fn is_ours(wal: &Arc<dyn Dir>, id: SegmentId) -> Result<bool, IoError> {
    let file = wal.open(&id.file_name(), Access::ReadRaw).await?;
    let page = file.read_at(0, vec![0; PAGE]).await?;
    Ok(page.iter().all(|&b| b == 0) || verify_header(&page, id).is_some())
}
