//! What happened, as rolling hashes and, when asked for, as lines for people.
use crate::decide::mix;
use std::collections::VecDeque;

/// The trace of one world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: VecDeque<String>,
    keep: usize,
}

impl Trace {
    /// Adds an event that everybody can see.
    pub(crate) fn event(&mut self, now: u64, owner: u64, event: u64) {
        self.events += 1;
        self.hash = mix(mix(mix(self.hash, now), owner), event);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Whether anybody wants lines.
    pub(crate) fn is_readable(&self) -> bool {
        self.keep > 0
    }

    /// Keeps the last `lines` lines from now on; 0 switches them off.
    pub(crate) fn keep(&mut self, lines: usize) {
        self.keep = lines;
        let drop = self.lines.len().saturating_sub(lines);
        self.lines.drain(..drop);
    }

    /// Adds a line; it is only made when somebody wants it.
    pub(crate) fn line(&mut self, line: impl FnOnce() -> String) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(line());
    }

    pub(crate) fn tail(&self, n: usize) -> Vec<String> {
        self.lines.iter().skip(self.lines.len().saturating_sub(n)).cloned().collect()
    }
}
