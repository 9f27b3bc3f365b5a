//! Reading the log back: facts for the decision, and the commits. Changes nothing.
use super::cases::{Beyond, Closing, Facts, Files, Reading, Tail};
use super::report::{Damage, RecoveryReport};
use crate::codec::offset_in;
use crate::env::{Access, Dir, File, Io, IoError};
use crate::ids::{Lsn, Priority, SpaceUid};
use crate::limits::{PAGE, SEGMENT_HARD_MAX};
use crate::manifest::{SegmentEnd, SegmentEntry, Version};
use crate::memtable::{Memtable, Progress, Replay, Underneath};
use crate::mutants;
use crate::wal::frame::{Frame, FrameKind, Link};
use crate::wal::operation::{Operation, decode_commit};
use crate::wal::scan::{Boundary, Scanned, Scanner, Stop, last_nonzero, stated_end};
use crate::wal::segment::{SEGMENT_HEADER, SegmentId, verify_header};
use crate::work::yield_now;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes scanned before others get a turn.
const SCAN_STEP: usize = 1024 * 1024;
/// Fewest and most bytes read at a time where the end of a segment is looked for.
const PIECES: (usize, usize) = (16 * 1024, 1024 * 1024);
/// Segments that stay open from the look at their links until they are read: as many as are read at the same time, and
/// more than most logs have.
const KEPT_OPEN: usize = 2;
/// Enough of a segment for its header and its link.
const PEEK: usize = SEGMENT_HEADER as usize + 512;

/// A segment as it was read.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// Up to the end of its frames.
    pub(super) bytes: Bytes,
    /// Length of the file as far as it was read.
    pub(super) len: u64,
    pub(super) scanned: Scanned,
    /// The file is shorter than what was allocated and synced before it was listed, and nothing says that its log
    /// ended in front of that.
    cut: Option<Cut>,
}

/// Where a file ends, and where it has to end at least.
#[derive(Debug, Clone, Copy)]
struct Cut {
    len: u64,
    allocated: u64,
}

/// What the log holds.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) facts: Facts,
    pub(super) mem: Memtable,
    /// The segment in which the chain ends.
    pub(super) tail: Option<Segment>,
    /// How the segment in front of the tail ended, where the manifest does not say so yet.
    pub(super) before_tail: Option<(SegmentId, SegmentEnd)>,
    /// Behind the last frame that is proven durable, in the tail.
    pub(super) proven: Boundary,
    /// Listed segments behind the tail: they hold no frame that counts.
    pub(super) unused: Vec<SegmentEntry>,
    pub(super) last: Lsn,
    /// The highest LSN that anything proves to have been durable.
    pub(super) claimed: Lsn,
    /// Where the chain broke, and what was expected there. What follows was not read.
    pub(super) damage: Option<(Damage, String)>,
}

/// Why the log could not be read at all.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(IoError),
    /// Frames that verify and hold what this release does not know.
    Newer {
        file: String,
    },
}

/// Why reading stopped at a segment.
#[derive(Debug)]
enum Trouble {
    Unreadable(Unreadable),
    /// Damage, with where it is and what was expected.
    Damaged {
        damage: Damage,
        what: String,
    },
}

impl From<IoError> for Trouble {
    fn from(e: IoError) -> Trouble {
        Trouble::Unreadable(Unreadable::Io(e))
    }
}

/// The bytes of a segment on their way.
struct Incoming {
    /// Length of the file.
    size: u64,
    file: Arc<dyn File>,
    wanted: usize,
    /// Where it ends is known.
    ends: bool,
    bytes: Io<Bytes>,
}

