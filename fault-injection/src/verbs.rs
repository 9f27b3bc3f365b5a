//! The verbs: what is remembered of each between its submission and its release.
use crate::dir::{Ino, Name};
use crate::disk::{Disk, Node};
use bulkhead::env::{
    Access, Completer, Dir, DirEntry, DiskSpace, File, IoError, IoErrorKind, IoOp, IoResult, LockGuard,
    Metadata, Missing,
};
use std::path::PathBuf;
use std::sync::Arc;

/// What a verb is about, for messages and the trace.
#[derive(Clone)]
pub(crate) struct Target {
    /// The path of the file or directory whose handle was used.
    pub(crate) path: Arc<str>,
    /// The name in that directory, for verbs that take one.
    pub(crate) name: Option<Name>,
    /// Stands for both in the trace.
    pub(crate) hash: u64,
}

impl Target {
    pub(crate) fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("{}/{name}", self.path.trim_end_matches('/')),
            None => self.path.to_string(),
        }
    }

    pub(crate) fn error(&self, op: IoOp, kind: IoErrorKind, os: i32, reason: &'static str) -> IoError {
        IoError::new(op, PathBuf::from(self.text()), kind, reason).with_os(os)
    }
}

/// What the dispatcher releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Io(IoOp),
    Timer,
    Turn,
}

/// Kinds of things that owners are counted by.
pub(crate) const WHATS: usize = IoOp::DiskSpace as usize + 3;

impl What {
    pub(crate) fn index(self) -> usize {
        match self {
            What::Io(op) => op as usize,
            What::Timer => WHATS - 2,
            What::Turn => WHATS - 1,
        }
    }
}

/// One operation under way.
pub(crate) struct Work {
    pub(crate) what: What,
    pub(crate) owner: u64,
    /// The how-manieth of its kind by this owner.
    pub(crate) seq: u64,
    pub(crate) stalled: bool,
    pub(crate) target: Target,
    pub(crate) verb: Verb,
}

/// A file as an open handle knows it. The token keeps its inode.
#[derive(Clone)]
pub(crate) struct OpenFile {
    pub(crate) ino: Ino,
    pub(crate) access: Access,
    pub(crate) _token: Arc<()>,
}

/// What a sync covers: changes answered before it was submitted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Covers {
    pub(crate) upto: u64,
    pub(crate) journal: u64,
}

pub(crate) enum Verb {
    OpenRoot(Missing, Completer<Arc<dyn Dir>>),
    SyncParent(Option<Ino>, Covers, Completer<()>),
    Open(Ino, Access, Completer<Arc<dyn File>>),
    Create(Ino, Completer<Arc<dyn File>>),
    Rename(Ino, Name, Completer<()>),
    Remove(Ino, Completer<()>),
    RemoveDir(Ino, Completer<()>),
    List(Ino, Completer<Vec<DirEntry>>),
    Metadata(Ino, Completer<Metadata>),
    MakeDir(Ino, Completer<()>),
    OpenDir(Ino, Completer<Arc<dyn Dir>>),
    SyncDir(Ino, Covers, Completer<()>),
    DiskSpace(Ino, Completer<DiskSpace>),
    Lock(Ino, Completer<LockGuard>),
    ReadAt(OpenFile, u64, Vec<u8>, Completer<Vec<u8>>),
    WriteAt(OpenFile, u64, Vec<u8>, Completer<Vec<u8>>),
    Sync(OpenFile, Covers, Completer<()>),
    Allocate(OpenFile, u64, Completer<()>),
    Truncate(OpenFile, u64, Completer<()>),
    Len(OpenFile, Completer<u64>),
    /// Of a timer or a client's turn.
    Wake(Completer<()>),
}

impl Verb {
    /// Notes what a sync that is being submitted covers.
    pub(crate) fn submitted(&mut self, disk: &Disk) {
        let of = |ino: Ino| match disk.nodes.get(&ino) {
            Some(Node::File(file)) => file.next_seq(),
            Some(Node::Dir(dir)) => dir.next_seq(),
            _ => 0,
        };
        let journal = disk.journal;
        match self {
            Verb::Sync(file, covers, _) => *covers = Covers { upto: of(file.ino), journal },
            Verb::SyncDir(ino, covers, _) => *covers = Covers { upto: of(*ino), journal },
            Verb::SyncParent(Some(ino), covers, _) => *covers = Covers { upto: of(*ino), journal },
            _ => {}
        }
    }

