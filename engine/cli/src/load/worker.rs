//! The threads that write: some for each space, so that no space waits for another.
//!
//! A thread orders some files and then waits for the last of them once: durability is prefix-closed, so the others
//! are acknowledged too. The first error of a space's writes ends the loading of that space alone.
use super::tally::Tally;
use crate::ack_log::AckLog;
use crate::failure::Failure;
use crate::memory;
use crate::tree::{SourceFile, Tree};
use bulkhead::blocking::{Commit, Space};
use bulkhead::limits::VALUE_MAX;
use bulkhead::{Durability, ErrorKind};
use indicatif::ProgressBar;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Files that a thread orders before it waits for their acknowledgement.
const WINDOW_FILES: usize = 32;
/// Bytes after which it waits earlier.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Times that a write is tried while the engine is busy.
const BUSY_TRIES: u32 = 10;

/// How a key that is there already is judged, if the ack log does not lack its line: then its content is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    CompareLength,
    CompareContent,
}

/// Whether a value that differs from its file is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacing {
    Yes,
    No,
}

/// The loading of one space.
pub struct Job<'a> {
    space: &'a Space,
    tree: &'a Tree,
    durability: Durability,
    present: Present,
    replacing: Replacing,
    acks: Option<&'a AckLog>,
    progress: &'a ProgressBar,
    /// The next file that no thread has taken.
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl<'a> Job<'a> {
    pub fn new(
        space: &'a Space,
        tree: &'a Tree,
        durability: Durability,
        present: Present,
        replacing: Replacing,
        acks: Option<&'a AckLog>,
        progress: &'a ProgressBar,
    ) -> Job<'a> {
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        Job { space, tree, durability, present, replacing, acks, progress, next, stopped }
    }
}

/// Runs every job on `threads` threads of its own; one tally each, in their order.
pub fn run_all(jobs: Vec<Job<'_>>, threads: u16) -> Vec<Tally> {
    std::thread::scope(|scope| {
        let running: Vec<_> = jobs
            .iter()
            .map(|job| {
                (job, (0..threads).map(|_| scope.spawn(|| Worker::new(job).run())).collect::<Vec<_>>())
            })
            .collect();
        running
            .into_iter()
            .map(|(job, workers)| {
                let mut tally = Tally::new(job.space.id());
                for worker in workers {
                    tally.add(&worker.join().expect("a loading thread does not panic"));
                }
                // What nobody took after an error was not written.
                let taken = job.next.load(Ordering::Relaxed).min(job.tree.files.len());
                tally.failed += (job.tree.files.len() - taken) as u64;
                tally
            })
            .collect()
    })
}

/// How the value of a file that waits for its acknowledgement came into the space.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Written {
        len: u64,
    },
    /// By an earlier load that was ended before it could log the line.
    Before,
}