/// Reads the log that `version` lists.
pub(super) async fn read(
    wal: &Arc<dyn Dir>,
    uid: SpaceUid,
    version: &Version,
    report: &mut RecoveryReport,
) -> Result<Log, Unreadable> {
    let mut log = Log {
        facts: Facts {
            reading: Reading::Whole,
            files: Files::AllThere,
            tail: Tail::Unwritten,
            beyond: Beyond::Nothing,
            closing: Closing::Sealed,
        },
        mem: Memtable::new(),
        tail: None,
        before_tail: None,
        proven: Boundary { offset: 0, last: version.flushed, chain: 0 },
        unused: Vec::new(),
        last: version.flushed,
        claimed: version.durable,
        damage: None,
    };
    let tables = version.tables.count() > 0;
    let underneath = if tables { Underneath::Older } else { Underneath::Nothing };
    let mut replay = Replay::onto(underneath);
    let taken = read_segments(wal, uid, version, &mut log, &mut replay, report).await;
    settle(&mut replay).await;
    log.mem = replay.finish();
    match taken {
        Ok(()) => {}
        Err(Trouble::Damaged { damage, what }) => {
            log.facts.files = Files::Damaged;
            report.damage = Some(damage.clone());
            log.damage = Some((damage, what));
            let taken = log.tail.as_ref().map(|t| t.id.number);
            log.unused =
                version.segments.iter().filter(|s| taken.is_none_or(|t| s.number > t)).copied().collect();
        }
        Err(Trouble::Unreadable(why)) => return Err(why),
    }
    conclude(&mut log, version);
    report.last_lsn = log.last;
    Ok(log)
}

/// Sorts what was taken in; others get their turn in between.
async fn settle(replay: &mut Replay) {
    while replay.settle() == Progress::More {
        yield_now().await;
    }
}

async fn read_segments(
    wal: &Arc<dyn Dir>,
    uid: SpaceUid,
    version: &Version,
    log: &mut Log,
    replay: &mut Replay,
    report: &mut RecoveryReport,
) -> Result<(), Trouble> {
    let ids: Vec<SegmentId> =
        version.segments.iter().map(|s| SegmentId { space: uid, file: s.file, number: s.number }).collect();
    let (mut links, mut kept) = (Vec::new(), VecDeque::new());
    for id in &ids {
        match peek_link(wal, *id).await {
            Err(Trouble::Unreadable(why)) => return Err(Trouble::Unreadable(why)),
            Err(damaged) => links.push(Err(damaged)),
            Ok((link, file)) => {
                if kept.len() == links.len() && kept.len() < KEPT_OPEN {
                    kept.push_back(file);
                }
                links.push(Ok(link));
            }
        }
    }
    let damaged_at = links.iter().position(Result::is_err);
    let links: Vec<Option<Link>> = links.iter().map(|l| l.as_ref().ok().copied().flatten()).collect();
    // Ends that are written down were durable, whether or not what they end can be read.
    let told = links.iter().flatten().map(|link| link.last);
    let listed = version.segments.iter().filter_map(|s| s.end).map(|end| end.last);
    log.claimed = told.chain(listed).fold(log.claimed, Lsn::max);
    // The chain ends in the last segment that has a link.
    let chained = links.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    let ends: Vec<Result<Option<SegmentEnd>, Trouble>> = (version.segments.iter().zip(&ids).enumerate())
        .map(|(i, (entry, id))| match i < chained {
            true => ending(entry, *id, links.get(i + 1).copied().flatten()),
            false => Ok(None),
        })
        .collect();
    let lens: Vec<_> = ends.iter().map(|e| e.as_ref().ok().copied().flatten().map(|e| e.len)).collect();
    let mut ahead = None;
    for (i, ((entry, id), end)) in version.segments.iter().zip(&ids).zip(ends).enumerate() {
        if damaged_at == Some(i) {
            // Its error, once more, now that everything in front of it was taken in.
            peek_link(wal, *id).await?;
        }
        let end = end?;
        let incoming = match ahead.take() {
            Some(incoming) => incoming,
            None => begin_read(wal, *id, kept.pop_front(), lens[i]).await,
        };
        // The next one is read while this one is scanned.
        if let Some(next) = ids.get(i + 1) {
            ahead = Some(begin_read(wal, *next, kept.pop_front(), lens[i + 1]).await);
        }
        if i >= chained {
            let segment = load(*id, incoming?, None, &mut |_, _| (), report).await?;
            note_unused(log, &segment, report);
            if let Some(cut) = segment.cut {
                return Err(cut_short(*id, cut));
            }
            log.unused.push(*entry);
            continue;
        }
        take_in(log, *id, (links[i], end), incoming?, replay, report).await?;
        if i + 1 < chained && entry.end.is_none() {
            log.before_tail = end.map(|end| (*id, end));
        }
        if replay.is_heavy() {
            settle(replay).await;
        }
    }
    Ok(())
}

