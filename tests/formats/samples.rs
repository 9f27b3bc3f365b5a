//! One value of every format, as the goldens hold it: small, and with every field different from its neighbours.
use bulkhead::ids::{Epoch, FileUid, Generation, Lsn, Priority, SegmentNo, SpaceId, SpaceUid, TableNo};
use bulkhead::limits::SECTOR;
use bulkhead::manifest::{
    EpochEnd, KeyRange, Manifest, ManifestName, SegmentEnd, SegmentEntry, TableEntry, Tables, Version,
};
use bulkhead::space::Identity;
use bulkhead::wal::frame::{FrameHead, FrameKind, Link, Place, begin, encode_seal, finish, put_mark};
use bulkhead::wal::operation::Operation;
use bulkhead::wal::segment::{SEGMENT_HEADER, SegmentId, encode_header};

pub fn space_uid() -> SpaceUid {
    SpaceUid(std::array::from_fn(|i| 0xa0 + i as u8))
}

pub fn identity() -> Identity {
    Identity { id: SpaceId::new("Ärger & Söhne").unwrap(), uid: space_uid(), created_ms: 1_795_000_000_123 }
}

/// The LSN number `counter` of epoch 2.
pub fn lsn(counter: u64) -> Lsn {
    Epoch::from_raw(2).unwrap().first_lsn().advance(counter - 1)
}

pub fn segment_id() -> SegmentId {
    SegmentId {
        space: space_uid(),
        file: FileUid::from_raw(0xf11e_0000_0000_0003),
        number: SegmentNo::from_raw(3),
    }
}

pub fn place(offset: u64) -> Place {
    Place { tag: segment_id().frame_tag(), offset }
}

pub fn link() -> Link {
    Link { file: Some(FileUid::from_raw(0xf11e_0000_0000_0002)), len: 8192, last: lsn(4), chain: 0xc4a1_0000 }
}

fn head(kind: FrameKind, count: u32, first: Lsn, durable: Lsn, prev: u32) -> FrameHead {
    FrameHead { kind, count, first, durable, prev }
}

pub fn link_frame(prev: u32, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let head = head(FrameKind::Link, 0, lsn(4), lsn(4), prev);
    put_mark(&mut out, head, &link().encode(), place(offset), 8);
    out
}

fn put(key: &'static [u8], value: &'static [u8], priority: i32) -> Operation<'static> {
    Operation::Put { key, value, priority: Priority::from_raw(priority) }
}

/// Two commits: a put of an empty value and a delete in one batch; a put of 300 bytes.
pub fn operations() -> [Vec<Operation<'static>>; 2] {
    [
        vec![put(b"alpha/1", b"", 0), Operation::Delete { key: b"alpha/2" }],
        vec![put(b"alpha/3", &[0x5a; 300], 0)],
    ]
}

/// Two commits: of one range and a put in it, and of everything.
pub fn range_deletes() -> [Vec<Operation<'static>>; 2] {
    let range = Operation::DeleteRange { start: b"alpha/", end: Some(b"alpha0") };
    [vec![range, put(b"alpha/9", b"stays", 0)], vec![Operation::DeleteRange { start: b"", end: None }]]
}

/// Two commits: of puts with the ends of what a priority may be, and of one of each sign.
pub fn priorities() -> [Vec<Operation<'static>>; 2] {
    [
        vec![put(b"alpha/1", b"first to stay", i32::MAX), put(b"alpha/2", b"", i32::MIN)],
        vec![put(b"alpha/1", b"one", 1), put(b"alpha/3", b"minus 100", -100)],
    ]
}