struct Worker<'a> {
    job: &'a Job<'a>,
    tally: Tally,
    /// In the space, and not yet acknowledged.
    window: Vec<(&'a SourceFile, Origin)>,
    window_bytes: usize,
    last: Option<Commit>,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Worker<'a> {
        Worker { job, tally: Tally::new(job.space.id()), window: Vec::new(), window_bytes: 0, last: None }
    }

    fn run(mut self) -> Tally {
        while !self.job.stopped.load(Ordering::Relaxed) {
            let Some(file) = self.job.tree.files.get(self.job.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if let Err(e) = self.file(file) {
                self.tally.failed += 1;
                self.stop(e);
            } else if self.window.len() >= WINDOW_FILES || self.window_bytes >= WINDOW_BYTES {
                self.acknowledge();
            }
        }
        self.acknowledge();
        self.tally
    }

    fn stop(&self, e: Failure) {
        if !self.job.stopped.swap(true, Ordering::Relaxed) {
            self.job.progress.suspend(|| e.report());
        }
    }

    /// Loads one file. An error is one of the space: a file that cannot be read is only counted.
    fn file(&mut self, file: &'a SourceFile) -> Result<(), Failure> {
        let stored = self.job.space.get(&file.key)?;
        let lacks_line = self.job.acks.is_some_and(|acks| !acks.names(self.job.space.id(), &file.key));
        if let Some(stored) = &stored
            && self.job.present == Present::CompareLength
            && !lacks_line
            && stored.len() as u64 == file.len
        {
            self.tally.present += 1;
            self.tally.by_length += 1;
            self.job.progress.inc(1);
            return Ok(());
        }
        let path = Tree::path_of(&self.job.tree.root, &file.key);
        let warn = |why: &str| {
            let space = self.job.space.id();
            self.job.progress.suspend(|| eprintln!("space {space}: {}: {why}", path.display()));
        };
        let content = match read(&path, file.len) {
            Ok(content) if content.len() <= VALUE_MAX => content,
            Ok(_) => {
                warn(&format!("longer than the {VALUE_MAX} bytes that a value may have; not stored"));
                self.tally.too_large += 1;
                self.job.progress.inc(1);
                return Ok(());
            }
            Err(e) => {
                warn(&format!("could not be read: {e}"));
                self.tally.failed += 1;
                self.job.progress.inc(1);
                return Ok(());
            }
        };
        match stored {
            Some(stored) if *stored == content[..] && lacks_line => {
                self.window.push((file, Origin::Before));
                return Ok(());
            }
            Some(stored) if *stored == content[..] => {
                self.tally.present += 1;
                self.job.progress.inc(1);
                return Ok(());
            }
            Some(_) if self.job.replacing == Replacing::No => {
                warn("its key is there with another value; left as it is (--replace writes it again)");
                self.tally.different += 1;
                self.job.progress.inc(1);
                return Ok(());
            }
            _ => {}
        }
        self.last = Some(self.order(&file.key, &content)?);
        self.window.push((file, Origin::Written { len: content.len() as u64 }));
        self.window_bytes += content.len();
        Ok(())
    }

    fn order(&self, key: &[u8], content: &[u8]) -> Result<Commit, Failure> {
        for _ in 1..BUSY_TRIES {
            match self.job.space.put_commit(key, content) {
                Err(e) => match e.kind() {
                    ErrorKind::Busy { retry_after } => std::thread::sleep(retry_after),
                    _ => return Err(e.into()),
                },
                Ok(commit) => return Ok(commit),
            }
        }
        Ok(self.job.space.put_commit(key, content)?)
    }

    /// Waits for the window, and says so in the ack log.
    fn acknowledge(&mut self) {
        memory::passed_through(self.window_bytes);
        let (window, last) = (std::mem::take(&mut self.window), self.last.take());
        self.window_bytes = 0;
        if window.is_empty() {
            return;
        }
        // What was there before lies below every commit of this load.
        let durable = match last {
            Some(last) => last.durable(self.job.durability),
            None => self.job.space.flush(self.job.durability),
        };
        if let Err(e) = durable {
            self.tally.failed += window.len() as u64;
            return self.stop(e.into());
        }
        for (file, origin) in window {
            self.job.progress.inc(1);
            match self.job.acks.map_or(Ok(()), |acks| acks.acked(self.job.space.id(), &file.key)) {
                Ok(()) => match origin {
                    Origin::Written { len } => {
                        self.tally.written += 1;
                        self.tally.written_bytes += len;
                    }
                    Origin::Before => self.tally.present += 1,
                },
                Err(e) => {
                    self.tally.failed += 1;
                    self.stop(e);
                }
            }
        }
    }
}

/// The content of `path`, or at least one byte more than a value may have. It had `len` bytes when it was listed.
fn read(path: &std::path::Path, len: u64) -> std::io::Result<Vec<u8>> {
    // One more, so that its end is seen without growing.
    let mut content = Vec::with_capacity(len.min(VALUE_MAX as u64) as usize + 1);
    std::fs::File::open(path)?.take(VALUE_MAX as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
