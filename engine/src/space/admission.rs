//! How a write gets in: state, precondition, brakes, memory, room in the log; then, in the same step, its LSN.
use super::incarnation::{Incarnation, Preparing};
use super::pump::FenceOnPanic;
use crate::batch::{Expected, Operations, Precondition, Sizes};
use crate::budget::Admits;
use crate::cache::Use;
use crate::codec::put_varint;
use crate::error::{Error, ErrorKind, Rejected, Result};
use crate::ids::{Lsn, Priority};
use crate::plan::flush::Throttle;
use crate::wal::commit::{Room, segment_for};
use crate::wal::operation::Operation;
use std::sync::Arc;
use std::time::Duration;

/// What an attempt to commit came to.
#[derive(Debug)]
pub(crate) enum Attempt {
    Ordered(Lsn),
    /// Wait until the log's room differs from this.
    Wait(u64),
    /// Writers are held back: wait for so long.
    Pace(Duration),
    /// The disk is full: whether there is room for puts again is for [`crate::reserve::Reserve::refill`] to find out.
    Refill,
    /// Look into tables for the precondition's key: [`Incarnation::look_up`].
    LookUp,
}

/// What a write has been through on its way in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// It has waited as long as it had to.
    pub(crate) paced: bool,
    /// What tables of this generation hold of the precondition's key: its newest version, and whether that is a value.
    pub(crate) looked_up: Option<(u64, Option<(Lsn, bool)>)>,
    /// It found no room in the space, and gives up once this many searches for some have ended.
    pub(crate) searched_by: Option<u64>,
}

impl Incarnation {
    /// Tries to order a commit, in one step: state, precondition, budget, room, LSN, log, memtable.
    pub(crate) fn try_commit(
        self: &Arc<Self>,
        operations: Operations<'_>,
        sizes: Sizes,
        precondition: Option<&Precondition>,
        admission: &mut Admission,
    ) -> Result<Attempt> {
        let body = crate::codec::varint_len(operations.len() as u64) + sizes.encoded;
        let _fences = FenceOnPanic::of(self);
        let mut guard = self.core();
        let core = &mut *guard;
        self.writable(core)?;
        if sizes.puts && !self.context.reserve.admits_puts() {
            return Ok(Attempt::Refill);
        }
        if let Some(precondition) = precondition
            && !self.check(precondition, admission)?
        {
            return Ok(Attempt::LookUp);
        }
        if sizes.puts && !self.fits(core, sizes.adds, admission)? {
            let changes = core.room.changes;
            drop(guard);
            self.wake_driver();
            return Ok(Attempt::Wait(changes));
        }
        match self.brake(core) {
            Throttle::Stop => {
                if let Some(error) = self.flush_is_blocked(core) {
                    return Err(error);
                }
                let changes = core.room.changes;
                drop(guard);
                self.wake_driver();
                return Ok(Attempt::Wait(changes));
            }
            Throttle::Slow { micros_per_kib } if !admission.paced => {
                admission.paced = true;
                if let Some(due) = core.debt.charge(micros_per_kib, sizes.memory) {
                    return Ok(Attempt::Pace(due));
                }
            }
            Throttle::Slow { .. } | Throttle::None => {}
        }
        let admits = if sizes.puts { Admits::Puts } else { Admits::DeletesOnly };
        if !self.context.budget.admits(sizes.memory, admits, || self.layers.read().bytes()) {
            let changes = core.room.changes;
            drop(guard);
            return match self.context.budget.wait_for(self) {
                true => Ok(Attempt::Wait(changes)),
                false => Err(self.over_budget(sizes.memory)),
            };
        }
        let room =
            if core.line.has_epoch() { core.line.room(body) } else { Room::Prepare(segment_for(body)) };
        if room != Room::Here {
            let changes = core.room.changes;
            core.log_takes_reserve |= !sizes.puts && room != Room::Buffer;
            core.ask_for(room);
            drop(guard);
            self.pump();
            self.wake_driver();
            return Ok(Attempt::Wait(changes));
        }
        let count = operations.len() as u64;
        let lsn = core.line.order(body, |out| {
            put_varint(out, count);
            operations.for_each(|op| op.encode(out));
        });
        core.quota.used(sizes.adds);
        let mut layers = self.layers.write();
        let before = layers.active.bytes();
        let mem = &mut layers.active;
        mem.begin(lsn);
        operations.for_each(|op| match op {
            Operation::Put { key, value, priority } => mem.apply(key, Some(value), priority),
            Operation::Delete { key } => mem.apply(key, None, Priority::default()),
            Operation::DeleteRange { start, end } => mem.apply_range(start, end),
        });
        let after = mem.bytes();
        layers.moved(&self.context.budget, before, after);
        drop(layers);
        let heavy = {
            let tiers = self.tiers.read();
            after >= tiers.memtable_bytes() || core.line.bytes_since_rotation() >= tiers.log_bytes()
        };
        // The next segment is made ahead of need.
        let prepares = core.wants_segment();
        if prepares {
            core.preparing = Preparing::Segment(0);
        }
        if heavy {
            self.consider(core);
        }
        let starts = self.must_start_driver(core);
        let full = core.line.is_full();
        let waker = if heavy || prepares { core.take_driver_waker() } else { None };
        drop(guard);
        if starts {
            self.start_driver();
        } else if let Some(waker) = waker {
            waker.wake();
        }
        if full {
            self.pump();
        }
        if self.context.budget.is_short() {
            self.context.budget.relieve();
        }
        Ok(Attempt::Ordered(lsn))
    }

