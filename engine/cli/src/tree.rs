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
    /// Directories that could not be listed, and entries that could not be looked at. Nothing below them is in `files`.
    pub unreadable: Vec<(PathBuf, std::io::Error)>,
}

impl Tree {
    /// Lists everything below `root`, following no link. What cannot be read below it is noted; `root` itself must be.
    pub fn list(root: &Path) -> Result<Tree, Failure> {
        let mut tree = Tree { root: root.to_path_buf(), ..Tree::default() };
        let entries = entries(root).map_err(|e| Failure::file("read", root, &e))?;
        tree.walk(entries, &mut Vec::new());
        Ok(tree)
    }

    /// Where the file of `key` lies.
    pub fn path_of(root: &Path, key: &[u8]) -> PathBuf {
        root.join(std::ffi::OsStr::from_bytes(key))
    }

    fn walk(&mut self, entries: Vec<DirEntry>, below: &mut Vec<u8>) {
        if entries.is_empty() {
            self.empty_dirs += 1;
        }
        for entry in entries {
            let above = below.len();
            if above > 0 {
                below.push(b'/');
            }
            below.extend(entry.file_name().into_vec());
            if let Err(e) = self.enter(&entry, below) {
                self.unreadable.push((Tree::path_of(&self.root, below), e));
            }
            below.truncate(above);
        }
    }

    /// Takes in one entry, which lies at `below`, with all below it.
    fn enter(&mut self, entry: &DirEntry, below: &mut Vec<u8>) -> std::io::Result<()> {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let entries = entries(&Tree::path_of(&self.root, below))?;
            self.walk(entries, below);
        } else if kind.is_file() {
            let len = entry.metadata()?.len();
            self.files.push(SourceFile { key: below.clone(), len });
        } else if kind.is_symlink() {
            self.symlinks += 1;
        } else {
            self.specials += 1;
        }
        Ok(())
    }
}

/// The entries of one directory by name.
fn entries(dir: &Path) -> std::io::Result<Vec<DirEntry>> {
    let mut entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}
