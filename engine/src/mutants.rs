//! Deliberate engine bugs, to prove that the simulator finds them.
//!
//! Each is one line at the place of the bug, `if mutants::on("name") { … }`, and a row in [`ALL`]. They exist only
//! with `--cfg bulkhead_mutants`; without it [`on`] is a constant and the compiler removes the bug. It is a cfg and not
//! a cargo feature, since features unify across a workspace build. The production binary refuses to start with it.

/// Every mutant: its name, and what the bug is.
pub const ALL: &[(&str, &str)] = &[
    ("ack-before-sync", "a Power wait returns before the sync did"),
    (
        "watermark-to-written",
        "a sync moves the durable watermark to the last LSN written by then, not when it began",
    ),
    ("no-dir-sync-after-segment-create", "wal/ is not synced after a segment was created"),
    ("append-after-torn-tail", "recovery goes on writing behind a torn tail in the old segment"),
    ("lsn-reuse-after-torn-tail", "the LSNs of a torn tail are handed out again: the epoch is not raised"),
    ("checksum-without-space", "identity tags leave out the space's and the file's uid"),
    (
        "sync-instead-of-copy-forward",
        "recovery syncs the accepted tail in place instead of copying it forward",
    ),
    ("root-not-synced-before-adopt", "spaces seen in the root are adopted without a sync of the root"),
    ("segment-used-before-listed", "a new segment takes frames before a manifest lists it"),
    ("manifest-removal-not-synced", "files go before the removal of the manifest that named them was synced"),
    ("retry-failed-sync", "a failed sync of the log is tried again instead of fencing"),
    ("leader-only", "after a failed group write only the first waiter is told"),
    ("torn-tail-stops-all", "recover_all stops at the first space with a torn tail"),
    ("shared-lsn-counter", "spaces of one engine draw their LSNs from one counter"),
    ("fence-reaches-all", "a fence of one space fences its neighbours"),
    ("corruption-as-torn-tail", "damage in front of a durable watermark is taken for a torn tail"),
    ("proven-end-is-a-mark", "recovery takes a seal or pad that nobody synced for the proven end of the log"),
    ("link-names-a-mark", "a link names the seal in front of it, which nobody synced"),
    ("repair-keeps-behind-gap", "a repair leaves segments listed that lie behind what can be read"),
    ("repair-cuts-whole-segment", "a repair gives up what can be read of the segment that is damaged"),
    ("repair-copy-unsynced", "a repair does not sync what it copies before the manifest names it"),
    ("identity-rebuilt-unsynced", "a rebuilt identity takes the name of the old one before it is synced"),
    (
        "repair-believed-unsynced",
        "an opening believes the name of a rebuilt identity that a repair cut short never made durable",
    ),
    ("log-cut-before-flush", "segments go before the manifest that no longer lists them is in effect"),
    ("source-gone-before-switch", "tables go before the manifest that no longer names them is in effect"),
    ("flush-ahead-of-log", "memtables are flushed although the log is not durable up to their last commit"),
    ("tier-directory-not-synced", "a table is named by a manifest although its own name may not be durable"),
    ("table-named-before-sync", "a table is named by a manifest although its bytes may not be durable"),
    ("tombstone-forgotten", "a memtable over tables drops deletes that still have something to hide"),
    ("tombstone-dropped-midway", "a merge drops deletes although a lower tier may hold what they hide"),
    ("replay-ignores-range-delete", "recovery passes over range deletes in the log"),
    ("priority-lost-in-flush", "a flush writes every entry into its table with priority 0"),
    ("priority-lost-in-replay", "recovery replays every put of the log with priority 0"),
    ("range-delete-not-flushed", "a flush writes no range deletes into its table"),
    (
        "range-delete-dropped-at-middle-tier",
        "a merge drops range deletes although a lower tier may hold what they hide",
    ),
    ("range-delete-missed-by-lookup", "a look for a key passes over range deletes in tables"),
    ("range-delete-missed-by-scan", "a scan of tables passes over range deletes in memory"),
    (
        "hidden-table-goes-under-snapshots",
        "a table goes once range deletes hide it from those who read now, although a snapshot is older",
    ),
    ("flush-ignores-snapshots", "a flush keeps only the newest version of each key"),
    ("merge-ignores-snapshots", "a merge or move keeps only what the newest readers see"),
    ("merged-table-is-newest", "a merged hot table takes the newest place in the age order"),
    (
        "promotion-without-newest-check",
        "a promotion copies the version that it was planned on, come what may",
    ),
    ("promotion-blind-to-tombstone", "a promotion looks past deletes for the version that it was planned on"),
    ("promoted-table-is-newest", "a promoted table lies above tables that were flushed since its look"),
    ("newer-table-moves-first", "the newest hot tables move down before older ones"),
    ("seal-without-rotation", "a segment holds commits of two memtables"),
    ("sweep-takes-new-files", "files that this opening just made are swept as leftovers of an earlier one"),
    ("room-not-looked-for", "a put is refused while merges could still make room"),
    ("quota-not-rebuilt", "an opening believes that nothing of the limits is used up until tables change"),
    (
        "scan-mixes-moments",
        "a scan takes memory of now and tables of before: what was flushed between is in neither",
    ),
    (
        "expired-snapshot-still-serves",
        "a snapshot that has expired answers with what is left of what it showed",
    ),
    ("expired-scan-goes-on", "a scan asks whether its snapshot has expired when it begins, and not again"),
    (
        "expired-snapshot-released-again",
        "dropping an expired snapshot releases its versions once more, and so those of others",
    ),
    ("newest-pin-expires-first", "the youngest pin expires where pins hold back too many bytes"),
    ("pins-bytes-never-counted", "nobody notes what versions are kept for pins alone"),
    (
        "delete-acked-before-root-sync",
        "a deletion is acknowledged before the sync that makes its rename durable",
    ),
    (
        "dir-sync-believed-after-failure",
        "a space or table is taken for made on the word of a sync of its directory that followed a failed one",
    ),
    (
        "dir-syncs-side-by-side",
        "names are made durable by syncs of one directory that are under way together",
    ),
    ("rest-forgets-its-end", "the segment after a rest names the log's end before the one that rested"),
    ("puts-take-the-reserve", "puts go on while the reserve for deletes is not whole"),
    ("reserve-not-made-again", "what was lent of the reserve for deletes is never put back"),
    ("deletes-without-a-reserve", "log space for deletes is not made from the reserve"),
    ("rests-under-readers", "tables are closed under readers, who may then find that a file is gone"),
    ("rest-drops-its-log", "the segment that was in use before a rest is dropped as if it held nothing"),
    (
        "straggler-job-of-deleted-incarnation",
        "a deletion does not wait for the last job and I/O of the opening that it ends",
    ),
    ("ticket-answered-after-reopen", "a ticket of a fenced opening is answered Ok once another one followed"),
    ("lsn-below-flushed", "an opening that finds all commits in tables hands out LSNs from below them"),
    (
        "recreated-space-serves-old-block",
        "the cache knows blocks by the number of their table, and a space made anew inherits those of the deleted one",
    ),
    ("cache-evicts-below-share", "a space that reads takes room in the cache from whoever holds the least"),
    ("move-blocks-neighbours", "while tables of one space move down, no other space takes writes"),
    ("deletion-syncs-neighbours", "the deletion of a space has all others sync their logs"),
    ("one-copy-lost-is-both", "a file of two copies is not read if a sector of either cannot be"),
    (
        "engine-file-trusted",
        "`.engine` is believed although the process that wrote it may never have synced it",
    ),
];

