//! The same API without async: every call returns when its answer is there.
//!
//! An [`Engine`] of this module owns a small tokio runtime, on which the engine's own tasks run; the caller's thread
//! waits by parking. What was opened with it ([`Space`], [`Commit`], [`Snapshot`], [`Scan`]) keeps that runtime alive.
//! Guarantees, errors and words are those of the asynchronous API, to which each call refers.
//!
//! Never call it from within an asynchronous task, where the task's thread would stand still, and never drop the last
//! handle of an engine there, which waits for the runtime's threads and panics instead.
//!
//! ```
//! use bulkhead::blocking::Engine;
//! use bulkhead::{Direction, Options, SpaceId};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let root = scratch.path().join("data");
//! let engine = Engine::open(&root, Options::default())?;
//! let alpha = engine.get_or_create_space(&SpaceId::new("alpha")?)?;
//!
//! alpha.put("greeting", "hello")?; // Returns once it survives a power cut.
//! assert_eq!(alpha.get("greeting")?.as_deref(), Some(&b"hello"[..]));
//!
//! for entry in alpha.scan_prefix("gr", Direction::Ascending) {
//!     let (key, value) = entry?;
//!     assert_eq!((&*key, &*value), (&b"greeting"[..], &b"hello"[..]));
//! }
//! engine.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use crate::batch::{Batch, PutOptions, WriteOptions};
use crate::config::{Durability, Options, TierOptions};
use crate::engine::Listing;
use crate::env::os::{OsEnv, OsOptions, block_on, block_on_here};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Lsn, SpaceId};
use crate::key::Key;
use crate::memtable::{Direction, Entry, Value};
use crate::recovery::{RecoveryReport, RepairPlan};
use crate::reserve::ReserveStats;
use crate::space::{Outcome, Salvage, SpaceState};
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// An open data root; see [`crate::Engine`]. Cheap to clone; all clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    // Before the runtime: fields are dropped in order, and the engine's tasks live there.
    inner: crate::Engine,
    runtime: Arc<Runtime>,
}

/// An open space; see [`crate::Space`]. Cheap to clone; all clones are the same opening.
#[derive(Debug, Clone)]
pub struct Space {
    inner: crate::Space,
    runtime: Arc<Runtime>,
}

/// A commit that was ordered and is visible; see [`crate::Commit`].
#[derive(Debug, Clone)]
pub struct Commit {
    inner: crate::Commit,
    _runtime: Arc<Runtime>,
}

/// A view of a space that never changes; see [`crate::Snapshot`].
#[derive(Debug)]
pub struct Snapshot {
    inner: crate::Snapshot,
    runtime: Arc<Runtime>,
}

/// The entries of a range in order. After an error it yields nothing more; see [`crate::Scan`].
#[derive(Debug)]
pub struct Scan {
    inner: crate::Scan,
    failed: Failed,
    _runtime: Arc<Runtime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    No,
    Yes,
}

