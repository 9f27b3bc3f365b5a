//! What all on-disk formats share: identity tags, checksums, and reading bytes without trusting them.
//!
//! Every piece that the engine writes (header, frame, manifest copy, block) carries an 8-byte *identity tag*, a keyed hash of
//! the space's uid, the file's uid and the kind of piece, compared first; then a CRC-32 over that tag, the piece's
//! offset in its file and all of its bytes including padding. So bytes of another space, another file, another place
//! or another kind are never taken for this one, even if their own checksum is right.
use crate::ids::{FileUid, Priority, SpaceUid};

/// Kinds of pieces; part of the identity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Piece {
    Identity = 1,
    Manifest = 2,
    SegmentHeader = 3,
    Frame = 4,
    EngineFile = 5,
    TableBlock = 6,
    TableValue = 7,
    TableFilter = 8,
    TableIndex = 9,
    TableExtent = 10,
    TableFooter = 11,
}

/// The identity tag of pieces of `kind` in the file `file` of the space `space`. Never zero.
#[must_use]
pub fn identity_tag(space: SpaceUid, file: FileUid, kind: Piece) -> u64 {
    if crate::mutants::on("checksum-without-space") {
        return mix(u64::from(kind as u8)).max(1);
    }
    let space = u128::from_le_bytes(space.0);
    let mut h = mix(space as u64 ^ 0x6275_6c6b_6865_6164);
    h = mix(h ^ (space >> 64) as u64);
    h = mix(h ^ file.raw());
    mix(h ^ u64::from(kind as u8)).max(1)
}

/// The finaliser of MurmurHash3 (public domain), preceded by an odd constant so that zero does not map to zero.
#[must_use]
pub fn mix(x: u64) -> u64 {
    let mut x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Bytes of a piece that is short, with what stands in front of it.
const SHORT: usize = 256;

/// CRC-32 of a piece: over its tag, its offset, and its bytes, leaving out the four bytes at `crc_at` that hold it.
#[must_use]
pub fn checksum(tag: u64, offset: u64, piece: &[u8], crc_at: usize) -> u32 {
    // What stands in front of a short piece and all of that are taken at once: the checksum is quick in long steps.
    let mut front = [0; SHORT];
    front[..8].copy_from_slice(&tag.to_le_bytes());
    front[8..16].copy_from_slice(&offset.to_le_bytes());
    front[16..16 + crc_at].copy_from_slice(&piece[..crc_at]);
    let rest = &piece[crc_at + 4..];
    let at = 16 + crc_at;
    let short = if rest.len() <= SHORT - at { rest.len() } else { 0 };
    front[at..at + short].copy_from_slice(&rest[..short]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&front[..at + short]);
    hasher.update(&rest[short..]);
    hasher.finalize()
}

/// Whether all bytes are zero, as padding is. Many are looked at in one step.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (steps, rest) = bytes.as_chunks::<64>();
    let none = |bytes: &[u8]| bytes.iter().fold(0, |any, b| any | b) == 0;
    steps.iter().all(|step| none(step)) && none(rest)
}

/// Reads little-endian fields off untrusted bytes; every read answers `None` past the end.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the first byte of `bytes` on.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }
    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        if n > self.0.len() {
            return None;
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Some(head)
    }
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
    pub fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.array()?))
    }
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }
    /// LEB128 of at most ten bytes; refuses encodings longer than needed, so that every number has one encoding.
    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        // Nearly all are short and need no loop.
        match *self.0 {
            [a, ref tail @ ..] if a < 0x80 => {
                self.0 = tail;
                Some(u64::from(a))
            }
            [a, b @ 1..0x80, ref tail @ ..] => {
                self.0 = tail;
                Some(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            [a, b @ 0x80..=0xff, c @ 1..0x80, ref tail @ ..] => {
                self.0 = tail;
                Some(u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(c) << 14)
            }
            _ => self.long_varint(),
        }
    }
    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            let bits = u64::from(b & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && b == 0 {
                return None;
            }
            value |= bits << shift;
            if b & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    /// A varint that is a length of at most `max`.
    pub fn length(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|&n| n <= max)
    }
    /// A priority; refuses 0, which is said by leaving it out.
    pub fn priority(&mut self) -> Option<Priority> {
        let raw = i32::try_from(unzigzag(self.varint()?)).ok()?;
        (raw != 0).then_some(Priority::from_raw(raw))
    }
    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Appends `value` as LEB128.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_varint`] takes for `value`.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// `n` as a number that is small where `n` is near zero.
#[must_use]
pub fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// What [`zigzag`] was given.
#[must_use]
pub fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// What [`put_varint`] is to be given for a priority that [`Reader::priority`] is to read.
#[must_use]
pub fn priority_word(priority: Priority) -> u64 {
    zigzag(i64::from(priority.raw()))
}

/// Where `part`, which lies in `whole`, begins in it.
#[must_use]
pub fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    let at = part.as_ptr().addr() - whole.as_ptr().addr();
    assert!(at + part.len() <= whole.len(), "the part lies in the whole");
    at
}

/// `n` rounded up to a multiple of `unit`, a power of two.
#[must_use]
pub const fn align_up(n: u64, unit: u64) -> u64 {
    debug_assert!(unit.is_power_of_two());
    (n + unit - 1) & !(unit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_zero_and_a_bit_anywhere_is_noticed() {
        let mut bytes = [0; 200];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] = 1 << (bit % 8);
            assert!(!is_zero(&bytes), "bit {bit}");
            bytes[bit / 8] = 0;
        }
    }

    #[test]
    fn varints_round_trip_and_have_one_encoding() {
        for v in [0, 1, 127, 128, 300, 16383, 16384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, v);
            assert_eq!(out.len(), varint_len(v), "{v}");
            let mut r = Reader::new(&out);
            assert_eq!(r.varint(), Some(v));
            assert!(r.is_empty());
        }
        for bad in [&[0x80][..], &[0x80, 0x00], &[0xff; 10], &[]] {
            assert_eq!(Reader::new(bad).varint(), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tag_depends_on_space_file_and_kind() {
        let (s, f) = (SpaceUid([1; 16]), FileUid::from_raw(7));
        let tag = identity_tag(s, f, Piece::Frame);
        assert_ne!(tag, identity_tag(SpaceUid([2; 16]), f, Piece::Frame));
        assert_ne!(tag, identity_tag(s, FileUid::from_raw(8), Piece::Frame));
        assert_ne!(tag, identity_tag(s, f, Piece::Manifest));
    }

    #[test]
    fn a_checksum_depends_on_tag_offset_and_every_byte_but_its_own() {
        let piece = [3u8; 32];
        let crc = checksum(1, 2, &piece, 8);
        assert_ne!(crc, checksum(2, 2, &piece, 8));
        assert_ne!(crc, checksum(1, 3, &piece, 8));
        for i in 0..piece.len() {
            let mut other = piece;
            other[i] ^= 1;
            assert_eq!(crc == checksum(1, 2, &other, 8), (8..12).contains(&i), "byte {i}");
        }
    }
}
