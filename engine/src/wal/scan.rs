//! Reading a segment back: verified frames in order, up to the first that does not verify. Decides nothing: what the
//! end means is `recovery/cases.rs`'s to say.
use super::frame::{FRAME_ALIGN, Frame, FrameKind, Link, Place};
use super::segment::{SEGMENT_HEADER, SegmentHeader, SegmentId, verify_header};
use crate::ids::Lsn;
use std::collections::VecDeque;

/// A boundary between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// Offset behind the last frame in front of it.
    pub offset: u64,
    /// The last LSN in front of it.
    pub last: Lsn,
    /// Checksum of the last frame in front of it, or of the header.
    pub chain: u32,
}

impl Boundary {
    /// Whether `frame`, which begins here, continues the chain.
    #[must_use]
    pub fn is_continued_by(&self, frame: &Frame<'_>, first_of_segment: bool) -> bool {
        let head = frame.head();
        let continues = match head.kind {
            FrameKind::Link => first_of_segment && frame.link().is_some_and(|l| l.last == head.first),
            FrameKind::Commits => !first_of_segment && head.first.follows(self.last),
            FrameKind::Seal => !first_of_segment && frame.seal() == Some(self.last),
            FrameKind::Pad => !first_of_segment && head.first == self.last,
        };
        head.prev == self.chain && continues
    }

    /// The boundary behind `frame`, which begins here.
    #[must_use]
    pub fn behind(&self, frame: &Frame<'_>) -> Boundary {
        Boundary { offset: self.offset + frame.len() as u64, last: frame.last(), chain: frame.crc() }
    }
}

/// What lies behind the last accepted frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nothing but zeros, or the end of the file.
    Unwritten,
    /// Something that is no next frame.
    Torn {
        /// Bytes from there to the last one that is not zero.
        bytes: u64,
        /// Frames of this segment that verify further on.
        later_frames: u64,
        /// The highest durable-up-to that one of those states.
        later_durable: Lsn,
    },
}

/// What a scan found.
#[derive(Debug, Clone)]
pub struct Scanned {
    pub header: SegmentHeader,
    /// The link in front, if the first frame is one.
    pub link: Option<Link>,
    /// Behind the last accepted frame.
    pub end: Boundary,
    /// Behind the last frame with commits, or the link, that a later frame of this segment proves durable.
    pub proven: Boundary,
    /// Boundaries behind each accepted frame with commits that nothing in this segment proves durable, ascending.
    pub unproven: VecDeque<Boundary>,
    /// The last accepted frame is a seal.
    pub sealed: bool,
    pub frames: u64,
    pub stop: Stop,
}

/// Where the last frame ends of those that `bytes`, the beginning of segment `id`, seem to hold: their headers say so,
/// nothing is verified. It may lie behind `bytes`, by less than the longest frame.
#[must_use]
pub fn stated_end(bytes: &[u8], id: SegmentId) -> usize {
    let tag = id.frame_tag().to_le_bytes();
    let words = bytes.as_chunks::<FRAME_ALIGN>().0.iter().enumerate();
    let starts = words.filter(|(_, word)| **word == tag).map(|(i, _)| i * FRAME_ALIGN);
    starts.filter_map(|at| Some(at + Frame::stated_len(&bytes[at..])?)).max().unwrap_or(0)
}

/// Scans one segment in bounded steps, so that a long log does not hold up whoever else runs on the same thread.
#[derive(Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    tag: u64,
    found: Scanned,
}

