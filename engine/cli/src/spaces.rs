//! `spaces list`, `spaces create` and `spaces delete`; `spaces stat` is in [`crate::stat`].
use crate::args::{SpacesArgs, SpacesCommand};
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{json_line, table};
use crate::session::{Missing, with_engine};
use crate::settings::Settings;
use bulkhead::SpaceId;
use serde_json::json;
use std::io::Write;

/// Lists spaces, makes or deletes them.
pub fn run(settings: &Settings, args: SpacesArgs) -> Result<(), Failure> {
    match args.command {
        SpacesCommand::List { json } => list(settings, json),
        SpacesCommand::Stat { ids, json } => crate::stat::run(settings, &ids, json),
        SpacesCommand::Create { ids, json } => create(settings, &ids, json),
        SpacesCommand::Delete { ids, json } => delete(settings, &ids, json),
    }
}

fn list(settings: &Settings, json: bool) -> Result<(), Failure> {
    let listing = with_engine(settings, Missing::Refuse, |engine| Ok(engine.list_spaces()))?;
    let mut out = std::io::stdout().lock();
    if json {
        let spaces: Vec<_> =
            listing.spaces.iter().map(|id| json!({ "id": id, "directory": id.dir_name() })).collect();
        json_line(&mut out, &json!({ "spaces": spaces, "ignored": listing.ignored }))?;
        return Ok(());
    }
    if listing.spaces.is_empty() {
        writeln!(out, "No spaces in {}.", settings.data_root.display())?;
    } else {
        let rows: Vec<_> = listing.spaces.iter().map(|id| [id.to_string(), id.dir_name()]).collect();
        table(&mut out, ["SPACE", "DIRECTORY"], &rows)?;
    }
    if !listing.ignored.is_empty() {
        writeln!(out, "Left alone, since they are no spaces:")?;
        let rows: Vec<_> =
            listing.ignored.iter().map(|i| [escape(i.name.as_bytes()), i.why.to_owned()]).collect();
        table(&mut out, ["ENTRY", "WHY"], &rows)?;
    }
    Ok(())
}

/// Makes one space after the other; those made before one that fails stay.
fn create(settings: &Settings, ids: &[SpaceId], json: bool) -> Result<(), Failure> {
    with_engine(settings, Missing::Create, |engine| {
        for id in ids {
            engine.create_space(id)?;
            if !json {
                writeln!(std::io::stdout(), "created space {id} in {}", settings.data_root.display())?;
            }
        }
        Ok(())
    })?;
    if json {
        json_line(&mut std::io::stdout().lock(), &json!({ "created": ids }))?;
    }
    Ok(())
}

/// Deletes one space after the other; those deleted before one that fails are gone. Returns once their files are removed.
fn delete(settings: &Settings, ids: &[SpaceId], json: bool) -> Result<(), Failure> {
    with_engine(settings, Missing::Refuse, |engine| {
        for id in ids {
            engine.delete_space(id)?;
            if !json {
                writeln!(std::io::stdout(), "deleted space {id} from {}", settings.data_root.display())?;
            }
        }
        Ok(())
    })?;
    if json {
        json_line(&mut std::io::stdout().lock(), &json!({ "deleted": ids }))?;
    }
    Ok(())
}
