//! Goal: a table that was written is what a reader gets, whatever its disk does; what fails leaves no file.
//!
//! Method: one table with entries, large values and range tombstones, written and read on the simulated and on the real
//! disk; then bytes flipped, files cut, removed, and a disk that is full or fails.
use super::disk::{Disk, new_table, run};
use bulkhead::env::os::{OsEnv, block_on};
use bulkhead::env::{Access, Dir, Env, Missing};
use bulkhead::ids::{Lsn, Priority};
use bulkhead::manifest::{TableEntry, Tier};
use bulkhead::naming::Naming;
use bulkhead::table::{Body, Entry, Found, Keep, Lookup, Need, PieceKind, RangeTombstone, Shape, Slot, Step};
use bulkhead::work::table::{open, read_piece, read_stored, read_value};
use bulkhead::work::write::sync_dir;
use bulkhead::work::{Failure, OpenTable, TableWriter, Written};
use bulkhead::{Error, ErrorKind};
use bulkhead_fault_injection::{FaultKind, FaultPlan, FaultRule, View};
use std::sync::Arc;

const KEYS: u64 = 3000;
const KEEP: Keep = Keep::Tail(1 << 20);

fn key(n: u64) -> Vec<u8> {
    format!("key-{n:06}").into_bytes()
}

/// Most are short; some lie apart, and one of them is longer than what is written at once.
fn value(n: u64) -> Vec<u8> {
    let len = match n {
        5 => 600_000,
        n if n % 100 == 7 => 9000,
        n => n as usize % 200,
    };
    (0..len).map(|i| (i as u64 * 31 + n) as u8).collect()
}

fn body(n: u64, value: &[u8]) -> Body<'_> {
    if n.is_multiple_of(10) { Body::Delete } else { Body::Put(value) }
}

async fn write(dir: &Arc<dyn Dir>, shape: Shape) -> Result<Written, Failure> {
    let mut writer = TableWriter::begin(dir, new_table(1), shape);
    for n in 0..KEYS {
        let (key, value) = (key(n), value(n));
        let priority = Priority::from_raw(n as i32 % 5);
        writer.add(Entry { key: &key, lsn: Lsn::from_raw(100 + n), priority, body: body(n, &value) });
        writer.drain().await?;
    }
    let (start, end) = (b"zz".to_vec().into(), Some(b"zzz".to_vec().into()));
    writer.add_range(RangeTombstone { start, end, lsn: Lsn::from_raw(7) });
    Ok(writer.finish(55, KEEP).await?.expect("it holds something"))
}

async fn look(of: &OpenTable, key: &[u8]) -> Result<Found, Failure> {
    let mut lookup = Lookup::new(key, Lsn::from_raw(u64::MAX));
    let mut step = lookup.begin(&of.table).map_err(|e| of.damaged(e))?;
    loop {
        match step {
            Step::Done(found) => return Ok(found),
            Step::Need(need) => {
                let piece = read_piece(of, need).await?;
                step = lookup.feed(&of.table, &piece).map_err(|e| of.damaged(e))?;
            }
        }
    }
}

/// Compares all of the table with what was written.
async fn compare(of: &OpenTable) {
    for n in 0..KEYS {
        let expected = value(n);
        match look(of, &key(n)).await.unwrap() {
            Found::Delete { lsn } => assert_eq!((n % 10, lsn.raw()), (0, 100 + n)),
            Found::Put { lsn, priority, value } => {
                assert_eq!((lsn.raw(), priority.raw()), (100 + n, n as i32 % 5));
                let found = match value {
                    Slot::Inline(found) => found,
                    Slot::Apart(apart) => {
                        assert_eq!(read_stored(of, apart).await.unwrap().len(), expected.len());
                        read_value(of, apart).await.unwrap()
                    }
                };
                assert!(found == expected, "the value of {n}");
            }
            Found::Absent => panic!("{n} is gone"),
        }
    }
    assert_eq!(look(of, b"zz1").await.unwrap(), Found::Delete { lsn: Lsn::from_raw(7) });
}

