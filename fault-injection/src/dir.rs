//! One directory: the names on the disk, the names that everybody sees, and the changes between the two.
//!
//! Rules C5 and C6 of the fault model live here, as far as they concern one directory.
use crate::decide::{Decider, Site, hash_bytes, mix};
use crate::plan::{FaultKind, Faults};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) type Name = Arc<str>;
pub(crate) type Ino = u64;
pub(crate) type Names = BTreeMap<Name, Ino>;

#[derive(Clone)]
pub(crate) enum NameChange {
    Link { name: Name, ino: Ino },
    Unlink { name: Name, ino: Ino },
    Rename { from: Name, to: Name, ino: Ino },
}

#[derive(Clone)]
struct Pending {
    seq: u64,
    /// Its place among all changes of names of the whole file system.
    journal: u64,
    owner: u64,
    change: NameChange,
}

#[derive(Clone)]
pub(crate) struct DirNode {
    /// Names the directory in decisions.
    pub(crate) key: u64,
    pub(crate) owner: u64,
    /// What everybody sees.
    pub(crate) seen: Arc<Names>,
    /// What a power cut leaves at least.
    pub(crate) durable: Arc<Names>,
    pending: Vec<Pending>,
    next_seq: u64,
    /// It has no name any more: nothing can be made in it.
    pub(crate) removed: bool,
    /// A sync of it failed: it refuses changes until the power is cut.
    pub(crate) refusing: bool,
    /// In this boot its next sync says Ok, and does nothing.
    pub(crate) feigns_in: Option<u64>,
    /// Names lost or resurrected that nobody has looked at yet.
    pub(crate) marks: BTreeMap<Name, FaultKind>,
}

