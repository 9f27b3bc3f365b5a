//! Any file of a data root as facts: what it is, what it holds, and what of it does not verify.
//!
//! Lays out and decodes nothing itself: every fact comes from the decoder of its format, and only what that verified is
//! told, or it is named as damage. What a file is shows in its content, never in its name. Does no I/O: it asks an
//! [`Inspector`] for bytes and hands it facts one by one, so what it holds in memory is one frame or one piece at most,
//! however long the file is. Values are never told, only their lengths.
mod log;
mod pages;
mod table;

use crate::ids::Priority;
use crate::limits::{FRAME_MAX, TABLE_CHUNK};
use bytes::Bytes;

/// Where bytes of a file come from, and where facts go.
pub trait Inspector {
    /// What ends an inspection: a file that cannot be read, or an output that cannot be written.
    type Error;
    /// Length of the file in bytes.
    fn file_len(&self) -> u64;
    /// The `len` bytes at `offset`, or what there is of them before the end.
    ///
    /// # Errors
    /// If they cannot be read; the inspection ends with that.
    fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Self::Error>;
    /// Takes one fact. They come in the order of what they build upon, not always of their offsets.
    ///
    /// # Errors
    /// If it cannot be passed on; the inspection ends with that.
    fn say(&mut self, fact: &Fact) -> Result<(), Self::Error>;
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What a file consists of.
    Parts,
    /// The entries of tables too.
    Entries,
}

/// What a file is, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `.engine`: the identity of a data root.
    Root,
    /// `SPACE`: the identity of a space.
    Space,
    Manifest,
    Segment,
    Table,
    /// None of ours, or too damaged to be recognised.
    Unknown,
}

/// One thing that is so, or one that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Where in the file it stands, in bytes.
    pub offset: u64,
    /// What stands there; [`Fact::DAMAGE`] for what does not verify.
    pub what: &'static str,
    /// Its parts by name, in the order in which they are shown.
    pub fields: Vec<(&'static str, Field)>,
}

/// A part of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Number(u64),
    Text(String),
    /// A key: any bytes.
    Bytes(Bytes),
}

impl Fact {
    /// What a fact is about that names damage; its fields are the part and what was expected of it.
    pub const DAMAGE: &'static str = "damage";

    fn new(offset: u64, what: &'static str) -> Fact {
        Fact { offset, what, fields: Vec::new() }
    }
    fn number(mut self, name: &'static str, n: u64) -> Fact {
        self.fields.push((name, Field::Number(n)));
        self
    }
    fn text(mut self, name: &'static str, text: impl ToString) -> Fact {
        self.fields.push((name, Field::Text(text.to_string())));
        self
    }
    fn key(mut self, name: &'static str, key: &[u8]) -> Fact {
        self.fields.push((name, Field::Bytes(Bytes::copy_from_slice(key))));
        self
    }
    /// The priority of an entry, unless it is 0.
    fn priority(self, priority: Priority) -> Fact {
        if priority == Priority::default() { self } else { self.text("priority", priority) }
    }
    /// As [`Fact::key`], where there is one; an absent one is the end of all keys.
    fn bound(self, name: &'static str, key: Option<&[u8]>) -> Fact {
        match key {
            Some(key) => self.key(name, key),
            None => self,
        }
    }
}

/// What an inspection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    pub kind: Kind,
    /// Parts that do not verify, each told as a fact; 0 for a file that is whole.
    pub damages: u64,
}

/// Tells `inspector` what its file holds. Never panics, whatever the bytes are.
///
/// # Errors
/// Only those of `inspector`: damage is an answer.
pub fn inspect<I: Inspector>(inspector: &mut I, detail: Detail) -> Result<Inspected, I::Error> {
    let len = inspector.file_len();
    let mut pass = Pass { inspector, len, at: 0, window: Bytes::new(), damages: 0 };
    let kind = recognise(&mut pass)?;
    match kind {
        Kind::Root => pages::root(&mut pass)?,
        Kind::Space => pages::space(&mut pass)?,
        Kind::Manifest => pages::manifest(&mut pass)?,
        Kind::Segment => log::segment(&mut pass)?,
        Kind::Table => table::table(&mut pass, detail)?,
        Kind::Unknown => pass.damage(0, "the file", "the magic of a format that this release knows")?,
    }
    Ok(Inspected { kind, damages: pass.damages })
}

fn recognise<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<Kind, I::Error> {
    if let Some(kind) = pages::recognise(pass)? {
        return Ok(kind);
    }
    if table::recognise(pass)? {
        return Ok(Kind::Table);
    }
    Ok(if log::recognise(pass)? { Kind::Segment } else { Kind::Unknown })
}

/// One inspection under way.
struct Pass<'a, I: Inspector> {
    inspector: &'a mut I,
    len: u64,
    /// Where `window` begins.
    at: u64,
    /// Bytes read last: much of a file is looked at in small steps.
    window: Bytes,
    damages: u64,
}

impl<I: Inspector> Pass<'_, I> {
    /// The `len` bytes at `offset`, or what there is of them.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Bytes, I::Error> {
        debug_assert!(len <= FRAME_MAX, "what is read at once is bounded");
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let inside = |at: u64, window: &Bytes| {
            let from = usize::try_from(offset.checked_sub(at)?).ok()?;
            (from.checked_add(len)? <= window.len()).then(|| window.slice(from..from + len))
        };
        if let Some(bytes) = inside(self.at, &self.window) {
            return Ok(bytes);
        }
        self.window = Bytes::new();
        self.window = self.inspector.read(offset, len.max(TABLE_CHUNK.min(left)))?.into();
        self.at = offset;
        Ok(self.window.slice(..len.min(self.window.len())))
    }

    fn say(&mut self, fact: &Fact) -> Result<(), I::Error> {
        self.inspector.say(fact)
    }

    fn damage(&mut self, offset: u64, part: &str, expected: &str) -> Result<(), I::Error> {
        self.damages += 1;
        let fact = Fact::new(offset, Fact::DAMAGE).text("part", part).text("expected", expected);
        self.inspector.say(&fact)
    }
}
