//! Where a space lies: the only place where a path of a space is built.
//!
//! ```text
//! <data_root>/
//!   .lock  .engine                 one process at a time; format level and root id
//!   .reserve                       bytes kept for deletes on a full disk; nothing is read from it
//!   alpha/                         one space; its name is the injective encoding of its id
//!     SPACE                        identity
//!     MANIFEST-<generation>-<uid>  which files it consists of
//!     wal/  hot/  warm/  cold/
//!     quarantine/                  what repair set aside
//!   .creating-<uid>/  .deleted-<uid>/   spaces on their way in and out
//! ```
use crate::ids::{SpaceId, SpaceUid};
use std::path::{Path, PathBuf};

/// The identity file of a space.
pub const SPACE_FILE: &str = "SPACE";
/// The log's directory.
pub const WAL_DIR: &str = "wal";
/// The tiers' directories, hottest first.
pub const TIER_DIRS: [&str; 3] = ["hot", "warm", "cold"];
/// Where repair sets aside what it removes from a space.
pub const QUARANTINE_DIR: &str = "quarantine";
/// The lock of a data root.
pub const LOCK_FILE: &str = ".lock";
/// Format level and id of a data root.
pub const ENGINE_FILE: &str = ".engine";
/// Bytes that are kept for deletes on a full disk.
pub const RESERVE_FILE: &str = ".reserve";
const CREATING: &str = ".creating-";
const DELETED: &str = ".deleted-";

/// The paths of one space under one data root: a pure function of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpacePaths {
    space: PathBuf,
}

impl SpacePaths {
    /// The paths of space `id` under `root`.
    #[must_use]
    pub fn new(root: &Path, id: &SpaceId) -> SpacePaths {
        SpacePaths { space: root.join(id.dir_name()) }
    }
    /// The space's own directory; everything of the space lies under it.
    #[must_use]
    pub fn space(&self) -> &Path {
        &self.space
    }
    /// The log's directory.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.space.join(WAL_DIR)
    }
    /// The hot tier's directory.
    #[must_use]
    pub fn hot(&self) -> PathBuf {
        self.space.join(TIER_DIRS[0])
    }
    /// The warm tier's directory.
    #[must_use]
    pub fn warm(&self) -> PathBuf {
        self.space.join(TIER_DIRS[1])
    }
    /// The cold tier's directory.
    #[must_use]
    pub fn cold(&self) -> PathBuf {
        self.space.join(TIER_DIRS[2])
    }
}

/// The name under the data root of a space that is being made.
#[must_use]
pub(crate) fn creating_name(uid: SpaceUid) -> String {
    format!("{CREATING}{uid}")
}

/// Whether `name` is one that [`creating_name`] makes.
#[must_use]
pub(crate) fn is_creating_name(name: &str) -> bool {
    name.strip_prefix(CREATING).is_some_and(is_uid)
}

/// The name under the data root of a space that was deleted.
#[must_use]
pub(crate) fn deleted_name(uid: SpaceUid) -> String {
    format!("{DELETED}{uid}")
}

/// Whether `name` is one that [`deleted_name`] makes.
#[must_use]
pub(crate) fn is_deleted_name(name: &str) -> bool {
    name.strip_prefix(DELETED).is_some_and(is_uid)
}

/// What a directory under a data root is by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// That of a space, if it holds one.
    Space(SpaceId),
    /// A space that was not made to the end; the next opening of the engine removes it.
    Creating,
    /// A space that was deleted, of which something is left.
    Deleted,
    /// None of ours.
    Other,
}

impl Named {
    /// What `name` says.
    #[must_use]
    pub fn of(name: &str) -> Named {
        match SpaceId::from_dir_name(name) {
            Some(id) => Named::Space(id),
            None if is_creating_name(name) => Named::Creating,
            None if is_deleted_name(name) => Named::Deleted,
            None => Named::Other,
        }
    }
}

fn is_uid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_space_lies_under_its_own_directory() {
        let paths = SpacePaths::new(Path::new("/data"), &SpaceId::new("Alpha").unwrap());
        assert_eq!(paths.space(), Path::new("/data/%41lpha"));
        let dirs = [paths.wal(), paths.hot(), paths.warm(), paths.cold()];
        assert_eq!(dirs.map(|d| d.file_name().unwrap().to_owned()), ["wal", "hot", "warm", "cold"]);
    }

    #[test]
    fn a_directory_under_way_is_never_taken_for_a_space() {
        let name = creating_name(SpaceUid([0xab; 16]));
        assert!(is_creating_name(&name) && SpaceId::from_dir_name(&name).is_none());
        for other in [".creating-", ".creating-zz", ".creating-xbababababababababababababababab"] {
            assert!(!is_creating_name(other), "{other}");
        }
        let name = deleted_name(SpaceUid([0xab; 16]));
        assert!(
            is_deleted_name(&name) && !is_creating_name(&name) && SpaceId::from_dir_name(&name).is_none()
        );
        for other in [".deleted-", ".deleted-zz", &name[1..], &name.to_uppercase(), &format!("{name}0")] {
            assert!(!is_deleted_name(other), "{other}");
        }
    }
}
