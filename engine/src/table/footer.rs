//! The footer: the last bytes of a table, where reading begins.
//!
//! ```text
//!   0 magic        [u8;8] "BHTABLES"
//!   8 tag          u64    identity tag of (origin space, this file, TableFooter)
//!  16 crc          u32    over tag, the footer's offset, and all of it but these four bytes
//!  20 level        u32    format level
//!  24 origin       [u8;16] uid of the space whose tags the file carries
//!  40 file         u64    file uid
//!  48 protection   u8     0 none
//!  49 filter       u8     1 groups of 64 bytes, six bits a key
//!  50 compression  u8     what was asked for; each piece says what it has
//!  51 zeros        [u8;5]
//!  56 key          u64    key id; 0 none
//!  64 length       u64    of the file, footer included
//!  72 tail         u64    where the filters and index leaves begin; behind them extent, root and footer
//!  80 root         handle 0 if there are no entries
//!  96 extent       handle
//! 112 entries      u64
//! 120 tombstones   u64    entries that are deletes
//! 128 ranges       u64    range tombstones
//! 136 keys         u64    bytes of all keys of entries
//! 144 values       u64    bytes of all values
//! 152 lowest       u64    lowest LSN of entries and range tombstones
//! 160 highest      u64    highest LSN
//! 168 priority     i32    highest priority of entries; 0 if there are none
//! 172 zeros up to 512
//!   handle = offset u64, length u32, checksum u32
//! ```
use super::compress::Compression;
use super::piece::{Handle, Malformed, TableId};
use crate::codec::{Piece, Reader, checksum, identity_tag, is_zero};
use crate::ids::{FileUid, Lsn, Priority, SpaceUid};
use crate::limits::SECTOR;

/// Bytes of a footer.
pub const FOOTER: usize = SECTOR;
/// First bytes of a footer.
pub(crate) const MAGIC: [u8; 8] = *b"BHTABLES";
const CRC_AT: usize = 16;
const ORIGIN_AT: usize = 24;
const USED: usize = 172;
const FILTER_GROUPS: u8 = 1;
/// Format level of tables that this release writes.
pub const TABLE_LEVEL: u32 = 1;

/// What a table holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Versions of keys, deletes among them.
    pub entries: u64,
    /// Versions that are deletes.
    pub tombstones: u64,
    /// Range tombstones.
    pub ranges: u64,
    /// Bytes of the keys of all versions.
    pub key_bytes: u64,
    /// Bytes of all values, uncompressed.
    pub value_bytes: u64,
    /// Highest priority of all versions; 0 if there are none.
    pub priority: Priority,
}

/// A verified footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Length of the file in bytes.
    pub len: u64,
    /// Where the filters and index leaves begin.
    pub tail: u64,
    /// The index root; `None` if there are no entries.
    pub root: Option<Handle>,
    pub extent: Handle,
    pub counts: Counts,
    /// Lowest LSN of entries and range tombstones.
    pub lowest: Lsn,
    /// Highest LSN of entries and range tombstones.
    pub highest: Lsn,
    /// What was asked for when it was built.
    pub compression: Compression,
}

