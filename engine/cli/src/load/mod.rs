//! `load`: a directory tree into spaces, all of them at once, resumable after any kill.
//!
//! A file counts as written once its acknowledgement came; only then does it get its line in the ack log. A key that
//! is there already is not written again, so that a second run writes what the first one did not; if it has the file's
//! content and no line, it gets its line.
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

/// Loads the tree. Fails if any file of it is known not to be in every space as it is on disk.
pub fn run(settings: &Settings, args: LoadArgs) -> Result<(), Failure> {
    let spaces = distinct(&args.spaces)?;
    let durability = settings.options.durability;
    if durability == Durability::Relaxed {
        return Err(Failure::Usage(
            "load acknowledges every file: choose --durability process or --durability power".into(),
        ));
    }
    refuse_inside(&args.dir, "data root", &settings.data_root)?;
    if let Some(path) = &args.ack_log {
        refuse_inside(&args.dir, "ack log", path)?;
    }
    let tree = Tree::list(&args.dir)?;
    for (path, e) in &tree.unreadable {
        eprintln!("{}: could not be read: {e}; nothing below it is loaded", path.display());
    }
    let acks = args.ack_log.as_deref().map(|path| AckLog::append_to(path, &spaces)).transpose()?;
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
    let loaded = tree.unreadable.is_empty() && tallies.iter().all(Tally::is_loaded);
    if loaded { Ok(()) } else { Err(Failure::Said) }
}

fn distinct(spaces: &[SpaceId]) -> Result<Vec<SpaceId>, Failure> {
    let mut sorted = spaces.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::Usage(format!("space {} is named twice", pair[0]))),
        None => Ok(sorted),
    }
}

/// Loading what the load itself writes would not end well. If it is not there yet, what counts is where it will be.
fn refuse_inside(dir: &Path, what: &str, path: &Path) -> Result<(), Failure> {
    let dir = dir.canonicalize().map_err(|e| Failure::file("opened", dir, &e))?;
    let absolute = std::path::absolute(path).map_err(|e| Failure::file("found", path, &e))?;
    let existing = absolute.ancestors().find_map(|above| above.canonicalize().ok());
    if existing.is_some_and(|existing| existing.starts_with(&dir)) {
        return Err(Failure::Usage(format!(
            "the {what} {} lies in the tree to load: choose another place for it",
            path.display()
        )));
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
        let by_length: u64 = self.tallies.iter().map(|t| t.by_length).sum();
        if by_length > 0 {
            let keys = count(by_length, "key");
            writeln!(out, "Compared by length alone: {keys} there already; --compare compares the content.")?;
        }
        match self.tree.unreadable.len() as u64 {
            0 => {}
            n => writeln!(
                out,
                "Not loaded, since they could not be read: {} with all below.",
                count(n, "path")
            )?,
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
                "unreadable": self.tree.unreadable.len(),
                "written_bytes": self.written_bytes(),
                "seconds": self.took.as_secs_f64(),
                "megabytes_per_second": self.megabytes_per_second(),
                "peak_memory_bytes": peak_memory(),
                "durability": self.durability,
                "complete": self.tree.unreadable.is_empty() && self.tallies.iter().all(Tally::is_complete),
            }),
        )
    }
}

fn empty(n: u64) -> String {
    if n == 1 { "1 empty directory".to_owned() } else { format!("{n} empty directories") }
}
