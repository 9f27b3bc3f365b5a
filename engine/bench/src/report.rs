//! Tables for people, and one line for programs.
use crate::rounds::Samples;

/// Whether more or less is better.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// Collects the figures of all benchmarks.
#[derive(Debug, Default)]
pub struct Report {
    line: Vec<String>,
    missed: Vec<String>,
}

impl Report {
    /// Begins a table.
    pub fn title(&mut self, title: &str) {
        println!("\n{title}");
    }

    /// A table of `samples` of `operations` a round each, with how fast each is beside the first. Returns nothing:
    /// figures are kept by [`Report::figure`].
    pub fn throughput(&mut self, prefix: &str, operations: usize, samples: &[Samples]) {
        println!(
            "  {:34} {:>12} {:>12} {:>12} {:>8}",
            "way", "µs an op", "CPU µs an op", "ops a second", "ratio"
        );
        for s in samples {
            let (wall, cpu) = (s.wall() / operations as f64 * 1e6, s.cpu() / operations as f64 * 1e6);
            let ratio = 1.0 / s.times(&samples[0]);
            println!("  {:34} {wall:12.2} {cpu:12.2} {:12.0} {ratio:8.2}", s.name, 1e6 / wall);
            let key = format!("{prefix}.{}", s.name.replace([' ', ',', '+'], "_").replace("__", "_"));
            self.figure(&format!("{key}.ratio"), ratio);
            self.figure(&format!("{key}.cpu_us"), cpu);
        }
    }

    /// How the first of `samples`, which is the engine's, stands beside fjall's and redb's, the second and third.
    pub fn beside(&mut self, key: &str, samples: &[Samples], fjall: Target, redb: Target) {
        self.verdict(&format!("{key}.vs_fjall"), samples[1].times(&samples[0]), fjall);
        self.verdict(&format!("{key}.vs_redb"), samples[2].times(&samples[0]), redb);
    }

    /// Prints and keeps a figure that has no target.
    pub fn told(&mut self, key: &str, value: f64) {
        println!("  {key} = {value:.2}");
        self.figure(key, value);
    }

    /// Keeps a figure for the line at the end.
    pub fn figure(&mut self, key: &str, value: f64) {
        self.line.push(format!("{key}={value:.3}"));
    }

    /// Prints and keeps a figure that has a target.
    pub fn verdict(&mut self, key: &str, value: f64, target: Target) {
        let (met, bound) = match target {
            Target::AtLeast(t) => (value >= t, format!("at least {t}")),
            Target::AtMost(t) => (value <= t, format!("at most {t}")),
        };
        println!("  {key} = {value:.2}, {bound} wanted: {}", if met { "met" } else { "MISSED" });
        self.figure(key, value);
        if !met {
            self.missed.push(key.to_owned());
        }
    }

    /// Prints the line.
    pub fn finish(&self) {
        let missed = if self.missed.is_empty() { "none".to_owned() } else { self.missed.join(",") };
        println!("\n{} missed={missed}", self.line.join(" "));
    }
}
