//! Goal: whatever is planned, in whatever order it is done, readers see what they must, the rule of [`super`] holds after
//! every step, capacities hold at rest, and planning comes to rest.
//!
//! Method: generated histories of commits, flushes, snapshots, reads and jobs run on the model of [`super::model`]. A job
//! is planned at one step and done at another, with anything between. After every step every key is looked at from every
//! reader's LSN and compared with the history replayed. Then each kind of mistake is made on purpose and must be noticed.
mod choice;
mod places;

use super::capacity::{self, Puts, admit, capacity, used};
use super::hidden::{self, FreePlan};
use super::model::{
    Content, Files, NewTables, Weights, extents, first, live, merge, places, run_move, write,
};
use super::promote::{self, Kind, Newest, Promotion, Wanted};
use super::{Below, Facts, Plan, Take, next};
use crate::config::{Amount, TierOptions, Tiers};
use crate::ids::{FileUid, Lsn};
use crate::limits::HOT_TABLES_MAX;
use crate::manifest::{Edit, Tier, Version};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const KEYS: u8 = 10;

fn key(n: u8) -> Vec<u8> {
    vec![b'a' + n % KEYS]
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Delete(u8),
    DeleteRange(u8, u8),
    /// What was committed is durable.
    Sync,
    /// What is in memory becomes a table.
    Flush,
    Snapshot,
    Release(u8),
    /// A key is read again and again.
    Read(u8),
    Hours(u8),
    /// The next job is planned, if none is under way.
    Plan,
    /// The job under way is done.
    Finish,
    /// Jobs until there are none.
    Rest,
    /// A put waits for room while everything is flushed and jobs come to rest.
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..KEYS).prop_map(Step::Put),
        4 => (0..KEYS).prop_map(Step::Delete),
        1 => (0..KEYS, 1..KEYS).prop_map(|(a, n)| Step::DeleteRange(a, n)),
        1 => Just(Step::Sync),
        5 => Just(Step::Flush),
        1 => Just(Step::Snapshot),
        1 => any::<u8>().prop_map(Step::Release),
        5 => (0..KEYS).prop_map(Step::Read),
        1 => (1..100u8).prop_map(Step::Hours),
        5 => Just(Step::Plan),
        5 => Just(Step::Finish),
        1 => Just(Step::Rest),
        1 => Just(Step::Tidy),
    ]
}

fn options() -> impl Strategy<Value = TierOptions> {
    let capacities = (2..12u64, 0..10u64, 0..20u64, prop::sample::select(vec![0u64, 0, 0, 0, 0, 0, 60, 120]));
    (capacities, 1..4usize, prop::sample::select(vec![16u64, 30, 60, 200]), 16..60u64, prop::bool::ANY)
        .prop_map(|((hot, warm, cold, quota_bytes), hot_tables, job_bytes, table_bytes, ages)| {
            let amount = |entries| Amount { entries, bytes: 10_000 };
            TierOptions {
                hot_capacity: amount(hot),
                warm_capacity: amount(hot + warm),
                cold_capacity: amount(hot + warm + cold),
                hot_tables,
                job_bytes,
                table_bytes,
                quota_bytes,
                hot_age_s: if ages { 86_400 } else { 0 },
                warm_age_s: if ages { 2 * 86_400 } else { 0 },
                ..TierOptions::default()
            }
        })
}

/// A mistake made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// A move takes a newer hot table and leaves an older one.
    NewerHotFirst,
    /// A merge of hot tables becomes the newest one.
    MergedHotNewest,
    /// Deletes are dropped whatever lies below.
    TombstoneDropped,
    /// A promotion copies what it was planned on.
    PromotionUnconfirmed,
    /// A promotion takes the newest value and does not see deletes.
    PromotionBlind,
    /// What a promotion copied becomes the newest hot table.
    PromotedNewest,
    /// A merge drops what snapshots need.
    SnapshotIgnored,
    /// A move leaves out a table below.
    LowerLeftOut,
    /// A promotion copies to where what is in memory has its place.
    PromotionOverMemory,
    /// Puts are let in to where a promotion under way copies to.
    PromotionUncharged,
    /// Moving a part of a table drops all of it.
    RestForgotten,
    /// A table goes although a snapshot sees what range deletes hide from others.
    HiddenUnderSnapshot,
    /// A table goes of which range deletes hide a part.
    PartlyHidden,
    /// A table goes that range deletes cover which lie below it.
    HiddenFromBelow,
    /// Range deletes go although something lies below them.
    HidingGoes,
    /// Tables leave hot by age alone.
    PriorityIgnored,
}

