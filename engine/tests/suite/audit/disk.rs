//! What of the traced calls a power cut would leave: files as lists of writes, directories as lists of changes, each
//! known to be durable or not. The rules are those of the fault model for a file system that promises the least: a
//! sync covers what had returned before the sync was called, of that one file or directory, and of bytes only those
//! that the same process wrote.
use super::trace::{Call, Event, Trace};
use std::collections::{BTreeMap, BTreeSet};

/// A file or directory, whatever it is called.
pub type Node = usize;

/// One write, or change of length.
#[derive(Debug)]
pub struct Write {
    pub offset: u64,
    /// Empty for a change of length.
    pub bytes: Vec<u8>,
    pub durable: bool,
    done: bool,
    process: usize,
    call: usize,
}

/// A name that appears or goes.
#[derive(Debug)]
struct Change {
    name: String,
    to: Option<Node>,
    done: bool,
    process: usize,
    call: usize,
}

/// What is known of a file or directory.
#[derive(Debug, Default)]
struct Content {
    writes: Vec<Write>,
    durable: BTreeMap<String, Node>,
    changes: Vec<Change>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Disk {
    nodes: Vec<Content>,
    /// What a process sees.
    at: BTreeMap<String, Node>,
    process: usize,
    /// Syncs under way: what they will have made durable, as the calls that did it.
    syncing: BTreeMap<usize, (Node, Vec<usize>)>,
}

impl Disk {
    /// A disk on which only the directory `base` exists, durably.
    pub fn new(base: &str) -> Disk {
        let mut disk = Disk::default();
        disk.nodes.push(Content::default());
        disk.at.insert(base.to_owned(), 0);
        disk
    }

    /// Takes the next event. A sync numbered `without` is taken for one that was never called.
    pub fn take(&mut self, trace: &Trace, event: Event, without: Option<usize>) {
        match event {
            Event::Process => {
                self.process += 1;
                self.syncing.clear();
                for node in &mut self.nodes {
                    // What was under way when its process was killed happened or not; the next process sees which,
                    // and here it is taken to have happened, and not to be durable.
                    node.changes.iter_mut().for_each(|c| c.done = true);
                }
            }
            Event::Begun(call) if Some(call) == without => {}
            Event::Begun(call) => self.begin(call, &trace.calls[call]),
            Event::Done(call) => self.done(call, &trace.calls[call]),
            Event::Failed(call) => self.failed(call),
        }
    }

    fn begin(&mut self, call: usize, what: &Call) {
        match what {
            Call::Create(path) | Call::MakeDir(path) => {
                if !self.at.contains_key(path) {
                    self.nodes.push(Content::default());
                    let node = self.nodes.len() - 1;
                    self.at.insert(path.clone(), node);
                    self.change(path, Some(node), call);
                }
            }
            Call::Rename { from, to } => {
                let Some(node) = self.at.get(from).copied() else { return };
                self.change(from, None, call);
                self.change(to, Some(node), call);
                let below = format!("{from}/");
                let moved: Vec<String> =
                    self.at.keys().filter(|p| *p == from || p.starts_with(&below)).cloned().collect();
                for path in moved {
                    let node = self.at.remove(&path).expect("just seen");
                    self.at.insert(format!("{to}{}", &path[from.len()..]), node);
                }
            }
            Call::Unlink(path) => {
                self.at.remove(path);
                self.change(path, None, call);
            }
            Call::Write { path, offset, bytes } => self.write(path, *offset, bytes.clone(), call),
            Call::Resize { path } => self.write(path, 0, Vec::new(), call),
            Call::Sync(path) => {
                let Some(node) = self.at.get(path).copied() else { return };
                let content = &self.nodes[node];
                let writes = content.writes.iter().filter(|w| w.done && w.process == self.process);
                let changes = content.changes.iter().filter(|c| c.done);
                let covered = writes.map(|w| w.call).chain(changes.map(|c| c.call)).collect();
                self.syncing.insert(call, (node, covered));
            }
            Call::Mark(_) => {}
        }
    }

    fn change(&mut self, path: &str, to: Option<Node>, call: usize) {
        let (dir, name) = path.rsplit_once('/').expect("paths are absolute");
        let process = self.process;
        if let Some(dir) = self.at.get(dir).copied() {
            self.nodes[dir].changes.push(Change { name: name.to_owned(), to, done: false, process, call });
        }
    }

