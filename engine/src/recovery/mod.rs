//! Opening a space: phases in order, each restartable, each a crash site like any other.
//!
//! 1. SPACE, then the manifest with the highest generation that verifies.
//! 2. Look, change nothing: every file that the manifest names, and the log.
//! 3. Decide, by the table in [`cases`].
//! 4. Where the log was not sealed: fresh segment, raised epoch, copy forward what is not proven durable, sync, switch
//!    the manifest. Recovery never appends to a log that it did not write and relies on no sync of bytes that an
//!    earlier process wrote.
//! 5. Then remove files of ours that the manifest does not name; unknown names are left alone.
pub mod cases;
mod copy;
mod log;
mod opened;
mod repair;
mod report;
mod sweep;
mod tables;

pub(crate) use opened::{Dirs, Opened};
pub use repair::RepairPlan;
pub(crate) use repair::{Readable, plan, readable, repair};
pub(crate) use report::lsn_text;
pub use report::{Damage, RecoveryReport, RecoveryStatus};
pub(crate) use sweep::sweep;

use crate::context::Context;
use crate::env::{Access, Dir, EntryKind, IoError, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{IDENTITY_LEN, Identity};
use crate::ids::{Generation, SpaceId, SpaceUid};
use crate::limits::MANIFEST_MAX;
use crate::manifest::{Current, Edit, ManifestName, SegmentEnd, decode};
use crate::paths::{QUARANTINE_DIR, SPACE_FILE, WAL_DIR};
use crate::twice;
use cases::Verdict;
use log::{Log, Unreadable};
use std::sync::Arc;

/// A space that could not be opened: the error, and the report all the same.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) error: Error,
    pub(crate) report: RecoveryReport,
}

/// Opens the space `id` in the directory of its name under `root`.
pub(crate) async fn recover(
    context: &Arc<Context>,
    root: &Arc<dyn Dir>,
    id: &SpaceId,
) -> std::result::Result<Opened, Box<NotOpened>> {
    let started = context.env.now();
    let mut report = RecoveryReport::new(id);
    let result = open(context, root, id, &mut report).await;
    report.micros = u64::try_from(context.env.now().saturating_sub(started).as_micros()).unwrap_or(u64::MAX);
    match result {
        Ok(mut opened) => {
            tracing::info!(space = %id, status = ?report.status, commits = report.commits, "space recovered");
            opened.report = report;
            Ok(opened)
        }
        Err(error) => {
            let error = error.in_space(id);
            report.fails(&error);
            tracing::error!(space = %id, error = %error, "space not opened");
            Err(Box::new(NotOpened { error, report }))
        }
    }
}

async fn open(
    context: &Arc<Context>,
    root: &Arc<dyn Dir>,
    id: &SpaceId,
    report: &mut RecoveryReport,
) -> Result<Opened> {
    let root = root.as_owner(Owner::of(id));
    let space = open_space_dir(&root, id).await?;
    let identity = read_identity(&space, id).await?;
    let (current, past) = read_manifest(&space, id, Some(identity.uid)).await?;
    if past == Past::Repaired && !crate::mutants::on("repair-believed-unsynced") {
        // SPACE may be seen by the name that a repair gave it and that is not durable, if that was cut short there.
        space.sync().await.map_err(failed("the space's directory could not be synced"))?;
    }
    let dirs = open_dirs(space).await?;
    report.tables = current.manifest.version.tables.count() as u64;
    tables::look(&dirs, &current.manifest.version, report).await?;
    let log = read_log(&dirs, &current, report).await?;
    let row = cases::decide(&log.facts);
    report.case = row.label;
    if row.verdict == Verdict::CutAndCopyForward {
        report.status = RecoveryStatus::TornTail;
    }
    match row.verdict {
        Verdict::Fail | Verdict::Corrupt => Err(missing_commits(&dirs, &log, report)),
        Verdict::Serve => Ok(serve(id, dirs, current, log, report)),
        Verdict::CutAndCopyForward if crate::mutants::on("append-after-torn-tail") && log.tail.is_some() => {
            copy::append_behind(context, id, dirs, current, log, report).await
        }
        Verdict::CopyForward | Verdict::CutAndCopyForward => {
            let opened = copy::copy_forward(context, id, dirs, current, log, None, report).await?;
            sweep(id, &opened.dirs, &opened.current, &|_| false).await;
            Ok(opened)
        }
    }
}