#[cfg(bulkhead_mutants)]
static ACTIVE: std::sync::Mutex<Option<&'static str>> = std::sync::Mutex::new(None);

/// Whether the named mutant is active.
#[cfg(bulkhead_mutants)]
#[must_use]
pub fn on(name: &str) -> bool {
    debug_assert!(ALL.iter().any(|(n, _)| *n == name), "mutant {name} is not registered");
    *ACTIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) == Some(name)
}

/// Whether the named mutant is active: never in this build.
#[cfg(not(bulkhead_mutants))]
#[must_use]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}

/// Makes `name` the one active mutant of this process, or none.
///
/// # Panics
/// When no mutant has this name.
#[cfg(bulkhead_mutants)]
pub fn activate(name: Option<&str>) {
    let known = name.map(|n| ALL.iter().find(|(k, _)| *k == n).expect("a registered mutant").0);
    *ACTIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = known;
}

/// The mutant `shared-lsn-counter`: at least as high as any LSN that any space drew.
#[cfg(bulkhead_mutants)]
pub(crate) fn shared_lsn(next: crate::ids::Lsn) -> crate::ids::Lsn {
    static DRAWN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    if !on("shared-lsn-counter") {
        return next;
    }
    let drawn = DRAWN.fetch_max(next.raw() + 1, std::sync::atomic::Ordering::Relaxed);
    crate::ids::Lsn::from_raw(next.raw().max(drawn))
}

/// The mutant `shared-lsn-counter`: not in this build.
#[cfg(not(bulkhead_mutants))]
#[inline(always)]
pub(crate) const fn shared_lsn(next: crate::ids::Lsn) -> crate::ids::Lsn {
    next
}