pub fn commits_body(commits: &[Vec<Operation<'static>>]) -> Vec<u8> {
    let mut body = Vec::new();
    for commit in commits {
        bulkhead::codec::put_varint(&mut body, commit.len() as u64);
        commit.iter().for_each(|op| op.encode(&mut body));
    }
    body
}

pub fn commits_frame(prev: u32, offset: u64) -> Vec<u8> {
    frame_of(&operations(), prev, offset)
}

pub fn ranges_frame(prev: u32, offset: u64) -> Vec<u8> {
    frame_of(&range_deletes(), prev, offset)
}

pub fn priorities_frame(prev: u32, offset: u64) -> Vec<u8> {
    frame_of(&priorities(), prev, offset)
}

fn frame_of(commits: &[Vec<Operation<'static>>], prev: u32, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin(&mut out);
    out.extend_from_slice(&commits_body(commits));
    finish(&mut out, start, head(FrameKind::Commits, 2, lsn(5), lsn(4), prev), place(offset), SECTOR);
    out
}

pub fn seal_frame(prev: u32, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let head = head(FrameKind::Seal, 0, lsn(6), lsn(6), prev);
    put_mark(&mut out, head, &encode_seal(lsn(6), prev), place(offset), SECTOR);
    out
}

pub fn pad_frame(prev: u32, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_mark(&mut out, head(FrameKind::Pad, 0, lsn(6), lsn(4), prev), &[], place(offset), SECTOR);
    out
}

pub fn segment_header() -> Vec<u8> {
    encode_header(segment_id(), Epoch::from_raw(2).unwrap(), 65536).0
}

/// A whole sealed segment with unwritten space behind it, and where its frames begin.
pub fn segment() -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut prev) = encode_header(segment_id(), Epoch::from_raw(2).unwrap(), 65536);
    let mut starts = Vec::new();
    for frame in [link_frame, commits_frame, pad_frame, seal_frame] {
        starts.push(out.len());
        let bytes = frame(prev, out.len() as u64);
        prev = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        out.extend_from_slice(&bytes);
    }
    assert_eq!(starts[0] as u64, SEGMENT_HEADER);
    out.resize(3 * 4096, 0);
    (out, starts)
}

pub fn manifest_name() -> ManifestName {
    ManifestName { generation: Generation::from_raw(7), file: FileUid::from_raw(0xf11e_0000_0000_0007) }
}

fn table(number: u64, range: KeyRange) -> TableEntry {
    TableEntry {
        number: TableNo::from_raw(number),
        file: FileUid::from_raw(0xf11e_1000_0000_0000 + number),
        origin: space_uid(),
        len: 0x1_2345 + number,
        footer_crc: 0xf007_0000 + number as u32,
        range,
        entries: 100 + number,
        tombstones: 20 + number,
        range_tombstones: number,
        hidden: number / 2,
        bytes: 5000 + number,
        lowest: Lsn::from_raw(number),
        highest: lsn(3),
        priority: -(number as i32),
        touched_ms: 1_795_000_000_000 + number,
    }
}

/// Two overlapping hot tables, the older one first; two warm ones; a cold one up to the end of all keys.
fn tables() -> Tables {
    let range = |lower: &[u8], upper: &[u8]| KeyRange::new(lower, Some(upper)).unwrap();
    Tables {
        hot: vec![table(5, range(b"alpha", b"omega")), table(4, range(b"beta", b"gamma\0"))],
        warm: vec![table(1, range(b"a", b"m")), table(2, range(b"m", b"z"))],
        cold: vec![table(3, KeyRange::new(b"k", None).unwrap())],
    }
}

pub fn manifest() -> Manifest {
    let version = Version {
        epoch: Epoch::from_raw(2).unwrap(),
        flushed: lsn(3),
        durable: lsn(4),
        next_segment: SegmentNo::from_raw(4),
        next_table: TableNo::from_raw(6),
        segments: vec![
            SegmentEntry {
                number: SegmentNo::from_raw(2),
                file: FileUid::from_raw(0xf11e_0000_0000_0002),
                end: Some(SegmentEnd { len: 8192, last: lsn(4), chain: 0xc4a1_0000 }),
            },
            SegmentEntry { number: SegmentNo::from_raw(3), file: segment_id().file, end: None },
        ],
        epoch_ends: vec![EpochEnd { last: Epoch::from_raw(1).unwrap().first_lsn().advance(41) }],
        tables: tables(),
    };
    Manifest { name: manifest_name(), identity: identity(), version }
}

pub fn new_manifest() -> Manifest {
    Manifest { version: Version::new(), ..manifest() }
}