fn failed(what: &'static str) -> impl Fn(IoError) -> Error {
    move |e| Error::io(what, e).with_kind(ErrorKind::Failed)
}

async fn open_space_dir(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<Arc<dyn Dir>> {
    root.open_dir(&id.dir_name()).await.map_err(failed("the space's directory could not be opened"))
}

async fn open_dirs(space: Arc<dyn Dir>) -> Result<Dirs> {
    match space.open_dir(WAL_DIR).await {
        Ok(wal) => Ok(Dirs::new(space, wal)),
        Err(e) if e.is_not_found() => {
            Err(Error::corrupt("the log's directory is missing").at_path(space.path().join(WAL_DIR)))
        }
        Err(e) => Err(failed("the log's directory could not be opened")(e)),
    }
}

async fn read_log(dirs: &Dirs, current: &Current, report: &mut RecoveryReport) -> Result<Log> {
    let manifest = &current.manifest;
    log::read(&dirs.wal, manifest.identity.uid, &manifest.version, report).await.map_err(|why| match why {
        Unreadable::Io(e) => {
            report.case = cases::ROWS[0].label;
            failed("the log could not be read")(e)
        }
        Unreadable::Newer { file } => {
            Error::new(ErrorKind::Failed, "the log holds operations that this release does not know")
                .at_path(dirs.wal.path().join(file))
                .advice("Open it with the release that wrote it.")
        }
    })
}

fn missing_commits(dirs: &Dirs, log: &Log, report: &mut RecoveryReport) -> Error {
    if let Some((damage, what)) = &log.damage {
        return Error::corrupt(what).at_path(dirs.space.path().join(&damage.file)).at_offset(damage.offset);
    }
    let (file, offset) = match &log.tail {
        Some(tail) => (format!("wal/{}", tail.id.file_name()), tail.scanned.end.offset),
        None => (WAL_DIR.to_owned(), 0),
    };
    let error = Error::corrupt(format!(
        "the log is damaged: commits after LSN {} were durable and are missing",
        log.last
    ))
    .at_path(dirs.space.path().join(&file))
    .at_offset(offset);
    report.damage = Some(Damage { file, offset });
    error
}

/// A sealed log: nothing is written. The first commit's switch will name how it ended.
fn serve(id: &SpaceId, dirs: Dirs, current: Current, log: Log, report: &RecoveryReport) -> Opened {
    assert_eq!(log.proven.last, log.last, "a seal proves all commits in front of it");
    let edits = ending_edits(&current, &log, log.tail.as_ref().map(|_| log.proven));
    let before = log.tail.as_ref().map(|_| copy::link_of(&log, &current.manifest.version.apply(&edits)));
    Opened {
        id: id.clone(),
        dirs,
        current,
        mem: log.mem,
        durable: log.last,
        before,
        edits,
        resume: None,
        log_bytes: report.bytes,
        report: report.clone(),
    }
}

/// The edits that say how the log ended: its predecessor's end, the tail's end (or the tail dropped, where nothing in
/// it is kept), and unused segments dropped.
fn ending_edits(current: &Current, log: &Log, end: Option<crate::wal::scan::Boundary>) -> Vec<Edit> {
    let mut edits: Vec<Edit> = log.unused.iter().map(|s| Edit::Drop { file: s.file }).collect();
    if let Some((id, end)) = log.before_tail {
        edits.push(Edit::End { file: id.file, end });
    }
    let (Some(tail), Some(end)) = (&log.tail, end) else { return edits };
    let listed = current.manifest.version.segments.iter().find(|s| s.file == tail.id.file);
    if listed.is_some_and(|s| s.end.is_none()) {
        let kept = tail.scanned.link.is_some_and(|l| end.last > l.last);
        edits.push(if kept {
            let end = SegmentEnd { len: end.offset, last: end.last, chain: end.chain };
            Edit::End { file: tail.id.file, end }
        } else {
            Edit::Drop { file: tail.id.file }
        });
    }
    edits
}

async fn read_identity(space: &Arc<dyn Dir>, id: &SpaceId) -> Result<Identity> {
    let path = space.path().join(SPACE_FILE);
    let read = async {
        let file = space.open(SPACE_FILE, Access::ReadStrict).await?;
        twice::read(&file, IDENTITY_LEN).await
    };
    let unverified = |what: &str| {
        Error::new(ErrorKind::Failed, what)
            .at_path(&path)
            .expected(format!("the identity of space {id:?}"))
            .advice("Nothing was touched; repair can rebuild the file from a manifest.")
    };
    let unread = |e| Err(Error::io("the identity file could not be read", e).with_kind(ErrorKind::Failed));
    let (bytes, lost) = match read.await {
        Ok(read) => (read.bytes, read.lost),
        Err(e) if e.is_not_found() => return Err(unverified("the identity file is missing")),
        Err(e) => return unread(e),
    };
    let identity = match (Identity::decode(&bytes), lost) {
        (Some(identity), _) => identity,
        (None, Some(e)) => return unread(e),
        (None, None) => return Err(unverified("the identity file does not verify")),
    };
    if identity.id != *id {
        return Err(unverified(&format!("the identity file is that of space {:?}", identity.id)));
    }
    Ok(identity)
}

/// The uid of the space `id`, as SPACE says or else the manifest in effect; `None` if neither verifies.
///
/// # Errors
/// A file that may tell could not be read now.
pub(crate) async fn uid_of(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<Option<SpaceUid>> {
    let read = |e: Error| if e.io_error().is_some() { Err(e) } else { Ok(None) };
    let space = open_space_dir(root, id).await?;
    match read_identity(&space, id).await {
        Ok(identity) => Ok(Some(identity.uid)),
        Err(unread) => {
            // What the manifest says counts even where SPACE could not be read.
            let said = read_manifest(&space, id, None).await;
            let said = said.map(|(current, _)| Some(current.manifest.identity.uid)).or_else(read)?;
            said.map_or_else(|| read(unread), |uid| Ok(Some(uid)))
        }
    }
}

/// Whether anybody ever ordered a repair that set something aside or rebuilt the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    Untouched,
    Repaired,
}

/// The manifest in effect: the highest that verifies.
async fn read_manifest(space: &Arc<dyn Dir>, id: &SpaceId, uid: Option<SpaceUid>) -> Result<(Current, Past)> {
    let failed = failed("the manifest could not be read");
    let entries = space.list().await.map_err(&failed)?;
    let repaired = entries.iter().any(|e| e.kind == EntryKind::Dir && e.name == QUARANTINE_DIR);
    let past = if repaired { Past::Repaired } else { Past::Untouched };
    let names: Vec<String> = entries
        .into_iter()
        .filter(|e| e.kind == EntryKind::File)
        .filter_map(|e| e.name.into_string().ok())
        .collect();
    let mut manifests: Vec<ManifestName> = names.iter().filter_map(|n| ManifestName::parse(n)).collect();
    manifests.sort_unstable();
    let highest = manifests.last().map_or(Generation::from_raw(0), |m| m.generation);
    for name in manifests.iter().rev() {
        let file = space.open(&name.file_name(), Access::ReadRaw).await.map_err(&failed)?;
        let len = file.len().await.map_err(&failed)?.min(2 * MANIFEST_MAX as u64 + 1);
        let read = twice::read(&file, len as usize).await.map_err(&failed)?;
        let manifest = decode(&read.bytes, *name, uid).filter(|m| m.identity.id == *id);
        if let (None, Some(e)) = (&manifest, read.lost) {
            return Err(failed(e));
        }
        if let Some(manifest) = manifest {
            let stale = manifests.iter().filter(|m| *m != name).map(ManifestName::file_name).collect();
            return Ok((Current { manifest, highest, stale }, past));
        }
    }
    Err(Error::new(ErrorKind::Failed, format!("none of {} manifests verifies", manifests.len()))
        .at_path(space.path())
        .expected(format!(
            "a manifest of space {id:?}{}",
            uid.map_or(String::new(), |u| format!(" with uid {u}"))
        ))
        .advice("Nothing was touched; look at what repair would keep."))
}
