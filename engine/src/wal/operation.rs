//! Operations as they stand in a commit.
//!
//! ```text
//! commit    := varint(number of operations) operation*
//! operation := kind:u8 [collection:varint] [expiry:u64] [priority:varint] body
//! body      := varint(key length) varint(value length) key value        put
//!            | varint(key length) key                                   delete
//!            | varint(start length) varint(end length) start end        delete-range
//!   kind       bits 0..4: 1 put, 2 delete, 3 delete-range · bit 4: collection present · bit 5: expiry present ·
//!              bit 6: priority present, of a put only
//!   start, end the first key deleted, and the first one behind that is not: a start of no bytes lies in front of all keys,
//!              an end of no bytes behind them
//!   collection absent means 0, the default collection
//!   expiry     milliseconds since the Unix epoch; absent means never
//!   priority   zigzag of an i32; absent means 0, which is not said otherwise
//! ```
//!
//! Within one commit keys are distinct: the last operation on a key wins before encoding. Range deletes come first, and
//! what is done to a key in the same commit is done behind them, in whichever order they stand: a put that a range delete
//! was to end is not encoded.
use crate::codec::{Reader, priority_word, put_varint, varint_len};
use crate::ids::Priority;
use crate::limits::{BATCH_OPS_MAX, KEY_MAX, RANGE_BOUND_MAX, VALUE_MAX};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;
const HAS_COLLECTION: u8 = 1 << 4;
const HAS_EXPIRY: u8 = 1 << 5;
const HAS_PRIORITY: u8 = 1 << 6;
const PUT_WITH_PRIORITY: u8 = PUT | HAS_PRIORITY;

/// One change of one key, or of all keys of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
        priority: Priority,
    },
    Delete {
        key: &'a [u8],
    },
    /// Of every key from `start` on and below `end`; without that, to the end.
    DeleteRange {
        start: &'a [u8],
        end: Option<&'a [u8]>,
    },
}

impl<'a> Operation<'a> {
    /// Appends the encoded operation to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Operation::Put { key, value, priority } => {
                if *priority == Priority::default() {
                    out.push(PUT);
                } else {
                    out.push(PUT_WITH_PRIORITY);
                    put_varint(out, priority_word(*priority));
                }
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
            Operation::DeleteRange { start, end } => {
                let end = end.unwrap_or_default();
                out.push(DELETE_RANGE);
                put_varint(out, start.len() as u64);
                put_varint(out, end.len() as u64);
                out.extend_from_slice(start);
                out.extend_from_slice(end);
            }
        }
    }

    /// Bytes that [`Operation::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Operation::Put { key, value, priority } => {
                let said = match priority_word(*priority) {
                    0 => 0,
                    word => varint_len(word),
                };
                let lengths = varint_len(key.len() as u64) + varint_len(value.len() as u64);
                1 + said + lengths + key.len() + value.len()
            }
            Operation::Delete { key } => 1 + varint_len(key.len() as u64) + key.len(),
            Operation::DeleteRange { start, end } => {
                let end = end.map_or(0, <[u8]>::len);
                1 + varint_len(start.len() as u64) + varint_len(end as u64) + start.len() + end
            }
        }
    }

    /// Reads one operation; `None` for anything that this release does not write. Never panics, allocates nothing.
    pub fn decode(r: &mut Reader<'a>) -> Option<Operation<'a>> {
        let kind = r.u8()?;
        if kind & (HAS_COLLECTION | HAS_EXPIRY) != 0 {
            // In the format from the start, written by no release yet: refused, not guessed.
            return None;
        }
        match kind {
            PUT | PUT_WITH_PRIORITY => {
                let priority = if kind == PUT { Priority::default() } else { r.priority()? };
                let (key_len, value_len) = (r.length(KEY_MAX)?, r.length(VALUE_MAX)?);
                let (key, value) = (r.bytes(key_len)?, r.bytes(value_len)?);
                (!key.is_empty()).then_some(Operation::Put { key, value, priority })
            }
            DELETE => {
                let key_len = r.length(KEY_MAX)?;
                let key = r.bytes(key_len)?;
                (!key.is_empty()).then_some(Operation::Delete { key })
            }
            DELETE_RANGE => {
                let (start_len, end_len) = (r.length(RANGE_BOUND_MAX)?, r.length(RANGE_BOUND_MAX)?);
                let (start, end) = (r.bytes(start_len)?, r.bytes(end_len)?);
                let end = Some(end).filter(|end| !end.is_empty());
                end.is_none_or(|end| start < end).then_some(Operation::DeleteRange { start, end })
            }
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

    const PLAIN: Priority = Priority::from_raw(0);

    #[test]
    fn operations_round_trip_and_tell_their_length() {
        for op in [
            Operation::Put { key: b"k", value: b"", priority: PLAIN },
            Operation::Put { key: &[7; 300], value: &[9; 20_000], priority: PLAIN },
            Operation::Put { key: b"k", value: b"v", priority: Priority::from_raw(-1) },
            Operation::Put { key: b"k", value: &[9; 200], priority: Priority::from_raw(i32::MAX) },
            Operation::Put { key: b"k", value: b"", priority: Priority::from_raw(i32::MIN) },
            Operation::Delete { key: b"gone" },
            Operation::DeleteRange { start: b"a", end: Some(b"b") },
            Operation::DeleteRange { start: b"", end: Some(&[7; 300]) },
            Operation::DeleteRange { start: &[7; RANGE_BOUND_MAX], end: None },
            Operation::DeleteRange { start: b"", end: None },
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
        for kind in (0u8..=255).filter(|k| !matches!(*k, 1..=3 | PUT_WITH_PRIORITY)) {
            // With and without what would be a priority.
            assert_eq!(Operation::decode(&mut Reader::new(&[kind, 1, 1, b'k', b'v'])), None, "{kind}");
            assert_eq!(Operation::decode(&mut Reader::new(&[kind, 2, 1, 1, b'k', b'v'])), None, "{kind}");
        }
        let with = |priority: &[u8]| [&[PUT_WITH_PRIORITY][..], priority, &[1, 1, b'k', b'v']].concat();
        let decoded = |bytes: &[u8]| Operation::decode(&mut Reader::new(bytes)).is_some();
        assert!(decoded(&with(&[2])) && decoded(&with(&[0xff, 0xff, 0xff, 0xff, 0x0f])));
        assert!(!decoded(&with(&[0])), "no priority is said by leaving it out");
        assert!(!decoded(&with(&[0x80, 0x80, 0x80, 0x80, 0x10])), "more than an i32");
        assert_eq!(Operation::decode(&mut Reader::new(&[DELETE, 0])), None, "an empty key");
        for (start, end) in [("b", "b"), ("b", "a"), ("", "")] {
            let mut out = vec![DELETE_RANGE, start.len() as u8, end.len() as u8];
            out.extend_from_slice(&[start, end].concat().into_bytes());
            let all = start.is_empty().then_some(Operation::DeleteRange { start: b"", end: None });
            assert_eq!(Operation::decode(&mut Reader::new(&out)), all, "{start:?}..{end:?}");
        }
        let mut long = vec![DELETE_RANGE];
        put_varint(&mut long, RANGE_BOUND_MAX as u64 + 1);
        long.resize(RANGE_BOUND_MAX + 10, 0);
        assert_eq!(Operation::decode(&mut Reader::new(&long)), None, "a bound that no range can have");
    }
}
