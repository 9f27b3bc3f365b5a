//! Building a table: entries in, in order; bytes of the file out, in order.
//!
//! The builder does no I/O. It appends finished pieces to an output buffer that its caller drains whenever it likes,
//! and holds at most one unfinished block, the hashes of one filter, and the finished filters and index leaves: about
//! 1.25 bytes a key and 28 bytes a block. A value that is apart goes out as soon as it is added, in front of the block
//! that refers to it.
use super::block::{BlockBuilder, Placed, inline};
use super::compress::{Compression, Trials};
use super::entry::{Apart, Body, Entry, version_order};
use super::extent::{Extent, RangeTombstone};
use super::filter::{self, KeyHash};
use super::footer::{Counts, FOOTER, Footer};
use super::index::{self, Child};
use super::piece::{self, Handle, PieceKind, TableId};
use crate::held::{HeldInTable, Holders};
use crate::ids::Lsn;
use crate::limits::{
    KEY_MAX, TABLE_BLOCK_TARGET_MAX, TABLE_EXTENT_TARGET, TABLE_FILTER_KEYS_MAX, TABLE_INLINE_MAX,
    TABLE_LEAF_BLOCKS_MIN, TABLE_LEAF_TARGET, TABLE_ROOT_TARGET, TABLE_TARGET_MAX, VALUE_MAX,
};
use bytes::Bytes;

/// How the tables of a tier are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a block's contents beyond which it takes no further entry.
    pub block: usize,
    /// Entries from one restart of a block to the next.
    pub interval: usize,
    /// Of blocks and of values that are apart.
    pub compression: Compression,
    /// Longest value, in bytes, that lies in a block.
    pub inline: usize,
}

impl Shape {
    /// Read often and at random: small blocks, not compressed, so that a value is a slice of the bytes read.
    pub const HOT: Shape = Shape { block: 4096, interval: 8, compression: Compression::None, inline: 2048 };
    /// In between.
    pub const WARM: Shape =
        Shape { block: 16 * 1024, interval: 16, compression: Compression::Lz4, inline: 4096 };
    /// Read seldom: large blocks, which compress better.
    pub const COLD: Shape =
        Shape { block: 64 * 1024, interval: 16, compression: Compression::Lz4, inline: 16 * 1024 };
}

/// What a manifest keeps of a finished table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMeta {
    pub id: TableId,
    /// The footer: length of the file, counts, lowest and highest LSN.
    pub footer: Footer,
    /// The footer's checksum, which its parent holds.
    pub footer_crc: u32,
    /// Bounds and range tombstones.
    pub extent: Extent,
    /// Versions that are not the newest of their key in it.
    pub hidden: u64,
    /// What of it is kept for pins alone.
    pub held: HeldInTable,
}

/// Bytes of the file on their way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// Where in the file they belong: right behind those taken before.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// Builds one table.
#[derive(Debug)]
pub struct TableBuilder {
    id: TableId,
    shape: Shape,
    /// Finished pieces that were not taken yet, and where the first of them belongs.
    out: Output,
    block: BlockBuilder,
    /// Contents of the block being finished; kept for its capacity.
    scratch: Vec<u8>,
    trials: Trials,
    leaf: Vec<Child>,
    leaf_len: usize,
    hashes: Vec<KeyHash>,
    /// Finished filters and leaves, contents only, in pairs; they lie behind all blocks.
    partitions: Vec<Partition>,
    root_len: usize,
    first_key: Option<Bytes>,
    /// Of the entry added last, whatever became of its block.
    last_key: Vec<u8>,
    last_lsn: Lsn,
    tombstones: Vec<RangeTombstone>,
    extent_len: usize,
    counts: Counts,
    hidden: u64,
    held: HeldInTable,
    lsns: Option<(Lsn, Lsn)>,
}

#[derive(Debug)]
struct Partition {
    key: Vec<u8>,
    leaf: Vec<u8>,
    filter: Vec<u8>,
}

impl TableBuilder {
    /// An empty table `id`.
    #[must_use]
    pub fn new(id: TableId, shape: Shape) -> TableBuilder {
        assert!(shape.block <= TABLE_BLOCK_TARGET_MAX, "a block of {} bytes", shape.block);
        assert!(shape.inline <= TABLE_INLINE_MAX, "values of {} bytes in a block", shape.inline);
        TableBuilder {
            id,
            shape,
            out: Output { offset: 0, bytes: Vec::new() },
            block: BlockBuilder::new(shape.interval),
            scratch: Vec::new(),
            trials: Trials::default(),
            leaf: Vec::new(),
            leaf_len: 0,
            hashes: Vec::new(),
            partitions: Vec::new(),
            root_len: 0,
            first_key: None,
            last_key: Vec::new(),
            last_lsn: Lsn::ZERO,
            tombstones: Vec::new(),
            extent_len: 0,
            counts: Counts::default(),
            hidden: 0,
            held: HeldInTable::default(),
            lsns: None,
        }
    }

