//! The figures of many runs.
use crate::execute::Report;
use crate::failure::{Failure, Guarantee};
use crate::probe::{Probe, Probes};
use crate::work::Work;
use bulkhead_fault_injection::{FaultKind, Tally};
use std::collections::BTreeMap;

/// What a hunt came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub seeds: u64,
    pub operations: u64,
    pub work: Work,
    pub ios: u64,
    pub crashes: u64,
    pub nested: u64,
    pub spaces: u64,
    pub spaces_max: u64,
    pub power_acknowledged: u64,
    pub lost_unacknowledged: u64,
    /// Deletions of spaces that were acknowledged.
    pub deletions: u64,
    /// Repairs of spaces that were answered Ok.
    pub repairs: u64,
    /// Pairs that counted: the struck space had trouble while others did at least ten operations.
    pub isolation_pairs: u64,
    /// Runs executed twice with the same trace.
    pub doubles: u64,
    pub faults: BTreeMap<FaultKind, Tally>,
    pub probes: Probes,
    pub found: Vec<Found>,
    pub seconds: f64,
    pub config: String,
}

/// What one seed showed to be wrong.
#[derive(Debug, Clone)]
pub struct Found {
    pub seed: u64,
    pub check: Check,
    pub what: Wrong,
}

/// How it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// A run by itself.
    Run,
    /// The same run twice.
    Double,
    /// A run with faults in one space against the run without.
    Pair,
}

/// What was wrong.
#[derive(Debug, Clone)]
pub enum Wrong {
    Broken(Failure),
    /// The program panicked.
    Panicked(String),
}

/// Exit code of a hunt that found nothing.
pub const PASS: u8 = 0;
/// The program crashed.
pub const CRASHED: u8 = 2;
/// A result was wrong.
pub const WRONG: u8 = 3;
/// Something did not come to its end.
pub const STUCK: u8 = 4;
/// Bad usage.
pub const USAGE: u8 = 64;

impl Wrong {
    /// The exit code that tells it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Wrong::Panicked(_) => CRASHED,
            Wrong::Broken(f) if f.guarantee == Guarantee::G9Liveness => STUCK,
            Wrong::Broken(_) => WRONG,
        }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Broken(failure) => write!(f, "{failure}"),
            Wrong::Panicked(message) => write!(f, "the program panicked: {message}"),
        }
    }
}

impl Summary {
    /// Adds one run.
    pub fn add(&mut self, report: &Report) {
        self.operations += report.operations;
        self.work.add(report.work);
        self.ios += report.ios;
        self.crashes += report.crashes;
        self.nested += report.nested;
        self.spaces += report.spaces;
        self.spaces_max = self.spaces_max.max(report.spaces);
        self.power_acknowledged += report.power_acknowledged;
        self.lost_unacknowledged += report.lost;
        self.deletions += report.deletions;
        self.repairs += report.repairs;
        self.add_effects(report);
    }

    /// Adds only what a run showed, not its size: for the second run of a pair.
    pub fn add_effects(&mut self, report: &Report) {
        self.probes.add(&report.probes);
        for (kind, tally) in &report.tallies {
            let sum = self.faults.entry(*kind).or_default();
            sum.drawn += tally.drawn;
            sum.effective += tally.effective;
        }
    }

    /// Adds another summary; the failures are sorted by seed afterwards.
    pub fn merge(&mut self, other: Summary) {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.work.add(other.work);
        self.ios += other.ios;
        self.crashes += other.crashes;
        self.nested += other.nested;
        self.spaces += other.spaces;
        self.spaces_max = self.spaces_max.max(other.spaces_max);
        self.power_acknowledged += other.power_acknowledged;
        self.lost_unacknowledged += other.lost_unacknowledged;
        self.deletions += other.deletions;
        self.repairs += other.repairs;
        self.isolation_pairs += other.isolation_pairs;
        self.doubles += other.doubles;
        self.probes.add(&other.probes);
        for (kind, tally) in &other.faults {
            let sum = self.faults.entry(*kind).or_default();
            sum.drawn += tally.drawn;
            sum.effective += tally.effective;
        }
        self.found.extend(other.found);
        self.found.sort_by_key(|f| f.seed);
    }

    /// Classes of faults that never had an effect.
    #[must_use]
    pub fn ineffective(&self) -> Vec<&'static str> {
        let effective = |kind: &FaultKind| self.faults.get(kind).is_some_and(|t| t.effective > 0);
        FaultKind::ALL.iter().filter(|k| !effective(k)).map(|k| k.name()).collect()
    }

    /// Spaces of a run, on average.
    #[must_use]
    pub fn spaces_mean(&self) -> f64 {
        self.spaces as f64 / self.seeds.max(1) as f64
    }

    /// The exit code: the first failure's.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.found.first().map_or(PASS, |f| f.what.exit_code())
    }

    /// Faults and probes, a line each.
    #[must_use]
    pub fn details(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for kind in FaultKind::ALL {
            let t = self.faults.get(kind).copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "fault {:<24} effective {:>9}  drawn {:>9}",
                kind.name(),
                t.effective,
                t.drawn
            );
        }
        for probe in Probe::ALL {
            let _ = writeln!(text, "probe {:<34} hit {:>9}", probe.name(), self.probes.count(*probe));
        }
        let _ = writeln!(text, "double runs with equal traces: {}", self.doubles);
        text
    }

    /// All figures on one line.
    #[must_use]
    pub fn figures(&self) -> String {
        let effective = FaultKind::ALL.len() - self.ineffective().len();
        let drawn = self.faults.values().filter(|t| t.drawn > 0).count();
        format!(
            "seeds={} ops={} ios={} crashes={} nested={} spaces_mean={:.1} spaces_max={} power_acked={} \
             lost_unacked={} flushes={} merges={} moves={} promotions={} deletions={} repairs={} faults={effective}/{drawn} iso_pairs={} probes={}/{} violations={} secs={:.1} config={}",
            self.seeds,
            self.operations,
            self.ios,
            self.crashes,
            self.nested,
            self.spaces_mean(),
            self.spaces_max,
            self.power_acknowledged,
            self.lost_unacknowledged,
            self.work.flushes,
            self.work.merges,
            self.work.moves,
            self.work.promotions,
            self.deletions,
            self.repairs,
            self.isolation_pairs,
            self.probes.reached(),
            Probe::ALL.len(),
            self.found.len(),
            self.seconds,
            self.config,
        )
    }
}
