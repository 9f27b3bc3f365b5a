//! Writing a table: a file of a tier's directory, from its first byte to the entry that a manifest keeps of it.
//!
//! The file is made with the first bytes that go into it, so that a table of nothing leaves nothing. It belongs to its
//! writer, then to a [`Written`], and goes when these are dropped; [`Written::keep`] gives it out of hand.
use super::table::{OpenTable, open};
use super::{Failure, yield_now};
use crate::env::{Dir, File};
use crate::held::{HeldInTable, Holders};
use crate::ids::TableNo;
use crate::key::KeyRange;
use crate::limits::{KEY_MAX, TABLE_CHUNK, TABLE_EXTENT_MAX};
use crate::manifest::{TableEntry, table_file_name};
use crate::naming::Naming;
use crate::table::build::Output;
use crate::table::{Entry, Extent, Keep, RangeTombstone, Shape, TableBuilder, TableId, TableMeta};
use std::sync::Arc;

/// What a table is to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTable {
    pub number: TableNo,
    pub id: TableId,
}

/// Writes one table.
#[derive(Debug)]
pub struct TableWriter {
    name: NewTable,
    file: Draft,
    pub(super) builder: TableBuilder,
}

/// A table that is written and synced, and that no manifest names yet. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Written {
    pub entry: TableEntry,
    /// Open for reading.
    pub table: OpenTable,
    /// What of it is kept for pins alone.
    pub held: HeldInTable,
    file: Draft,
}

impl TableWriter {
    /// A table to be called `name`, in a tier's directory. Nothing is written yet.
    #[must_use]
    pub fn begin(dir: &Arc<dyn Dir>, name: NewTable, shape: Shape) -> TableWriter {
        let file = Draft { dir: dir.clone(), name: table_file_name(name.number, name.id.file), open: None };
        TableWriter { name, file, builder: TableBuilder::new(name.id, shape) }
    }

    /// Adds a version; see [`TableBuilder::add`].
    pub fn add(&mut self, entry: Entry<'_>) {
        self.builder.add(entry);
    }
    /// Notes that a version goes into it for pins alone; see [`TableBuilder::hold`].
    pub fn hold(&mut self, key: &[u8], holders: Holders, bytes: u64) {
        self.builder.hold(key, holders, bytes);
    }
    /// Adds a range tombstone; see [`TableBuilder::add_range`].
    pub fn add_range(&mut self, tombstone: RangeTombstone) {
        self.builder.add_range(tombstone);
    }
    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }
    /// Whether it is as long as a table may become; see [`TableBuilder::is_full`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.builder.is_full()
    }
    /// Bytes of the file so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.builder.len()
    }
    /// Whether [`TableWriter::drain`] has something to do: what is to be asked after every entry.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.builder.pending() >= TABLE_CHUNK
    }

    /// Writes what waits, if that is [`TABLE_CHUNK`] bytes or more, and lets others go first.
    ///
    /// # Errors
    /// Of making or writing the file. It is gone then as far as that went, and this writer is of no further use.
    pub async fn drain(&mut self) -> Result<(), Failure> {
        if !self.is_due() {
            return Ok(());
        }
        let output = self.builder.take();
        if let Err(e) = self.file.write(output).await {
            self.file.remove().await;
            return Err(e);
        }
        yield_now().await;
        Ok(())
    }

    /// Writes the rest, syncs the file and opens it for reading. `None`, and no file, if nothing was added. The name is
    /// not durable yet: see [`sync_dir`].
    ///
    /// `touched_ms` is what the entry says of when its versions were last written or read.
    ///
    /// # Errors
    /// Of writing, syncing, or reading back. The file is gone then as far as that went.
    pub async fn finish(self, touched_ms: u64, keep: Keep) -> Result<Option<Written>, Failure> {
        let TableWriter { name, mut file, builder } = self;
        if builder.is_empty() {
            file.remove().await;
            return Ok(None);
        }
        let bytes = builder.extent_len();
        if bytes > TABLE_EXTENT_MAX - EXTENT_BOUNDS_MAX {
            file.remove().await;
            return Err(Failure::Unparted { bytes });
        }
        let (output, meta) = builder.finish();
        match file.complete(name, output, &meta, touched_ms, keep).await {
            Ok((entry, table)) => Ok(Some(Written { entry, table, held: meta.held, file })),
            Err(e) => {
                file.remove().await;
                Err(e)
            }
        }
    }

    /// Gives up and removes the file, if that can be done; if not, it is for recovery to sweep.
    pub async fn abandon(mut self) {
        self.file.remove().await;
    }
}

