//! A frame: one commit group, or a mark, as it stands in a segment.
//!
//! ```text
//!  0 tag        u64   identity tag of (space, segment file, Frame)
//!  8 crc        u32   over tag, offset in the file, and all bytes of the frame but these four
//! 12 len        u32   of the whole frame incl. padding; a multiple of 8
//! 16 kind       u8    1 commits, 2 link, 3 seal, 4 pad
//! 17 protection u8    0 none
//! 18 flags      u16   0
//! 20 count      u32   commits in the body; 0 for marks
//! 24 first      u64   LSN of the first commit; of the last commit before, for marks
//! 32 durable    u64   durable-up-to: the last LSN known to be durable when this frame was written
//! 40 prev       u32   crc of the frame before; of the segment header, for the first frame
//! 44 body       u32   length of the body
//! 48 body, then zeros up to len
//! ```
//!
//! Body of commits: `count` commits (see [`super::operation`]), their LSNs dense. A link, the first frame of every
//! segment, tells how the log before it ended; a seal repeats how far the log in front of it is durable:
//!
//! ```text
//! link := predecessor file uid:u64 (0 none) · its length:u64 · its last LSN:u64 · crc of its last frame:u32 · zero:u32
//! seal := last LSN:u64 · crc of the frame before:u32 · zero:u32
//! ```
//!
//! Frames follow each other without gaps. A frame that is synced ends at a sector boundary, so that a synced sector is
//! never written again.
use crate::codec::{Reader, align_up, checksum};
use crate::ids::{FileUid, Lsn};
use crate::limits::{FRAME_MAX, LSN_COUNTER_BITS};

/// Bytes in front of a frame's body.
pub const FRAME_HEADER: usize = 48;
/// Frames start at multiples of this.
pub const FRAME_ALIGN: usize = 8;
const CRC_AT: usize = 8;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    Commits = 1,
    Link = 2,
    Seal = 3,
    Pad = 4,
}

/// The fields of a frame besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: FrameKind,
    pub count: u32,
    pub first: Lsn,
    pub durable: Lsn,
    pub prev: u32,
}

/// How the log in front of a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// File of the predecessor; `None` for the first segment of a space.
    pub file: Option<FileUid>,
    /// Its length: frames end here, and bytes past it are dead.
    pub len: u64,
    /// The last LSN in it or before it.
    pub last: Lsn,
    /// Checksum of its last frame.
    pub chain: u32,
}

/// A frame whose tag and checksum were verified. There is no other way to get one.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    head: FrameHead,
    crc: u32,
    len: usize,
    body: &'a [u8],
}

/// Where a frame is meant to stand: the tag of its file and the offset in it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub tag: u64,
    pub offset: u64,
}

/// Bytes that a frame with `body` bytes of body takes, without padding to a sector.
#[must_use]
pub const fn frame_len(body: usize) -> usize {
    align_up((FRAME_HEADER + body) as u64, FRAME_ALIGN as u64) as usize
}

/// Makes room for a frame's header at the end of `out`, and returns where it begins. The body is appended next, then
/// [`finish`] is called.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + FRAME_HEADER, 0);
    start
}

