//! The file system as a whole: inodes, the way from a path to one, and what a power cut leaves of them.
use crate::decide::{Decider, Site, mix};
use crate::dir::{DirNode, Ino, Name, NameChange, NameCut};
use crate::file::FileNode;
use crate::plan::{FaultKind, Faults};
use crate::survive::Cut;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How directory changes survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirProfile {
    /// As little as POSIX promises: each name for itself, made durable only by a sync of its directory (C5).
    #[default]
    Posix,
    /// As ext4 and xfs do it: all changes of names form one journal of which a prefix survives; the sync of any file
    /// or directory makes everything before it durable (C6).
    Journaled,
}

#[derive(Clone)]
pub(crate) enum Node {
    File(Box<FileNode>),
    Dir(Box<DirNode>),
    Symlink,
}

pub(crate) const ROOT: Ino = 0;

#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) nodes: BTreeMap<Ino, Node>,
    next_ino: Ino,
    /// The place of the next change of names in the journal.
    pub(crate) journal: u64,
    pub(crate) profile: DirProfile,
    /// Bytes taken by all files together.
    pub(crate) used: u64,
}

impl Disk {
    pub(crate) fn new(profile: DirProfile) -> Disk {
        let root = Node::Dir(Box::new(DirNode::new(0, 0)));
        Disk { nodes: BTreeMap::from([(ROOT, root)]), next_ino: ROOT + 1, journal: 0, profile, used: 0 }
    }

