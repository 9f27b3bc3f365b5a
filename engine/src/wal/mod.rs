//! The write-ahead log of one space: formats, the commit line, and scanning. No I/O and no async in here.
pub mod commit;
pub mod frame;
pub mod operation;
pub mod scan;
pub mod segment;
pub mod spare;
pub mod waiters;