impl<'a> Scanner<'a> {
    /// `None` if the header of segment `id` does not verify.
    #[must_use]
    pub fn new(bytes: &'a [u8], id: SegmentId) -> Option<Scanner<'a>> {
        let header = verify_header(bytes, id)?;
        let start = Boundary { offset: SEGMENT_HEADER, last: Lsn::ZERO, chain: header.crc };
        let found = Scanned {
            header,
            link: None,
            end: start,
            proven: start,
            unproven: VecDeque::new(),
            sealed: false,
            frames: 0,
            stop: Stop::Unwritten,
        };
        Some(Scanner { bytes, tag: id.frame_tag(), found })
    }

    /// Accepts frames until about `budget` bytes were read, handing each to `visit`. True when the end was reached.
    pub fn step(&mut self, budget: usize, visit: &mut dyn FnMut(&Frame<'a>)) -> bool {
        let until = self.found.end.offset + budget as u64;
        while self.found.end.offset < until {
            let Some(frame) = self.next_frame() else {
                self.found.stop = self.look_behind();
                return true;
            };
            self.accept(&frame);
            visit(&frame);
        }
        false
    }

    /// What was found, once [`Scanner::step`] reached the end.
    #[must_use]
    pub fn finish(self) -> Scanned {
        self.found
    }

    fn frame_at(&self, offset: u64) -> Option<Frame<'a>> {
        let rest = self.bytes.get(usize::try_from(offset).ok()?..)?;
        Frame::verify(rest, Place { tag: self.tag, offset })
    }

    /// The next frame, if it verifies and continues the chain.
    fn next_frame(&self) -> Option<Frame<'a>> {
        let frame = self.frame_at(self.found.end.offset)?;
        self.found.end.is_continued_by(&frame, self.found.frames == 0).then_some(frame)
    }

    fn accept(&mut self, frame: &Frame<'a>) {
        let found = &mut self.found;
        let head = frame.head();
        if let Some(link) = frame.link() {
            found.link = Some(link);
            found.proven.last = link.last;
        }
        found.end = found.end.behind(frame);
        let ends = matches!(head.kind, FrameKind::Link | FrameKind::Commits);
        if ends || crate::mutants::on("proven-end-is-a-mark") {
            // Marks never end the log: nothing that was acknowledged made a seal or a pad durable.
            found.unproven.push_back(found.end);
        }
        found.frames += 1;
        found.sealed = head.kind == FrameKind::Seal;
        // A seal was written after the log in front of it was synced; so was a link after its predecessor.
        let durable = if found.sealed { head.first.max(head.durable) } else { head.durable };
        while let Some(front) = found.unproven.front().copied() {
            // The frame that makes the statement is itself not proven by it, even where it adds no commit.
            if front.last > durable || front.offset == found.end.offset {
                break;
            }
            found.proven = front;
            found.unproven.pop_front();
        }
    }

    /// Looks at every place behind the end where a frame of this segment could begin.
    fn look_behind(&self) -> Stop {
        let from = self.found.end.offset as usize;
        let rest = self.bytes.get(from..).unwrap_or(&[]);
        let Some(last_byte) = last_nonzero(rest) else { return Stop::Unwritten };
        let tag = self.tag.to_le_bytes();
        let (mut later_frames, mut later_durable) = (0, Lsn::ZERO);
        for at in (0..=last_byte).step_by(FRAME_ALIGN) {
            if rest.get(at..at + 8) == Some(&tag[..])
                && let Some(frame) = self.frame_at((from + at) as u64)
            {
                later_frames += 1;
                let states = frame.seal().unwrap_or(Lsn::ZERO).max(frame.head().durable);
                later_durable = later_durable.max(states);
            }
        }
        Stop::Torn { bytes: last_byte as u64 + 1, later_frames, later_durable }
    }
}

