//! What all tasks of one run share: the world, the model of each space, and what is counted.
use crate::failure::{Failure, Guarantee};
use crate::model::{Existence, Harm, Made, Model, State, Struck};
use crate::plan::{Repair, Run, key_bytes};
use crate::probe::{Probe, Probes};
use crate::sharing::Seen;
use crate::views::Kept;
use crate::work::Work;
use bulkhead::env::IoOp;
use bulkhead::{Engine, Error, ErrorKind, Outcome, RecoveryStatus, Rejected, Space, SpaceState, Value};
use bulkhead_fault_injection::decide::{hash_bytes, mix};
use bulkhead_fault_injection::{FaultKind, World};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug)]
pub struct Story {
    pub run: Arc<Run>,
    pub world: World,
    spaces: Vec<Mutex<Model>>,
    shared: Mutex<Shared>,
    engine: Mutex<Option<Engine>>,
}

/// What is counted, and where the boot stands.
#[derive(Debug, Default)]
pub struct Shared {
    pub failure: Option<Failure>,
    pub probes: Probes,
    pub operations: u64,
    pub work: Work,
    pub power_acknowledged: u64,
    /// Deletions of spaces that were acknowledged.
    pub deletions: u64,
    /// Repairs of spaces that were answered Ok.
    pub repairs: u64,
    /// What this boot does about spaces that cannot be opened.
    pub repair: Repair,
    /// Operations of other spaces since the first space's first error of this boot.
    pub overlapping: u64,
    pub troubled: bool,
    /// Tasks of the boot that did not end yet.
    pub running: usize,
    /// Faults rest, and no client is left but those that look whether all is well.
    pub is_quiet: bool,
    /// The engine is open and clients run.
    pub is_open: bool,
    /// The disk was full at some time in this boot.
    pub was_full: bool,
    /// The disk is full now.
    pub is_full: bool,
    /// How often it was filled or emptied.
    pub fills: u64,
    /// Errors of each owner by the last power cut.
    pub strikes_at_cut: BTreeMap<u64, u64>,
    /// What spaces were last seen to hold in the cache.
    pub cache: BTreeMap<usize, Seen>,
}

/// What an error came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Creating,
    Opening,
    Using,
    Deleting,
}

impl Story {
    /// The beginning of `run`.
    #[must_use]
    pub fn new(run: Arc<Run>, world: World) -> Story {
        let spaces = run.spaces.iter().map(|id| Mutex::new(Model::new(id.clone()))).collect();
        Story { run, world, spaces, shared: Mutex::default(), engine: Mutex::default() }
    }

    /// The model of a space.
    pub fn model(&self, space: usize) -> MutexGuard<'_, Model> {
        self.spaces[space].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many spaces there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// What is counted.
    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine of this boot.
    pub fn engine(&self) -> MutexGuard<'_, Option<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is wrong; the first one counts.
    pub fn fail(&self, failure: Failure) {
        self.shared().failure.get_or_insert(failure);
    }

    /// Counts a probe.
    pub fn hit(&self, probe: Probe) {
        self.shared().probes.hit(probe);
    }

    /// Whether errors of the disk since the last power cut, or sectors that died, explain trouble of this owner.
    #[must_use]
    pub fn is_struck(&self, owner: u64) -> bool {
        let strikes = self.world.strikes(owner);
        let at_cut = self.shared().strikes_at_cut.get(&owner).copied().unwrap_or(0);
        strikes > at_cut || strikes > 0 && self.run.faults.0.contains_key(&FaultKind::F16SectorDead)
    }

    /// Whether anybody was struck: the root belongs to all.
    #[must_use]
    pub fn is_anybody_struck(&self) -> bool {
        self.is_struck(0) || (0..self.len()).any(|i| self.is_struck(self.owner(i)))
    }

    /// The owner that stands for a space.
    #[must_use]
    pub fn owner(&self, space: usize) -> u64 {
        bulkhead::env::Owner::of(&self.run.spaces[space]).0
    }

