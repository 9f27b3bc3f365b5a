//! What each verb does at its release, with the faults that may strike it, and what may still happen of it at a crash.
use crate::decide::{Site, mix};
use crate::dir::{DirNode, Ino, Name, NameChange};
use crate::disk::{DirProfile, Node, ROOT};
use crate::file::{Cut, FileNode};
use crate::handle::{SimDir, SimFile, SimFs};
use crate::image::{NOBODY, SECTOR};
use crate::plan::FaultKind;
use crate::verbs::{Covers, Delivery, OpenFile, Target, Verb, What, Work};
use crate::violation::ViolationKind;
use crate::world::{State, World};
use bulkhead::env::{
    Access, Dir, DirEntry, EntryKind, File, IoError, IoErrorKind, IoOp, IoResult, LockGuard, Metadata,
    Missing, Owner,
};
use std::sync::Arc;

const EIO: i32 = 5;
const EBADF: i32 = 9;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;

/// One call: who, its number, and on what.
struct Call<'a> {
    world: &'a World,
    owner: u64,
    seq: u64,
    target: &'a Target,
}

impl State {
    pub(crate) fn execute(
        &mut self,
        world: &World,
        owner: u64,
        seq: u64,
        target: &Target,
        verb: Verb,
    ) -> Delivery {
        let call = Call { world, owner, seq, target };
        let mut struck = None;
        let delivery = match verb {
            Verb::OpenRoot(missing, done) => Delivery::Dir(done, self.open_root(&call, missing)),
            Verb::SyncParent(ino, covers, done) => {
                Delivery::Unit(done, self.sync_dir(&call, IoOp::SyncParent, ino, covers, &mut struck))
            }
            Verb::Open(dir, access, done) => Delivery::File(done, self.open(&call, dir, access)),
            Verb::Create(dir, done) => Delivery::File(done, self.create(&call, dir, &mut struck)),
            Verb::Rename(dir, to, done) => Delivery::Unit(done, self.rename(&call, dir, &to, &mut struck)),
            Verb::Remove(dir, done) => Delivery::Unit(done, self.remove(&call, dir)),
            Verb::RemoveDir(dir, done) => Delivery::Unit(done, self.remove_dir(&call, dir)),
            Verb::List(dir, done) => Delivery::List(done, self.list(&call, dir)),
            Verb::Metadata(dir, done) => Delivery::Metadata(done, self.metadata(&call, dir)),
            Verb::MakeDir(dir, done) => Delivery::Unit(done, self.make_dir(&call, dir, &mut struck)),
            Verb::OpenDir(dir, done) => Delivery::Dir(done, self.open_dir(&call, dir)),
            Verb::SyncDir(dir, covers, done) => {
                Delivery::Unit(done, self.sync_dir(&call, IoOp::SyncDir, Some(dir), covers, &mut struck))
            }
            Verb::Lock(dir, done) => Delivery::Lock(done, self.lock(&call, dir)),
            Verb::ReadAt(file, offset, buf, done) => {
                Delivery::Bytes(done, self.read(&call, &file, offset, buf, &mut struck))
            }
            Verb::WriteAt(file, offset, buf, done) => {
                let result = self.write(&call, &file, offset, &buf, &mut struck);
                Delivery::Bytes(done, result.map(|()| buf))
            }
            Verb::Sync(file, covers, done) => {
                Delivery::Unit(done, self.sync(&call, &file, covers, &mut struck))
            }
            Verb::Allocate(file, len, done) => {
                Delivery::Unit(done, self.allocate(&call, &file, len, &mut struck))
            }
            Verb::Truncate(file, len, done) => Delivery::Unit(done, self.truncate(&call, &file, len)),
            Verb::Len(file, done) => Delivery::Len(done, self.len(&file)),
            Verb::Wake(done) => Delivery::Unit(done, Ok(())),
        };
        if let Some(kind) = struck
            && let Some((_, true)) = delivery.error()
        {
            self.faults.effective(kind, 1);
        }
        delivery
    }

