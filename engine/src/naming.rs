//! Changes of names in one directory which several tasks make durable.
//!
//! A sync of a directory answers for the names of all. After one failed, another one may well say Ok without anything of
//! what the failed one covered being on the disk (Rebello et al., *Can Applications Recover from fsync Failures?*, 2020);
//! also one that was under way beside it: the system tells a failure once. So syncs take turns, one covers all changes
//! made before it began, and after the first failure nobody is told Ok any more.
use crate::env::{Dir, IoError, IoResult};
use crate::mutants;
use crate::sync::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// Which changes of names are durable.
#[derive(Debug, Default)]
pub struct Naming {
    names: Mutex<Names>,
    /// Whose turn it is to sync. Others wait for the very sync that they need themselves.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Names {
    /// The directory, once it is known.
    of: Option<PathBuf>,
    /// Changes made so far.
    made: u64,
    /// How many of these are durable.
    durable: u64,
    /// How the first sync that failed did.
    failed: Option<IoError>,
}

impl Naming {
    /// Whether changes can still be made durable.
    ///
    /// # Errors
    /// A sync failed: what the names are after a power cut is not known.
    pub fn check(&self) -> IoResult<()> {
        self.names.lock().failed.clone().map_or(Ok(()), Err)
    }

    /// Makes a change of names in `dir` durable that the caller has just made.
    ///
    /// # Errors
    /// Whether it is durable is not known, and never will be before the directory is opened by another process.
    ///
    /// # Panics
    /// If `dir` is another directory than before: its sync would answer for names that it does not cover.
    pub async fn settle(&self, dir: &Arc<dyn Dir>) -> IoResult<()> {
        let mine = {
            let path = dir.path();
            let mut names = self.names.lock();
            assert_eq!(
                *names.of.get_or_insert_with(|| path.clone()),
                path,
                "names are those of one directory"
            );
            names.made += 1;
            names.made
        };
        let turn = self.turn.lock();
        let _turn = if mutants::on("dir-syncs-side-by-side") { None } else { Some(turn.await) };
        let covers = {
            let names = self.names.lock();
            if let Some(e) = &names.failed
                && !mutants::on("dir-sync-believed-after-failure")
            {
                return Err(e.clone());
            }
            if names.durable >= mine {
                return Ok(());
            }
            names.made
        };
        let synced = dir.sync().await;
        match &synced {
            Ok(()) => self.names.lock().durable = covers,
            Err(e) => self.doubt(e),
        }
        synced
    }

    /// What the names are is not known from now on.
    pub fn doubt(&self, e: &IoError) {
        self.names.lock().failed.get_or_insert_with(|| e.clone());
    }
}
