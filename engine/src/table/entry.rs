//! Entries of tables as they are handed in and out, and their order.
use super::piece::{Handle, Stored};
use crate::ids::{Lsn, Priority};
use bytes::Bytes;
use std::cmp::Ordering;

/// One version of one key on its way into a table.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub lsn: Lsn,
    pub priority: Priority,
    pub body: Body<'a>,
}

/// What a version says.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// The key is gone.
    Delete,
    /// Its value.
    Put(&'a [u8]),
    /// Its value, copied from another table as it is stored there.
    Stored(&'a Stored),
}

/// A value that lies in a piece of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// Where.
    pub handle: Handle,
    /// Length of the value in bytes.
    pub len: u32,
}

/// The value of a version that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Here: a slice of the block, without a copy.
    Inline(Bytes),
    /// To be fetched.
    Apart(Apart),
}

/// Order of versions: keys ascending, of one key the newest first.
#[must_use]
pub fn version_order(a: (&[u8], Lsn), b: (&[u8], Lsn)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}
