//! A lookup: the newest version of one key in one table that a reader sees.
//!
//! A plain state machine: it answers, or says which piece it needs. In a table whose tail is kept that is one block;
//! otherwise the filter, the index leaf and the block, each of which a cache is likely to hold. It asks for another
//! block only where the versions of one key fill more than one.
use super::block::{Block, RawBody};
use super::entry::Slot;
use super::filter::KeyHash;
use super::index::Index;
use super::open::{Damage, Loaded, Need, Step, Table, filter_need, leaf_need};
use super::piece::PieceKind;
use crate::ids::{Lsn, Priority};

/// What a table says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The newest version is a value.
    Put { lsn: Lsn, priority: Priority, value: Slot },
    /// The newest version is a delete, of the key or of a range that covers it.
    Delete { lsn: Lsn },
    /// There is none.
    Absent,
}

/// Where a lookup stands: what it does with the piece that it is handed next.
#[derive(Debug)]
enum State {
    Start,
    Filter { partition: usize },
    Leaf { partition: usize },
    Block { partition: usize, leaf: Leaf, child: usize },
}

/// Where the index leaf is that named the block.
#[derive(Debug)]
enum Leaf {
    /// The table keeps it.
    Kept,
    Loaded(Index),
}

impl Leaf {
    fn of<'a>(&'a self, table: &'a Table, partition: usize) -> &'a Index {
        match self {
            Leaf::Kept => &table.kept(partition).expect("a table keeps what it kept").1,
            Leaf::Loaded(leaf) => leaf,
        }
    }
}

/// A lookup of one key as of one LSN.
#[derive(Debug)]
pub struct Lookup<'k> {
    key: &'k [u8],
    lsn: Lsn,
    /// Of the key, for the filters of all tables that it is looked up in.
    hash: KeyHash,
    /// The newest range tombstone that the reader sees and that covers the key.
    cover: Option<Lsn>,
    state: State,
}

impl<'k> Lookup<'k> {
    /// Looks for the newest version of `key` not above `lsn`.
    #[must_use]
    pub fn new(key: &'k [u8], lsn: Lsn) -> Lookup<'k> {
        Lookup { key, lsn, hash: KeyHash::of(key), cover: None, state: State::Start }
    }

    /// Begins in `table`, and leaves any other one. May be called again, for one table after another.
    ///
    /// # Errors
    /// What of the table is damaged.
    pub fn begin(&mut self, table: &Table) -> Result<Step<Found>, Damage> {
        self.state = State::Start;
        self.cover = None;
        if table.footer().lowest > self.lsn {
            return Ok(Step::Done(Found::Absent));
        }
        if !crate::mutants::on("range-delete-missed-by-lookup") {
            self.cover = table.extent().cover(self.key, self.lsn);
        }
        let Some(root) = table.root() else { return Ok(self.absent()) };
        let need = Need { kind: PieceKind::Root, handle: table.footer().root.unwrap_or_default() };
        let partition = root.find(self.key).map_err(|why| table.damage(need, why))?;
        if partition == root.count() {
            return Ok(self.absent());
        }
        if let Some((filter, _)) = table.kept(partition) {
            if !filter.may_hold(self.hash) {
                return Ok(self.absent());
            }
            return self.in_leaf(table, partition, Leaf::Kept);
        }
        self.state = State::Filter { partition };
        Ok(Step::Need(filter_need(root, partition)))
    }

    /// Goes on with the piece that was needed.
    ///
    /// # Errors
    /// What of the table is damaged.
    ///
    /// # Panics
    /// If nothing was needed, or another kind of piece.
    pub fn feed(&mut self, table: &Table, loaded: &Loaded) -> Result<Step<Found>, Damage> {
        let root = table.root().expect("a lookup needs nothing of a table without entries");
        match (std::mem::replace(&mut self.state, State::Start), loaded) {
            (State::Filter { partition }, Loaded::Filter(filter)) => {
                if !filter.may_hold(self.hash) {
                    return Ok(self.absent());
                }
                self.state = State::Leaf { partition };
                Ok(Step::Need(leaf_need(root, partition)))
            }
            (State::Leaf { partition }, Loaded::Leaf(leaf)) => {
                self.in_leaf(table, partition, Leaf::Loaded(leaf.clone()))
            }
            (State::Block { partition, leaf, child }, Loaded::Block(block)) => {
                self.in_block(table, partition, leaf, child, block)
            }
            (state, loaded) => panic!("a lookup that is at {state:?} was handed {loaded:?}"),
        }
    }

    fn absent(&self) -> Step<Found> {
        Step::Done(self.cover.map_or(Found::Absent, |lsn| Found::Delete { lsn }))
    }

    fn in_leaf(&mut self, table: &Table, partition: usize, leaf: Leaf) -> Result<Step<Found>, Damage> {
        let root = table.root().expect("a leaf has a root");
        let index = leaf.of(table, partition);
        let child = index.find(self.key).map_err(|why| table.damage(leaf_need(root, partition), why))?;
        if child == index.count() {
            return Ok(self.absent());
        }
        self.want_block(table, partition, leaf, child)
    }

    fn want_block(
        &mut self,
        table: &Table,
        partition: usize,
        leaf: Leaf,
        child: usize,
    ) -> Result<Step<Found>, Damage> {
        let need = block_need(leaf.of(table, partition), child);
        self.state = State::Block { partition, leaf, child };
        Ok(Step::Need(need))
    }

    fn in_block(
        &mut self,
        table: &Table,
        partition: usize,
        leaf: Leaf,
        child: usize,
        block: &Block,
    ) -> Result<Step<Found>, Damage> {
        let index = leaf.of(table, partition);
        let damage = |why| table.damage(block_need(index, child), why);
        if let Some(hit) = block.find(self.key, self.lsn).map_err(damage)? {
            let lsn = hit.entry.lsn;
            if !hit.same_key || self.cover.is_some_and(|cover| cover > lsn) {
                return Ok(self.absent());
            }
            return Ok(Step::Done(match (&hit.entry.body, block.slot(&hit.entry.body)) {
                (RawBody::Delete, _) | (_, None) => Found::Delete { lsn },
                (_, Some(value)) => Found::Put { lsn, priority: hit.entry.priority, value },
            }));
        }
        // All of the block lies in front. Only if its key is the key sought may the next one go on with its versions.
        let root = table.root().expect("a block has a root");
        let goes_on =
            index.has_key(child, self.key).map_err(|why| table.damage(leaf_need(root, partition), why))?;
        if goes_on && child + 1 < index.count() {
            return self.want_block(table, partition, leaf, child + 1);
        }
        if goes_on && partition + 1 < root.count() {
            if table.kept(partition + 1).is_some() {
                return self.want_block(table, partition + 1, Leaf::Kept, 0);
            }
            self.state = State::Leaf { partition: partition + 1 };
            return Ok(Step::Need(leaf_need(root, partition + 1)));
        }
        Ok(self.absent())
    }
}

/// The block that is child number `child` of `leaf`.
pub(super) fn block_need(leaf: &Index, child: usize) -> Need {
    Need { kind: PieceKind::Block, handle: leaf.child(child) }
}
