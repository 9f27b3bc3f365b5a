//! What a run found wrong.
use serde::{Deserialize, Serialize};

/// The guarantee of the design that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Guarantee {
    G1Durability,
    G2Prefix,
    G3Isolation,
    G4Honesty,
    G5Reads,
    G6FailedSync,
    G7Determinism,
    G8Erasure,
    G9Liveness,
    G10Bounded,
    /// A rule of the seam: the program did what no disk allows it to rely on.
    Contract,
}

/// A guarantee that did not hold, and how that showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub guarantee: Guarantee,
    pub what: String,
}

impl Failure {
    /// A failure; `what` names the space.
    #[must_use]
    pub fn new(guarantee: Guarantee, what: impl Into<String>) -> Failure {
        Failure { guarantee, what: what.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.guarantee, self.what)
    }
}