    /// Whether it changes what the disk holds, or makes a change durable.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Verb::Create(..)
            | Verb::Rename(..)
            | Verb::Remove(..)
            | Verb::RemoveDir(..)
            | Verb::MakeDir(..)
            | Verb::SyncDir(..)
            | Verb::WriteAt(..)
            | Verb::Sync(..)
            | Verb::Allocate(..)
            | Verb::Truncate(..) => true,
            Verb::OpenRoot(..)
            | Verb::SyncParent(..)
            | Verb::Open(..)
            | Verb::List(..)
            | Verb::Metadata(..)
            | Verb::OpenDir(..)
            | Verb::DiskSpace(..)
            | Verb::Lock(..)
            | Verb::ReadAt(..)
            | Verb::Len(..)
            | Verb::Wake(..) => false,
        }
    }

    /// Two numbers that tell this call from others of its kind, for the trace.
    pub(crate) fn arguments(&self) -> (u64, u64) {
        match self {
            Verb::ReadAt(_, offset, buf, _) => (*offset, buf.len() as u64),
            Verb::WriteAt(_, offset, buf, _) => (*offset, crate::decide::hash_bytes(buf)),
            Verb::Allocate(_, len, _) | Verb::Truncate(_, len, _) => (*len, 0),
            Verb::Open(_, access, _) => (*access as u64, 0),
            Verb::Rename(_, to, _) => (crate::decide::hash_bytes(to.as_bytes()), 0),
            _ => (0, 0),
        }
    }
}

/// A result on its way to whoever waits, to be delivered once the world is unlocked: those waiting may submit at once.
pub(crate) enum Delivery {
    Unit(Completer<()>, IoResult<()>),
    Bytes(Completer<Vec<u8>>, IoResult<Vec<u8>>),
    File(Completer<Arc<dyn File>>, IoResult<Arc<dyn File>>),
    Dir(Completer<Arc<dyn Dir>>, IoResult<Arc<dyn Dir>>),
    List(Completer<Vec<DirEntry>>, IoResult<Vec<DirEntry>>),
    Metadata(Completer<Metadata>, IoResult<Metadata>),
    Len(Completer<u64>, IoResult<u64>),
    DiskSpace(Completer<DiskSpace>, IoResult<DiskSpace>),
    Lock(Completer<LockGuard>, IoResult<LockGuard>),
}

impl Delivery {
    pub(crate) fn deliver(self) {
        match self {
            Delivery::Unit(done, result) => done.complete(result),
            Delivery::Bytes(done, result) => done.complete(result),
            Delivery::File(done, result) => done.complete(result),
            Delivery::Dir(done, result) => done.complete(result),
            Delivery::List(done, result) => done.complete(result),
            Delivery::Metadata(done, result) => done.complete(result),
            Delivery::Len(done, result) => done.complete(result),
            Delivery::DiskSpace(done, result) => done.complete(result),
            Delivery::Lock(done, result) => done.complete(result),
        }
    }

    /// The error, and whether anybody waits for it.
    pub(crate) fn error(&self) -> Option<(&IoError, bool)> {
        fn of<'a, T>(done: &Completer<T>, result: &'a IoResult<T>) -> Option<(&'a IoError, bool)> {
            result.as_ref().err().map(|e| (e, !done.is_abandoned()))
        }
        match self {
            Delivery::Unit(done, result) => of(done, result),
            Delivery::Bytes(done, result) => of(done, result),
            Delivery::File(done, result) => of(done, result),
            Delivery::Dir(done, result) => of(done, result),
            Delivery::List(done, result) => of(done, result),
            Delivery::Metadata(done, result) => of(done, result),
            Delivery::Len(done, result) => of(done, result),
            Delivery::DiskSpace(done, result) => of(done, result),
            Delivery::Lock(done, result) => of(done, result),
        }
    }

    /// Stands for the result in the trace.
    pub(crate) fn hash(&self, what: What) -> u64 {
        use crate::decide::{hash_bytes, mix};
        if let Some((e, _)) = self.error() {
            let kind = hash_bytes(format!("{:?}", e.kind).as_bytes());
            return mix(mix(1, kind), e.os.unwrap_or(0) as u64);
        }
        match self {
            // A write only hands back what it was given.
            Delivery::Bytes(_, Ok(bytes)) if what != What::Io(IoOp::WriteAt) => hash_bytes(bytes),
            Delivery::Len(_, Ok(len)) => *len,
            Delivery::DiskSpace(_, Ok(space)) => mix(space.free, space.total),
            Delivery::Metadata(_, Ok(m)) => mix(m.kind as u64, m.len),
            Delivery::List(_, Ok(names)) => {
                let name = |e: &DirEntry| mix(e.kind as u64, hash_bytes(e.name.as_encoded_bytes()));
                names.iter().fold(0, |state, e| mix(state, name(e)))
            }
            _ => 0,
        }
    }
}
