//! Why something about a table failed.
use crate::env::IoError;
use crate::error::{Error, ErrorKind};
use crate::limits::TABLE_EXTENT_MAX;
use crate::table::Damage;
use std::path::PathBuf;

/// Why a table could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A verb failed; says nothing about what is on the disk.
    Io(IoError),
    /// The file holds something else than what was written, or less.
    Damaged { path: PathBuf, damage: Damage },
    /// There is no such file, and there should be one of `len` bytes.
    Missing { path: PathBuf, len: u64 },
    /// Range deletes that no table can hold, since they lie too close together to be parted. Nothing was written.
    Unparted { bytes: usize },
}

impl Failure {
    /// No room on the device: nothing is wrong with what is there, and trying again later may work.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Failure::Io(e) if e.is_no_space())
    }

    /// There is no such file, or no such directory.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Failure::Missing { .. }) || matches!(self, Failure::Io(e) if e.is_not_found())
    }
}

impl From<IoError> for Failure {
    fn from(e: IoError) -> Failure {
        Failure::Io(e)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Io(e) if e.is_no_space() => Error::io("there is no room for a table", e),
            Failure::Io(e) => {
                Error::io("a table could not be read or written", e).with_kind(ErrorKind::Failed)
            }
            Failure::Damaged { path, damage } => {
                Error::corrupt(format!("{} of a table is damaged", damage.what))
                    .at_path(path)
                    .at_offset(damage.offset)
                    .expected(damage.expected)
            }
            Failure::Unparted { bytes } => Error::new(
                ErrorKind::Failed,
                format!("range deletes of {bytes} bytes lie too close together for one table"),
            )
            .expected(format!(
                "at most {TABLE_EXTENT_MAX} bytes of them between keys whose first bytes differ"
            ))
            .advice("Drop old snapshots, so that older range deletes can go."),
            Failure::Missing { path, len } => Error::corrupt("a table is missing")
                .at_path(path)
                .expected(format!("a file of {len} bytes, which the manifest names")),
        }
    }
}
