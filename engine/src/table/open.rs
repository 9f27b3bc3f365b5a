//! An open table: what is kept in memory of it, and how pieces that were read become trustworthy.
//!
//! Opening is a state machine: it says which bytes it needs, is handed them, and says what next. Two reads open a
//! table, the footer and what lies in front of it; a short tail is read and kept as a whole ([`Keep::Tail`]), and a
//! lookup in such a table then needs one block and nothing else. The checksums form a chain: the manifest holds the
//! footer's, the footer those of extent and root, the root those of leaves and filters, a leaf those of blocks, a block
//! those of values that lie apart.
use super::block::Block;
use super::entry::Apart;
use super::extent::Extent;
use super::filter::Filter;
use super::footer::{FOOTER, Footer};
use super::index::{Index, Level};
use super::piece::{Contents, Handle, Malformed, PieceKind, Stored, TableId, verify, verify_stored};
use crate::ids::FileUid;
use bytes::Bytes;

/// Bytes of a table that are not what was written: which, and what was expected in their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at offset {offset} of table {file} is damaged: expected {expected}")]
pub struct Damage {
    pub file: FileUid,
    /// Where the piece begins.
    pub offset: u64,
    /// Which piece.
    pub what: Part,
    pub expected: &'static str,
}

/// A part of a table file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Footer,
    Piece(PieceKind),
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Footer => f.write_str("the footer"),
            Part::Piece(kind) => write!(f, "a piece ({kind})"),
        }
    }
}

/// A piece that is to be fetched, from a cache or from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub kind: PieceKind,
    pub handle: Handle,
}

/// How far a state machine came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    Done(T),
    /// It goes on when it is handed this piece.
    Need(Need),
}

/// A verified piece, as a cache keeps it. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Loaded {
    Block(Block),
    Leaf(Index),
    Filter(Filter),
}

impl Loaded {
    /// The same piece, ready to be searched again and again: it takes more memory then.
    #[must_use]
    pub fn for_lookups(self) -> Loaded {
        match self {
            Loaded::Block(block) => Loaded::Block(block.with_places()),
            other => other,
        }
    }

    /// Whether [`Loaded::for_lookups`] would change nothing.
    #[must_use]
    pub fn is_for_lookups(&self) -> bool {
        !matches!(self, Loaded::Block(block) if !block.has_places())
    }
    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        match self {
            Loaded::Block(block) => block.memory(),
            Loaded::Leaf(leaf) => leaf.memory(),
            Loaded::Filter(filter) => filter.memory(),
        }
    }
}

/// How much of a table stays in memory while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Extent and index root.
    Root,
    /// Filters and index leaves too, if all of them together are no more bytes than this.
    Tail(u64),
}

/// What is to be read next to open a table.
#[derive(Debug)]
pub enum Opening {
    /// Read so many bytes at this offset and hand them to [`Opener::feed`].
    Read {
        offset: u64,
        len: usize,
    },
    Done(Box<Table>),
}

/// A table on its way to being open.
#[derive(Debug)]
pub struct Opener {
    id: TableId,
    len: u64,
    footer_crc: Option<u32>,
    keep: Keep,
    footer: Option<Footer>,
}

impl Opener {
    /// Begins to open table `id`, a file of `len` bytes. `footer_crc` is what the manifest holds; without it, as when a
    /// file is inspected, any footer of this file is taken.
    #[must_use]
    pub fn new(id: TableId, len: u64, footer_crc: Option<u32>, keep: Keep) -> Opener {
        Opener { id, len, footer_crc, keep, footer: None }
    }

    /// What to read first.
    ///
    /// # Errors
    /// If the file is too short for a table.
    pub fn begin(&self) -> Result<Opening, Damage> {
        let offset = self.len.checked_sub(FOOTER as u64);
        let offset = offset.ok_or_else(|| self.damaged(0, Malformed("a file that holds a footer")))?;
        Ok(Opening::Read { offset, len: FOOTER })
    }

    fn damaged(&self, offset: u64, why: Malformed) -> Damage {
        Damage { file: self.id.file, offset, what: Part::Footer, expected: why.0 }
    }

