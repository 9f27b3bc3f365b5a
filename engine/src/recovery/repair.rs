//! Repair and salvage of a space that recovery refuses: only on explicit order, and told beforehand what it costs.
//!
//! [`plan`] looks and changes nothing. [`repair`] carries out a plan if the space still is as the plan saw it: every
//! file that loses bytes is first copied to `quarantine/` and synced there; then the readable prefix becomes the
//! space's state by the same copy-forward and manifest switch as in any recovery. Each step can be repeated.
use super::Dirs;
use super::copy::copy_forward;
use super::log::Log;
use super::report::{Damage, RecoveryReport};
use super::{failed, open_dirs, open_space_dir, read_identity, read_log, read_manifest, tables};
use crate::context::Context;
use crate::env::{Access, Dir, IoError, Owner};
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::ids::{FileUid, Lsn, SpaceId};
use crate::limits::SEGMENT_HARD_MAX;
use crate::manifest::{Current, Edit, SegmentEnd, Version};
use crate::memtable::Memtable;
use crate::mutants;
use crate::paths::{QUARANTINE_DIR, SPACE_FILE, WAL_DIR};
use crate::wal::scan::Stop;
use crate::wal::segment::SegmentId;
use std::sync::Arc;

/// Where repair builds a new identity file.
const SPACE_REBUILT: &str = "SPACE.rebuilt";

/// What a repair would keep and what it would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairPlan {
    /// The space.
    pub id: SpaceId,
    /// Commits up to here are kept.
    pub kept: Lsn,
    /// How many that are, as far as the log holds them.
    pub commits: u64,
    /// At least the commits behind `kept` and up to here were durable and are lost; `None` if none is known to be.
    pub lost: Option<Lsn>,
    /// Where the log is damaged, or a file of it missing: nobody knows what else was there.
    pub damaged: Option<Damage>,
    /// Files that are copied to `quarantine/` before they lose bytes, relative to the space's directory.
    pub set_aside: Vec<String>,
    /// The identity file is rebuilt from the manifest.
    pub rebuilds_identity: bool,
    /// The manifest that this was planned on.
    seen: FileUid,
}

impl std::fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "space {:?}: keeps {} commits up to LSN {}", self.id, self.commits, self.kept)?;
        match self.lost {
            Some(lost) => {
                write!(f, "; LOSES the commits behind it, at least up to LSN {lost}, which were durable")?
            }
            None => write!(f, "; no durable commit is known to be lost")?,
        }
        if let Some(Damage { file, offset }) = &self.damaged {
            write!(
                f,
                "; LOSES what {file} held from byte {offset} on, and all behind it, whatever that was"
            )?;
        }
        if !self.set_aside.is_empty() {
            write!(f, "; copies to {QUARANTINE_DIR}/: {}", self.set_aside.join(", "))?;
        }
        if self.rebuilds_identity {
            write!(f, "; rebuilds {SPACE_FILE} from the manifest")?;
        }
        Ok(())
    }
}

/// What of a space that cannot be opened can be read, still in its parts.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) dirs: Dirs,
    /// Tables of this version lie under the log.
    pub(crate) version: Version,
    pub(crate) mem: Memtable,
    pub(crate) last: Lsn,
}

/// What a look at a space found, whatever recovery says to it.
struct Seen {
    dirs: Dirs,
    current: Current,
    log: Log,
    plan: RepairPlan,
    report: RecoveryReport,
}

