//! The handle of an open space.
use super::admission::{Admission, Attempt};
use super::incarnation::{Incarnation, Phase};
use super::layers::Look;
use super::pins::PinOwner;
use super::scan::{Scan, Snapshot};
use super::ticket::{Commit, Reached};
use crate::batch::{Batch, Operations, PutOptions, WriteOptions, bounds_of, check_key};
use crate::config::{Durability, TierOptions};
use crate::error::{Error, Rejected, Result};
use crate::ids::{Lsn, SpaceId};
use crate::manifest::Version;
use crate::memtable::{Direction, Entry, Value};
use crate::recovery::RecoveryReport;
use crate::wal::operation::Operation;
use std::ops::RangeBounds;
use std::sync::Arc;

/// What clears a space.
const ALL_KEYS: Operation<'static> = Operation::DeleteRange { start: &[], end: None };

/// An open space. Cheap to clone; all clones are the same opening. After a reopen the old handles stay with the old
/// opening: use the one that `reopen` returned.
#[derive(Debug, Clone)]
pub struct Space {
    pub(crate) incarnation: Arc<Incarnation>,
}

/// What a space can do now.
#[derive(Debug, Clone)]
pub enum SpaceState {
    /// Reads and writes.
    Open,
    /// A write or sync failed: reads see the durable state, writes get this error until a reopen.
    Fenced(Error),
    /// Being closed, or closed: reads go on, writes do not.
    Closed,
    /// A deletion has ended this opening: it serves neither reads nor writes any more, even if the deletion failed and the
    /// space can be opened anew.
    Deleted,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there and stays there.
    Present,
    /// It is not there and never comes back.
    Absent,
    /// Ordered in this opening, and not durable yet.
    Undecided,
    /// From an epoch so long ago that the manifest no longer remembers its end.
    Forgotten,
}

impl PartialEq for Space {
    /// Whether both are the same opening of the same space.
    fn eq(&self, other: &Space) -> bool {
        Arc::ptr_eq(&self.incarnation, &other.incarnation)
    }
}

impl Space {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SpaceId {
        &self.incarnation.id
    }

