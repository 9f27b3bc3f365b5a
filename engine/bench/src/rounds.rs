//! Several ways of doing one thing, in turn, round for round.
use crate::meter::{Cost, cost};

/// One way of doing it.
pub struct Way<'a> {
    pub name: &'static str,
    /// Does it once for a round; how many operations that were is the same for all ways.
    pub work: Box<dyn FnMut() + 'a>,
}

/// What a way cost in each round.
#[derive(Debug)]
pub struct Samples {
    pub name: &'static str,
    pub costs: Vec<Cost>,
}

/// Runs every way `rounds` times, after one round that does not count. Each round begins with another way, so that
/// none always has to clear up after the same other.
pub fn interleave(rounds: usize, mut ways: Vec<Way<'_>>) -> Vec<Samples> {
    let mut samples: Vec<Samples> =
        ways.iter().map(|w| Samples { name: w.name, costs: Vec::new() }).collect();
    for way in &mut ways {
        (way.work)();
    }
    for round in 0..rounds {
        for i in 0..ways.len() {
            let at = (round + i) % ways.len();
            samples[at].costs.push(cost(&mut ways[at].work));
        }
    }
    samples
}

impl Samples {
    /// Median of seconds a round.
    pub fn wall(&self) -> f64 {
        median(self.costs.iter().map(|c| c.wall.as_secs_f64()))
    }

    /// Median of CPU seconds a round.
    pub fn cpu(&self) -> f64 {
        median(self.costs.iter().map(|c| c.cpu.as_secs_f64()))
    }

    /// Median of how many times `other`'s time this took, round by round.
    pub fn times(&self, other: &Samples) -> f64 {
        let pairs = self.costs.iter().zip(&other.costs);
        median(pairs.map(|(a, b)| a.wall.as_secs_f64() / b.wall.as_secs_f64()))
    }
}

/// The middle of `values`; the upper one of two.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
