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
//! 80 flushed u64 · 88 durable u64 · 96 next segment number u64 · 104 next table number u64
//! 112 counts: segments, epoch ends, hot tables, warm tables, cold tables, heat bytes (zero so far): u32 each
//! 136 id     u16 length, bytes
//!     segments   { number u64, file u64, state u8 (0 open, 1 ended), [len u64, last u64, chain u32] } *
//!     epoch ends { last u64 } *
//!     tables     { table } *, hot oldest first, then warm and cold by key
//! table :=
//!  0 number u64 · 8 file u64 · 16 origin [u8;16] · 32 len u64 · 40 footer crc u32 · 44 priority i32
//! 48 entries u64 · 56 tombstones u64 · 64 range tombstones u64 · 72 hidden u64 · 80 bytes u64
//! 88 lowest LSN u64 · 96 highest LSN u64 · 104 touched u64, milliseconds since the Unix epoch
//! 112 lower bound u16 length, bytes · upper bound u16 length (0xffff: the end of all keys), bytes
//! ```
use super::tables::{TableEntry, Tables, Tier};
use super::version::{EpochEnd, SegmentEnd, SegmentEntry, Version};
use crate::codec::{Piece, Reader, align_up, checksum, identity_tag, is_zero};
use crate::identity::Identity;
use crate::ids::{Epoch, FileUid, Generation, Lsn, SegmentNo, SpaceId, SpaceUid, TableNo, padded_number};
use crate::key::KeyRange;
use crate::limits::{
    EPOCH_ENDS_MAX, HOT_TABLES_MAX, MANIFEST_MAX, PAGE, SEGMENTS_MAX, SPACE_ID_MAX, TABLES_MAX,
};