/// How segment `id` ended, from the manifest or from its successor's link; `None` while it is the last.
fn ending(entry: &SegmentEntry, id: SegmentId, next: Option<Link>) -> Result<Option<SegmentEnd>, Trouble> {
    let linked = next.map(|l| (l.file, SegmentEnd { len: l.len, last: l.last, chain: l.chain }));
    match (entry.end, linked) {
        (Some(end), Some((file, linked))) if file != Some(id.file) || linked != end => {
            Err(damaged(id, end.len, "its successor's link tells another end than the manifest".to_owned()))
        }
        (None, Some((file, _))) if file != Some(id.file) => {
            Err(damaged(id, SEGMENT_HEADER, "its successor's link names another file".to_owned()))
        }
        (end, linked) => Ok(end.or(linked.map(|(_, end)| end))),
    }
}

/// Reads one segment of the chain into the memtable.
async fn take_in(
    log: &mut Log,
    id: SegmentId,
    (link, end): (Option<Link>, Option<SegmentEnd>),
    incoming: Incoming,
    into: &mut Replay,
    report: &mut RecoveryReport,
) -> Result<(), Trouble> {
    let Some(link) = link else {
        return Err(damaged(
            id,
            SEGMENT_HEADER,
            "its link is missing although a later segment has one".to_owned(),
        ));
    };
    // The first one follows what is in tables: its predecessors were dropped with the flush.
    if link.last != log.last {
        return Err(damaged(
            id,
            SEGMENT_HEADER,
            format!("it follows LSN {}, what is in front of it ended with {}", link.last, log.last),
        ));
    }
    let mut unknown = false;
    let (mut commits, mut operations) = (0, 0);
    let mut visit = |frame: &Frame<'_>, body_at| match replay(frame, body_at, into) {
        Some((c, o)) => {
            commits += c;
            operations += o;
        }
        None => unknown = true,
    };
    let mut segment = load(id, incoming, end.map(|e| e.len), &mut visit, report).await?;
    into.attach(segment.bytes.clone());
    report.commits += commits;
    report.operations += operations;
    if unknown {
        return Err(Trouble::Unreadable(Unreadable::Newer { file: id.file_name() }));
    }
    let found = segment.scanned.end;
    let mut broken = None;
    if let Some(end) = end
        && (found.offset != end.len || found.chain != end.chain || found.last != end.last)
        && !mutants::on("corruption-as-torn-tail")
    {
        let what =
            format!("the log is damaged: its frames end with LSN {}, {} was durable", found.last, end.last);
        log.claimed = log.claimed.max(end.last);
        broken = Some(damaged(id, found.offset, what));
    }
    if let Some(cut) = segment.cut {
        broken = Some(cut_short(id, cut));
    }
    if end.is_some() {
        // A known end is itself the proof: it was written down once all in front of it was durable.
        segment.scanned.proven = found;
        segment.scanned.unproven.clear();
        segment.scanned.sealed = true;
    }
    log.last = found.last;
    log.proven = segment.scanned.proven;
    log.tail = Some(segment);
    broken.map_or(Ok(()), Err)
}

fn damaged(id: SegmentId, offset: u64, what: String) -> Trouble {
    Trouble::Damaged { damage: Damage { file: format!("wal/{}", id.file_name()), offset }, what }
}

fn cut_short(id: SegmentId, cut: Cut) -> Trouble {
    let Cut { len, allocated } = cut;
    damaged(id, len, format!("a listed segment is {len} bytes long, {allocated} were durable"))
}

