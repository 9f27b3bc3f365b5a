//! Switching from one manifest to the next.
//!
//! Order: write N+1, sync it, sync the directory; remove N, sync the directory again. Only when [`switch`] has
//! returned is the edit in effect: files that it dropped may go, segments that it added may acknowledge. So beside a
//! valid N an N+1 that does not verify can be ignored.
use super::format::{Manifest, ManifestName, encode};
use super::version::Version;
use crate::env::{Dir, IoError};
use crate::ids::{FileUid, Generation};
use std::sync::Arc;

/// The manifest in effect.
#[derive(Debug, Clone)]
pub struct Current {
    pub manifest: Manifest,
    /// The highest generation that any name in the directory carries, also one that does not verify.
    pub highest: Generation,
    /// File names of manifests of ours that an earlier opening left; they go with the next switch.
    pub stale: Vec<String>,
}

/// Why a switch failed, and what that means.
#[derive(Debug)]
pub enum SwitchError {
    /// The new manifest's name is gone for good: the old one stays in effect, and trying again later is safe.
    NotWritten(IoError),
    /// Which of the two manifests a crash leaves is not known: the space must be fenced.
    InDoubt(IoError),
}

impl SwitchError {
    /// The I/O error underneath.
    #[must_use]
    pub fn io(self) -> IoError {
        match self {
            SwitchError::NotWritten(e) | SwitchError::InDoubt(e) => e,
        }
    }
}

/// Writes `version` as the manifest after `current`, in a file with the uid `file`, and makes it the one in effect.
///
/// # Errors
/// See [`SwitchError`].
pub async fn switch(
    dir: &Arc<dyn Dir>,
    current: &Current,
    version: Version,
    file: FileUid,
) -> Result<Current, SwitchError> {
    let name = ManifestName { generation: current.highest.next(), file };
    let manifest = Manifest { name, identity: current.manifest.identity.clone(), version };
    write_manifest(dir, &manifest).await?;
    dir.sync().await.map_err(SwitchError::InDoubt)?;
    let old = current.manifest.name.file_name();
    for stale in current.stale.iter().map(String::as_str).chain([old.as_str()]) {
        match dir.remove(stale).await {
            Err(e) if !e.is_not_found() => return Err(SwitchError::InDoubt(e)),
            _ => {}
        }
    }
    if !crate::mutants::on("manifest-removal-not-synced") {
        dir.sync().await.map_err(SwitchError::InDoubt)?;
    }
    Ok(Current { highest: name.generation, manifest, stale: Vec::new() })
}

/// Writes and syncs the file of `manifest`; its name is not durable yet.
///
/// A full disk is no reason to fence: then the file is removed and the directory synced, so that this manifest can
/// never come back. Any other failure leaves it in doubt.
pub(crate) async fn write_manifest(dir: &Arc<dyn Dir>, manifest: &Manifest) -> Result<(), SwitchError> {
    let name = manifest.name.file_name();
    let file = dir.create(&name).await.map_err(SwitchError::NotWritten)?;
    let written = async {
        file.write_at(0, encode(manifest)).await?;
        file.sync().await
    }
    .await;
    let Err(error) = written else { return Ok(()) };
    if !error.is_no_space() {
        return Err(SwitchError::InDoubt(error));
    }
    let gone = async {
        dir.remove(&name).await?;
        dir.sync().await
    }
    .await;
    Err(match gone {
        Ok(()) => SwitchError::NotWritten(error),
        Err(_) => SwitchError::InDoubt(error),
    })
}