impl DirNode {
    pub(crate) fn new(key: u64, owner: u64) -> DirNode {
        DirNode {
            key,
            owner,
            seen: Arc::default(),
            durable: Arc::default(),
            pending: Vec::new(),
            next_seq: 0,
            removed: false,
            refusing: false,
            feigns_in: None,
            marks: BTreeMap::new(),
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn change(&mut self, change: NameChange, owner: u64, journal: u64) {
        make(Arc::make_mut(&mut self.seen), &change);
        self.pending.push(Pending { seq: self.next_seq, journal, owner, change });
        self.next_seq += 1;
    }

    /// A name that is durable at once.
    pub(crate) fn put_durably(&mut self, name: &Name, ino: Ino) {
        Arc::make_mut(&mut self.seen).insert(name.clone(), ino);
        Arc::make_mut(&mut self.durable).insert(name.clone(), ino);
    }

    /// Takes a name away for good. False where it is not there for certain: seen and durable, with nothing pending.
    pub(crate) fn lose_durably(&mut self, name: &str) -> bool {
        let pending = |p: &Pending| match &p.change {
            NameChange::Link { name: n, .. } | NameChange::Unlink { name: n, .. } => **n == *name,
            NameChange::Rename { from, to, .. } => **from == *name || **to == *name,
        };
        let settled = self.seen.get(name).is_some_and(|ino| self.durable.get(name) == Some(ino));
        if !settled || self.pending.iter().any(pending) {
            return false;
        }
        Arc::make_mut(&mut self.seen).remove(name);
        Arc::make_mut(&mut self.durable).remove(name);
        true
    }

    /// C7: the changes below `upto` are durable. Returns the inodes that lost a name for good.
    pub(crate) fn sync(&mut self, upto: u64) -> Vec<Ino> {
        let n = self.pending.partition_point(|p| p.seq < upto);
        self.settle(n)
    }

    /// C6: the changes below `journal` are durable.
    pub(crate) fn commit(&mut self, journal: u64) -> Vec<Ino> {
        let n = self.pending.partition_point(|p| p.journal < journal);
        self.settle(n)
    }

    fn settle(&mut self, n: usize) -> Vec<Ino> {
        let mut unlinked = Vec::new();
        for pending in self.pending.drain(..n) {
            make(Arc::make_mut(&mut self.durable), &pending.change);
            if let NameChange::Unlink { ino, .. } = pending.change {
                unlinked.push(ino);
            }
        }
        unlinked
    }

    /// Whether any name, seen, durable or in between, still stands for `ino`.
    pub(crate) fn knows(&self, ino: Ino) -> bool {
        let pending = |p: &Pending| match p.change {
            NameChange::Link { ino: i, .. }
            | NameChange::Unlink { ino: i, .. }
            | NameChange::Rename { ino: i, .. } => i == ino,
        };
        self.seen.values().chain(self.durable.values()).any(|i| *i == ino) || self.pending.iter().any(pending)
    }

    /// The place of the oldest change that is not durable.
    pub(crate) fn first_pending_journal(&self) -> Option<u64> {
        self.pending.first().map(|p| p.journal)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    /// C5: each name independently keeps any version, except that a renamed one is never lost under both names, and
    /// a directory never has two. The caller gives what it knows of the inodes.
    pub(crate) fn cut_names(
        &mut self,
        cut: &mut NameCut<'_>,
        is_dir: impl Fn(Ino) -> bool,
    ) -> Vec<FaultKind> {
        let mut versions: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (i, p) in self.pending.iter().enumerate() {
            match &p.change {
                NameChange::Link { name, .. } | NameChange::Unlink { name, .. } => {
                    versions.entry(name.clone()).or_default().push(i);
                }
                NameChange::Rename { from, to, .. } => {
                    versions.entry(from.clone()).or_default().push(i);
                    versions.entry(to.clone()).or_default().push(i);
                }
            }
        }
        let mut kept: BTreeMap<Name, usize> = BTreeMap::new();
        for (name, changes) in &versions {
            let undoable =
                changes.iter().rev().take_while(|i| cut.allowed(&self.pending[**i], self.key)).count();
            let key = mix(self.key, hash_bytes(name.as_bytes()));
            kept.insert(name.clone(), changes.len() - cut.choose(key, undoable + 1));
        }
        self.keep_renamed(&versions, &mut kept);
        let mut names = Names::clone(&self.durable);
        let mut set_by: BTreeMap<Name, usize> = BTreeMap::new();
        for (i, p) in self.pending.iter().enumerate() {
            let survives = |name: &Name| versions[name][..kept[name]].contains(&i);
            let mut put = |name: &Name, ino: Option<Ino>| {
                if survives(name) {
                    match ino {
                        Some(ino) => names.insert(name.clone(), ino),
                        None => names.remove(name),
                    };
                    set_by.insert(name.clone(), i);
                }
            };
            match &p.change {
                NameChange::Link { name, ino } => put(name, Some(*ino)),
                NameChange::Unlink { name, .. } => put(name, None),
                NameChange::Rename { from, to, ino } => {
                    put(from, None);
                    put(to, Some(*ino));
                }
            }
        }
        one_name_for_directories(&mut names, &set_by, self.key, cut, is_dir);
        self.settle_names(names)
    }

    /// C6: what lies before `journal` happened, the rest did not.
    pub(crate) fn cut_journal(&mut self, journal: u64) -> Vec<FaultKind> {
        self.commit(journal);
        let names = Names::clone(&self.durable);
        self.settle_names(names)
    }

    fn keep_renamed(&self, versions: &BTreeMap<Name, Vec<usize>>, kept: &mut BTreeMap<Name, usize>) {
        let mut changed = true;
        while changed {
            changed = false;
            for (i, p) in self.pending.iter().enumerate() {
                let NameChange::Rename { from, to, .. } = &p.change else { continue };
                let gone = versions[from][..kept[from]].contains(&i);
                let needed = versions[to].partition_point(|v| *v <= i);
                if gone && kept[to] < needed {
                    kept.insert(to.clone(), needed);
                    changed = true;
                }
            }
        }
    }

    fn settle_names(&mut self, names: Names) -> Vec<FaultKind> {
        self.marks.clear();
        for (name, ino) in self.seen.iter() {
            if names.get(name) != Some(ino) {
                self.marks.insert(name.clone(), FaultKind::F04NameLost);
            }
        }
        for name in names.keys().filter(|n| !self.seen.contains_key(*n)) {
            self.marks.insert(name.clone(), FaultKind::F05UnlinkUndone);
        }
        self.durable = Arc::new(names);
        self.seen = self.durable.clone();
        self.pending.clear();
        self.removed = false;
        self.refusing = false;
        self.feigns_in = None;
        self.marks.values().copied().collect()
    }
}

/// Takes the decisions about one directory's unsynced names.
pub(crate) struct NameCut<'a> {
    pub(crate) decider: &'a mut Decider,
    pub(crate) faults: &'a Faults,
    pub(crate) occasion: u64,
    /// Whose directory it is.
    pub(crate) owner: u64,
}

impl NameCut<'_> {
    fn allowed(&mut self, pending: &Pending, key: u64) -> bool {
        let kind = match pending.change {
            NameChange::Link { .. } | NameChange::Rename { .. } => FaultKind::F04NameLost,
            NameChange::Unlink { .. } => FaultKind::F05UnlinkUndone,
        };
        let rate = self.faults.rate(kind, pending.owner);
        self.decider.permits(kind, pending.owner, mix(mix(key, pending.seq), self.occasion), rate)
    }

    fn choose(&mut self, key: u64, n: usize) -> usize {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.decider.choose(Site::CutName, self.owner, mix(key, self.occasion), n) as usize
    }
}

fn make(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link { name, ino } => {
            names.insert(name.clone(), *ino);
        }
        NameChange::Unlink { name, .. } => {
            names.remove(name);
        }
        NameChange::Rename { from, to, ino } => {
            names.remove(from);
            names.insert(to.clone(), *ino);
        }
    }
}

fn one_name_for_directories(
    names: &mut Names,
    set_by: &BTreeMap<Name, usize>,
    key: u64,
    cut: &mut NameCut<'_>,
    is_dir: impl Fn(Ino) -> bool,
) {
    let mut of: BTreeMap<Ino, Vec<Name>> = BTreeMap::new();
    for (name, ino) in names.iter().filter(|(_, ino)| is_dir(**ino)) {
        of.entry(*ino).or_default().push(name.clone());
    }
    for mut twice in of.into_values().filter(|n| n.len() > 1) {
        twice.sort_by_key(|name| std::cmp::Reverse(set_by.get(name).copied()));
        let stays = cut.choose(mix(key, hash_bytes(twice[0].as_bytes()) ^ 1), twice.len());
        twice.remove(stays);
        twice.iter().for_each(|name| {
            names.remove(name);
        });
    }
}