/// A job.
#[derive(Debug)]
struct UnderWay {
    plan: Plan,
    /// The floor when it began.
    floor: u64,
    /// Of a promotion what its look let pass, and the newest hot table then.
    look: Option<(Content, Option<FileUid>)>,
}

/// How far jobs went.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    merges: u64,
    moves: u64,
    stopped: u64,
    parts: u64,
    deletes: u64,
    promoted: u64,
    left: u64,
    refused: u64,
    tidied: u64,
    looks: u64,
    freed: u64,
    passed_over: u64,
}

struct World {
    tiers: Tiers,
    weights: Weights,
    bug: Bug,
    version: Version,
    files: Files,
    memory: Content,
    /// Each commit: from, to (or one key), and whether it is a put.
    history: Vec<(Vec<u8>, Option<Vec<u8>>, bool)>,
    durable: u64,
    snapshots: Vec<u64>,
    now_ms: u64,
    barren: BTreeSet<FileUid>,
    apart: BTreeSet<FileUid>,
    /// Tables that are open.
    open: BTreeSet<FileUid>,
    wanted: Vec<Wanted>,
    under_way: Option<UnderWay>,
    puts: Puts,
    counts: Counts,
}

impl World {
    fn new(options: TierOptions, bug: Bug) -> World {
        let weights = if options.table_bytes.is_multiple_of(2) { Weights::None } else { Weights::Some };
        World {
            tiers: Tiers::new(options).expect("valid options"),
            weights,
            bug,
            version: Version::new(),
            files: Files::new(),
            memory: Content::default(),
            history: Vec::new(),
            durable: 0,
            snapshots: Vec::new(),
            now_ms: 1_000_000_000,
            barren: BTreeSet::new(),
            apart: BTreeSet::new(),
            open: BTreeSet::new(),
            wanted: Vec::new(),
            under_way: None,
            puts: Puts::Fit,
            counts: Counts::default(),
        }
    }

    fn last(&self) -> u64 {
        self.history.len() as u64
    }

    fn floor(&self) -> u64 {
        self.snapshots.iter().copied().min().map_or(self.durable, |s| s.min(self.durable))
    }

    fn step(&mut self, step: &Step) {
        let floor = self.floor();
        match step {
            Step::Put(k) => {
                let one = Amount { entries: 1, bytes: 9 };
                let taken = self.memory.amount().plus(self.on_its_way());
                if admit(&self.tiers, &self.version.tables, taken, one).is_err() {
                    self.counts.refused += 1;
                    return;
                }
                self.history.push((key(*k), None, true));
                self.memory.points.push((key(*k), self.last(), true));
            }
            Step::Delete(k) => {
                self.history.push((key(*k), None, false));
                self.memory.points.push((key(*k), self.last(), false));
            }
            Step::DeleteRange(a, n) => {
                let to = vec![b'a' + a % KEYS + n];
                self.history.push((key(*a), Some(to.clone()), false));
                self.memory.spans.push((key(*a), to, self.last()));
            }
            Step::Sync => self.durable = self.last(),
            Step::Flush => self.flush(),
            Step::Snapshot => self.snapshots.push(self.last()),
            Step::Release(n) if !self.snapshots.is_empty() => {
                self.snapshots.swap_remove(usize::from(*n) % self.snapshots.len());
            }
            Step::Release(_) => {}
            Step::Read(k) => self.read(&key(*k)),
            Step::Hours(n) => self.now_ms += u64::from(*n) * 3_600_000,
            Step::Plan => self.plan(),
            Step::Finish => self.finish(),
            Step::Rest => self.rest(),
            Step::Tidy => self.tidy(),
        }
        if self.floor() != floor {
            self.barren.clear();
            self.apart.clear();
        }
    }

    /// What a promotion under way may add.
    fn on_its_way(&self) -> Amount {
        match self.under_way.as_ref().map(|job| &job.plan) {
            Some(Plan::Promote(plan)) if self.bug != Bug::PromotionUncharged => plan.adds(),
            _ => Amount::default(),
        }
    }

    fn new_tables(&self) -> NewTables {
        NewTables { next: self.version.next_table, now_ms: self.now_ms, weights: self.weights }
    }