/// Completes the frame that [`begin`] began at `start` of `out`: pads it to a multiple of `align` in the file, fills in
/// its header and returns its checksum. `place.offset` is where `out[start]` goes in the file.
pub fn finish(out: &mut Vec<u8>, start: usize, head: FrameHead, place: Place, align: usize) -> u32 {
    let body = out.len() - start - FRAME_HEADER;
    let end = align_up(place.offset + (FRAME_HEADER + body) as u64, align as u64);
    let len = (end - place.offset) as usize;
    assert!(len <= FRAME_MAX, "a frame of {len} bytes is longer than any batch allows");
    out.resize(start + len, 0);
    let h = &mut out[start..];
    h[0..8].copy_from_slice(&place.tag.to_le_bytes());
    h[12..16].copy_from_slice(&(len as u32).to_le_bytes());
    h[16] = head.kind as u8;
    h[20..24].copy_from_slice(&head.count.to_le_bytes());
    h[24..32].copy_from_slice(&head.first.raw().to_le_bytes());
    h[32..40].copy_from_slice(&head.durable.raw().to_le_bytes());
    h[40..44].copy_from_slice(&head.prev.to_le_bytes());
    h[44..48].copy_from_slice(&(body as u32).to_le_bytes());
    let crc = checksum(place.tag, place.offset, h, CRC_AT);
    h[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Appends a mark with `body` and returns its checksum.
pub fn put_mark(out: &mut Vec<u8>, head: FrameHead, body: &[u8], place: Place, align: usize) -> u32 {
    let start = begin(out);
    out.extend_from_slice(body);
    finish(out, start, head, place, align)
}

impl Link {
    /// The body of a link frame.
    #[must_use]
    pub fn encode(&self) -> [u8; 32] {
        let mut b = [0; 32];
        b[0..8].copy_from_slice(&self.file.map_or(0, FileUid::raw).to_le_bytes());
        b[8..16].copy_from_slice(&self.len.to_le_bytes());
        b[16..24].copy_from_slice(&self.last.raw().to_le_bytes());
        b[24..28].copy_from_slice(&self.chain.to_le_bytes());
        b
    }

    fn decode(body: &[u8]) -> Option<Link> {
        let mut r = Reader::new(body);
        let file = r.u64()?;
        let link = Link {
            file: (file != 0).then_some(FileUid::from_raw(file)),
            len: r.u64()?,
            last: Lsn::from_raw(r.u64()?),
            chain: r.u32()?,
        };
        (r.u32()? == 0 && r.is_empty()).then_some(link)
    }
}

/// The body of a seal frame: how far the log in front of it is durable.
#[must_use]
pub fn encode_seal(last: Lsn, prev: u32) -> [u8; 16] {
    let mut b = [0; 16];
    b[0..8].copy_from_slice(&last.raw().to_le_bytes());
    b[8..12].copy_from_slice(&prev.to_le_bytes());
    b
}

impl<'a> Frame<'a> {
    /// Takes the first bytes of `bytes` for a frame at `place`, if tag, lengths, kind and checksum say so. The length
    /// is checked against what there is before anything is read. Never panics, allocates nothing.
    #[must_use]
    pub fn verify(bytes: &'a [u8], place: Place) -> Option<Frame<'a>> {
        let mut r = Reader::new(bytes);
        if r.u64()? != place.tag {
            return None;
        }
        let crc = r.u32()?;
        let len = r.u32()? as usize;
        let kind = match r.u8()? {
            1 => FrameKind::Commits,
            2 => FrameKind::Link,
            3 => FrameKind::Seal,
            4 => FrameKind::Pad,
            _ => return None,
        };
        if r.u8()? != 0 || r.u16()? != 0 {
            return None;
        }
        let head = FrameHead {
            kind,
            count: r.u32()?,
            first: Lsn::from_raw(r.u64()?),
            durable: Lsn::from_raw(r.u64()?),
            prev: r.u32()?,
        };
        let body = r.u32()? as usize;
        if len > FRAME_MAX || len > bytes.len() || !len.is_multiple_of(FRAME_ALIGN) || len < frame_len(body) {
            return None;
        }
        if (head.kind == FrameKind::Commits) != (head.count > 0) {
            return None;
        }
        if head.first.counter() + u64::from(head.count) > 1 << LSN_COUNTER_BITS {
            // LSNs of one frame are of one epoch.
            return None;
        }
        (checksum(place.tag, place.offset, &bytes[..len], CRC_AT) == crc).then(|| Frame {
            head,
            crc,
            len,
            body: &bytes[FRAME_HEADER..FRAME_HEADER + body],
        })
    }

    /// What the header at the front of `bytes` gives as the length of its frame, unless no frame can be that long.
    #[must_use]
    pub fn stated_len(bytes: &[u8]) -> Option<usize> {
        let mut r = Reader::new(bytes);
        let (_tag, _crc, len) = (r.u64()?, r.u32()?, r.u32()? as usize);
        (len <= FRAME_MAX).then_some(len)
    }

    #[must_use]
    pub fn head(&self) -> FrameHead {
        self.head
    }
    /// Its checksum, which the next frame repeats.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }
    /// Bytes in the file, incl. padding.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
    /// The LSN of its last commit; for marks, of the last commit before it.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.head.first.advance(u64::from(self.head.count.saturating_sub(1)))
    }
    /// What a link says; `None` for other kinds and for a body that is no link.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        (self.head.kind == FrameKind::Link).then(|| Link::decode(self.body)).flatten()
    }
    /// Up to where a valid seal proves the log durable.
    #[must_use]
    pub fn seal(&self) -> Option<Lsn> {
        let sealed =
            self.head.kind == FrameKind::Seal && self.body == encode_seal(self.head.first, self.head.prev);
        sealed.then_some(self.head.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SECTOR;

    const PLACE: Place = Place { tag: 0x1122_3344_5566_7788, offset: 4096 };

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out);
        out.extend_from_slice(&[1, 1, 1, 1, b'k', b'v']);
        let head = FrameHead {
            kind: FrameKind::Commits,
            count: 1,
            first: Lsn::from_raw(9),
            durable: Lsn::from_raw(8),
            prev: 77,
        };
        finish(&mut out, start, head, PLACE, SECTOR);
        out
    }

    #[test]
    fn a_frame_round_trips_and_is_padded_to_the_sector() {
        let bytes = sample();
        assert_eq!(bytes.len(), SECTOR);
        let frame = Frame::verify(&bytes, PLACE).unwrap();
        assert_eq!((frame.len(), frame.body().len(), frame.last()), (SECTOR, 6, Lsn::from_raw(9)));
    }

    #[test]
    fn every_flipped_bit_is_noticed_also_in_the_padding() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::verify(&other, PLACE).is_none(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Frame::verify(&bytes[..cut], PLACE).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn another_place_or_another_file_is_another_frame() {
        let bytes = sample();
        assert!(Frame::verify(&bytes, Place { offset: 8192, ..PLACE }).is_none());
        assert!(Frame::verify(&bytes, Place { tag: 1, ..PLACE }).is_none());
        assert!(Frame::verify(&[0; 4096], Place { tag: 0, offset: 0 }).is_none(), "zeros are never a frame");
    }

    #[test]
    fn links_and_seals_round_trip() {
        let link = Link { file: Some(FileUid::from_raw(5)), len: 8192, last: Lsn::from_raw(3), chain: 11 };
        let mut out = Vec::new();
        let head = FrameHead {
            kind: FrameKind::Link,
            count: 0,
            first: Lsn::from_raw(3),
            durable: Lsn::from_raw(3),
            prev: 1,
        };
        put_mark(&mut out, head, &link.encode(), PLACE, FRAME_ALIGN);
        assert_eq!(Frame::verify(&out, PLACE).unwrap().link(), Some(link));
        let mut out = Vec::new();
        let head = FrameHead { kind: FrameKind::Seal, ..head };
        put_mark(&mut out, head, &encode_seal(head.first, head.prev), PLACE, SECTOR);
        assert_eq!(Frame::verify(&out, PLACE).unwrap().seal(), Some(head.first));
    }
}
