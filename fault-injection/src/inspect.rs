//! Looking at the disk from outside, without going through the queue and without taking part in the run: for oracles
//! and for those who prepare a disk.
use crate::decide::{hash_bytes, mix};
use crate::dir::{DirNode, Ino, Name, Names};
use crate::disk::{Node, ROOT};
use crate::file::FileNode;
use crate::plan::FaultKind;
use crate::world::{State, View, World};

/// What a name in the tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeKind {
    File,
    Dir,
    Symlink,
}

/// One name in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeEntry {
    /// From the root, beginning with `/`.
    pub path: String,
    /// What it stands for.
    pub kind: TreeKind,
    /// Bytes, of a file.
    pub len: u64,
    /// Hash of a file's bytes.
    pub hash: u64,
}

fn names(view: View) -> impl Fn(&DirNode) -> &Names {
    move |dir| match view {
        View::Seen => &dir.seen,
        View::Durable => &dir.durable,
    }
}

impl World {
    /// The bytes of a file; `None` if `path` is no file in that view. The durable view needs only the bytes to be
    /// durable, under a name that may not be.
    #[must_use]
    pub fn read_file(&self, path: &str, view: View) -> Option<Vec<u8>> {
        let state = self.state();
        let ino = state.disk.find(path, names(View::Seen)).or_else(|| state.disk.find(path, names(view)))?;
        match (state.disk.nodes.get(&ino)?, view) {
            (Node::File(file), View::Seen) => Some(file.cached.to_vec()),
            (Node::File(file), View::Durable) => Some(file.durable.to_vec()),
            _ => None,
        }
    }

    /// Whether a name is there in that view.
    #[must_use]
    pub fn has_name(&self, path: &str, view: View) -> bool {
        self.state().disk.find(path, names(view)).is_some()
    }

    /// The names in a directory in that view, sorted; none if `dir` is no directory. The durable view needs only the
    /// names in it to be durable, not its own.
    #[must_use]
    pub fn names_in(&self, dir: &str, view: View) -> Vec<String> {
        let mut all = Vec::new();
        self.visit_names(dir, view, &mut |name| all.push(name.to_owned()));
        all
    }

    /// Shows the same one by one.
    pub fn visit_names(&self, dir: &str, view: View, visit: &mut dyn FnMut(&str)) {
        let state = self.state();
        let found = state.disk.find(dir, names(View::Seen)).or_else(|| state.disk.find(dir, names(view)));
        if let Some(dir) = found.and_then(|ino| state.disk.dir(ino)) {
            names(view)(dir).keys().for_each(|name| visit(name));
        }
    }

    /// Every name, sorted by path.
    #[must_use]
    pub fn tree(&self, view: View) -> Vec<TreeEntry> {
        let state = self.state();
        let mut entries = Vec::new();
        walk(&state, view, &mut |path, node| {
            let (kind, len, hash) = match (node, view) {
                (Node::File(file), View::Seen) => (TreeKind::File, file.cached.len(), file.cached.hash()),
                (Node::File(file), View::Durable) => {
                    (TreeKind::File, file.durable.len(), file.durable.hash())
                }
                (Node::Dir(_), _) => (TreeKind::Dir, 0, 0),
                (Node::Symlink, _) => (TreeKind::Symlink, 0, 0),
            };
            entries.push(TreeEntry { path: path.to_owned(), kind, len, hash });
        });
        entries.sort_unstable();
        entries
    }

    /// Every path and what it stands for, in order of names; cheaper than the tree, which looks at the bytes of all files.
    #[must_use]
    pub fn paths(&self, view: View) -> Vec<(String, TreeKind)> {
        let state = self.state();
        let mut paths = Vec::new();
        walk(&state, view, &mut |path, node| {
            let kind = match node {
                Node::File(_) => TreeKind::File,
                Node::Dir(_) => TreeKind::Dir,
                Node::Symlink => TreeKind::Symlink,
            };
            paths.push((path.to_owned(), kind));
        });
        paths
    }

    /// Hash of all names that begin with `prefix`, and of their files' bytes, as they are seen.
    #[must_use]
    pub fn fingerprint(&self, prefix: &str) -> u64 {
        self.fingerprint_of(prefix, View::Seen)
    }

    /// The same for either view.
    #[must_use]
    pub fn fingerprint_of(&self, prefix: &str, view: View) -> u64 {
        let tree = self.tree(view);
        tree.iter().filter(|e| e.path.starts_with(prefix)).fold(0, |state, e| {
            mix(mix(mix(mix(state, hash_bytes(e.path.as_bytes())), e.kind as u64), e.len), e.hash)
        })
    }

    /// Puts a durable file there that nobody of the engine wrote (F21), replacing none.
    ///
    /// # Panics
    /// When the directory is not there or the name is taken.
    pub fn inject_file(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.injected += 1;
        let key = mix(u64::MAX, state.injected);
        state.inject(path, Node::File(Box::new(FileNode::with_content(key, 0, bytes))));
    }

    /// Puts a durable symbolic link there; where it leads does not matter, as nothing follows it.
    ///
    /// # Panics
    /// When the directory is not there or the name is taken.
    pub fn inject_symlink(&self, path: &str) {
        self.state().inject(path, Node::Symlink);
    }

    /// Puts a durable empty directory there.
    ///
    /// # Panics
    /// When the directory above it is not there or the name is taken.
    pub fn inject_dir(&self, path: &str) {
        let mut state = self.state();
        state.injected += 1;
        let key = mix(u64::MAX, state.injected);
        state.inject(path, Node::Dir(Box::new(DirNode::new(key, 0))));
    }
}

impl State {
    fn inject(&mut self, path: &str, node: Node) {
        let (parent, name) = path.rsplit_once('/').expect("a path begins with a slash");
        let parent = self.disk.find(parent, names(View::Seen)).expect("the directory is there");
        let ino = self.disk.add(node);
        let dir = self.disk.dir_mut(parent).expect("it is a directory");
        let name: Name = name.into();
        assert!(!dir.seen.contains_key(&name), "nothing of that name is there");
        dir.put_durably(&name, ino);
        dir.marks.insert(name, FaultKind::F21Junk);
        self.faults.drawn(FaultKind::F21Junk, 1);
    }
}

/// Visits every name, in order of names.
pub(crate) fn walk(state: &State, view: View, visit: &mut impl FnMut(&str, &Node)) {
    walk_below(state, ROOT, &mut String::new(), view, visit);
}

fn walk_below(state: &State, at: Ino, path: &mut String, view: View, visit: &mut impl FnMut(&str, &Node)) {
    let Some(dir) = state.disk.dir(at) else { return };
    let of = names(view);
    for (name, ino) in of(dir) {
        let Some(node) = state.disk.nodes.get(ino) else { continue };
        let above = path.len();
        path.push('/');
        path.push_str(name);
        visit(path, node);
        walk_below(state, *ino, path, view, visit);
        path.truncate(above);
    }
}
