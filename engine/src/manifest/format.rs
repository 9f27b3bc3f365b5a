//! The manifest file.
//!
//! ```text
//! file := copy, zeros up to the next page, the same copy again, zeros up to the end of its last page
//! copy :=
//!  0 magic   [u8;8] "BHMANIFS"
//!  8 tag     u64    identity tag of (space, this file, Manifest)
//! 16 crc     u32    over tag, offset of this copy, and all bytes of the copy but these four
//! 20 len     u32    of the copy, without padding
//! 24 level   u32    format level · 28 flags u32 zero
//! 32 gen     u64    generation
//! 40 file    u64    file uid
//! 48 space   [u8;16] space uid
//! 64 created u64    milliseconds since the Unix epoch, of the space
//! 72 epoch   u32 · 76 zero u32
//! 80 flushed u64 · 88 durable u64 · 96 next segment number u64
//! 104 counts: segments u32, epoch ends u32, tables u32 (zero so far), heat bytes u32 (zero so far)
//! 120 id     u16 length, bytes
//!     segments   { number u64, file u64, state u8 (0 open, 1 ended), [len u64, last u64, chain u32] } *
//!     epoch ends { last u64 } *
//! ```
use super::version::{EpochEnd, SegmentEnd, SegmentEntry, Version};
use crate::codec::{Piece, Reader, align_up, checksum, identity_tag};
use crate::identity::Identity;
use crate::ids::{Epoch, FileUid, Generation, Lsn, SegmentNo, SpaceId, SpaceUid};
use crate::limits::{EPOCH_ENDS_MAX, MANIFEST_MAX, PAGE, SEGMENTS_MAX, SPACE_ID_MAX};

const MAGIC: [u8; 8] = *b"BHMANIFS";
const CRC_AT: usize = 16;
const LEN_AT: usize = 20;
/// Format level of manifests that this release writes.
pub const MANIFEST_LEVEL: u32 = 1;

/// A manifest file's name: generation and file uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestName {
    pub generation: Generation,
    pub file: FileUid,
}

impl ManifestName {
    /// `MANIFEST-<generation>-<file uid>`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("MANIFEST-{}-{}", self.generation, self.file)
    }

    /// The name that `file_name` is the file name of; `None` for any other.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<ManifestName> {
        let (generation, file) = file_name.strip_prefix("MANIFEST-")?.split_once('-')?;
        let name = ManifestName {
            generation: Generation::from_raw(generation.parse().ok()?),
            file: FileUid::from_raw(u64::from_str_radix(file, 16).ok()?),
        };
        (name.file_name() == file_name).then_some(name)
    }
}

/// A verified manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub name: ManifestName,
    pub identity: Identity,
    pub version: Version,
}