    /// Whether this error may be.
    ///
    /// # Errors
    /// If nothing explains it.
    pub fn judge(&self, space: usize, doing: Doing, e: &Error) -> Result<(), Failure> {
        let (harm, reopened, deleted, id) = {
            let model = self.model(space);
            (model.harm, model.reopens > 0, model.deletes > 0, model.id.clone())
        };
        let of_the_root = doing == Doing::Creating || deleted;
        let struck = self.is_struck(self.owner(space));
        let legal = match e.kind() {
            ErrorKind::Busy { .. } => {
                self.hit(Probe::Busy);
                self.run.options.memory_budget < 1 << 22
            }
            // Also of a write that waited until after the reopen.
            ErrorKind::Closed => reopened || deleted,
            ErrorKind::Corrupt => {
                self.hit(Probe::CorruptReported);
                harm == Harm::Rotten
            }
            ErrorKind::NoSpace | ErrorKind::Fenced | ErrorKind::Unknown | ErrorKind::Failed => {
                self.trouble(space, doing, e);
                let full = e.kind() == ErrorKind::NoSpace && self.shared().was_full;
                full || struck || harm != Harm::None || of_the_root && self.is_anybody_struck()
            }
            ErrorKind::Rejected(Rejected::SpaceExists) => {
                // A creation whose last sync failed left the name behind.
                doing == Doing::Creating && self.is_anybody_struck()
            }
            ErrorKind::Rejected(Rejected::QuotaExceeded) => self.may_be_full(space),
            ErrorKind::Rejected(Rejected::Deleted) => {
                self.hit(Probe::DeletedTold);
                deleted
            }
            ErrorKind::Rejected(Rejected::NoSuchSpace) => deleted,
            ErrorKind::Rejected(_) => false,
        };
        if e.space().is_some_and(|s| *s != id) {
            let what = format!("space {id:?} got the error of another one: {e:?}");
            return Err(Failure::new(Guarantee::G3Isolation, what));
        }
        if legal {
            return Ok(());
        }
        let guarantee = match e.kind() {
            ErrorKind::Corrupt => Guarantee::G4Honesty,
            ErrorKind::Rejected(_) | ErrorKind::Busy { .. } | ErrorKind::Closed => Guarantee::G5Reads,
            _ => Guarantee::G3Isolation,
        };
        Err(Failure::new(guarantee, format!("space {id:?}: nothing explains, while {doing:?}: {e:?}")))
    }

    fn trouble(&self, space: usize, doing: Doing, e: &Error) {
        let mut shared = self.shared();
        if space == 0 {
            shared.troubled = true;
        }
        match (e.kind(), e.io_error().map(|io| io.op)) {
            (ErrorKind::NoSpace, _) if doing == Doing::Using => {
                shared.probes.hit(Probe::NoSpaceAtReservation)
            }
            (ErrorKind::Fenced, Some(IoOp::WriteAt)) => shared.probes.hit(Probe::FenceByWrite),
            (ErrorKind::Fenced, Some(IoOp::Sync)) => shared.probes.hit(Probe::FenceBySync),
            (ErrorKind::Fenced, Some(_)) => shared.probes.hit(Probe::FenceByName),
            (ErrorKind::Failed, _) if doing == Doing::Opening => shared.probes.hit(Probe::FailedReported),
            _ => {}
        }
    }

    /// Takes note of an opening, and compares what it holds with what it must hold. Which of the spaces of this id it is.
    ///
    /// # Errors
    /// Whatever does not agree.
    pub async fn observe(&self, space: usize, handle: &Space) -> Result<u64, Failure> {
        let (generation, news) = self.settle(space, handle)?;
        if let Some(kept) = news {
            self.compare(space, &kept, "after recovery", None).await?;
        }
        Ok(generation)
    }

