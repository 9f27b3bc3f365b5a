//! `load`: a directory tree into spaces, all of them at once, resumable after any kill.
//!
//! A file counts as written once its acknowledgement came; only then does it get its line in the ack log. A key that
//! is there already is not written again, so that a second run writes what the first one did not.
mod tally;
mod worker;

use crate::ack_log::AckLog;
use crate::args::LoadArgs;
use crate::failure::Failure;
use crate::output::{bytes, count, json_line, peak_memory, table};
use crate::session::{Missing, with_engine};
use crate::settings::Settings;
use crate::tree::Tree;
use bulkhead::Durability;
use bulkhead::SpaceId;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use tally::Tally;
use worker::{Job, Present, Replacing};

/// Loads the tree. Fails if any file of it is not in every space as it is on disk.
pub fn run(settings: &Settings, args: LoadArgs) -> Result<(), Failure> {
    let spaces = distinct(&args.spaces)?;
    let durability = settings.options.durability;
    if durability == Durability::Relaxed {
        return Err(Failure::Usage(
            "load acknowledges every file: choose --durability process or --durability power".into(),
        ));
    }
    refuse_own_data(&args.dir, &settings.data_root)?;
    let tree = Tree::list(&args.dir)?;
    let acks = args.ack_log.as_deref().map(AckLog::append_to).transpose()?;
    let progress = progress(tree.files.len() as u64 * spaces.len() as u64);
    let present = if args.compare { Present::CompareContent } else { Present::CompareLength };
    let replacing = if args.replace { Replacing::Yes } else { Replacing::No };
    let started = Instant::now();
    let tallies = with_engine(settings, Missing::Create, |engine| {
        let mut opened = Vec::new();
        for id in &spaces {
            opened.push(engine.get_or_create_space(id)?);
        }
        let jobs = opened.iter().map(|space| {
            let (acks, progress) = (acks.as_ref(), &progress);
            Job::new(space, &tree, durability, present, replacing, acks, progress)
        });
        Ok(worker::run_all(jobs.collect(), args.jobs))
    })?;
    progress.finish_and_clear();
    let report = Report { tree: &tree, tallies: &tallies, durability, took: started.elapsed() };
    let mut out = std::io::stdout().lock();
    if args.json {
        report.json(&mut out)?
    } else {
        report.text(&mut out)?
    }
    if tallies.iter().all(Tally::is_complete) { Ok(()) } else { Err(Failure::Said) }
}

fn distinct(spaces: &[SpaceId]) -> Result<Vec<SpaceId>, Failure> {
    let mut sorted = spaces.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::Usage(format!("space {} is named twice", pair[0]))),
        None => Ok(sorted),
    }
}

/// Loading the data root into itself would not end well. If it is not there yet, what counts is where it will be.
fn refuse_own_data(dir: &Path, root: &Path) -> Result<(), Failure> {
    let dir = dir.canonicalize().map_err(|e| Failure::file("opened", dir, &e))?;
    let absolute = std::path::absolute(root).map_err(|e| Failure::file("found", root, &e))?;
    let existing = absolute.ancestors().find_map(|above| above.canonicalize().ok());
    if existing.is_some_and(|existing| existing.starts_with(&dir)) {
        return Err(Failure::Usage(format!("the data root {} lies in the tree to load", root.display())));
    }
    Ok(())
}

fn progress(files: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left")
        .expect("the template is a constant");
    ProgressBar::new(files).with_style(style)
}

struct Report<'a> {
    tree: &'a Tree,
    tallies: &'a [Tally],
    durability: Durability,
    took: Duration,
}

impl Report<'_> {
    fn written_bytes(&self) -> u64 {
        self.tallies.iter().map(|t| t.written_bytes).sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn megabytes_per_second(&self) -> f64 {
        self.written_bytes() as f64 / 1e6 / self.took.as_secs_f64().max(1e-6)
    }

    fn text(&self, out: &mut impl Write) -> std::io::Result<()> {
        let rows: Vec<_> = self
            .tallies
            .iter()
            .map(|t| {
                [
                    t.space.to_string(),
                    t.written.to_string(),
                    bytes(t.written_bytes),
                    t.present.to_string(),
                    t.too_large.to_string(),
                    t.different.to_string(),
                    t.failed.to_string(),
                ]
            })
            .collect();
        let head = ["SPACE", "WRITTEN", "BYTES", "THERE ALREADY", "TOO LARGE", "DIFFERENT", "FAILED"];
        table(out, head, &rows)?;
        let written: u64 = self.tallies.iter().map(|t| t.written).sum();
        write!(
            out,
            "{}, {} in {:.2} s: {:.1} MB/s, acknowledged at {:?}",
            count(written, "file"),
            bytes(self.written_bytes()),
            self.took.as_secs_f64(),
            self.megabytes_per_second(),
            self.durability
        )?;
        match peak_memory() {
            Some(peak) => writeln!(out, "; peak memory {}.", bytes(peak))?,
            None => writeln!(out, ".")?,
        }
        let Tree { symlinks, specials, empty_dirs, .. } = *self.tree;
        if symlinks + specials + empty_dirs > 0 {
            let parts =
                [count(symlinks, "symbolic link"), count(specials, "special file"), empty(empty_dirs)];
            writeln!(out, "Not stored, since they are no files: {}.", parts.join(", "))?;
        }
        Ok(())
    }

    fn json(&self, out: &mut impl Write) -> std::io::Result<()> {
        json_line(
            out,
            &json!({
                "spaces": self.tallies,
                "files": self.tree.files.len(),
                "symlinks": self.tree.symlinks,
                "special_files": self.tree.specials,
                "empty_directories": self.tree.empty_dirs,
                "written_bytes": self.written_bytes(),
                "seconds": self.took.as_secs_f64(),
                "megabytes_per_second": self.megabytes_per_second(),
                "peak_memory_bytes": peak_memory(),
                "durability": self.durability,
                "complete": self.tallies.iter().all(Tally::is_complete),
            }),
        )
    }
}

fn empty(n: u64) -> String {
    if n == 1 { "1 empty directory".to_owned() } else { format!("{n} empty directories") }
}
