//! `spaces stat` and `compact`.
use crate::args::CompactArgs;
use crate::failure::Failure;
use crate::output::{bytes, count, json_line, table};
use crate::session::{Missing, with_engine, with_space};
use crate::settings::Settings;
use bulkhead::{Amount, PinStats, SpaceId, SpaceStats};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Shows what spaces consist of; all of them if none is given. One that cannot be opened does not hide the others.
pub fn run(settings: &Settings, ids: &[SpaceId], json: bool) -> Result<(), Failure> {
    let mut failed = 0;
    let mut all = Map::new();
    with_engine(settings, Missing::Refuse, |engine| {
        let ids = if ids.is_empty() { engine.list_spaces().spaces } else { ids.to_vec() };
        let mut out = io::stdout().lock();
        for id in &ids {
            let stats = match engine.space(id) {
                Ok(space) => space.stats(),
                Err(e) => {
                    failed += 1;
                    all.insert(id.to_string(), json!({ "error": e.to_string() }));
                    eprintln!("bulkhead: {e}");
                    continue;
                }
            };
            if json {
                let stats = serde_json::to_value(&stats).map_err(io::Error::from)?;
                all.insert(id.to_string(), stats);
            } else {
                show(&mut out, id, &stats)?;
            }
        }
        Ok(())
    })?;
    if json {
        json_line(&mut io::stdout().lock(), &Value::Object(all))?;
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::Failed(format!("{} could not be opened", count(n, "space")))),
    }
}

fn amount(n: Amount) -> String {
    format!("{} / {}", n.entries, bytes(n.bytes))
}

fn show(out: &mut impl Write, id: &SpaceId, stats: &SpaceStats) -> io::Result<()> {
    let quota = match stats.quota_bytes {
        0 => String::new(),
        most => format!(" of {} allowed", bytes(most)),
    };
    writeln!(out, "{id}: {}{quota}", amount(stats.holds))?;
    let (memory, log) = (&stats.memory, &stats.log);
    let mut rows = vec![[
        "memory".to_owned(),
        count(1 + memory.sealed as u64, "memtable"),
        amount(memory.holds),
        memory.tombstones.to_string(),
        bytes(memory.bytes),
        String::new(),
        String::new(),
    ]];
    rows.extend(stats.tiers.iter().map(|t| {
        [
            t.tier.to_owned(),
            count(t.tables as u64, "table"),
            amount(t.holds),
            t.tombstones.to_string(),
            bytes(t.file_bytes),
            amount(t.capacity),
            format!("{:?}", t.pressure).to_lowercase(),
        ]
    }));
    table(out, ["TIER", "PARTS", "ENTRIES / BYTES", "DELETES", "TAKES", "CAPACITY", "PRESSURE"], &rows)?;
    writeln!(
        out,
        "  log: {}, {} allocated; last commit {}, in tables up to {}",
        count(log.segments as u64, "segment"),
        bytes(log.bytes),
        log.last,
        log.flushed
    )?;
    let most = match stats.snapshot_bytes {
        0 => String::new(),
        most => format!("; at most {} held back", bytes(most)),
    };
    writeln!(out, "  pins: {}{most}", pins(stats))?;
    if let Some(why) = &stats.failed {
        writeln!(out, "  flushes or merges do not go on: {why}")?;
    }
    Ok(())
}

/// What may hold versions back: by kind how many, the age of the oldest, and how much.
fn pins(stats: &SpaceStats) -> String {
    let there = stats.pins.iter().filter(|pins| pins.count > 0);
    let of = |pins: &PinStats| {
        let name = pins.owner.replace('-', " ");
        let (seconds, held) = (pins.oldest_ms / 1000, bytes(pins.held_bytes));
        format!("{} (oldest {seconds} s, {held} held back)", count(pins.count as u64, &name))
    };
    let all: Vec<_> = there.map(of).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Compacts one space and says what that came to.
pub fn compact(settings: &Settings, args: &CompactArgs) -> Result<(), Failure> {
    let (before, after) = with_space(settings, args.space.as_ref(), |space| {
        let before = space.stats();
        space.compact()?;
        Ok((before, space.stats()))
    })?;
    let files = |stats: &SpaceStats| stats.tiers.iter().map(|t| t.file_bytes).sum::<u64>();
    let mut out = io::stdout().lock();
    if args.json {
        let what = json!({
            "entries": { "before": before.holds.entries, "after": after.holds.entries },
            "bytes": { "before": before.holds.bytes, "after": after.holds.bytes },
            "file-bytes": { "before": files(&before), "after": files(&after) },
        });
        return Ok(json_line(&mut out, &what)?);
    }
    writeln!(
        out,
        "{} before, {} now; tables take {}",
        amount(before.holds),
        amount(after.holds),
        bytes(files(&after))
    )?;
    Ok(())
}
