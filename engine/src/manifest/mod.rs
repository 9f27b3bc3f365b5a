//! The manifest: which files a space consists of. One immutable file a generation; the highest that verifies counts.
mod format;
mod switch;
mod version;

pub use format::{Manifest, ManifestName, decode, encode};
pub use switch::{Current, SwitchError, switch};
pub use version::{Edit, EpochEnd, SegmentEnd, SegmentEntry, Version};
