//! Every bound of the engine in one place, with the reason beside it, tied together by compile-time assertions.

/// The unit that a disk writes whole or not at all (assumption A1 of the fault model).
pub const SECTOR: usize = 512;
/// Page of the file formats: a header lies in a page of its own, and copies lie a page apart, so that no torn
/// write of one can touch the other.
pub const PAGE: usize = 4096;

/// Longest space id in bytes. Escaped threefold it is still a legal file name everywhere.
pub const SPACE_ID_MAX: usize = 64;
/// Levels of directories below a space's own that are removed with it. Our files lie one level deep.
pub const REMOVE_DEPTH_MAX: usize = 16;
/// Longest file name that common file systems accept.
pub const FILE_NAME_MAX: usize = 255;
const _: () = assert!(SPACE_ID_MAX * 3 <= FILE_NAME_MAX, "an id whose every byte is escaped must still fit");

/// Longest key in bytes; the shortest is one byte.
pub const KEY_MAX: usize = 64 * 1024;
/// Longest bound of a range delete in bytes: the very next key behind the longest one. The shortest is empty.
pub const RANGE_BOUND_MAX: usize = KEY_MAX + 1;
/// Longest value in bytes; a value may be empty.
pub const VALUE_MAX: usize = 64 * 1024 * 1024;
/// Most operations in one batch.
pub const BATCH_OPS_MAX: usize = 1 << 20;
/// Most encoded bytes of one batch, and therefore of one commit.
pub const BATCH_BYTES_MAX: usize = VALUE_MAX + KEY_MAX + PAGE;
const _: () = assert!(BATCH_BYTES_MAX >= VALUE_MAX + KEY_MAX + 64, "the longest value must fit into a batch");

const _: () =
    assert!(BATCH_BYTES_MAX >= 2 * RANGE_BOUND_MAX + 16, "the longest range delete must fit into a batch");

/// Bytes a closed commit group aims to stay below; a larger single commit forms a group of its own.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes ordered but not yet written, per space; beyond it admission waits.
pub const LOG_BUFFER_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(LOG_BUFFER_MAX >= GROUP_BYTES_MAX, "the log buffer holds at least one full group");
/// Entries of tables, hidden by a range delete in memory, that a scan steps over before it looks for what is behind them.
pub const HIDDEN_STEPS: usize = 8;
/// Turns of the scheduler that those whom a sync answered get to wait for the next one together. A turn with nothing
/// else to run takes a fraction of a microsecond; the sync, a hundred and more.
pub const WITHHELD_TURNS: u32 = 32;

/// How long whoever needs descriptors waits at most for others to give some back.
pub const REST_PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);
/// How long nobody in front of a waiting job goes on before that begins regardless; see [`crate::Options::background_jobs`].
pub const SLOT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// How often a waiting job looks about for whether it still has to wait.
pub const SLOT_LOOK: std::time::Duration = std::time::Duration::from_millis(100);
/// Spaces that are asked at once to seal their log, so that they can give descriptors back.
pub const HURRIED_AT_ONCE: usize = 8;

/// The reserve for deletes is no more than this part of the file system.
pub const RESERVE_PART: u64 = 16;
/// What must be free beyond what is asked for, or else a disk counts as full: file systems need some for themselves.
pub const RESERVE_SLACK: u64 = 64 * 1024;

/// First log segment of a space; each further one doubles up to [`SEGMENT_MAX`].
pub const SEGMENT_FIRST: u64 = 64 * 1024;
/// Largest regular log segment. A single larger commit gets a segment of its own size.
pub const SEGMENT_MAX: u64 = 64 * 1024 * 1024;
/// Longest segment that recovery reads: one commit of the largest size and the frames around it.
pub const SEGMENT_HARD_MAX: u64 = 2 * SEGMENT_MAX + BATCH_BYTES_MAX as u64;
const _: () =
    assert!(SEGMENT_FIRST >= 2 * PAGE as u64, "a segment holds its header and at least one page of frames");
/// Longest frame: one commit of the largest size, header and padding.
pub const FRAME_MAX: usize = BATCH_BYTES_MAX + PAGE;
const _: () = assert!((FRAME_MAX as u64) < SEGMENT_HARD_MAX, "every frame fits into a segment");
const _: () = assert!(FRAME_MAX <= u32::MAX as usize, "frame lengths are 32 bits on disk");

/// Bits of an LSN that count commits within an epoch.
pub const LSN_COUNTER_BITS: u32 = 40;
/// Highest epoch: the epoch has the LSN's upper 24 bits.
pub const EPOCH_MAX: u32 = (1 << (64 - LSN_COUNTER_BITS)) - 1;

/// Most live segments that one manifest lists.
pub const SEGMENTS_MAX: usize = 4096;
/// A log of so many segments is flushed whatever its bytes: an opening looks at each of them.
pub const LOG_SEGMENTS_MANY: usize = SEGMENTS_MAX / 8;
/// Past epochs whose end the manifest remembers, to answer `outcome(lsn)`.
pub const EPOCH_ENDS_MAX: usize = 4096;
/// Longest bound of a key range in bytes: what a manifest keeps of a table's first and last key.
pub const BOUND_MAX: usize = 256;
const _: () =
    assert!(BOUND_MAX <= KEY_MAX && BOUND_MAX < u16::MAX as usize, "lengths of bounds are 16 bits on disk");
