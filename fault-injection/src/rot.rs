//! Damage to bytes that were durable (F16, F17): the disk forgets or changes what it had promised to keep.
use crate::decide::Site;
use crate::dir::Ino;
use crate::disk::Node;
use crate::file::FileNode;
use crate::image::SECTOR;
use crate::inspect::walk;
use crate::plan::FaultKind;
use crate::world::{State, View, World};
use serde::{Deserialize, Serialize};

/// How a sector rots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rot {
    /// One bit is flipped.
    Flip,
    /// It reads as zeros.
    Zero,
    /// It changes places with another sector of its file.
    Swap,
    /// It cannot be read until it is written again (F16).
    Dead,
}

/// What rotted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotted {
    pub path: String,
    /// Of the first byte of the sector.
    pub offset: u64,
    pub rot: Rot,
}

const KIND: FaultKind = FaultKind::F17Rot;

impl World {
    /// Damages one durable sector of a file whose path `which` accepts: which one, and how, is a keyed decision for
    /// `owner`. `None` if there is none. Only sectors without unsynced changes rot, so that what was damaged is what
    /// had been promised.
    pub fn rot(&self, owner: u64, which: impl Fn(&str) -> bool) -> Option<Rotted> {
        self.rot_as(owner, which, None)
    }

    /// The same, damaging it in this way.
    pub fn rot_as(&self, owner: u64, which: impl Fn(&str) -> bool, rot: Option<Rot>) -> Option<Rotted> {
        let mut state = self.state();
        let mut files: Vec<(String, Ino, Vec<u64>)> = Vec::new();
        walk_files(&state, |path, ino, file| {
            let sectors = if which(path) { rottable(file) } else { Vec::new() };
            if !sectors.is_empty() {
                files.push((path.to_owned(), ino, sectors));
            }
        });
        let mut choose = |n: usize| {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            state.decider.choose_next(Site::Detail(KIND), owner, n) as usize
        };
        if files.is_empty() {
            return None;
        }
        let (path, ino, sectors) = files.swap_remove(choose(files.len()));
        let sector = sectors[choose(sectors.len())];
        let rot = rot.unwrap_or([Rot::Flip, Rot::Zero, Rot::Swap][choose(3)]);
        let other = sectors[choose(sectors.len())];
        let bit = choose(SECTOR * 8);
        let rot = state.damage(ino, sector, other, bit, rot);
        Some(Rotted { path, offset: sector * SECTOR as u64, rot })
    }

    /// A file holds the bytes of another one, durably, as after writes that went astray (F19) or a backup restored to
    /// the wrong place (F20). Its own owner counts as their writer: what to make of them is up to the program's checks.
    ///
    /// # Panics
    /// When either is no file.
    pub fn misdirect(&self, from: &str, to: &str) {
        let bytes = self.read_file(from, View::Seen).expect("there is such a file");
        let mut state = self.state();
        let ino = state.disk.find(to, |dir| &dir.seen).expect("there is such a file");
        state.disk.change_file(ino, |file| {
            let sectors = file.cached.len().min(bytes.len() as u64) / SECTOR as u64;
            let (all, _) = bytes.as_chunks::<SECTOR>();
            for (sector, bytes) in (0..sectors).zip(all) {
                let writer = file.owner;
                file.cached.put_sector(sector, bytes, writer);
                file.durable.put_sector(sector, bytes, writer);
            }
        });
    }

    /// Damages the sector at `offset` of a file, whatever its state.
    ///
    /// # Panics
    /// When there is no such file or no such sector in it.
    pub fn rot_at(&self, path: &str, offset: u64, rot: Rot) {
        let mut state = self.state();
        let ino = state.disk.find(path, |dir| &dir.seen).expect("the file is there");
        let file = state.disk.file(ino);
        let sector = offset / SECTOR as u64;
        assert!(offset < file.cached.len(), "the sector is inside the file");
        let other = rottable(file).into_iter().find(|s| *s != sector).unwrap_or(sector);
        state.damage(ino, sector, other, (offset as usize % SECTOR) * 8, rot);
    }

    /// A file is not there any more (F20), as after a restore that missed it. False where its name is not durable, or
    /// about to change: then nothing was promised.
    ///
    /// # Panics
    /// When the directory is not there.
    pub fn lose(&self, path: &str) -> bool {
        let mut state = self.state();
        let (parent, name) = path.rsplit_once('/').expect("a path begins with a slash");
        let parent = state.disk.find(parent, |dir| &dir.seen).expect("the directory is there");
        state.disk.dir_mut(parent).expect("it is a directory").lose_durably(name)
    }
}

/// Written, durable and unchanged since.
fn rottable(file: &FileNode) -> Vec<u64> {
    let within = |s: &u64| s * (SECTOR as u64) < file.durable.len().min(file.cached.len());
    file.durable.written().filter(within).filter(|s| file.durable.same_sector(&file.cached, *s)).collect()
}

fn walk_files(state: &State, mut visit: impl FnMut(&str, Ino, &FileNode)) {
    let mut paths = Vec::new();
    walk(state, View::Seen, &mut |path, node| {
        if matches!(node, Node::File(_)) {
            paths.push(path.to_owned());
        }
    });
    for path in paths {
        let ino = state.disk.find(&path, |dir| &dir.seen).expect("just walked");
        visit(&path, ino, state.disk.file(ino));
    }
}

impl State {
    /// Returns how it rotted: a swap that would change nothing flips a bit instead, and so does zeroing zeros.
    fn damage(&mut self, ino: Ino, sector: u64, other: u64, bit: usize, rot: Rot) -> Rot {
        let file = self.disk.file_mut(ino);
        if rot == Rot::Dead {
            file.dead.insert(sector);
            file.marks.insert(sector, FaultKind::F16SectorDead);
            self.faults.drawn(FaultKind::F16SectorDead, 1);
            return rot;
        }
        let len = file.cached.len();
        let bytes = |file: &FileNode, s: u64| {
            file.cached.sector(s).map_or(([0; SECTOR], 0), |s| (*s.bytes, s.writer))
        };
        let (mine, writer) = bytes(file, sector);
        let (theirs, their_writer) = bytes(file, other);
        let whole = |s: u64| (s + 1) * (SECTOR as u64) <= len;
        let rot = match rot {
            Rot::Swap if mine == theirs || !whole(sector) || !whole(other) => Rot::Flip,
            Rot::Zero if mine == [0; SECTOR] => Rot::Flip,
            rot => rot,
        };
        let mut put = |s: u64, bytes: &[u8; SECTOR], writer: u64| {
            file.cached.put_sector(s, bytes, writer);
            file.durable.put_sector(s, bytes, writer);
            file.marks.insert(s, KIND);
            self.faults.drawn(KIND, 1);
        };
        match rot {
            Rot::Flip => {
                let mut bytes = mine;
                let inside = (len - sector * SECTOR as u64).min(SECTOR as u64) as usize * 8;
                let bit = bit % inside;
                bytes[bit / 8] ^= 1 << (bit % 8);
                put(sector, &bytes, writer);
            }
            Rot::Zero => put(sector, &[0; SECTOR], writer),
            Rot::Swap => {
                put(sector, &theirs, their_writer);
                put(other, &mine, writer);
            }
            Rot::Dead => unreachable!("returned above"),
        }
        rot
    }
}