impl Engine {
    /// Opens the data root `path` on the real operating system; see [`crate::Engine::open`].
    ///
    /// # Errors
    /// As there, and `Failed` if the runtime's threads cannot be started.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Engine> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("bulkhead")
            .enable_time()
            .build()
            .map_err(|e| Error::new(ErrorKind::Failed, format!("no threads could be started: {e}")))?;
        let env = OsEnv::new(runtime.handle().clone(), OsOptions::default());
        let inner = block_on(crate::Engine::open(env, path.as_ref(), options))?;
        Ok(Engine { inner, runtime: Arc::new(runtime) })
    }

    fn space_of(&self, inner: crate::Space) -> Space {
        Space { inner, runtime: Arc::clone(&self.runtime) }
    }

    /// Makes the space `id`; see [`crate::Engine::create_space`].
    ///
    /// # Errors
    /// As there.
    pub fn create_space(&self, id: &SpaceId) -> Result<Space> {
        block_on(self.inner.create_space(id)).map(|inner| self.space_of(inner))
    }

    /// The space `id`, opened if it is not; see [`crate::Engine::space`].
    ///
    /// # Errors
    /// As there.
    pub fn space(&self, id: &SpaceId) -> Result<Space> {
        block_on(self.inner.space(id)).map(|inner| self.space_of(inner))
    }

    /// The space `id`, made if it is not there; see [`crate::Engine::get_or_create_space`].
    ///
    /// # Errors
    /// As there.
    pub fn get_or_create_space(&self, id: &SpaceId) -> Result<Space> {
        block_on(self.inner.get_or_create_space(id)).map(|inner| self.space_of(inner))
    }

    /// Ends the present opening of `id` and opens it anew; see [`crate::Engine::reopen`].
    ///
    /// # Errors
    /// As there.
    pub fn reopen(&self, id: &SpaceId) -> Result<Space> {
        block_on(self.inner.reopen(id)).map(|inner| self.space_of(inner))
    }

    /// Deletes the space `id` for good; see [`crate::Engine::delete_space`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_space(&self, id: &SpaceId) -> Result<()> {
        block_on(self.inner.delete_space(id))
    }

    /// Says what a repair of `id` would keep and lose; see [`crate::Engine::repair_plan`].
    ///
    /// # Errors
    /// As there.
    pub fn repair_plan(&self, id: &SpaceId) -> Result<RepairPlan> {
        block_on(self.inner.repair_plan(id))
    }

    /// Reads what can be read of a space that cannot be opened; see [`crate::Engine::salvage`].
    ///
    /// # Errors
    /// As there.
    pub fn salvage(&self, id: &SpaceId) -> Result<Salvage> {
        block_on(self.inner.salvage(id))
    }

    /// Carries out `plan` and opens the space; see [`crate::Engine::repair`].
    ///
    /// # Errors
    /// As there.
    pub fn repair(&self, plan: &RepairPlan) -> Result<Space> {
        block_on(self.inner.repair(plan)).map(|inner| self.space_of(inner))
    }

    /// File descriptors that spaces have open now; see [`crate::Engine::descriptors`].
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.inner.descriptors()
    }

    /// How the reserve for deletes on a full disk stands.
    #[must_use]
    pub fn reserve(&self) -> ReserveStats {
        self.inner.reserve()
    }

    /// What lies in the data root.
    #[must_use]
    pub fn list_spaces(&self) -> Listing {
        self.inner.list_spaces()
    }

    /// Opens every space and reports on every one; see [`crate::Engine::recover_all`].
    ///
    /// # Errors
    /// As there.
    pub fn recover_all(&self) -> Result<Vec<RecoveryReport>> {
        block_on(self.inner.recover_all())
    }

    /// Closes every space and gives the lock back; see [`crate::Engine::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())
    }
}

impl Space {
    fn commit_of(&self, inner: crate::Commit) -> Commit {
        Commit { inner, _runtime: Arc::clone(&self.runtime) }
    }

    fn snapshot_of(&self, inner: crate::Snapshot) -> Snapshot {
        Snapshot { inner, runtime: Arc::clone(&self.runtime) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SpaceId {
        self.inner.id()
    }

    /// What recovery found when this opening began.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        self.inner.recovery_report()
    }

    /// What it can do now.
    #[must_use]
    pub fn state(&self) -> SpaceState {
        self.inner.state()
    }

    /// Commits `batch` as a whole and returns its ticket; see [`crate::Space::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, batch: &Batch, options: WriteOptions) -> Result<Commit> {
        block_on(self.inner.write(batch, options)).map(|inner| self.commit_of(inner))
    }

