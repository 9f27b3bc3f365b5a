//! Changes of names in the data root: making spaces and deleting them.
//!
//! All spaces share one directory, and a sync of it answers for the names of all. After a sync failed, another one may
//! well say Ok without anything of what the failed one covered being on the disk (Rebello et al., *Can Applications
//! Recover from fsync Failures?*, 2020). So syncs take turns, one covers all changes made before it began, and after the
//! first failure nobody is told Ok any more.
use crate::env::{Dir, IoError, IoResult, Owner};
use crate::error::{Error, ErrorKind};
use crate::mutants;
use crate::sync::Mutex;
use std::sync::Arc;

/// Which changes of names are durable.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    names: Mutex<Names>,
    /// Whose turn it is to sync. Others wait for the very sync that they need themselves.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Names {
    /// Changes made so far.
    made: u64,
    /// How many of these are durable.
    durable: u64,
    /// How the first sync that failed did.
    failed: Option<IoError>,
}

impl Naming {
    /// Whether spaces may be made and deleted.
    ///
    /// # Errors
    /// A sync of the root failed: what its names are after a power cut is not known.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.names.lock().failed.as_ref().map_or(Ok(()), |e| Err(in_doubt(e)))
    }

    /// Makes a change of names durable that the caller has just made.
    ///
    /// # Errors
    /// Whether it is durable is not known, and never will be before the root is opened anew.
    pub(crate) async fn settle(&self, root: &Arc<dyn Dir>) -> IoResult<()> {
        let mine = {
            let mut names = self.names.lock();
            names.made += 1;
            names.made
        };
        let _turn = self.turn.lock().await;
        let covers = {
            let names = self.names.lock();
            if let Some(e) = &names.failed
                && !mutants::on("root-sync-believed-after-failure")
            {
                return Err(e.clone());
            }
            if names.durable >= mine {
                return Ok(());
            }
            names.made
        };
        // It is nobody's own: whose turn it is depends on what others do.
        let synced = root.as_owner(Owner::ENGINE).sync().await;
        match &synced {
            Ok(()) => self.names.lock().durable = covers,
            Err(e) => self.doubt(e),
        }
        synced
    }

    /// What the root's names are is not known from now on.
    pub(crate) fn doubt(&self, e: &IoError) {
        self.names.lock().failed.get_or_insert_with(|| e.clone());
    }
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

/// What creations and deletions get from then on; it concerns the root, not the space that found it.
fn in_doubt(e: &IoError) -> Error {
    Error::io("the data root cannot be made durable, so no space can be made or deleted", e.clone())
        .with_kind(ErrorKind::Failed)
        .advice("Open the engine again; open spaces go on, creating and deleting are refused.")
}