fn check_entry(entry: &TableEntry, len: u64) {
    let values: u64 = (0..KEYS).filter(|n| n % 10 != 0).map(|n| value(n).len() as u64).sum();
    assert_eq!((entry.entries, entry.tombstones, entry.range_tombstones), (KEYS, KEYS / 10, 1));
    assert_eq!((entry.bytes, entry.len), (values + KEYS * 10, len));
    assert_eq!((entry.lowest.raw(), entry.highest.raw()), (7, 99 + KEYS));
    assert_eq!((entry.priority, entry.touched_ms), (4, 55));
    assert_eq!((entry.range.lower(), entry.range.upper()), (&key(0)[..], Some(&b"zzz"[..])));
}

#[test]
fn a_table_is_read_as_it_was_written_on_either_disk() {
    for shape in [Shape::HOT, Shape::WARM, Shape::COLD] {
        let disk = Disk::new(1);
        let written = disk.run(write(disk.dir(Tier::Hot), shape)).unwrap();
        disk.run(compare(&written.table));
        let (entry, ..) = written.keep();
        disk.run(sync_dir(&Naming::default(), disk.dir(Tier::Hot))).unwrap();
        let path = format!("/mnt/data/hot/{}", entry.file_name());
        let durable = disk.world.read_file(&path, View::Durable).expect("the name is durable");
        check_entry(&entry, durable.len() as u64);
        for keep in [Keep::Root, KEEP] {
            disk.run(async { compare(&open(disk.dir(Tier::Hot), &entry, keep).await.unwrap()).await });
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let _inside = runtime.enter();
    let env = OsEnv::current();
    block_on(async {
        let dir = env.open_root(temp.path(), Missing::Refuse).await.unwrap();
        let (entry, table, _) = write(&dir, Shape::HOT).await.unwrap().keep();
        compare(&table).await;
        check_entry(&entry, std::fs::metadata(temp.path().join(entry.file_name())).unwrap().len());
        compare(&open(&dir, &entry, Keep::Root).await.unwrap()).await;
        write(&dir, Shape::HOT).await.expect_err("the name is taken, and stays with whom it belongs to");
        compare(&open(&dir, &entry, Keep::Root).await.unwrap()).await;
    });
}

/// A disk with a finished table.
fn finished() -> (Disk, TableEntry) {
    let disk = Disk::new(1);
    let (entry, ..) = disk.run(write(disk.dir(Tier::Hot), Shape::WARM)).unwrap().keep();
    (disk, entry)
}

/// Changes the file of `entry` as `change` says.
fn tamper(disk: &Disk, entry: &TableEntry, change: impl FnOnce(&mut Vec<u8>)) {
    let dir = disk.dir(Tier::Hot);
    run(&disk.world, async {
        let file = dir.open(&entry.file_name(), Access::Write).await.unwrap();
        let mut bytes = file.read_at(0, vec![0; entry.len as usize]).await.unwrap();
        change(&mut bytes);
        file.truncate(bytes.len() as u64).await.unwrap();
        file.write_at(0, bytes).await.unwrap();
    });
}

#[test]
fn damage_is_told_with_the_offset_of_the_piece() {
    let (disk, entry) = finished();
    let table = disk.run(open(disk.dir(Tier::Hot), &entry, KEEP)).unwrap();
    let mut lookup = Lookup::new(b"key-002001", Lsn::from_raw(u64::MAX));
    let Step::Need(need) = lookup.begin(&table.table).unwrap() else { panic!("a block is needed") };
    assert_eq!(need.kind, PieceKind::Block);
    tamper(&disk, &entry, |bytes| bytes[need.handle.offset as usize + 30] ^= 1);
    let Err(Failure::Damaged { path, damage }) = disk.run(read_piece(&table, need)) else {
        panic!("a flipped bit is noticed")
    };
    assert_eq!((damage.offset, damage.file), (need.handle.offset, entry.file));
    assert!(path.ends_with(entry.file_name()));
    let error = Error::from(Failure::Damaged { path: path.clone(), damage });
    assert_eq!(
        (error.kind(), error.path(), error.offset()),
        (ErrorKind::Corrupt, Some(&*path), Some(damage.offset))
    );
    disk.run(look(&table, b"key-000001")).expect("other pieces are not concerned");

    let footer = entry.len - 512;
    for (at, expected) in [
        (footer + 200, footer),
        (table.table.footer().extent.offset + 25, table.table.footer().extent.offset),
    ] {
        let (disk, entry) = finished();
        tamper(&disk, &entry, |bytes| bytes[at as usize] ^= 4);
        match disk.run(open(disk.dir(Tier::Hot), &entry, KEEP)) {
            Err(Failure::Damaged { damage, .. }) => assert_eq!(damage.offset, expected),
            other => panic!("damage, not {other:?}"),
        }
    }
}

#[test]
fn a_file_cut_short_or_gone_is_told_as_what_was_expected() {
    let (disk, entry) = finished();
    let table = disk.run(open(disk.dir(Tier::Hot), &entry, Keep::Root)).unwrap();
    let need = Need { kind: PieceKind::Extent, handle: table.table.footer().extent };
    tamper(&disk, &entry, |bytes| bytes.truncate(need.handle.offset as usize + 3));
    for failure in [
        disk.run(open(disk.dir(Tier::Hot), &entry, KEEP)).unwrap_err(),
        disk.run(read_piece(&table, need)).unwrap_err(),
    ] {
        let error = Error::from(failure);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("a file as long as the manifest says"), "{error}");
    }
    disk.run(async { disk.dir(Tier::Hot).remove(&entry.file_name()).await.unwrap() });
    let failure = disk.run(open(disk.dir(Tier::Hot), &entry, KEEP)).unwrap_err();
    assert!(matches!(&failure, Failure::Missing { len, .. } if *len == entry.len));
    let error = Error::from(failure);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&format!("a file of {} bytes", entry.len)), "{error}");
}

