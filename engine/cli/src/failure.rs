//! Why a command did not succeed, and the exit code that says so.
use bulkhead::{ErrorKind, Rejected};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Exit code of an operation that failed, or found nothing.
pub const FAILED: u8 = 1;
/// Exit code of bad usage: `EX_USAGE` of sysexits.h.
pub const USAGE: u8 = 64;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be meant.
    Usage(String),
    /// It was tried and did not work.
    Failed(String),
    /// Everything that there is to say was said: only the exit code is left.
    Said,
    /// Nobody reads stdout any more.
    NobodyListens,
}

impl Failure {
    /// A file or directory that is not ours could not be used.
    pub fn file(verb: &str, path: &Path, e: &io::Error) -> Failure {
        Failure::Failed(format!("{} could not be {verb}: {e}", path.display()))
    }

    /// Something that only has an error text.
    pub fn failed(what: impl Display) -> Failure {
        Failure::Failed(what.to_string())
    }

    /// Says on stderr what went wrong.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Usage(what) => {
                eprintln!("error: {what}");
                ExitCode::from(USAGE)
            }
            Failure::Failed(what) => {
                eprintln!("error: {what}");
                ExitCode::from(FAILED)
            }
            Failure::Said => ExitCode::from(FAILED),
            Failure::NobodyListens => ExitCode::SUCCESS,
        }
    }
}

impl From<bulkhead::Error> for Failure {
    fn from(e: bulkhead::Error) -> Failure {
        match e.kind() {
            ErrorKind::Rejected(Rejected::Config | Rejected::Id) => Failure::Usage(e.to_string()),
            _ => Failure::Failed(e.to_string()),
        }
    }
}

/// Only output to stdout and stderr ends here: other I/O errors are given their path by [`Failure::file`].
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::NobodyListens,
            _ => Failure::Failed(format!("the output could not be written: {e}")),
        }
    }
}