    fn flush(&mut self) {
        if self.version.tables.hot.len() >= HOT_TABLES_MAX || self.version.flushed.raw() == self.last() {
            return;
        }
        self.durable = self.last();
        let last = Lsn::from_raw(self.last());
        let mut new = self.new_tables();
        let table = write(&mut self.files, &mut new, std::mem::take(&mut self.memory));
        let mut edits = vec![Edit::Durable { lsn: last }, Edit::Flush { last }];
        edits.extend(table.map(|entry| Edit::AddTable { tier: Tier::Hot, entry }));
        self.version = self.version.apply(&edits);
    }

    fn read(&mut self, key: &[u8]) {
        let found = first(&places(&self.files, &self.version, &[]), key, u64::MAX);
        if let Some((lsn, true, Some(tier))) = found {
            let reads = self.tiers.get().promote_reads;
            self.wanted.push(Wanted { key: key.to_vec(), lsn: Lsn::from_raw(lsn), tier, reads, bytes: 9 });
        }
    }

    fn next(&self) -> Option<Plan> {
        let extents = extents(&self.files, &self.open);
        let extents = extents.iter().map(|(file, extent)| (*file, extent)).collect();
        let mut version = std::borrow::Cow::Borrowed(&self.version);
        if self.bug == Bug::PriorityIgnored {
            version.to_mut().tables.hot.iter_mut().for_each(|t| t.priority = 0);
        }
        let facts = Facts {
            version: &version,
            tiers: &self.tiers,
            now_ms: self.now_ms,
            accessed: &BTreeMap::new(),
            barren: &self.barren,
            apart: &self.apart,
            extents: &extents,
            looked: &BTreeSet::new(),
            released: &BTreeMap::new(),
            memory: match self.bug {
                Bug::PromotionOverMemory => Amount::default(),
                _ => self.memory.amount(),
            },
            floor: Lsn::from_raw(self.floor()),
            wanted: &self.wanted,
            puts: self.puts,
        };
        let mistake = self.hides_wrongly(&facts).map(Plan::Free);
        let next = mistake.or_else(|| next(&facts));
        if next.is_none()
            && let Some(at) = hidden::waits(&facts)
        {
            assert!(at > facts.floor, "planning has come to rest at this floor");
        }
        self.check_waits(&facts);
        next
    }

    /// What a floor that rises frees is waited for.
    fn check_waits(&self, facts: &Facts<'_>) {
        let at = hidden::waits(facts).map_or(self.last() + 1, Lsn::raw);
        let tables = |floor| {
            let plan = hidden::plan(&Facts { floor: Lsn::from_raw(floor), ..*facts });
            plan.map_or(Vec::new(), |plan| plan.tables)
        };
        let now = tables(self.floor());
        for floor in self.floor()..at {
            assert_eq!(tables(floor), now, "nothing more goes with the floor at {floor}, below {at}");
        }
    }

    /// What one of the mistakes has go.
    fn hides_wrongly(&self, f: &Facts<'_>) -> Option<FreePlan> {
        let all: Vec<_> = self.version.tables.hot.iter().rev().map(|t| (Tier::Hot, t)).collect();
        let lower = [Tier::Warm, Tier::Cold]
            .map(|tier| self.version.tables.tier(tier).iter().map(move |t| (tier, t)));
        let mut all: Vec<_> = all.into_iter().chain(lower.into_iter().flatten()).collect();
        if self.bug == Bug::HiddenFromBelow {
            all.reverse();
        }
        let free = |(tier, t): (Tier, &crate::manifest::TableEntry)| FreePlan {
            tables: vec![(tier, t.file)],
            ..FreePlan::default()
        };
        match self.bug {
            Bug::HiddenUnderSnapshot => hidden::plan(&Facts { floor: Lsn::from_raw(self.last()), ..*f })
                .filter(|p| !p.tables.is_empty()),
            Bug::PartlyHidden | Bug::HiddenFromBelow => {
                let mut spans: Vec<(Vec<u8>, Vec<u8>, u64)> = Vec::new();
                for (tier, t) in all {
                    let range = |s: &(Vec<u8>, Vec<u8>, u64)| {
                        crate::key::KeyRange::covering_between(&s.0, Some(&s.1))
                    };
                    let hides = |s: &&(Vec<u8>, Vec<u8>, u64)| match self.bug {
                        Bug::PartlyHidden => s.2 > t.highest.raw() && range(s).overlaps(&t.range),
                        _ => range(s).covers(&t.range),
                    };
                    if spans.iter().filter(|s| s.2 <= f.floor.raw()).any(|s| hides(&s)) {
                        return Some(free((tier, t)));
                    }
                    spans.extend(live(&self.files, t).spans);
                }
                None
            }
            Bug::HidingGoes => all
                .into_iter()
                .find(|(_, t)| t.entries == 0 && t.range_tombstones > 0 && t.highest <= f.floor)
                .map(free),
            _ => None,
        }
    }

