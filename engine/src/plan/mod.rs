//! What a space should do next: flush, merge, move data between tiers. Pure: facts in, a plan out.
//!
//! Nothing here reads a file, a clock or a lock, and nothing here does anything. An executor takes a plan, does its I/O
//! and answers with what came of it; [`MovePlan::edits`], [`MergePlan::edits`] and [`promote::edits`] say what that is as
//! edits of the version. At most one flush and one other job of a space run at a time, and a job's edits apply only if
//! all its inputs are still live.
//!
//! # The rule
//! *For any key, a higher tier never holds an older version than a lower one*; the order is memory, hot from the newest
//! table to the oldest, warm, cold. A range delete is a version of every key that it covers, a tombstone is a version. So
//! a reader at an LSN may stop at the first table that has a version at or below that LSN, and a merge knows that what is
//! not among its inputs is newer if it lies above them and older if below.
//!
//! Every job keeps the rule:
//! - A *flush* takes the oldest memtables to the newest end of hot. They are newer than every table.
//! - A *merge* in hot takes neighbours in age and puts the result in their place.
//! - A *move* takes, of one stretch of keys, **all** versions that some hot tables hold (or one table of a run), and with them
//!   every table of the tier below that overlaps. Of hot it takes the oldest tables, or such as meet no older one that stays.
//!   What it moves is older than all that stays above, since any table that stays and holds such a key is newer; and it is newer than all that lies further down. The stretch ends
//!   at a bound that separates keys, so that the versions of one key are never parted. [`Take::Deletes`] leaves some keys
//!   where they are, with all of their versions.
//! - A *promotion* copies one version up, and needs a proof of its own.
//!
//! # Priority
//! Under pressure the hot tables of the lowest priority leave first, and of equal ones the oldest; likewise those of warm. A
//! table has the highest priority of its entries. With a hot table go all older ones that meet it, by the rule, so theirs
//! count as well. That is all that priorities do: they change no order of versions, keep nothing from a merge, and
//! nothing that comes of age in its tier. It goes by tables: entries whose keys lie among each other share theirs, and
//! leave together.
//!
//! # Promotion
//! A promotion was planned when a reader found the key's newest version at LSN `L` in warm or cold. Since then the key may
//! have been overwritten, deleted, or moved. So the executor looks it up again once its job has begun, and copies only if
//! the newest version found is still `L`, a value, and not in hot ([`promote::confirm`]). From that look until the edit is
//! in effect no other job makes an edit, but flushes may. The copy goes **right above the hot tables that the look saw**,
//! below those that were flushed since. Then:
//! 1. None of the hot tables that the look saw holds a version of the key: the search goes from the top and found `L`
//!    first, further down. No job has changed them since.
//! 2. Hot tables that were flushed since hold versions that were in memory at the look. These are newer than all that was
//!    in tables then, so newer than `L`, and they lie above the copy.
//! 3. Every version below is at most `L`, by the search, and no job has changed warm or cold since.
//! 4. Every version that memory holds is newer than all tables, so newer than `L`, and a later flush puts it above.
//!
//! So a flush between the look and the edit costs nothing: nothing has to be looked at again. Were the copy the newest hot
//! table instead, it would lie above what was flushed meanwhile, perhaps a newer version or a delete. Without looking
//! again, 1 fails after an overwrite was flushed. If the look passed over tombstones, the copy would lie above the delete
//! that ended it, and the key would be back. If it looked into what was there before the job began, a tombstone could have
//! been there, come down and be gone since: likewise. The copy and its original are the same version; where they meet in
//! a merge they become one. A snapshot that sees `L` may read either; one that does not sees neither.
//!
//! # Tables that go at once
//! Call a table *hidden* if range tombstones cover every key of its range, each in a table above it, each newer than all
//! of the table (as the rule has it anyway), and each at or below the floor. A hidden table leaves the version without being read ([`hidden`]).
//! 1. Let a reader, at the floor or above, look for a key of its range. Above the table it meets a range tombstone that
//!    covers the key and that it sees. It stops there or higher up, today and whenever it comes: so nobody ever comes as
//!    far as the table, and nobody sees that it is gone.
//! 2. Its own tombstones and range tombstones may have hidden versions in lower tiers. These lie under the same range
//!    tombstones of 1, and stay hidden as long as those live. One goes only in a merge or move that finds nothing in its
//!    range below, or with its table: by this rule, or since nothing lies below that table. The lower tables count there
//!    by their ranges, whether the hidden table is there or not, so the range tombstone outlives what it hides.
//! 3. A table that hides others may itself be hidden, by range tombstones that are further up, cover all of its range
//!    and are newer than its own. They cover what it covers: the others are hidden without it, and all of them may go in
//!    one edit. Of the topmost ones nothing goes.
//! 4. What leaves from the middle puts no two tables into another order: the rule of tiers holds as before.
//! 5. Only range tombstones in tables count. The edit names a version that holds them; one that is in the log alone could
//!    be cut off with it by a repair, and what it hid would be missed. So memory is flushed first ([`flush::Seal::Hidden`]).
//!
//! A table of nothing but range tombstones at or below the floor goes when nothing lies below it in its range: whoever
//! comes as far finds nothing in it and nothing below. Nothing can come to lie there: flushes put their tables on top,
//! moves bring down what lay above, and a promotion copies only what was below.
//!
//! Both take a job's turn, so that no merge or move counts on a table that goes, or on a range tombstone that moves.
//!
//! # What may be dropped
//! Readers are at the *floor* (the lower of the oldest snapshot and the durable watermark) or above. Of the versions of a
//! key at or below the floor all but the newest go. That one goes too if it is a delete and the job's [`Below`] holds
//! nothing of the key. A range delete at or below the floor goes where `Below` holds nothing of its range.
mod below;
pub mod capacity;
mod choose;
pub mod flush;
pub mod heat;
pub mod hidden;
mod job;
pub mod promote;

