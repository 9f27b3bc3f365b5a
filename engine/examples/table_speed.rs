//! What tables cost without any disk: building, points in cached blocks, walking, merging.
//!
//! `cargo run --release -p bulkhead --example table_speed [RECORDS]`. Keys of 16 bytes, values of 128 that compress
//! about twofold. All pieces lie in memory, verified, as in a cache that holds everything; finding one there
//! is one look into a hash map.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

use bulkhead::Direction;
use bulkhead::codec::mix;
use bulkhead::ids::{FileUid, Lsn, Priority, SpaceUid};
use bulkhead::manifest::KeyRange;
use bulkhead::table::{
    Below, Body, Bounded, Cursor, Entry, Found, Keep, Loaded, Lookup, Merge, Need, Opener, Opening, Pace,
    Progress, Readers, Rewrite, Shape, Step, Table, TableBuilder, TableId,
};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::hint::black_box;
use std::sync::Arc;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"user/00000000000";
    for (i, digit) in format!("{n:011}").bytes().enumerate() {
        key[5 + i] = digit;
    }
    key
}

fn value(n: u64) -> [u8; 128] {
    let mut value = [b'.'; 128];
    for i in 0..8 {
        value[8 * i..8 * i + 8].copy_from_slice(&mix(n * 8 + i as u64).to_le_bytes());
    }
    value
}

fn id(file: u64) -> TableId {
    TableId { origin: SpaceUid([1; 16]), file: FileUid::from_raw(file) }
}

/// Builds a table of the records whose number modulo `of` is `part`.
fn build(shape: Shape, records: u64, part: u64, of: u64) -> Bytes {
    let mut builder = TableBuilder::new(id(part), shape);
    for n in (part..records).step_by(of as usize) {
        let (key, value) = (key(n), value(n));
        let entry = Entry {
            key: &key,
            lsn: Lsn::from_raw(n + 1),
            priority: Priority::default(),
            body: Body::Put(&value),
        };
        builder.add(entry);
    }
    builder.finish().0.bytes.into()
}

/// A file, its table and all of its blocks as a cache would hold them.
struct Cached {
    file: Bytes,
    table: Arc<Table>,
    pieces: FxHashMap<u64, Loaded>,
}

impl Cached {
    fn new(file: Bytes, id: TableId) -> Cached {
        let mut opener = Opener::new(id, file.len() as u64, None, Keep::Tail(1 << 30));
        let mut opening = opener.begin().unwrap();
        let table = loop {
            match opening {
                Opening::Done(table) => break Arc::new(*table),
                Opening::Read { offset, len } => {
                    let offset = offset as usize;
                    opening = opener.feed(file.slice(offset..offset + len)).unwrap();
                }
            }
        };
        Cached { file, table, pieces: FxHashMap::default() }
    }

    fn bytes(&self, need: Need) -> Bytes {
        let at = need.handle.offset as usize;
        self.file.slice(at..at + need.handle.len as usize)
    }

    fn fetch(&mut self, need: Need) -> &Loaded {
        let (file, table) = (&self.file, &self.table);
        self.pieces.entry(need.handle.offset).or_insert_with(|| {
            let at = need.handle.offset as usize;
            table.admit(need, &file.slice(at..at + need.handle.len as usize)).unwrap()
        })
    }

    /// Makes of its pieces what a cache keeps for lookups.
    fn for_lookups(&mut self) {
        self.pieces.values_mut().for_each(|piece| *piece = piece.clone().for_lookups());
    }

    fn get(&mut self, key: &[u8]) -> Found {
        let mut lookup = Lookup::new(key, Lsn::from_raw(u64::MAX));
        let table = self.table.clone();
        let mut step = lookup.begin(&table).unwrap();
        loop {
            match step {
                Step::Done(found) => return found,
                Step::Need(need) => step = lookup.feed(&table, self.fetch(need)).unwrap(),
            }
        }
    }

    fn scan(&mut self, direction: Direction) -> u64 {
        let mut cursor = Cursor::new(self.table.clone());
        let (mut count, mut bytes) = (0, 0);
        let mut step = match direction {
            Direction::Ascending => cursor.seek_first(),
            Direction::Descending => cursor.seek_last(),
        };
        loop {
            step = match step.unwrap() {
                Step::Need(need) => cursor.feed(self.fetch(need)),
                Step::Done(false) => break,
                Step::Done(true) => {
                    let view = cursor.entry().unwrap();
                    bytes += black_box(view.key).len();
                    black_box(view.value());
                    count += 1;
                    match direction {
                        Direction::Ascending => cursor.forward(),
                        Direction::Descending => cursor.back(),
                    }
                }
            };
        }
        black_box(bytes);
        count
    }
}