    /// Takes the bytes that were asked for and says what next.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn feed(&mut self, bytes: Bytes) -> Result<Opening, Damage> {
        let Some(footer) = self.footer else {
            let at = self.len - FOOTER as u64;
            let footer = Footer::verify(&bytes, self.id, self.len, self.footer_crc);
            let footer = footer.map_err(|why| self.damaged(at, why))?;
            let from = self.from(&footer);
            let len = usize::try_from(footer.offset() - from).ok().filter(|&len| len <= self.tail_max());
            let len = len.ok_or_else(|| self.damaged(at, Malformed("a tail within its bound")))?;
            self.footer = Some(footer);
            return Ok(Opening::Read { offset: from, len });
        };
        Table::open(self.id, footer, self.from(&footer), &bytes).map(|table| Opening::Done(Box::new(table)))
    }

    /// Where the part begins that is kept.
    fn from(&self, footer: &Footer) -> u64 {
        match self.keep {
            Keep::Tail(max) if footer.extent.offset - footer.tail <= max => footer.tail,
            _ => footer.extent.offset,
        }
    }

    /// Most bytes that are read at once: what is to be kept, and an extent and a root.
    fn tail_max(&self) -> usize {
        let tail = match self.keep {
            Keep::Root => 0,
            Keep::Tail(max) => usize::try_from(max).unwrap_or(usize::MAX),
        };
        let pieces = [PieceKind::Extent, PieceKind::Root].map(|kind| kind.contents_max() + 64);
        tail.saturating_add(pieces.iter().sum())
    }
}

/// An open table: everything in it was verified, and what it hands out is verified on the way.
#[derive(Debug)]
pub struct Table {
    id: TableId,
    footer: Footer,
    extent: Extent,
    root: Option<Index>,
    /// Filters and leaves by their number in the root, if they are kept.
    kept: Vec<(Filter, Index)>,
}

impl Table {
    /// Takes `bytes`, which lie from `from` to the footer.
    fn open(id: TableId, footer: Footer, from: u64, bytes: &Bytes) -> Result<Table, Damage> {
        let mut table = Table { id, footer, extent: Extent::default(), root: None, kept: Vec::new() };
        let cut = |kind, handle: Handle| {
            let start = handle.offset.checked_sub(from).and_then(|at| usize::try_from(at).ok());
            let end =
                start.and_then(|at| at.checked_add(handle.len as usize)).filter(|&end| end <= bytes.len());
            match (start, end) {
                (Some(start), Some(end)) => Ok(bytes.slice(start..end)),
                _ => Err(table_damage(id, Need { kind, handle }, Malformed("a piece within the tail"))),
            }
        };
        let extent = Need { kind: PieceKind::Extent, handle: footer.extent };
        let contents = table.contents(extent, &cut(extent.kind, extent.handle)?)?;
        table.extent = Extent::decode(&contents.plain).map_err(|why| table.damage(extent, why))?;
        if let Some(handle) = footer.root {
            let need = Need { kind: PieceKind::Root, handle };
            let contents = table.contents(need, &cut(need.kind, handle)?)?;
            let root = Index::new(contents.plain, Level::Root).map_err(|why| table.damage(need, why))?;
            let keeps_tail = from < footer.extent.offset;
            for i in (0..root.count()).take_while(|_| keeps_tail) {
                let (filter, leaf) = (filter_need(&root, i), leaf_need(&root, i));
                let filter = table.admit(filter, &cut(filter.kind, filter.handle)?)?;
                let leaf = table.admit(leaf, &cut(leaf.kind, leaf.handle)?)?;
                if let (Loaded::Filter(filter), Loaded::Leaf(leaf)) = (filter, leaf) {
                    table.kept.push((filter, leaf));
                }
            }
            table.root = Some(root);
        }
        let has_bounds = table.extent.bounds().is_some();
        let ranges = table.extent.tombstones().len() as u64;
        if has_bounds != footer.root.is_some() || ranges != footer.counts.ranges {
            return Err(
                table.damage(extent, Malformed("bounds and range tombstones as the footer counts them"))
            );
        }
        Ok(table)
    }

