//! Tables as the goldens hold them. What LZ4 makes of a block is for its encoder to choose: that golden is only read.
use super::golden::{kept, written};
use super::samples;
use bulkhead::ids::{FileUid, Lsn, Priority};
use bulkhead::table::{
    Body, Compression, Cursor, Damage, Entry, Keep, Opener, Opening, RangeTombstone, Shape, Slot, Step,
    Table, TableBuilder, TableId,
};
use bytes::Bytes;
use std::sync::Arc;

pub fn id() -> TableId {
    TableId { origin: samples::space_uid(), file: FileUid::from_raw(0xf11e_1000_0000_0003) }
}

/// Key, number of the LSN, priority, value.
type Version = (&'static str, u64, i32, Option<&'static [u8]>);

/// Two blocks; a key with three versions, one of them a delete; a value that lies apart; priorities.
fn versions() -> [Version; 7] {
    [
        ("alpha/1", 9, 0, Some(b"one")),
        ("alpha/1", 4, 0, None),
        ("alpha/1", 2, -3, Some(b"first")),
        ("alpha/2", 9, 300, Some(b"")),
        ("alpha/3", 5, 0, Some(&[0x5a; 40])),
        ("beta", 7, 0, None),
        ("gamma", 8, 0, Some(b"the last one")),
    ]
}

fn shape(compression: Compression) -> Shape {
    Shape { block: 80, interval: 2, compression, inline: 16 }
}

fn ranges() -> [RangeTombstone; 2] {
    let key = Bytes::from_static;
    [
        RangeTombstone { start: key(b"b"), end: Some(key(b"c")), lsn: samples::lsn(6) },
        RangeTombstone { start: key(b"zeta"), end: None, lsn: samples::lsn(3) },
    ]
}

fn build(compression: Compression, versions: &[Version]) -> Vec<u8> {
    let mut builder = TableBuilder::new(id(), shape(compression));
    for (key, n, priority, value) in versions {
        let (key, priority) = (key.as_bytes(), Priority::from_raw(*priority));
        let body = value.map_or(Body::Delete, Body::Put);
        builder.add(Entry { key, lsn: samples::lsn(*n), priority, body });
    }
    ranges().into_iter().for_each(|range| builder.add_range(range));
    builder.finish().0.bytes
}

/// A table of entries and range tombstones.
pub fn table() -> Vec<u8> {
    build(Compression::None, &versions())
}

/// A table of range tombstones alone.
pub fn ranges_only() -> Vec<u8> {
    build(Compression::None, &[])
}

fn cut(file: &Bytes, offset: u64, len: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
    file.slice(start..file.len().min(start.saturating_add(len)))
}

/// Opens `file` as the sample table.
///
/// # Errors
/// What is damaged.
pub fn open(file: &Bytes, keep: Keep) -> Result<Arc<Table>, Damage> {
    let mut opener = Opener::new(id(), file.len() as u64, None, keep);
    let mut opening = opener.begin()?;
    loop {
        match opening {
            Opening::Done(table) => return Ok(Arc::new(*table)),
            Opening::Read { offset, len } => opening = opener.feed(cut(file, offset, len))?,
        }
    }
}

/// A version as it is read: key, LSN, priority, value.
pub type Read = (Vec<u8>, Lsn, Priority, Option<Bytes>);

/// All that a table says.
///
/// # Errors
/// What is damaged.
pub fn read(file: &Bytes, keep: Keep) -> Result<Vec<Read>, Damage> {
    let table = open(file, keep)?;
    let mut cursor = Cursor::new(table.clone());
    let mut found = Vec::new();
    let mut step = cursor.seek_first()?;
    loop {
        match step {
            Step::Need(need) => {
                let loaded = table.admit(need, &cut(file, need.handle.offset, need.handle.len as usize))?;
                step = cursor.feed(&loaded)?;
            }
            Step::Done(false) => return Ok(found),
            Step::Done(true) => {
                let view = cursor.entry().expect("the cursor stands at an entry");
                let value = match view.value() {
                    None => None,
                    Some(Slot::Inline(value)) => Some(value),
                    Some(Slot::Apart(apart)) => {
                        Some(table.value(apart, &cut(file, apart.handle.offset, apart.handle.len as usize))?)
                    }
                };
                found.push((view.key.to_vec(), view.lsn, view.priority, value));
                step = cursor.forward()?;
            }
        }
    }
}

#[test]
fn the_builder_writes_what_the_goldens_hold() {
    written("table-1", &table());
    written("table-1-ranges", &ranges_only());
}

#[test]
fn the_readers_read_what_the_goldens_hold() {
    let expected: Vec<_> = versions()
        .into_iter()
        .map(|(key, n, priority, value)| {
            let (key, value) = (key.as_bytes().to_vec(), value.map(Bytes::from_static));
            (key, samples::lsn(n), Priority::from_raw(priority), value)
        })
        .collect();
    for keep in [Keep::Root, Keep::Tail(4096)] {
        assert_eq!(read(&kept("table-1").into(), keep).unwrap(), expected);
        assert_eq!(read(&kept("table-1-lz4").into(), keep).unwrap(), expected);
        assert_eq!(read(&kept("table-1-ranges").into(), keep).unwrap(), []);
    }
    let table = open(&kept("table-1-ranges").into(), Keep::Root).unwrap();
    assert_eq!(table.extent().tombstones(), ranges());
    let counts = open(&kept("table-1").into(), Keep::Root).unwrap().footer().counts;
    assert_eq!((counts.entries, counts.tombstones, counts.ranges), (7, 2, 2));
    assert_eq!((counts.key_bytes, counts.value_bytes, counts.priority.raw()), (44, 60, 300));
}
