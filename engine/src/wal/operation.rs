//! Operations as they stand in a commit.
//!
//! ```text
//! commit    := varint(number of operations) operation*
//! operation := kind:u8 [collection:varint] [expiry:u64] varint(key length) [varint(value length)] key [value]
//!   kind       bits 0..4: 1 put, 2 delete, 3 delete-range (reserved) · bit 4: collection present · bit 5: expiry present
//!   collection absent means 0, the default collection
//!   expiry     milliseconds since the Unix epoch; absent means never
//! ```
//!
//! Within one commit keys are distinct: the last operation on a key wins before encoding.
use crate::codec::{Reader, put_varint, varint_len};
use crate::limits::{BATCH_OPS_MAX, KEY_MAX, VALUE_MAX};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const HAS_COLLECTION: u8 = 1 << 4;
const HAS_EXPIRY: u8 = 1 << 5;

/// One change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Delete { key: &'a [u8] },
}

impl<'a> Operation<'a> {
    /// The key that it changes.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key } => key,
        }
    }

    /// Appends the encoded operation to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Operation::Put { key, value } => {
                out.push(PUT);
                put_varint(out, key.len() as u64);
                put_varint(out, value.len() as u64);
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Operation::Delete { key } => {
                out.push(DELETE);
                put_varint(out, key.len() as u64);
                out.extend_from_slice(key);
            }
        }
    }

    /// Bytes that [`Operation::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Operation::Put { key, value } => {
                1 + varint_len(key.len() as u64) + varint_len(value.len() as u64) + key.len() + value.len()
            }
            Operation::Delete { key } => 1 + varint_len(key.len() as u64) + key.len(),
        }
    }

    /// Reads one operation; `None` for anything that this release does not write. Never panics, allocates nothing.
    pub fn decode(r: &mut Reader<'a>) -> Option<Operation<'a>> {
        let kind = r.u8()?;
        if kind & (HAS_COLLECTION | HAS_EXPIRY) != 0 {
            // In the format from the start, written by no release yet: refused, not guessed.
            return None;
        }
        let key_len = r.length(KEY_MAX)?;
        if key_len == 0 {
            return None;
        }
        match kind {
            PUT => {
                let value_len = r.length(VALUE_MAX)?;
                Some(Operation::Put { key: r.bytes(key_len)?, value: r.bytes(value_len)? })
            }
            DELETE => Some(Operation::Delete { key: r.bytes(key_len)? }),
            _ => None,
        }
    }
}

/// Reads one commit and hands each of its operations to `each`; the number of operations, or `None` if the bytes are
/// no commit.
pub fn decode_commit<'a>(r: &mut Reader<'a>, mut each: impl FnMut(Operation<'a>)) -> Option<usize> {
    let count = r.length(BATCH_OPS_MAX)?;
    for _ in 0..count {
        each(Operation::decode(r)?);
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_round_trip_and_tell_their_length() {
        for op in [
            Operation::Put { key: b"k", value: b"" },
            Operation::Put { key: &[7; 300], value: &[9; 20_000] },
            Operation::Delete { key: b"gone" },
        ] {
            let mut out = Vec::new();
            op.encode(&mut out);
            assert_eq!(out.len(), op.encoded_len());
            let mut r = Reader::new(&out);
            assert_eq!(Operation::decode(&mut r), Some(op));
            assert!(r.is_empty());
            for cut in 0..out.len() {
                assert_eq!(Operation::decode(&mut Reader::new(&out[..cut])), None);
            }
        }
    }

    #[test]
    fn unknown_kinds_and_reserved_bits_are_refused() {
        for kind in (0u8..=255).filter(|k| !matches!(k, 1 | 2)) {
            assert_eq!(Operation::decode(&mut Reader::new(&[kind, 1, 1, b'k', b'v'])), None, "{kind}");
        }
        assert_eq!(Operation::decode(&mut Reader::new(&[DELETE, 0])), None, "an empty key");
    }
}