    fn plan(&mut self) {
        if self.under_way.is_none()
            && let Some(plan) = self.next()
        {
            self.begin(plan);
        }
    }

    fn begin(&mut self, plan: Plan) {
        if matches!(self.bug, Bug::None | Bug::PriorityIgnored) {
            self.check_priority(&plan);
        }
        let floor = self.floor();
        let look = match &plan {
            Plan::Promote(plan) => {
                let above = self.version.tables.hot.last().map(|t| t.file);
                Some((self.promote(&plan.wanted), above))
            }
            Plan::Merge(_) | Plan::Move(_) | Plan::Free(_) => None,
        };
        self.under_way = Some(UnderWay { plan, floor, look });
    }

    fn finish(&mut self) {
        let Some(UnderWay { plan, floor, look }) = self.under_way.take() else { return };
        let floor = if self.bug == Bug::SnapshotIgnored { self.last() } else { floor };
        let mut new = self.new_tables();
        let edits = match plan {
            Plan::Merge(mut plan) => {
                assert!(plan.applies_to(&self.version), "one job at a time: its inputs stay");
                if self.bug == Bug::TombstoneDropped {
                    plan.below = Below::default();
                }
                self.counts.merges += 1;
                let barren = plan.is_barren(&self.version, &self.barren);
                let merged = merge(&mut self.files, &self.version, &plan, floor, &mut new);
                self.barren.extend(merged.iter().filter(|_| barren).map(|t| t.file));
                self.apart.extend(plan.apart(merged.as_slice()).iter().map(|t| t.file));
                if self.bug == Bug::MergedHotNewest {
                    let mut edits = plan.edits(None);
                    edits.extend(merged.map(|entry| Edit::AddTable { tier: Tier::Hot, entry }));
                    edits
                } else {
                    plan.edits(merged)
                }
            }
            Plan::Move(plan) => self.do_move(plan, floor, &mut new),
            Plan::Free(plan) => {
                assert!(plan.applies_to(&self.version), "one job at a time: its tables stay");
                self.counts.looks += plan.look.len() as u64;
                self.counts.freed += plan.tables.len() as u64;
                self.open.extend(plan.look.iter().map(|(_, file)| *file));
                plan.edits()
            }
            Plan::Promote(_) => {
                let (content, mut above) = look.expect("a promotion begins with its look");
                if self.bug == Bug::PromotedNewest {
                    above = self.version.tables.hot.last().map(|t| t.file);
                }
                let table = write(&mut self.files, &mut new, content);
                table.map_or(Vec::new(), |table| promote::edits(table, above))
            }
        };
        self.version = self.version.apply(&edits);
    }

    fn do_move(&mut self, mut plan: super::MovePlan, floor: u64, new: &mut NewTables) -> Vec<Edit> {
        assert!(plan.applies_to(&self.version), "one job at a time: its inputs stay");
        match self.bug {
            Bug::TombstoneDropped => plan.below = Below::default(),
            Bug::NewerHotFirst if plan.from == Tier::Hot && plan.upper.len() > 1 => {
                plan.upper.remove(0);
            }
            Bug::LowerLeftOut => {
                plan.lower.pop();
            }
            _ => {}
        }
        if self.bug == Bug::None {
            self.check_size(&plan);
        }
        let keys = 1 + plan.table_bytes as usize / 20;
        let mut done = run_move(&mut self.files, &self.version, &plan, floor, new, keys);
        let is_deletes = plan.take == Take::Deletes;
        self.counts.moves += 1;
        self.counts.deletes += u64::from(is_deletes);
        self.counts.stopped += u64::from(done.stop.is_some());
        self.counts.parts += u64::from(!done.rest.is_empty());
        self.barren.extend(done.kept.iter().map(|t| t.file));
        if self.bug == Bug::RestForgotten {
            for t in &mut done.rest {
                self.files.insert(t.file, Content::default());
                t.entries = 0;
            }
        }
        plan.edits(&self.version, done)
    }

