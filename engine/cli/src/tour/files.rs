//! A directory as an indented tree with sizes.
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::bytes;
use std::io::Write;
use std::path::Path;

/// Writes everything below `dir`, names sorted.
pub fn tree(out: &mut impl Write, dir: &Path) -> Result<(), Failure> {
    level(out, dir, "  ")
}

fn level(out: &mut impl Write, dir: &Path, indent: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::file("read", dir, &e);
    let mut entries =
        std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let meta = entry.metadata().map_err(failed)?;
        let name = escape(entry.file_name().as_encoded_bytes());
        if meta.is_dir() {
            writeln!(out, "{indent}{name}/")?;
            level(out, &entry.path(), &format!("{indent}  "))?;
        } else {
            let pad = 62_usize.saturating_sub(indent.len()).max(name.len());
            writeln!(out, "{indent}{name:<pad$}  {:>10}", bytes(meta.len()))?;
        }
    }
    Ok(())
}