    fn write(&mut self, path: &str, offset: u64, bytes: Vec<u8>, call: usize) {
        let Some(node) = self.at.get(path).copied() else { return };
        let process = self.process;
        self.nodes[node].writes.push(Write { offset, bytes, durable: false, done: false, process, call });
    }

    fn done(&mut self, call: usize, what: &Call) {
        if let Call::Sync(_) = what {
            let Some((node, covered)) = self.syncing.remove(&call) else { return };
            let content = &mut self.nodes[node];
            content.writes.iter_mut().filter(|w| covered.contains(&w.call)).for_each(|w| w.durable = true);
            for change in content.changes.extract_if(.., |c| covered.contains(&c.call)) {
                match change.to {
                    Some(node) => content.durable.insert(change.name, node),
                    None => content.durable.remove(&change.name),
                };
            }
            return;
        }
        for node in &mut self.nodes {
            node.writes.iter_mut().filter(|w| w.call == call).for_each(|w| w.done = true);
            node.changes.iter_mut().filter(|c| c.call == call).for_each(|c| c.done = true);
        }
    }

    /// A call that failed changed nothing here: the scripts make none that fails halfway.
    fn failed(&mut self, call: usize) {
        self.syncing.remove(&call);
        for node in &mut self.nodes {
            let made: BTreeSet<Option<Node>> =
                node.changes.iter().filter(|c| c.call == call).map(|c| c.to).collect();
            node.changes.retain(|c| c.call != call);
            node.writes.retain(|w| w.call != call);
            self.at.retain(|_, n| !made.contains(&Some(*n)));
        }
    }

    /// What a process finds at `path`.
    pub fn node(&self, path: &str) -> Option<Node> {
        self.at.get(path).copied()
    }

    /// The paths directly in `dir`, as a process sees them.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let below = format!("{dir}/");
        let direct = |p: &&String| p.strip_prefix(&below).is_some_and(|rest| !rest.contains('/'));
        self.at.keys().filter(direct).cloned().collect()
    }

    /// What was written to a file, in order.
    pub fn writes(&self, node: Node) -> &[Write] {
        &self.nodes[node].writes
    }

    /// The bytes of a file as a process sees them.
    pub fn content(&self, node: Node) -> Vec<u8> {
        let mut content = Vec::new();
        for w in &self.nodes[node].writes {
            let (start, end) = (w.offset as usize, w.offset as usize + w.bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(&w.bytes);
        }
        content
    }

    /// Whether everything written to a file is durable.
    pub fn is_synced(&self, node: Node) -> bool {
        self.nodes[node].writes.iter().all(|w| w.durable)
    }

    /// Whether the name is certain to be there after a power cut, and to stand for what it stands for now.
    pub fn is_durable_name(&self, path: &str) -> bool {
        let (dir, name) = path.rsplit_once('/').expect("paths are absolute");
        let (Some(dir), Some(node)) = (self.node(dir), self.node(path)) else { return false };
        let content = &self.nodes[dir];
        content.durable.get(name) == Some(&node) && !content.changes.iter().any(|c| c.name == name)
    }

    /// Whether every directory from `base` down to `path` is certain to be there after a power cut.
    pub fn is_reachable(&self, base: &str, path: &str) -> bool {
        path == base
            || self.is_durable_name(path) && self.is_reachable(base, path.rsplit_once('/').expect("below").0)
    }

    /// Everything that the names in `dir` could stand for after a power cut, by name.
    pub fn possible(&self, dir: &str) -> Vec<(String, Node)> {
        let Some(dir) = self.node(dir) else { return Vec::new() };
        let content = &self.nodes[dir];
        let durable = content.durable.iter().map(|(name, node)| (name.clone(), *node));
        let pending = content.changes.iter().filter_map(|c| Some((c.name.clone(), c.to?)));
        let all: BTreeSet<_> = durable.chain(pending).collect();
        all.into_iter().collect()
    }

    /// Names that this process removed from `dir` and that may be back after a power cut.
    pub fn unsynced_removals(&self, dir: &str) -> Vec<String> {
        let Some(dir) = self.node(dir) else { return Vec::new() };
        let removed = self.nodes[dir].changes.iter().filter(|c| c.to.is_none() && c.process == self.process);
        removed.map(|c| c.name.clone()).collect()
    }

    /// Names in `dir` whose last change is not durable.
    pub fn unsynced_names(&self, dir: &str) -> Vec<String> {
        let Some(dir) = self.node(dir) else { return Vec::new() };
        self.nodes[dir].changes.iter().map(|c| c.name.clone()).collect()
    }
}
