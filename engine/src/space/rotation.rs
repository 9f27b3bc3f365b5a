//! Log space ahead of need: making, allocating, syncing and listing the next segment, or growing it.
//!
//! A segment that the manifest in effect does not list does not exist: the commit line gets it only after the switch.
use super::change::{Refused, change};
use super::incarnation::{Core, Incarnation, Phase, Preparing};
use super::layers::Layers;
use super::rest::LOG_FILES;
use crate::codec::align_up;
use crate::env::{File, IoError};
use crate::error::Error;
use crate::ids::{Epoch, FileUid, Lsn};
use crate::limits::{PAGE, SEGMENT_HARD_MAX, SEGMENTS_MAX};
use crate::manifest::Edit;
use crate::mutants;
use crate::recovery::Dirs;
use crate::reserve::{Asked, Lent, Takes};
use crate::wal::commit::Spare;
use crate::wal::segment::{SegmentId, encode_header};
use std::sync::Arc;
use std::task::Waker;

/// Why there is no more log space.
enum Failure {
    /// The file and its job were abandoned; nothing names it. Trying again later is safe.
    Abandoned(IoError),
    /// The manifest lists as many segments as it can; nothing was done.
    Full,
    /// The space was fenced meanwhile; nothing was done.
    Fenced,
    /// A directory or the manifest of the space is in doubt: the space must be fenced.
    InDoubt(IoError),
}

/// Does what `what` says and tells the commit line.
pub(super) async fn prepare(space: Arc<Incarnation>, what: Preparing) {
    let reserve = &space.context.reserve;
    // Made with the first log space of an engine, and again once there is room.
    let _ = reserve.refill().await;
    let (mut may_take, mut asked) = (false, Asked::default());
    let result = loop {
        let result = match what {
            Preparing::Segment(min) => segment(&space, min).await,
            Preparing::Growth(min) => grow(&space, min).await,
            Preparing::Nothing | Preparing::UnderWay => Ok(()),
        };
        let Err(Failure::Abandoned(io)) = &result else { break result };
        may_take = space.core().log_takes_reserve;
        let lacks_room = io.is_no_space() && !mutants::on("deletes-without-a-reserve");
        if !lacks_room || !may_take || reserve.lend(least(&space, what), &mut asked).await == Lent::No {
            break result;
        }
    };
    let free = match &result {
        Err(Failure::Abandoned(io)) if io.is_no_space() => reserve.free().await,
        _ => None,
    };
    let mut wakers: Vec<Waker> = Vec::new();
    let mut core = space.core();
    core.preparing = Preparing::Nothing;
    core.log_failed = None;
    let takes_reserve = std::mem::take(&mut core.log_takes_reserve);
    match result {
        Err(Failure::Abandoned(io)) if io.is_no_space() && takes_reserve && !may_take => {
            // A delete came after it had been looked whether one waits.
            core.log_takes_reserve = true;
            core.preparing = what;
        }
        Ok(()) => core.room.changed(None, &mut wakers),
        Err(Failure::Abandoned(io)) => {
            tracing::warn!(space = %space.id, error = %io, "no log space could be prepared");
            let mut error = Error::io("log space could not be reserved", io).in_space(&space.id);
            if let Some(free) = free {
                error = error.expected(format!("{} bytes of room, and {free} are free", least(&space, what)));
            }
            core.log_fails(error, &mut wakers);
        }
        Err(Failure::Fenced) => {}
        Err(Failure::Full) => {
            core.log_fails(Error::too_many_files().in_space(&space.id), &mut wakers);
        }
        Err(Failure::InDoubt(io)) => {
            space.fence(&mut core, Error::io("the log's files could not be made durable", io), &mut wakers);
        }
    }
    drop(core);
    wakers.into_iter().for_each(Waker::wake);
    space.wake_driver();
    space.context.budget.relieve_log();
}

impl Core {
    /// Whether log space should be prepared ahead of need.
    pub(super) fn wants_segment(&self) -> bool {
        let open = matches!(self.phase, Phase::Open) && self.log_failed.is_none();
        open && self.preparing == Preparing::Nothing && self.line.wants_spare()
    }

    /// No log space could be prepared: whoever waits for some is told.
    fn log_fails(&mut self, error: Error, wakers: &mut Vec<Waker>) {
        self.room.changed(Some(error.clone()), wakers);
        self.log_failed = Some(error);
    }
}

/// Bytes without which there is no log space of this kind.
fn least(space: &Incarnation, what: Preparing) -> u64 {
    match what {
        Preparing::Segment(min) => align_up(min.max(space.context.config.segment_first()), PAGE as u64),
        Preparing::Growth(min) => align_up(min, PAGE as u64),
        Preparing::Nothing | Preparing::UnderWay => 0,
    }
}