/// The content of the manifest file `m.name`.
#[must_use]
pub fn encode(m: &Manifest) -> Vec<u8> {
    let v = &m.version;
    let mut c = Vec::with_capacity(2 * PAGE);
    c.extend_from_slice(&MAGIC);
    let tag = identity_tag(m.identity.uid, m.name.file, Piece::Manifest);
    c.extend_from_slice(&tag.to_le_bytes());
    c.extend_from_slice(&[0; 8]);
    c.extend_from_slice(&MANIFEST_LEVEL.to_le_bytes());
    c.extend_from_slice(&[0; 4]);
    c.extend_from_slice(&m.name.generation.raw().to_le_bytes());
    c.extend_from_slice(&m.name.file.raw().to_le_bytes());
    c.extend_from_slice(&m.identity.uid.0);
    c.extend_from_slice(&m.identity.created_ms.to_le_bytes());
    c.extend_from_slice(&v.epoch.raw().to_le_bytes());
    c.extend_from_slice(&[0; 4]);
    for lsn in [v.flushed.raw(), v.durable.raw(), v.next_segment.raw()] {
        c.extend_from_slice(&lsn.to_le_bytes());
    }
    for count in [v.segments.len() as u32, v.epoch_ends.len() as u32, 0, 0] {
        c.extend_from_slice(&count.to_le_bytes());
    }
    let id = m.identity.id.as_str().as_bytes();
    c.extend_from_slice(&(id.len() as u16).to_le_bytes());
    c.extend_from_slice(id);
    for s in &v.segments {
        c.extend_from_slice(&s.number.raw().to_le_bytes());
        c.extend_from_slice(&s.file.raw().to_le_bytes());
        c.push(u8::from(s.end.is_some()));
        if let Some(end) = s.end {
            c.extend_from_slice(&end.len.to_le_bytes());
            c.extend_from_slice(&end.last.raw().to_le_bytes());
            c.extend_from_slice(&end.chain.to_le_bytes());
        }
    }
    for e in &v.epoch_ends {
        c.extend_from_slice(&e.last.raw().to_le_bytes());
    }
    assert!(c.len() <= MANIFEST_MAX, "a manifest of {} bytes is longer than its limit", c.len());
    let len = c.len() as u32;
    c[LEN_AT..LEN_AT + 4].copy_from_slice(&len.to_le_bytes());
    let stride = align_up(c.len() as u64, PAGE as u64) as usize;
    let mut file = Vec::with_capacity(2 * stride);
    for copy in 0..2 {
        let start = copy * stride;
        file.resize(start, 0);
        let crc = checksum(tag, start as u64, &c, CRC_AT);
        file.extend_from_slice(&c);
        file[start + CRC_AT..start + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    }
    file.resize(2 * stride, 0);
    file
}

/// Takes `file`, the content of the manifest file `name`, for a manifest if one of its copies verifies.
/// `uid`, where it is known (from SPACE), must be the manifest's.
#[must_use]
pub fn decode(file: &[u8], name: ManifestName, uid: Option<SpaceUid>) -> Option<Manifest> {
    if file.len() > 2 * MANIFEST_MAX || !file.len().is_multiple_of(2 * PAGE) {
        return None;
    }
    let stride = file.len() / 2;
    [0, stride]
        .into_iter()
        .find_map(|start| decode_copy(file.get(start..start + stride)?, start as u64, name, uid))
}

fn decode_copy(bytes: &[u8], offset: u64, name: ManifestName, uid: Option<SpaceUid>) -> Option<Manifest> {
    let len = u32::from_le_bytes(bytes.get(LEN_AT..LEN_AT + 4)?.try_into().ok()?) as usize;
    let copy = bytes.get(..len)?;
    let mut r = Reader::new(copy);
    if r.array()? != MAGIC {
        return None;
    }
    let tag = r.u64()?;
    let crc = r.u32()?;
    let _len = r.u32()?;
    if checksum(tag, offset, copy, CRC_AT) != crc || r.u32()? != MANIFEST_LEVEL || r.u32()? != 0 {
        return None;
    }
    let found =
        ManifestName { generation: Generation::from_raw(r.u64()?), file: FileUid::from_raw(r.u64()?) };
    let space = SpaceUid(r.array()?);
    let ours = found == name && uid.is_none_or(|u| u == space);
    if !ours || tag != identity_tag(space, name.file, Piece::Manifest) {
        return None;
    }
    let created_ms = r.u64()?;
    let epoch = Epoch::from_raw(r.u32()?)?;
    if r.u32()? != 0 {
        return None;
    }
    let (flushed, durable) = (Lsn::from_raw(r.u64()?), Lsn::from_raw(r.u64()?));
    let next_segment = SegmentNo::from_raw(r.u64()?);
    let (segments, ends) = (r.u32()? as usize, r.u32()? as usize);
    if segments > SEGMENTS_MAX || ends > EPOCH_ENDS_MAX || r.u32()? != 0 || r.u32()? != 0 {
        return None;
    }
    let id_len = usize::from(r.u16()?);
    if id_len > SPACE_ID_MAX {
        return None;
    }
    let id = SpaceId::from_bytes(r.bytes(id_len)?).ok()?;
    let segments = (0..segments).map(|_| decode_segment(&mut r)).collect::<Option<Vec<_>>>()?;
    let epoch_ends =
        (0..ends).map(|_| Some(EpochEnd { last: Lsn::from_raw(r.u64()?) })).collect::<Option<Vec<_>>>()?;
    let version = Version { epoch, flushed, durable, next_segment, segments, epoch_ends };
    let rest_is_zero = r.is_empty() && bytes[len..].iter().all(|&b| b == 0);
    (rest_is_zero && version.check().is_ok()).then_some(Manifest {
        name,
        identity: Identity { id, uid: space, created_ms },
        version,
    })
}

fn decode_segment(r: &mut Reader<'_>) -> Option<SegmentEntry> {
    let (number, file) = (SegmentNo::from_raw(r.u64()?), FileUid::from_raw(r.u64()?));
    let end = match r.u8()? {
        0 => None,
        1 => Some(SegmentEnd { len: r.u64()?, last: Lsn::from_raw(r.u64()?), chain: r.u32()? }),
        _ => return None,
    };
    Some(SegmentEntry { number, file, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let end = SegmentEnd { len: 4096 * 3, last: Lsn::from_raw(17), chain: 99 };
        Manifest {
            name: ManifestName { generation: Generation::from_raw(7), file: FileUid::from_raw(0xfeed) },
            identity: Identity {
                id: SpaceId::new("alpha").unwrap(),
                uid: SpaceUid([3; 16]),
                created_ms: 1_700_000_000_000,
            },
            version: Version {
                epoch: Epoch::from_raw(2).unwrap(),
                flushed: Lsn::ZERO,
                durable: Lsn::from_raw(17),
                next_segment: SegmentNo::from_raw(3),
                segments: vec![
                    SegmentEntry {
                        number: SegmentNo::from_raw(1),
                        file: FileUid::from_raw(1),
                        end: Some(end),
                    },
                    SegmentEntry { number: SegmentNo::from_raw(2), file: FileUid::from_raw(2), end: None },
                ],
                epoch_ends: vec![EpochEnd { last: Lsn::from_raw(17) }],
            },
        }
    }

    #[test]
    fn a_manifest_round_trips_and_one_whole_copy_is_enough() {
        let m = sample();
        let file = encode(&m);
        assert_eq!(file.len(), 2 * PAGE);
        assert_eq!(decode(&file, m.name, Some(m.identity.uid)), Some(m.clone()));
        for copy in 0..2 {
            let mut torn = file.clone();
            torn[copy * PAGE..copy * PAGE + PAGE].fill(0);
            assert_eq!(decode(&torn, m.name, None), Some(m.clone()), "copy {copy} lost");
        }
    }

    #[test]
    fn a_flipped_bit_in_both_copies_is_noticed_wherever_it_is() {
        let m = sample();
        let file = encode(&m);
        for bit in 0..PAGE * 8 {
            let mut other = file.clone();
            for copy in 0..2 {
                other[copy * PAGE + bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(decode(&other, m.name, None), None, "bit {bit}");
        }
    }

    #[test]
    fn another_name_or_another_space_is_another_manifest() {
        let m = sample();
        let file = encode(&m);
        assert_eq!(decode(&file, ManifestName { file: FileUid::from_raw(1), ..m.name }, None), None);
        assert_eq!(decode(&file, m.name, Some(SpaceUid([4; 16]))), None);
        let name = m.name.file_name();
        assert_eq!(name, "MANIFEST-0000000000000007-000000000000feed");
        assert_eq!(ManifestName::parse(&name), Some(m.name));
        for bad in ["MANIFEST-7-feed", "MANIFEST-", "MANIFEST", "manifest-0000000000000007-000000000000feed"]
        {
            assert_eq!(ManifestName::parse(bad), None);
        }
    }
}
