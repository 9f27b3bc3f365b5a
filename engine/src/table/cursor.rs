//! A cursor: walks over the entries of one table, in both directions, all versions of every key.
//!
//! A plain state machine. Every move says that the cursor stands at an entry, that there is none, or which piece it
//! needs to go on; [`Cursor::feed`] then goes on with the same move.
use super::block::{Block, RawBody, RawEntry};
use super::entry::{Apart, Slot};
use super::index::Index;
use super::lookup::block_need;
use super::merge::Flow;
use super::open::{Damage, Loaded, Step, Table, leaf_need};
use super::piece::Malformed;
use crate::ids::{Lsn, Priority};
use bytes::Bytes;
use std::sync::Arc;

/// What a move looks for in the block that it comes to.
#[derive(Debug)]
enum Goal {
    /// The first entry at or behind this one.
    From(Vec<u8>, Lsn),
    /// The first entry.
    First,
    /// The last entry with a lower key.
    Before(Vec<u8>),
    /// The last entry.
    Last,
}

/// Walks over one table.
#[derive(Debug)]
pub struct Cursor {
    table: Arc<Table>,
    goal: Goal,
    partition: usize,
    leaf: Option<Index>,
    /// Number of the block in the leaf, once it is known.
    child: Option<usize>,
    block: Option<Block>,
    entry: Option<RawEntry>,
    /// The key of `entry`.
    key: Vec<u8>,
    /// What lies in front of `entry`, as far as it was read to come there.
    passed: Passed,
}

/// Entries of one block that were read on the way from a restart point, the last one first to go back to. Without
/// it every step back would read them all again.
#[derive(Debug, Default)]
struct Passed {
    /// Each with the place in `keys` where its key begins. Where one ends the next one begins, in the block too.
    entries: Vec<(RawEntry, usize)>,
    keys: Vec<u8>,
}

impl Passed {
    fn clear(&mut self) {
        self.entries.clear();
        self.keys.clear();
    }

    fn push(&mut self, entry: RawEntry, key: &[u8]) {
        self.entries.push((entry, self.keys.len()));
        self.keys.extend_from_slice(key);
    }

    /// Takes back the one that ends at `stop`, if that was the last one passed, and its key.
    fn take(&mut self, stop: usize, key: &mut Vec<u8>) -> Option<RawEntry> {
        let (entry, begin) = self.entries.pop_if(|(entry, _)| entry.next == stop)?;
        key.clear();
        key.extend_from_slice(&self.keys[begin..]);
        self.keys.truncate(begin);
        Some(entry)
    }
}

/// The entry that a source stands at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub key: &'a [u8],
    pub lsn: Lsn,
    pub priority: Priority,
    pub body: ViewBody<'a>,
}

/// What the entry says.
#[derive(Debug, Clone, Copy)]
pub enum ViewBody<'a> {
    Delete,
    /// Its value, which is a part of `owner`.
    Inline {
        value: &'a [u8],
        owner: &'a Bytes,
    },
    Apart(Apart),
}

impl View<'_> {
    /// Its value; `None` for a delete. A value that lies in the block is a slice of it.
    #[must_use]
    pub fn value(&self) -> Option<Slot> {
        match self.body {
            ViewBody::Delete => None,
            ViewBody::Inline { value, owner } => Some(Slot::Inline(owner.slice_ref(value))),
            ViewBody::Apart(apart) => Some(Slot::Apart(apart)),
        }
    }
}

/// The entry `entry` of `block`, whose key is `key`.
#[inline]
fn view<'a>(block: &'a Block, entry: &RawEntry, key: &'a [u8]) -> View<'a> {
    let (lsn, priority) = (entry.lsn, entry.priority);
    let body = match &entry.body {
        RawBody::Delete => ViewBody::Delete,
        RawBody::Inline(range) => {
            ViewBody::Inline { value: block.slice(range.clone()), owner: block.bytes() }
        }
        RawBody::Apart(apart) => ViewBody::Apart(*apart),
    };
    View { key, lsn, priority, body }
}

