//! Writes and syncs of the log: whoever needs one does it here and now, if nobody else is at it.
use super::incarnation::{Core, Incarnation};
use crate::env::IoResult;
use crate::error::Error;
use crate::mutants;
use crate::sync::MutexGuard;
use crate::wal::commit::Job;
use std::sync::Arc;
use std::task::Waker;

impl Incarnation {
    /// Starts whatever I/O the commit line asks for. Answers that are there at once are taken at once; the driver
    /// waits for the others.
    pub(crate) fn pump(self: &Arc<Self>) {
        let _fences = FenceOnPanic::of(self);
        self.drive_withheld(self.pump_from(self.core()));
    }

    /// Has the driver see to a sync that is withheld: those who are waited for may never come back. Whoever may have taken
    /// the answer to the sync before it has to ask this, since others began to wait while that one ran.
    pub(super) fn drive_withheld(self: &Arc<Self>, core: MutexGuard<'_, Core>) {
        let withholds = core.line.withholds();
        drop(core);
        if withholds {
            self.wake_driver();
        }
    }

    /// The same for a caller who has the lock and goes on with it. It is free during I/O, and while somebody is woken. The
    /// caller has a [`FenceOnPanic`].
    pub(super) fn pump_from<'a>(self: &'a Arc<Self>, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        let (mut needs_driver, mut wakers) = (false, Vec::new());
        while let Some(job) = core.line.next_job() {
            // Until the I/O was issued the opening cannot end, even where a fence makes everything else end.
            let issuing = Issuing::begin(self, &mut core);
            drop(core);
            wakers.drain(..).for_each(Waker::wake);
            match job {
                Job::Write(job) => {
                    let (file, offset) = (job.file.clone(), job.offset);
                    let (bytes, chain) = job.seal();
                    let answer = file.write_at(offset, bytes).try_take();
                    core = self.core();
                    issuing.end(&mut core);
                    match answer {
                        Ok(result) => self.write_done(&mut core, result, chain, &mut wakers),
                        Err(io) => {
                            core.write = Some((io, chain));
                            needs_driver = true;
                        }
                    }
                }
                Job::Sync(file) => {
                    let answer = file.sync().try_take();
                    core = self.core();
                    issuing.end(&mut core);
                    match answer {
                        Ok(result) => self.sync_done(&mut core, result, &mut wakers),
                        Err(io) => {
                            core.sync = Some(io);
                            needs_driver = true;
                        }
                    }
                }
            }
            needs_driver |= core.line.is_fenced() || core.follows_log;
        }
        if wakers.is_empty() && !needs_driver {
            return core;
        }
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        if needs_driver {
            self.wake_driver();
        }
        self.core()
    }

    /// Takes an answer under the lock, and wakes whom it concerns without it.
    pub(crate) fn answered(&self, take: impl FnOnce(&mut Core, &mut Vec<Waker>)) {
        let mut wakers = Vec::new();
        take(&mut self.core(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The write under way returned; `wakers` are to be woken without the lock.
    pub(crate) fn write_done(
        &self,
        core: &mut Core,
        result: IoResult<Vec<u8>>,
        chain: u32,
        wakers: &mut Vec<Waker>,
    ) {
        if core.line.is_fenced() {
            return;
        }
        match result {
            Ok(buffer) => {
                let moved = core.line.wrote(chain, buffer);
                core.moved(moved, wakers);
                if core.line.should_sync(self.context.config.flush_bytes()) {
                    let written = core.line.written();
                    core.line.want_power(written);
                }
            }
            Err(io) => self.fence(core, Error::io("the log could not be written", io), wakers),
        }
    }

    /// The sync under way returned; `wakers` are to be woken without the lock.
    pub(crate) fn sync_done(&self, core: &mut Core, result: IoResult<()>, wakers: &mut Vec<Waker>) {
        if core.line.is_fenced() {
            return;
        }
        match result {
            Ok(()) => {
                let moved = core.line.synced();
                core.moved(moved, wakers);
                let durable = core.line.durable();
                let mut layers = self.layers.write();
                let before = layers.active.bytes();
                layers.active.set_durable(durable);
                layers.moved(&self.context.budget, before, layers.active.bytes());
            }
            Err(_) if mutants::on("retry-failed-sync") => core.line.forget_failed_sync(),
            Err(io) => self.fence(core, Error::io("the log could not be synced", io), wakers),
        }
    }
}

/// One job of the commit line is being issued, without the lock.
struct Issuing<'a>(Option<&'a Incarnation>);

impl<'a> Issuing<'a> {
    fn begin(incarnation: &'a Incarnation, core: &mut Core) -> Issuing<'a> {
        core.issuing += 1;
        Issuing(Some(incarnation))
    }

    fn end(mut self, core: &mut Core) {
        self.0 = None;
        core.issuing -= 1;
    }
}

impl Drop for Issuing<'_> {
    fn drop(&mut self) {
        if let Some(incarnation) = self.0 {
            // The environment panicked: there is no I/O that the opening has to wait for.
            incarnation.core().issuing -= 1;
        }
    }
}

/// A panic in a step of a commit or of the log's I/O is our own broken invariant, or the environment's: it fences the space,
/// so that nobody builds on half a step or waits for the other half. A caller may commit while a panic of its own unwinds:
/// that one is none of the space's. To be made without the lock, and before it is taken.
pub(super) struct FenceOnPanic<'a> {
    incarnation: &'a Incarnation,
    unwinds_already: bool,
}

impl<'a> FenceOnPanic<'a> {
    pub(super) fn of(incarnation: &'a Incarnation) -> FenceOnPanic<'a> {
        FenceOnPanic { incarnation, unwinds_already: crate::sync::unwinds() }
    }
}

impl Drop for FenceOnPanic<'_> {
    fn drop(&mut self) {
        if crate::sync::unwinds() && !self.unwinds_already {
            self.incarnation.fence_after_panic();
        }
    }
}
