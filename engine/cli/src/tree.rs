//! The files below a directory, and what is not stored of it.
use crate::failure::Failure;
use std::fs::DirEntry;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A regular file of the tree.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path relative to the tree, as bytes: its key.
    pub key: Vec<u8>,
    /// Its length when it was listed.
    pub len: u64,
}

/// A tree as it was listed.
#[derive(Debug, Default)]
pub struct Tree {
    pub root: PathBuf,
    /// By ascending key within each directory.
    pub files: Vec<SourceFile>,
    pub symlinks: u64,
    /// Sockets, pipes and devices.
    pub specials: u64,
    pub empty_dirs: u64,
}

impl Tree {
    /// Lists everything below `root`, following no link.
    pub fn list(root: &Path) -> Result<Tree, Failure> {
        let mut tree = Tree { root: root.to_path_buf(), ..Tree::default() };
        let mut below = Vec::new();
        tree.walk(&mut below)?;
        Ok(tree)
    }

    /// Where the file of `key` lies.
    pub fn path_of(root: &Path, key: &[u8]) -> PathBuf {
        root.join(std::ffi::OsStr::from_bytes(key))
    }

    fn walk(&mut self, below: &mut Vec<u8>) -> Result<(), Failure> {
        let dir = Tree::path_of(&self.root, below);
        let failed = |e: std::io::Error| Failure::file("read", &dir, &e);
        let mut entries =
            std::fs::read_dir(&dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        entries.sort_by_key(DirEntry::file_name);
        if entries.is_empty() {
            self.empty_dirs += 1;
        }
        for entry in entries {
            let kind = entry.file_type().map_err(failed)?;
            let above = below.len();
            if above > 0 {
                below.push(b'/');
            }
            below.extend(entry.file_name().into_vec());
            if kind.is_dir() {
                self.walk(below)?;
            } else if kind.is_file() {
                let len = entry.metadata().map_err(failed)?.len();
                self.files.push(SourceFile { key: below.clone(), len });
            } else if kind.is_symlink() {
                self.symlinks += 1;
            } else {
                self.specials += 1;
            }
            below.truncate(above);
        }
        Ok(())
    }
}