    fn promote(&mut self, wanted: &[Wanted]) -> Content {
        self.wanted.clear();
        let mut content = Content::default();
        let places = places(&self.files, &self.version, &[]);
        for w in wanted {
            let found = first(&places, &w.key, u64::MAX).map(|(lsn, value, tier)| Newest {
                lsn: Lsn::from_raw(lsn),
                kind: if value { Kind::Value } else { Kind::Delete },
                tier: tier.expect("the search was in tables"),
            });
            let values = |(tier, c): &(Option<Tier>, Content)| {
                let points = c.points.iter().filter(|p| p.2).cloned().collect();
                (*tier, Content { points, spans: Vec::new() })
            };
            let promotion = match self.bug {
                Bug::PromotionUnconfirmed => Promotion::Copy,
                Bug::PromotionBlind => {
                    let blind: Vec<_> = places.iter().map(values).collect();
                    let same = first(&blind, &w.key, u64::MAX).is_some_and(|f| f.0 == w.lsn.raw());
                    if same { Promotion::Copy } else { Promotion::Leave }
                }
                _ => promote::confirm(w.lsn, found),
            };
            if promotion == Promotion::Copy {
                self.counts.promoted += 1;
                content.points.push((w.key.clone(), w.lsn.raw(), true));
            } else {
                self.counts.left += 1;
            }
        }
        content
    }

    fn rest(&mut self) {
        self.finish();
        let mut jobs = 0;
        while let Some(plan) = self.next() {
            self.begin(plan);
            self.finish();
            self.check();
            jobs += 1;
            assert!(jobs < 300, "planning comes to rest");
        }
        let (o, tables) = (self.tiers.get(), &self.version.tables);
        assert!(tables.hot.len() <= o.hot_tables, "hot tables at rest");
        for tier in Tier::ALL {
            let held: Vec<_> = tables.tier(tier).iter().map(|t| live(&self.files, t)).collect();
            // The versions of one key are never parted: so many may be too many.
            let of_key = |k: u8| held.iter().flat_map(|c| &c.points).filter(|p| p.2 && p.0 == key(k)).count();
            let slack = (0..KEYS).map(of_key).max().unwrap_or(0).saturating_sub(1) as u64;
            let (used, most) = (used(tables.tier(tier)), capacity(o, tier));
            assert!(used.entries <= most.entries + slack, "{tier:?} at rest: {used:?} of {most:?}");
        }
    }

    /// Once puts have waited for room, all that there is of a key has met, where there was room for that.
    fn tidy(&mut self) {
        self.finish();
        self.flush();
        self.puts = Puts::Wait { since: Lsn::from_raw(self.last()) };
        self.rest();
        self.puts = Puts::Fit;
        if self.tiers.get().cold_capacity.entries > 3 * u64::from(KEYS) && self.memory.points.is_empty() {
            let held: Vec<_> = self.version.tables.iter().map(|(_, t)| live(&self.files, t)).collect();
            let of_key = |k: u8| held.iter().filter(|c| !c.versions(&key(k)).is_empty()).count();
            assert!((0..KEYS).all(|k| of_key(k) <= 1), "{:?}", self.version.tables);
            self.counts.tidied += 1;
        }
    }

    /// What a reader of `key` at `lsn` must see.
    fn truth(&self, key: &[u8], lsn: u64) -> Option<u64> {
        let covers = |(from, to, _): &(Vec<u8>, Option<Vec<u8>>, bool)| match to {
            None => from == key,
            Some(to) => &from[..] <= key && key < &to[..],
        };
        let newest = self.history[..lsn as usize].iter().rposition(covers)?;
        self.history[newest].2.then_some(newest as u64 + 1)
    }

