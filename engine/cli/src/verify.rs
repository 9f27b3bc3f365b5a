//! `verify`: reads back every key of an ack log and compares it with the file that it was loaded from.
use crate::ack_log::{self, Acked};
use crate::args::VerifyArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{count, json_line};
use crate::session::{Missing, with_engine};
use crate::settings::Settings;
use crate::tree::Tree;
use bulkhead::SpaceId;
use bulkhead::blocking::{Engine, Space};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Differences that are shown one by one.
const SHOWN: u64 = 20;

#[derive(Debug, Default, Serialize)]
struct Verified {
    acknowledged: u64,
    same: u64,
    /// Acknowledged, and not there.
    missing: u64,
    /// There, with another value than the file has now.
    different: u64,
    /// The file could not be read, so there is nothing to compare with.
    no_source: u64,
    /// In a space that could not be opened or read.
    unreadable: u64,
}

/// Verifies; fails unless every acknowledged key has the file's content.
pub fn run(settings: &Settings, args: VerifyArgs) -> Result<(), Failure> {
    let acked = ack_log::read(&args.ack_log)?;
    let verified = with_engine(settings, Missing::Refuse, |engine| compare(engine, &acked, &args.dir))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        json_line(&mut out, &verified)?;
    } else {
        let Verified { acknowledged, same, missing, different, no_source, unreadable } = verified;
        writeln!(
            out,
            "{}: {same} the same, {missing} missing, {different} different, {no_source} without a source file, \
             {unreadable} unreadable",
            count(acknowledged, "acknowledged key")
        )?;
    }
    if verified.same == verified.acknowledged { Ok(()) } else { Err(Failure::Said) }
}

fn compare(engine: &Engine, acked: &[Acked], dir: &Path) -> Result<Verified, Failure> {
    let mut verified = Verified::default();
    let mut spaces: BTreeMap<&SpaceId, Option<Space>> = BTreeMap::new();
    let mut shown = 0;
    let mut show = |what: String| {
        shown += 1;
        match shown {
            1..=SHOWN => eprintln!("{what}"),
            n if n == SHOWN + 1 => eprintln!("(more of them are only counted)"),
            _ => {}
        }
    };
    for Acked { space: id, key } in acked {
        verified.acknowledged += 1;
        let space =
            spaces.entry(id).or_insert_with(|| engine.space(id).map_err(|e| show(e.to_string())).ok());
        let found = match space.as_ref().map(|space| space.get(key)) {
            Some(Ok(found)) => found,
            Some(Err(e)) => {
                show(e.to_string());
                verified.unreadable += 1;
                continue;
            }
            None => {
                verified.unreadable += 1;
                continue;
            }
        };
        let path = Tree::path_of(dir, key);
        match (std::fs::read(&path), found) {
            (Ok(content), Some(value)) if *value == content[..] => verified.same += 1,
            (_, None) => {
                verified.missing += 1;
                show(format!("space {id}: {} was acknowledged and is missing", escape(key)));
            }
            (Ok(_), Some(_)) => {
                verified.different += 1;
                show(format!("space {id}: {} differs from its file", escape(key)));
            }
            (Err(e), Some(_)) => {
                verified.no_source += 1;
                show(format!("{} could not be read: {e}", path.display()));
            }
        }
    }
    Ok(verified)
}
