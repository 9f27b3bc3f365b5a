//! What each verb does at its release, with the faults that may strike it, and what may still happen of it at a crash.
mod files;
mod names;

use crate::decide::Site;
use crate::verbs::{Delivery, Target, Verb, What, Work};
use crate::world::{State, World};
use bulkhead::env::{Access, IoError, IoErrorKind, IoOp, Missing};

const ENOSPC: i32 = 28;

/// One call: who, its number, and on what.
struct Call<'a> {
    world: &'a World,
    owner: u64,
    seq: u64,
    target: &'a Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durably {
    Yes,
    No,
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
            Verb::DiskSpace(dir, done) => Delivery::DiskSpace(done, self.disk_space(&call, dir)),
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
}

fn error(call: &Call<'_>, op: IoOp, kind: IoErrorKind, os: i32, reason: &'static str) -> IoError {
    call.target.error(op, kind, os, reason)
}

fn no_space(call: &Call<'_>, op: IoOp) -> IoError {
    error(call, op, IoErrorKind::NoSpace, ENOSPC, "no space left on the device")
}
