//! The data root itself: its lock, its identity, and which of its entries are spaces.
use crate::codec::{Piece, Reader, checksum, identity_tag, is_zero};
use crate::env::{Access, Dir, EntryKind, Env, IoError, IoErrorKind, LockGuard, Owner};
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::ids::{FileUid, SpaceId, SpaceUid};
use crate::limits::{PAGE, SECTOR};
use crate::manifest::ManifestName;
use crate::paths::{ENGINE_FILE, LOCK_FILE, Named, RESERVE_FILE, SPACE_FILE, WAL_DIR};
use crate::twice;
use std::sync::Arc;

/// An entry of a data root that is no space, and why it was left alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ignored {
    /// Its name; bytes that are no UTF-8 are replaced for display.
    pub name: String,
    /// Why it is no space.
    pub why: &'static str,
}

/// What a look at the root found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) spaces: Vec<SpaceId>,
    pub(crate) creating: Vec<String>,
    pub(crate) deleted: Vec<String>,
    pub(crate) ignored: Vec<Ignored>,
    /// There is a file of the reserve's name.
    pub(crate) has_reserve: bool,
}

fn failed(e: IoError) -> Error {
    Error::io("the data root could not be read", e).with_kind(ErrorKind::Failed)
}

/// Takes the root's lock.
pub(crate) async fn lock(root: &Arc<dyn Dir>) -> Result<LockGuard> {
    root.lock(LOCK_FILE).await.map_err(|e| match &e.kind {
        IoErrorKind::Locked(holder) => Error::rejected(
            Rejected::Locked,
            format!("the data root is open in another process ({})", holder.trim()),
        )
        .at_path(root.path())
        .advice("Close it there first; nothing was done."),
        _ => Error::io("the data root could not be locked", e),
    })
}

/// Sorts the root's entries into spaces, spaces under way, and what is none of ours.
pub(crate) async fn look(root: &Arc<dyn Dir>) -> Result<Found> {
    let mut found = Found::default();
    let mut entries = root.list().await.map_err(failed)?;
    entries.sort_unstable();
    for entry in entries {
        let shown = entry.name.to_string_lossy().into_owned();
        let ignore = |why| Ignored { name: shown.clone(), why };
        let Ok(name) = entry.name.into_string() else {
            found.ignored.push(ignore("its name is not UTF-8"));
            continue;
        };
        match Named::of(&name) {
            _ if name == LOCK_FILE || name == ENGINE_FILE => {}
            _ if name == RESERVE_FILE && entry.kind == EntryKind::File => found.has_reserve = true,
            _ if entry.kind != EntryKind::Dir => found.ignored.push(ignore("it is no directory")),
            Named::Creating => found.creating.push(name),
            Named::Deleted => found.deleted.push(name),
            Named::Space(id) => match holds_a_space(root, &name).await? {
                true => found.spaces.push(id),
                false => found.ignored.push(ignore("it holds neither SPACE nor a manifest nor wal/")),
            },
            Named::Other => found.ignored.push(ignore("its name is no space's")),
        }
    }
    found.spaces.sort_unstable();
    Ok(found)
}

/// A directory whose name is an id and that holds SPACE, a manifest or wal/ *is* a space, however damaged.
async fn holds_a_space(root: &Arc<dyn Dir>, name: &str) -> Result<bool> {
    let dir = match root.open_dir(name).await {
        Ok(dir) => dir,
        // It cannot be looked into now: then it is a space that cannot be opened now, never something to create over.
        Err(_) => return Ok(true),
    };
    if dir.metadata(SPACE_FILE).await.is_ok() {
        return Ok(true);
    }
    let Ok(entries) = dir.list().await else { return Ok(true) };
    Ok(entries.iter().any(|e| {
        e.name.to_str().is_some_and(|n| n == SPACE_FILE || n == WAL_DIR || ManifestName::parse(n).is_some())
    }))
}

/// First bytes of `.engine`.
pub(crate) const MAGIC: [u8; 8] = *b"BHENGINE";
const CRC_AT: usize = 16;
/// Format level of data roots that this release writes.
pub const ROOT_LEVEL: u32 = 1;
const NO_FILE: FileUid = FileUid::from_raw(0);

/// The content of `.engine`.
///
/// ```text
/// file := page, the same page again (its offset in the checksum)
/// page := magic [u8;8] "BHENGINE" · tag u64 · crc u32 · level u32 · root uid [u8;16] · zeros up to 4096
/// ```
#[must_use]
pub fn encode_engine_file(uid: SpaceUid) -> Vec<u8> {
    let tag = identity_tag(uid, NO_FILE, Piece::EngineFile);
    let mut file = Vec::with_capacity(2 * PAGE);
    for copy in 0..2 {
        let start = copy * PAGE;
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&ROOT_LEVEL.to_le_bytes());
        file.extend_from_slice(&uid.0);
        file.resize(start + PAGE, 0);
        let crc = checksum(tag, start as u64, &file[start..], CRC_AT);
        file[start + CRC_AT..start + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    }
    file
}

/// The root's uid, if one of the pages of `file` verifies.
#[must_use]
pub fn decode_engine_file(file: &[u8]) -> Option<SpaceUid> {
    engine_file_copies(file).into_iter().flatten().next()
}

