//! An open engine for the length of one command.
use crate::failure::Failure;
use crate::settings::Settings;
use bulkhead::SpaceId;
use bulkhead::blocking::{Engine, Space};

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
    if missing == Missing::Refuse && !root.exists() {
        return Err(Failure::Failed(format!(
            "there is no data root {}. Choose another with --data-root, or make a space in it: \
             bulkhead spaces create NAME",
            root.display()
        )));
    }
    let engine = Engine::open(root, settings.options.clone())?;
    let result = work(&engine);
    let closed = engine.close();
    let value = result?;
    closed?;
    Ok(value)
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
