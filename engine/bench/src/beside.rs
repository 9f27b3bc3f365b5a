//! One interface to the engine, fjall and redb, so that each is asked for the same.
//!
//! All have 512 MiB of cache and are otherwise as they come: the engine's memtable takes 16 MiB, fjall's 64. `Process` is what every load is
//! acknowledged at, as far as each has it: the engine and fjall have written a commit to the page cache by then, redb
//! has no such thing and keeps it in memory, which is less work.
use crate::records::{KEY, Order, VALUE, key, value};
use crate::{peer, store};
use bulkhead::env::os::block_on;
use bulkhead::{Batch, Direction, Durability, Engine, Space, WriteOptions};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::ops::Range;
use std::path::Path;
use tokio::runtime::Runtime;

/// Bytes of cache of each.
const CACHE: u64 = 512 << 20;
/// The table of redb that stands for a space.
pub const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("space");

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Bulkhead,
    Fjall,
    Redb,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Bulkhead, Kind::Fjall, Kind::Redb];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Bulkhead => "bulkhead",
            Kind::Fjall => "fjall",
            Kind::Redb => "redb",
        }
    }

    /// Opens what is in `dir`, or makes it.
    pub fn open(self, dir: &Path) -> Box<dyn Store> {
        match self {
            Kind::Bulkhead => {
                let runtime = store::runtime();
                let mut options = store::options(Durability::Process);
                options.cache_bytes = CACHE;
                let engine = store::open_with(&runtime, dir, options);
                Box::new(Ours { space: store::space(&engine, 0), engine, _runtime: runtime })
            }
            Kind::Fjall => {
                let db = peer::open_cached(dir, CACHE);
                Box::new(Fjall { keyspace: peer::keyspace_of(&db, 0, peer::MEMTABLE), db })
            }
            Kind::Redb => {
                std::fs::create_dir_all(dir).expect("there is room");
                let db = redb::Builder::new().set_cache_size(CACHE as usize).create(dir.join("redb"));
                Box::new(Redb { db: db.expect("redb opens") })
            }
        }
    }
}

/// A store with one space.
pub trait Store {
    /// Puts the record with each number of `keys`, whose value is that of the number beside it.
    fn put(&self, records: &mut dyn Iterator<Item = (u64, u64)>);
    /// The same in commits of `batch` records.
    fn put_batches(&self, records: &mut dyn Iterator<Item = (u64, u64)>, batch: usize);
    /// What was put before cannot be lost by the end of this process from here on.
    fn settle(&self);
    /// Reads the records with these numbers, each alone.
    fn read(&self, keys: &mut dyn Iterator<Item = u64>);
    /// Whether the record `n` is there with the value number `v`.
    fn holds(&self, n: u64, v: u64) -> bool;
    /// Reads everything in the order of keys; how many records that were.
    fn scan(&self) -> u64;
    /// Ends in an orderly way.
    fn close(self: Box<Self>);
}

/// Numbers of records from `range`, each with the value of its own number.
pub fn plain(range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    range.map(|n| (n, n))
}

struct Ours {
    space: Space,
    engine: Engine,
    _runtime: Runtime,
}

impl Store for Ours {
    fn put(&self, records: &mut dyn Iterator<Item = (u64, u64)>) {
        block_on(async {
            for (k, v) in records {
                self.space.put(key(k, Order::Random), value(v, VALUE)).await.expect("the engine writes");
            }
        });
    }

    fn put_batches(&self, records: &mut dyn Iterator<Item = (u64, u64)>, batch: usize) {
        block_on(async {
            loop {
                let mut operations = Batch::new();
                for (k, v) in records.take(batch) {
                    operations.put(key(k, Order::Random), value(v, VALUE));
                }
                if operations.is_empty() {
                    return;
                }
                let commit = self.space.write(&operations, WriteOptions::default()).await;
                let commit = commit.expect("the engine writes");
                commit.durable(Durability::Process).await.expect("the engine writes");
            }
        });
    }

    fn settle(&self) {
        block_on(self.space.flush(Durability::Process)).expect("the engine writes");
    }

    fn read(&self, keys: &mut dyn Iterator<Item = u64>) {
        block_on(async {
            for n in keys {
                let value = self.space.get(key(n, Order::Random)).await.expect("the engine reads");
                assert_eq!(value.expect("every record is there").len(), VALUE);
            }
        });
    }

    fn holds(&self, n: u64, v: u64) -> bool {
        let found = block_on(self.space.get(key(n, Order::Random))).expect("the engine reads");
        found.is_some_and(|f| f[..] == value(v, VALUE)[..])
    }

