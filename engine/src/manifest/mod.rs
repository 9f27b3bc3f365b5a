//! The manifest: which files a space consists of. One immutable file a generation; the highest that verifies counts.
mod format;
mod switch;
mod tables;
mod version;

pub use crate::key::KeyRange;
pub(crate) use format::MAGIC as MANIFEST_MAGIC;
pub use format::{Manifest, ManifestName, claimed_name, decode, decode_copy, encode};
pub use switch::{Current, SwitchError, switch};
pub use tables::{TableEntry, Tables, Tier, parse_table_file_name, table_file_name};
pub use version::{Edit, EpochEnd, LiveFile, SegmentEnd, SegmentEntry, Version};
