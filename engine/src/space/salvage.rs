//! Salvage: the readable prefix of a space that cannot be opened, from its tables and its log.
use super::home::Home;
use super::layers::Layers;
use super::tables::Reads;
use super::walk::{Stop, Walk};
use crate::cache::{Cache, Use};
use crate::env::Dir;
use crate::error::{Error, Result};
use crate::ids::{Lsn, SpaceId};
use crate::memtable::{Direction, Value};
use crate::recovery::{Readable, readable};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// The readable prefix of a space that cannot be opened: read-only, in memory.
#[derive(Debug)]
pub struct Salvage {
    entries: BTreeMap<Vec<u8>, Value>,
    last: Lsn,
}

impl Salvage {
    /// The last commit that could be read.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }
    /// The value of `key` as of [`Salvage::last`].
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.entries.get(key).cloned()
    }
    /// Every entry as of [`Salvage::last`], by ascending key.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Value)> {
        self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Reads what can be read. Changes nothing.
///
/// # Errors
/// If the log's files or a table could not be read, or a table is damaged: then what is left of it is not known.
pub(crate) async fn salvage(root: &Arc<dyn Dir>, id: &SpaceId) -> Result<Salvage> {
    let Readable { dirs, version, mem, last } = readable(root, id).await?;
    let layers = Layers::new(mem, &version.tables);
    let hidden = layers.hidden(Bound::Unbounded, Bound::Unbounded, last);
    let mut walk = Walk::new(&layers.under, hidden, last, Direction::Ascending, None, None);
    let unreadable = |failure| Error::from(failure).in_space(id);
    let mut entries = BTreeMap::new();
    let nothing = Cache::new(0, 0).partition();
    let home = Home::fixed(dirs);
    let reads = Reads { home: &home, cache: &nothing, by: Use::Scan, env: None };
    let mut ready = VecDeque::new();
    loop {
        let stop = walk.fill(None, usize::MAX, &mut ready).map_err(unreadable)?;
        entries.extend(ready.drain(..).map(|(key, value)| (Vec::from(key), value)));
        match stop {
            Stop::Wants(wanted) => walk.supply(reads, wanted).await.map_err(unreadable)?,
            Stop::Full | Stop::Until => (),
            Stop::End => break,
        }
    }
    let all = layers.active.range(Bound::Unbounded, Bound::Unbounded, last, Direction::Ascending, usize::MAX);
    for (key, seen) in all {
        match seen {
            Some(value) => drop(entries.insert(key.to_vec(), value)),
            None => drop(entries.remove(&key[..])),
        }
    }
    Ok(Salvage { entries, last })
}