impl Footer {
    /// The footer of table `id`, and its checksum.
    #[must_use]
    pub fn encode(&self, id: TableId) -> ([u8; FOOTER], u32) {
        let tag = identity_tag(id.origin, id.file, Piece::TableFooter);
        let mut out = Vec::with_capacity(FOOTER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&TABLE_LEVEL.to_le_bytes());
        out.extend_from_slice(&id.origin.0);
        out.extend_from_slice(&id.file.raw().to_le_bytes());
        out.extend_from_slice(&[0, FILTER_GROUPS, self.compression as u8, 0, 0, 0, 0, 0]);
        for word in [0, self.len, self.tail] {
            out.extend_from_slice(&u64::to_le_bytes(word));
        }
        self.root.unwrap_or_default().encode(&mut out);
        self.extent.encode(&mut out);
        let Counts { entries, tombstones, ranges, key_bytes, value_bytes, priority } = self.counts;
        let (lowest, highest) = (self.lowest.raw(), self.highest.raw());
        for word in [entries, tombstones, ranges, key_bytes, value_bytes, lowest, highest] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&priority.raw().to_le_bytes());
        assert_eq!(out.len(), USED);
        out.resize(FOOTER, 0);
        let mut page: [u8; FOOTER] = out.try_into().expect("just made so long");
        let crc = checksum(tag, self.offset(), &page, CRC_AT);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        (page, crc)
    }

    /// Where it lies in its file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.len - FOOTER as u64
    }

    /// Takes `bytes` for the footer of table `id`, a file of `len` bytes, if they are just that. `crc` is what the
    /// manifest holds, if it is known.
    ///
    /// # Errors
    /// What of it is not as it should be.
    pub fn verify(bytes: &[u8], id: TableId, len: u64, crc: Option<u32>) -> Result<Footer, Malformed> {
        let offset = len.checked_sub(FOOTER as u64).filter(|_| bytes.len() == FOOTER);
        let offset = offset.ok_or(Malformed("a footer of 512 bytes"))?;
        let tag = identity_tag(id.origin, id.file, Piece::TableFooter);
        let mut r = Reader::new(bytes);
        if r.array() != Some(MAGIC) || r.u64() != Some(tag) {
            return Err(Malformed("the magic and the identity tag of this file's footer"));
        }
        let found = r.u32();
        if crc.is_some() && crc != found {
            return Err(Malformed("the footer's checksum that the manifest holds"));
        }
        if Some(checksum(tag, offset, bytes, CRC_AT)) != found {
            return Err(Malformed("a footer that matches its checksum"));
        }
        if r.u32() != Some(TABLE_LEVEL) {
            return Err(Malformed("a format level that this release knows"));
        }
        Footer::read(&mut r, id, len).ok_or(Malformed("fields of a footer that fit together"))
    }

    /// What `bytes`, the last ones of a file of `len` bytes, say if they are a footer. Nothing is verified: for a look at
    /// a damaged table, whose pieces verify on their own.
    #[must_use]
    pub fn claimed(bytes: &[u8], len: u64) -> Option<(TableId, Footer)> {
        let mut r = Reader::new(bytes.get(ORIGIN_AT..FOOTER)?);
        let mut fields = r.clone();
        let id = TableId { origin: SpaceUid(r.array()?), file: FileUid::from_raw(r.u64()?) };
        Footer::read(&mut fields, id, len).map(|footer| (id, footer))
    }

    fn read(r: &mut Reader<'_>, id: TableId, len: u64) -> Option<Footer> {
        let same = TableId { origin: SpaceUid(r.array()?), file: FileUid::from_raw(r.u64()?) } == id;
        let (kinds, compression) = (r.array::<2>()?, Compression::from_raw(r.u8()?)?);
        let known = same && kinds == [0, FILTER_GROUPS] && r.array()? == [0; 5] && r.u64()? == 0;
        (known && r.u64()? == len).then_some(())?;
        let tail = r.u64()?;
        let (root, extent) = (Handle::decode(r)?, Handle::decode(r)?);
        let mut counts = Counts {
            entries: r.u64()?,
            tombstones: r.u64()?,
            ranges: r.u64()?,
            key_bytes: r.u64()?,
            value_bytes: r.u64()?,
            priority: Priority::default(),
        };
        let (lowest, highest) = (Lsn::from_raw(r.u64()?), Lsn::from_raw(r.u64()?));
        counts.priority = Priority::from_raw(r.u32()? as i32);
        let root = (root != Handle::default()).then_some(root);
        let end = root.map_or(extent.end(), Handle::end);
        let placed = tail <= extent.offset && end == len - FOOTER as u64;
        let placed = placed && root.is_none_or(|root| extent.end() == root.offset);
        let fits = placed && root.is_some() == (counts.entries > 0) && counts.tombstones <= counts.entries;
        let rest_is_zero = is_zero(r.rest());
        (fits && rest_is_zero && lowest <= highest).then_some(Footer {
            len,
            tail,
            root,
            extent,
            counts,
            lowest,
            highest,
            compression,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TableId {
        TableId { origin: SpaceUid([5; 16]), file: FileUid::from_raw(77) }
    }

    fn footer() -> Footer {
        Footer {
            len: 1100 + FOOTER as u64,
            tail: 500,
            root: Some(Handle { offset: 1000, len: 100, crc: 1 }),
            extent: Handle { offset: 900, len: 100, crc: 2 },
            counts: Counts {
                entries: 5,
                tombstones: 1,
                ranges: 2,
                key_bytes: 30,
                value_bytes: 40,
                priority: Priority::from_raw(-1),
            },
            lowest: Lsn::from_raw(3),
            highest: Lsn::from_raw(9),
            compression: Compression::Lz4,
        }
    }

    #[test]
    fn a_footer_round_trips() {
        let empty = Footer {
            root: None,
            extent: Handle { offset: 1000, ..footer().extent },
            counts: Counts { ranges: 1, ..Counts::default() },
            ..footer()
        };
        for footer in [footer(), empty] {
            let (bytes, crc) = footer.encode(id());
            assert_eq!(Footer::verify(&bytes, id(), footer.len, Some(crc)), Ok(footer));
            assert_eq!(Footer::verify(&bytes, id(), footer.len, None), Ok(footer));
            assert!(Footer::verify(&bytes, id(), footer.len, Some(crc ^ 1)).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_identity_is_refused() {
        let (bytes, _) = footer().encode(id());
        let len = footer().len;
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::verify(&other, id(), len, None).is_err(), "bit {bit}");
        }
        for (other, len) in [
            (TableId { origin: SpaceUid([6; 16]), ..id() }, len),
            (TableId { file: FileUid::from_raw(78), ..id() }, len),
            (id(), len + 1),
            (id(), 100),
        ] {
            assert!(Footer::verify(&bytes, other, len, None).is_err());
        }
        assert!(Footer::verify(&bytes[1..], id(), len, None).is_err());
    }

    #[test]
    fn fields_that_do_not_fit_together_are_refused() {
        let counts = footer().counts;
        for wrong in [
            Footer { root: None, ..footer() },
            Footer { tail: 901, ..footer() },
            Footer { counts: Counts { entries: 0, ..counts }, ..footer() },
            Footer { counts: Counts { tombstones: 6, ..counts }, ..footer() },
            Footer { lowest: Lsn::from_raw(10), ..footer() },
            Footer { extent: Handle { len: 101, ..footer().extent }, ..footer() },
        ] {
            let (bytes, crc) = wrong.encode(id());
            assert!(Footer::verify(&bytes, id(), wrong.len, Some(crc)).is_err(), "{wrong:?}");
        }
    }
}
