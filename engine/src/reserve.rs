//! Room on the disk that puts never get, so that a full disk can be emptied.
//!
//! The file `.reserve` in the data root holds it: bytes that are allocated, since what merely is free somebody else may
//! take. Deletes, flushes, manifests and recoveries that find no room have as much of it cut off as they lack, and try
//! again. From then on puts are refused with `NoSpace`, before anything is ordered; each one that comes tries to make the
//! reserve whole again, and so does whoever needs log space. So puts resume by themselves once there is room.
//!
//! It is made when log space is first needed: an engine that only reads leaves the disk as it is. Its bytes mean nothing
//! and nothing depends on their surviving a crash, so it is never synced; what a crash leaves of it is made whole like any
//! other rest of it. Where it cannot be made for another reason than room, the engine does without, as if none were
//! configured.
//!
//! An error that says *no space* although enough is free may mean that room has come since: another try is worth it. Of
//! several who try at once one may take what was given to another, and more is given then, so that tries after that say
//! nothing about those before. If [`TRIES`] in a row find enough while nothing is given to anybody it is somebody's quota,
//! or a fault: that is no business of this module, and whoever got it is told.
use crate::codec::align_up;
use crate::env::{Access, Dir, DiskSpace, IoResult};
use crate::error::{Error, ErrorKind};
use crate::limits::{PAGE, RESERVE_PART, RESERVE_SLACK};
use crate::mutants;
use crate::paths::RESERVE_FILE;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reserve {
    root: Arc<dyn Dir>,
    /// What is configured.
    most: u64,
    /// What the first field of it says is told by `puts_wait` too, which every put asks.
    stand: Mutex<Stand>,
    puts_wait: AtomicBool,
    /// Whose turn it is to change the file, and how the last try to make it whole ended.
    turn: tokio::sync::Mutex<Option<Tried>>,
    /// Tries that have begun.
    begun: AtomicU64,
}

#[derive(Debug)]
struct Stand {
    is: Is,
    tells: ReserveStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// Not made yet, or lent in part.
    Short,
    Whole,
    /// It could not be made, and not for want of room.
    Without,
}

#[derive(Debug)]
struct Tried {
    number: u64,
    short: Option<Short>,
}

/// How the reserve for deletes stands; see [`crate::Options::reserve_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReserveStats {
    /// Bytes that it holds when it is whole; 0 until log space was first needed.
    pub bytes: u64,
    /// Bytes that it holds now.
    pub held: u64,
    /// How often some of it was given to a delete, a flush, a manifest or a recovery.
    pub lent: u64,
    /// How often nothing was left of it to give.
    pub ran_out: u64,
    /// How often it was made whole, the first time included.
    pub made: u64,
    /// Puts get `NoSpace`, unless it can be made whole when one comes.
    pub holds_puts: bool,
}

/// Why the reserve is not whole: so many bytes are missing, and so many are free on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    missing: u64,
    free: u64,
}

impl From<Short> for Error {
    fn from(Short { missing, free }: Short) -> Error {
        Error::new(
            ErrorKind::NoSpace,
            format!(
                "the disk is full: the reserve for deletes and flushes lacks {missing} bytes, and {free} are free"
            ),
        )
        .advice("Delete something or free disk space; reads go on, and puts resume by themselves.")
    }
}

/// Whether something of the reserve was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lent {
    /// Try again: there is more room now.
    Yes,
    /// There is none, or room is not what was lacking.
    No,
}

enum Given {
    Some,
    /// There is none left.
    Nothing,
    /// Enough is free.
    NotLacking,
}

/// How often one who finds no room is told that there is enough, while nothing is given to anybody.
const TRIES: u32 = 3;

/// What one who finds no room has been told so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// How often in a row that there is enough.
    enough: u32,
    /// How often something had been given to anybody when that was told last.
    lent: u64,
}

impl Asked {
    /// Whether to try once more: there is enough, and something has been given so often so far.
    fn again(&mut self, lent: u64) -> bool {
        if self.lent != lent {
            *self = Asked { enough: 0, lent };
        }
        self.enough += 1;
        self.enough <= TRIES
    }
}

/// Whether what is done may take room from the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Reserve,
    Nothing,
}

impl Reserve {
    /// A reserve of `most` bytes, less on a small disk and none if that is 0, in the directory `root`.
    pub(crate) fn new(root: Arc<dyn Dir>, most: u64) -> Reserve {
        let is = if most == 0 { Is::Without } else { Is::Short };
        Reserve {
            root,
            most,
            stand: Mutex::new(Stand { is, tells: ReserveStats::default() }),
            puts_wait: AtomicBool::new(is == Is::Short),
            turn: tokio::sync::Mutex::new(None),
            begun: AtomicU64::new(0),
        }
    }

    /// Whether puts may go on. If not, [`Reserve::refill`] says whether they may then.
    pub(crate) fn admits_puts(&self) -> bool {
        !self.puts_wait.load(Ordering::Acquire) || mutants::on("puts-take-the-reserve")
    }