/// Merges all of these tables into new ones; bytes written.
fn rewrite(tables: &[Cached], shape: Shape) -> u64 {
    let sources = tables.iter().map(|t| {
        Bounded::begin(Cursor::new(t.table.clone()), &KeyRange::all(), Direction::Ascending).unwrap()
    });
    let merge = Merge::new(Direction::Ascending, sources.collect());
    let mut rewrite = Rewrite::new(merge, Vec::new(), Readers::new(Vec::new(), Lsn::from_raw(u64::MAX)));
    let pace = Pace { drain: 1 << 20, table: 64 << 20, extent: 1 << 20 };
    let (mut builder, mut written) = (TableBuilder::new(id(1000), shape), 0);
    loop {
        match rewrite.step(&mut builder, pace, &Below::Nothing).unwrap() {
            Progress::Need { source, need } => {
                let loaded = tables[source].table.admit(need, &tables[source].bytes(need)).unwrap();
                rewrite.feed(source, &loaded).unwrap();
            }
            Progress::NeedValue { source, need } => {
                rewrite.feed_value(&tables[source].bytes(need), &mut builder).unwrap();
            }
            Progress::Drain => written += builder.take().bytes.len() as u64,
            step @ (Progress::Cut | Progress::Stop | Progress::Done) => {
                let full = std::mem::replace(&mut builder, TableBuilder::new(id(1000), shape));
                written += full.finish().0.bytes.len() as u64;
                if step == Progress::Done {
                    return written;
                }
            }
        }
    }
}

/// Nanoseconds that this thread has run for: on a machine that others use too, the clock on the wall says little.
fn cpu_time() -> u64 {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells how long a thread ran");
    stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of nanoseconds")
}

/// The best of three runs of `work`, in nanoseconds for each of `n`.
fn best(n: u64, mut work: impl FnMut()) -> f64 {
    let times = (0..3).map(|_| {
        let start = cpu_time();
        work();
        (cpu_time() - start) as f64 / n as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    let records: u64 = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a number of records"));
    println!("{records} records of 16 + 128 bytes; CPU time, best of three");
    for (name, shape) in [("hot", Shape::HOT), ("warm", Shape::WARM), ("cold", Shape::COLD)] {
        let mut file = Bytes::new();
        let ns = best(records, || file = build(shape, records, 0, 1));
        let plain = records as f64 * 144.0;
        println!(
            "{name}: build {ns:.0} ns/record, {:.0} MB/s; {:.3} bytes a byte",
            144e3 / ns,
            file.len() as f64 / plain
        );
        let blocks = best(records, || {
            black_box(Cached::new(file.clone(), id(0)).scan(Direction::Ascending));
        });
        let mut cached = Cached::new(file, id(0));
        assert_eq!(cached.scan(Direction::Ascending), records);
        let up = best(records, || assert_eq!(cached.scan(Direction::Ascending), records));
        let down = best(records, || assert_eq!(cached.scan(Direction::Descending), records));
        println!(
            "{name}: scan {:.1} M records/s up, {:.1} down, {:.1} with every block verified and decompressed",
            1e3 / up,
            1e3 / down,
            1e3 / blocks
        );
        cached.for_lookups();
        let gets = 1_000_000;
        let present: Vec<_> = (0..gets).map(|i| key(mix(i) % records)).collect();
        let absent: Vec<_> = present.iter().map(|key| [&key[..15], b"x"].concat()).collect();
        let hit = best(gets, || present.iter().for_each(|key| drop(black_box(cached.get(key)))));
        let miss = best(gets, || absent.iter().for_each(|key| drop(black_box(cached.get(key)))));
        println!(
            "{name}: get {hit:.0} ns, absent key {miss:.0} ns; {} KiB kept",
            cached.table.memory() / 1024
        );
    }
    let parts: Vec<_> =
        (0..4).map(|part| Cached::new(build(Shape::HOT, records, part, 4), id(part))).collect();
    let mut written = 0;
    let ns = best(records, || written = rewrite(&parts, Shape::WARM));
    println!("merge of four hot tables into warm: {ns:.0} ns/record, {:.0} MB/s in", 144e3 / ns);
    assert!(written > 0);
}
