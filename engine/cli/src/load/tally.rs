//! What became of the files of one space.
use bulkhead::SpaceId;
use serde::Serialize;

/// Counts of one space; the threads that write to it each have their own, added up at the end.
#[derive(Debug, Serialize)]
pub struct Tally {
    pub space: SpaceId,
    /// Written and acknowledged.
    pub written: u64,
    pub written_bytes: u64,
    /// There before, and taken to be the same.
    pub present: u64,
    /// Of `present`, those whose length alone was compared.
    pub by_length: u64,
    /// Longer than a value may be.
    pub too_large: u64,
    /// There before with another value, and left so.
    pub different: u64,
    /// Not read, not written, or not acknowledged.
    pub failed: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(space: &SpaceId) -> Tally {
        Tally {
            space: space.clone(),
            written: 0,
            written_bytes: 0,
            present: 0,
            by_length: 0,
            too_large: 0,
            different: 0,
            failed: 0,
        }
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Tally) {
        self.written += other.written;
        self.written_bytes += other.written_bytes;
        self.present += other.present;
        self.by_length += other.by_length;
        self.too_large += other.too_large;
        self.different += other.different;
        self.failed += other.failed;
    }

    /// Whether every file was stored or taken to be there.
    pub fn is_loaded(&self) -> bool {
        self.too_large + self.different + self.failed == 0
    }

    /// Whether the space is known to hold every file as it is on disk.
    pub fn is_complete(&self) -> bool {
        self.is_loaded() && self.by_length == 0
    }
}
