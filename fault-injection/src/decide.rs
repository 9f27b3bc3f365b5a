//! Keyed decisions: what happens at a site is a hash of who is there for the how-manieth time, not a draw from a
//! stream that others draw from too.
use crate::plan::FaultKind;
use bulkhead::env::IoOp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Where a decision is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// How long an operation takes.
    Latency(IoOp),
    /// How long a client's turn takes to come.
    TurnLatency,
    /// Which of two completions that are due at once goes first.
    Tie,
    /// In which order a directory is listed.
    ListOrder,
    /// Whether a fault strikes.
    Fault(FaultKind),
    /// What exactly a fault does.
    Detail(FaultKind),
    /// Whether an operation in flight at a crash still happens.
    Landing(IoOp),
    /// How much of a write in flight at a crash still happens.
    LandingPart,
    /// How the unsynced writes of one file survive a power cut: all, none, by sector, by page, a prefix.
    CutMode,
    /// How many of a file's size changes survive.
    CutSize,
    /// How many of the versions of a sector or page survive.
    CutData,
    /// Where the prefix of a file's writes ends.
    CutPrefix,
    /// Which version of a name survives.
    CutName,
    /// Where the journal of names ends.
    CutJournal,
    /// Whatever the driver of the world wants to decide in the same way.
    Driver(u32),
}

/// Whether a site belongs to the order of events rather than to faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Schedule,
    Fault,
}

impl Site {
    fn class(self) -> Class {
        match self {
            Site::Latency(_) | Site::TurnLatency | Site::Tie | Site::ListOrder => Class::Schedule,
            _ => Class::Fault,
        }
    }

    /// A number that stays the same whatever is added to the enum.
    fn code(self) -> u64 {
        let (major, minor) = match self {
            Site::Latency(op) => (1, op as u64),
            Site::TurnLatency => (2, 0),
            Site::Tie => (3, 0),
            Site::ListOrder => (4, 0),
            Site::Fault(kind) => (5, kind.code()),
            Site::Detail(kind) => (6, kind.code()),
            Site::Landing(op) => (7, op as u64),
            Site::LandingPart => (8, 0),
            Site::CutMode => (9, 0),
            Site::CutSize => (10, 0),
            Site::CutData => (11, 0),
            Site::CutPrefix => (12, 0),
            Site::CutName => (13, 0),
            Site::CutJournal => (14, 0),
            Site::Driver(n) => (15, u64::from(n)),
        };
        (major << 32) | minor
    }
}

/// One answer that was not the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Where.
    pub site: Site,
    /// For whom.
    pub owner: u64,
    /// The how-manieth time, counted in whatever way the site counts.
    pub seq: u64,
    /// The answer; never 0, which is the default everywhere.
    pub value: u32,
}

/// Where a replay takes the order of events from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// From the seed, as in the first run.
    Seed,
    /// From the recorded decisions; the default (fixed latency, first come first served) where there is none.
    Recorded,
}

/// Decisions to repeat: those listed, and the default everywhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Where the order of events comes from.
    pub schedule: Schedule,
    /// The decisions that were not the default.
    pub decisions: Vec<Decision>,
}

#[derive(Debug, Clone)]
enum Mode {
    Keyed,
    Replay { schedule: Schedule, map: FxHashMap<(Site, u64, u64), u32> },
}

/// Answers every question of the simulated world.
#[derive(Debug, Clone)]
pub struct Decider {
    seed: u64,
    mode: Mode,
    record_schedule: bool,
    counts: FxHashMap<(Site, u64), u64>,
    decisions: Vec<Decision>,
}

impl Decider {
    /// Answers by hash of `seed` and the key.
    #[must_use]
    pub fn new(seed: u64) -> Decider {
        Decider {
            seed,
            mode: Mode::Keyed,
            record_schedule: false,
            counts: FxHashMap::default(),
            decisions: Vec::new(),
        }
    }

    /// Answers as recorded.
    #[must_use]
    pub fn replay(seed: u64, replay: &Replay) -> Decider {
        let map = replay.decisions.iter().map(|d| ((d.site, d.owner, d.seq), d.value)).collect();
        Decider { mode: Mode::Replay { schedule: replay.schedule, map }, ..Decider::new(seed) }
    }

    /// Also records answers that only concern the order of events: one or two for each operation.
    #[must_use]
    pub fn recording_schedule(mut self) -> Decider {
        self.record_schedule = true;
        self
    }

    /// A number below `n`; 0 is the default. The same key always gives the same answer.
    pub fn choose(&mut self, site: Site, owner: u64, seq: u64, n: u32) -> u32 {
        assert!(n > 0, "there must be something to choose from");
        if n == 1 {
            return 0;
        }
        let value = match self.recorded(site, owner, seq) {
            Some(value) => value.min(n - 1),
            None => below(self.key(site, owner, seq), n),
        };
        self.note(site, owner, seq, value);
        value
    }

