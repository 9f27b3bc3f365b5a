//! Values as readers get them.
use crate::ids::{Lsn, Priority};
use bytes::Bytes;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A value read from a space: immutable bytes, cheap to clone.
#[derive(Clone)]
pub struct Value(Repr);

#[derive(Clone)]
enum Repr {
    /// Memory of its own, as memtables have it: reading it allocates nothing.
    Own(Arc<[u8]>),
    /// A part of something larger.
    Part(Bytes),
}

impl Value {
    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Value {
        Value(Repr::Own(bytes.into()))
    }

    /// A value that is these bytes.
    #[must_use]
    pub(crate) fn from_bytes(bytes: Bytes) -> Value {
        Value(Repr::Part(bytes))
    }

    /// A value that a memtable holds.
    #[must_use]
    pub(super) fn of(bytes: &Arc<[u8]>) -> Value {
        Value(Repr::Own(bytes.clone()))
    }

    /// Whether it keeps nothing in memory but itself.
    #[cfg(test)]
    pub(super) fn stands_alone(&self) -> bool {
        matches!(self.0, Repr::Own(_))
    }

    /// Its bytes, not copied.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Own(bytes) => Bytes::from_owner(bytes),
            Repr::Part(bytes) => bytes,
        }
    }
}

/// What a key holds: its value, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The commit that wrote it.
    pub lsn: Lsn,
    /// What it was put with: see [`crate::PutOptions::priority`].
    pub priority: Priority,
}

/// The empty value.
impl Default for Value {
    fn default() -> Value {
        Value::from_bytes(Bytes::new())
    }
}

impl std::ops::Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Own(bytes) => bytes,
            Repr::Part(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Vec<u8> {
        match value.0 {
            Repr::Own(bytes) => bytes.to_vec(),
            Repr::Part(bytes) => bytes.into(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
