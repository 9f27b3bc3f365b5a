//! Removing a directory of the root with all that is in it.
//!
//! Everything below the directory goes, whoever put it there; a symbolic link goes as a name, and what it points at is
//! never looked at. The depth is bounded. A name that is no UTF-8 cannot be asked for and stays, and so does the
//! directory that holds it.
use crate::env::{Dir, EntryKind, IoError, IoErrorKind, IoOp, IoResult};
use crate::limits::REMOVE_DEPTH_MAX;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What becomes of the directory that is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Itself {
    Goes,
    /// Its name still says something.
    Stays,
}

/// Empties the directory `name` of `parent`, and removes it too where `itself` says so. An error does not end it: what
/// can be removed is removed.
///
/// # Errors
/// The first one.
pub(crate) async fn remove_tree(parent: &Arc<dyn Dir>, name: &str, itself: Itself) -> IoResult<()> {
    level(parent.clone(), name.to_owned(), itself, REMOVE_DEPTH_MAX).await
}

type Removal = Pin<Box<dyn Future<Output = IoResult<()>> + Send>>;

fn level(parent: Arc<dyn Dir>, name: String, itself: Itself, left: usize) -> Removal {
    Box::pin(async move {
        let dir = match parent.open_dir(&name).await {
            Ok(dir) => dir,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut first = None;
        let mut entries: Vec<_> = dir.list().await?;
        entries.sort_unstable();
        for entry in entries {
            let Ok(name) = entry.name.into_string() else { continue };
            let removed = match entry.kind {
                EntryKind::Dir if left == 0 => Err(too_deep(&dir, &name)),
                EntryKind::Dir => level(dir.clone(), name, Itself::Goes, left - 1).await,
                EntryKind::File | EntryKind::Symlink | EntryKind::Other => dir.remove(&name).await,
            };
            if let Err(e) = removed
                && !e.is_not_found()
            {
                first.get_or_insert(e);
            }
        }
        drop(dir);
        if itself == Itself::Goes && first.is_none() {
            return parent.remove_dir(&name).await;
        }
        first.map_or(Ok(()), Err)
    })
}

fn too_deep(dir: &Arc<dyn Dir>, name: &str) -> IoError {
    IoError::new(IoOp::OpenDir, dir.path().join(name), IoErrorKind::NotOurs, "directories lie too deep in it")
}