    /// As [`Decider::choose`], counting by itself how often this owner was at this site.
    pub fn choose_next(&mut self, site: Site, owner: u64, n: u32) -> u32 {
        let count = self.counts.entry((site, owner)).or_insert(0);
        let seq = *count;
        *count += 1;
        self.choose(site, owner, seq, n)
    }

    /// Whether something that strikes `per_100k` times in 100,000 strikes here.
    pub fn strikes(&mut self, kind: FaultKind, owner: u64, seq: u64, per_100k: u32) -> bool {
        let site = Site::Fault(kind);
        let struck = match self.recorded(site, owner, seq) {
            Some(value) => value != 0,
            None => below(self.key(site, owner, seq), 100_000) < per_100k,
        };
        self.note(site, owner, seq, u32::from(struck));
        struck
    }

    /// Whether a way of losing unsynced changes is open here. One that always is needs no decision: what is lost is
    /// decided after it.
    pub(crate) fn permits(&mut self, kind: FaultKind, owner: u64, seq: u64, per_100k: u32) -> bool {
        match per_100k {
            0 => false,
            100_000.. => true,
            rate => self.strikes(kind, owner, seq, rate),
        }
    }

    /// The answers so far that were not the default.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    fn recorded(&self, site: Site, owner: u64, seq: u64) -> Option<u32> {
        let Mode::Replay { schedule, map } = &self.mode else { return None };
        if *schedule == Schedule::Seed && site.class() == Class::Schedule {
            return None;
        }
        Some(map.get(&(site, owner, seq)).copied().unwrap_or(0))
    }

    fn key(&self, site: Site, owner: u64, seq: u64) -> u64 {
        mix(mix(mix(self.seed, site.code()), owner), seq)
    }

    fn note(&mut self, site: Site, owner: u64, seq: u64, value: u32) {
        if value != 0 && (self.record_schedule || site.class() == Class::Fault) {
            self.decisions.push(Decision { site, owner, seq, value });
        }
    }
}

fn below(hash: u64, n: u32) -> u32 {
    u32::try_from((u128::from(hash) * u128::from(n)) >> 64).expect("below n")
}

/// Mixes `value` into `state` (the finaliser of SplitMix64 over their sum).
#[must_use]
pub fn mix(state: u64, value: u64) -> u64 {
    let mut z =
        state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(value).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A 64-bit hash of bytes, the same on every machine.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = bytes.len() as u64;
    for word in words {
        state = (state.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_depends_on_its_key_alone() {
        let site = Site::Latency(IoOp::Sync);
        let mut a = Decider::new(7);
        let mut b = Decider::new(7);
        for seq in 0..50 {
            b.choose(site, 99, seq, 1000);
        }
        let of = |d: &mut Decider| (0..50).map(|seq| d.choose(site, 1, seq, 1000)).collect::<Vec<_>>();
        let first = of(&mut a);
        assert_eq!(first, of(&mut b), "another owner's operations shift nothing");
        assert_ne!(first, of(&mut Decider::new(8)));
        let mut seen = first;
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 40, "answers spread: {} distinct", seen.len());
    }

    #[test]
    fn counted_answers_do_not_shift_either() {
        let mut a = Decider::new(7);
        let mut b = Decider::new(7);
        let site = Site::Driver(3);
        for _ in 0..20 {
            b.choose_next(site, 2, 10);
            assert_eq!(a.choose_next(site, 1, 10), b.choose_next(site, 1, 10));
        }
    }

    #[test]
    fn rates_hold_and_the_recorded_answers_replay() {
        let kind = FaultKind::F09SyncEio;
        let mut d = Decider::new(3);
        let struck: Vec<bool> = (0..20_000).map(|seq| d.strikes(kind, 5, seq, 10_000)).collect();
        let hits = struck.iter().filter(|s| **s).count();
        assert!((1_700..2_300).contains(&hits), "{hits}");
        assert_eq!(d.decisions().len(), hits);

        let mut record = Replay { schedule: Schedule::Recorded, decisions: d.decisions().to_vec() };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(record, serde_json::from_str(&json).unwrap());
        let mut again = Decider::replay(3, &record);
        assert_eq!(struck, (0..20_000).map(|s| again.strikes(kind, 5, s, 0)).collect::<Vec<_>>());
        assert_eq!(again.choose(Site::Tie, 5, 0, 9), 0, "unlisted: the default");

        record.schedule = Schedule::Seed;
        let mut again = Decider::replay(3, &record);
        assert_eq!(again.choose(Site::Tie, 5, 0, 900), Decider::new(3).choose(Site::Tie, 5, 0, 900));
    }
}
