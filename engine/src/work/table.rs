//! Opening tables and reading pieces of them.
//!
//! Each call reads what it needs and no more: opening, the footer and the part that is kept; else one piece.
use super::Failure;
use crate::env::{Access, Dir, File};
use crate::ids::FileUid;
use crate::manifest::TableEntry;
use crate::table::open::Part;
use crate::table::{Apart, Damage, Keep, Loaded, Need, Opener, Opening, Stored, Table, TableId, value_need};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// An open table and its file. Cheap to clone; the file is closed when the last clone goes.
#[derive(Debug, Clone)]
pub struct OpenTable {
    pub table: Arc<Table>,
    pub file: Arc<dyn File>,
}

/// Opens the table `entry` in `dir`, its tier's directory, for reading.
///
/// # Errors
/// [`Failure::Missing`] if there is no such file; damage of its footer, or of what is kept of it.
pub async fn open(dir: &Arc<dyn Dir>, entry: &TableEntry, keep: Keep) -> Result<OpenTable, Failure> {
    let name = entry.file_name();
    let file = match dir.open(&name, Access::ReadStrict).await {
        Ok(file) => file,
        Err(e) if e.is_not_found() => return Err(Failure::Missing { path: e.path, len: entry.len }),
        Err(e) => return Err(e.into()),
    };
    let id = TableId { origin: entry.origin, file: entry.file };
    let damaged = |damage| Failure::Damaged { path: file.path(), damage };
    let mut opener = Opener::new(id, entry.len, Some(entry.footer_crc), keep);
    let mut opening = opener.begin().map_err(damaged)?;
    loop {
        match opening {
            Opening::Done(table) => return Ok(OpenTable { table: (*table).into(), file }),
            Opening::Read { offset, len } => {
                let bytes = read(&file, offset, len, short(id.file, offset, Part::Footer)).await?;
                opening = opener.feed(bytes).map_err(damaged)?;
            }
        }
    }
}

/// Reads the piece `need` and verifies it.
///
/// # Errors
/// Damage of this piece.
pub async fn read_piece(of: &OpenTable, need: Need) -> Result<Loaded, Failure> {
    let bytes = read_bytes(of, need).await?;
    of.table.admit(need, &bytes).map_err(|damage| of.damaged(damage))
}

/// Reads the value `apart` and verifies it.
///
/// # Errors
/// Damage of the value.
pub async fn read_value(of: &OpenTable, apart: Apart) -> Result<Bytes, Failure> {
    let bytes = read_bytes(of, value_need(apart)).await?;
    of.table.value(apart, &bytes).map_err(|damage| of.damaged(damage))
}

/// As [`read_value`], as it is stored there: to be copied into another table.
///
/// # Errors
/// Damage of the value.
pub async fn read_stored(of: &OpenTable, apart: Apart) -> Result<Stored, Failure> {
    let bytes = read_bytes(of, value_need(apart)).await?;
    of.table.stored_value(apart, &bytes).map_err(|damage| of.damaged(damage))
}

/// Reads the bytes of the piece `need`, not verified yet.
///
/// # Errors
/// If the file ends before.
pub(super) async fn read_bytes(of: &OpenTable, need: Need) -> Result<Bytes, Failure> {
    let (offset, len) = (need.handle.offset, need.handle.len as usize);
    read(&of.file, offset, len, short(of.table.id().file, offset, Part::Piece(need.kind))).await
}

impl OpenTable {
    /// The failure that `damage` of this table is.
    #[must_use]
    pub fn damaged(&self, damage: Damage) -> Failure {
        Failure::Damaged { path: self.path(), damage }
    }
    /// Where its file was when it was opened.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file.path()
    }
}

/// The file ends within `what`, or in front of it.
fn short(file: FileUid, offset: u64, what: Part) -> Damage {
    Damage { file, offset, what, expected: "a file as long as the manifest says" }
}

/// Exactly `len` bytes from `offset` on. If the file is shorter that is the damage `short`.
async fn read(file: &Arc<dyn File>, offset: u64, len: usize, short: Damage) -> Result<Bytes, Failure> {
    let bytes = file.read_at(offset, vec![0; len]).await?;
    if bytes.len() < len {
        return Err(Failure::Damaged { path: file.path(), damage: short });
    }
    Ok(bytes.into())
}