#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;

pub use below::Below;
pub use choose::next;
pub use job::{MergePlan, MovePlan, Moved, Take};

use crate::config::{Amount, Tiers};
use crate::ids::{FileUid, Lsn};
use crate::manifest::Version;
use crate::table::Extent;
use std::collections::{BTreeMap, BTreeSet};

/// What [`next`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub version: &'a Version,
    pub tiers: &'a Tiers,
    /// Wall time, in milliseconds since the Unix epoch. Steers what moves by age, nothing else.
    pub now_ms: u64,
    /// Last accesses since the space was opened, in the same time; files without one count by their table's entry.
    pub accessed: &'a BTreeMap<FileUid, u64>,
    /// Tables of which a job with [`Take::Deletes`] would take nothing, at the floor of now: those that such a job left
    /// behind ([`Moved::kept`]), and merges of nothing but these ([`MergePlan::is_barren`]). None once the floor has moved.
    pub barren: &'a BTreeSet<FileUid>,
    /// Hot tables that came of merges which did not make them fewer: merging nothing but these would not either. None once
    /// the floor has moved.
    pub apart: &'a BTreeSet<FileUid>,
    /// Range tombstones of tables that have some and are open.
    pub extents: &'a BTreeMap<FileUid, &'a Extent>,
    /// Tables that are not to be opened for the sake of these: they were already.
    pub looked: &'a BTreeSet<FileUid>,
    /// No reader is below this: see the module.
    pub floor: Lsn,
    /// What memtables hold.
    pub memory: Amount,
    /// Entries read repeatedly.
    pub wanted: &'a [promote::Wanted],
    pub puts: capacity::Puts,
    /// Bytes of versions in tables that were kept for pins alone, all of which are gone.
    pub released: &'a BTreeMap<FileUid, u64>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    Merge(MergePlan),
    Move(MovePlan),
    Promote(promote::PromotePlan),
    Free(hidden::FreePlan),
}

impl Plan {
    /// What kind of job it is, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Plan::Merge(_) => "merge",
            Plan::Move(_) => "move",
            Plan::Promote(_) => "promotion",
            Plan::Free(_) => "removal",
        }
    }
}
