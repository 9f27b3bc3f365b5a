//! Reading files that hold their content twice, each copy in pages of its own: `.engine`, SPACE and manifests. A page
//! that cannot be read costs one copy, and not the file.
use crate::env::{File, IoError, IoErrorKind, IoResult};
use crate::limits::PAGE;
use crate::mutants;
use std::sync::Arc;

/// What of a file can be read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Its bytes from the first one on; zeros for pages that cannot be read.
    pub(crate) bytes: Vec<u8>,
    /// Why some cannot be. A copy that verifies is as good as ever; without one this is the reason, and no damage.
    pub(crate) lost: Option<IoError>,
}

/// Reads up to `len` bytes.
///
/// # Errors
/// Whatever is not the device's failing to read some of them.
pub(crate) async fn read(file: &Arc<dyn File>, len: usize) -> IoResult<Read> {
    let whole = file.read_at(0, vec![0; len]).await;
    match whole {
        Ok(bytes) => return Ok(Read { bytes, lost: None }),
        Err(e) if e.kind == IoErrorKind::Device && !mutants::on("one-copy-lost-is-both") => {}
        Err(e) => return Err(e),
    }
    let (mut bytes, mut lost) = (Vec::with_capacity(len), None);
    while bytes.len() < len {
        let (from, wanted) = (bytes.len(), PAGE.min(len - bytes.len()));
        match file.read_at(from as u64, vec![0; wanted]).await {
            Ok(page) => {
                bytes.extend_from_slice(&page);
                if page.len() < wanted {
                    break;
                }
            }
            Err(e) if e.kind == IoErrorKind::Device => {
                bytes.resize(from + wanted, 0);
                lost.get_or_insert(e);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Read { bytes, lost })
}
