//! A piece of a table: what every block, value, filter, index and extent of a table file begins with.
//!
//! ```text
//!  0 tag          u64   identity tag of (origin space, file, kind of piece)
//!  8 crc          u32   over tag, the piece's offset, and all of its bytes but these four
//! 12 length       u32   of the contents once decompressed
//! 16 compression  u8    0 stored as they are · 1 LZ4 · 3 bytes zero
//! 20 contents
//! ```
//!
//! Pieces lie one behind the other without gaps. Whoever refers to a piece does it by a [`Handle`], which repeats the
//! checksum: an older or a stray piece that verifies on its own is still not the one that was meant.
use super::compress::{Compression, compress, decompress_lz4};
use crate::codec::{Piece, Reader, checksum, identity_tag};
use crate::ids::{FileUid, SpaceUid};
use crate::limits::{
    TABLE_BLOCK_MAX, TABLE_EXTENT_MAX, TABLE_FILTER_MAX, TABLE_LEAF_MAX, TABLE_PIECE_MAX, TABLE_ROOT_MAX,
};
use bytes::Bytes;
use std::fmt;

/// Bytes in front of the contents.
pub const PIECE_HEADER: usize = 20;
const CRC_AT: usize = 8;

/// Which table a file is: the file, and the space whose tags it carries. That is the space that wrote it, also when
/// another one has come to own it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableId {
    pub origin: SpaceUid,
    pub file: FileUid,
}

/// What a piece holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Entries.
    Block,
    /// One large value.
    Value,
    /// Which keys the blocks of one index leaf may hold.
    Filter,
    /// Where the blocks are.
    Leaf,
    /// Where the index leaves and filters are.
    Root,
    /// Bounds and range tombstones.
    Extent,
}

impl PieceKind {
    fn tagged(self) -> Piece {
        match self {
            PieceKind::Block => Piece::TableBlock,
            PieceKind::Value => Piece::TableValue,
            PieceKind::Filter => Piece::TableFilter,
            PieceKind::Leaf | PieceKind::Root => Piece::TableIndex,
            PieceKind::Extent => Piece::TableExtent,
        }
    }

    /// Longest contents in bytes: a decoder allocates no more.
    #[must_use]
    pub fn contents_max(self) -> usize {
        match self {
            PieceKind::Block => TABLE_BLOCK_MAX,
            PieceKind::Value => TABLE_PIECE_MAX,
            PieceKind::Filter => TABLE_FILTER_MAX,
            PieceKind::Leaf => TABLE_LEAF_MAX,
            PieceKind::Root => TABLE_ROOT_MAX,
            PieceKind::Extent => TABLE_EXTENT_MAX,
        }
    }
}

impl fmt::Display for PieceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PieceKind::Block => "block",
            PieceKind::Value => "value",
            PieceKind::Filter => "filter",
            PieceKind::Leaf => "index leaf",
            PieceKind::Root => "index root",
            PieceKind::Extent => "extent",
        })
    }
}

/// Whether `bytes` begin as a piece of the table `id` does. It says whose they are, not that they are whole.
#[must_use]
pub fn is_piece_of(bytes: &[u8], id: TableId) -> bool {
    use PieceKind::{Block, Extent, Filter, Leaf, Value};
    let tag = |kind: PieceKind| identity_tag(id.origin, id.file, kind.tagged());
    let found = bytes.first_chunk().map(|b| u64::from_le_bytes(*b));
    [Block, Value, Filter, Leaf, Extent].into_iter().any(|kind| found == Some(tag(kind)))
}

/// Where a piece is, and which checksum it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handle {
    /// Of its first byte in the file.
    pub offset: u64,
    /// Of the whole piece in bytes, header included.
    pub len: u32,
    /// Its checksum.
    pub crc: u32,
}

impl Handle {
    /// Bytes that an encoded handle takes.
    pub const LEN: usize = 16;

    /// Appends offset, length and checksum.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }
    /// Reads what [`Handle::encode`] wrote.
    pub fn decode(r: &mut Reader<'_>) -> Option<Handle> {
        Some(Handle { offset: r.u64()?, len: r.u32()?, crc: r.u32()? })
    }
    /// How a piece is stored whose contents are so long, and that was to be stored as `wanted` if that pays.
    #[must_use]
    pub fn stored_as(self, contents: usize, wanted: Compression) -> Compression {
        if (self.len as usize) < PIECE_HEADER + contents { wanted } else { Compression::None }
    }
    /// The offset behind the piece.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }
}

/// What was wrong with bytes: what they should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The contents of a verified piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Decompressed, or a slice of the bytes that were verified.
    pub plain: Bytes,
}

/// The contents of a verified piece as they are stored, to be copied into another file without being understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub(super) compression: Compression,
    pub(super) len: u32,
    pub(super) bytes: Bytes,
}

