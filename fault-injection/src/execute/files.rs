//! Verbs that concern the bytes of a file.
use super::{Call, error, no_space};
use crate::decide::{Site, mix};
use crate::dir::Ino;
use crate::disk::DirProfile;
use crate::image::{LOST, NOBODY, PAGE, SECTOR};
use crate::plan::FaultKind;
use crate::survive::Cut;
use crate::verbs::{Covers, OpenFile};
use crate::violation::ViolationKind;
use crate::world::State;
use bulkhead::env::{Access, IoErrorKind, IoOp, IoResult, Owner};
use std::ops::Range;

const EIO: i32 = 5;
const EBADF: i32 = 9;

impl State {
    pub(super) fn read(
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
            } else if writer < LOST && writer != 0 && writer != call.owner {
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
    fn notice_sectors(&mut self, ino: Ino, sectors: Range<u64>, to_the_end: bool) {
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

    pub(super) fn seen_len(&mut self, ino: Ino) -> u64 {
        self.notice_len(ino);
        self.disk.file(ino).cached.len()
    }

    pub(super) fn len(&mut self, handle: &OpenFile) -> IoResult<u64> {
        Ok(self.seen_len(handle.ino))
    }

    pub(super) fn has_room(&self, cost: u64) -> bool {
        cost == 0 || self.capacity.is_none_or(|capacity| self.disk.used + self.taken + cost <= capacity)
    }

    /// How many of the first `len` bytes of a write the device has room for.
    pub(super) fn room_for_write(&self, handle: &OpenFile, offset: u64, len: usize) -> usize {
        let image = &self.disk.file(handle.ino).cached;
        if self.has_room(image.cost_of_write(offset, len)) {
            return len;
        }
        let mut end = PAGE - (offset % PAGE as u64) as usize;
        while end < len && self.has_room(image.cost_of_write(offset, end)) {
            end += PAGE;
        }
        end.saturating_sub(PAGE).min(len)
    }

    fn check_writable(&mut self, call: &Call<'_>, op: IoOp, handle: &OpenFile) -> IoResult<()> {
        if handle.access != Access::Write {
            self.violation(ViolationKind::WriteToReadHandle, call.owner, call.target, None, None);
            return Err(error(call, op, IoErrorKind::Denied, EBADF, "the handle is for reading"));
        }
        Ok(())
    }

    pub(super) fn write(
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

    pub(super) fn allocate(
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

    pub(super) fn truncate(&mut self, call: &Call<'_>, handle: &OpenFile, len: u64) -> IoResult<()> {
        self.check_writable(call, IoOp::Truncate, handle)?;
        self.disk.change_file(handle.ino, |f| f.truncate(len));
        Ok(())
    }

    /// C7; F09, F10 and no space noticed late.
    pub(super) fn sync(
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

    pub(super) fn synced(&mut self, handle: &OpenFile, covers: Covers) {
        self.disk.file_mut(handle.ino).sync(covers.upto);
        if self.disk.profile == DirProfile::Journaled {
            self.disk.commit_journal(covers.journal);
        }
    }
}
