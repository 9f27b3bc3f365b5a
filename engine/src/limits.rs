//! Every bound of the engine in one place, with the reason beside it, tied together by compile-time assertions.

/// The unit that a disk writes whole or not at all (assumption A1 of the fault model).
pub const SECTOR: usize = 512;
/// Page of the file formats: a header lies in a page of its own, and copies lie a page apart, so that no torn
/// write of one can touch the other.
pub const PAGE: usize = 4096;

/// Longest space id in bytes. Escaped threefold it is still a legal file name everywhere.
pub const SPACE_ID_MAX: usize = 64;
/// Longest file name that common file systems accept.
pub const FILE_NAME_MAX: usize = 255;
const _: () = assert!(SPACE_ID_MAX * 3 <= FILE_NAME_MAX, "an id whose every byte is escaped must still fit");

/// Longest key in bytes; the shortest is one byte.
pub const KEY_MAX: usize = 64 * 1024;
/// Longest value in bytes; a value may be empty.
pub const VALUE_MAX: usize = 64 * 1024 * 1024;
/// Most operations in one batch.
pub const BATCH_OPS_MAX: usize = 1 << 20;
/// Most encoded bytes of one batch, and therefore of one commit.
pub const BATCH_BYTES_MAX: usize = VALUE_MAX + KEY_MAX + PAGE;
const _: () = assert!(BATCH_BYTES_MAX >= VALUE_MAX + KEY_MAX + 64, "the longest value must fit into a batch");

/// Bytes a closed commit group aims to stay below; a larger single commit forms a group of its own.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes ordered but not yet written, per space; beyond it admission waits.
pub const LOG_BUFFER_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(LOG_BUFFER_MAX >= GROUP_BYTES_MAX, "the log buffer holds at least one full group");

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
pub const TABLE_ENTRY_MAX: usize = 108 + 2 * (2 + BOUND_MAX);
/// Longest manifest body in bytes; a decoder refuses more before it allocates.
pub const MANIFEST_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(
    SEGMENTS_MAX * 64 + EPOCH_ENDS_MAX * 16 + TABLES_MAX * TABLE_ENTRY_MAX + PAGE <= MANIFEST_MAX,
    "a manifest with every list full must fit"
);
