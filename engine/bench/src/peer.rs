//! fjall, as information.
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// Bytes that a memtable takes by default.
pub const MEMTABLE: u64 = 64 << 20;

/// Opens `dir` with its defaults.
pub fn open(dir: &Path) -> Database {
    Database::builder(dir).open().expect("fjall opens")
}

/// Opens `dir` so that, as in the engine under test, everything is in log and memtable: fjall's defaults would have
/// written tables of it, and had less to replay.
pub fn open_in_memory(dir: &Path) -> Database {
    let builder = Database::builder(dir).max_journaling_size(8 << 30);
    builder.open().expect("fjall opens")
}

/// Opens `dir` with its defaults but for the bytes of cache.
pub fn open_cached(dir: &Path, cache: u64) -> Database {
    Database::builder(dir).cache_size(cache).open().expect("fjall opens")
}

/// The keyspace number `n`; its memtable takes 4 GiB before it is flushed.
pub fn keyspace(db: &Database, n: usize) -> Keyspace {
    keyspace_of(db, n, 4 << 30)
}

/// The keyspace number `n`; its memtable takes `bytes` before it is flushed.
pub fn keyspace_of(db: &Database, n: usize, bytes: u64) -> Keyspace {
    let options = || KeyspaceCreateOptions::default().max_memtable_size(bytes);
    db.keyspace(&format!("space-{n}"), options).expect("fjall makes a keyspace")
}
