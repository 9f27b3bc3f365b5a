//! Verbs that concern names: of roots, directories and what is in them.
use super::{Call, Durably, error, no_space};
use crate::decide::{Site, hash_bytes, mix};
use crate::dir::{DirNode, Ino, Name, NameChange};
use crate::disk::{Node, ROOT};
use crate::file::FileNode;
use crate::handle::{SimDir, SimFile, SimFs};
use crate::plan::FaultKind;
use crate::verbs::{Covers, OpenFile};
use crate::violation::ViolationKind;
use crate::world::State;
use bulkhead::env::{
    Access, Dir, DirEntry, DiskSpace, EntryKind, File, IoError, IoErrorKind, IoOp, IoResult, LockGuard,
    Metadata, Missing, Owner,
};
use std::sync::Arc;

const EIO: i32 = 5;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const EROFS: i32 = 30;
const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;

impl State {
    pub(super) fn open_root(&mut self, call: &Call<'_>, missing: Missing) -> IoResult<Arc<dyn Dir>> {
        let ino = self.walk_root(call, missing, Durably::Yes)?;
        Ok(self.dir_handle(call, ino, call.target.path.clone(), call.target.hash))
    }

    pub(super) fn walk_root(&mut self, call: &Call<'_>, missing: Missing, durably: Durably) -> IoResult<Ino> {
        let path = call.target.path.clone();
        let mut at = ROOT;
        for part in path.split('/').filter(|p| !p.is_empty()) {
            let dir = self.dir_of(call, IoOp::OpenRoot, at)?;
            match dir.seen.get(part).copied() {
                Some(ino) if self.disk.dir(ino).is_some() => at = ino,
                Some(_) => {
                    return Err(error(
                        call,
                        IoOp::OpenRoot,
                        IoErrorKind::NotOurs,
                        ENOTDIR,
                        "not a directory",
                    ));
                }
                None if missing == Missing::Refuse => {
                    return Err(error(
                        call,
                        IoOp::OpenRoot,
                        IoErrorKind::NotFound,
                        ENOENT,
                        "no such directory",
                    ));
                }
                None => {
                    let name: Name = part.into();
                    let made = self.add_dir_keyed(call, at, &name, mix(at, hash_bytes(part.as_bytes())));
                    if durably == Durably::Yes {
                        let (upto, journal) = (u64::MAX, u64::MAX);
                        self.disk.sync_dir(at, upto, journal);
                    }
                    at = made;
                }
            }
        }
        Ok(at)
    }

    fn dir_of(&self, call: &Call<'_>, op: IoOp, ino: Ino) -> IoResult<&DirNode> {
        let gone = || error(call, op, IoErrorKind::NotFound, ENOENT, "the directory was removed");
        self.disk.dir(ino).ok_or_else(gone)
    }

    /// The directory, if it may be changed.
    fn changeable(&self, call: &Call<'_>, op: IoOp, ino: Ino) -> IoResult<&DirNode> {
        let dir = self.dir_of(call, op, ino)?;
        if dir.removed {
            return Err(error(call, op, IoErrorKind::NotFound, ENOENT, "the directory was removed"));
        }
        if dir.refusing {
            return Err(error(call, op, IoErrorKind::Denied, EROFS, "the file system refuses changes"));
        }
        Ok(dir)
    }