/// Applies one frame whose body begins at `body_at` of its segment; commits and operations in it, or `None` if its body
/// is unknown.
fn replay(frame: &Frame<'_>, body_at: usize, into: &mut Replay) -> Option<(u64, u64)> {
    let head = frame.head();
    if head.kind != FrameKind::Commits {
        return Some((0, 0));
    }
    let mut reader = crate::codec::Reader::new(frame.body());
    let mut operations = 0;
    for i in 0..u64::from(head.count) {
        into.begin(head.first.advance(i));
        operations += decode_commit(&mut reader, |op| {
            let at = |key| body_at + offset_in(frame.body(), key);
            match op {
                Operation::Put { key, value, mut priority } => {
                    if mutants::on("priority-lost-in-replay") {
                        priority = Priority::default();
                    }
                    into.apply(at(key), key, Some(value.len()), priority);
                }
                Operation::Delete { key } => into.apply(at(key), key, None, Priority::default()),
                Operation::DeleteRange { start, end } => into.apply_range(start, end),
            }
        })? as u64;
    }
    reader.is_empty().then_some((u64::from(head.count), operations))
}

/// A segment behind the chain: whatever verifies in it proves how far the log in front of it was durable.
fn note_unused(log: &mut Log, segment: &Segment, report: &mut RecoveryReport) {
    if let Stop::Torn { bytes, later_frames, later_durable } = segment.scanned.stop {
        log.facts.tail = Tail::Torn;
        report.torn_bytes += bytes;
        report.discarded_frames += later_frames;
        log.claimed = log.claimed.max(later_durable);
        if later_durable > log.last {
            log.facts.beyond = Beyond::Proven;
            report.damage =
                Some(Damage { file: format!("wal/{}", segment.id.file_name()), offset: SEGMENT_HEADER });
        }
    }
}

/// What the end of the chain says.
fn conclude(log: &mut Log, version: &Version) {
    let Some(tail) = &mut log.tail else {
        if version.durable > log.last {
            log.facts.beyond = Beyond::Proven;
        }
        return;
    };
    let scanned = &mut tail.scanned;
    if !scanned.sealed {
        log.facts.closing = Closing::Open;
    }
    // What the manifest calls durable needs no copying either.
    while let Some(front) = scanned.unproven.front().copied() {
        if front.last > version.durable {
            break;
        }
        scanned.proven = front;
        scanned.unproven.pop_front();
    }
    log.proven = scanned.proven;
    if let Stop::Torn { later_durable, .. } = scanned.stop {
        log.facts.tail = Tail::Torn;
        log.claimed = log.claimed.max(later_durable);
        if later_durable > log.last {
            log.facts.beyond = Beyond::Proven;
        }
    }
    if version.durable > log.last {
        log.facts.beyond = Beyond::Proven;
    }
    if mutants::on("corruption-as-torn-tail") && log.facts.beyond == Beyond::Proven {
        log.facts.beyond = Beyond::Nothing;
        log.facts.tail = Tail::Torn;
    }
}

/// The link of a segment, if its first frame is one, and the open file. The header must verify: it was synced before it
/// was listed.
async fn peek_link(wal: &Arc<dyn Dir>, id: SegmentId) -> Result<(Option<Link>, Arc<dyn File>), Trouble> {
    let file = open(wal, id).await?;
    let bytes = file.read_at(0, vec![0; PEEK]).await?;
    let Some(mut scanner) = Scanner::new(&bytes, id) else {
        return Err(damaged(id, 0, "the header of a listed segment does not verify".to_owned()));
    };
    let mut link = None;
    scanner.step(1, &mut |frame| link = link.or(frame.link()));
    Ok((link, file))
}

async fn open(wal: &Arc<dyn Dir>, id: SegmentId) -> Result<Arc<dyn File>, Trouble> {
    match wal.open(&id.file_name(), Access::ReadRaw).await {
        Ok(file) => Ok(file),
        Err(e) if e.is_not_found() => Err(damaged(id, 0, "a listed segment is missing".to_owned())),
        Err(e) => Err(e.into()),
    }
}

