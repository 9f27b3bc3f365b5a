//! What snapshots and scans show, and when they may be refused for their age or number; for what they hold back: `held.rs`.
//!
//! Of a view that has expired everything is checked that was served before, and that it had a reason: the limit was drawn,
//! and passed. A snapshot that must have expired may not serve any more.
use crate::adapter::SimEnv;
use crate::failure::{Failure, Guarantee};
use crate::model::{Content, Model, State};
use crate::plan::key_bytes;
use crate::probe::Probe;
use crate::story::{Doing, Story, in_order};
use bulkhead::env::Owner;
use bulkhead::{Direction, Entry, Error, ErrorKind, Lsn, Rejected, Scan, Snapshot, Space, TierOptions};
use bulkhead_fault_injection::decide::mix;

/// A snapshot or scan of one opening, as old as it is.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// When it was taken, in microseconds of virtual time.
    taken: u64,
    opening: u64,
    /// Counts those of its opening.
    number: u64,
    /// The last commit that it shows.
    lsn: u64,
}

/// A snapshot, and what it must show.
#[derive(Debug)]
pub struct Kept {
    pub snapshot: Snapshot,
    pub state: State,
    pub view: View,
    /// The opening that it is of.
    pub of: Space,
}

impl View {
    /// Which of the openings observed it is of.
    #[must_use]
    pub fn opening(&self) -> u64 {
        self.opening
    }
    /// The last commit that it shows.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.lsn
    }
    /// Its opening and its number there.
    #[must_use]
    pub fn name(&self) -> (u64, u64) {
        (self.opening, self.number)
    }
    /// When it was taken, in microseconds of virtual time.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }
    /// Whether it is of the same opening as `other`, and was taken later.
    #[must_use]
    pub fn is_younger(&self, other: &View) -> bool {
        self.opening == other.opening && self.number > other.number
    }
}

/// Who reads in no hurry: others take their turns between entries.
#[derive(Debug, Clone, Copy)]
pub struct Leisure<'a> {
    pub env: &'a SimEnv,
    pub owner: Owner,
    pub client: u64,
}

/// How reading all of a view ended.
enum Read {
    Whole,
    Expired,
    Refused(Error),
}

impl Story {
    /// A snapshot or scan was taken just now, of the present opening of `model`, that shows everything up to `lsn`.
    #[must_use]
    pub fn view(&self, model: &mut Model, lsn: u64) -> View {
        let opening = model.opening;
        let views = model.views.entry(opening).or_default();
        views.push(lsn);
        View { taken: self.world.now(), opening, number: views.len() as u64, lsn }
    }

    /// Microseconds after which a view of a space may expire; 0 is never.
    fn view_age(&self, space: usize) -> u64 {
        self.tiers(space).snapshot_age_ms * 1000
    }

    /// Whether views of a space are soon too old, or soon too many, or soon hold back too much.
    #[must_use]
    pub fn limits_views(&self, space: usize) -> bool {
        let (tiers, generous) = (self.tiers(space), TierOptions::default());
        tiers.snapshot_age_ms < generous.snapshot_age_ms
            || tiers.max_snapshots < generous.max_snapshots
            || self.most_held(space).is_some()
    }

    /// Whether a view has reached the age at which it may expire.
    fn is_aged(&self, space: usize, view: &View) -> bool {
        let most = self.view_age(space);
        most > 0 && self.world.now() - view.taken >= most
    }

    /// Whether a view may have expired for its age or number.
    fn may_expire(&self, space: usize, view: &View) -> bool {
        let most = self.tiers(space).max_snapshots;
        let taken = self.model(space).views.get(&view.opening).map_or(0, |views| views.len() as u64);
        self.is_aged(space, view) || most > 0 && taken - view.number >= most
    }

    /// A view was refused as expired, after it had shown `shown` entries.
    fn expired(&self, space: usize, view: &View, shown: usize, e: &Error) -> Result<(), Failure> {
        if !self.may_expire(space, view) {
            if !self.explained_by_bytes(space, view) {
                let what = format!("nothing explains, of {view:?} at {}: {e:?}", self.world.now());
                return Err(self.model(space).failure(Guarantee::G5Reads, what));
            }
            self.hit(Probe::ExpiredForBytes);
            self.model(space).expired_for_bytes.push(*view);
        }
        self.hit(Probe::SnapshotExpired);
        if shown > 0 {
            self.hit(Probe::ExpiredMidway);
        }
        Ok(())
    }

    /// Compares all that a snapshot shows with what it must show.
    ///
    /// # Errors
    /// The first difference.
    pub async fn compare(
        &self,
        space: usize,
        kept: &Kept,
        when: &str,
        leisure: Option<Leisure<'_>>,
    ) -> Result<(), Failure> {
        let Kept { snapshot, state, view, of } = kept;
        let (aged, held_back) = (self.is_aged(space, view), of.durable_lsn() > snapshot.lsn());
        let mut read = Read::Whole;
        for (key, content) in self.to_look_at(space, kept) {
            read = self.look(space, kept, key, &content, when).await?;
            if !matches!(read, Read::Whole) {
                break;
            }
        }
        let read = match read {
            Read::Whole => {
                let expected = in_order(state, |_| true);
                let scan = snapshot.scan::<&[u8]>(.., Direction::Ascending);
                self.drain(space, scan, view, &expected, when, leisure).await?
            }
            refused => refused,
        };
        if aged && held_back && matches!(read, Read::Whole) {
            let what = format!("{when}: {view:?} held versions back, and serves at {}", self.world.now());
            return Err(self.model(space).failure(Guarantee::G10Bounded, what));
        }
        if aged && matches!(read, Read::Whole) {
            self.hit(Probe::OldAndHarmless);
        }
        self.told(space, read)
    }

