//! The dispatcher: takes what is submitted, and releases one completion at a time; the crash that is armed comes here.
use crate::decide::{Site, hash_bytes, mix};
use crate::plan::FaultKind;
use crate::verbs::{Delivery, Target, Verb, What, Work};
use crate::violation::ViolationKind;
use crate::world::{CrashPoint, Release, Released, State, Step, World};
use bulkhead::env::Owner;

impl State {
    pub(crate) fn submit(&mut self, owner: u64, what: What, target: Target, verb: Verb, wait: u64) {
        if matches!(verb, Verb::Rename(..)) && self.is_at_work_below(&target.text()) {
            self.violation(ViolationKind::RenameUnderWork, owner, &target, None, None);
        }
        let per = self.owners.entry(owner).or_default();
        let seq = per.counts[what.index()];
        per.counts[what.index()] += 1;
        let submitted = per.submitted;
        per.submitted += 1;
        let (a, b) = verb.arguments();
        let event = mix(mix(mix(what.index() as u64, target.hash), a), b);
        // A sleep asks nothing of the disk, and how often a quiet space wakes depends on who else has work.
        if !matches!(what, What::Timer) {
            per.calls = mix(per.calls, event);
        }
        self.trace.event(self.now, owner, event);
        let (latency, stalled) = self.latency(owner, what, seq);
        let tie = self.decider.choose(Site::Tie, owner, submitted, u32::MAX);
        let due = self.now.saturating_add(wait).saturating_add(latency);
        if self.trace.is_readable() {
            let now = self.now;
            self.trace
                .line(|| format!("{now:>10} {owner:016x} {what:?}#{seq} {} ({a}, {b:x})", target.text()));
        }
        self.queue.push(due, tie, Work { what, owner, seq, stalled, target, verb });
    }

    /// Whether something is being changed in the directory `path`, or below it.
    fn is_at_work_below(&self, path: &str) -> bool {
        self.queue.iter().any(|work| {
            let below =
                work.target.path.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'));
            below && work.verb.changes()
        })
    }

    fn latency(&mut self, owner: u64, what: What, seq: u64) -> (u64, bool) {
        let ((base, spread), site) = match what {
            What::Timer => return (0, false),
            What::Turn => (self.latency.turn, Site::TurnLatency),
            What::Io(op) => (self.latency.of(op), Site::Latency(op)),
        };
        let latency = u64::from(base + self.decider.choose(site, owner, seq, spread + 1));
        let What::Io(op) = what else { return (latency, false) };
        let stalled = self.strikes(FaultKind::F23Stall, owner, mix(seq, op as u64));
        (if stalled { latency * 100 } else { latency }, stalled)
    }

    /// Whether a fault strikes here.
    pub(crate) fn strikes(&mut self, kind: FaultKind, owner: u64, seq: u64) -> bool {
        let rate = self.faults.rate(kind, owner);
        let struck = rate > 0 && self.decider.strikes(kind, owner, seq, rate);
        self.faults.drawn(kind, u64::from(struck));
        if struck && kind != FaultKind::F23Stall {
            self.owners.entry(owner).or_default().strikes += 1;
        }
        struck
    }

    pub(crate) fn step(&mut self, world: &World) -> (Step, Option<Delivery>) {
        while !self.frozen
            && let Some((_, work)) = self.queue.peek()
            && matches!(&work.verb, Verb::Wake(done) if done.is_abandoned())
        {
            // A timer that nobody waits for must not move the time.
            self.queue.pop();
        }
        if self.frozen {
            return (Step::Idle, None);
        }
        let due = self.queue.peek().map(|(due, _)| due);
        if let Some(CrashPoint::Time(at)) = self.crash
            && due.is_none_or(|due| due >= at)
        {
            self.now = self.now.max(at);
            self.freeze(world, None);
            return (Step::Froze, None);
        }
        let (Some(due), Some(work)) = (due, self.queue.pop()) else { return (Step::Idle, None) };
        self.now = self.now.max(due);
        if matches!(work.what, What::Io(_)) {
            self.ios += 1;
            if self.crash_is_due(work.owner) {
                self.freeze(world, Some(work));
                return (Step::Froze, None);
            }
        }
        let (owner, what) = (work.owner, work.what);
        let delivery = self.release(world, work);
        let what = match what {
            What::Io(op) => Released::Io(op),
            What::Timer => Released::Timer,
            What::Turn => Released::Turn,
        };
        (Step::Released(Release { owner: Owner(owner), what, now: self.now }), Some(delivery))
    }

    fn crash_is_due(&mut self, of: u64) -> bool {
        match &mut self.crash {
            Some(CrashPoint::OwnerIo { owner, .. }) if *owner != of => false,
            Some(CrashPoint::Io(k) | CrashPoint::OwnerIo { k, .. }) => {
                *k -= 1;
                *k == 0
            }
            Some(CrashPoint::Time(_)) | None => false,
        }
    }

    fn release(&mut self, world: &World, work: Work) -> Delivery {
        let Work { what, owner, seq, stalled, target, verb } = work;
        let delivery = self.execute(world, owner, seq, &target, verb);
        if stalled {
            self.faults.effective(FaultKind::F23Stall, 1);
        }
        let event = mix(mix(what.index() as u64, seq), delivery.hash(what));
        self.trace.event(self.now, owner, event);
        let now = self.now;
        let per = self.owners.get_mut(&owner).expect("it submitted");
        per.released += 1;
        if !matches!(what, What::Timer) {
            per.answers = per.answers.wrapping_add(mix(event, 0));
            per.moments = mix(mix(per.moments, now), event);
        }
        if self.trace.is_readable() {
            let now = self.now;
            let result = delivery.error().map_or("ok".to_owned(), |(e, _)| e.to_string());
            self.trace.line(|| format!("{now:>10} {owner:016x} {what:?}#{seq} -> {result}"));
        }
        delivery
    }

    /// C9: a legal part of everything in flight happens, `first` foremost; then nothing any more.
    pub(crate) fn freeze(&mut self, world: &World, first: Option<Work>) {
        let queue = std::mem::take(&mut self.queue);
        if let Some(work) = first {
            self.land(world, work);
        }
        let mut queue = queue;
        while let Some(work) = queue.pop() {
            self.land(world, work);
        }
        self.frozen = true;
        self.crash = None;
    }

    pub(crate) fn end_boot(&mut self, world: &World) -> u64 {
        if !self.frozen {
            self.freeze(world, None);
        }
        self.locks.clear();
        self.frozen = false;
        self.boot += 1;
        self.crashes += 1;
        self.boot
    }

    pub(crate) fn note_crash(&mut self, what: &'static str) {
        let (now, boot) = (self.now, self.boot);
        self.trace.event(now, 0, hash_bytes(what.as_bytes()));
        self.trace.line(|| format!("{now:>10} ---- {what}; boot {boot} begins"));
    }
}