/// Begins to read a segment, opened before or not, up to `len` where its end is known.
async fn begin_read(
    wal: &Arc<dyn Dir>,
    id: SegmentId,
    opened: Option<Arc<dyn File>>,
    len: Option<u64>,
) -> Result<Incoming, Trouble> {
    let file = match opened {
        Some(file) => file,
        None => open(wal, id).await?,
    };
    let size = file.len().await?;
    let wanted = len.unwrap_or(size).min(SEGMENT_HARD_MAX);
    if wanted > size && !mutants::on("corruption-as-torn-tail") {
        return Err(damaged(
            id,
            size,
            format!("a listed segment is {size} bytes long, {wanted} were durable"),
        ));
    }
    // Where the end is known all of it is frames. Otherwise most of it may be unwritten.
    let bytes = match len {
        Some(_) => file.read_kept(0, wanted as usize),
        None => read_written(&file, wanted as usize).await?,
    };
    Ok(Incoming { size, file, wanted: wanted as usize, ends: len.is_some(), bytes })
}

/// Reads the first `len` bytes of a file but for zeros behind the last byte written. They may be nearly all of it and
/// take no memory: the last byte is looked for a piece at a time, from behind.
async fn read_written(file: &Arc<dyn File>, len: usize) -> Result<Io<Bytes>, IoError> {
    let (mut end, mut piece) = (len, Vec::new());
    // Of a short segment a quarter: little of it is written, most of the time, and large buffers are slow to come by.
    let each = (len / 4).next_multiple_of(PAGE).clamp(PIECES.0, PIECES.1);
    while end > 0 {
        let from = (end - 1) / each * each;
        piece.resize(end - from, 0);
        piece = file.read_at(from as u64, piece).await?;
        let written =
            last_nonzero(&piece).map_or(0, |last| (last + 1).next_multiple_of(PAGE).min(piece.len()));
        if from == 0 {
            piece.truncate(written);
            piece.shrink_to_fit();
            return Ok(Io::ok(Bytes::from(piece)));
        }
        if written > 0 {
            return Ok(file.read_kept(0, from + written));
        }
        end = from;
    }
    Ok(Io::ok(Bytes::new()))
}

/// The bytes of a segment, and how many were read. Where its end is not known zeros behind the last byte written are
/// missing, unless a frame says that they are its own: what was put may be zeros.
async fn arrive(id: SegmentId, incoming: Incoming) -> Result<(Bytes, u64), IoError> {
    let Incoming { file, wanted, ends, bytes, .. } = incoming;
    let bytes = bytes.await?;
    if ends {
        let read = bytes.len() as u64;
        return Ok((bytes, read));
    }
    let stated = stated_end(&bytes, id).min(wanted);
    if stated > bytes.len() {
        return Ok((file.read_kept(0, stated).await?, wanted as u64));
    }
    Ok((bytes, wanted as u64))
}

/// Scans a segment, which ends at `len` if that is known. `visit` gets each frame and where its body begins.
async fn load(
    id: SegmentId,
    incoming: Incoming,
    len: Option<u64>,
    visit: &mut (dyn FnMut(&Frame<'_>, usize) + Send),
    report: &mut RecoveryReport,
) -> Result<Segment, Trouble> {
    let size = incoming.size;
    let (mut bytes, read) = arrive(id, incoming).await?;
    report.bytes += read;
    let (Some(mut scanner), Some(header)) = (Scanner::new(&bytes, id), verify_header(&bytes, id)) else {
        return Err(damaged(id, 0, "the header of a listed segment does not verify".to_owned()));
    };
    let allocated = header.allocated;
    let cut = (len.is_none() && size < allocated).then_some(Cut { len: size, allocated });
    while !scanner.step(SCAN_STEP, &mut |frame| visit(frame, offset_in(&bytes, frame.body()))) {
        yield_now().await;
    }
    let scanned = scanner.finish();
    if let Stop::Torn { bytes, later_frames, .. } = scanned.stop
        && len.is_none()
    {
        report.torn_bytes += bytes;
        report.discarded_frames += later_frames;
    }
    let end = scanned.end.offset as usize;
    // What lies behind is let go, at the price of a copy where it is more than what frames are padded with.
    bytes = if bytes.len() - end > PAGE { Bytes::copy_from_slice(&bytes[..end]) } else { bytes.slice(..end) };
    Ok(Segment { id, bytes, len: read, scanned, cut })
}
