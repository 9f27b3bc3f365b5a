//! What one space must hold: kept outside the simulated disk, with a lower and an upper bound.
//!
//! All commits in the order of their LSNs are known, as is how far the engine has promised to keep them. After a crash
//! the space must hold exactly the state after some commit `k` (G2), with `k` at least everything promised (G1). Once
//! `k` was observed it is settled: what was dropped never comes back, what was kept is promised.
use crate::failure::{Failure, Guarantee};
use crate::plan::{Stretch, lies_in};
use crate::views::View;
use bulkhead::env::Owner;
use bulkhead::{Lsn, RepairPlan, Space, SpaceId};
use bulkhead_fault_injection::decide::mix;
use std::collections::BTreeMap;

/// A value, by what it is made from, and the priority that it was put with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub id: u64,
    pub len: u32,
    pub priority: i32,
}

impl Content {
    /// Its bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len as usize + 8);
        let mut word = self.id;
        while bytes.len() < self.len as usize {
            word = mix(word, self.id);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(self.len as usize);
        bytes
    }

    /// Whether `bytes` are its bytes.
    #[must_use]
    pub fn is(self, bytes: &[u8]) -> bool {
        let mut word = self.id;
        bytes.len() == self.len as usize
            && bytes.chunks(8).all(|chunk| {
                word = mix(word, self.id);
                word.to_le_bytes().starts_with(chunk)
            })
    }
}

/// What one commit does: it deletes ranges, then does something to each of these keys.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub ranges: Vec<Stretch>,
    pub keys: Vec<(u16, Option<Content>)>,
}

impl From<Vec<(u16, Option<Content>)>> for Changes {
    fn from(keys: Vec<(u16, Option<Content>)>) -> Changes {
        Changes { ranges: Vec::new(), keys }
    }
}

/// The content of a space: by key number, in the order of the keys' bytes only within a group.
pub type State = BTreeMap<u16, Content>;

#[derive(Debug)]
struct Ordered {
    lsn: u64,
    operations: usize,
    /// Whether it deletes a range.
    range: bool,
    /// The durable watermark when it was ordered: the frame that holds it proves that much.
    proves: u64,
}

/// Whether the space is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// Nobody tried to create it, or it was seen not to be there.
    Never,
    /// A creation did not return, or failed.
    Perhaps,
    /// A creation returned, or it was listed.
    Certain,
}

/// When a space that was opened had been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Now,
    Earlier,
}

/// What was done to its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    None,
    /// A sector cannot be read.
    Dead,
    /// Synced bytes changed.
    Rotten,
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    pub id: SpaceId,
    pub owner: Owner,
    pub existence: Existence,
    pub harm: Harm,
    /// Its log was sealed, and nothing was ordered since: whatever is damaged in front of the seal is proven missing.
    pub sealed: bool,
    /// The harm was done while it was sealed, to one sector only.
    pub sealed_when_harmed: bool,
    /// A copy of its identity or of a manifest may be lost: the next one may be the other one of them.
    pub scarred: bool,
    /// The last commit in front of all that was damaged: whatever is lost, it is behind that.
    pub front: u64,
    /// The damage is of a kind that a repair must be able to mend.
    pub mends: bool,
    /// The last commit that a repair promised to keep, which was ordered and of which nobody knows whether it took place.
    pub planned: Option<u64>,
    /// Nothing behind this may be seen again, whether or not that repair took place; no limit where what is damaged may
    /// not even count after a power cut.
    pub most: u64,
    /// Repairs under way.
    pub repairing: u32,
    /// Boots in a row that ended in a repair.
    pub cut_short: u32,
    /// The present opening's handle.
    pub handle: Option<Space>,
    /// Counts the openings observed.
    pub opening: u64,
    /// Snapshots and scans that were taken of each opening: at which LSNs.
    pub views: BTreeMap<u64, Vec<u64>>,
    /// Those that were refused for the bytes that they held back, and for nothing else.
    pub expired_for_bytes: Vec<View>,
    /// Those that held something back for certain, by opening and number, and since when that is known.
    pub counted: BTreeMap<(u64, u64), u64>,
    /// Errors of the disk by the time of the present opening.
    pub strikes: u64,
    /// Everything up to here lay in tables when the present opening began.
    pub in_tables: u64,
    versions: BTreeMap<u16, Vec<(u64, Option<Content>)>>,
    commits: Vec<Ordered>,
    /// The last LSN ever handed out.
    newest: u64,
    /// The last commit that is visible.
    last: u64,
    /// Promised to survive a power cut.
    power: u64,
    /// Promised to survive a kill.
    process: u64,
    /// LSNs that are gone for good; a few of them.
    gone: Vec<u64>,
    /// Calls of `reopen` in this boot.
    pub reopens: u32,
    /// Spaces of this id that were deleted. LSNs begin anew in each, so what is known of one says nothing about another.
    pub generation: u64,
    /// Calls of `delete_space` in this boot.
    pub deletes: u32,
    /// Those of them that may still be under way, or of which nobody heard how they ended.
    pub pending: u32,
    /// Calls under way in this boot that make the space where it is not there.
    pub creating: u32,
    /// Deletions were pending when the machine stopped: the space is there as a whole, or not at all.
    pub unresolved: bool,
    /// Rolls over everything that clients were told.
    pub story: u64,
    pub acknowledged: u64,
    pub lost: u64,
    pub operations: u64,
}

