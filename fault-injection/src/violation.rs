//! What the engine must never do, whatever the disk does to it.
use serde::{Deserialize, Serialize};

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationKind {
    /// One space read bytes that another one wrote.
    ForeignRead,
    /// A strict handle read bytes that nobody ever wrote.
    UnwrittenRead,
    /// A handle opened for reading was written through, synced, allocated or cut.
    WriteToReadHandle,
    /// A rename onto a name that exists.
    RenameOntoExisting,
    /// A name that is not a single component of a path.
    BadName,
    /// A directory was to get another name while something below it was being changed.
    RenameUnderWork,
}

/// A rule that was broken. The run that holds one has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule.
    pub kind: ViolationKind,
    /// Virtual time in microseconds.
    pub at: u64,
    /// Who broke it.
    pub owner: u64,
    /// On what.
    pub path: String,
    /// The offset of the first sector concerned, for reads.
    pub offset: Option<u64>,
    /// Who wrote the bytes, for foreign reads.
    pub writer: Option<u64>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} by {:016x} on {} at {} us", self.kind, self.owner, self.path, self.at)?;
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        if let Some(writer) = self.writer {
            write!(f, ", written by {writer:016x}")?;
        }
        Ok(())
    }
}
