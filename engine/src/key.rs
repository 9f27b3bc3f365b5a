//! Keys in memory: a short one lies in the tree node itself, so that a search follows no pointer to compare it.
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

mod range;

pub use range::KeyRange;

/// Longest key, in bytes, that is kept in place.
const SHORT: usize = 22;
const _: () =
    assert!(size_of::<Key>() == 24, "a key in place takes no more than a pointer, a length and a tag would");

/// A key read from a space: immutable bytes, cheap to clone. Ordered, compared and borrowed as its bytes.
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    /// Zeros follow the bytes.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Arc<[u8]>),
}

impl Key {
    /// `key`, if it is short enough to be kept in place: a search for it among keys compares numbers then.
    #[must_use]
    pub fn in_place(key: &[u8]) -> Option<Key> {
        let (mut bytes, len) = ([0; SHORT], key.len());
        if len > SHORT {
            return None;
        }
        // Pieces of fixed lengths, which may overlap: for so few bytes a call would cost more than the copying.
        if len >= 8 {
            if len >= 16 {
                bytes[..16].copy_from_slice(&key[..16]);
            } else {
                bytes[..8].copy_from_slice(&key[..8]);
            }
            bytes[len - 8..len].copy_from_slice(&key[len - 8..]);
        } else {
            bytes[..len].copy_from_slice(key);
        }
        Some(Key(Repr::Short { len: len as u8, bytes }))
    }

    /// The very next key.
    pub(crate) fn successor(&self) -> Key {
        Key::from(&[self, &[0][..]].concat()[..])
    }

    /// Its eight bytes behind the first `skip`, as a number that is ordered as they are; zeros behind the end.
    #[inline]
    pub(crate) fn head(&self, skip: usize) -> u64 {
        match &self.0 {
            Repr::Short { bytes, .. } if skip <= SHORT - 8 => word(bytes, skip),
            Repr::Short { bytes, .. } if skip < SHORT => word(bytes, SHORT - 8) << (8 * (skip - (SHORT - 8))),
            Repr::Short { .. } => 0,
            Repr::Long(bytes) => head(bytes, skip),
        }
    }
}

/// Length of the longest prefix that both have.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let start = 8 * words.take_while(|(x, y)| x == y).count();
    start + a[start..].iter().zip(&b[start..]).take_while(|(x, y)| x == y).count()
}

/// What [`Key::head`] is, of bytes.
pub(crate) fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    let mut head = [0; 8];
    let len = rest.len().min(8);
    head[..len].copy_from_slice(&rest[..len]);
    u64::from_be_bytes(head)
}

/// Eight bytes of a short key, as a number that is ordered as they are.
#[inline]
fn word(of: &[u8; SHORT], at: usize) -> u64 {
    u64::from_be_bytes(of[at..at + 8].try_into().expect("eight bytes"))
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(key: &[u8]) -> Key {
        Key::in_place(key).unwrap_or_else(|| Key(Repr::Long(key.into())))
    }
}

/// The empty key, which no space holds.
impl Default for Key {
    fn default() -> Key {
        Key::from(&[][..])
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Long(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Vec<u8> {
        key.to_vec()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

/// How the bytes of two short keys compare, eight at a time as numbers that are ordered as they are: most keys differ in
/// the first ones.
#[inline]
fn compare(a: &[u8; SHORT], b: &[u8; SHORT]) -> Ordering {
    let words = |at| word(a, at).cmp(&word(b, at));
    // The last one repeats some of the second.
    words(0).then_with(|| words(8)).then_with(|| words(SHORT - 8))
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Key) -> Ordering {
        match (&self.0, &other.0) {
            // Where the bytes with their zeros are equal one key is the other and zeros: the shorter one is first.
            (Repr::Short { len: a, bytes: x }, Repr::Short { len: b, bytes: y }) => {
                compare(x, y).then_with(|| a.cmp(b))
            }
            _ => (**self).cmp(&**other),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        match (&self.0, &other.0) {
            (Repr::Short { len: a, bytes: x }, Repr::Short { len: b, bytes: y }) => a == b && x == y,
            _ => **self == **other,
        }
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys of few different bytes, zeros among them, around the length at which they move out.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, 255]), 0..=26)
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_their_bytes(a in bytes(), b in bytes(), extra in bytes()) {
            let longer = [&a[..], &extra].concat();
            for b in [b, longer] {
                let (x, y) = (Key::from(&a[..]), Key::from(&b[..]));
                prop_assert_eq!(x.cmp(&y), a.cmp(&b));
                prop_assert_eq!((&*x, x == y), (&a[..], a == b));
                for skip in 0..a.len() + 2 {
                    prop_assert_eq!(x.head(skip), head(&a, skip));
                }
            }
        }
    }
}