/// Whether the disk answered errors to this space since its last opening: then what was written may be lost although
/// the page cache was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Struck {
    Yes,
    No,
}

impl Model {
    /// A space that is not there.
    #[must_use]
    pub fn new(id: SpaceId) -> Model {
        Model {
            owner: Owner::of(&id),
            id,
            existence: Existence::Never,
            harm: Harm::None,
            sealed: false,
            sealed_when_harmed: false,
            scarred: false,
            front: u64::MAX,
            mends: false,
            planned: None,
            most: u64::MAX,
            repairing: 0,
            cut_short: 0,
            handle: None,
            opening: 0,
            views: BTreeMap::new(),
            expired_for_bytes: Vec::new(),
            counted: BTreeMap::new(),
            strikes: 0,
            in_tables: 0,
            versions: BTreeMap::new(),
            commits: Vec::new(),
            newest: 0,
            last: 0,
            power: 0,
            process: 0,
            gone: Vec::new(),
            reopens: 0,
            generation: 0,
            deletes: 0,
            pending: 0,
            creating: 0,
            unresolved: false,
            story: 0,
            acknowledged: 0,
            lost: 0,
            operations: 0,
        }
    }

    /// A failure that concerns this space.
    #[must_use]
    pub fn failure(&self, guarantee: Guarantee, what: impl std::fmt::Display) -> Failure {
        Failure::new(guarantee, format!("space {:?}: {what}", self.id))
    }