/// First bytes of a manifest.
pub(crate) const MAGIC: [u8; 8] = *b"BHMANIFS";
const CRC_AT: usize = 16;
const LEN_AT: usize = 20;
/// Length of an upper bound that is the end of all keys.
const NO_BOUND: u16 = u16::MAX;
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
        let generation = Generation::from_raw(padded_number(generation)?);
        Some(ManifestName { generation, file: FileUid::parse(file)? })
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
    for n in [v.flushed.raw(), v.durable.raw(), v.next_segment.raw(), v.next_table.raw()] {
        c.extend_from_slice(&n.to_le_bytes());
    }
    let tiers = Tier::ALL.map(|tier| v.tables.tier(tier).len());
    for count in [v.segments.len(), v.epoch_ends.len(), tiers[0], tiers[1], tiers[2], 0] {
        c.extend_from_slice(&(count as u32).to_le_bytes());
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
    v.tables.iter().for_each(|(_, table)| encode_table(&mut c, table));
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

fn encode_table(c: &mut Vec<u8>, t: &TableEntry) {
    c.extend_from_slice(&t.number.raw().to_le_bytes());
    c.extend_from_slice(&t.file.raw().to_le_bytes());
    c.extend_from_slice(&t.origin.0);
    c.extend_from_slice(&t.len.to_le_bytes());
    c.extend_from_slice(&t.footer_crc.to_le_bytes());
    c.extend_from_slice(&t.priority.to_le_bytes());
    let numbers = [t.entries, t.tombstones, t.range_tombstones, t.hidden, t.bytes];
    for n in numbers.into_iter().chain([t.lowest.raw(), t.highest.raw(), t.touched_ms]) {
        c.extend_from_slice(&n.to_le_bytes());
    }
    c.extend_from_slice(&(t.range.lower().len() as u16).to_le_bytes());
    c.extend_from_slice(t.range.lower());
    c.extend_from_slice(&t.range.upper().map_or(NO_BOUND, |u| u.len() as u16).to_le_bytes());
    c.extend_from_slice(t.range.upper().unwrap_or_default());
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

/// Which manifest the copy at the front of `bytes` says that it is of, and where the next copy would begin. Nothing is
/// verified: for a look at a file by itself.
#[must_use]
pub fn claimed_name(bytes: &[u8]) -> Option<(ManifestName, usize)> {
    let mut r = Reader::new(bytes.get(LEN_AT..)?);
    let len = r.u32()? as usize;
    let (_level, _flags) = (r.u32()?, r.u32()?);
    let name = ManifestName { generation: Generation::from_raw(r.u64()?), file: FileUid::from_raw(r.u64()?) };
    (len <= MANIFEST_MAX).then(|| (name, align_up(len as u64, PAGE as u64) as usize))
}

/// Takes `bytes`, with its padding, for the copy at `offset` of the manifest file `name`, if it verifies.
#[must_use]
pub fn decode_copy(bytes: &[u8], offset: u64, name: ManifestName, uid: Option<SpaceUid>) -> Option<Manifest> {
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
    let next_table = TableNo::from_raw(r.u64()?);
    let mut counts = [0; 6];
    for count in &mut counts {
        *count = r.u32()? as usize;
    }
    let [segments, ends, hot, warm, cold, heat] = counts;
    let tables_fit = hot <= HOT_TABLES_MAX && warm <= TABLES_MAX && cold <= TABLES_MAX;
    if segments > SEGMENTS_MAX || ends > EPOCH_ENDS_MAX || !tables_fit || heat != 0 {
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
    let mut tables = |count| (0..count).map(|_| decode_table(&mut r)).collect::<Option<Vec<_>>>();
    let tables = Tables { hot: tables(hot)?, warm: tables(warm)?, cold: tables(cold)? };
    let version = Version { epoch, flushed, durable, next_segment, next_table, segments, epoch_ends, tables };
    let rest_is_zero = r.is_empty() && is_zero(&bytes[len..]);
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

fn decode_table(r: &mut Reader<'_>) -> Option<TableEntry> {
    let (number, file) = (TableNo::from_raw(r.u64()?), FileUid::from_raw(r.u64()?));
    let origin = SpaceUid(r.array()?);
    let (len, footer_crc) = (r.u64()?, r.u32()?);
    let priority = i32::from_le_bytes(r.array()?);
    let (entries, tombstones, range_tombstones) = (r.u64()?, r.u64()?, r.u64()?);
    let (hidden, bytes) = (r.u64()?, r.u64()?);
    let (lowest, highest) = (Lsn::from_raw(r.u64()?), Lsn::from_raw(r.u64()?));
    let touched_ms = r.u64()?;
    Some(TableEntry {
        number,
        file,
        origin,
        len,
        footer_crc,
        range: decode_range(r)?,
        entries,
        tombstones,
        range_tombstones,
        hidden,
        bytes,
        lowest,
        highest,
        priority,
        touched_ms,
    })
}

fn decode_range(r: &mut Reader<'_>) -> Option<KeyRange> {
    let lower_len = usize::from(r.u16()?);
    let lower = r.bytes(lower_len)?;
    let upper = match r.u16()? {
        NO_BOUND => None,
        len => Some(r.bytes(usize::from(len))?),
    };
    KeyRange::new(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u64, range: KeyRange) -> TableEntry {
        TableEntry {
            number: TableNo::from_raw(number),
            file: FileUid::from_raw(0x100 + number),
            origin: SpaceUid([number as u8; 16]),
            len: 8192 + number,
            footer_crc: 77,
            range,
            entries: 5,
            tombstones: 2,
            range_tombstones: 1,
            hidden: 1,
            bytes: 123,
            lowest: Lsn::from_raw(3),
            highest: Lsn::from_raw(9),
            priority: -4,
            touched_ms: 1_700_000_000_001,
        }
    }

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
                flushed: Lsn::from_raw(9),
                durable: Lsn::from_raw(17),
                next_segment: SegmentNo::from_raw(3),
                next_table: TableNo::from_raw(5),
                segments: vec![
                    SegmentEntry {
                        number: SegmentNo::from_raw(1),
                        file: FileUid::from_raw(1),
                        end: Some(end),
                    },
                    SegmentEntry { number: SegmentNo::from_raw(2), file: FileUid::from_raw(2), end: None },
                ],
                epoch_ends: vec![EpochEnd { last: Lsn::from_raw(17) }],
                tables: Tables {
                    hot: vec![table(3, KeyRange::all()), table(2, KeyRange::covering(b"b", b"x"))],
                    warm: vec![table(1, KeyRange::covering(b"a", b"m"))],
                    cold: vec![table(4, KeyRange::new(b"q", None).unwrap())],
                },
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
    fn a_manifest_with_every_list_full_and_every_bound_long_fits() {
        let mut m = sample();
        let bound =
            |n: usize| [vec![1; crate::limits::BOUND_MAX - 2], (n as u16).to_be_bytes().to_vec()].concat();
        let entry = |n: usize| table(n as u64, KeyRange::new(&bound(n), Some(&bound(n + 1))).unwrap());
        let v = &mut m.version;
        v.next_table = TableNo::from_raw(TABLES_MAX as u64);
        v.tables = Tables {
            hot: (0..HOT_TABLES_MAX).map(entry).collect(),
            warm: (HOT_TABLES_MAX..TABLES_MAX / 2).map(entry).collect(),
            cold: (TABLES_MAX / 2..TABLES_MAX).map(entry).collect(),
        };
        let end = SegmentEnd { len: 8192, last: Lsn::from_raw(17), chain: 1 };
        let segment =
            |n| SegmentEntry { number: SegmentNo::from_raw(n), file: FileUid::from_raw(n), end: Some(end) };
        v.next_segment = SegmentNo::from_raw(SEGMENTS_MAX as u64);
        v.segments = (0..SEGMENTS_MAX as u64).map(segment).collect();
        v.epoch_ends = (1..=EPOCH_ENDS_MAX as u64).map(|n| EpochEnd { last: Lsn::from_raw(n) }).collect();
        assert_eq!(decode(&encode(&m), m.name, None), Some(m.clone()));
        let fewer =
            Version { tables: Tables { cold: Vec::new(), ..m.version.tables.clone() }, ..m.version.clone() };
        let cold = m.version.tables.cold.len();
        let len = |version: &Version| encode(&Manifest { version: version.clone(), ..m.clone() }).len();
        let each = (len(&m.version) - len(&fewer)) / 2 / cold;
        assert!(each <= crate::limits::TABLE_ENTRY_MAX, "an entry takes {each} bytes");
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