async fn segment(space: &Arc<Incarnation>, min: u64) -> Result<(), Failure> {
    let dirs = space.home.dirs().await.map_err(Failure::Abandoned)?;
    hold_log_files(space).await;
    let config = &space.context.config;
    let (version, made) = {
        let core = space.core();
        if core.current.manifest.version.segments_after(&core.edits) >= SEGMENTS_MAX {
            return Err(Failure::Full);
        }
        (core.current.manifest.version.clone(), core.segments_made)
    };
    // A few segments are to fit into what the log may take, so that it can be cut in steps; and into a memtable: none
    // holds commits of two, so what a flush leaves of the last one is allocated in vain.
    let tiers = space.tiers();
    let few = (tiers.log_bytes().min(tiers.memtable_bytes()) / 4).max(config.segment_first());
    let most = config.segment_max().min(few);
    let regular = config.segment_first().saturating_mul(1 << made.min(40)).min(most);
    let least = align_up(min.max(config.segment_first().min(regular)), PAGE as u64);
    let wanted = align_up(regular.max(min), PAGE as u64);
    assert!(wanted <= SEGMENT_HARD_MAX, "a segment of {wanted} bytes is longer than any batch needs");
    let id = SegmentId {
        space: space.core().current.manifest.identity.uid,
        file: FileUid::from_raw(space.context.env.entropy(space.owner)),
        number: version.next_segment,
    };
    let made = match make(space, &dirs, id, wanted).await {
        Err(e) if e.is_no_space() && least < wanted => make(space, &dirs, id, least).await,
        other => other,
    };
    let spare = made.map_err(Failure::Abandoned)?;
    if !mutants::on("no-dir-sync-after-segment-create") {
        dirs.wal.sync().await.map_err(Failure::InDoubt)?;
    }
    let early = mutants::on("segment-used-before-listed");
    let mut spare = Some(spare);
    if early {
        let epoch = version.epoch;
        let mut core = space.core();
        let epoch = if core.line.has_epoch() { epoch } else { epoch.next().expect("epochs left") };
        hand_over(&mut core, spare.take(), epoch);
    }
    let plan = |core: &Core| {
        let flushed = core.current.manifest.version.flushed;
        let below = mutants::on("lsn-below-flushed") && space.recovered == flushed && flushed > Lsn::ZERO;
        let raise = (!core.line.has_epoch() && !below).then_some(Edit::RaiseEpoch { last: space.recovered });
        raise.into_iter().chain([Edit::Add { number: id.number, file: id.file }]).collect()
    };
    let install = |core: &mut Core, _: &mut Layers| {
        core.segments_made += 1;
        let epoch = core.current.manifest.version.epoch;
        hand_over(core, spare.take(), epoch);
    };
    let takes = if space.core().log_takes_reserve { Takes::Reserve } else { Takes::Nothing };
    match change(space, takes, plan, install).await {
        Ok(()) => Ok(()),
        Err(refused) => {
            if !matches!(refused, Refused::InDoubt(_)) {
                let _ = dirs.wal.remove(&id.file_name()).await;
            }
            Err(match refused {
                Refused::Fenced => Failure::Fenced,
                Refused::Full => Failure::Full,
                Refused::NotWritten(io) => Failure::Abandoned(io),
                Refused::InDoubt(io) => Failure::InDoubt(io),
            })
        }
    }
}

/// Takes what the log needs of the descriptors, unless it has it.
async fn hold_log_files(space: &Arc<Incarnation>) {
    if space.core().log_files.is_none() {
        let (context, owner) = (&space.context, space.owner);
        let held = context.descriptors.acquire(LOG_FILES, &*context.env, owner).await;
        space.core().log_files = Some(held);
    }
}

/// Gives the commit line its new segment and, at the first of an opening, its epoch.
fn hand_over(core: &mut Core, spare: Option<Spare<Arc<dyn File>>>, epoch: Epoch) {
    let Some(spare) = spare else { return };
    if core.line.is_fenced() {
        return;
    }
    if !core.line.has_epoch() {
        let mut first = epoch.first_lsn();
        if mutants::on("lsn-reuse-after-torn-tail") {
            first = first.max(Lsn::from_raw(core.line.last().raw() + 1));
        }
        core.line.begin_epoch(first);
    }
    core.line.set_spare(spare);
}

/// Creates, allocates and syncs a segment file. On failure the file is removed again, as far as that works.
async fn make(
    space: &Arc<Incarnation>,
    dirs: &Dirs,
    id: SegmentId,
    capacity: u64,
) -> Result<Spare<Arc<dyn File>>, IoError> {
    let name = id.file_name();
    let epoch = space.version().epoch;
    space.core().note_made(id.file);
    let file = dirs.wal.create(&name).await?;
    let (header, header_crc) = encode_header(id, epoch, capacity);
    let made = async {
        file.allocate(capacity).await?;
        file.write_at(0, header).await?;
        file.sync().await
    }
    .await;
    match made {
        Ok(()) => Ok(Spare { id, file, capacity, header_crc }),
        Err(e) => {
            drop(file);
            let _ = dirs.wal.remove(&name).await;
            Err(e)
        }
    }
}

/// Grows the spare for a commit that is larger than a regular segment. A sync of it that fails is the log's: what the disk
/// did not take may be the header.
async fn grow(space: &Arc<Incarnation>, min: u64) -> Result<(), Failure> {
    let Some((id, file)) = space.core().line.begin_growth() else { return Ok(()) };
    let capacity = align_up(min, PAGE as u64);
    let grown = async {
        file.allocate(capacity).await.map_err(Failure::Abandoned)?;
        file.sync().await.map_err(Failure::InDoubt)
    }
    .await;
    // After a failed sync nothing goes there any more: the fence comes, and until then it goes on growing.
    if !matches!(grown, Err(Failure::InDoubt(_))) {
        space.core().line.growth_ended(id, grown.is_ok().then_some(capacity));
    }
    grown
}