/// What each of the two pages of `file` says, as far as it verifies: for a look at a damaged file.
pub(crate) fn engine_file_copies(file: &[u8]) -> [Option<SpaceUid>; 2] {
    [0, PAGE].map(|start| {
        let page = file.get(start..start + PAGE)?;
        let mut r = Reader::new(page);
        if r.array()? != MAGIC {
            return None;
        }
        let tag = r.u64()?;
        if checksum(tag, start as u64, page, CRC_AT) != r.u32()? || r.u32()? != ROOT_LEVEL {
            return None;
        }
        let uid = SpaceUid(r.array()?);
        let ours = tag == identity_tag(uid, NO_FILE, Piece::EngineFile);
        (ours && is_zero(r.rest())).then_some(uid)
    })
}

/// Whether a page of `file` is whole and of a format level above this release's.
fn is_of_a_newer_release(file: &[u8]) -> bool {
    [0, PAGE].into_iter().filter_map(|start| Some((start, file.get(start..start + PAGE)?))).any(
        |(start, page)| {
            let mut r = Reader::new(page);
            let fields = (|| Some((r.array()?, r.u64()?, r.u32()?, r.u32()?)))();
            fields.is_some_and(|(magic, tag, crc, level): ([u8; 8], u64, u32, u32)| {
                magic == MAGIC && level > ROOT_LEVEL && checksum(tag, start as u64, page, CRC_AT) == crc
            })
        },
    )
}

/// Whether `file` verifies or may be what a crash left of one that was being made: of its sectors some are missing or empty.
fn may_be_half_made(file: &[u8]) -> bool {
    let begins = |sector: &[u8]| sector.starts_with(&MAGIC) || MAGIC.starts_with(sector);
    let sectors = file.chunks(SECTOR).enumerate();
    let each = |(at, sector): (usize, &[u8])| {
        is_zero(sector) || (at * SECTOR).is_multiple_of(PAGE) && begins(sector)
    };
    decode_engine_file(file).is_some() || file.len() <= 2 * PAGE && sectors.into_iter().all(each)
}

/// Reads `.engine`, or writes it into a root that has none. It is durable before the first space can be made; so while
/// there is no space its making may have been cut short, and what can be read of it may be in memory alone: it is made
/// again then, with the same uid if it has one.
pub(crate) async fn identify(env: &Arc<dyn Env>, root: &Arc<dyn Dir>, has_spaces: bool) -> Result<()> {
    let existing = match root.open(ENGINE_FILE, Access::ReadRaw).await {
        Ok(file) => {
            let read = twice::read(&file, 2 * PAGE).await.map_err(failed)?;
            match read.lost {
                Some(e) if decode_engine_file(&read.bytes).is_none() => return Err(failed(e)),
                _ => Some(read.bytes),
            }
        }
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(failed(e)),
    };
    let damaged = |what: &str| {
        Error::corrupt(what)
            .at_path(root.path().join(ENGINE_FILE))
            .expected(format!("a data root of format level {ROOT_LEVEL}"))
            .advice(
                "It was written by a newer release, or is damaged; restore the file. Nothing was touched.",
            )
    };
    if existing.as_deref().is_some_and(is_of_a_newer_release) {
        return Err(damaged("the data root's identity is of a format level that this release does not know"));
    }
    if !has_spaces && existing.as_deref().is_some_and(|file| !may_be_half_made(file)) {
        return Err(Error::corrupt(
            "there is a file of the name that a data root has its identity in, and it is none",
        )
        .at_path(root.path().join(ENGINE_FILE))
        .advice("Choose another directory, or move the file away if it is not needed. It was not touched."));
    }
    let made_before = existing.is_some();
    let found = existing.map(|bytes| decode_engine_file(&bytes));
    match found {
        Some(Some(_)) if has_spaces || crate::mutants::on("engine-file-trusted") => return Ok(()),
        Some(None) if has_spaces => return Err(damaged("the data root's identity does not verify")),
        None if has_spaces => {
            return Err(damaged("the data root's identity is missing although it holds spaces"));
        }
        _ => {}
    }
    let made = |e| Error::io("the data root could not be made", e);
    if made_before {
        root.remove(ENGINE_FILE).await.map_err(made)?;
    }
    let uid = found.flatten().unwrap_or_else(|| {
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&env.entropy(Owner::ENGINE).to_be_bytes());
        uid[8..].copy_from_slice(&env.entropy(Owner::ENGINE).to_be_bytes());
        SpaceUid(uid)
    });
    let file = root.create(ENGINE_FILE).await.map_err(made)?;
    file.write_at(0, encode_engine_file(uid)).await.map_err(made)?;
    file.sync().await.map_err(made)?;
    root.sync().await.map_err(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_file_round_trips_and_one_whole_page_is_enough() {
        let uid = SpaceUid([5; 16]);
        let file = encode_engine_file(uid);
        assert_eq!(decode_engine_file(&file), Some(uid));
        for copy in 0..2 {
            let mut torn = file.clone();
            torn[copy * PAGE + 30] ^= 4;
            assert_eq!(decode_engine_file(&torn), Some(uid));
            torn[(1 - copy) * PAGE + 3000] ^= 4;
            assert_eq!(decode_engine_file(&torn), None);
        }
    }
}
