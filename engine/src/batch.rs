//! A batch: several operations that are in or out as a whole.
use crate::config::Amount;
use crate::error::{Error, Rejected, Result};
use crate::ids::Lsn;
use crate::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX, KEY_MAX, VALUE_MAX};
use crate::wal::operation::Operation;
use std::collections::BTreeMap;

/// Operations that commit together. The last operation on a key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    operations: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Batch {
        self.operations.insert(key.into(), Some(value.into()));
        self
    }
    /// Removes `key`; fine if it is not there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Batch {
        self.operations.insert(key.into(), None);
        self
    }
    /// Operations in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }
    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
    /// Its operations by ascending key; `None` is a delete.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.operations.iter().map(|(k, v)| (k.as_slice(), v.as_deref()))
    }
}

/// What a commit does: one operation without allocating, or a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operations<'a> {
    One(Operation<'a>),
    Many(&'a Batch),
}

impl<'a> Operations<'a> {
    pub(crate) fn for_each(&self, mut f: impl FnMut(Operation<'a>)) {
        match *self {
            Operations::One(op) => f(op),
            Operations::Many(batch) => {
                for (key, value) in batch.iter() {
                    f(match value {
                        Some(value) => Operation::Put { key, value },
                        None => Operation::Delete { key },
                    });
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Operations::One(_) => 1,
            Operations::Many(batch) => batch.len(),
        }
    }

    /// Checks every bound; the encoded length of all operations together.
    pub(crate) fn check(&self) -> Result<Sizes> {
        if !(1..=BATCH_OPS_MAX).contains(&self.len()) {
            return Err(Error::rejected(Rejected::Batch, format!("a batch of {} operations", self.len()))
                .expected(format!("1..={BATCH_OPS_MAX} operations")));
        }
        let mut sizes = Sizes { encoded: 0, memory: 0, puts: false, adds: Amount::default() };
        let mut bad = None;
        self.for_each(|op| {
            let value = match op {
                Operation::Put { value, .. } => Some(value),
                Operation::Delete { .. } => None,
            };
            sizes.encoded += op.encoded_len();
            sizes.memory += crate::memtable::entry_cost(op.key().len(), value.map_or(0, <[u8]>::len));
            sizes.puts |= value.is_some();
            sizes.adds.entries += u64::from(value.is_some());
            sizes.adds.bytes += (op.key().len() + value.map_or(0, <[u8]>::len)) as u64;
            if bad.is_none() {
                bad = check_operation(op.key(), value).err();
            }
        });
        if let Some(bad) = bad {
            return Err(bad);
        }
        if sizes.encoded > BATCH_BYTES_MAX {
            return Err(Error::rejected(Rejected::Batch, format!("a batch of {} bytes", sizes.encoded))
                .expected(format!("at most {BATCH_BYTES_MAX} encoded bytes"))
                .advice("Split the batch; nothing was done."));
        }
        Ok(sizes)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) encoded: usize,
    pub(crate) memory: u64,
    pub(crate) puts: bool,
    /// What it adds to what the space holds.
    pub(crate) adds: Amount,
}

fn check_operation(key: &[u8], value: Option<&[u8]>) -> Result<()> {
    check_key(key)?;
    match value {
        Some(v) if v.len() > VALUE_MAX => {
            Err(Error::rejected(Rejected::Value, format!("a value of {} bytes", v.len()))
                .expected(format!("0..={VALUE_MAX} bytes"))
                .advice("Split the value over several keys; nothing was done."))
        }
        _ => Ok(()),
    }
}

/// Checks a key's bounds.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if (1..=KEY_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::rejected(Rejected::Key, format!("a key of {} bytes", key.len()))
        .expected(format!("1..={KEY_MAX} bytes"))
        .advice("Use another key; nothing was done."))
}

/// What must hold of a key for a write to be done; checked in the same step that orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: Vec<u8>,
    /// What it must hold.
    pub expected: Expected,
}

/// What a key must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No value.
    Absent,
    /// The value that this commit wrote.
    WrittenBy(Lsn),
}

/// How a write is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Refuse the write unless this holds.
    pub precondition: Option<Precondition>,
}
