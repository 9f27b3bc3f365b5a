//! What recovery tells about one space.
use crate::error::{Error, ErrorKind};
use crate::ids::{Lsn, SpaceId};
use serde::Serialize;

/// How a space came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryStatus {
    /// All that was ever written is there.
    Clean,
    /// The log ended in a legal torn tail; all acknowledged commits are there.
    TornTail,
    /// Acknowledged data is damaged or missing; nothing was changed.
    Corrupt,
    /// It could not be read now; nothing was changed.
    Failed,
}

/// What recovery found in one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveryReport {
    pub id: SpaceId,
    pub status: RecoveryStatus,
    /// Label of the row of the decision table that applied; empty where recovery did not come so far.
    pub case: &'static str,
    /// Commits read back from the log.
    pub commits: u64,
    /// Operations in them.
    pub operations: u64,
    /// Bytes of log read.
    pub bytes: u64,
    /// Bytes behind the last good frame that are not zero.
    pub torn_bytes: u64,
    /// Frames behind a torn one that verify; a legal crash leaves such, and they are not replayed.
    pub discarded_frames: u64,
    /// Commits that were not proven durable and were written and synced anew.
    pub copied_forward: u64,
    /// The last commit recovered.
    #[serde(serialize_with = "lsn_text")]
    pub last_lsn: Lsn,
    /// Tables that the manifest names.
    pub tables: u64,
    /// How long it took.
    pub micros: u64,
    /// What went wrong, for `Corrupt` and `Failed`.
    pub error: Option<String>,
    /// File and offset of the damage, where known.
    pub damage: Option<Damage>,
}

/// Where damage was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
}

impl RecoveryReport {
    /// The report of a space of which nothing was read yet.
    #[must_use]
    pub fn new(id: &SpaceId) -> RecoveryReport {
        RecoveryReport {
            id: id.clone(),
            status: RecoveryStatus::Clean,
            case: "",
            commits: 0,
            operations: 0,
            bytes: 0,
            torn_bytes: 0,
            discarded_frames: 0,
            copied_forward: 0,
            last_lsn: Lsn::ZERO,
            tables: 0,
            micros: 0,
            error: None,
            damage: None,
        }
    }

    /// The space was not opened.
    pub(crate) fn fails(&mut self, error: &Error) {
        self.status = match error.kind() {
            ErrorKind::Corrupt => RecoveryStatus::Corrupt,
            _ => RecoveryStatus::Failed,
        };
        self.error = Some(error.to_string());
    }
}

/// An LSN as people and reports write it.
pub(crate) fn lsn_text<S: serde::Serializer>(lsn: &Lsn, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(lsn)
}