/// What an extent holds beside its range tombstones: the lowest and the highest key.
const EXTENT_BOUNDS_MAX: usize = 2 * (KEY_MAX + 16);

impl Written {
    /// Its tier's directory.
    #[must_use]
    pub fn dir(&self) -> &Arc<dyn Dir> {
        &self.file.dir
    }

    /// Gives the file out of hand: from now on it stays, whatever becomes of this process. To be called when its
    /// directory is synced and the switch to a manifest that names it begins.
    #[must_use]
    pub fn keep(mut self) -> (TableEntry, OpenTable, HeldInTable) {
        self.file.open = None;
        (self.entry.clone(), self.table.clone(), std::mem::take(&mut self.held))
    }

    /// Removes the file, if that can be done; if not, it is for recovery to sweep.
    pub async fn abandon(mut self) {
        self.file.remove().await;
    }
}

/// Removes the files of tables of which nothing comes since `why`, and says so. Whoever runs a job tells when all of its
/// I/O has ended: a removal that only being dropped asks for comes after that.
///
/// # Errors
/// `why`, always.
pub async fn give_up<T>(written: Vec<Written>, why: Failure) -> Result<T, Failure> {
    for table in written {
        table.abandon().await;
    }
    Err(why)
}

/// Makes the names of finished tables durable. Once for all tables of a job, before a manifest names them.
///
/// # Errors
/// Of the sync: then nothing is known of these names.
pub async fn sync_dir(naming: &Naming, dir: &Arc<dyn Dir>) -> Result<(), Failure> {
    if crate::mutants::on("tier-directory-not-synced") {
        return Ok(());
    }
    Ok(naming.settle(dir).await?)
}

/// A file that no manifest names. Dropped, it asks for its removal.
#[derive(Debug)]
struct Draft {
    dir: Arc<dyn Dir>,
    name: String,
    /// Once it was made. `None` again when it is gone or given out of hand.
    open: Option<Arc<dyn File>>,
}

impl Draft {
    async fn write(&mut self, output: Output) -> Result<(), Failure> {
        let file = match &self.open {
            Some(file) => file.clone(),
            None => self.open.insert(self.dir.create(&self.name).await?).clone(),
        };
        file.write_at(output.offset, output.bytes).await?;
        Ok(())
    }

    async fn complete(
        &mut self,
        name: NewTable,
        output: Output,
        meta: &TableMeta,
        touched_ms: u64,
        keep: Keep,
    ) -> Result<(TableEntry, OpenTable), Failure> {
        self.write(output).await?;
        let file = self.open.as_ref().expect("just written");
        if !crate::mutants::on("table-named-before-sync") {
            file.sync().await?;
        }
        let entry = entry_of(name.number, meta, touched_ms);
        let table = open(&self.dir, &entry, keep).await?;
        Ok((entry, table))
    }

    async fn remove(&mut self) {
        if self.open.take().is_some() {
            // What cannot be removed now is removed by the next recovery.
            let _ = self.dir.remove(&self.name).await;
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.open.take().is_some() {
            // Nobody waits for the answer, but it is done all the same.
            drop(self.dir.remove(&self.name));
        }
    }
}

/// What a manifest keeps of a new table.
fn entry_of(number: TableNo, meta: &TableMeta, touched_ms: u64) -> TableEntry {
    let (footer, counts) = (&meta.footer, &meta.footer.counts);
    TableEntry {
        number,
        file: meta.id.file,
        origin: meta.id.origin,
        len: footer.len,
        footer_crc: meta.footer_crc,
        range: range_of(&meta.extent).expect("a table that holds nothing is not written"),
        entries: counts.entries,
        tombstones: counts.tombstones,
        range_tombstones: counts.ranges,
        hidden: meta.hidden,
        bytes: counts.key_bytes + counts.value_bytes,
        lowest: footer.lowest,
        highest: footer.highest,
        priority: counts.priority.raw(),
        touched_ms,
    }
}

/// A range over all keys and range tombstones of a table; `None` if there are none.
fn range_of(extent: &Extent) -> Option<KeyRange> {
    let keys = extent.bounds().map(|(first, last)| KeyRange::covering(first, last));
    let spans = extent.tombstones().iter().map(|t| KeyRange::covering_between(&t.start, t.end.as_deref()));
    keys.into_iter().chain(spans).reduce(|a, b| a.union(&b))
}
