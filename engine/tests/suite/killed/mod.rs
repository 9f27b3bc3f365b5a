//! What a kill leaves behind: a copy of a data root, taken while an engine has it open.
use std::path::Path;

/// Copies the directory `from` with all in it to `to`. A file that goes away meanwhile is an error: copy again.
pub fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