/// Most live tables of one space. Tables grow with their tier, so that even a huge one has fewer.
pub const TABLES_MAX: usize = 4096;
/// Most tables in the hot tier of one space: each may have to be looked into by a read. Flushes wait beyond it.
pub const HOT_TABLES_MAX: usize = 64;
const _: () = assert!(HOT_TABLES_MAX < TABLES_MAX, "a full hot tier leaves room for the others");
/// Longest entry of a table in a manifest: its numbers, and two bounds with their lengths.
pub const TABLE_ENTRY_MAX: usize = 112 + 2 * (2 + BOUND_MAX);
/// Longest manifest body in bytes; a decoder refuses more before it allocates.
pub const MANIFEST_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(
    SEGMENTS_MAX * 64 + EPOCH_ENDS_MAX * 16 + TABLES_MAX * TABLE_ENTRY_MAX + PAGE <= MANIFEST_MAX,
    "a manifest with every list full must fit"
);

/// Bytes of a data block's contents beyond which it takes no further entry, at most (cold tables).
pub const TABLE_BLOCK_TARGET_MAX: usize = 64 * 1024;
/// Longest value that lies in a block among the entries; longer ones are pieces of their own.
pub const TABLE_INLINE_MAX: usize = 16 * 1024;
/// Longest contents of a data block: full but for one byte, it took the longest entry. A decoder allocates no more.
pub const TABLE_BLOCK_MAX: usize = TABLE_BLOCK_TARGET_MAX + KEY_MAX + TABLE_INLINE_MAX + PAGE;
/// Most entries of a block of which is kept in memory where each is, in eight bytes. Only entries of a few bytes are more.
pub const TABLE_PLACES_MAX: usize = TABLE_BLOCK_TARGET_MAX / 8;
/// Bytes of an index leaf beyond which it ends, once it has [`TABLE_LEAF_BLOCKS_MIN`] blocks.
pub const TABLE_LEAF_TARGET: usize = 16 * 1024;
/// Fewest blocks of an index leaf but the last: keys of the greatest length must not make the root as large as the
/// table.
pub const TABLE_LEAF_BLOCKS_MIN: usize = 16;
/// Most keys of one filter, and therefore of the blocks of one index leaf: 20 KiB of filter.
pub const TABLE_FILTER_KEYS_MAX: usize = 16 * 1024;
/// Bits of filter for each key: about 1.2 % of absent keys are taken for present.
pub const TABLE_FILTER_BITS: usize = 10;
/// Longest contents of a filter.
pub const TABLE_FILTER_MAX: usize = TABLE_FILTER_KEYS_MAX * TABLE_FILTER_BITS / 8 + 64;
/// Longest contents of an index leaf.
pub const TABLE_LEAF_MAX: usize = TABLE_LEAF_TARGET + (TABLE_LEAF_BLOCKS_MIN + 1) * (KEY_MAX + 64);
/// Bytes of an index root beyond which a builder says that its table is full; in memory as long as the table is open.
pub const TABLE_ROOT_TARGET: usize = 4 * 1024 * 1024;
/// Longest contents of an index root.
pub const TABLE_ROOT_MAX: usize = 2 * TABLE_ROOT_TARGET;
/// Bytes of range tombstones beyond which a builder says that its table is full; in memory as the root is.
pub const TABLE_EXTENT_TARGET: usize = 4 * 1024 * 1024;
/// Longest contents of a table's extent: its bounds and its range tombstones. Far more than what a builder calls full:
/// range tombstones over one key, one for each snapshot, or that differ behind the first bytes of their keys only, cannot
/// be parted.
pub const TABLE_EXTENT_MAX: usize = VALUE_MAX;
/// Bytes of a table beyond which a builder says that it is full.
pub const TABLE_TARGET_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes of a table that are written at once, and after which a job over tables lets others go first.
pub const TABLE_CHUNK: usize = 256 * 1024;
/// Keys of a space whose reads below hot are counted at a time; see [`crate::plan::heat`].
pub const HEAT_KEYS_MAX: usize = 128;
/// Keys that can knock at a full table of counts at once, of four bytes each.
pub const HEAT_SLOTS: usize = 512;
/// Longest key whose reads are counted.
pub const HEAT_KEY_MAX: usize = 1024;
/// What a key costs there beside its bytes: its counts, and its place in a tree.
pub const HEAT_KEY_COST: usize = 96;
/// Bytes of all of them together.
pub const HEAT_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(HEAT_KEY_MAX + HEAT_KEY_COST <= HEAT_BYTES_MAX, "the longest key that counts has room");
/// Bytes of the largest piece that the cache keeps, with what keeping it costs. Only leaves of an index whose keys are
/// longer than some 15 KB each are larger.
pub const CACHE_PIECE_MAX: u64 = 256 * 1024;
const _: () = assert!(
    CACHE_PIECE_MAX >= (TABLE_BLOCK_MAX + 8 * TABLE_PLACES_MAX + BOUND_MAX + PAGE) as u64,
    "every block can be kept, with the places of its entries"
);
const _: () = assert!(CACHE_PIECE_MAX >= (TABLE_FILTER_MAX + PAGE) as u64, "every filter can be kept");
/// Longest contents of any piece of a table: a value of its own.
pub const TABLE_PIECE_MAX: usize = VALUE_MAX;
const _: () = assert!(TABLE_ROOT_MAX - TABLE_ROOT_TARGET > KEY_MAX + 64, "a full root takes one more entry");
const _: () = assert!(
    TABLE_EXTENT_MAX > 8 * TABLE_EXTENT_TARGET,
    "an extent that is called full has room for what cannot be parted from it"
);
const _: () = assert!(TABLE_LEAF_MAX <= TABLE_ROOT_MAX && TABLE_BLOCK_MAX <= TABLE_PIECE_MAX);
const _: () = assert!(TABLE_PIECE_MAX + PAGE <= u32::MAX as usize, "lengths of pieces are 32 bits on disk");