    /// Waits as long as writers are held back for; what the timer takes longer counts for those who come next.
    pub(crate) async fn pace(&self, due: Duration) {
        let env = &self.context.env;
        let began = env.now();
        env.sleep(self.owner, due).await;
        let took = env.now().saturating_sub(began);
        self.core().debt.overslept(took.saturating_sub(due));
    }

    /// Whether the precondition could be decided; it holds then. If not, tables must be looked into first.
    fn check(&self, precondition: &Precondition, admission: &Admission) -> Result<bool> {
        let layers = self.layers.read();
        let found = match (layers.newest(&precondition.key), &admission.looked_up) {
            (Some(found), _) => Some(found),
            (None, Some((generation, found))) if *generation == layers.under.generation => *found,
            (None, _) if !layers.under.tables.may_hold(&precondition.key) => None,
            (None, _) => return Ok(false),
        };
        drop(layers);
        let holds = match precondition.expected {
            Expected::Absent => !matches!(found, Some((_, true))),
            Expected::WrittenBy(lsn) => found == Some((lsn, true)),
        };
        if holds {
            return Ok(true);
        }
        let found = match found {
            Some((lsn, true)) => format!("it was written by commit {lsn}"),
            _ => "it is absent".to_owned(),
        };
        Err(Error::rejected(
            Rejected::Precondition,
            format!("the precondition on a key does not hold: {found}"),
        )
        .in_space(&self.id)
        .expected(format!("{:?}", precondition.expected))
        .advice("Read the key again and decide anew; nothing was done."))
    }

    /// What tables hold of `key` now, for [`Incarnation::check`].
    pub(crate) async fn look_up(&self, key: &[u8]) -> Result<(u64, Option<(Lsn, bool)>)> {
        let under = self.layers.read().under.clone();
        let found = under.tables.find(self.reads(Use::Point), key, Lsn::from_raw(u64::MAX)).await;
        let found = found.map_err(|e| self.unreadable(e))?;
        Ok((under.generation, found.map(|hit| (hit.lsn, hit.value.is_some()))))
    }

    fn over_budget(&self, bytes: u64) -> Error {
        let budget = &self.context.budget;
        Error::new(
            ErrorKind::Busy { retry_after: Duration::from_millis(100) },
            format!(
                "the memory budget is used up: {} of {} bytes, {bytes} more needed",
                budget.used(),
                budget.limit()
            ),
        )
        .in_space(&self.id)
        .advice("Delete something, or open the engine with a larger memory-budget; nothing was done.")
    }
}
