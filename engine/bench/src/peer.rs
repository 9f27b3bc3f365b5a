//! fjall, as information.
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

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

/// The keyspace number `n`; its memtable takes 4 GiB before it is flushed.
pub fn keyspace(db: &Database, n: usize) -> Keyspace {
    let options = || KeyspaceCreateOptions::default().max_memtable_size(4 << 30);
    db.keyspace(&format!("space-{n}"), options).expect("fjall makes a keyspace")
}
