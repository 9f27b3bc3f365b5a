//! Sorted tables: immutable files of versions, in order of keys, of one key the newest first.
//!
//! ```text
//! file := (block | value)* (filter leaf)* extent [root] footer
//! ```
//!
//! Formats: [`piece`] is what all but the footer begin with, then [`block`], [`filter`], [`index`], [`extent`] and
//! [`footer`]. [`build`] writes them; [`open`], [`lookup`] and [`cursor`] read them. What of an index, and of a block that
//! lookups read, is held in memory beside its bytes lets a search look at few of them (`heads.rs`).
//! [`merge`] makes one order of many cursors, [`retain`] is the rule by which versions go, and [`rewrite`] applies it
//! while it copies what stays into new tables.
//!
//! All of it is plain state machines: whoever reads does not read, but says which bytes it needs ([`open::Need`]) and
//! goes on once it is handed them. Nothing here does I/O, waits, or knows a cache. Bytes become a [`open::Loaded`] only
//! through [`open::Table::admit`], which compares identity tag, parent's checksum and own checksum; damage is an
//! [`open::Damage`] that names the piece and its offset, never a panic and never a wrong answer.
pub mod block;
pub mod build;
pub mod compress;
pub mod cursor;
pub mod entry;
pub mod extent;
pub mod filter;
pub mod footer;
mod heads;
pub mod index;
pub mod lookup;
pub mod merge;
pub mod open;
pub mod piece;
pub mod retain;
pub mod rewrite;
pub mod told_apart;

pub use build::{Output, Shape, TableBuilder, TableMeta};
pub use compress::Compression;
pub use cursor::{Cursor, View, ViewBody};
pub use entry::{Apart, Body, Entry, Slot};
pub use extent::{Extent, RangeTombstone};
pub use footer::{Counts, Footer};
pub use lookup::{Found, Lookup};
pub use merge::{Bounded, Flow, Merge, MergeStep, Source};
pub use open::{Damage, Keep, Loaded, Need, Opener, Opening, Step, Table, value_need};
pub use piece::{Handle, PieceKind, Stored, TableId};
pub use retain::{Below, Readers};
pub use rewrite::{Choice, Lower, Pace, Part, Progress, Rewrite, Taken};

#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
mod tests;