    /// Which keys are looked for one by one: a few that have a priority, or else one if views have limits.
    fn to_look_at(&self, space: usize, kept: &Kept) -> Vec<(u16, Content)> {
        let all = || kept.state.iter().map(|(key, content)| (*key, *content));
        let weighty: Vec<_> = all().filter(|(_, content)| content.priority != 0).collect();
        if weighty.is_empty() {
            return all().take(usize::from(self.limits_views(space))).collect();
        }
        let from = (mix(kept.view.taken, kept.view.number) % weighty.len() as u64) as usize;
        weighty.iter().cycle().skip(from).take(weighty.len().min(3)).copied().collect()
    }

    /// Whether a snapshot has not expired, as far as one key tells.
    pub(crate) async fn still_serves(&self, space: usize, kept: &Kept) -> Result<bool, Failure> {
        let Some((key, content)) = kept.state.first_key_value() else { return Ok(false) };
        let read = self.look(space, kept, *key, content, "a look whether it serves").await?;
        let serves = matches!(read, Read::Whole);
        self.told(space, read)?;
        Ok(serves)
    }

    /// Looks for one key.
    async fn look(
        &self,
        space: usize,
        kept: &Kept,
        key: u16,
        content: &Content,
        when: &str,
    ) -> Result<Read, Failure> {
        match kept.snapshot.get_entry(&key_bytes(key)).await {
            Ok(Some(entry)) if content.is(&entry.value) => {
                self.weigh(space, &kept.of, (key, kept.snapshot.lsn().raw()), content, &entry)?;
                Ok(Read::Whole)
            }
            Ok(found) => {
                let len = found.map(|entry| entry.value.len());
                let what = format!("{when}: key {key} is {len:?}, and must be {content:?}");
                Err(self.model(space).failure(Guarantee::G2Prefix, what))
            }
            Err(e) => self.refused_view(space, &kept.view, 0, e),
        }
    }

    /// Compares what an opening tells of a key, as of an LSN, beside its value with what it must be.
    ///
    /// # Errors
    /// Another priority, or another commit than the one that put it.
    pub fn weigh(
        &self,
        space: usize,
        of: &Space,
        (key, at): (u16, u64),
        content: &Content,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let (written, in_tables) = {
            let model = self.model(space);
            let is_current = model.handle.as_ref() == Some(of);
            (model.written_by_at(key, at).filter(|_| is_current), model.in_tables)
        };
        let (lsn, priority) = (entry.lsn.raw(), entry.priority.raw());
        if priority != content.priority || written.is_some_and(|written| written != lsn) {
            let what = format!(
                "key {key} at {}: must be {content:?} of {written:?}, but is of {} with priority {priority}",
                Lsn::from_raw(at),
                entry.lsn
            );
            return Err(self.model(space).failure(Guarantee::G2Prefix, what));
        }
        if priority != 0 && written.is_some() && at >= lsn {
            let tables = of.stats().tiers.iter().map(|tier| tier.tables).collect::<Vec<_>>();
            if lsn > in_tables && of.recovery_report().last_lsn.raw() >= lsn {
                self.hit(Probe::PriorityRecovered);
            } else if lsn <= in_tables && tables[0] == 0 {
                self.hit(Probe::PriorityBelow);
            }
        }
        Ok(())
    }

    /// Compares what a scan shows with what it must show.
    ///
    /// # Errors
    /// The first difference.
    pub async fn compare_scan(
        &self,
        space: usize,
        scan: Scan,
        view: &View,
        expected: &[(Vec<u8>, Content)],
        leisure: Option<Leisure<'_>>,
    ) -> Result<(), Failure> {
        let read = self.drain(space, scan, view, expected, "a scan", leisure).await?;
        self.told(space, read)
    }

    async fn drain(
        &self,
        space: usize,
        mut scan: Scan,
        view: &View,
        expected: &[(Vec<u8>, Content)],
        when: &str,
        leisure: Option<Leisure<'_>>,
    ) -> Result<Read, Failure> {
        let mut found = Vec::new();
        let refused = loop {
            if let Some(of) = leisure.filter(|_| !found.is_empty()) {
                of.env.turn(of.owner, of.client).await;
            }
            match scan.next().await {
                Ok(Some(entry)) => found.push(entry),
                Ok(None) => {
                    self.outlives(space, view)?;
                    self.same(space, &found, expected, when)?;
                    return Ok(Read::Whole);
                }
                Err(e) => break e,
            }
        };
        // What was served is right, whatever came then; and nothing more comes.
        let served = &expected[..found.len().min(expected.len())];
        self.same(space, &found, served, when)?;
        if !matches!(scan.next().await, Ok(None)) {
            let what = format!("{when}: a scan goes on after {refused:?}");
            return Err(self.model(space).failure(Guarantee::G5Reads, what));
        }
        self.refused_view(space, view, found.len(), refused)
    }

    fn refused_view(&self, space: usize, view: &View, shown: usize, e: Error) -> Result<Read, Failure> {
        if e.kind() != ErrorKind::Rejected(Rejected::SnapshotExpired) {
            return Ok(Read::Refused(e));
        }
        self.expired(space, view, shown, &e)?;
        Ok(Read::Expired)
    }

    fn told(&self, space: usize, read: Read) -> Result<(), Failure> {
        match read {
            Read::Whole | Read::Expired => Ok(()),
            Read::Refused(e) => self.judge(space, Doing::Using, &e),
        }
    }
}