    /// Notes that a version of `key`, of so many bytes, goes into it for these pins alone.
    pub fn hold(&mut self, key: &[u8], holders: Holders, bytes: u64) {
        self.held.note(key, holders, bytes);
    }
    /// Whether nothing was added: such a table is not worth a file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.entries == 0 && self.tombstones.is_empty()
    }
    /// Bytes of the file so far, the unfinished block and the index left out.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.out.offset + self.out.bytes.len() as u64
    }
    /// Whether something of the table is as long as it should become. A key's versions may be split between tables
    /// only where a reader looks into both, so the caller goes on to the next key before it finishes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.root_len >= TABLE_ROOT_TARGET
            || self.extent_len >= TABLE_EXTENT_TARGET
            || self.len() >= TABLE_TARGET_MAX
    }
    /// Bytes that wait to be taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.out.bytes.len()
    }
    /// Takes the bytes that are finished.
    pub fn take(&mut self) -> Output {
        let next = Output { offset: self.len(), bytes: Vec::with_capacity(self.out.bytes.len()) };
        std::mem::replace(&mut self.out, next)
    }

    /// Adds a version.
    ///
    /// # Panics
    /// If it is not behind the one added before, or its key or value is outside the bounds.
    pub fn add(&mut self, entry: Entry<'_>) {
        assert!((1..=KEY_MAX).contains(&entry.key.len()), "a key of {} bytes", entry.key.len());
        let same_key = self.first_key.is_some() && self.last_key == entry.key;
        assert!(
            self.first_key.is_none()
                || version_order((&self.last_key, self.last_lsn), (entry.key, entry.lsn)).is_lt(),
            "entries enter a table in order"
        );
        let placed = self.place(&entry);
        self.count(&entry);
        self.hidden += u64::from(same_key);
        if !self.block.is_empty()
            && self.block.len() + entry.key.len() + inline_len(&placed) > self.shape.block
        {
            self.finish_block(Some(entry.key));
        }
        if self.hashes.len() == TABLE_FILTER_KEYS_MAX && !same_key {
            if !self.block.is_empty() {
                self.finish_block(Some(entry.key));
            }
            if !self.leaf.is_empty() {
                self.finish_leaf();
            }
        }
        if self.first_key.is_none() {
            self.first_key = Some(Bytes::copy_from_slice(entry.key));
        }
        // A key whose versions go on in another leaf is in that leaf's filter too.
        if !same_key || self.hashes.is_empty() {
            self.hashes.push(KeyHash::of(entry.key));
        }
        self.block.add(entry.key, entry.lsn, entry.priority, placed);
        self.last_key.clear();
        self.last_key.extend_from_slice(entry.key);
        self.last_lsn = entry.lsn;
    }

    /// Adds a range tombstone; the order does not matter.
    ///
    /// # Panics
    /// If its range is empty.
    pub fn add_range(&mut self, tombstone: RangeTombstone) {
        assert!(!tombstone.ends_by(&tombstone.start), "a range tombstone covers something");
        self.extent_len += tombstone.encoded_len();
        self.note_lsn(tombstone.lsn);
        self.tombstones.push(tombstone);
    }

    fn note_lsn(&mut self, lsn: Lsn) {
        let (low, high) = self.lsns.unwrap_or((lsn, lsn));
        self.lsns = Some((low.min(lsn), high.max(lsn)));
    }

    fn count(&mut self, entry: &Entry<'_>) {
        let value = match entry.body {
            Body::Delete => 0,
            Body::Put(value) => value.len(),
            Body::Stored(stored) => stored.len(),
        };
        assert!(value <= VALUE_MAX, "a value of {value} bytes");
        self.counts.entries += 1;
        self.counts.tombstones += u64::from(matches!(entry.body, Body::Delete));
        let first = self.counts.entries == 1;
        let highest = if first { entry.priority } else { self.counts.priority.max(entry.priority) };
        self.counts.priority = highest;
        self.counts.key_bytes += entry.key.len() as u64;
        self.counts.value_bytes += value as u64;
        self.note_lsn(entry.lsn);
    }

    /// Writes the value of `entry` apart if it is long, or comes from there.
    fn place<'a>(&mut self, entry: &Entry<'a>) -> Placed<'a> {
        let offset = self.len();
        let (handle, len) = match entry.body {
            Body::Put(value) if value.len() > self.shape.inline => {
                (self.piece(PieceKind::Value, value, self.shape.compression), value.len())
            }
            Body::Stored(stored) => {
                let handle =
                    piece::encode_stored(&mut self.out.bytes, self.id, PieceKind::Value, offset, stored);
                (handle, stored.len())
            }
            _ => return inline(entry).expect("a stored value was handled"),
        };
        Placed::Apart(Apart { handle, len: len as u32 })
    }

    fn piece(&mut self, kind: PieceKind, contents: &[u8], compression: Compression) -> Handle {
        let offset = self.len();
        piece::encode(&mut self.out.bytes, self.id, kind, offset, contents, compression)
    }

    /// Ends the block, in front of an entry of `next`, or of nothing.
    fn finish_block(&mut self, next: Option<&[u8]>) {
        let mut contents = std::mem::take(&mut self.scratch);
        self.block.finish(&mut contents);
        let wanted = self.trials.next(self.shape.compression);
        let handle = self.piece(PieceKind::Block, &contents, wanted);
        if wanted != Compression::None {
            self.trials.note(handle.stored_as(contents.len(), wanted));
        }
        self.scratch = contents;
        let key = match next {
            Some(next) => index::separator(&self.last_key, next),
            None => self.last_key.clone(),
        };
        self.leaf_len += index::child_len(key.len());
        self.leaf.push(Child { key, handle, filter: None });
        if self.leaf_len >= TABLE_LEAF_TARGET && self.leaf.len() >= TABLE_LEAF_BLOCKS_MIN {
            self.finish_leaf();
        }
    }

    fn finish_leaf(&mut self) {
        let children = std::mem::take(&mut self.leaf);
        self.leaf_len = 0;
        let key = children[children.len() - 1].key.clone();
        self.root_len += index::child_len(key.len());
        let (leaf, filter) = (index::encode(&children), filter::encode(&self.hashes));
        self.hashes.clear();
        self.partitions.push(Partition { key, leaf, filter });
    }

    /// Bytes of range tombstones so far.
    #[must_use]
    pub fn extent_len(&self) -> usize {
        self.extent_len
    }

    /// Ends the table: the rest of the file, and what to remember of it.
    #[must_use]
    pub fn finish(mut self) -> (Output, TableMeta) {
        if !self.block.is_empty() {
            self.finish_block(None);
        }
        if !self.leaf.is_empty() {
            self.finish_leaf();
        }
        let tail = self.len();
        let mut children = Vec::new();
        for Partition { key, leaf, filter } in std::mem::take(&mut self.partitions) {
            let filter = self.piece(PieceKind::Filter, &filter, Compression::None);
            let handle = self.piece(PieceKind::Leaf, &leaf, Compression::None);
            children.push(Child { key, handle, filter: Some(filter) });
        }
        let bounds = self.first_key.take().map(|first| (first, Bytes::copy_from_slice(&self.last_key)));
        let extent = Extent::new(bounds, std::mem::take(&mut self.tombstones));
        self.counts.ranges = extent.tombstones().len() as u64;
        let extent_at = self.piece(PieceKind::Extent, &extent.encode(), Compression::None);
        let root = (!children.is_empty())
            .then(|| self.piece(PieceKind::Root, &index::encode(&children), Compression::None));
        let (lowest, highest) = self.lsns.unwrap_or_default();
        let footer = Footer {
            len: self.len() + FOOTER as u64,
            tail,
            root,
            extent: extent_at,
            counts: self.counts,
            lowest,
            highest,
            compression: self.shape.compression,
        };
        let (bytes, footer_crc) = footer.encode(self.id);
        self.out.bytes.extend_from_slice(&bytes);
        let held = std::mem::take(&mut self.held);
        let meta = TableMeta { id: self.id, footer, footer_crc, extent, hidden: self.hidden, held };
        (self.take(), meta)
    }
}

/// Bytes that a body takes in its block, but for a few.
fn inline_len(placed: &Placed<'_>) -> usize {
    match placed {
        Placed::Delete => 0,
        Placed::Inline(value) => value.len(),
        Placed::Apart(_) => Handle::LEN,
    }
}
