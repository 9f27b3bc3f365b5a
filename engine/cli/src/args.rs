//! The command line: what may be said, and the help that says so.
use crate::escape::unescape;
use crate::failure::Failure;
use bulkhead::{Durability, Options, SpaceId, parse_size};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Bulkhead: an embedded, multi-tenant storage engine. Each tenant is a space, with a log and a fate of its own.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 not found, or the operation failed; 64 bad usage.\n\
                  BULKHEAD_LOG (for example \"info\") turns on the engine's log on stderr."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The directory that holds all spaces [or: BULKHEAD_DATA_ROOT, `data-root` in the configuration;
    /// default: ~/.local/share/bulkhead]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Configuration, TOML [default: $XDG_CONFIG_HOME/bulkhead/config.toml, if it is there]. Keys: the options below
    /// without dashes in front, `data-root`, and `space` for the space meant when none is given
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: OptionFlags,
}

/// The engine's options, as flags over what the configuration says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct OptionFlags {
    /// What a write survives once it is acknowledged [default: power]
    #[arg(long, global = true, value_name = "LEVEL")]
    durability: Option<DurabilityFlag>,
    /// Memory for the entries of all spaces together, in bytes or as 512MiB, 2GiB [default: 1GiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    memory_budget: Option<u64>,
    /// Memory for blocks that were read, of all spaces together; 0 keeps none [default: 256MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    cache_bytes: Option<u64>,
    /// Most spaces in the data root
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    max_spaces: Option<usize>,
    /// First log segment of a space; each further one doubles
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    segment_first: Option<u64>,
    /// Largest regular log segment
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    segment_max: Option<u64>,
    /// Milliseconds after which writes that nobody waits for are synced
    #[arg(long, global = true, value_name = "MS", hide_short_help = true)]
    flush_interval_ms: Option<u64>,
    /// Log bytes of a space after which they are synced, whoever waits for it
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    flush_bytes: Option<u64>,
    /// Milliseconds of quiet after which a space's log is synced and sealed
    #[arg(long, global = true, value_name = "MS", hide_short_help = true)]
    idle_seal_ms: Option<u64>,
    /// File descriptors that spaces together aim to stay below
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    max_descriptors: Option<u64>,
    /// Milliseconds after which a space that is not used closes its files
    #[arg(long, global = true, value_name = "MS", hide_short_help = true)]
    idle_close_ms: Option<u64>,
    /// Bytes a second that work on tables in the background reads and writes at most; 0 is no limit
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    background_bytes_per_s: Option<u64>,
    /// Spaces that are recovered at once
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    recovery_parallelism: Option<usize>,
}

