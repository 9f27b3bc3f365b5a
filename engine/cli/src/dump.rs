//! `dump`: the entries of a space as files, each key a path relative to a directory.
//!
//! No key leads out of that directory: only keys that are plain relative paths are written, and only through
//! directories that are no symbolic links. A file that is there with other content stays, unless it may be replaced.
use crate::args::DumpArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{bytes, count, json_line};
use crate::session::with_space;
use crate::settings::Settings;
use bulkhead::Direction;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Serialize)]
struct Dumped {
    written: u64,
    written_bytes: u64,
    /// There already with the same content.
    unchanged: u64,
    /// Keys that are no plain relative path, or that would lead through a link.
    refused: u64,
    /// Files there with other content, left as they are.
    kept: u64,
    failed: u64,
}

/// Whether files with other content are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Keep,
    Replace,
}

enum Written {
    New,
    Unchanged,
    KeptOther,
    Refused(&'static str),
}

/// Dumps the space as of one moment. Fails unless every entry is a file now.
pub fn run(settings: &Settings, args: DumpArgs) -> Result<(), Failure> {
    let other = if args.force { Other::Replace } else { Other::Keep };
    let mut target = Target { root: &args.dir, other, dirs: BTreeSet::new() };
    let dumped = with_space(settings, args.space.as_ref(), |space| {
        // Only now: a space that is not there leaves no directory behind.
        std::fs::create_dir_all(&args.dir).map_err(|e| Failure::file("made", &args.dir, &e))?;
        let mut dumped = Dumped::default();
        for entry in space.scan::<&[u8]>(.., Direction::Ascending) {
            let (key, value) = entry?;
            let shown = escape(&key);
            match target.write(&key, &value) {
                Ok(Written::New) => {
                    dumped.written += 1;
                    dumped.written_bytes += value.len() as u64;
                }
                Ok(Written::Unchanged) => dumped.unchanged += 1,
                Ok(Written::KeptOther) => {
                    dumped.kept += 1;
                    eprintln!("{shown}: there with other content; left as it is (--force replaces it)");
                }
                Ok(Written::Refused(why)) => {
                    dumped.refused += 1;
                    eprintln!("{shown}: refused: {why}");
                }
                Err(e) => {
                    dumped.failed += 1;
                    eprintln!("{shown}: could not be written: {e}");
                }
            }
        }
        Ok(dumped)
    })?;
    let mut out = io::stdout().lock();
    if args.json {
        json_line(&mut out, &dumped)?;
    } else {
        let Dumped { written, written_bytes, unchanged, refused, kept, failed } = dumped;
        writeln!(
            out,
            "{} written ({}), {unchanged} unchanged, {kept} kept with other content, {refused} refused, \
             {failed} failed",
            count(written, "file"),
            bytes(written_bytes)
        )?;
    }
    if dumped.refused + dumped.kept + dumped.failed == 0 { Ok(()) } else { Err(Failure::Said) }
}

struct Target<'a> {
    root: &'a Path,
    other: Other,
    /// Directories below the root that are there and are no links.
    dirs: BTreeSet<PathBuf>,
}

impl Target<'_> {
    fn write(&mut self, key: &[u8], value: &[u8]) -> io::Result<Written> {
        let parts = match parts(key) {
            Ok(parts) => parts,
            Err(why) => return Ok(Written::Refused(why)),
        };
        let (name, dirs) = parts.split_last().expect("a key has at least one part");
        let mut dir = self.root.to_path_buf();
        for part in dirs {
            dir.push(part);
            if self.dirs.contains(&dir) {
                continue;
            }
            match std::fs::symlink_metadata(&dir) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Ok(Written::Refused("a part of its path is there and is no directory")),
                Err(e) if e.kind() == io::ErrorKind::NotFound => std::fs::create_dir(&dir)?,
                Err(e) => return Err(e),
            }
            self.dirs.insert(dir.clone());
        }
        self.write_file(&dir.join(name), value)
    }

    fn write_file(&self, path: &Path, value: &[u8]) -> io::Result<Written> {
        match std::fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(meta) if meta.is_dir() => return Ok(Written::Refused("there is a directory of its name")),
            Ok(meta) => {
                let same =
                    meta.is_file() && meta.len() == value.len() as u64 && std::fs::read(path)? == value;
                match self.other {
                    _ if same => return Ok(Written::Unchanged),
                    Other::Keep => return Ok(Written::KeptOther),
                    // Removed rather than written over: a link is replaced, not followed.
                    Other::Replace => std::fs::remove_file(path)?,
                }
            }
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(value)?;
        Ok(Written::New)
    }
}

/// The parts of a key that is a plain relative path: read back as a path, it is the same key.
fn parts(key: &[u8]) -> Result<Vec<&std::ffi::OsStr>, &'static str> {
    use std::os::unix::ffi::OsStrExt;
    if key.first() == Some(&b'/') {
        return Err("an absolute path");
    }
    if key.contains(&0) {
        return Err("a NUL byte, which no file name can hold");
    }
    let parts: Vec<&[u8]> = key.split(|&b| b == b'/').collect();
    if parts.contains(&&b".."[..]) {
        return Err("\"..\" would lead out of the directory");
    }
    if parts.iter().any(|p| p.is_empty() || *p == b".") {
        return Err("an empty part or \".\", which another key may mean too");
    }
    Ok(parts.into_iter().map(std::ffi::OsStr::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_written() {
        for bad in ["/a", "..", "../a", "a/../b", "a/..", "a\0b", "a//b", "a/", "./a", "a/.", "", "/"] {
            assert!(parts(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for ok in ["a", "a/b", "...", "a/..b", " ", "-", "\\", "a\nb", "~"] {
            assert!(parts(ok.as_bytes()).is_ok(), "{ok:?}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_or_over_other_content() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("file-link")).unwrap();
        std::fs::write(root.path().join("mine"), "old").unwrap();
        let mut target = Target { root: root.path(), other: Other::Keep, dirs: BTreeSet::new() };
        assert!(matches!(target.write(b"link/victim", b"x").unwrap(), Written::Refused(_)));
        assert!(matches!(target.write(b"link/new", b"x").unwrap(), Written::Refused(_)));
        assert!(matches!(target.write(b"file-link", b"x").unwrap(), Written::KeptOther));
        assert!(matches!(target.write(b"mine", b"new").unwrap(), Written::KeptOther));
        assert!(matches!(target.write(b"mine", b"old").unwrap(), Written::Unchanged));
        assert!(matches!(target.write(b"mine/below", b"x").unwrap(), Written::Refused(_)));
        target.other = Other::Replace;
        assert!(matches!(target.write(b"file-link", b"x").unwrap(), Written::New));
        assert!(matches!(target.write(b"mine", b"new").unwrap(), Written::New));
        assert_eq!(std::fs::read(&victim).unwrap(), b"theirs");
        assert_eq!(std::fs::read(root.path().join("mine")).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