    /// C9: whether, and how much of, an operation in flight at a crash still happens.
    pub(crate) fn land(&mut self, world: &World, work: Work) {
        let What::Io(op) = work.what else { return };
        let choices = if op == IoOp::WriteAt { 3 } else { 2 };
        let how = self.decider.choose(Site::Landing(op), work.owner, work.seq, choices);
        if how == 0 {
            return;
        }
        let call = Call { world, owner: work.owner, seq: work.seq, target: &work.target };
        // Nobody hears of the results.
        match work.verb {
            Verb::WriteAt(file, offset, buf, _) if file.access == Access::Write => {
                let len = if how == 2 {
                    let n = u32::try_from(buf.len() + 1).unwrap_or(u32::MAX);
                    self.decider.choose(Site::LandingPart, work.owner, work.seq, n) as usize
                } else {
                    buf.len()
                };
                let room = self.room_for_write(&file, offset, len);
                self.disk.change_file(file.ino, |f| f.write(offset, &buf[..room], work.owner));
            }
            Verb::Truncate(file, len, _) => drop(self.truncate(&call, &file, len)),
            Verb::Allocate(file, len, _) if file.access == Access::Write => {
                let cost = self.disk.file(file.ino).cached.cost_of_allocation(len);
                if self.has_room(cost) {
                    self.disk.change_file(file.ino, |f| f.allocate(len));
                }
            }
            Verb::Sync(file, covers, _) => self.synced(&file, covers),
            Verb::SyncDir(dir, covers, _) | Verb::SyncParent(Some(dir), covers, _)
                if self.disk.dir(dir).is_some_and(|d| !d.refusing) =>
            {
                self.disk.sync_dir(dir, covers.upto, covers.journal);
            }
            Verb::Create(dir, _) => {
                let free = self.free_name(&call, IoOp::Create, dir);
                drop(free.map(|name| self.add_file(&call, dir, name)));
            }
            Verb::MakeDir(dir, _) => {
                let free = self.free_name(&call, IoOp::MakeDir, dir);
                drop(free.map(|name| self.add_dir(&call, dir, name)));
            }
            Verb::Rename(dir, to, _) => {
                if let Ok(change) = self.check_rename(&call, dir, &to) {
                    self.disk.change_name(dir, change, work.owner);
                }
            }
            Verb::Remove(dir, _) => drop(self.remove(&call, dir)),
            Verb::RemoveDir(dir, _) => drop(self.remove_dir(&call, dir)),
            Verb::OpenRoot(Missing::Create, _) => drop(self.walk_root(&call, Missing::Create, Durably::No)),
            _ => {}
        }
    }

    fn open_root(&mut self, call: &Call<'_>, missing: Missing) -> IoResult<Arc<dyn Dir>> {
        let ino = self.walk_root(call, missing, Durably::Yes)?;
        Ok(self.dir_handle(call, ino, call.target.path.clone(), call.target.hash))
    }

