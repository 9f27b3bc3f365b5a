//! Segments on their way into the commit line.
use super::segment::SegmentId;

/// A segment that is allocated, synced and listed, and takes no frames yet.
#[derive(Debug)]
pub struct Spare<F> {
    pub id: SegmentId,
    pub file: F,
    pub capacity: u64,
    pub header_crc: u32,
}

/// A segment that recovery wrote to and that goes on taking frames.
#[derive(Debug)]
pub struct Resume<F> {
    pub spare: Spare<F>,
    /// Behind its last frame, at a sector boundary.
    pub offset: u64,
    pub chain: u32,
}