    /// The last commit that reads see.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What must survive a power cut.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.power
    }

    /// Everything up to here was acknowledged, whatever it was said to survive.
    #[must_use]
    pub fn acknowledged_up_to(&self) -> Lsn {
        Lsn::from_raw(self.power.max(self.process))
    }

    /// Whether an unsettled batch would be torn by a crash now.
    #[must_use]
    pub fn has_unsettled_batch(&self) -> bool {
        self.commits.iter().rev().take_while(|c| c.lsn > self.power).any(|c| c.operations > 1)
    }

    /// A commit was ordered at `lsn`, while the durable watermark was `durable`.
    ///
    /// # Errors
    /// An LSN that is not the next, nor the first of a later epoch.
    pub fn ordered(&mut self, lsn: Lsn, durable: Lsn, changes: &Changes) -> Result<(), Failure> {
        if !lsn.follows(Lsn::from_raw(self.newest)) {
            let newest = Lsn::from_raw(self.newest);
            return Err(self.failure(Guarantee::G2Prefix, format!("LSN {lsn} was handed out after {newest}")));
        }
        for stretch in &changes.ranges {
            let there = |(key, versions): &(&u16, &mut Vec<(u64, Option<Content>)>)| {
                lies_in(**key, stretch) && versions.last().is_some_and(|(_, content)| content.is_some())
            };
            self.versions.iter_mut().filter(there).for_each(|(_, versions)| versions.push((lsn.raw(), None)));
        }
        for (key, content) in &changes.keys {
            self.versions.entry(*key).or_default().push((lsn.raw(), *content));
        }
        let operations = changes.keys.len() + changes.ranges.len();
        let range = !changes.ranges.is_empty();
        self.commits.push(Ordered { lsn: lsn.raw(), operations, range, proves: durable.raw() });
        self.sealed = false;
        self.newest = lsn.raw();
        self.last = lsn.raw();
        self.story = mix(self.story, lsn.raw());
        Ok(())
    }

    /// The engine promised that everything up to `lsn` survives a power cut.
    ///
    /// # Errors
    /// A promise about what is gone already, or was never ordered.
    pub fn promise_power(&mut self, lsn: Lsn) -> Result<(), Failure> {
        if lsn.raw() > self.last {
            let last = Lsn::from_raw(self.last);
            return Err(self.failure(
                Guarantee::G1Durability,
                format!("commit {lsn} is said to survive a power cut, but the last one there is {last}"),
            ));
        }
        self.power = self.power.max(lsn.raw());
        self.process = self.process.max(lsn.raw());
        Ok(())
    }

    /// The engine promised that everything up to `lsn` survives a kill.
    pub fn promise_process(&mut self, lsn: Lsn) {
        self.process = self.process.max(lsn.raw().min(self.last));
    }

    /// The machine lost power: promises about kills are void.
    pub fn power_was_cut(&mut self) {
        self.process = self.power;
    }

    /// An opening was observed that recovered up to `k`. Returns how many commits are gone.
    ///
    /// # Errors
    /// A state that the crash does not explain.
    pub fn recovered(&mut self, k: Lsn, struck: Struck) -> Result<u64, Failure> {
        let k = k.raw();
        if k != 0 && self.commits.binary_search_by_key(&k, |c| c.lsn).is_err() {
            let what = format!("recovered up to {}, which is no commit that can be there", Lsn::from_raw(k));
            return Err(self.failure(Guarantee::G2Prefix, what));
        }
        let bound = self.bound(struck);
        if k < bound {
            let (k, bound) = (Lsn::from_raw(k), Lsn::from_raw(bound));
            return Err(self.failure(
                Guarantee::G1Durability,
                format!("recovered up to {k} only, but {bound} had to survive"),
            ));
        }
        if k > self.most {
            let (k, planned) = (Lsn::from_raw(k), Lsn::from_raw(self.most));
            let what = format!("recovered up to {k}, and a repair was ordered that keeps {planned}");
            return Err(self.failure(Guarantee::G4Honesty, what));
        }
        let promised = self.power;
        let kept = self.commits.partition_point(|c| c.lsn <= k);
        let gone: Vec<u64> = self.commits.drain(kept..).map(|c| c.lsn).collect();
        self.gone.extend(gone.iter().rev().take(4));
        for versions in self.versions.values_mut() {
            versions.truncate(versions.partition_point(|(lsn, _)| *lsn <= k));
        }
        (self.last, self.power, self.process) = (k, k, k);
        self.story = mix(mix(self.story, k), gone.len() as u64);
        self.lost += gone.iter().filter(|lsn| **lsn > promised).count() as u64;
        self.most = u64::MAX;
        if self.planned.take().is_some() && (self.mends || self.harm == Harm::None) {
            self.mended();
        }
        Ok(gone.len() as u64)
    }

    /// What an opening has to find at least.
    fn bound(&self, struck: Struck) -> u64 {
        match self.planned {
            // Somebody agreed to go on without what was damaged.
            Some(_) => self.bound_of_repair(struck),
            None => self.unplanned(struck),
        }
    }

    /// What it has to find, or else to be refused.
    fn unplanned(&self, struck: Struck) -> u64 {
        let undamaged = self.bound_of_repair(struck);
        match self.harm {
            Harm::None | Harm::Dead => undamaged,
            Harm::Rotten if self.sealed_when_harmed => self.power,
            Harm::Rotten => undamaged.max(self.proven()),
        }
    }

    /// What was damaged no longer counts.
    fn mended(&mut self) {
        (self.harm, self.front, self.mends) = (Harm::None, u64::MAX, false);
        (self.sealed, self.sealed_when_harmed) = (false, false);
        self.cut_short = 0;
    }

    /// Looks at what a planned repair would keep, and at what it says to be lost.
    ///
    /// # Errors
    /// It would cost more than what was damaged, or what it says cannot be, or it keeps quiet about a loss.
    pub fn planned(&self, plan: &RepairPlan, struck: Struck) -> Result<(), Failure> {
        let (kept, lost) = (plan.kept, plan.lost);
        let wrong = |what: String| Err(self.failure(Guarantee::G4Honesty, what));
        let is_commit = |lsn: Lsn| self.commits.binary_search_by_key(&lsn.raw(), |c| c.lsn).is_ok();
        let bound = Lsn::from_raw(self.bound_of_repair(struck));
        if kept != Lsn::ZERO && !is_commit(kept) {
            return wrong(format!("a repair would keep {kept}, which is no commit that can be there"));
        }
        if kept < bound {
            return wrong(format!("a repair would keep {kept} only, but nothing up to {bound} was damaged"));
        }
        if kept.raw() > self.most {
            let planned = Lsn::from_raw(self.most);
            return wrong(format!("a repair would keep {kept}, and one that was ordered keeps {planned}"));
        }
        // Of what an earlier order gave up nothing may be there any more.
        let told = plan.damaged.is_some() || self.planned.is_some();
        match lost {
            Some(lost) if lost <= kept || !is_commit(lost) => {
                wrong(format!("a repair that keeps {kept} says that it loses {lost}"))
            }
            Some(lost) if self.harm == Harm::None => {
                wrong(format!("a repair says that it loses {lost}, and nothing was damaged"))
            }
            None if !told && kept.raw() < self.unplanned(struck) => {
                wrong(format!("a repair that keeps {kept} says that nothing durable is lost"))
            }
            _ => Ok(()),
        }
    }

    /// What is promised and lies in front of all damage.
    fn bound_of_repair(&self, struck: Struck) -> u64 {
        let usual = if struck == Struck::No { self.process } else { self.power };
        usual.min(self.front)
    }

    /// What must survive one rotten sector: what some frame proves that the rot cannot have hit as well. Commits of one
    /// frame were ordered at two values of the watermark at most.
    fn proven(&self) -> u64 {
        let mut values: Vec<u64> =
            self.commits.iter().filter(|c| c.lsn <= self.power).map(|c| c.proves).collect();
        values.dedup();
        values.len().checked_sub(8).map_or(0, |i| values[i])
    }

    /// A machine starts: what was under way is not any more.
    pub fn begin_boot(&mut self) {
        self.unresolved |= std::mem::take(&mut self.pending) > 0;
        (self.reopens, self.deletes, self.repairing, self.creating) = (0, 0, 0, 0);
    }

    /// The space was deleted: nothing of it may ever be seen again (G8), and one of its id that is made later is empty.
    pub fn erase(&mut self) {
        self.versions.clear();
        self.commits.clear();
        self.gone.clear();
        (self.newest, self.last, self.power, self.process) = (0, 0, 0, 0);
        self.in_tables = 0;
        self.mended();
        self.scarred = false;
        (self.planned, self.most) = (None, u64::MAX);
        (self.existence, self.handle, self.unresolved) = (Existence::Never, None, false);
        self.generation += 1;
        self.tell(self.generation);
    }

    /// An opening was observed that recovered up to `k`, of a space that was `made` just now or earlier. Where a deletion
    /// may have taken place unheard of, that may tell that it did.
    pub fn resolve(&mut self, k: Lsn, made: Made) {
        let gone = match made {
            Made::Now => self.pending > 0 || self.unresolved,
            Made::Earlier => self.unresolved && k == Lsn::ZERO,
        };
        self.unresolved = false;
        if gone {
            self.erase();
        }
    }

    /// What `key` holds as of `lsn`.
    #[must_use]
    pub fn value(&self, key: u16, lsn: u64) -> Option<Content> {
        let versions = self.versions.get(&key)?;
        let at = versions.partition_point(|(l, _)| *l <= lsn);
        versions[..at].last()?.1
    }

    /// All versions, by key.
    pub fn versions(&self) -> impl Iterator<Item = (&u16, &Vec<(u64, Option<Content>)>)> {
        self.versions.iter()
    }

    /// The commit that wrote what `key` holds now.
    #[must_use]
    pub fn written_by(&self, key: u16) -> Option<u64> {
        self.written_by_at(key, u64::MAX)
    }

    /// The commit that wrote what `key` held as of `lsn`.
    #[must_use]
    pub fn written_by_at(&self, key: u16, lsn: u64) -> Option<u64> {
        let versions = self.versions.get(&key)?;
        let at = versions.partition_point(|(l, _)| *l <= lsn);
        let (lsn, content) = versions[..at].last()?;
        content.map(|_| *lsn)
    }

    /// The last commit in front of the last so many.
    #[must_use]
    pub fn in_front_of_last(&self, commits: u64) -> u64 {
        let at = (self.commits.len() as u64).checked_sub(commits + 1);
        at.map_or(0, |at| self.commits[at as usize].lsn)
    }

    /// Whether a range delete was ever done.
    #[must_use]
    pub fn deletes_ranges(&self) -> bool {
        self.commits.iter().any(|c| c.range)
    }

    /// Whether a range delete is among the last so many commits.
    #[must_use]
    pub fn deletes_range_in_last(&self, commits: u64) -> bool {
        self.commits.iter().rev().take(commits as usize).any(|c| c.range)
    }

    /// Whether a range delete of this opening hides a value of `key` from a reader at `lsn` that lies in tables for certain.
    #[must_use]
    pub fn is_hidden_in_tables(&self, key: u16, lsn: u64) -> bool {
        let Some(versions) = self.versions.get(&key) else { return false };
        let [.., (older, Some(_)), (newest, None)] = versions[..versions.partition_point(|(l, _)| *l <= lsn)]
        else {
            return false;
        };
        let commit = self.commits.binary_search_by_key(&newest, |c| c.lsn);
        older <= self.in_tables && commit.is_ok_and(|at| self.commits[at].range)
    }

    /// Everything as of `lsn`.
    #[must_use]
    pub fn state(&self, lsn: u64) -> State {
        self.versions.keys().filter_map(|key| Some((*key, self.value(*key, lsn)?))).collect()
    }

    /// Some LSNs whose fate is settled: kept, and gone.
    pub fn settled(&self, n: usize) -> (Vec<u64>, Vec<u64>) {
        let kept = self.commits.iter().rev().map(|c| c.lsn).filter(|l| *l <= self.power).take(n).collect();
        (kept, self.gone.iter().rev().take(n).copied().collect())
    }

    /// Adds to what clients of this space were told.
    pub fn tell(&mut self, what: u64) {
        self.story = mix(self.story, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::stretch;

    fn model(n: u64) -> Model {
        let mut model = Model::new(SpaceId::new("m").unwrap());
        let first = (1 << 40) + 1;
        for i in 0..n {
            let changes = vec![(i as u16 % 3, Some(Content { id: i, len: 4, priority: 0 }))].into();
            model.ordered(Lsn::from_raw(first + i), Lsn::ZERO, &changes).unwrap();
        }
        model
    }

    fn lsn(counter: u64) -> Lsn {
        Lsn::from_raw((1 << 40) + counter)
    }

    #[test]
    fn losing_what_was_promised_is_a_failure_and_losing_the_rest_is_not() {
        let mut m = model(5);
        m.promise_power(lsn(3)).unwrap();
        assert!(m.recovered(lsn(2), Struck::Yes).is_err());
        assert_eq!(m.recovered(lsn(4), Struck::Yes).unwrap(), 1);
        assert_eq!(m.value(1, u64::MAX), None.or(m.value(1, lsn(4).raw())));
        assert!(m.recovered(lsn(5), Struck::Yes).is_err(), "it was seen to be gone");
        assert!(m.recovered(lsn(3), Struck::Yes).is_err(), "it was seen to be there");
        assert!(m.promise_power(lsn(5)).is_err());
    }

    #[test]
    fn a_kill_keeps_more_than_a_power_cut_unless_the_disk_failed() {
        let mut m = model(5);
        m.promise_process(lsn(4));
        assert!(m.recovered(lsn(3), Struck::No).is_err());
        assert_eq!(m.recovered(lsn(3), Struck::Yes).unwrap(), 2);
        let mut m = model(5);
        m.promise_process(lsn(4));
        m.power_was_cut();
        assert_eq!(m.recovered(Lsn::ZERO, Struck::No).unwrap(), 5);
        assert!(m.state(u64::MAX).is_empty());
    }

    #[test]
    fn what_was_deleted_is_not_to_come_back() {
        let mut m = model(3);
        m.promise_power(lsn(3)).unwrap();
        m.erase();
        assert!(m.state(u64::MAX).is_empty() && m.existence == Existence::Never);
        assert!(m.recovered(lsn(3), Struck::Yes).is_err(), "the deleted one is back");
        assert_eq!(m.recovered(Lsn::ZERO, Struck::No).unwrap(), 0);
        assert!(m.ordered(lsn(1), Lsn::ZERO, &Changes::default()).is_ok(), "LSNs begin anew");
    }

    #[test]
    fn a_deletion_that_nobody_heard_of_took_place_or_did_not() {
        for (found, generation) in [(Lsn::ZERO, 1), (lsn(3), 0)] {
            let mut m = model(3);
            m.promise_power(lsn(3)).unwrap();
            m.pending = 1;
            m.begin_boot();
            m.resolve(found, Made::Earlier);
            assert_eq!(m.generation, generation);
            assert!(m.recovered(found, Struck::No).is_ok());
        }
        let mut m = model(3);
        m.promise_power(lsn(3)).unwrap();
        m.resolve(Lsn::ZERO, Made::Now);
        assert!(m.recovered(Lsn::ZERO, Struck::No).is_err(), "nobody deleted it");
    }

    #[test]
    fn lsns_are_dense_and_never_used_again() {
        let mut m = model(3);
        assert!(m.ordered(lsn(5), Lsn::ZERO, &Changes::default()).is_err());
        m.recovered(lsn(1), Struck::Yes).unwrap();
        assert!(m.ordered(lsn(2), Lsn::ZERO, &Changes::default()).is_err());
        assert!(m.ordered(Lsn::from_raw((2 << 40) + 1), Lsn::ZERO, &Changes::default()).is_ok());
    }

    #[test]
    fn a_range_delete_takes_what_is_there_and_a_put_of_its_commit_stays() {
        let mut m = model(3);
        let content = Content { id: 9, len: 1, priority: 0 };
        let changes = Changes { ranges: vec![stretch(0, 1)], keys: vec![(1, Some(content))] };
        m.ordered(lsn(4), Lsn::ZERO, &changes).unwrap();
        assert_eq!(m.state(lsn(3).raw()).len(), 3);
        let (one, two) = (m.value(1, u64::MAX), m.value(2, u64::MAX));
        assert_eq!(
            (m.value(0, u64::MAX), one, two.is_some()),
            (None, Some(content), !lies_in(2, &stretch(0, 1)))
        );
        assert!(m.deletes_range_in_last(1) && m.has_unsettled_batch());
    }
}
