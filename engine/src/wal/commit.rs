//! The commit line of one space: order, groups, watermarks and fencing, as one plain state machine.
//!
//! Commits are ordered by [`Line::order`] into groups in memory; [`Line::next_job`] says what to do next (write a group
//! as one frame, or sync), [`Line::wrote`] and [`Line::synced`] take the results. At most one write and one sync are
//! under way at a time. It does no I/O, knows no async, and is driven under one lock by `space/log.rs`.
//!
//! Invariants, checked always:
//! - `durable <= written <= last`; each only ever rises.
//! - A sync moves `durable` to the last LSN whose write had *returned* before the sync was issued, no further.
//! - Only what fits into bytes of a segment that is allocated, synced and listed in the manifest is ordered.
//! - Frames that a sync covers end at a sector boundary, or are the last of their segment: a synced sector is never
//!   written again.
//! - The first frame of a segment, its link, is written only once all of its predecessor is durable.
//! - A sync that somebody waits for may be withheld for those whom the last one answered: whoever finds that
//!   [`Line::withholds`] sees to it that [`Line::release`] is called.
//! - After a failed write or sync nothing is written, synced or acknowledged any more.
use super::frame::{
    FRAME_ALIGN, FRAME_HEADER, FrameHead, FrameKind, Link, Place, encode_seal, finish, frame_len, put_mark,
};
use super::segment::{SEGMENT_HEADER, SegmentId};
pub use super::spare::{Resume, Spare};
mod rest;
mod spares;
use crate::ids::Lsn;
use crate::limits::{GROUP_BYTES_MAX, LOG_BUFFER_MAX, SECTOR};
use crate::mutants;
use std::collections::VecDeque;

/// Room that every commit reserves beside its own frame: padding to the sector, one pad and one seal.
const MARKS: u64 = SECTOR as u64 + 2 * mark_len();
/// Longest buffer that is kept for the next group.
const BUFFER_KEPT: usize = 4096;
/// Less is not synced before somebody waits for it.
const SYNC_AHEAD_MIN: u64 = 128 * 1024;
/// Longest mark, padded.
const fn mark_len() -> u64 {
    (frame_len(32) + SECTOR) as u64
}
/// What the link at the start of a segment takes.
const LINK: u64 = frame_len(32) as u64;

/// What a commit with `body` encoded bytes reserves in a segment.
#[must_use]
pub const fn reservation(body: usize) -> u64 {
    frame_len(body) as u64 + MARKS
}

/// Bytes that a segment needs to take a commit with `body` encoded bytes as its first.
#[must_use]
pub const fn segment_for(body: usize) -> u64 {
    SEGMENT_HEADER + LINK + reservation(body)
}

/// A segment that takes frames.
#[derive(Debug)]
struct Active<F> {
    id: SegmentId,
    file: F,
    capacity: u64,
    /// Where the next frame goes; behind every frame whose write was issued.
    offset: u64,
    chain: u32,
    /// Behind the last frame with commits, and its checksum: what a successor's link names. Marks behind it may be
    /// lost, since nothing waits for a seal to be durable.
    end: (u64, u32),
    /// Not written yet; goes in front of the first group.
    link: Option<Link>,
    /// Bytes reserved by commits ordered for this segment and not issued yet.
    reserved: u64,
}

/// The end of a predecessor, for the link of the first segment of an opening.
pub type Before = Option<Link>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Active,
    Spare,
}

#[derive(Debug)]
struct Group {
    /// Room for the header, then the encoded commits.
    bytes: Vec<u8>,
    first: Lsn,
    count: u32,
    reserved: u64,
    target: Target,
}

/// Where a commit of a certain size would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room: order it now.
    Here,
    /// The log buffer is full: wait for a write.
    Buffer,
    /// A segment must be prepared first, of at least this many bytes.
    Prepare(u64),
    /// The spare must be grown first, to at least this many bytes.
    Grow(u64),
}

/// What to do next.
#[derive(Debug)]
pub enum Job<F> {
    /// Seal the bytes with [`WriteJob::seal`], write them, and report to [`Line::wrote`].
    Write(WriteJob<F>),
    /// Sync this file, and report to [`Line::synced`].
    Sync(F),
}

