//! Situations that a hunt must get into, counted where they take effect.
use serde::{Deserialize, Serialize};

macro_rules! probes {
    ($($(#[$doc:meta])* $probe:ident = $name:literal;)*) => {
        /// A situation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Probe { $($(#[$doc])* $probe,)* }

        impl Probe {
            /// All of them.
            pub const ALL: &[Probe] = &[$(Probe::$probe),*];
            /// The name, as in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Probe::$probe => $name,)* }
            }
        }
    };
}

probes! {
    /// Recovery cut a torn tail.
    TornTail = "torn tail recovered";
    /// Recovery copied frames forward.
    CopyForward = "copied forward";
    /// Valid frames behind a torn one were discarded.
    DiscardedFrames = "valid frames discarded";
    /// A sealed log was opened without writing.
    SealedOpen = "sealed log opened";
    /// A second segment was made in one opening.
    SparePrepared = "spare prepared";
    /// A third one was, so the second is in use.
    Rotation = "log rotated";
    /// Log space could not be reserved, and nothing was ordered.
    NoSpaceAtReservation = "no space at reservation";
    /// A delete was let in while puts were not, since it found room in the reserve.
    DeletedOnReserve = "a delete was taken from the reserve";
    /// A put was let in after the reserve had been used and made whole again.
    PutAfterRefill = "puts resumed behind a full disk";
    FenceByWrite = "fenced by a write";
    FenceBySync = "fenced by a sync";
    /// Of a directory, or of a manifest's names.
    FenceByName = "fenced by a directory";
    /// A kill followed by a power cut.
    KillThenPower = "kill, then power cut";
    /// A crash before all spaces were open again.
    NestedCrash = "crash in recovery";
    /// Two of them in a row.
    NestedTwice = "crash in recovery, twice";
    /// A half-made space was found and went.
    CreationPurged = "creation cut short and purged";
    /// A newer manifest that does not verify was ignored.
    TornManifest = "torn manifest ignored";
    /// A crash came while a batch was not settled.
    BatchAcrossCrash = "batch across a crash";
    /// Two clients made a space at the same time.
    FirstTouches = "concurrent first touches";
    /// A space's opening was ended by itself.
    ShutDown = "shut down";
    /// A space was full by limits of its own.
    FullByItsOwn = "full by its own limits";
    /// A space was reopened after a fence.
    ReopenedAfterFence = "reopened after a fence";
    /// A snapshot was compared that an earlier opening or a fence had left behind.
    OldSnapshot = "snapshot outlived its opening";
    /// A snapshot or a scan was refused since its space has limits for them.
    SnapshotExpired = "snapshot expired";
    /// Likewise, for the bytes that it and others held back.
    ExpiredForBytes = "snapshot expired for bytes";
    /// Likewise, and had shown some entries before.
    ExpiredMidway = "snapshot expired under a scan";
    /// A snapshot served that was old enough to expire, and held nothing back.
    OldAndHarmless = "old snapshot held nothing back";
    /// A write whose future was dropped had been ordered.
    AbandonedOrdered = "abandoned write was ordered";
    /// A write whose future was dropped left nothing.
    AbandonedNothing = "abandoned write left nothing";
    /// A machine stopped whose manifest names a table.
    Flushed = "flushed";
    SeveralTables = "several tables";
    WarmTables = "tables in warm";
    ColdTables = "tables in cold";
    /// A table was written, and the manifest does not name it yet.
    TableNotNamed = "crash before a table was named";
    /// The manifest names a table, and the log behind it is not removed yet.
    FlushedNotCut = "crash before the log was cut";
    /// A space was opened that has tables.
    OpenedWithTables = "opened with tables";
    /// Commits lay in tables and in the log.
    TablesAndLog = "opened with tables and a log";
    /// A range delete was replayed from a log.
    RangeDeleteRecovered = "range-delete-recovered";
    /// A machine stopped whose manifest names a table with range deletes.
    RangeDeleteFlushed = "range-delete-flushed";
    /// The same in a lower tier.
    RangeDeleteMoved = "range-delete-moved-down";
    /// A key was read whose value lies in a table, and which a newer range delete covers.
    RangeDeleteCovers = "range-delete-covers-lower-tier-read";
    /// An entry was read with the priority that recovery had found in the log.
    PriorityRecovered = "a priority recovered from the log";
    /// One was read with a priority from warm or cold: it lay in tables when its space was opened, and hot is empty.
    PriorityBelow = "a priority read from a lower tier";
    /// A table went without a rewrite since range deletes hid all of it, or it was nothing but such that hid nothing.
    RangeDeleteFreed = "range-delete-freed-tables";
    /// An opening copied entries up into hot.
    Promoted = "promoted";
    /// An entry that was to be promoted was overwritten, deleted or moved before.
    PromotionLeft = "promotion left";
    /// A table of promoted entries was written, and the manifest did not name it yet.
    PromotionNotNamed = "crash before a promotion was named";
    /// A space came to rest: nothing of it was open any more.
    Rested = "rested";
    /// It was used after that, and came to rest again.
    RestedAgain = "rested again";
    Busy = "busy";
    /// A put was refused since its space was full.
    Full = "put refused by a limit";
    /// Likewise, in peace, with nothing in the space that is not needed.
    FullForGood = "full in peace";
    /// A put was let in although more was written than fits.
    RoomFound = "room found for a put";
    /// A deletion was acknowledged.
    SpaceDeleted = "space-deleted";
    /// A space was made whose id another one had had.
    SpaceRecreated = "space-recreated";
    /// In the pair of a run, the first space was deleted and the others saw the same as without that.
    DeletedBesideOthers = "deleted beside others";
    /// A machine stopped while a deletion was under way.
    CrashInDeletion = "crash in deletion";
    /// A machine found what a deletion had left.
    DeletionResumed = "deletion-resumed";
    /// A call came while the space was being deleted, or used what was left of it.
    DeletedTold = "told of the deletion";
    /// A deletion failed.
    DeletionFailed = "deletion failed";
    /// A space was repaired and opened.
    Repaired = "repaired";
    /// It lost commits by that which had been promised.
    RepairedWithLoss = "repair cost what was durable";
    /// Its identity was made anew.
    IdentityRebuilt = "identity rebuilt";
    /// A machine stopped while a space was being repaired.
    CrashInRepair = "crash in repair";
    /// Two of them in a row.
    CrashInRepairTwice = "crash in repair, twice";
    /// A repair that a crash had cut short was found to have taken effect.
    RepairFound = "repair cut short, yet done";
    /// It had not, and the space was repaired then.
    RepairedAnew = "repaired after a crash in repair";
    /// Nothing that is there can mend a space.
    BeyondRepair = "beyond repair";
    /// A sector died of one copy of a space's identity or manifest.
    CopyLost = "a copy of two lost";
    /// The same of the root's `.engine`.
    RootCopyLost = "a copy of the root's identity lost";
    CorruptReported = "corruption reported";
    FailedReported = "failed opening reported";
    UnknownTold = "unknown outcome told";
}

/// Hits of each probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes(Vec<u64>);

impl Default for Probes {
    fn default() -> Probes {
        Probes(vec![0; Probe::ALL.len()])
    }
}

impl Probes {
    /// Counts one.
    pub fn hit(&mut self, probe: Probe) {
        self.0[probe as usize] += 1;
    }
    /// How often.
    #[must_use]
    pub fn count(&self, probe: Probe) -> u64 {
        self.0[probe as usize]
    }
    /// Adds those of another run.
    pub fn add(&mut self, other: &Probes) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
    }
    /// How many were hit at all.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.0.iter().filter(|n| **n > 0).count()
    }
}
