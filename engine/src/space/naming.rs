//! Changes of names in the data root: making spaces and deleting them. All spaces share it.
use crate::env::{Dir, IoError, IoResult, Owner};
use crate::error::{Error, ErrorKind};
use crate::naming::Naming;
use std::sync::Arc;

/// Makes a change of names in the root durable that the caller has just made.
///
/// # Errors
/// As [`Naming::settle`].
pub(crate) async fn settle(naming: &Naming, root: &Arc<dyn Dir>) -> IoResult<()> {
    // It is nobody's own: whose turn it is depends on what others do.
    naming.settle(&root.as_owner(Owner::ENGINE)).await
}

/// What becomes of a change of names that was answered with an error.
#[derive(Debug)]
pub(crate) enum Renamed {
    /// It happened all the same.
    Yes,
    No,
    /// Nobody can tell.
    Unknown,
}

/// Looks whether a rename of the directory `from` happened although it was answered with an error.
pub(crate) async fn look_after_failure(root: &Arc<dyn Dir>, from: &str) -> Renamed {
    match root.metadata(from).await {
        Ok(_) => Renamed::No,
        Err(e) if e.is_not_found() => Renamed::Yes,
        Err(_) => Renamed::Unknown,
    }
}

/// What creations and deletions get once a sync of the root failed; it concerns the root, not the space that found it.
pub(crate) fn in_doubt(e: IoError) -> Error {
    Error::io("the data root cannot be made durable, so no space can be made or deleted", e)
        .with_kind(ErrorKind::Failed)
        .advice("Open the engine again; open spaces go on, creating and deleting are refused.")
}