    fn settle(&self, space: usize, handle: &Space) -> Result<(u64, Option<Kept>), Failure> {
        let strikes = self.world.strikes(self.owner(space));
        let mut guard = self.model(space);
        let model = &mut *guard;
        if model.handle.as_ref() == Some(handle) {
            return Ok((model.generation, None));
        }
        let report = handle.recovery_report();
        let k = handle.last_lsn();
        // Recovery always says by which row it decided.
        let made = if report.case.is_empty() { Made::Now } else { Made::Earlier };
        match model.handle.as_ref().map(Space::state) {
            Some(SpaceState::Open) => {
                return Err(model.failure(Guarantee::G3Isolation, "two openings at the same time"));
            }
            // It was closed in peace: everything was synced.
            Some(SpaceState::Closed) => model.promise_power(bulkhead::Lsn::from_raw(model.last()))?,
            Some(SpaceState::Fenced(_) | SpaceState::Deleted) | None => {}
        }
        model.resolve(k, made);
        // Found in the very opening of a repair, and no crash in between: it is counted where that was ordered.
        let found = model.planned.is_some() && model.repairing == 0 && model.cut_short > 0;
        let struck = if strikes > model.strikes { Struck::Yes } else { Struck::No };
        model.recovered(k, struck)?;
        if handle.durable_lsn() != k || report.last_lsn != k {
            let what =
                format!("recovered up to {k}, reported {} durable {}", report.last_lsn, handle.durable_lsn());
            return Err(model.failure(Guarantee::G1Durability, what));
        }
        let (kept, gone) = model.settled(4);
        for (lsns, is, not) in [(kept, Outcome::Present, "kept"), (gone, Outcome::Absent, "not there")] {
            for lsn in lsns.into_iter().map(bulkhead::Lsn::from_raw) {
                let outcome = handle.outcome(lsn);
                let deleted = matches!(handle.state(), SpaceState::Deleted);
                if outcome.as_ref().ok() != Some(&is) && !deleted {
                    let what = format!("commit {lsn} was seen to be {not}, and now is {outcome:?}");
                    return Err(model.failure(Guarantee::G6FailedSync, what));
                }
            }
        }
        // Whatever else it did, it copied forward what no seal follows.
        model.sealed &= report.case == "sealed";
        model.existence = Existence::Certain;
        self.replace_handle(model, Some(handle.clone()));
        model.opening += 1;
        model.strikes = strikes;
        model.in_tables = if report.tables > 0 { model.in_front_of_last(report.commits) } else { 0 };
        let (status, copied, discarded) = (report.status, report.copied_forward, report.discarded_frames);
        let (tables, commits) = (report.tables, report.commits);
        let range = model.deletes_range_in_last(commits);
        let sealed = report.case == "sealed" && k != bulkhead::Lsn::ZERO;
        let recreated = made == Made::Now && model.generation > 0;
        let (snapshot, state, view) = (handle.snapshot(), model.state(k.raw()), self.view(model, k.raw()));
        let result = (model.generation, Some(Kept { snapshot, state, view, of: handle.clone() }));
        drop(guard);
        let mut shared = self.shared();
        let probes = [
            (status == RecoveryStatus::TornTail, Probe::TornTail),
            (copied > 0, Probe::CopyForward),
            (discarded > 0, Probe::DiscardedFrames),
            (sealed, Probe::SealedOpen),
            (tables > 0, Probe::OpenedWithTables),
            (tables > 0 && commits > 0, Probe::TablesAndLog),
            (range, Probe::RangeDeleteRecovered),
            (recreated, Probe::SpaceRecreated),
            (found, Probe::RepairFound),
        ];
        probes.iter().filter(|(hit, _)| *hit).for_each(|(_, probe)| shared.probes.hit(*probe));
        Ok(result)
    }

    /// Compares entries with what they must be.
    ///
    /// # Errors
    /// The first difference.
    pub fn same(
        &self,
        space: usize,
        found: &[(impl AsRef<[u8]>, Value)],
        expected: &[(Vec<u8>, crate::model::Content)],
        when: &str,
    ) -> Result<(), Failure> {
        let mut hash = found.len() as u64;
        for (i, (key, content)) in expected.iter().enumerate() {
            match found.get(i) {
                Some((k, value)) if k.as_ref() == key && content.is(value) => hash = mix(hash, content.id),
                other => {
                    let what = format!(
                        "{when}: entry {i} of {} must be {} with value {}, but is {:?}",
                        expected.len(),
                        String::from_utf8_lossy(key),
                        content.id,
                        other.map(|(k, v)| (String::from_utf8_lossy(k.as_ref()).into_owned(), v.len())),
                    );
                    return Err(self.model(space).failure(Guarantee::G2Prefix, what));
                }
            }
        }
        if let Some((key, _)) = found.get(expected.len()) {
            let what = format!("{when}: {} is there and must not be", String::from_utf8_lossy(key.as_ref()));
            return Err(self.model(space).failure(Guarantee::G2Prefix, what));
        }
        self.model(space).tell(hash);
        Ok(())
    }

    /// One number for what an error tells its caller.
    #[must_use]
    pub fn error_hash(e: &Error) -> u64 {
        hash_bytes(e.kind().name().as_bytes())
    }
}

/// The entries whose key `within` accepts, in the order of the keys' bytes.
pub fn in_order(state: &State, within: impl Fn(&[u8]) -> bool) -> Vec<(Vec<u8>, crate::model::Content)> {
    let mut entries: Vec<_> =
        state.iter().map(|(key, c)| (key_bytes(*key), *c)).filter(|(key, _)| within(key)).collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    entries
}