/// Frames to be written at one place.
#[derive(Debug)]
pub struct WriteJob<F> {
    pub file: F,
    pub offset: u64,
    bytes: Vec<u8>,
    /// The frame at the end of `bytes` that still lacks its header.
    open: Option<OpenFrame>,
    chain: u32,
}

#[derive(Debug)]
struct OpenFrame {
    start: usize,
    head: FrameHead,
    place: Place,
    align: usize,
}

#[derive(Debug)]
struct Writing {
    start: u64,
    last: Lsn,
    kind: FrameKind,
}

#[derive(Debug)]
struct Syncing {
    upto: Lsn,
    seals: bool,
}

/// What [`Line::wrote`] and [`Line::synced`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The written watermark is here now.
    Written(Lsn),
    /// The durable watermark is here now.
    Durable(Lsn),
}

/// See the module.
#[derive(Debug)]
pub struct Line<F> {
    next: Lsn,
    last: Lsn,
    written: Lsn,
    durable: Lsn,
    process_wanted: Lsn,
    power_wanted: Lsn,
    groups: VecDeque<Group>,
    buffered: usize,
    /// The buffer of a group that was written, for the next one: most groups of a lone writer are alike.
    buffer: Vec<u8>,
    active: Option<Active<F>>,
    before: Before,
    spare: Option<Spare<F>>,
    spare_reserved: u64,
    /// The spare is being allocated anew and synced.
    spare_grows: bool,
    writing: Option<Writing>,
    syncing: Option<Syncing>,
    seal: Seal,
    /// Waiters that the last sync answered and that have not come back yet to wait for another.
    returning: usize,
    /// The next commit goes to the spare, whatever room there is.
    rotates: bool,
    /// Allocated bytes of the segments that took commits since the last [`Line::rotate`].
    since_rotation: u64,
    /// Bytes written since the last sync began.
    unsynced: u64,
    fenced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    No,
    Wanted,
    Written,
    Durable,
}

impl<F: Clone> Line<F> {
    /// The line of an opening that recovered up to `durable`, all of it durable, and hands out LSNs from `next`.
    /// `before` is how the log ended that the first segment will follow.
    #[must_use]
    pub fn new(durable: Lsn, before: Before) -> Line<F> {
        Line {
            next: Lsn::ZERO,
            last: durable,
            written: durable,
            durable,
            process_wanted: durable,
            power_wanted: durable,
            groups: VecDeque::new(),
            buffered: 0,
            buffer: Vec::new(),
            active: None,
            before,
            spare: None,
            spare_reserved: 0,
            spare_grows: false,
            writing: None,
            syncing: None,
            seal: Seal::Durable,
            returning: 0,
            rotates: false,
            since_rotation: 0,
            unsynced: 0,
            fenced: false,
        }
    }

    /// Sets the LSN of the next commit: the first of an epoch that was raised durably.
    pub fn begin_epoch(&mut self, first: Lsn) {
        let is_later = first > self.last || mutants::on("lsn-below-flushed");
        assert!(is_later && self.next == Lsn::ZERO, "an opening begins one epoch");
        self.next = first;
    }

    /// Whether an epoch was begun, so that commits can be ordered once there is room.
    #[must_use]
    pub fn has_epoch(&self) -> bool {
        self.next != Lsn::ZERO
    }

    /// Goes on in a segment that recovery wrote.
    pub fn resume(&mut self, resume: Resume<F>) {
        let Resume { spare, offset, chain } = resume;
        assert!(
            self.active.is_none() && offset.is_multiple_of(SECTOR as u64),
            "recovery leaves a whole sector"
        );
        let Spare { id, file, capacity, .. } = spare;
        let end = (offset, chain);
        self.since_rotation += capacity;
        self.active = Some(Active { id, file, capacity, offset, chain, end, link: None, reserved: 0 });
        self.seal = Seal::No;
    }