    /// Which table it is.
    #[must_use]
    pub fn id(&self) -> TableId {
        self.id
    }
    /// Counts, length, lowest and highest LSN.
    #[must_use]
    pub fn footer(&self) -> &Footer {
        &self.footer
    }
    /// Bounds and range tombstones.
    #[must_use]
    pub fn extent(&self) -> &Extent {
        &self.extent
    }
    /// Bytes that it holds in memory as long as it is open.
    #[must_use]
    pub fn memory(&self) -> usize {
        let kept = self.kept.iter().map(|(filter, leaf)| filter.memory() + leaf.memory()).sum::<usize>();
        size_of::<Table>() + self.extent.memory() + self.root.as_ref().map_or(0, Index::memory) + kept
    }

    pub(super) fn root(&self) -> Option<&Index> {
        self.root.as_ref()
    }
    /// The filter and the leaf number `i` of the root, if they are kept.
    pub(super) fn kept(&self, i: usize) -> Option<&(Filter, Index)> {
        self.kept.get(i)
    }

    /// That the piece `need` is not what was expected.
    pub(super) fn damage(&self, need: Need, why: Malformed) -> Damage {
        table_damage(self.id, need, why)
    }

    fn contents(&self, need: Need, bytes: &Bytes) -> Result<Contents, Damage> {
        verify(bytes, self.id, need.kind, need.handle).map_err(|why| self.damage(need, why))
    }

    /// Takes the bytes that were read for `need`, if they are just that piece. They are kept alive as long as anything
    /// made of them: best hand over exactly the piece.
    ///
    /// # Errors
    /// What is damaged.
    pub fn admit(&self, need: Need, bytes: &Bytes) -> Result<Loaded, Damage> {
        let plain = self.contents(need, bytes)?.plain;
        let loaded = match need.kind {
            PieceKind::Block => Block::new(plain).map(Loaded::Block),
            PieceKind::Leaf => Index::new(plain, Level::Leaf).map(Loaded::Leaf),
            PieceKind::Filter => Filter::new(plain).map(Loaded::Filter),
            kind => panic!("no lookup asks for a piece of kind {kind}"),
        };
        loaded.map_err(|why| self.damage(need, why))
    }

    /// The value that `apart` names, of the bytes at its handle.
    ///
    /// # Errors
    /// What is damaged.
    pub fn value(&self, apart: Apart, bytes: &Bytes) -> Result<Bytes, Damage> {
        let need = value_need(apart);
        let plain = self.contents(need, bytes)?.plain;
        if plain.len() != apart.len as usize {
            return Err(self.damage(need, Malformed("a value as long as its entry says")));
        }
        Ok(plain)
    }

    /// As [`Table::value`], as it is stored: to be copied into another table.
    ///
    /// # Errors
    /// What is damaged.
    pub fn stored_value(&self, apart: Apart, bytes: &Bytes) -> Result<Stored, Damage> {
        let need = value_need(apart);
        let stored = verify_stored(bytes, self.id, need.kind, need.handle);
        let stored = stored.map_err(|why| self.damage(need, why))?;
        if stored.len() != apart.len as usize {
            return Err(self.damage(need, Malformed("a value as long as its entry says")));
        }
        Ok(stored)
    }
}

/// What to fetch for a value that lies apart.
#[must_use]
pub fn value_need(apart: Apart) -> Need {
    Need { kind: PieceKind::Value, handle: apart.handle }
}

pub(super) fn leaf_need(root: &Index, i: usize) -> Need {
    Need { kind: PieceKind::Leaf, handle: root.child(i) }
}

pub(super) fn filter_need(root: &Index, i: usize) -> Need {
    Need { kind: PieceKind::Filter, handle: root.filter(i) }
}

fn table_damage(id: TableId, need: Need, why: Malformed) -> Damage {
    Damage { file: id.file, offset: need.handle.offset, what: Part::Piece(need.kind), expected: why.0 }
}