    fn walk_root(&mut self, call: &Call<'_>, missing: Missing, durably: Durably) -> IoResult<Ino> {
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
                    let made = self.add_dir_keyed(
                        call,
                        at,
                        &name,
                        mix(at, crate::decide::hash_bytes(part.as_bytes())),
                    );
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

    fn free_name(&mut self, call: &Call<'_>, op: IoOp, dir: Ino) -> IoResult<Name> {
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

    fn open(&mut self, call: &Call<'_>, dir: Ino, access: Access) -> IoResult<Arc<dyn File>> {
        let ino = self.look_up(call, IoOp::Open, dir)?;
        match &self.disk.nodes[&ino] {
            Node::File(_) => Ok(self.file_handle(call, ino, access)),
            Node::Dir(_) => Err(error(call, IoOp::Open, IoErrorKind::NotOurs, EISDIR, "is a directory")),
            Node::Symlink => Err(error(call, IoOp::Open, IoErrorKind::NotOurs, ELOOP, "is a symbolic link")),
        }
    }

    fn open_dir(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<Arc<dyn Dir>> {
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

    fn create(
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

    fn add_file(&mut self, call: &Call<'_>, dir: Ino, name: Name) -> Ino {
        let key = mix(mix(call.owner, call.seq), 1);
        let ino = self.disk.add(Node::File(Box::new(FileNode::new(key, call.owner))));
        self.disk.change_name(dir, NameChange::Link { name, ino }, call.owner);
        ino
    }

    fn make_dir(&mut self, call: &Call<'_>, dir: Ino, struck: &mut Option<FaultKind>) -> IoResult<()> {
        let name = self.free_name(call, IoOp::MakeDir, dir)?;
        self.no_space_for_name(call, IoOp::MakeDir, struck)?;
        self.add_dir(call, dir, name);
        Ok(())
    }

    fn add_dir(&mut self, call: &Call<'_>, dir: Ino, name: Name) -> Ino {
        self.add_dir_keyed(call, dir, &name, mix(mix(call.owner, call.seq), 2))
    }

    fn add_dir_keyed(&mut self, call: &Call<'_>, dir: Ino, name: &Name, key: u64) -> Ino {
        let ino = self.disk.add(Node::Dir(Box::new(DirNode::new(key, call.owner))));
        self.disk.change_name(dir, NameChange::Link { name: name.clone(), ino }, call.owner);
        ino
    }

    fn check_rename(&mut self, call: &Call<'_>, dir: Ino, to: &Name) -> IoResult<NameChange> {
        self.changeable(call, IoOp::Rename, dir)?;
        self.check_name(call, IoOp::Rename, to)?;
        let ino = self.look_up(call, IoOp::Rename, dir)?;
        self.notice_name(dir, to);
        if self.dir_of(call, IoOp::Rename, dir)?.seen.contains_key(to) {
            return Err(error(call, IoOp::Rename, IoErrorKind::AlreadyExists, EEXIST, "the new name exists"));
        }
        Ok(NameChange::Rename { from: name_of(call).clone(), to: to.clone(), ino })
    }

    fn rename(
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

    fn remove(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<()> {
        self.changeable(call, IoOp::Remove, dir)?;
        let ino = self.look_up(call, IoOp::Remove, dir)?;
        if self.disk.dir(ino).is_some() {
            return Err(error(call, IoOp::Remove, IoErrorKind::NotOurs, EISDIR, "is a directory"));
        }
        self.disk.change_name(dir, NameChange::Unlink { name: name_of(call).clone(), ino }, call.owner);
        Ok(())
    }

    fn remove_dir(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<()> {
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
    fn list(&mut self, call: &Call<'_>, ino: Ino) -> IoResult<Vec<DirEntry>> {
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

    fn metadata(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<Metadata> {
        let ino = self.look_up(call, IoOp::Metadata, dir)?;
        let kind = kind_of(&self.disk.nodes[&ino]);
        let len = if kind == EntryKind::File { self.seen_len(ino) } else { 0 };
        Ok(Metadata { kind, len })
    }

    /// C7; F09 for directories.
    fn sync_dir(
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
            return Err(error(call, op, IoErrorKind::Denied, EROFS, "the file system refuses changes"));
        }
        if !dir.is_clean() && self.strikes(FaultKind::F09DirSyncEio, call.owner, mix(call.seq, op as u64)) {
            *struck = Some(FaultKind::F09DirSyncEio);
            self.disk.dir_mut(ino).expect("looked at above").refusing = true;
            return Err(error(call, op, IoErrorKind::Device, EIO, "the device failed"));
        }
        self.disk.sync_dir(ino, covers.upto, covers.journal);
        Ok(())
    }

    fn lock(&mut self, call: &Call<'_>, dir: Ino) -> IoResult<LockGuard> {
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
        let token = self.locks.entry(ino).or_default();
        if Arc::strong_count(token) > 1 {
            let holder = String::from_utf8_lossy(&file.cached.to_vec()).trim().to_owned();
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

    fn read(
        &mut self,
        call: &Call<'_>,
        handle: &OpenFile,
        offset: u64,
        mut buf: Vec<u8>,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<Vec<u8>> {
        let failed = |reason| Err(error(call, IoOp::ReadAt, IoErrorKind::Device, EIO, reason));
        let len = self.disk.file(handle.ino).cached.len();
        let end = len.min(offset.saturating_add(buf.len() as u64));
        let sectors = offset / SECTOR as u64..end.max(offset).div_ceil(SECTOR as u64);
        if end > offset {
            if self.strikes(FaultKind::F16ReadEio, call.owner, call.seq) {
                *struck = Some(FaultKind::F16ReadEio);
                return failed("the device failed");
            }
            if self.strikes(FaultKind::F16SectorDead, call.owner, call.seq) {
                let n = u32::try_from(sectors.end - sectors.start).unwrap_or(u32::MAX);
                let at = self.decider.choose(Site::Detail(FaultKind::F16SectorDead), call.owner, call.seq, n);
                let file = self.disk.file_mut(handle.ino);
                file.dead.insert(sectors.start + u64::from(at));
                file.marks.insert(sectors.start + u64::from(at), FaultKind::F16SectorDead);
            }
        }
        self.notice_sectors(handle.ino, sectors.clone(), end < offset.saturating_add(buf.len() as u64));
        let file = self.disk.file(handle.ino);
        if file.dead.range(sectors).next().is_some() {
            return failed("a sector cannot be read");
        }
        let (mut unwritten, mut foreign) = (None, None);
        let n = file.cached.read(offset, &mut buf, |sector, writer| {
            if writer == NOBODY {
                unwritten.get_or_insert(sector);
            } else if writer < crate::image::LOST && writer != 0 && writer != call.owner {
                foreign.get_or_insert((sector, writer));
            }
        });
        buf.truncate(n);
        if let (Some((sector, writer)), false) = (foreign, call.owner == Owner::ENGINE.0) {
            let at = Some(sector * SECTOR as u64);
            self.violation(ViolationKind::ForeignRead, call.owner, call.target, at, Some(writer));
        }
        if let (Some(sector), Access::ReadStrict) = (unwritten, handle.access) {
            let at = Some(sector * SECTOR as u64);
            self.violation(ViolationKind::UnwrittenRead, call.owner, call.target, at, None);
        }
        Ok(buf)
    }

    /// Somebody looks at these sectors: what was lost or damaged in them has taken effect.
    fn notice_sectors(&mut self, ino: Ino, sectors: std::ops::Range<u64>, to_the_end: bool) {
        let file = self.disk.file_mut(ino);
        if !file.marks.is_empty() {
            let met: Vec<u64> = file.marks.range(sectors).map(|(s, _)| *s).collect();
            for sector in met {
                let kind = file.marks.remove(&sector).expect("just seen");
                self.faults.effective(kind, 1);
            }
        }
        if to_the_end {
            self.notice_len(ino);
        }
    }

    fn notice_len(&mut self, ino: Ino) {
        if let Some(kind) = self.disk.file_mut(ino).len_mark.take() {
            self.faults.effective(kind, 1);
        }
    }

    fn seen_len(&mut self, ino: Ino) -> u64 {
        self.notice_len(ino);
        self.disk.file(ino).cached.len()
    }

    fn len(&mut self, handle: &OpenFile) -> IoResult<u64> {
        Ok(self.seen_len(handle.ino))
    }

    fn has_room(&self, cost: u64) -> bool {
        cost == 0 || self.capacity.is_none_or(|capacity| self.disk.used + cost <= capacity)
    }

    /// How many of the first `len` bytes of a write the device has room for.
    fn room_for_write(&self, handle: &OpenFile, offset: u64, len: usize) -> usize {
        let image = &self.disk.file(handle.ino).cached;
        if self.has_room(image.cost_of_write(offset, len)) {
            return len;
        }
        let page = crate::image::PAGE;
        let mut end = page - (offset % page as u64) as usize;
        while end < len && self.has_room(image.cost_of_write(offset, end)) {
            end += page;
        }
        end.saturating_sub(page).min(len)
    }

    fn check_writable(&mut self, call: &Call<'_>, op: IoOp, handle: &OpenFile) -> IoResult<()> {
        if handle.access != Access::Write {
            self.violation(ViolationKind::WriteToReadHandle, call.owner, call.target, None, None);
            return Err(error(call, op, IoErrorKind::Denied, EBADF, "the handle is for reading"));
        }
        Ok(())
    }

    fn write(
        &mut self,
        call: &Call<'_>,
        handle: &OpenFile,
        offset: u64,
        buf: &[u8],
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        self.check_writable(call, IoOp::WriteAt, handle)?;
        let allocates = self.disk.file(handle.ino).cached.cost_of_write(offset, buf.len()) > 0;
        let kind = if allocates
            && self.strikes(FaultKind::F13NoSpace, call.owner, mix(call.seq, IoOp::WriteAt as u64))
        {
            Some(FaultKind::F13NoSpace)
        } else if !buf.is_empty() && self.strikes(FaultKind::F12WriteEio, call.owner, call.seq) {
            Some(FaultKind::F12WriteEio)
        } else {
            None
        };
        let mut landed = self.room_for_write(handle, offset, buf.len());
        let full = landed < buf.len();
        if let Some(kind) = kind {
            let n = u32::try_from(landed + 1).unwrap_or(u32::MAX);
            landed = self.decider.choose(Site::Detail(kind), call.owner, call.seq, n) as usize;
            *struck = Some(kind);
        } else if full {
            self.faults.drawn(FaultKind::F13NoSpace, 1);
            *struck = Some(FaultKind::F13NoSpace);
        }
        self.disk.change_file(handle.ino, |f| f.write(offset, &buf[..landed], call.owner));
        match *struck {
            None => Ok(()),
            Some(FaultKind::F13NoSpace) => Err(no_space(call, IoOp::WriteAt)),
            Some(_) => Err(error(call, IoOp::WriteAt, IoErrorKind::Device, EIO, "the device failed")),
        }
    }

    fn allocate(
        &mut self,
        call: &Call<'_>,
        handle: &OpenFile,
        len: u64,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        self.check_writable(call, IoOp::Allocate, handle)?;
        let cost = self.disk.file(handle.ino).cached.cost_of_allocation(len);
        let drawn =
            cost > 0 && self.strikes(FaultKind::F13NoSpace, call.owner, mix(call.seq, IoOp::Allocate as u64));
        if drawn || !self.has_room(cost) {
            self.faults.drawn(FaultKind::F13NoSpace, u64::from(!drawn));
            *struck = Some(FaultKind::F13NoSpace);
            return Err(no_space(call, IoOp::Allocate));
        }
        self.disk.change_file(handle.ino, |f| f.allocate(len));
        Ok(())
    }

    fn truncate(&mut self, call: &Call<'_>, handle: &OpenFile, len: u64) -> IoResult<()> {
        self.check_writable(call, IoOp::Truncate, handle)?;
        self.disk.change_file(handle.ino, |f| f.truncate(len));
        Ok(())
    }

    /// C7; F09, F10 and no space noticed late.
    fn sync(
        &mut self,
        call: &Call<'_>,
        handle: &OpenFile,
        covers: Covers,
        struck: &mut Option<FaultKind>,
    ) -> IoResult<()> {
        if !self.disk.file(handle.ino).is_clean() {
            let kinds = [FaultKind::F09SyncEio, FaultKind::F10SyncEioRevert, FaultKind::F13SyncNoSpace];
            *struck = kinds.into_iter().find(|kind| self.strikes(*kind, call.owner, call.seq));
        }
        let Some(kind) = *struck else {
            self.synced(handle, covers);
            return Ok(());
        };
        let State { disk, decider, faults, .. } = self;
        // Power cuts count from 1, these from the top.
        let occasion = u64::MAX - call.seq;
        let mut cut = Cut { decider, faults, owner: call.owner, occasion };
        disk.change_file(handle.ino, |file| match kind {
            FaultKind::F10SyncEioRevert => file.sync_failed_reverting(covers.upto, &mut cut),
            _ => file.sync_failed(covers.upto, &mut cut),
        });
        Err(match kind {
            FaultKind::F13SyncNoSpace => no_space(call, IoOp::Sync),
            _ => error(call, IoOp::Sync, IoErrorKind::Device, EIO, "the device failed"),
        })
    }

    fn synced(&mut self, handle: &OpenFile, covers: Covers) {
        self.disk.file_mut(handle.ino).sync(covers.upto);
        if self.disk.profile == DirProfile::Journaled {
            self.disk.commit_journal(covers.journal);
        }
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durably {
    Yes,
    No,
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

fn error(call: &Call<'_>, op: IoOp, kind: IoErrorKind, os: i32, reason: &'static str) -> IoError {
    call.target.error(op, kind, os, reason)
}

fn no_space(call: &Call<'_>, op: IoOp) -> IoError {
    error(call, op, IoErrorKind::NoSpace, ENOSPC, "no space left on the device")
}