/// Index of the last byte that is not zero.
#[must_use]
pub fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 4096;
    const ZEROS: [u8; STRIDE] = [0; STRIDE];
    let mut end = bytes.len();
    while end >= STRIDE && bytes[end - STRIDE..end] == ZEROS {
        end -= STRIDE;
    }
    bytes[..end].iter().rposition(|&b| b != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, FileUid, SegmentNo, SpaceUid};
    use crate::wal::frame::{FrameHead, begin, encode_seal, finish, put_mark};
    use crate::wal::segment::encode_header;

    fn id() -> SegmentId {
        SegmentId { space: SpaceUid([1; 16]), file: FileUid::from_raw(2), number: SegmentNo::from_raw(1) }
    }

    /// A segment with a link, then one frame a commit, each stating `durable` of its index, then perhaps a seal.
    fn segment(durables: &[u64], seal: bool) -> (Vec<u8>, Vec<usize>) {
        let base = Epoch::ZERO.next().unwrap().first_lsn();
        let before = Lsn::ZERO;
        let (mut out, mut prev) = encode_header(id(), base.epoch(), 0);
        let mut starts = Vec::new();
        let place = |at: usize| Place { tag: id().frame_tag(), offset: at as u64 };
        let link = Link { file: None, len: 0, last: before, chain: 0 };
        let head = |kind, count, first, durable, prev| FrameHead { kind, count, first, durable, prev };
        let at = place(out.len());
        prev = put_mark(&mut out, head(FrameKind::Link, 0, before, before, prev), &link.encode(), at, 8);
        for (i, &d) in durables.iter().enumerate() {
            let at = place(out.len());
            starts.push(out.len());
            let start = begin(&mut out);
            out.extend_from_slice(&[1, 1, 1, 1, b'k', b'v']);
            let durable = if d == 0 { before } else { base.advance(d - 1) };
            prev = finish(
                &mut out,
                start,
                head(FrameKind::Commits, 1, base.advance(i as u64), durable, prev),
                at,
                512,
            );
        }
        if seal {
            let last = base.advance(durables.len() as u64 - 1);
            let at = place(out.len());
            put_mark(&mut out, head(FrameKind::Seal, 0, last, last, prev), &encode_seal(last, prev), at, 512);
        }
        out.resize(out.len() + 8192, 0);
        (out, starts)
    }

    fn scan(bytes: &[u8]) -> Scanned {
        let mut s = Scanner::new(bytes, id()).unwrap();
        while !s.step(700, &mut |_| ()) {}
        s.finish()
    }

    #[test]
    fn frames_are_proven_by_later_ones_only() {
        let (bytes, starts) = segment(&[0, 1, 1, 3], false);
        let s = scan(&bytes);
        assert_eq!((s.frames, s.end.last.counter(), s.proven.last.counter()), (5, 4, 3));
        assert_eq!(s.proven.offset, starts[3] as u64);
        assert_eq!((s.unproven.len(), s.stop, s.sealed), (1, Stop::Unwritten, false));
    }

    #[test]
    fn a_seal_proves_all_in_front_of_it() {
        let s = scan(&segment(&[0, 0, 0], true).0);
        assert!(s.sealed && s.proven.last == s.end.last && s.unproven.is_empty());
        assert_eq!(s.proven.offset + 512, s.end.offset, "the seal itself is proven by nothing");
    }

    #[test]
    fn a_torn_frame_ends_the_scan_and_later_frames_are_counted() {
        let (mut bytes, starts) = segment(&[0, 0, 0, 2, 3], false);
        bytes[starts[2] + 5] ^= 1;
        let s = scan(&bytes);
        assert_eq!((s.end.last.counter(), s.end.offset), (2, starts[2] as u64));
        let Stop::Torn { later_frames, later_durable, .. } = s.stop else { panic!("{:?}", s.stop) };
        assert_eq!((later_frames, later_durable.counter()), (2, 3));
    }

    #[test]
    fn a_frame_states_its_end_even_behind_the_bytes() {
        let (bytes, starts) = segment(&[0, 0, 1], false);
        let end = bytes.len() - 8192;
        assert_eq!(stated_end(&bytes, id()), end);
        assert_eq!(stated_end(&bytes[..starts[2] + 16], id()), end, "its length is there");
        assert_eq!(stated_end(&bytes[..starts[2] + 12], id()), starts[2], "its length is not");
        assert_eq!(stated_end(&bytes[..10], id()), 0);
        let mut long = bytes[..starts[1]].to_vec();
        long.extend_from_slice(&bytes[starts[0]..starts[0] + 12]);
        long.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(stated_end(&long, id()), starts[1], "no frame is that long");
    }

    #[test]
    fn a_file_that_ends_early_is_unwritten_space() {
        let (bytes, starts) = segment(&[0, 0], false);
        let s = scan(&bytes[..starts[1]]);
        assert_eq!((s.end.last.counter(), s.stop), (1, Stop::Unwritten));
        assert!(Scanner::new(&bytes[..100], id()).is_none());
    }
}