    pub(crate) fn add(&mut self, node: Node) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        if let Node::File(file) = &node {
            self.used += file.cached.footprint();
        }
        self.nodes.insert(ino, node);
        ino
    }

    /// The file of an open handle.
    pub(crate) fn file(&self, ino: Ino) -> &FileNode {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => file,
            _ => unreachable!("an open file's inode is kept"),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> &mut FileNode {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => file,
            _ => unreachable!("an open file's inode is kept"),
        }
    }

    /// The directory of an open handle; `None` once it is gone for good.
    pub(crate) fn dir(&self, ino: Ino) -> Option<&DirNode> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    pub(crate) fn dir_mut(&mut self, ino: Ino) -> Option<&mut DirNode> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    /// Changes a file and keeps the count of used bytes right.
    pub(crate) fn change_file<T>(&mut self, ino: Ino, change: impl FnOnce(&mut FileNode) -> T) -> T {
        let file = self.file_mut(ino);
        let before = file.cached.footprint();
        let result = change(file);
        let after = file.cached.footprint();
        self.used = self.used + after - before;
        result
    }

    /// Changes a name in a directory.
    pub(crate) fn change_name(&mut self, dir: Ino, change: NameChange, owner: u64) {
        let journal = self.journal;
        self.journal += 1;
        if let NameChange::Unlink { ino, .. } = change
            && let Some(Node::Dir(gone)) = self.nodes.get_mut(&ino)
        {
            gone.removed = true;
        }
        self.dir_mut(dir).expect("the directory exists").change(change, owner, journal);
    }

    /// C7 for a directory: its changes below `upto` are durable; with a journal, all changes below `journal`.
    pub(crate) fn sync_dir(&mut self, ino: Ino, upto: u64, journal: u64) {
        match self.profile {
            DirProfile::Journaled => self.commit_journal(journal),
            DirProfile::Posix => {
                let unlinked = self.dir_mut(ino).map(|dir| dir.sync(upto)).unwrap_or_default();
                self.reclaim(ino, &unlinked);
            }
        }
    }

    /// C6: the changes of names below `journal` are durable.
    pub(crate) fn commit_journal(&mut self, journal: u64) {
        let dirs: Vec<Ino> = self
            .nodes
            .iter()
            .filter_map(|(ino, node)| match node {
                Node::Dir(dir) if !dir.is_clean() => Some(*ino),
                _ => None,
            })
            .collect();
        for ino in dirs {
            // One of the others may have taken it away for good.
            let unlinked = self.dir_mut(ino).map(|dir| dir.commit(journal)).unwrap_or_default();
            self.reclaim(ino, &unlinked);
        }
    }

    /// Forgets files and directories that have lost their last name for good and that nobody holds open.
    fn reclaim(&mut self, dir: Ino, unlinked: &[Ino]) {
        for ino in unlinked {
            let held = matches!(self.nodes.get(ino), Some(Node::File(file)) if file.is_open());
            if !held && self.dir(dir).is_some_and(|dir| !dir.knows(*ino)) {
                self.forget(*ino);
            }
        }
    }

    fn forget(&mut self, ino: Ino) {
        if let Some(Node::File(file)) = self.nodes.remove(&ino) {
            self.used -= file.cached.footprint();
        }
    }

    /// What a path stands for, in the tree that `names` selects.
    pub(crate) fn find(&self, path: &str, names: impl Fn(&DirNode) -> &BTreeMap<Name, Ino>) -> Option<Ino> {
        let mut at = ROOT;
        for part in path.split('/').filter(|p| !p.is_empty()) {
            at = *names(self.dir(at)?).get(part)?;
        }
        Some(at)
    }

    /// Cuts the power: what is durable, and a legal part of what is not, is all that is left.
    pub(crate) fn power_cut(&mut self, decider: &mut Decider, faults: &mut Faults, occasion: u64) {
        let unsynced: Vec<Ino> = self
            .nodes
            .iter()
            .filter_map(|(ino, node)| match node {
                Node::Dir(dir) => {
                    (!dir.is_clean() || dir.seen != dir.durable || dir.refusing).then_some(*ino)
                }
                _ => None,
            })
            .collect();
        let kinds: BTreeMap<Ino, bool> =
            self.nodes.iter().map(|(ino, node)| (*ino, matches!(node, Node::Dir(_)))).collect();
        let end = self.journal_end(decider, faults, occasion);
        for ino in unsynced {
            let Some(Node::Dir(dir)) = self.nodes.get_mut(&ino) else { continue };
            let lost = match self.profile {
                DirProfile::Journaled => dir.cut_journal(end),
                DirProfile::Posix => {
                    let owner = dir.owner;
                    let mut cut = NameCut { decider, faults, occasion, owner };
                    dir.cut_names(&mut cut, |ino| kinds.get(&ino).copied().unwrap_or(false))
                }
            };
            lost.into_iter().for_each(|kind| faults.drawn(kind, 1));
        }
        self.sweep();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => {
                    let owner = file.owner;
                    let lost = file.power_cut(&mut Cut { decider, faults, owner, occasion });
                    lost.into_iter().for_each(|kind| faults.drawn(kind, 1));
                }
                Node::Dir(dir) => dir.removed = false,
                Node::Symlink => {}
            }
        }
        self.used = self.files().map(|(_, file)| file.cached.footprint()).sum();
    }

    fn journal_end(&self, decider: &mut Decider, faults: &Faults, occasion: u64) -> u64 {
        let first = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => dir.first_pending_journal(),
            _ => None,
        });
        let Some(first) = first.min().filter(|_| self.profile == DirProfile::Journaled) else {
            return self.journal;
        };
        let n = self.journal - first;
        let may = faults.rate(FaultKind::F04NameLost, 0).max(faults.rate(FaultKind::F05UnlinkUndone, 0));
        if !decider.permits(FaultKind::F04NameLost, 0, mix(u64::MAX, occasion), may) {
            return self.journal;
        }
        let n = u32::try_from(n + 1).unwrap_or(u32::MAX);
        self.journal - u64::from(decider.choose(Site::CutJournal, 0, occasion, n))
    }

    /// Forgets everything that no name leads to.
    fn sweep(&mut self) {
        let mut reached = std::collections::BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(at) = todo.pop() {
            let Some(dir) = self.dir(at) else { continue };
            todo.extend(dir.durable.values().filter(|ino| reached.insert(**ino)));
        }
        self.nodes.retain(|ino, _| reached.contains(ino));
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (Ino, &FileNode)> {
        self.nodes.iter().filter_map(|(ino, node)| match node {
            Node::File(file) => Some((*ino, &**file)),
            _ => None,
        })
    }

    /// The same disk for another world: no handle of this one holds its files open.
    pub(crate) fn fork(&self) -> Disk {
        let mut disk = self.clone();
        for node in disk.nodes.values_mut() {
            if let Node::File(file) = node {
                file.token = Arc::new(());
            }
        }
        disk
    }
}
