//! `tree`: the files of a data root with their sizes and what each is. Takes no lock, needs no engine, follows no link.
//!
//! What a file is shows in its content: the head of logs and tables is read, the other files are read whole. Whether it is
//! in use shows in the newest manifest of its space. A running engine makes and removes files meanwhile: one that
//! vanishes is left out, and one that is younger than the manifest that was read counts as not listed.
use crate::args::TreeArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::inspect::read_up_to;
use crate::output::{bytes, count, json_line, put_bytes, table};
use bulkhead::SpaceId;
use bulkhead::inspect::{Detail, Fact, Field, Inspector, inspect};
use bulkhead::paths::{
    ENGINE_FILE, LOCK_FILE, Named, QUARANTINE_DIR, RESERVE_FILE, SPACE_FILE, TIER_DIRS, WAL_DIR,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Write};
use std::ops::AddAssign;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How names of manifests begin.
const MANIFEST: &[u8] = b"MANIFEST-";

/// Prints what is below the data root; fails if a file of ours does not verify.
pub fn run(root: &Path, args: &TreeArgs) -> Result<(), Failure> {
    let mut tree = Tree { spaces: args.spaces.iter().map(SpaceId::dir_name).collect(), ..Tree::default() };
    tree.root(root)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if args.json {
        tree.rows.iter().try_for_each(|row| json_line(&mut out, &row.json(root)))?;
    } else {
        let rows: Vec<_> = tree.rows.iter().map(Row::cells).collect();
        table(&mut out, ["LENGTH", "ALLOCATED", "ENTRY", "WHAT"], &rows)?;
    }
    out.flush()?;
    match tree.damaged {
        0 => Ok(()),
        n => {
            let files = count(n, "file");
            Err(Failure::Failed(format!(
                "{files} of ours cannot be read or verified; `bulkhead inspect FILE` says more"
            )))
        }
    }
}

/// Bytes of files: as they are long, and as they take room.
#[derive(Debug, Default, Clone, Copy)]
struct Room {
    length: u64,
    allocated: u64,
}

impl Room {
    fn of(metadata: &Metadata) -> Room {
        Room { length: metadata.len(), allocated: metadata.blocks() * 512 }
    }
}

impl AddAssign for Room {
    fn add_assign(&mut self, other: Room) {
        self.length += other.length;
        self.allocated += other.allocated;
    }
}

/// One line.
#[derive(Debug)]
struct Row {
    path: PathBuf,
    depth: usize,
    directory: bool,
    /// Of a directory, of all files below it that are shown.
    room: Room,
    what: String,
    /// What `what` says of a file of ours, by name.
    fields: Vec<(&'static str, Field)>,
    damages: Vec<String>,
}

impl Row {
    fn cells(&self) -> [String; 4] {
        let name = match self.depth {
            0 => escape(self.path.as_os_str().as_bytes()),
            _ => escape(self.path.file_name().unwrap_or_default().as_bytes()),
        };
        let mut what = self.what.clone();
        // People find the uids of files in their names, and those of spaces in SPACE.
        let identity = matches!(self.what.as_str(), "root" | "space");
        let hidden = |name: &str| {
            !identity && matches!(name, "file" | "space" | "uid" | "origin" | "created_ms" | "tail_at")
        };
        for (name, field) in self.fields.iter().filter(|(name, _)| !hidden(name)) {
            what += &match field {
                Field::Number(n) => format!("  {name} {n}"),
                Field::Text(text) => format!("  {name} {text}"),
                Field::Bytes(bytes) => format!("  {name} \"{}\"", escape(bytes)),
            };
        }
        for damage in &self.damages {
            what += &format!("; DAMAGED: {damage}");
        }
        let slash = if self.directory { "/" } else { "" };
        let entry = format!("{:indent$}{name}{slash}", "", indent = 2 * self.depth);
        [bytes(self.room.length), bytes(self.room.allocated), entry, what]
    }