async fn look(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<Seen> {
    let root = root.as_owner(Owner::of(id));
    let space = open_space_dir(&root, id).await?;
    let identity = match read_identity(&space, id).await {
        Ok(identity) => Some(identity),
        Err(e) if e.io_error().is_none() => None,
        Err(e) => return Err(e),
    };
    let (current, _) = read_manifest(&space, id, identity.as_ref().map(|i| i.uid)).await?;
    let dirs = open_dirs(space).await?;
    let mut report = RecoveryReport::new(id);
    let log = read_log(&dirs, &current, &mut report).await?;
    let mut set_aside = Vec::new();
    if let Some(tail) = &log.tail
        && (log.damage.is_some() || tail.scanned.stop != Stop::Unwritten)
    {
        set_aside.push(format!("{WAL_DIR}/{}", tail.id.file_name()));
    }
    for entry in &log.unused {
        let id = SegmentId { space: current.manifest.identity.uid, file: entry.file, number: entry.number };
        match dirs.wal.metadata(&id.file_name()).await {
            Ok(_) => set_aside.push(format!("{WAL_DIR}/{}", id.file_name())),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(failed("the log could not be looked at")(e)),
        }
    }
    if identity.is_none() && dirs.space.metadata(SPACE_FILE).await.is_ok() {
        set_aside.push(SPACE_FILE.to_owned());
    }
    let plan = RepairPlan {
        id: id.clone(),
        kept: log.last,
        commits: report.commits,
        lost: (log.claimed > log.last).then_some(log.claimed),
        damaged: log.damage.as_ref().map(|(damage, _)| damage.clone()),
        set_aside,
        rebuilds_identity: identity.is_none(),
        seen: current.manifest.name.file,
    };
    Ok(Seen { dirs, current, log, plan, report })
}

/// Says what repair would do. Changes nothing.
pub(crate) async fn plan(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<RepairPlan> {
    let seen = look(root, id).await.map_err(|e| e.in_space(id))?;
    // What a missing table held is known to nobody, and a log cut back is no help: what would be left opens no better.
    let mut report = RecoveryReport::new(id);
    tables::look(&seen.dirs, &seen.current.manifest.version, &mut report).await.map_err(|e| match e.kind() {
        ErrorKind::Corrupt => e.in_space(id).advice(
            "Repair cuts a log back, and cannot bring back a table: restore this space from a backup. Nothing was done.",
        ),
        _ => e.in_space(id),
    })?;
    Ok(seen.plan)
}

/// Reads what can be read. Changes nothing.
pub(crate) async fn readable(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<Readable> {
    let seen = look(root, id).await.map_err(|e| e.in_space(id))?;
    let Seen { dirs, current, log, .. } = seen;
    Ok(Readable { dirs, version: current.manifest.version, mem: log.mem, last: log.last })
}

/// Carries out `ordered` if that still is what a look finds.
pub(crate) async fn repair(context: &Arc<Context>, root: &Arc<dyn Dir>, ordered: &RepairPlan) -> Result<()> {
    let id = &ordered.id;
    let Seen { dirs, current, log, plan, mut report } = look(root, id).await.map_err(|e| e.in_space(id))?;
    if plan != *ordered {
        return Err(Error::rejected(Rejected::State, "the space is no longer as the repair was planned on")
            .in_space(id)
            .advice("Plan the repair again and look at what it would lose; nothing was done."));
    }
    let done = async {
        if plan.rebuilds_identity || !plan.set_aside.is_empty() {
            quarantine(&dirs.space, &plan.set_aside).await?;
        }
        if plan.rebuilds_identity {
            rebuild_identity(&dirs.space, &current).await?;
        }
        Ok::<(), IoError>(())
    };
    done.await.map_err(|e| {
        let kind = if e.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
        Error::io("repair could not set files aside", e).with_kind(kind).in_space(id)
    })?;
    let edits = cut_back(&current, &log);
    copy_forward(context, id, dirs, current, log, Some(edits), &mut report)
        .await
        .map_err(|e| e.in_space(id))?;
    Ok(())
}

/// The edits that make the readable prefix the whole of the log.
fn cut_back(current: &Current, log: &Log) -> Vec<Edit> {
    let mut edits: Vec<Edit> = log.unused.iter().map(|s| Edit::Drop { file: s.file }).collect();
    if mutants::on("repair-keeps-behind-gap") {
        edits.clear();
    }
    if let Some((id, end)) = log.before_tail {
        edits.push(Edit::End { file: id.file, end });
    }
    let mut cut = None;
    if let Some(tail) = &log.tail {
        let end = log.proven;
        let keeps = tail.scanned.link.is_some_and(|l| end.last > l.last);
        if keeps && !mutants::on("repair-cuts-whole-segment") {
            cut = Some((tail.id.file, SegmentEnd { len: end.offset, last: end.last, chain: end.chain }));
        } else {
            edits.push(Edit::Drop { file: tail.id.file });
        }
    }
    debug_assert!(current.manifest.version.check().is_ok());
    edits.push(Edit::CutBack { last: log.last, file: cut });
    edits
}

/// Copies files to `quarantine/` and makes the copies durable. A copy that is there already is a former try's: it gets
/// a further name, and nothing in there is ever removed. The directory itself tells openings that this space was
/// repaired, and that names in it may not be durable.
async fn quarantine(space: &Arc<dyn Dir>, names: &[String]) -> std::result::Result<(), IoError> {
    if let Err(e) = space.make_dir(QUARANTINE_DIR).await
        && e.kind != crate::env::IoErrorKind::AlreadyExists
    {
        return Err(e);
    }
    let aside = space.open_dir(QUARANTINE_DIR).await?;
    let taken: Vec<String> =
        aside.list().await?.into_iter().filter_map(|e| e.name.into_string().ok()).collect();
    for name in names {
        let (dir, file) = match name.split_once('/') {
            Some((dir, file)) => (space.open_dir(dir).await?, file),
            None => (space.clone(), name.as_str()),
        };
        let source = dir.open(file, Access::ReadRaw).await?;
        let len = source.len().await?.min(SEGMENT_HARD_MAX);
        let bytes = source.read_at(0, vec![0; len as usize]).await?;
        let free =
            (0..).map(|n| format!("{file}.{n}")).find(|n| !taken.contains(n)).expect("some number is free");
        let copy = aside.create(&free).await?;
        copy.write_at(0, bytes).await?;
        copy.sync().await?;
    }
    aside.sync().await?;
    space.sync().await
}

/// Writes and syncs the identity under another name before it takes its own: so SPACE never holds bytes that only the
/// page cache has, whenever this is cut short.
async fn rebuild_identity(space: &Arc<dyn Dir>, current: &Current) -> std::result::Result<(), IoError> {
    let absent = |result: std::result::Result<(), IoError>| match result {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    };
    absent(space.remove(SPACE_REBUILT).await)?;
    let file = space.create(SPACE_REBUILT).await?;
    file.write_at(0, current.manifest.identity.encode()).await?;
    if !mutants::on("identity-rebuilt-unsynced") {
        file.sync().await?;
    }
    absent(space.remove(SPACE_FILE).await)?;
    space.rename(SPACE_REBUILT, SPACE_FILE).await?;
    space.sync().await
}
