//! `put`, `get`, `delete`: one key of one space, or a range of them; `clear`.
use crate::args::{ClearArgs, DeleteArgs, KeyArgs, PutArgs};
use crate::failure::Failure;
use crate::output::{json_line, put_bytes};
use crate::scan::bounds;
use crate::session::with_space;
use crate::settings::Settings;
use bulkhead::limits::VALUE_MAX;
use bulkhead::{Lsn, Priority, PutOptions};
use serde_json::{Map, Value};
use std::io::{Read, Write};
use std::ops::{Bound, RangeBounds};
use std::os::unix::ffi::OsStringExt;

/// Sets a key, once its value was read whole.
pub fn put(settings: &Settings, args: PutArgs) -> Result<(), Failure> {
    let key = args.space.key(args.key)?;
    let value = match (args.value, args.file) {
        (Some(value), _) => value.into_vec(),
        (None, Some(path)) => std::fs::read(&path).map_err(|e| Failure::file("read", &path, &e))?,
        (None, None) => {
            let mut value = Vec::new();
            // One byte more than a value may have: the engine then says so.
            std::io::stdin()
                .take(VALUE_MAX as u64 + 1)
                .read_to_end(&mut value)
                .map_err(|e| Failure::Failed(format!("stdin could not be read: {e}")))?;
            value
        }
    };
    let options = PutOptions { priority: Priority::from_raw(args.priority) };
    let put = |space: &bulkhead::blocking::Space| Ok(space.put_with(&key, &value, options)?);
    let lsn = with_space(settings, args.space.space.as_ref(), put)?;
    if args.json { say_commit(&key, lsn) } else { Ok(()) }
}

/// Prints the bare value: no line end that is not part of it.
pub fn get(settings: &Settings, args: KeyArgs) -> Result<(), Failure> {
    let key = args.space.key(args.key)?;
    let entry = with_space(settings, args.space.space.as_ref(), |space| Ok(space.get_entry(&key)?))?;
    let mut out = std::io::stdout().lock();
    match (&entry, args.json) {
        (Some(entry), false) => out.write_all(&entry.value)?,
        (Some(entry), true) => {
            let mut object = Map::new();
            put_bytes(&mut object, "key", &key);
            put_bytes(&mut object, "value", &entry.value);
            object.insert("lsn".into(), entry.lsn.to_string().into());
            object.insert("priority".into(), entry.priority.raw().into());
            json_line(&mut out, &object)?;
        }
        (None, _) => {
            let key = crate::escape::escape(&key);
            return Err(Failure::Failed(format!("not found: there is no key \"{key}\"")));
        }
    }
    Ok(out.flush()?)
}

/// Removes a key, or all keys within bounds as one commit. Bounds that no key lies between are refused, and such that all
/// do, as an empty variable of a shell gives them: more likely than that, something else was meant.
pub fn delete(settings: &Settings, args: DeleteArgs) -> Result<(), Failure> {
    if let Some(key) = args.key {
        let key = args.space.key(key)?;
        let lsn = with_space(settings, args.space.space.as_ref(), |space| Ok(space.delete(&key)?))?;
        return if args.json { say_commit(&key, lsn) } else { Ok(()) };
    }
    let range = bounds(&args.space, args.range)?
        .ok_or_else(|| Failure::Usage("no key lies within these bounds. Is --from below --to?".into()))?;
    if range.start_bound() == Bound::Included(&Vec::new()) && range.end_bound() == Bound::Unbounded {
        let what = "these bounds mean every key. `bulkhead clear` deletes all of them; nothing was deleted";
        return Err(Failure::Usage(what.into()));
    }
    let lsn = with_space(settings, args.space.space.as_ref(), |space| Ok(space.delete_range(range)?))?;
    if args.json { say_lsn(Map::new(), lsn) } else { Ok(()) }
}

/// Removes all keys as one commit.
pub fn clear(settings: &Settings, args: &ClearArgs) -> Result<(), Failure> {
    let lsn = with_space(settings, args.space.as_ref(), |space| Ok(space.clear()?))?;
    if args.json { say_lsn(Map::new(), lsn) } else { Ok(()) }
}

fn say_commit(key: &[u8], lsn: Lsn) -> Result<(), Failure> {
    let mut object = Map::new();
    put_bytes(&mut object, "key", key);
    say_lsn(object, lsn)
}

fn say_lsn(mut object: Map<String, Value>, lsn: Lsn) -> Result<(), Failure> {
    object.insert("lsn".into(), Value::String(lsn.to_string()));
    Ok(json_line(&mut std::io::stdout().lock(), &object)?)
}
