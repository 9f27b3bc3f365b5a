//! The header of a log segment: a page of its own in front of the frames, written once, never changed.
//!
//! ```text
//!  0 magic      [u8;8] "BHWALSEG"
//!  8 tag        u64    identity tag of (space, this file, SegmentHeader)
//! 16 crc        u32    over tag, offset 0, and the whole page but these four bytes
//! 20 level      u32    format level
//! 24 space      [u8;16] space uid
//! 40 file       u64    file uid
//! 48 number     u64    segment number
//! 56 epoch      u32    epoch of the opening that created it
//! 60 protection u8     0 none · 3 bytes zero
//! 64 key        u64    key id; 0 none
//! 72 allocated  u64    length that was allocated and synced before a manifest listed it: a shorter file was cut
//! 80 zeros up to 4096
//! ```
use crate::codec::{Piece, Reader, checksum, identity_tag, is_zero};
use crate::ids::{Epoch, FileUid, SegmentNo, SpaceUid, padded_number};
use crate::limits::PAGE;

/// Bytes in front of the first frame.
pub const SEGMENT_HEADER: u64 = PAGE as u64;
/// First bytes of a segment.
pub(crate) const MAGIC: [u8; 8] = *b"BHWALSEG";
const CRC_AT: usize = 16;
const USED: usize = 80;
/// Format level of segments that this release writes.
pub const SEGMENT_LEVEL: u32 = 1;

/// Which segment of which space a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentId {
    pub space: SpaceUid,
    pub file: FileUid,
    pub number: SegmentNo,
}

/// A verified header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub id: SegmentId,
    pub epoch: Epoch,
    /// The file never is shorter than this once it is listed.
    pub allocated: u64,
    /// Its checksum, which the first frame repeats.
    pub crc: u32,
}

impl SegmentId {
    /// The file's name within `wal/`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.wal", self.number, self.file)
    }
    /// The segment of `space` whose file name is exactly `name`; `None` for any other name.
    #[must_use]
    pub fn parse(space: SpaceUid, name: &str) -> Option<SegmentId> {
        let (number, file) = name.strip_suffix(".wal")?.split_once('-')?;
        let number = SegmentNo::from_raw(padded_number(number)?);
        Some(SegmentId { space, file: FileUid::parse(file)?, number })
    }
    /// The identity tag of its frames.
    #[must_use]
    pub fn frame_tag(&self) -> u64 {
        identity_tag(self.space, self.file, Piece::Frame)
    }
}

/// The page in front of a new segment's frames, and its checksum. The file is to be `allocated` bytes long.
#[must_use]
pub fn encode_header(id: SegmentId, epoch: Epoch, allocated: u64) -> (Vec<u8>, u32) {
    let mut p = vec![0; PAGE];
    let tag = identity_tag(id.space, id.file, Piece::SegmentHeader);
    p[0..8].copy_from_slice(&MAGIC);
    p[8..16].copy_from_slice(&tag.to_le_bytes());
    p[20..24].copy_from_slice(&SEGMENT_LEVEL.to_le_bytes());
    p[24..40].copy_from_slice(&id.space.0);
    p[40..48].copy_from_slice(&id.file.raw().to_le_bytes());
    p[48..56].copy_from_slice(&id.number.raw().to_le_bytes());
    p[56..60].copy_from_slice(&epoch.raw().to_le_bytes());
    p[72..80].copy_from_slice(&allocated.to_le_bytes());
    let crc = checksum(tag, 0, &p, CRC_AT);
    p[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    (p, crc)
}

/// Which segment the first page of `bytes` says that it is the header of. Nothing is verified: that is
/// [`verify_header`]'s to do, for a look at a file by itself.
#[must_use]
pub fn claimed_id(bytes: &[u8]) -> Option<SegmentId> {
    let mut r = Reader::new(bytes.get(24..)?);
    Some(SegmentId {
        space: SpaceUid(r.array()?),
        file: FileUid::from_raw(r.u64()?),
        number: SegmentNo::from_raw(r.u64()?),
    })
}

/// Takes the first page of `bytes` for the header of segment `id`, if it is just that.
#[must_use]
pub fn verify_header(bytes: &[u8], id: SegmentId) -> Option<SegmentHeader> {
    let page = bytes.get(..PAGE)?;
    let mut r = Reader::new(page);
    let tag = identity_tag(id.space, id.file, Piece::SegmentHeader);
    if r.array::<8>()? != MAGIC || r.u64()? != tag {
        return None;
    }
    let crc = r.u32()?;
    if checksum(tag, 0, page, CRC_AT) != crc || r.u32()? != SEGMENT_LEVEL {
        return None;
    }
    let found = SegmentId {
        space: SpaceUid(r.array()?),
        file: FileUid::from_raw(r.u64()?),
        number: SegmentNo::from_raw(r.u64()?),
    };
    let epoch = Epoch::from_raw(r.u32()?)?;
    let unprotected = r.u32()? == 0 && r.u64()? == 0;
    let allocated = r.u64()?;
    let rest_is_zero = is_zero(&page[USED..]);
    let same = found == id || crate::mutants::on("checksum-without-space");
    (same && unprotected && rest_is_zero).then_some(SegmentHeader { id, epoch, allocated, crc })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SegmentId {
        SegmentId { space: SpaceUid([7; 16]), file: FileUid::from_raw(0xabc), number: SegmentNo::from_raw(3) }
    }

    #[test]
    fn a_header_round_trips_and_names_its_file() {
        let (page, crc) = encode_header(id(), Epoch::ZERO, 65536);
        let header = SegmentHeader { id: id(), epoch: Epoch::ZERO, allocated: 65536, crc };
        assert_eq!(verify_header(&page, id()), Some(header));
        assert_eq!(id().file_name(), "0000000000000003-0000000000000abc.wal");
        assert_eq!(SegmentId::parse(id().space, &id().file_name()), Some(id()));
        for other in ["3-abc.wal", "0000000000000003-0000000000000ABC.wal", "0000000000000003.wal", "x"] {
            assert_eq!(SegmentId::parse(id().space, other), None);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_identity_is_refused() {
        let (page, _) = encode_header(id(), Epoch::ZERO, 65536);
        for bit in (0..page.len() * 8).step_by(3) {
            let mut other = page.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_header(&other, id()).is_none(), "bit {bit}");
        }
        for other in [
            SegmentId { space: SpaceUid([8; 16]), ..id() },
            SegmentId { file: FileUid::from_raw(1), ..id() },
            SegmentId { number: SegmentNo::from_raw(4), ..id() },
        ] {
            assert!(verify_header(&page, other).is_none());
        }
        assert!(verify_header(&page[..100], id()).is_none());
    }
}