    /// Sets `key` to `value` and waits for the configured durability; see [`crate::Space::put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Lsn> {
        block_on_here(self.inner.put(key, value))
    }

    /// Sets `key` to `value`, as `options` say, and waits for the configured durability; see [`crate::Space::put_with`].
    ///
    /// # Errors
    /// As there.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> Result<Lsn> {
        block_on_here(self.inner.put_with(key, value, options))
    }

    /// Removes `key` and waits for the configured durability; see [`crate::Space::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Lsn> {
        block_on_here(self.inner.delete(key))
    }

    /// Sets `key` to `value` without waiting for any durability; see [`crate::Space::put_commit`].
    ///
    /// # Errors
    /// As there.
    pub fn put_commit(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Commit> {
        block_on(self.inner.put_commit(key, value)).map(|inner| self.commit_of(inner))
    }

    /// Removes `key` without waiting for any durability; see [`crate::Space::delete_commit`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_commit(&self, key: impl AsRef<[u8]>) -> Result<Commit> {
        block_on(self.inner.delete_commit(key)).map(|inner| self.commit_of(inner))
    }

    /// Removes every key within `range` and waits for the configured durability; see [`crate::Space::delete_range`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Lsn> {
        block_on_here(self.inner.delete_range(range))
    }

    /// Removes every key within `range` without waiting for any durability; see [`crate::Space::delete_range_commit`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_range_commit<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Commit> {
        block_on(self.inner.delete_range_commit(range)).map(|inner| self.commit_of(inner))
    }

    /// Removes every key and waits for the configured durability; see [`crate::Space::clear`].
    ///
    /// # Errors
    /// As there.
    pub fn clear(&self) -> Result<Lsn> {
        block_on_here(self.inner.clear())
    }

    /// Removes every key without waiting for any durability; see [`crate::Space::clear_commit`].
    ///
    /// # Errors
    /// As there.
    pub fn clear_commit(&self) -> Result<Commit> {
        block_on(self.inner.clear_commit()).map(|inner| self.commit_of(inner))
    }

    /// The value of `key`, as of now; see [`crate::Space::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        block_on(self.inner.get(key))
    }

    /// The value of `key`, with the commit that wrote it and its priority; see [`crate::Space::get_entry`].
    ///
    /// # Errors
    /// As there.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        block_on(self.inner.get_entry(key))
    }

    /// The values of `keys`, all as of one moment, in their order; see [`crate::Space::multi_get`].
    ///
    /// # Errors
    /// As there.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        block_on(self.inner.multi_get(keys))
    }

    /// A view of now that never changes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(self.inner.snapshot())
    }

    /// A view of what is certain to survive a power cut, that never changes.
    #[must_use]
    pub fn durable_snapshot(&self) -> Snapshot {
        self.snapshot_of(self.inner.durable_snapshot())
    }

    /// The entries within `range` as of now, in `direction`.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, direction: Direction) -> Scan {
        Scan::new(self.inner.scan(range, direction), &self.runtime)
    }

    /// The entries whose key begins with `prefix`, as of now, in `direction`.
    #[must_use]
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>, direction: Direction) -> Scan {
        Scan::new(self.inner.scan_prefix(prefix, direction), &self.runtime)
    }

    /// Waits until every commit ordered so far has reached `durability`; see [`crate::Space::flush`].
    ///
    /// # Errors
    /// As there.
    pub fn flush(&self, durability: Durability) -> Result<()> {
        block_on_here(self.inner.flush(durability))
    }

    /// Gets rid of versions that nobody can read any more; see [`crate::Space::compact`].
    ///
    /// # Errors
    /// As there.
    pub fn compact(&self) -> Result<()> {
        block_on(self.inner.compact())
    }

    /// What it consists of now.
    #[must_use]
    pub fn stats(&self) -> crate::SpaceStats {
        self.inner.stats()
    }

    /// The last commit ordered; the last recovered one if there was none yet.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.inner.last_lsn()
    }

    /// Every commit up to here survives a power cut.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.inner.durable_lsn()
    }

    /// What became of the commit `lsn`; see [`crate::Space::outcome`].
    ///
    /// # Errors
    /// As there.
    pub fn outcome(&self, lsn: Lsn) -> Result<Outcome> {
        self.inner.outcome(lsn)
    }

    /// Its capacities and what moves data between its tiers.
    #[must_use]
    pub fn tiers(&self) -> TierOptions {
        self.inner.tiers()
    }

    /// Changes them; see [`crate::Space::set_tiers`].
    ///
    /// # Errors
    /// As there.
    pub fn set_tiers(&self, tiers: TierOptions) -> Result<()> {
        self.inner.set_tiers(tiers)
    }

    /// Ends this opening; see [`crate::Space::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self) -> Result<()> {
        block_on(self.inner.shutdown())
    }

    /// Bytes that this space's entries take in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }
}

impl Commit {
    /// Its place in the space's commit order.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.inner.lsn()
    }

    /// Waits until this commit and every earlier one of its space survive what `durability` names; see
    /// [`crate::Commit::durable`].
    ///
    /// # Errors
    /// As there.
    pub fn durable(&self, durability: Durability) -> Result<()> {
        block_on_here(self.inner.durable(durability))
    }
}

impl Snapshot {
    /// The last commit that it sees.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.inner.lsn()
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`crate::Snapshot::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        block_on(self.inner.get(key.as_ref()))
    }

    /// The value of `key`, with the commit that wrote it and its priority.
    ///
    /// # Errors
    /// As [`crate::Snapshot::get_entry`].
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        block_on(self.inner.get_entry(key.as_ref()))
    }

    /// The entries within `range`, in `direction`. The scan keeps the snapshot's view by itself.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, direction: Direction) -> Scan {
        Scan::new(self.inner.scan(range, direction), &self.runtime)
    }
}

impl Scan {
    fn new(inner: crate::Scan, runtime: &Arc<Runtime>) -> Scan {
        Scan { inner, failed: Failed::No, _runtime: Arc::clone(runtime) }
    }
}

impl Iterator for Scan {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed == Failed::Yes {
            return None;
        }
        let next = block_on(self.inner.next()).transpose();
        if matches!(next, Some(Err(_))) {
            self.failed = Failed::Yes;
        }
        next
    }
}

impl std::iter::FusedIterator for Scan {}
