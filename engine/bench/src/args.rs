//! The command line.
use crate::records::Order;
use std::path::PathBuf;
use tempfile::TempDir;

#[derive(Debug, Clone, clap::Parser)]
#[command(about = "Ratios of the engine to the bare disk, to fjall and to redb")]
pub struct Args {
    /// Directory on the disk to be measured; what is put there is removed at the end.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Run this one alone.
    #[arg(long)]
    pub only: Option<Bench>,
    /// Rounds of every measurement.
    #[arg(long, default_value_t = 15)]
    pub rounds: usize,
    /// A look rather than a measurement: less of everything.
    #[arg(long)]
    pub quick: bool,
    /// MiB that `churn` writes.
    #[arg(long, default_value_t = 10 * 1024)]
    pub churn_mib: u64,
    /// What this process is started for by another one of its kind.
    #[arg(long, hide = true)]
    pub child: Option<Child>,
    #[arg(long, hide = true, default_value_t = 128)]
    pub value: usize,
    #[arg(long, hide = true, default_value_t = 0)]
    pub count: u64,
    #[arg(long, hide = true, default_value = "random")]
    pub order: Order,
    /// Spaces that are opened at once.
    #[arg(long, hide = true, default_value_t = 1)]
    pub width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bench {
    /// One writer, every put synced.
    Durable,
    /// 8 writers in one space, every put synced.
    Group,
    /// 64 writers in 64 spaces, every put synced.
    Many,
    /// One writer, every put in the page cache.
    Process,
    /// Opening a log of 256 MiB again.
    Reopen,
    /// 1,000 spaces that do nothing.
    Idle,
    /// 1,000,000 records beside fjall and redb: loaded, read, scanned, opened after a kill.
    Load,
    /// 1,000,000 keys, overwritten ten times.
    Overwrite,
    /// Far more written than is live; see `--churn-mib`.
    Churn,
    /// 10,000 spaces of ten records under 1,024 descriptors.
    Spaces,
    /// One space beside many.
    Tenants,
}

impl Bench {
    pub const ALL: [Bench; 11] = [
        Bench::Durable,
        Bench::Group,
        Bench::Many,
        Bench::Process,
        Bench::Reopen,
        Bench::Idle,
        Bench::Load,
        Bench::Overwrite,
        Bench::Churn,
        Bench::Spaces,
        Bench::Tenants,
    ];
}

/// Processes that are started for what only a process of its own shows: most to be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Child {
    /// Puts, each acknowledged at `Process`.
    Puts,
    /// Puts that nobody waits for, in large groups.
    Groups,
    /// Inserts into fjall.
    Fjall,
    /// The load of the benchmark beside peers, by the engine.
    LoadBulkhead,
    /// The same by fjall.
    LoadFjall,
    /// The same by redb.
    LoadRedb,
    /// Opens all spaces, and says how long that took and how much memory.
    Recover,
}

impl Args {
    /// A new directory on the disk to be measured.
    pub fn scratch(&self) -> TempDir {
        let dir = tempfile::Builder::new().prefix("bulkhead-bench-").tempdir_in(&self.dir);
        let dir = dir.unwrap_or_else(|e| panic!("no directory can be made in {}: {e}", self.dir.display()));
        const TMPFS: u64 = 0x0102_1994;
        if rustix::fs::statfs(dir.path()).is_ok_and(|s| s.f_type as u64 == TMPFS) {
            eprintln!("{} is memory: syncs cost nothing there, see --dir", self.dir.display());
        }
        dir
    }

    /// `full`, or a tenth of it for a look.
    pub fn scaled(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(1) } else { full }
    }
}