    /// What recovery found when this opening began.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.incarnation.report
    }

    /// What it can do now.
    #[must_use]
    pub fn state(&self) -> SpaceState {
        match &self.incarnation.core().phase {
            Phase::Open => SpaceState::Open,
            Phase::Fenced(e) => SpaceState::Fenced(e.clone()),
            Phase::Closing | Phase::Closed => SpaceState::Closed,
            Phase::Deleting | Phase::Gone(_) => SpaceState::Deleted,
        }
    }

    /// Commits `batch` as a whole: orders it, makes it visible, and returns its ticket. May wait for log space;
    /// dropping the future while it waits leaves nothing.
    ///
    /// # Errors
    /// `Rejected`, `Busy`, `NoSpace`, `Fenced`, `Closed` or `Failed`; nothing was ordered then.
    pub async fn write(&self, batch: &Batch, options: WriteOptions) -> Result<Commit> {
        self.commit(Operations::Many(batch), &options).await
    }

    async fn commit(&self, operations: Operations<'_>, options: &WriteOptions) -> Result<Commit> {
        let space = &self.incarnation;
        let sizes = operations.check().map_err(|e| e.in_space(&space.id))?;
        let mut admission = Admission::default();
        #[cfg(bulkhead_mutants)]
        if crate::mutants::on("move-blocks-neighbours") {
            drop(space.context.moves.read().await);
        }
        loop {
            match space.try_commit(operations, sizes, options.precondition.as_ref(), &mut admission)? {
                Attempt::Ordered(lsn) => return Ok(Commit::new(space.clone(), lsn)),
                Attempt::Wait(seen) => space.room_changed(seen).await?,
                Attempt::Refill => {
                    let refilled = space.context.reserve.refill().await;
                    refilled.map_err(|short| Error::from(short).in_space(&space.id))?;
                }
                Attempt::Pace(due) => space.pace(due).await,
                Attempt::LookUp => {
                    let key = options.precondition.as_ref().map_or(&[][..], |p| &p.key);
                    admission.looked_up = Some(space.look_up(key).await?);
                }
            }
        }
    }

    async fn commit_and_wait(&self, operation: Operation<'_>) -> Result<Lsn> {
        let commit = self.commit(Operations::One(operation), &WriteOptions::default()).await?;
        commit.durable(self.incarnation.context.config.durability()).await?;
        Ok(commit.lsn())
    }

    /// Sets `key` to `value`, with priority 0 whatever it had before, and waits for the configured durability.
    ///
    /// # Errors
    /// As [`Space::write`], and `Unknown` as [`Commit::durable`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Lsn> {
        self.put_with(key, value, PutOptions::default()).await
    }

    /// Sets `key` to `value`, as `options` say, and waits for the configured durability. Without waiting:
    /// [`Batch::put_with`].
    ///
    /// # Errors
    /// As [`Space::put`].
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> Result<Lsn> {
        let PutOptions { priority } = options;
        self.commit_and_wait(Operation::Put { key: key.as_ref(), value: value.as_ref(), priority }).await
    }

    /// Removes `key` and waits for the configured durability; fine if it is not there.
    ///
    /// # Errors
    /// As [`Space::put`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Lsn> {
        self.commit_and_wait(Operation::Delete { key: key.as_ref() }).await
    }

    /// Sets `key` to `value` without waiting for any durability.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub async fn put_commit(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Commit> {
        let PutOptions { priority } = PutOptions::default();
        let operation = Operation::Put { key: key.as_ref(), value: value.as_ref(), priority };
        self.commit(Operations::One(operation), &WriteOptions::default()).await
    }

    /// Removes `key` without waiting for any durability.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub async fn delete_commit(&self, key: impl AsRef<[u8]>) -> Result<Commit> {
        self.commit(Operations::One(Operation::Delete { key: key.as_ref() }), &WriteOptions::default()).await
    }

    /// Removes every key within `range`, in one commit however many there are, and waits for the configured durability; fine
    /// if there are none. Admitted as other deletes are, also where puts are not.
    ///
    /// # Errors
    /// As [`Space::put`]; `Rejected(Key)` for a range in which no key can lie, as one whose end is not behind its start.
    pub async fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Lsn> {
        let (start, end) = bounds_of(range);
        self.commit_and_wait(Operation::DeleteRange { start: &start, end: end.as_deref() }).await
    }

    /// Removes every key within `range` without waiting for any durability.
    ///
    /// # Errors
    /// As [`Space::write`], and as [`Space::delete_range`] for the range.
    pub async fn delete_range_commit<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Commit> {
        let (start, end) = bounds_of(range);
        let operation = Operation::DeleteRange { start: &start, end: end.as_deref() };
        self.commit(Operations::One(operation), &WriteOptions::default()).await
    }

    /// Removes every key, in one commit, and waits for the configured durability. What it frees on the disk is given back
    /// once no snapshot shows it any more.
    ///
    /// # Errors
    /// As [`Space::put`].
    pub async fn clear(&self) -> Result<Lsn> {
        self.commit_and_wait(ALL_KEYS).await
    }

    /// Removes every key without waiting for any durability.
    ///
    /// # Errors
    /// As [`Space::write`].
    pub async fn clear_commit(&self) -> Result<Commit> {
        self.commit(Operations::One(ALL_KEYS), &WriteOptions::default()).await
    }

    /// The value of `key`, as of now. Sees every commit that was ordered before.
    ///
    /// # Errors
    /// `Rejected(Key)` for a key outside its bounds; `Failed` if a table could not be read; `Corrupt` if what was read is
    /// damaged.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value of `key`, as of now, with the commit that wrote it and its priority.
    ///
    /// # Errors
    /// As [`Space::get`].
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let (space, key) = (&self.incarnation, key.as_ref());
        check_key(key).map_err(|e| e.in_space(&space.id))?;
        let (lsn, look) = {
            let layers = space.layers.read();
            layers.serve()?;
            let lsn = space.read_lsn(&layers);
            (lsn, layers.look(key, lsn))
        };
        match look {
            Look::Seen(seen) => Ok(seen),
            Look::InTables(under) => space.get_in_tables(&under, key, lsn).await,
        }
    }

    /// The values of `keys`, all as of one moment, in their order.
    ///
    /// # Errors
    /// As [`Space::get`].
    pub async fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let space = &self.incarnation;
        for key in keys {
            check_key(key.as_ref()).map_err(|e| e.in_space(&space.id))?;
        }
        let (lsn, mut found) = {
            let layers = space.layers.read();
            layers.serve()?;
            let lsn = space.read_lsn(&layers);
            (lsn, keys.iter().map(|k| layers.look(k.as_ref(), lsn)).collect::<Vec<_>>())
        };
        let mut values = Vec::with_capacity(keys.len());
        for (key, look) in keys.iter().zip(found.drain(..)) {
            let entry = match look {
                Look::Seen(seen) => seen,
                Look::InTables(under) => space.get_in_tables(&under, key.as_ref(), lsn).await?,
            };
            values.push(entry.map(|entry| entry.value));
        }
        Ok(values)
    }

    /// A view of now that never changes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.view(PinOwner::Snapshot)
    }

    /// A view of now.
    fn view(&self, owner: PinOwner) -> Snapshot {
        Snapshot::pin(&self.incarnation, owner, |layers| self.incarnation.read_lsn(layers))
    }

    /// A view of what is certain to survive a power cut, that never changes.
    #[must_use]
    pub fn durable_snapshot(&self) -> Snapshot {
        // The watermark is read under the memtable's lock: collection up to a later one has to wait for it.
        Snapshot::pin(&self.incarnation, PinOwner::DurableSnapshot, |layers| layers.active.durable())
    }

    /// The entries within `range` as of now, in `direction`.
    pub fn scan<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>, direction: Direction) -> Scan {
        Scan::new(self.view(PinOwner::Scan), range, direction)
    }

    /// The entries whose key begins with `prefix`, as of now, in `direction`.
    #[must_use]
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>, direction: Direction) -> Scan {
        Scan::prefix(self.view(PinOwner::Scan), prefix.as_ref(), direction)
    }

    /// Waits until every commit ordered so far has reached `durability`.
    ///
    /// # Errors
    /// `Unknown` as [`Commit::durable`].
    pub async fn flush(&self, durability: Durability) -> Result<()> {
        let lsn = self.last_lsn();
        Reached { incarnation: &self.incarnation, lsn, durability, key: None }.await
    }

    /// Gets rid of versions that nobody can read any more: flushes what is in memory and moves tables down, as long as
    /// they may hide something. This happens by itself where it pays; what a snapshot needs stays. Goes on when the
    /// future is dropped.
    ///
    /// # Errors
    /// `Fenced` or `Closed`; `NoSpace` or `Failed` if a table could not be written or log space not be had, `Corrupt` if one is damaged.
    pub async fn compact(&self) -> Result<()> {
        self.incarnation.compact().await
    }

    /// The last commit ordered; the last recovered one if there was none yet.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.incarnation.core().line.last()
    }

    /// Every commit up to here survives a power cut.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.incarnation.core().line.durable()
    }

    /// What became of the commit `lsn` of this space, of this or an earlier opening.
    ///
    /// # Errors
    /// `Rejected(Precondition)` for an LSN that was never handed out.
    pub fn outcome(&self, lsn: Lsn) -> Result<Outcome> {
        let core = self.incarnation.core();
        if let Phase::Deleting | Phase::Gone(_) = core.phase {
            self.incarnation.writable(&core)?;
        }
        let (last, durable) = (core.line.last(), core.line.durable());
        let recovered = self.incarnation.recovered;
        if lsn <= recovered && lsn.epoch() == recovered.epoch()
            || lsn <= durable && lsn.epoch() == durable.epoch()
        {
            return Ok(Outcome::Present);
        }
        let version = &core.current.manifest.version;
        if core.line.has_epoch() && lsn.epoch() == version.epoch {
            if lsn <= last {
                return Ok(Outcome::Undecided);
            }
        } else if lsn.epoch() <= version.epoch {
            return Ok(past_outcome(version, recovered, lsn));
        }
        Err(Error::rejected(Rejected::Precondition, format!("LSN {lsn} was never handed out"))
            .in_space(&self.incarnation.id)
            .expected(format!("an LSN up to {last}")))
    }

    /// Its capacities and what moves data between its tiers.
    #[must_use]
    pub fn tiers(&self) -> TierOptions {
        self.incarnation.tiers().get().clone()
    }

    /// Changes them at once, for this opening and later ones of the space while the engine is open. Nothing of it is
    /// stored: what [`crate::Options`] say holds when the engine is opened anew, and for a space that follows this one
    /// under its id. A quota that is less than what is there refuses puts, and loses nothing.
    ///
    /// # Errors
    /// `Rejected(Config)` naming the option, its value and the values expected; `Rejected(Deleted)`; `Closed`
    /// once this opening has ended. Nothing was changed.
    pub fn set_tiers(&self, tiers: TierOptions) -> Result<()> {
        self.incarnation.set_tiers(tiers)
    }

    /// Bytes that this space's entries take in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.incarnation.layers.read().bytes()
    }
}

/// What became of a commit of an earlier opening, from the ends of past epochs.
fn past_outcome(version: &Version, recovered: Lsn, lsn: Lsn) -> Outcome {
    let ends = version.epoch_ends.iter().map(|e| e.last).chain([recovered]);
    match ends.into_iter().find(|end| end.epoch() == lsn.epoch()) {
        Some(end) if lsn <= end => Outcome::Present,
        Some(_) => Outcome::Absent,
        None => {
            let oldest = version.epoch_ends.first().map(|e| e.last.epoch());
            let full = version.epoch_ends.len() >= crate::limits::EPOCH_ENDS_MAX;
            match oldest {
                Some(oldest) if full && lsn.epoch() < oldest => Outcome::Forgotten,
                _ => Outcome::Absent,
            }
        }
    }
}