    fn check(&self) {
        // Whatever was let in has a place, at every moment and not only at rest.
        let (o, tables) = (self.tiers.get(), &self.version.tables);
        let held = Tier::ALL.iter().fold(self.memory.amount(), |sum, t| sum.plus(used(tables.tier(*t))));
        let most = Tier::ALL.iter().fold(Amount::default(), |sum, t| sum.plus(capacity(o, *t)));
        assert!(held.entries <= most.entries, "{held:?} are held of {most:?}");
        let places = places(&self.files, &self.version, std::slice::from_ref(&self.memory));
        let mut readers = vec![self.floor(), self.durable, self.last(), (self.floor() + self.last()) / 2];
        readers.extend(&self.snapshots);
        readers.retain(|&r| r >= self.floor());
        for k in 0..2 * KEYS {
            let key = vec![b'a' + k];
            let versions: Vec<_> = places.iter().map(|p| p.1.versions(&key)).collect();
            let held: Vec<_> = versions.iter().filter(|v| !v.is_empty()).collect();
            let ordered = held.windows(2).all(|w| w[0][0].0 >= w[1][w[1].len() - 1].0);
            assert!(ordered, "a higher place holds an older version of {k} than a lower one: {held:?}");
            for &lsn in &readers {
                let found = held.iter().find_map(|v| v.iter().rev().find(|v| v.0 <= lsn));
                let seen = found.and_then(|&(lsn, value)| value.then_some(lsn));
                assert_eq!(seen, self.truth(&key, lsn), "what a reader of {k} at {lsn} sees");
            }
        }
        for (_, t) in self.version.tables.iter() {
            let held = live(&self.files, t);
            let counted = (t.live(), t.entries, t.bytes, t.range_tombstones);
            let amount = held.amount();
            let exact = (amount.entries, held.points.len() as u64, amount.bytes, held.spans.len() as u64);
            assert_eq!(counted, exact, "counters equal what exists");
        }
    }

    /// Everything is deleted: puts are taken again, and nothing is left.
    fn empty(&mut self) {
        self.snapshots.clear();
        for step in [Step::DeleteRange(0, KEYS), Step::Delete(3), Step::Flush, Step::Tidy] {
            self.step(&step);
            self.check();
        }
        let one = Amount { entries: 1, bytes: 9 };
        assert_eq!(
            admit(&self.tiers, &self.version.tables, self.memory.amount(), one),
            Ok(()),
            "deletes make room"
        );
        let cold = capacity::pressure_of(self.tiers.get(), &self.version.tables, Tier::Cold);
        assert!(cold < capacity::Pressure::Full);
    }
}

fn run(options: TierOptions, steps: &[Step], bug: Bug) -> Counts {
    let mut world = World::new(options, bug);
    for step in steps {
        world.step(step);
        world.check();
    }
    world.step(&Step::Rest);
    world.check();
    let counts = world.counts;
    world.empty();
    counts
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

#[test]
fn whatever_is_planned_readers_see_the_history_and_planning_comes_to_rest() {
    let mut sum = Counts::default();
    let mut runner = TestRunner::new(config(4000));
    let total = std::cell::RefCell::new(&mut sum);
    let result = runner.run(&(options(), prop::collection::vec(step(), 1..80)), |(options, steps)| {
        let counts = run(options, &steps, Bug::None);
        let mut t = total.borrow_mut();
        t.merges += counts.merges;
        t.moves += counts.moves;
        t.stopped += counts.stopped;
        t.parts += counts.parts;
        t.deletes += counts.deletes;
        t.promoted += counts.promoted;
        t.left += counts.left;
        t.refused += counts.refused;
        t.tidied += counts.tidied;
        t.looks += counts.looks;
        t.freed += counts.freed;
        t.passed_over += counts.passed_over;
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
    let reached = [
        sum.merges,
        sum.moves,
        sum.stopped,
        sum.parts,
        sum.deletes,
        sum.promoted,
        sum.left,
        sum.refused,
        sum.tidied,
        sum.looks,
        sum.freed,
        sum.passed_over,
    ];
    assert!(reached.iter().all(|&n| n > 20), "every kind of job is done: {sum:?}");
}

#[test]
fn every_mistake_made_on_purpose_is_noticed() {
    let bugs = [
        Bug::NewerHotFirst,
        Bug::MergedHotNewest,
        Bug::TombstoneDropped,
        Bug::PromotionUnconfirmed,
        Bug::PromotionBlind,
        Bug::PromotedNewest,
        Bug::SnapshotIgnored,
        Bug::LowerLeftOut,
        Bug::RestForgotten,
        Bug::HiddenUnderSnapshot,
        Bug::PartlyHidden,
        Bug::HiddenFromBelow,
        Bug::HidingGoes,
        Bug::PriorityIgnored,
    ];
    for bug in bugs {
        let mut runner = TestRunner::new(ProptestConfig { max_shrink_iters: 0, ..config(4000) });
        let result = runner.run(&(options(), prop::collection::vec(step(), 1..80)), |(options, steps)| {
            let run = std::panic::AssertUnwindSafe(|| run(options, &steps, bug));
            std::panic::catch_unwind(run).map(|_| ()).map_err(|_| TestCaseError::fail("noticed"))
        });
        assert!(matches!(result, Err(TestError::Fail(..))), "{bug:?} was not noticed");
    }
}