    fn json(&self, root: &Path) -> Map<String, Value> {
        let mut object = Map::new();
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        put_bytes(&mut object, "path", path.as_os_str().as_bytes());
        object.insert("directory".into(), self.directory.into());
        object.insert("length".into(), self.room.length.into());
        object.insert("allocated".into(), self.room.allocated.into());
        object.insert("what".into(), self.what.as_str().into());
        let mut fields = Map::new();
        for (name, field) in &self.fields {
            match field {
                Field::Number(n) => drop(fields.insert((*name).into(), (*n).into())),
                Field::Text(text) => drop(fields.insert((*name).into(), text.as_str().into())),
                Field::Bytes(bytes) => put_bytes(&mut fields, name, bytes),
            }
        }
        object.insert("fields".into(), fields.into());
        object.insert("damages".into(), self.damages.clone().into());
        object
    }
}

/// What the newest manifest of a space says.
#[derive(Debug, Default)]
struct Listed {
    generation: u64,
    /// The uids of the files that it lists, as they are shown.
    files: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Tree {
    /// Directories of the spaces that are shown; empty for everything.
    spaces: BTreeSet<String>,
    rows: Vec<Row>,
    /// Files of ours that do not verify.
    damaged: u64,
}

impl Tree {
    fn root(&mut self, root: &Path) -> Result<(), Failure> {
        let entries = entries(root).map_err(|e| Failure::file("read", root, &e))?;
        let at = self.push(root, 0, true, Room::default(), "data root");
        let mut spaces = 0;
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !self.spaces.is_empty() && !self.spaces.contains(&name) {
                continue;
            }
            let Some(metadata) = metadata(&path) else { continue };
            let room = match Named::of(&name) {
                Named::Space(id) if metadata.is_dir() && holds_a_space(&path) => {
                    spaces += 1;
                    self.space(&path, &format!("space {id}"))
                }
                Named::Creating if metadata.is_dir() => {
                    self.space(&path, "a space that was not made to the end; the next opening removes it")
                }
                Named::Deleted if metadata.is_dir() => {
                    self.space(&path, "a space that is deleted; what is left is being removed")
                }
                _ if metadata.is_file() && name == ENGINE_FILE => self.ours(&path, 1, &metadata, None),
                _ if metadata.is_file() && name == LOCK_FILE => {
                    self.leaf(&path, 1, &metadata, "lock of the data root")
                }
                _ if metadata.is_file() && name == RESERVE_FILE => {
                    self.leaf(&path, 1, &metadata, "room kept for deletes on a full disk")
                }
                _ => self.foreign(&path, 1, &metadata),
            };
            self.rows[at].room += room;
        }
        self.rows[at].what = format!("data root of {}", count(spaces, "space"));
        Ok(())
    }

    fn push(&mut self, path: &Path, depth: usize, directory: bool, room: Room, what: &str) -> usize {
        let (path, what) = (path.to_owned(), what.to_owned());
        let (fields, damages) = (Vec::new(), Vec::new());
        self.rows.push(Row { path, depth, directory, room, what, fields, damages });
        self.rows.len() - 1
    }

    fn leaf(&mut self, path: &Path, depth: usize, metadata: &Metadata, what: &str) -> Room {
        let room = Room::of(metadata);
        self.push(path, depth, metadata.is_dir(), room, what);
        room
    }

    /// What is none of ours is named and not looked into.
    fn foreign(&mut self, path: &Path, depth: usize, metadata: &Metadata) -> Room {
        let what = match () {
            () if metadata.is_symlink() => "not ours: a symbolic link, not followed",
            () if metadata.is_dir() => "not ours: a directory, not looked into",
            () if metadata.is_file() => "not ours: a file",
            () => "not ours: a pipe, socket or device",
        };
        self.leaf(path, depth, metadata, what)
    }

    fn space(&mut self, dir: &Path, what: &str) -> Room {
        let at = self.push(dir, 1, true, Room::default(), what);
        let mut listed = None;
        // Manifests come first in order of names, so what they list is known when the files are looked at.
        for path in self.entries_of(dir, at) {
            let Some(metadata) = metadata(&path) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let room = match name.as_str() {
                WAL_DIR if metadata.is_dir() => self.files(&path, "the log", listed.as_ref()),
                QUARANTINE_DIR if metadata.is_dir() => self.files(&path, "set aside by a repair", None),
                tier if metadata.is_dir() && TIER_DIRS.contains(&tier) => {
                    self.files(&path, "tables", listed.as_ref())
                }
                SPACE_FILE if metadata.is_file() => self.ours(&path, 2, &metadata, None),
                name if metadata.is_file() && name.as_bytes().starts_with(MANIFEST) => {
                    self.manifest(&path, &metadata, &mut listed)
                }
                _ => self.foreign(&path, 2, &metadata),
            };
            self.rows[at].room += room;
        }
        self.rows[at].room
    }

    /// The entries of a directory of ours; what keeps them from being read is damage.
    fn entries_of(&mut self, dir: &Path, at: usize) -> Vec<PathBuf> {
        entries(dir).unwrap_or_else(|e| {
            if e.kind() != ErrorKind::NotFound {
                self.damaged += 1;
                self.rows[at].damages.push(format!("cannot be listed: {e}"));
            }
            Vec::new()
        })
    }

    fn files(&mut self, dir: &Path, what: &str, listed: Option<&Listed>) -> Room {
        let at = self.push(dir, 2, true, Room::default(), what);
        for path in self.entries_of(dir, at) {
            let Some(metadata) = metadata(&path) else { continue };
            let room = match metadata.is_file() {
                true => self.ours(&path, 3, &metadata, listed),
                false => self.foreign(&path, 3, &metadata),
            };
            self.rows[at].room += room;
        }
        self.rows[at].room
    }

