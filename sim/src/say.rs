//! What the program prints. Whoever reads it may leave at any time: that ends what is printed, never what is done.
use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line.
pub fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("could not be printed: {e}"))
        }
        _ => {}
    }
}

/// Prints a line for whoever looks at errors; there is nobody left to tell when that fails.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