#[test]
fn what_fails_leaves_no_file() {
    for (kind, full) in [
        (FaultKind::F13NoSpace, true),
        (FaultKind::F13SyncNoSpace, true),
        (FaultKind::F12WriteEio, false),
        (FaultKind::F09SyncEio, false),
        (FaultKind::F10SyncEioRevert, false),
        (FaultKind::F16ReadEio, false),
    ] {
        let mut failures = 0;
        for seed in 0..30 {
            let disk = Disk::new(seed);
            disk.world.set_faults(&FaultPlan::benign().with(kind, FaultRule::rate(30_000)));
            match disk.run(write(disk.dir(Tier::Hot), Shape::HOT)) {
                Ok(written) => disk.run(written.abandon()),
                Err(failure) => {
                    assert_eq!(failure.is_no_space(), full, "{failure:?}");
                    assert_eq!(Error::from(failure).kind() == ErrorKind::NoSpace, full);
                    failures += 1;
                }
            }
            assert_eq!(disk.names(Tier::Hot), [] as [&str; 0]);
        }
        assert!((1..30).contains(&failures), "{kind:?} strikes {failures} of 30 times");
    }
}

#[test]
fn what_is_dropped_on_the_way_leaves_no_file() {
    let disk = Disk::new(1);
    // However far it came, a writer that is dropped takes its file along.
    for polls in 0..40 {
        let mut future = Box::pin(write(disk.dir(Tier::Hot), Shape::HOT));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut done = false;
        for _ in 0..polls {
            done = done || future.as_mut().poll(&mut context).is_ready();
            disk.world.step();
        }
        drop(future);
        disk.names(Tier::Hot);
        while disk.world.step() != bulkhead_fault_injection::Step::Idle {}
        let left = disk.names(Tier::Hot);
        // Making the file is the one moment at which its name is nobody's yet.
        assert!(left.is_empty() || polls == 1, "{left:?} after {polls} polls");
        for name in left {
            disk.run(async { disk.dir(Tier::Hot).remove(&name).await.unwrap() });
        }
    }
}

#[test]
fn a_table_of_nothing_is_no_file() {
    let disk = Disk::new(1);
    let writer = TableWriter::begin(disk.dir(Tier::Warm), new_table(1), Shape::HOT);
    assert!(writer.is_empty());
    assert!(disk.run(writer.finish(0, KEEP)).unwrap().is_none());
    assert_eq!(disk.names(Tier::Warm), [] as [&str; 0]);
}