    /// Where a commit with `body` encoded bytes would go now.
    #[must_use]
    pub fn room(&self, body: usize) -> Room {
        if self.buffered > 0 && self.buffered + body > LOG_BUFFER_MAX {
            return Room::Buffer;
        }
        let need = reservation(body);
        if let (Some(active), false) = (&self.active, self.leaves_active())
            && active.offset + active.reserved + need <= active.capacity
        {
            return Room::Here;
        }
        match &self.spare {
            None => Room::Prepare(segment_for(body)),
            // What is being grown is not used: see `Line::begin_growth`.
            Some(_) if self.spare_grows => Room::Grow(segment_for(body)),
            Some(s) if SEGMENT_HEADER + LINK + self.spare_reserved + need <= s.capacity => Room::Here,
            Some(_) if self.spare_reserved == 0 => Room::Grow(segment_for(body)),
            Some(_) => Room::Buffer,
        }
    }

    /// Orders a commit whose encoded form `encode` appends, `body` bytes long; its LSN.
    ///
    /// # Panics
    /// Unless [`Line::room`] just said [`Room::Here`] and an epoch was begun.
    pub fn order(&mut self, body: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        assert!(self.has_epoch() && !self.fenced, "commits are ordered in an epoch and not behind a fence");
        assert_eq!(self.room(body), Room::Here, "only what fits into reserved space is ordered");
        let need = reservation(body);
        let lsn = mutants::shared_lsn(self.next);
        let fits_active = !self.leaves_active()
            && self.active.as_ref().is_some_and(|a| a.offset + a.reserved + need <= a.capacity);
        let target = if fits_active { Target::Active } else { Target::Spare };
        match (target, &mut self.active) {
            (Target::Active, Some(active)) => active.reserved += need,
            _ => self.spare_reserved += need,
        }
        let joins = self.groups.back().is_some_and(|g| {
            g.target == target
                && g.bytes.len() + body <= GROUP_BYTES_MAX
                && g.first.advance(u64::from(g.count)) == lsn
        });
        if !joins {
            // Room for the padding too: a group of one commit is not moved in memory until it is written.
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.clear();
            bytes.reserve_exact(frame_len(body) + SECTOR);
            bytes.resize(FRAME_HEADER, 0);
            self.groups.push_back(Group { bytes, first: lsn, count: 0, reserved: 0, target });
        }
        let group = self.groups.back_mut().expect("just made");
        let before = group.bytes.len();
        encode(&mut group.bytes);
        assert_eq!(group.bytes.len() - before, body, "an encoded commit is as long as it said");
        group.count += 1;
        group.reserved += need;
        self.buffered += body;
        self.last = lsn;
        self.next = lsn.next();
        self.seal = Seal::No;
        lsn
    }

    /// Whether the next commit goes to the spare although the active segment may have room.
    fn leaves_active(&self) -> bool {
        self.rotates || self.groups.back().is_some_and(|g| g.target == Target::Spare)
    }

    /// Whether [`Line::rotate`] can be called: the next segment is there, and no commit was ordered for it yet.
    #[must_use]
    pub fn can_rotate(&self) -> bool {
        let waits = self.active.is_some() && self.spare.is_none();
        !self.fenced && !self.leaves_active() && !waits
    }

    /// Has every commit that is ordered from now on go to another segment than those ordered so far. Allocated bytes
    /// of the segments that hold those, since the last rotation.
    ///
    /// # Panics
    /// Unless [`Line::can_rotate`].
    pub fn rotate(&mut self) -> u64 {
        assert!(self.can_rotate(), "a rotation has a segment to go to");
        // Without an active segment the next commit begins one anyway.
        self.rotates = self.active.is_some() && !mutants::on("seal-without-rotation");
        std::mem::take(&mut self.since_rotation)
    }

    /// Whether what is written should be synced although nobody waits for that: `most` bytes are not, or as much as is left
    /// of the segment. The first frame of the next one waits until all of this one is durable; so there is as much time for
    /// each sync as writers take for the other half of what was left, and little to wait for in the end.
    #[must_use]
    pub fn should_sync(&self, most: u64) -> bool {
        let left = self.active.as_ref().map_or(u64::MAX, |a| a.capacity - a.offset);
        self.unsynced >= most.min(left.max(SYNC_AHEAD_MIN))
    }