    fn manifest(&mut self, path: &Path, metadata: &Metadata, newest: &mut Option<Listed>) -> Room {
        let first = self.rows.len();
        let mut listed = Listed::default();
        let room = self.look(path, 2, metadata, &mut listed);
        let older = newest.as_ref().is_some_and(|n| n.generation >= listed.generation);
        if listed.generation > 0 && !older {
            *newest = Some(listed);
        }
        for row in &mut self.rows[first..] {
            row.what += if older { ", superseded" } else { "" };
        }
        room
    }

    fn ours(&mut self, path: &Path, depth: usize, metadata: &Metadata, listed: Option<&Listed>) -> Room {
        let first = self.rows.len();
        let room = self.look(path, depth, metadata, &mut Listed::default());
        for row in &mut self.rows[first..] {
            let uid = row.fields.iter().find_map(|(name, field)| match field {
                Field::Text(uid) if *name == "file" => Some(uid),
                _ => None,
            });
            if let (Some(listed), Some(uid)) = (listed, uid)
                && !listed.files.contains(uid)
            {
                row.what += ", not listed by the manifest";
            }
        }
        room
    }

    /// Adds a row of what a file shows; none if it is gone.
    fn look(&mut self, path: &Path, depth: usize, metadata: &Metadata, listed: &mut Listed) -> Room {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Room::default(),
            Err(e) => {
                let room = self.leaf(path, depth, metadata, "unreadable");
                self.damaged += 1;
                self.rows.last_mut().expect("just added").damages.push(e.to_string());
                return room;
            }
        };
        let len = metadata.len();
        let mut head = Head { file, len, head: None, damages: Vec::new(), listed };
        // What ends it early is in the head already.
        let ended = inspect(&mut head, Detail::Parts);
        let Head { head, mut damages, .. } = head;
        if let Err(Ends::Unreadable(e)) = ended {
            damages.push(e);
        }
        let room = self.leaf(path, depth, metadata, head.as_ref().map_or("unknown", |fact| fact.what));
        self.damaged += u64::from(!damages.is_empty());
        let row = self.rows.last_mut().expect("just added");
        row.damages = damages;
        row.fields = head.map(|fact| fact.fields).unwrap_or_default();
        room
    }
}

/// Entries of a directory, in order of names; manifests of higher generations first.
fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.push(entry?.path());
    }
    found.sort();
    let is_manifest = |path: &PathBuf| path.file_name().is_some_and(|n| n.as_bytes().starts_with(MANIFEST));
    let (mut manifests, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_manifest);
    manifests.reverse();
    manifests.extend(others);
    Ok(manifests)
}

/// As the engine sees it: what is there, however damaged, makes a directory a space.
fn holds_a_space(dir: &Path) -> bool {
    let ours = |name: &[u8]| {
        [SPACE_FILE, WAL_DIR].iter().any(|n| n.as_bytes() == name) || name.starts_with(MANIFEST)
    };
    entries(dir)
        .map_or(true, |all| all.iter().any(|path| path.file_name().is_some_and(|n| ours(n.as_bytes()))))
}

/// Of the entry itself, not of what it links to; `None` if it is gone.
fn metadata(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok()
}

/// Why an inspection is over.
enum Ends {
    /// What is wanted is known.
    Enough,
    Unreadable(String),
}

/// Takes the first fact of a file, what a manifest lists, and damage.
struct Head<'a> {
    file: File,
    len: u64,
    head: Option<Fact>,
    damages: Vec<String>,
    listed: &'a mut Listed,
}

impl Inspector for Head<'_> {
    type Error = Ends;

    fn file_len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Ends> {
        read_up_to(&self.file, offset, len).map_err(|e| Ends::Unreadable(e.to_string()))
    }

    fn say(&mut self, fact: &Fact) -> Result<(), Ends> {
        let text = |name: &str| {
            fact.fields.iter().find_map(|(n, field)| match field {
                Field::Text(text) if *n == name => Some(text.clone()),
                _ => None,
            })
        };
        if fact.what == Fact::DAMAGE {
            let part = text("part").unwrap_or_default();
            let expected = text("expected").unwrap_or_default();
            self.damages.push(format!("{part} at {}: expected {expected}", fact.offset));
            return Ok(());
        }
        let Some(head) = &self.head else {
            self.head = Some(fact.clone());
            if fact.what == "manifest" {
                let generation = text("generation").and_then(|g| u64::from_str_radix(&g, 16).ok());
                self.listed.generation = generation.unwrap_or(0);
            }
            let large = matches!(fact.what, "segment" | "table");
            return if large { Err(Ends::Enough) } else { Ok(()) };
        };
        if head.what == "manifest" && matches!(fact.what, "segment" | "table") {
            self.listed.files.extend(text("file"));
        }
        Ok(())
    }
}