impl OptionFlags {
    /// Puts every flag that was given over `options`.
    pub fn apply(&self, options: &mut Options) {
        fn over<T: Copy>(option: &mut T, flag: Option<T>) {
            *option = flag.unwrap_or(*option);
        }
        over(&mut options.durability, self.durability.map(DurabilityFlag::meant));
        over(&mut options.memory_budget, self.memory_budget);
        over(&mut options.cache_bytes, self.cache_bytes);
        over(&mut options.max_spaces, self.max_spaces);
        over(&mut options.segment_first, self.segment_first);
        over(&mut options.segment_max, self.segment_max);
        over(&mut options.flush_interval_ms, self.flush_interval_ms);
        over(&mut options.flush_bytes, self.flush_bytes);
        over(&mut options.idle_seal_ms, self.idle_seal_ms);
        over(&mut options.max_descriptors, self.max_descriptors);
        over(&mut options.idle_close_ms, self.idle_close_ms);
        over(&mut options.background_bytes_per_s, self.background_bytes_per_s);
        over(&mut options.recovery_parallelism, self.recovery_parallelism);
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DurabilityFlag {
    /// Nothing yet: it is synced within the flush interval
    Relaxed,
    /// A kill of the process
    Process,
    /// A power cut
    Power,
}

impl DurabilityFlag {
    fn meant(self) -> Durability {
        match self {
            DurabilityFlag::Relaxed => Durability::Relaxed,
            DurabilityFlag::Process => Durability::Process,
            DurabilityFlag::Power => Durability::Power,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// See the promise kept: two spaces, a writer killed mid-write, and everything acknowledged is back
    Tour(TourArgs),
    /// Set a key
    Put(PutArgs),
    /// Print the value of a key, bare; exit code 1 if there is none
    Get(KeyArgs),
    /// Remove a key, or all keys of a range at once; fine if there are none
    Delete(DeleteArgs),
    /// Remove all keys of a space at once; the space stays
    Clear(ClearArgs),
    /// Print entries in the order of their keys, one line each: key, tab, value
    Scan(ScanArgs),
    /// Get rid of what was overwritten or deleted: flush what is in memory and merge tables down. This also happens by
    /// itself where it pays
    Compact(CompactArgs),
    /// List, make or delete spaces, or show what they consist of
    Spaces(SpacesArgs),
    /// Open every space and report what its recovery found; exit code 1 if one cannot be served
    Recover(RecoverArgs),
    /// Load a directory tree into spaces: each file's relative path is a key, its content the value
    Load(LoadArgs),
    /// Compare every key that an ack log of `load` names with the file that it was loaded from
    Verify(VerifyArgs),
    /// Write a space's entries as files below a directory: each key is a relative path
    Dump(DumpArgs),
    /// Show any file of a data root as text, by itself: what it is and holds, and what of it is damaged. Takes no lock;
    /// exit code 1 if a part does not verify
    Inspect(InspectArgs),
    /// Show the files of the data root, their sizes, and what each is by its content. Takes no lock; exit code 1 if one of
    /// ours does not verify
    Tree(TreeArgs),
    /// The child that `tour` kills
    #[command(hide = true)]
    TourWriter,
}

#[derive(Debug, Args)]
pub struct TourArgs {
    /// A directory for the tour's data, new or empty [default: a fresh one among the temporary files]
    pub dir: Option<PathBuf>,
}

/// Which space, and how keys are written.
#[derive(Debug, Args)]
pub struct SpaceArg {
    /// The space [default: `space` in the configuration]
    #[arg(short, long, value_name = "SPACE")]
    pub space: Option<SpaceId>,
    /// Keys are written with escapes, as scan prints them: \xNN, \t, \n, \r, \\
    #[arg(short, long)]
    escaped: bool,
}

impl SpaceArg {
    /// The bytes of a key given on the command line.
    pub fn key(&self, given: OsString) -> Result<Vec<u8>, Failure> {
        let bytes = given.into_vec();
        if !self.escaped {
            return Ok(bytes);
        }
        unescape(&bytes).ok_or_else(|| {
            Failure::Usage(format!(
                "\"{}\" has an escape that is not understood. Write \\xNN, \\t, \\n, \\r or \\\\",
                String::from_utf8_lossy(&bytes).escape_debug()
            ))
        })
    }
}

#[derive(Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    pub space: SpaceArg,
    /// The key
    pub key: OsString,
    /// The value, as it is; all of stdin if it is not given
    pub value: Option<OsString>,
    /// Take the value from this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "value")]
    pub file: Option<PathBuf>,
    /// How much the entry is worth keeping in the hot tier: under pressure, tables of lower ones leave it first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    pub space: SpaceArg,
    /// The key
    pub key: OsString,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("meant").required(true).multiple(true).args(["key", "prefix", "from", "to"]))]
pub struct DeleteArgs {
    #[command(flatten)]
    pub space: SpaceArg,
    /// The key
    #[arg(conflicts_with_all = ["prefix", "from", "to"], required_unless_present_any = ["prefix", "from", "to"])]
    pub key: Option<OsString>,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which keys are meant.
#[derive(Debug, Args)]
pub struct RangeArgs {
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
}

#[derive(Debug, Args)]
pub struct ClearArgs {
    /// The space [default: `space` in the configuration]
    #[arg(short, long, value_name = "SPACE")]
    pub space: Option<SpaceId>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The file; what it is shows in its content, not in its name
    pub file: PathBuf,
    /// Print the entries of tables too
    #[arg(long)]
    pub entries: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TreeArgs {
    /// Only this space; may be given more than once
    #[arg(short, long = "space", value_name = "SPACE", value_parser = SpaceId::new)]
    pub spaces: Vec<SpaceId>,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ScanArgs {
    #[command(flatten)]
    pub space: SpaceArg,
    #[command(flatten)]
    pub range: RangeArgs,
    /// From the last key to the first
    #[arg(long)]
    pub reverse: bool,
    /// At most so many entries
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Leave the values out
    #[arg(long)]
    pub keys_only: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SpacesArgs {
    #[command(subcommand)]
    pub command: SpacesCommand,
}

#[derive(Debug, Subcommand)]
pub enum SpacesCommand {
    /// List all spaces, and what else lies in the data root
    List {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Open spaces and show what they consist of: tiers, memory, log
    Stat {
        /// Their ids; all spaces if none is given
        #[arg(value_name = "SPACE")]
        ids: Vec<SpaceId>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make spaces; the data root too, if it is not there
    Create {
        /// Their ids
        #[arg(required = true, value_name = "SPACE")]
        ids: Vec<SpaceId>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete spaces for good, with all that is in their directories; nothing is asked
    Delete {
        /// Their ids
        #[arg(required = true, value_name = "SPACE")]
        ids: Vec<SpaceId>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct CompactArgs {
    /// The space [default: `space` in the configuration]
    #[arg(short, long, value_name = "SPACE")]
    pub space: Option<SpaceId>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The tree to load; symbolic links and special files are counted, not followed
    pub dir: PathBuf,
    /// A space to load it into, made if it is not there; may be given several times
    #[arg(short, long = "space", value_name = "SPACE", required = true)]
    pub spaces: Vec<SpaceId>,
    /// Append a line `space<TAB>key` here for each file, after its write was acknowledged
    #[arg(long, value_name = "FILE")]
    pub ack_log: Option<PathBuf>,
    /// Threads that write to each space
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Compare keys that are there already with their files by content, not by length alone
    ///
    /// A load that took one to be there by its length alone is not reported as complete. With --ack-log, those that
    /// have no line there are compared by content in any case, and get their line.
    #[arg(long)]
    pub compare: bool,
    /// Write files again whose stored value differs, instead of reporting them
    #[arg(long)]
    pub replace: bool,
    /// Print a JSON object at the end
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The tree that was loaded
    pub dir: PathBuf,
    /// The ack log that `load` wrote
    #[arg(long, value_name = "FILE")]
    pub ack_log: PathBuf,
    /// Print a JSON object at the end
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The directory to write to, made if it is not there. No key leads out of it
    pub dir: PathBuf,
    /// The space [default: `space` in the configuration]
    #[arg(short, long, value_name = "SPACE")]
    pub space: Option<SpaceId>,
    /// Replace files that are there with other content
    #[arg(long)]
    pub force: bool,
    /// Print a JSON object at the end
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
