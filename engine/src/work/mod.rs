//! Executors: the I/O of jobs over tables. They take what a planner decided, read and write files through
//! [`crate::env::Dir`] and [`crate::env::File`], and return what the planner's edits need. They choose nothing, take no
//! lock and know no state of a space; whoever runs them makes the edits and switches the manifest.
//!
//! # Order of what is durable
//! A table's bytes are synced before its writer hands it out ([`write::TableWriter::finish`]), and it was opened again by
//! then. Its name is durable once [`write::sync_dir`] has returned, which a job does once, after its last table. Only then
//! may a manifest name it.
//!
//! # Failing, and being dropped
//! An executor that fails has removed what it wrote, and waited for that: nothing of its I/O is under way any more. Every
//! executor is an ordinary future. Dropping it leaves files that no manifest names: their removal is asked for at
//! once, by [`write::Written`] or the writer, and if that does not come about recovery sweeps them. They wait at least once
//! for every [`TABLE_CHUNK`](crate::limits::TABLE_CHUNK) bytes that they read or write, so that no space's job keeps a
//! thread from others; one piece, which may be a value of the greatest length, is verified and copied at once.
mod copy;
mod failure;
pub mod flush;
pub mod merge;
pub mod moves;
pub mod promote;
pub mod table;
pub mod write;

pub use copy::{Brake, Input, Namer, SHAPES, Target};
pub use failure::Failure;
pub use table::OpenTable;
pub use write::{NewTable, TableWriter, Written, give_up};

/// Lets whoever else is ready on this thread go first.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