impl Cursor {
    /// A cursor over `table` that stands nowhere yet.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Cursor {
        let goal = Goal::First;
        Cursor {
            table,
            goal,
            partition: 0,
            leaf: None,
            child: None,
            block: None,
            entry: None,
            key: Vec::new(),
            passed: Passed::default(),
        }
    }

    /// The table that it walks over.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The entry that it stands at; `None` at an end, and as long as something is needed.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> Option<View<'_>> {
        Some(view(self.block.as_ref()?, self.entry.as_ref()?, &self.key))
    }

    /// To the first entry at or behind the version `lsn` of `key`.
    ///
    /// # Errors
    /// What of the table is damaged; so for all moves.
    pub fn seek(&mut self, key: &[u8], lsn: Lsn) -> Result<Step<bool>, Damage> {
        self.jump(Goal::From(key.to_vec(), lsn))
    }
    /// To the first entry.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_first(&mut self) -> Result<Step<bool>, Damage> {
        self.jump(Goal::First)
    }
    /// To the last entry with a lower key than `key`: the oldest version of that key.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_before(&mut self, key: &[u8]) -> Result<Step<bool>, Damage> {
        self.jump(Goal::Before(key.to_vec()))
    }
    /// To the last entry.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn seek_last(&mut self) -> Result<Step<bool>, Damage> {
        self.jump(Goal::Last)
    }

    /// To the next entry.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    ///
    /// # Panics
    /// If it stands at none; so for [`Cursor::back`].
    #[inline]
    pub fn forward(&mut self) -> Result<Step<bool>, Damage> {
        let entry = self.entry.as_ref().expect("a cursor moves on from an entry");
        let block = self.block.as_ref().expect("an entry lies in a block");
        if entry.next < block.end() {
            match block.follow(entry.next, &mut self.key, Some(entry.lsn)) {
                Ok(followed) => {
                    self.entry = Some(followed);
                    return Ok(Step::Done(true));
                }
                Err(why) => {
                    self.entry = None;
                    return Err(self.damage(why));
                }
            }
        }
        self.entry = None;
        self.goal = Goal::First;
        if self.enter_next_block() { self.advance() } else { Ok(Step::Done(false)) }
    }

    /// Hands the entry that it stands at, and those that follow, to `each` as long as that takes them, through the end of the
    /// block. Then it stands at the first that was not taken.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    ///
    /// # Panics
    /// If it stands at none.
    #[inline]
    pub fn forward_while(&mut self, mut each: impl FnMut(&View<'_>) -> Flow) -> Result<Step<bool>, Damage> {
        let mut entry = self.entry.take().expect("a cursor moves on from an entry");
        let block = self.block.as_ref().expect("an entry lies in a block");
        loop {
            if each(&view(block, &entry, &self.key)) == Flow::Stop {
                self.entry = Some(entry);
                return Ok(Step::Done(true));
            }
            if entry.next >= block.end() {
                break;
            }
            match block.follow(entry.next, &mut self.key, Some(entry.lsn)) {
                Ok(followed) => entry = followed,
                Err(why) => return Err(self.damage(why)),
            }
        }
        self.goal = Goal::First;
        if self.enter_next_block() { self.advance() } else { Ok(Step::Done(false)) }
    }

    /// To the entry in front.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    pub fn back(&mut self) -> Result<Step<bool>, Damage> {
        let entry = self.entry.take().expect("a cursor moves on from an entry");
        if self.last_in_front_of(entry.at).map_err(|why| self.damage(why))? {
            return Ok(Step::Done(true));
        }
        self.goal = Goal::Last;
        if self.enter_block_in_front() { self.advance() } else { Ok(Step::Done(false)) }
    }

    /// Goes on with the piece that was needed.
    ///
    /// # Errors
    /// As [`Cursor::seek`].
    ///
    /// # Panics
    /// If another kind of piece was needed.
    pub fn feed(&mut self, loaded: &Loaded) -> Result<Step<bool>, Damage> {
        match loaded {
            Loaded::Leaf(leaf) if self.leaf.is_none() => self.leaf = Some(leaf.clone()),
            Loaded::Block(block) if self.block.is_none() => self.block = Some(block.clone()),
            loaded => panic!("a cursor was handed {loaded:?} that it did not need"),
        }
        self.advance()
    }

    fn jump(&mut self, goal: Goal) -> Result<Step<bool>, Damage> {
        self.entry = None;
        self.passed.clear();
        let table = self.table.clone();
        let Some(root) = table.root() else { return Ok(Step::Done(false)) };
        let partition = match &goal {
            Goal::First => Ok(0),
            Goal::Last => Ok(root.count() - 1),
            Goal::From(key, _) => root.find(key),
            Goal::Before(key) => root.find(key).map(|i| i.min(root.count() - 1)),
        };
        let need = |handle| super::open::Need { kind: super::piece::PieceKind::Root, handle };
        let partition =
            partition.map_err(|why| table.damage(need(table.footer().root.unwrap_or_default()), why))?;
        if partition == root.count() {
            return Ok(Step::Done(false));
        }
        if partition != self.partition {
            self.leaf = None;
        }
        let before = self.child.take().filter(|_| self.leaf.is_some());
        (self.partition, self.goal) = (partition, goal);
        // A block that is at hand already need not be fetched again.
        let block = self.block.take();
        if let (Some(before), Some(leaf)) = (before, self.leaf.clone()) {
            self.choose_child(&leaf)?;
            if self.child == Some(before) {
                self.block = block;
            }
        }
        self.advance()
    }

    /// Moves on until an entry is found, an end, or something is needed.
    fn advance(&mut self) -> Result<Step<bool>, Damage> {
        let table = self.table.clone();
        let root = table.root().expect("without entries nothing moves");
        loop {
            let leaf = match (&self.leaf, table.kept(self.partition)) {
                (Some(leaf), _) => leaf.clone(),
                (None, Some((_, leaf))) => self.leaf.insert(leaf.clone()).clone(),
                (None, None) => return Ok(Step::Need(leaf_need(root, self.partition))),
            };
            if self.child.is_none() {
                self.choose_child(&leaf)?;
            }
            let child = self.child.expect("just chosen");
            if self.block.is_none() {
                return Ok(Step::Need(block_need(&leaf, child)));
            }
            if self.in_block().map_err(|why| self.damage(why))? {
                return Ok(Step::Done(true));
            }
            let moved = match self.goal {
                // The versions of the key sought may go on there, and still be too new.
                Goal::From(..) | Goal::First => self.enter_next_block(),
                Goal::Before(_) | Goal::Last => {
                    self.goal = Goal::Last;
                    self.enter_block_in_front()
                }
            };
            if !moved {
                return Ok(Step::Done(false));
            }
        }
    }

    fn choose_child(&mut self, leaf: &Index) -> Result<(), Damage> {
        let last = leaf.count() - 1;
        let child = match &self.goal {
            Goal::First => Ok(0),
            Goal::Last => Ok(last),
            // The root says that the key is not above the last one of this leaf.
            Goal::From(key, _) | Goal::Before(key) => leaf.find(key).map(|i| i.min(last)),
        };
        let root = self.table.root().expect("a leaf has a root");
        let need = leaf_need(root, self.partition);
        self.child = Some(child.map_err(|why| self.table.damage(need, why))?);
        Ok(())
    }

    /// Stands at the entry of the block that is the goal, if there is one.
    fn in_block(&mut self) -> Result<bool, Malformed> {
        let block = self.block.clone().expect("a block was needed");
        match &self.goal {
            Goal::First => {
                self.key.clear();
                self.entry = Some(block.follow(block.first(), &mut self.key, None)?);
                Ok(true)
            }
            Goal::From(key, lsn) => {
                let (mut at, mut before) = (block.restart_before(key, *lsn)?, None);
                self.key.clear();
                while at < block.end() {
                    let entry = block.follow(at, &mut self.key, before)?;
                    (at, before) = (entry.next, Some(entry.lsn));
                    if self.key[..].cmp(key).then(lsn.cmp(&entry.lsn)).is_ge() {
                        self.entry = Some(entry);
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Goal::Before(key) => {
                let hit = block.find(key, Lsn::from_raw(u64::MAX))?;
                let stop = hit.map_or(block.end(), |hit| hit.entry.at);
                self.last_in_front_of(stop)
            }
            Goal::Last => self.last_in_front_of(block.end()),
        }
    }

    /// Stands at the entry of the block that ends at `stop`, if there is one.
    fn last_in_front_of(&mut self, stop: usize) -> Result<bool, Malformed> {
        if let Some(entry) = self.passed.take(stop, &mut self.key) {
            self.entry = Some(entry);
            return Ok(true);
        }
        let block = self.block.as_ref().expect("an entry lies in a block");
        let Some(mut at) = block.restart_in_front_of(stop)? else { return Ok(false) };
        let mut before = None;
        self.key.clear();
        self.passed.clear();
        loop {
            let entry = block.follow(at, &mut self.key, before)?;
            if entry.next >= stop {
                self.entry = Some(entry);
                return Ok(true);
            }
            (at, before) = (entry.next, Some(entry.lsn));
            self.passed.push(entry, &self.key);
        }
    }

    /// Whether there is a next block; if so it is the one needed.
    fn enter_next_block(&mut self) -> bool {
        let (leaf, child) = (self.leaf.as_ref().expect("in a leaf"), self.child.expect("in a block"));
        self.block = None;
        self.passed.clear();
        if child + 1 < leaf.count() {
            self.child = Some(child + 1);
            return true;
        }
        let root = self.table.root().expect("a leaf has a root");
        (self.leaf, self.child) = (None, None);
        self.partition += 1;
        self.partition < root.count()
    }

    /// Whether there is a block in front; if so it is the one needed.
    fn enter_block_in_front(&mut self) -> bool {
        let child = self.child.expect("in a block");
        self.block = None;
        self.passed.clear();
        if child > 0 {
            self.child = Some(child - 1);
            return true;
        }
        (self.leaf, self.child) = (None, None);
        let there = self.partition > 0;
        self.partition = self.partition.saturating_sub(1);
        there
    }

    fn damage(&self, why: Malformed) -> Damage {
        let (leaf, child) = (self.leaf.as_ref().expect("in a leaf"), self.child.expect("in a block"));
        self.table.damage(block_need(leaf, child), why)
    }
}