    fn stands(&self, is: Is, tell: impl FnOnce(&mut ReserveStats)) {
        let mut stand = self.stand.lock();
        stand.is = is;
        stand.tells.holds_puts = is == Is::Short;
        self.puts_wait.store(is == Is::Short, Ordering::Release);
        tell(&mut stand.tells);
    }

    pub(crate) fn stats(&self) -> ReserveStats {
        self.stand.lock().tells
    }

    /// What is free on the disk, where that can be told.
    pub(crate) async fn free(&self) -> Option<u64> {
        self.root.disk_space().await.ok().map(|disk| disk.free)
    }

    /// Makes it whole, unless it is. Those who come while somebody tries wait for the next try together.
    ///
    /// # Errors
    /// There is not enough room for it.
    pub(crate) async fn refill(&self) -> Result<(), Short> {
        if self.most == 0 || self.stand.lock().is == Is::Whole {
            return Ok(());
        }
        let seen = self.begun.load(Ordering::Acquire);
        let mut turn = self.turn.lock().await;
        if self.stand.lock().is == Is::Whole {
            return Ok(());
        }
        if let Some(Tried { number, short: Some(short) }) = &*turn
            && *number > seen
        {
            return Err(*short);
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let short = match self.make().await {
            Ok(short) => short,
            Err(e) => {
                tracing::warn!(error = %e, "there is no reserve for deletes on a full disk");
                self.stands(Is::Without, |_| {});
                None
            }
        };
        *turn = Some(Tried { number, short });
        short.map_or(Ok(()), Err)
    }

    async fn make(&self) -> IoResult<Option<Short>> {
        let disk = self.root.disk_space().await?;
        let bytes = align_up(self.most.min(disk.total / RESERVE_PART).max(1), PAGE as u64);
        let file = match self.root.open(RESERVE_FILE, Access::Write).await {
            Err(e) if e.is_not_found() => self.root.create(RESERVE_FILE).await?,
            opened => opened?,
        };
        let mut held = file.len().await?;
        if held > bytes {
            // It was made for a larger one.
            file.truncate(bytes).await?;
            held = bytes;
        }
        let mut short = self.lacks(bytes - held, disk);
        if short.is_none() && mutants::on("reserve-not-made-again") && self.stats().lent > 0 {
            short = Some(Short { missing: bytes - held, free: disk.free });
        }
        if short.is_none()
            && let Err(e) = file.allocate(bytes).await
        {
            held = file.len().await?.min(bytes);
            // Somebody else was quicker, or it is not room that is lacking.
            short = Some(self.lacks(bytes - held, self.root.disk_space().await?).ok_or(e)?);
        }
        match short {
            Some(_) => self.stands(Is::Short, |tells| (tells.bytes, tells.held) = (bytes, held)),
            None => self.stands(Is::Whole, |tells| {
                (tells.bytes, tells.held) = (bytes, bytes);
                tells.made += 1;
            }),
        }
        Ok(short)
    }

    fn lacks(&self, missing: u64, disk: DiskSpace) -> Option<Short> {
        (disk.free < missing).then_some(Short { missing, free: disk.free })
    }

    /// Gives as much of it to the file system as it lacks for `needed` bytes. Whoever found no room for them tries again
    /// then, with the same `asked`; a few tries and nothing is left.
    pub(crate) async fn lend(&self, needed: u64, asked: &mut Asked) -> Lent {
        if self.most == 0 {
            return Lent::No;
        }
        let _turn = self.turn.lock().await;
        let given = self.give(needed).await;
        if let Err(e) = &given
            && !e.is_not_found()
        {
            tracing::warn!(error = %e, "the reserve for deletes could not be used");
        }
        match given {
            Ok(Given::Some) => Lent::Yes,
            // What others borrowed or gave back at the same time.
            Ok(Given::NotLacking) if asked.again(self.stats().lent) => Lent::Yes,
            Ok(Given::NotLacking) => Lent::No,
            Ok(Given::Nothing) | Err(_) => {
                self.stand.lock().tells.ran_out += 1;
                Lent::No
            }
        }
    }

    async fn give(&self, needed: u64) -> IoResult<Given> {
        let wanted = needed.saturating_add(RESERVE_SLACK);
        let disk = self.root.disk_space().await?;
        if disk.free >= wanted {
            return Ok(Given::NotLacking);
        }
        let file = self.root.open(RESERVE_FILE, Access::Write).await?;
        let held = file.len().await?;
        if held == 0 {
            return Ok(Given::Nothing);
        }
        let left = held.saturating_sub(align_up(wanted - disk.free, PAGE as u64));
        // Before anything is free: no put may see room that was made for others.
        self.stands(Is::Short, |_| {});
        file.truncate(left).await?;
        self.stands(Is::Short, |tells| {
            tells.held = left;
            tells.lent += 1;
        });
        tracing::warn!(given = held - left, left, "the disk is full: deletes and flushes use their reserve");
        Ok(Given::Some)
    }
}