impl Stored {
    /// Length of the contents once decompressed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Appends a piece at `offset` of the file and tells its handle.
pub fn encode(
    out: &mut Vec<u8>,
    id: TableId,
    kind: PieceKind,
    offset: u64,
    contents: &[u8],
    wanted: Compression,
) -> Handle {
    assert!(contents.len() <= kind.contents_max(), "a {kind} of {} bytes", contents.len());
    let start = out.len();
    out.resize(start + PIECE_HEADER, 0);
    let compression = compress(out, contents, wanted);
    seal(&mut out[start..], id, kind, offset, contents.len() as u32, compression)
}

/// Appends a piece whose contents were taken from another file as they were stored there.
pub fn encode_stored(
    out: &mut Vec<u8>,
    id: TableId,
    kind: PieceKind,
    offset: u64,
    stored: &Stored,
) -> Handle {
    let start = out.len();
    out.resize(start + PIECE_HEADER, 0);
    out.extend_from_slice(&stored.bytes);
    seal(&mut out[start..], id, kind, offset, stored.len, stored.compression)
}

fn seal(
    piece: &mut [u8],
    id: TableId,
    kind: PieceKind,
    offset: u64,
    len: u32,
    compression: Compression,
) -> Handle {
    let tag = identity_tag(id.origin, id.file, kind.tagged());
    piece[0..8].copy_from_slice(&tag.to_le_bytes());
    piece[12..16].copy_from_slice(&len.to_le_bytes());
    piece[16] = compression as u8;
    let crc = checksum(tag, offset, piece, CRC_AT);
    piece[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    Handle { offset, len: piece.len() as u32, crc }
}

/// Takes `bytes` for the contents of the piece `handle` of table `id`, if they are just that; undecompressed.
///
/// # Errors
/// What of the piece is not as it should be.
pub fn verify_stored(
    bytes: &Bytes,
    id: TableId,
    kind: PieceKind,
    handle: Handle,
) -> Result<Stored, Malformed> {
    if bytes.len() != handle.len as usize || bytes.len() < PIECE_HEADER {
        return Err(Malformed("a piece of the length that its handle says"));
    }
    let tag = identity_tag(id.origin, id.file, kind.tagged());
    let mut r = Reader::new(bytes);
    let mut head = || Some((r.u64()?, r.u32()?, r.u32()?, r.u8()?, r.array::<3>()?));
    let (found, crc, len, compression, zero) = head().expect("the length was just looked at");
    if found != tag {
        return Err(Malformed("the identity tag of this file and kind of piece"));
    }
    if crc != handle.crc {
        return Err(Malformed("the checksum that its parent holds"));
    }
    if checksum(tag, handle.offset, bytes, CRC_AT) != crc {
        return Err(Malformed("bytes that match their checksum"));
    }
    let compression = Compression::from_raw(compression).ok_or(Malformed("a known kind of compression"))?;
    let stored = bytes.slice(PIECE_HEADER..);
    if zero != [0; 3] || compression == Compression::None && stored.len() != len as usize {
        return Err(Malformed("a header that fits the contents"));
    }
    if len as usize > kind.contents_max() {
        return Err(Malformed("contents within the bound of their kind"));
    }
    Ok(Stored { compression, len, bytes: stored })
}

/// As [`verify_stored`], decompressed: without a copy where the piece is stored as it is.
///
/// # Errors
/// What of the piece is not as it should be.
pub fn verify(bytes: &Bytes, id: TableId, kind: PieceKind, handle: Handle) -> Result<Contents, Malformed> {
    let stored = verify_stored(bytes, id, kind, handle)?;
    let plain = match stored.compression {
        Compression::None => stored.bytes,
        Compression::Lz4 => decompress_lz4(&stored.bytes, stored.len())
            .ok_or(Malformed("contents that decompress to their length"))?
            .into(),
    };
    Ok(Contents { plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TableId {
        TableId { origin: SpaceUid([5; 16]), file: FileUid::from_raw(77) }
    }

    fn piece(contents: &[u8], wanted: Compression) -> (Bytes, Handle) {
        let mut out = vec![1, 2, 3];
        let handle = encode(&mut out, id(), PieceKind::Block, 4096, contents, wanted);
        (Bytes::from(out).slice(3..), handle)
    }

    #[test]
    fn a_piece_round_trips_and_moves_to_another_file_as_it_is_stored() {
        for (contents, wanted) in
            [(vec![7; 3000], Compression::Lz4), (vec![7; 300], Compression::None), (vec![], Compression::Lz4)]
        {
            let (bytes, handle) = piece(&contents, wanted);
            assert_eq!(handle.end(), 4096 + bytes.len() as u64);
            assert_eq!(verify(&bytes, id(), PieceKind::Block, handle).unwrap().plain, contents);
            let stored = verify_stored(&bytes, id(), PieceKind::Block, handle).unwrap();
            let there = TableId { file: FileUid::from_raw(78), ..id() };
            let mut out = Vec::new();
            let moved = encode_stored(&mut out, there, PieceKind::Block, 0, &stored);
            let out = Bytes::from(out);
            assert_eq!(verify(&out, there, PieceKind::Block, moved).unwrap().plain, contents);
            assert!(verify(&out, id(), PieceKind::Block, moved).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_other_identity_is_refused() {
        let (bytes, handle) = piece(&b"abcdefgh".repeat(9), Compression::Lz4);
        let refused = |bytes: &[u8], handle, kind, id| {
            assert!(verify(&Bytes::copy_from_slice(bytes), id, kind, handle).is_err());
        };
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            refused(&other, handle, PieceKind::Block, id());
        }
        for cut in 0..bytes.len() {
            refused(&bytes[..cut], handle, PieceKind::Block, id());
            refused(&bytes[..cut], Handle { len: cut as u32, ..handle }, PieceKind::Block, id());
        }
        refused(&bytes, handle, PieceKind::Value, id());
        refused(&bytes, Handle { offset: 0, ..handle }, PieceKind::Block, id());
        refused(&bytes, Handle { crc: 0, ..handle }, PieceKind::Block, id());
        refused(&bytes, handle, PieceKind::Block, TableId { origin: SpaceUid([6; 16]), ..id() });
    }
}
