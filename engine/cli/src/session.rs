//! An open engine for the length of one command.
use crate::failure::Failure;
use crate::settings::Settings;
use bulkhead::SpaceId;
use bulkhead::blocking::{Engine, Space};
use bulkhead::manifest::ManifestName;
use bulkhead::paths::{ENGINE_FILE, Named, SPACE_FILE, WAL_DIR};
use std::io::ErrorKind;
use std::path::Path;

/// Whether a command may make a data root that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Create,
    Refuse,
}

/// Opens the engine, lets `work` use it, and closes it whatever came of that: a closed log is sealed, and the next
/// opening reads it without any repair.
pub fn with_engine<T>(
    settings: &Settings,
    missing: Missing,
    work: impl FnOnce(&Engine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let root = &settings.data_root;
    if missing == Missing::Refuse {
        refuse_what_is_no_root(root)?;
    }
    let engine = Engine::open(root, settings.options.clone())?;
    let result = work(&engine);
    let closed = engine.close();
    let value = result?;
    closed?;
    Ok(value)
}

/// The engine makes any directory a data root when it opens it: a command that only reads must not get that far.
fn refuse_what_is_no_root(root: &Path) -> Result<(), Failure> {
    let what = match std::fs::symlink_metadata(root.join(ENGINE_FILE)) {
        Err(e) if e.kind() == ErrorKind::NotFound && !root.exists() => "there is no data root",
        // Spaces without `.engine` are damage, which the engine names better.
        Err(e) if e.kind() == ErrorKind::NotFound && !holds_spaces(root) => "this directory is no data root:",
        _ => return Ok(()),
    };
    Err(Failure::Failed(format!(
        "{what} {}. Choose another with --data-root, or make a space in it: bulkhead spaces create NAME",
        root.display()
    )))
}

/// Whether a directory below `root` is a space by its name and what it holds, as the engine tells them. What cannot be
/// looked into does not count.
fn holds_spaces(root: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|name| matches!(Named::of(name), Named::Space(_)))
            && std::fs::read_dir(entry.path()).is_ok_and(|mut files| {
                files.any(|file| file.is_ok_and(|file| file.file_name().to_str().is_some_and(is_of_a_space)))
            })
    })
}

fn is_of_a_space(name: &str) -> bool {
    name == SPACE_FILE || name == WAL_DIR || ManifestName::parse(name).is_some()
}

/// As [`with_engine`], for a command on one space that must be there.
pub fn with_space<T>(
    settings: &Settings,
    space: Option<&SpaceId>,
    work: impl FnOnce(&Space) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let id = settings.space(space)?;
    with_engine(settings, Missing::Refuse, |engine| work(&engine.space(id)?))
}