    /// Allocated bytes of the segments that took commits since the last rotation.
    #[must_use]
    pub fn bytes_since_rotation(&self) -> u64 {
        self.since_rotation
    }

    /// Notes bytes of log that were there when the space was opened.
    pub fn note_recovered(&mut self, bytes: u64) {
        self.since_rotation += bytes;
    }

    /// A full group waits to be written, whether or not anybody waits for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.buffered >= GROUP_BYTES_MAX
    }

    /// Somebody waits for the page cache up to `lsn`.
    pub fn want_process(&mut self, lsn: Lsn) {
        self.process_wanted = self.process_wanted.max(lsn.min(self.last));
    }

    /// Somebody waits for the disk up to `lsn`.
    pub fn want_power(&mut self, lsn: Lsn) {
        self.power_wanted = self.power_wanted.max(lsn.min(self.last));
    }

    /// The last sync answered `waiters` more. The next one is withheld until they are back, so that the first of them
    /// does not take it for itself alone, or until [`Line::release`]: some never come back.
    pub fn answered(&mut self, waiters: usize) {
        self.returning += waiters;
    }

    /// Somebody who was answered, or somebody new, waits for the disk now.
    pub fn came_back(&mut self) {
        self.returning = self.returning.saturating_sub(1);
    }

    /// Whether a sync that is wanted waits for those whom the last one answered.
    #[must_use]
    pub fn withholds(&self) -> bool {
        self.returning > 0 && self.must_sync() && self.syncing.is_none()
    }

    /// Those who are not back yet are not waited for any more.
    pub fn release(&mut self) {
        self.returning = 0;
    }

    /// Asks for a seal once everything is durable. Without effect when the log has one, or never had a frame.
    pub fn want_seal(&mut self) {
        if self.seal == Seal::No && self.active.is_some() {
            self.seal = Seal::Wanted;
        }
    }

    /// What to do next, if there is anything. The caller must do it and report.
    pub fn next_job(&mut self) -> Option<Job<F>> {
        if self.fenced {
            return None;
        }
        if self.writing.is_none() {
            if let Some(job) = self.next_group() {
                return Some(Job::Write(job));
            }
            if let Some(job) = self.next_mark() {
                return Some(Job::Write(job));
            }
        }
        self.next_sync().map(Job::Sync)
    }

    /// Up to where somebody waits for the page cache, and for the disk.
    #[must_use]
    pub fn wanted(&self) -> (Lsn, Lsn) {
        (self.process_wanted, self.power_wanted)
    }

    fn must_sync(&self) -> bool {
        self.power_wanted > self.durable || self.seal == Seal::Wanted && self.last > self.durable
    }

    /// A sync is wanted, and follows as soon as what it is to cover is written.
    fn syncs_next(&self) -> bool {
        self.must_sync() && self.syncing.is_none() && self.returning == 0
    }

    fn next_group(&mut self) -> Option<WriteJob<F>> {
        let front = self.groups.front()?;
        let asked = self.process_wanted > self.written
            || self.syncs_next()
            || self.buffered >= GROUP_BYTES_MAX
            || self.groups.len() > 1;
        if !asked {
            return None;
        }
        if front.target == Target::Spare {
            if self.active.is_some() && (self.durable < self.written || self.syncing.is_some()) {
                // The predecessor is synced first; `next_sync` sees to it.
                return None;
            }
            self.activate_spare();
        }
        let group = self.groups.pop_front().expect("just seen");
        self.buffered -= group.bytes.len() - FRAME_HEADER;
        // Padding is for the sync that follows at once; in front of a later one the next group or a pad will do it.
        let align = if self.syncs_next() { SECTOR } else { FRAME_ALIGN };
        let last = group.first.advance(u64::from(group.count) - 1);
        let active = self.active.as_mut().expect("a group has a segment");
        active.reserved -= group.reserved;
        let mut job = WriteJob::at(active);
        if let Some(link) = active.link.take() {
            job.put_link(link, active);
        }
        let start = job.bytes.len();
        if start == 0 {
            job.bytes = group.bytes;
        } else {
            job.bytes.extend_from_slice(&group.bytes);
        }
        let head = FrameHead {
            kind: FrameKind::Commits,
            count: group.count,
            first: group.first,
            durable: self.durable,
            prev: job.chain,
        };
        let place = active.place(job.offset + start as u64);
        job.open = Some(OpenFrame { start, head, place, align });
        let end = crate::codec::align_up(job.offset + job.bytes.len() as u64, align as u64);
        self.issue(job.offset, end, last, FrameKind::Commits);
        Some(job)
    }

    /// A pad in front of a sync, so that the synced sector is never written again; or a seal.
    fn next_mark(&mut self) -> Option<WriteJob<F>> {
        if self.syncing.is_some() || !self.groups.is_empty() {
            return None;
        }
        let (last, durable) = (self.written, self.durable);
        let seal = self.seal == Seal::Wanted && durable == self.last;
        let syncs = self.returning == 0 && (self.power_wanted > durable || self.seal == Seal::Wanted);
        let active = self.active.as_mut()?;
        let aligned = active.offset.is_multiple_of(SECTOR as u64);
        let pads = durable < last && !aligned && syncs;
        if !(seal || pads) || active.link.is_some() {
            return None;
        }
        let kind = if seal { FrameKind::Seal } else { FrameKind::Pad };
        let mut job = WriteJob::at(active);
        let head = FrameHead { kind, count: 0, first: last, durable, prev: job.chain };
        let body = encode_seal(last, job.chain);
        let place = active.place(job.offset);
        job.chain = put_mark(&mut job.bytes, head, if seal { &body } else { &[] }, place, SECTOR);
        let end = job.offset + job.bytes.len() as u64;
        assert!(end <= active.capacity, "marks have reserved room");
        active.chain = job.chain;
        self.issue(job.offset, end, last, kind);
        Some(job)
    }

    fn next_sync(&mut self) -> Option<F> {
        if self.syncing.is_some() {
            return None;
        }
        let active = self.active.as_ref()?;
        let rotates = self.groups.front().is_some_and(|g| g.target == Target::Spare);
        let end = self.writing.as_ref().map_or(active.offset, |w| w.start);
        let whole = end.is_multiple_of(SECTOR as u64) || rotates && self.writing.is_none();
        let seals = self.seal == Seal::Written && self.writing.is_none();
        let wanted = self.written > self.durable && (self.syncs_next() || rotates) && whole;
        if !(wanted || seals) {
            return None;
        }
        self.syncing = Some(Syncing { upto: self.written, seals });
        self.unsynced = 0;
        Some(active.file.clone())
    }

    fn issue(&mut self, start: u64, end: u64, last: Lsn, kind: FrameKind) {
        let active = self.active.as_mut().expect("frames go to the active segment");
        assert!(end <= active.capacity, "frames stay within reserved bytes: {end} of {}", active.capacity);
        active.offset = end;
        self.unsynced += end - start;
        assert!(self.writing.is_none(), "one write at a time");
        self.writing = Some(Writing { start, last, kind });
    }

    /// Makes the spare the active segment. All of its predecessor is durable.
    fn activate_spare(&mut self) {
        assert_eq!(self.durable, self.written, "a link is written once its predecessor is durable");
        let spare = self.spare.take().expect("groups target a spare that exists");
        let link = match &self.active {
            None => self.before.unwrap_or(Link { file: None, len: 0, last: self.durable, chain: 0 }),
            Some(a) => Link { file: Some(a.id.file), len: a.end.0, last: self.written, chain: a.end.1 },
        };
        self.active = Some(Active {
            id: spare.id,
            file: spare.file,
            capacity: spare.capacity,
            offset: SEGMENT_HEADER,
            chain: spare.header_crc,
            end: (SEGMENT_HEADER, spare.header_crc),
            link: Some(link),
            reserved: self.spare_reserved,
        });
        self.before = Some(link);
        self.rotates = false;
        self.since_rotation += spare.capacity;
        self.spare_reserved = 0;
        for group in &mut self.groups {
            group.target = Target::Active;
        }
    }

    /// The write that the last [`Job::Write`] asked for returned Ok, with its buffer; `chain` is [`WriteJob::seal`]'s.
    pub fn wrote(&mut self, chain: u32, buffer: Vec<u8>) -> Moved {
        let w = self.writing.take().expect("a write was under way");
        let active = self.active.as_mut().expect("frames go to the active segment");
        active.chain = chain;
        if w.kind == FrameKind::Commits || mutants::on("link-names-a-mark") {
            active.end = (active.offset, chain);
        }
        assert!(w.last >= self.written && w.last <= self.last, "writes return in order");
        self.written = w.last;
        // A seal that commits were ordered behind seals nothing, even if another one is wanted by now.
        if w.kind == FrameKind::Seal && self.seal == Seal::Wanted && w.last == self.last {
            self.seal = Seal::Written;
        }
        // A quiet space keeps none.
        let keeps = w.kind == FrameKind::Commits && buffer.capacity() <= BUFFER_KEPT;
        self.buffer = if keeps { buffer } else { Vec::new() };
        Moved::Written(self.written)
    }

    /// The sync that the last [`Job::Sync`] asked for returned Ok.
    pub fn synced(&mut self) -> Moved {
        let s = self.syncing.take().expect("a sync was under way");
        let upto = if mutants::on("watermark-to-written") { self.last } else { s.upto };
        assert!(upto >= self.durable && upto <= self.last, "the durable watermark only rises");
        self.durable = upto;
        self.written = self.written.max(upto);
        if s.seals && self.seal == Seal::Written {
            self.seal = Seal::Durable;
        }
        Moved::Durable(self.durable)
    }

    /// A write or sync failed: from now on nothing is written, synced or acknowledged.
    pub fn fence(&mut self) {
        self.fenced = true;
        self.writing = None;
        self.syncing = None;
        self.returning = 0;
        self.groups.clear();
        self.buffered = 0;
    }

    /// For `--cfg bulkhead_mutants` alone: forgets a failed sync so that it is tried again.
    pub fn forget_failed_sync(&mut self) {
        self.syncing = None;
    }

    /// How the segment in front of the active one ended, once that is final: it is durable.
    #[must_use]
    pub fn predecessor(&self) -> Option<Link> {
        self.active.as_ref().and(self.before).filter(|l| l.file.is_some())
    }

    /// The last commit ordered.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }
    /// The last commit in the page cache.
    #[must_use]
    pub fn written(&self) -> Lsn {
        self.written
    }
    /// The last commit on the disk.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }
    /// Everything is durable and nothing is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.durable == self.last && self.writing.is_none() && self.syncing.is_none()
    }
    /// The last frame is a durable seal, or there is no frame of this opening.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.is_quiet() && (self.seal == Seal::Durable || self.active.is_none())
    }
    /// Offset in and id of the active segment.
    #[must_use]
    pub fn position(&self) -> Option<(SegmentId, u64)> {
        self.active.as_ref().map(|a| (a.id, a.offset))
    }
}

impl<F> Active<F> {
    fn place(&self, offset: u64) -> Place {
        Place { tag: self.id.frame_tag(), offset }
    }
}

impl<F: Clone> WriteJob<F> {
    fn at(active: &Active<F>) -> WriteJob<F> {
        WriteJob {
            file: active.file.clone(),
            offset: active.offset,
            bytes: Vec::new(),
            open: None,
            chain: active.chain,
        }
    }

    fn put_link(&mut self, link: Link, active: &Active<F>) {
        let head = FrameHead {
            kind: FrameKind::Link,
            count: 0,
            first: link.last,
            durable: link.last,
            prev: self.chain,
        };
        self.chain = put_mark(&mut self.bytes, head, &link.encode(), active.place(self.offset), FRAME_ALIGN);
    }

    /// Completes the frame, which needs no lock: the bytes to write, and the checksum for [`Line::wrote`].
    #[must_use]
    pub fn seal(mut self) -> (Vec<u8>, u32) {
        if let Some(f) = self.open.take() {
            self.chain = finish(&mut self.bytes, f.start, f.head, f.place, f.align);
        }
        (self.bytes, self.chain)
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
