//! Copying forward: what this process did not write itself it does not rely on.
//!
//! After a failed sync the page cache may hold bytes that the disk does not, and a later sync says Ok all the same. So
//! accepted frames that nothing proves durable are written anew, into a segment of this process, and synced there.
use super::ending_edits;
use super::log::{Log, Segment};
use super::opened::{Dirs, Opened};
use super::report::RecoveryReport;
use crate::codec::align_up;
use crate::context::Context;
use crate::env::{File, IoError, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{FileUid, SpaceId};
use crate::limits::{PAGE, SECTOR};
use crate::manifest::{Current, Edit, Version, switch};
use crate::mutants;
use crate::reserve::{Asked, Lent, Takes};
use crate::wal::commit::{Resume, Spare, segment_for};
use crate::wal::frame::{FRAME_ALIGN, Frame, FrameHead, FrameKind, Link, Place, begin, finish, put_mark};
use crate::wal::scan::Boundary;
use crate::wal::segment::{SEGMENT_HEADER, SegmentId, encode_header};
use std::sync::Arc;

/// Writes the fresh segment, raises the epoch and switches the manifest; then the space can be served. `ending` are
/// the edits that say how the log ended, where that is not what it says itself.
pub(super) async fn copy_forward(
    context: &Arc<Context>,
    id: &SpaceId,
    dirs: Dirs,
    current: Current,
    log: Log,
    ending: Option<Vec<Edit>>,
    report: &mut RecoveryReport,
) -> Result<Opened> {
    let owner = Owner::of(id);
    let version = &current.manifest.version;
    let segment = SegmentId {
        space: current.manifest.identity.uid,
        file: FileUid::from_raw(context.env.entropy(owner)),
        number: version.next_segment,
    };
    let kept = if mutants::on("sync-instead-of-copy-forward") {
        log.tail.as_ref().map(|t| t.scanned.end)
    } else {
        log.tail.as_ref().map(|_| log.proven)
    };
    if mutants::on("sync-instead-of-copy-forward")
        && let Some(tail) = &log.tail
        && let Ok(file) = dirs.wal.open(&tail.id.file_name(), crate::env::Access::Write).await
    {
        let _ = file.sync().await;
    }
    let repairs = ending.is_some();
    let mut edits = ending.unwrap_or_else(|| ending_edits(&current, &log, kept));
    edits.push(Edit::RaiseEpoch { last: log.last });
    edits.push(Edit::Durable { lsn: log.last });
    edits.push(Edit::Add { number: segment.number, file: segment.file });
    if !version.has_room(&edits) {
        return Err(Error::too_many_files());
    }
    let next = version.apply(&edits);

    let link = link_of(&log, &next);
    let frames = match (&log.tail, kept) {
        (Some(tail), Some(kept)) => unproven(tail, kept),
        _ => Vec::new(),
    };
    let least = segment_for(0) + frames.iter().map(|f| f.len() as u64).sum::<u64>() + SECTOR as u64;
    let capacity = align_up(context.config.segment_first().max(least + segment_for(0)), PAGE as u64);
    let header = encode_header(segment, next.epoch, capacity);
    let (bytes, chain, header_crc) = encode(segment, header, frames, link, report);
    let offset = bytes.len() as u64;
    assert!(offset + segment_for(0) <= capacity, "there is room behind what was copied");
    let failed = |e: IoError| {
        let kind = if e.is_no_space() { ErrorKind::NoSpace } else { ErrorKind::Failed };
        Error::io("recovery could not write", e)
            .with_kind(kind)
            .advice("Nothing was lost; open the space again.")
    };
    let syncs = !(repairs && mutants::on("repair-copy-unsynced"));
    let mut asked = Asked::default();
    let file = loop {
        match make(&dirs, segment, capacity, &bytes, syncs).await {
            // Whoever cannot open a space cannot empty it either.
            Err(e) if e.is_no_space() && context.reserve.lend(capacity, &mut asked).await == Lent::Yes => {}
            made => break made.map_err(failed)?,
        }
    };
    dirs.wal.sync().await.map_err(failed)?;
    let switched = context.switch(owner, &dirs.space, &current, &next, Takes::Reserve).await;
    let current = switched.map_err(|e| failed(e.io()))?;
    let spare = Spare { id: segment, file, capacity, header_crc };
    Ok(Opened {
        id: id.clone(),
        dirs,
        current,
        mem: log.mem,
        durable: log.last,
        before: Some(link),
        edits: Vec::new(),
        resume: Some(Resume { spare, offset, chain }),
        log_bytes: report.bytes,
        report: report.clone(),
    })
}

/// Writes the fresh segment. One that comes to nothing is removed: nothing names it, and left there it would take room from
/// the next try.
async fn make(
    dirs: &Dirs,
    segment: SegmentId,
    capacity: u64,
    bytes: &[u8],
    syncs: bool,
) -> std::result::Result<Arc<dyn File>, IoError> {
    let file = dirs.wal.create(&segment.file_name()).await?;
    let made = async {
        file.allocate(capacity).await?;
        file.write_at(0, bytes.to_vec()).await?;
        if syncs { file.sync().await } else { Ok(()) }
    };
    if let Err(e) = made.await {
        let _ = dirs.wal.remove(&segment.file_name()).await;
        return Err(e);
    }
    Ok(file)
}

/// The mutant `append-after-torn-tail`: goes on in the old segment, behind whatever the crash left there.
pub(super) async fn append_behind(
    context: &Arc<Context>,
    id: &SpaceId,
    dirs: Dirs,
    current: Current,
    log: Log,
    report: &mut RecoveryReport,
) -> Result<Opened> {
    let failed = |e: IoError| Error::io("recovery could not write", e).with_kind(ErrorKind::Failed);
    let tail = log.tail.as_ref().expect("checked by the caller");
    let file = dirs.wal.open(&tail.id.file_name(), crate::env::Access::Write).await.map_err(failed)?;
    let (torn, end) = match tail.scanned.stop {
        crate::wal::scan::Stop::Torn { bytes, .. } => (bytes, tail.scanned.end),
        crate::wal::scan::Stop::Unwritten => (0, tail.scanned.end),
    };
    let capacity = tail.len;
    let offset = align_up(end.offset + torn, SECTOR as u64);
    if offset + segment_for(0) > capacity {
        return copy_forward(context, id, dirs, current, log, None, report).await;
    }
    let next = current.manifest.version.apply(&[Edit::RaiseEpoch { last: log.last }]);
    let uid = FileUid::from_raw(context.env.entropy(Owner::of(id)));
    let current = switch(&dirs.space, &current, next, uid).await.map_err(|e| failed(e.io()))?;
    let spare = Spare { id: tail.id, file, capacity, header_crc: 0 };
    Ok(Opened {
        id: id.clone(),
        dirs,
        current,
        durable: log.last,
        before: None,
        edits: Vec::new(),
        resume: Some(Resume { spare, offset, chain: end.chain }),
        log_bytes: report.bytes,
        report: report.clone(),
        mem: log.mem,
    })
}

/// How the log in front of the next segment ended: with the tail, or where `next` no longer lists that, with what the
/// tail followed, whose place the next segment takes.
pub(super) fn link_of(log: &Log, next: &Version) -> Link {
    let Some(tail) = &log.tail else {
        return Link { file: None, len: 0, last: log.last, chain: 0 };
    };
    match next.segments.iter().find(|s| s.file == tail.id.file) {
        Some(kept) => {
            let end = kept.end.expect("a tail that is kept has ended");
            Link { file: Some(kept.file), len: end.len, last: end.last, chain: end.chain }
        }
        None => tail.scanned.link.expect("a tail begins with its link"),
    }
}

/// The whole content of the fresh segment: header, link, and the unproven frames with their old LSNs.
fn encode(
    segment: SegmentId,
    (mut out, header_crc): (Vec<u8>, u32),
    mut frames: Vec<Frame<'_>>,
    link: Link,
    report: &mut RecoveryReport,
) -> (Vec<u8>, u32, u32) {
    let tag = segment.frame_tag();
    let head = |kind, count, first, prev| FrameHead { kind, count, first, durable: link.last, prev };
    let align = |last: bool| if last { SECTOR } else { FRAME_ALIGN };
    let place = Place { tag, offset: SEGMENT_HEADER };
    let link_head = head(FrameKind::Link, 0, link.last, header_crc);
    let mut chain = put_mark(&mut out, link_head, &link.encode(), place, align(frames.is_empty()));
    let last = frames.pop();
    for (frame, is_last) in frames.iter().map(|f| (f, false)).chain(last.iter().map(|f| (f, true))) {
        let h = frame.head();
        let place = Place { tag, offset: out.len() as u64 };
        let start = begin(&mut out);
        out.extend_from_slice(frame.body());
        chain =
            finish(&mut out, start, head(FrameKind::Commits, h.count, h.first, chain), place, align(is_last));
        report.copied_forward += u64::from(h.count);
    }
    (out, chain, header_crc)
}

/// The frames of commits behind `kept`, verified once more.
fn unproven(tail: &Segment, kept: Boundary) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut offset = kept.offset;
    while offset < tail.scanned.end.offset {
        let place = Place { tag: tail.id.frame_tag(), offset };
        let frame = Frame::verify(&tail.bytes[offset as usize..], place).expect("it verified a moment ago");
        offset += frame.len() as u64;
        if frame.head().kind == FrameKind::Commits {
            frames.push(frame);
        }
    }
    frames
}