    fn check_name(&mut self, call: &Call<'_>, op: IoOp, name: &str) -> IoResult<()> {
        let bad =
            name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) || name.len() > 255;
        if bad {
            self.violation(ViolationKind::BadName, call.owner, call.target, None, None);
            return Err(error(call, op, IoErrorKind::NotOurs, EINVAL, "not a single component of a path"));
        }
        Ok(())
    }

    /// The inode under the call's name. Looking at a name notices what became of it.
    fn look_up(&mut self, call: &Call<'_>, op: IoOp, dir: Ino) -> IoResult<Ino> {
        let name = name_of(call).clone();
        self.check_name(call, op, &name)?;
        self.notice_name(dir, &name);
        let found = self.dir_of(call, op, dir)?.seen.get(&name).copied();
        found.ok_or_else(|| error(call, op, IoErrorKind::NotFound, ENOENT, "no such name"))
    }

    fn notice_name(&mut self, dir: Ino, name: &str) {
        if let Some(kind) = self.disk.dir_mut(dir).and_then(|d| d.marks.remove(name)) {
            self.faults.effective(kind, 1);
        }
    }

    pub(super) fn free_name(&mut self, call: &Call<'_>, op: IoOp, dir: Ino) -> IoResult<Name> {
        let name = name_of(call).clone();
        self.check_name(call, op, &name)?;
        self.notice_name(dir, &name);
        if self.changeable(call, op, dir)?.seen.contains_key(&name) {
            return Err(error(call, op, IoErrorKind::AlreadyExists, EEXIST, "the name exists"));
        }
        Ok(name)
    }

    fn no_space_for_name(
        &mut self,
        call: &Call<'_>,
        op: IoOp,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        if self.strikes(FaultKind::F13NoSpace, call.owner, mix(call.seq, op as u64)) {
            *struck = Some(FaultKind::F13NoSpace);
            return Err(no_space(call, op));
        }
        Ok(())
    }

    pub(super) fn open(&mut self, call: &Call<'_>, dir: Ino, access: Access) -> IoResult<Arc<dyn File>> {
        let ino = self.look_up(call, IoOp::Open, dir)?;
        match &self.disk.nodes[&ino] {
            Node::File(_) => Ok(self.file_handle(call, ino, access)),
            Node::Dir(_) => Err(error(call, IoOp::Open, IoErrorKind::NotOurs, EISDIR, "is a directory")),
            Node::Symlink => Err(error(call, IoOp::Open, IoErrorKind::NotOurs, ELOOP, "is a symbolic link")),
        }
    }

    pub(super) fn open_dir(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<Arc<dyn Dir>> {
        let ino = self.look_up(call, IoOp::OpenDir, dir)?;
        match &self.disk.nodes[&ino] {
            Node::Dir(_) => Ok(self.dir_handle(call, ino, call.target.text().into(), call.target.hash)),
            Node::File(_) => {
                Err(error(call, IoOp::OpenDir, IoErrorKind::NotOurs, ENOTDIR, "not a directory"))
            }
            Node::Symlink => {
                Err(error(call, IoOp::OpenDir, IoErrorKind::NotOurs, ELOOP, "is a symbolic link"))
            }
        }
    }

    pub(super) fn create(
        &mut self,
        call: &Call<'_>,
        dir: Ino,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<Arc<dyn File>> {
        let name = self.free_name(call, IoOp::Create, dir)?;
        self.no_space_for_name(call, IoOp::Create, struck)?;
        let ino = self.add_file(call, dir, name);
        Ok(self.file_handle(call, ino, Access::Write))
    }

    pub(super) fn add_file(&mut self, call: &Call<'_>, dir: Ino, name: Name) -> Ino {
        let key = mix(mix(call.owner, call.seq), 1);
        let ino = self.disk.add(Node::File(Box::new(FileNode::new(key, call.owner))));
        self.disk.change_name(dir, NameChange::Link { name, ino }, call.owner);
        ino
    }

    pub(super) fn make_dir(
        &mut self,
        call: &Call<'_>,
        dir: Ino,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        let name = self.free_name(call, IoOp::MakeDir, dir)?;
        self.no_space_for_name(call, IoOp::MakeDir, struck)?;
        self.add_dir(call, dir, name);
        Ok(())
    }

    pub(super) fn add_dir(&mut self, call: &Call<'_>, dir: Ino, name: Name) -> Ino {
        self.add_dir_keyed(call, dir, &name, mix(mix(call.owner, call.seq), 2))
    }

    fn add_dir_keyed(&mut self, call: &Call<'_>, dir: Ino, name: &Name, key: u64) -> Ino {
        let ino = self.disk.add(Node::Dir(Box::new(DirNode::new(key, call.owner))));
        self.disk.change_name(dir, NameChange::Link { name: name.clone(), ino }, call.owner);
        ino
    }

    pub(super) fn check_rename(&mut self, call: &Call<'_>, dir: Ino, to: &Name) -> IoResult<NameChange> {
        self.changeable(call, IoOp::Rename, dir)?;
        self.check_name(call, IoOp::Rename, to)?;
        let ino = self.look_up(call, IoOp::Rename, dir)?;
        self.notice_name(dir, to);
        if self.dir_of(call, IoOp::Rename, dir)?.seen.contains_key(to) {
            return Err(error(call, IoOp::Rename, IoErrorKind::AlreadyExists, EEXIST, "the new name exists"));
        }
        Ok(NameChange::Rename { from: name_of(call).clone(), to: to.clone(), ino })
    }

    pub(super) fn rename(
        &mut self,
        call: &Call<'_>,
        dir: Ino,
        to: &Name,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        let change = self.check_rename(call, dir, to).inspect_err(|e| {
            if e.kind == IoErrorKind::AlreadyExists {
                self.violation(ViolationKind::RenameOntoExisting, call.owner, call.target, None, None);
            }
        })?;
        self.no_space_for_name(call, IoOp::Rename, struck)?;
        self.disk.change_name(dir, change, call.owner);
        Ok(())
    }

    pub(super) fn remove(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<()> {
        self.changeable(call, IoOp::Remove, dir)?;
        let ino = self.look_up(call, IoOp::Remove, dir)?;
        if self.disk.dir(ino).is_some() {
            return Err(error(call, IoOp::Remove, IoErrorKind::NotOurs, EISDIR, "is a directory"));
        }
        self.disk.change_name(dir, NameChange::Unlink { name: name_of(call).clone(), ino }, call.owner);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<()> {
        self.changeable(call, IoOp::RemoveDir, dir)?;
        let ino = self.look_up(call, IoOp::RemoveDir, dir)?;
        let Some(gone) = self.disk.dir(ino) else {
            return Err(error(call, IoOp::RemoveDir, IoErrorKind::NotOurs, ENOTDIR, "not a directory"));
        };
        if !gone.seen.is_empty() {
            return Err(error(
                call,
                IoOp::RemoveDir,
                IoErrorKind::NotOurs,
                ENOTEMPTY,
                "the directory is not empty",
            ));
        }
        self.disk.change_name(dir, NameChange::Unlink { name: name_of(call).clone(), ino }, call.owner);
        Ok(())
    }

    /// F21: in an order of its own every time.
    pub(super) fn list(&mut self, call: &Call<'_>, ino: Ino) -> IoResult<Vec<DirEntry>> {
        let seen = self.dir_of(call, IoOp::List, ino)?.seen.clone();
        let marks = self.disk.dir_mut(ino).map(|d| std::mem::take(&mut d.marks)).unwrap_or_default();
        marks.values().for_each(|kind| self.faults.effective(*kind, 1));
        let entry = |(name, ino): (&Name, &Ino)| DirEntry {
            name: (**name).into(),
            kind: kind_of(&self.disk.nodes[ino]),
        };
        let mut entries: Vec<DirEntry> = seen.iter().map(entry).collect();
        for i in 1..entries.len() {
            let n = u32::try_from(i + 1).expect("fewer than 2^32 names");
            let j = self.decider.choose(Site::ListOrder, call.owner, mix(call.seq, i as u64), n);
            entries.swap(i, j as usize);
        }
        Ok(entries)
    }

    pub(super) fn metadata(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<Metadata> {
        let ino = self.look_up(call, IoOp::Metadata, dir)?;
        let kind = kind_of(&self.disk.nodes[&ino]);
        let len = if kind == EntryKind::File { self.seen_len(ino) } else { 0 };
        Ok(Metadata { kind, len })
    }

    pub(super) fn disk_space(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<DiskSpace> {
        self.dir_of(call, IoOp::DiskSpace, dir)?;
        let total = self.capacity.unwrap_or(u64::MAX);
        Ok(DiskSpace { free: total.saturating_sub(self.disk.used + self.taken), total })
    }

    /// C7; F09 for directories.
    pub(super) fn sync_dir(
        &mut self,
        call: &Call<'_>,
        op: IoOp,
        ino: Option<Ino>,
        covers: Covers,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        let gone = || error(call, op, IoErrorKind::NotFound, ENOENT, "no such directory");
        let ino = ino.ok_or_else(gone)?;
        let dir = self.dir_of(call, op, ino)?;
        if dir.refusing {
            // As measured on ext4: the sync behind a failed one may say Ok, before anything is refused.
            if dir.feigns_in == Some(self.boot) {
                self.disk.dir_mut(ino).expect("looked at above").feigns_in = None;
                return Ok(());
            }
            return Err(error(call, op, IoErrorKind::Denied, EROFS, "the file system refuses changes"));
        }
        if !dir.is_clean() && self.strikes(FaultKind::F09DirSyncEio, call.owner, mix(call.seq, op as u64)) {
            *struck = Some(FaultKind::F09DirSyncEio);
            let detail = Site::Detail(FaultKind::F09DirSyncEio);
            let feigns = self.decider.choose(detail, call.owner, mix(call.seq, op as u64), 2) == 1;
            let feigns_in = feigns.then_some(self.boot);
            let dir = self.disk.dir_mut(ino).expect("looked at above");
            (dir.refusing, dir.feigns_in) = (true, feigns_in);
            return Err(error(call, op, IoErrorKind::Device, EIO, "the device failed"));
        }
        self.disk.sync_dir(ino, covers.upto, covers.journal);
        Ok(())
    }

    pub(super) fn lock(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<LockGuard> {
        let ino = match self.look_up(call, IoOp::Lock, dir) {
            Ok(ino) => ino,
            Err(e) if e.is_not_found() => {
                let name = self.free_name(call, IoOp::Lock, dir)?;
                self.add_file(call, dir, name)
            }
            Err(e) => return Err(e),
        };
        let Some(Node::File(file)) = self.disk.nodes.get(&ino) else {
            return Err(error(call, IoOp::Lock, IoErrorKind::NotOurs, ELOOP, "not a regular file"));
        };
        // The directory's, whatever became of the file.
        let token = self.locks.entry(dir).or_default();
        if Arc::strong_count(token) > 1 {
            let holder = match String::from_utf8_lossy(&file.cached.to_vec()).trim() {
                "" => "a process that has not given its name".to_owned(),
                line => line.to_owned(),
            };
            return Err(IoError::new(
                IoOp::Lock,
                call.target.text(),
                IoErrorKind::Locked(holder),
                "already locked",
            ));
        }
        let guard = LockGuard::new(Box::new(token.clone()));
        let line = format!("pid {} on simulated\n", self.boot);
        self.disk.change_file(ino, |f| {
            f.truncate(0);
            f.write(0, line.as_bytes(), Owner::ENGINE.0);
        });
        Ok(guard)
    }

    fn file_handle(&self, call: &Call<'_>, ino: Ino, access: Access) -> Arc<dyn File> {
        let file = OpenFile { ino, access, _token: self.disk.file(ino).token.clone() };
        let fs = SimFs { world: call.world.clone(), boot: self.boot };
        let path = call.target.text().into();
        Arc::new(SimFile { fs, file, owner: Owner(call.owner), path, path_hash: call.target.hash })
    }

    fn dir_handle(&self, call: &Call<'_>, ino: Ino, path: Arc<str>, path_hash: u64) -> Arc<dyn Dir> {
        let fs = SimFs { world: call.world.clone(), boot: self.boot };
        Arc::new(SimDir { fs, ino, owner: Owner(call.owner), path, path_hash })
    }
}

fn name_of<'a>(call: &Call<'a>) -> &'a Name {
    call.target.name.as_ref().expect("the verb takes a name")
}

fn kind_of(node: &Node) -> EntryKind {
    match node {
        Node::File(_) => EntryKind::File,
        Node::Dir(_) => EntryKind::Dir,
        Node::Symlink => EntryKind::Symlink,
    }
}