    fn scan(&self) -> u64 {
        block_on(async {
            let mut scan = self.space.scan::<&[u8]>(.., Direction::Ascending);
            let mut records = 0;
            while let Some((k, v)) = scan.next().await.expect("the engine reads") {
                assert_eq!(k.len() + v.len(), KEY + VALUE);
                records += 1;
            }
            records
        })
    }

    fn close(self: Box<Self>) {
        block_on(self.engine.close()).expect("the engine closes");
    }
}

struct Fjall {
    keyspace: fjall::Keyspace,
    db: fjall::Database,
}

impl Store for Fjall {
    fn put(&self, records: &mut dyn Iterator<Item = (u64, u64)>) {
        for (k, v) in records {
            self.keyspace.insert(key(k, Order::Random), value(v, VALUE)).expect("fjall writes");
        }
    }

    fn put_batches(&self, records: &mut dyn Iterator<Item = (u64, u64)>, batch: usize) {
        loop {
            let mut operations = self.db.batch();
            for (k, v) in records.take(batch) {
                operations.insert(&self.keyspace, key(k, Order::Random), value(v, VALUE));
            }
            if operations.is_empty() {
                return;
            }
            operations.commit().expect("fjall writes");
        }
    }

    fn settle(&self) {
        self.db.persist(fjall::PersistMode::Buffer).expect("fjall writes");
    }

    fn read(&self, keys: &mut dyn Iterator<Item = u64>) {
        for n in keys {
            let value = self.keyspace.get(key(n, Order::Random)).expect("fjall reads");
            assert_eq!(value.expect("every record is there").len(), VALUE);
        }
    }

    fn holds(&self, n: u64, v: u64) -> bool {
        let found = self.keyspace.get(key(n, Order::Random)).expect("fjall reads");
        found.is_some_and(|f| f[..] == value(v, VALUE)[..])
    }

    fn scan(&self) -> u64 {
        let mut records = 0;
        for guard in self.keyspace.iter() {
            let (k, v) = guard.into_inner().expect("fjall reads");
            assert_eq!(k.len() + v.len(), KEY + VALUE);
            records += 1;
        }
        records
    }

    fn close(self: Box<Self>) {}
}

struct Redb {
    db: redb::Database,
}

impl Redb {
    fn transact(&self, durability: redb::Durability, records: &mut dyn Iterator<Item = (u64, u64)>) -> bool {
        let mut any = false;
        let mut transaction = self.db.begin_write().expect("redb writes");
        transaction.set_durability(durability).expect("redb has it");
        let mut table = transaction.open_table(TABLE).expect("redb writes");
        for (k, v) in records {
            let (key, value) = (key(k, Order::Random), value(v, VALUE));
            table.insert(&key[..], &value[..]).expect("redb writes");
            any = true;
        }
        drop(table);
        transaction.commit().expect("redb writes");
        any
    }

    fn table(&self) -> redb::ReadOnlyTable<&'static [u8], &'static [u8]> {
        self.db.begin_read().expect("redb reads").open_table(TABLE).expect("redb reads")
    }
}

impl Store for Redb {
    fn put(&self, records: &mut dyn Iterator<Item = (u64, u64)>) {
        self.put_batches(records, 1);
    }

    fn put_batches(&self, records: &mut dyn Iterator<Item = (u64, u64)>, batch: usize) {
        while self.transact(redb::Durability::None, &mut records.take(batch)) {}
    }

    fn settle(&self) {
        self.transact(redb::Durability::Immediate, &mut std::iter::empty());
    }

    fn read(&self, keys: &mut dyn Iterator<Item = u64>) {
        let table = self.table();
        for n in keys {
            let value = table.get(&key(n, Order::Random)[..]).expect("redb reads");
            assert_eq!(value.expect("every record is there").value().len(), VALUE);
        }
    }

    fn holds(&self, n: u64, v: u64) -> bool {
        let found = self.table().get(&key(n, Order::Random)[..]).expect("redb reads");
        found.is_some_and(|f| f.value() == &value(v, VALUE)[..])
    }

    fn scan(&self) -> u64 {
        let mut records = 0;
        for entry in self.table().iter().expect("redb reads") {
            let (k, v) = entry.expect("redb reads");
            assert_eq!(k.value().len() + v.value().len(), KEY + VALUE);
            records += 1;
        }
        records
    }

    fn close(self: Box<Self>) {}
}
