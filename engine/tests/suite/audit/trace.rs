//! What strace wrote down, as events in the order in which they happened.
//!
//! A call that another thread's call overlapped has two lines, one for its begin and one for its end; any other has
//! one that stands for both. strace holds a thread until it has written the line, so the order of lines is an order in
//! which things can have happened: what ended in an earlier line had returned before what began in a later one.
use std::collections::BTreeMap;

/// The calls to trace, as strace wants them. (What the engine does with files must be among them: a call that is not
/// looked at proves nothing.)
pub const CALLS: &str = "openat,openat2,mkdirat,renameat,renameat2,unlinkat,fsync,fdatasync,fallocate,ftruncate,\
                         write,pwrite64,pwritev,pwritev2,writev";

/// One call, as far as it changes what a crash leaves. Paths are absolute and those of the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A file that did not exist.
    Create(String),
    MakeDir(String),
    Rename {
        from: String,
        to: String,
    },
    /// Of a file or a directory.
    Unlink(String),
    Write {
        path: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// fallocate or ftruncate.
    Resize {
        path: String,
    },
    /// fsync or fdatasync, of a file or a directory.
    Sync(String),
    /// A line that the traced program wrote to its file of marks.
    Mark(String),
}

/// What happened, in order. Numbers are indices into [`Trace::calls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A new process runs from here on; what the former one had not ended never ends.
    Process,
    Begun(usize),
    /// Returned without an error.
    Done(usize),
    /// Returned with one.
    Failed(usize),
}

/// The calls of one or several processes, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Trace {
    pub calls: Vec<Call>,
    pub events: Vec<Event>,
}

impl Trace {
    /// Adds what strace wrote down of one more process. Calls outside of `base` are left out; the file `marks` in it
    /// holds the marks.
    pub fn add(&mut self, log: &str, base: &str) {
        self.events.push(Event::Process);
        let mut open: BTreeMap<&str, (String, Option<usize>)> = BTreeMap::new();
        for line in log.lines() {
            let (pid, rest) = line.split_once(' ').expect("a process id in front");
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let (_, tail) = resumed.split_once(" resumed>").expect("strace says what goes on");
                let (head, call) = open.remove(pid).expect("what goes on began");
                let whole = format!("{head}{tail}");
                self.end(&whole, call);
            } else if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
                let call = self.begin(head, base);
                open.insert(pid, (head.to_owned(), call));
            } else {
                let call = self.begin(rest, base);
                self.end(rest, call);
            }
        }
    }

    fn begin(&mut self, text: &str, base: &str) -> Option<usize> {
        let call = parse(text, base)?;
        self.calls.push(call);
        self.events.push(Event::Begun(self.calls.len() - 1));
        Some(self.calls.len() - 1)
    }

    fn end(&mut self, text: &str, call: Option<usize>) {
        let Some(call) = call else { return };
        let (_, result) = text.rsplit_once(" = ").expect("a call that ended has a result");
        match result.as_bytes()[0] {
            b'?' => {}
            b'-' => self.events.push(Event::Failed(call)),
            _ => {
                if let Call::Write { bytes, .. } = &self.calls[call] {
                    let n: usize = result.split_whitespace().next().unwrap().parse().unwrap();
                    assert_eq!(n, bytes.len(), "a short write: the trace was made without faults");
                }
                self.events.push(Event::Done(call));
            }
        }
    }
}

fn parse(text: &str, base: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    // Names and bytes are all in hexadecimal: the first bracket that closes is the call's own.
    let args = rest.find(") ").map_or(rest.trim_end(), |end| &rest[..end]);
    let args: Vec<&str> = args.split(", ").collect();
    let inside = |path: String| (path.starts_with(base)).then_some(path);
    let at = |fd: usize| -> Option<String> {
        let (dir, name) = (path_of(args.get(fd)?)?, string(args.get(fd + 1)?));
        inside(if name.starts_with('/') { name } else { format!("{dir}/{name}") })
    };
    let of = |fd: usize| path_of(args.get(fd)?).and_then(inside);
    let number = |i: usize| args[i].parse::<u64>().expect("a number");
    match name {
        "openat" if args[2].contains("O_CREAT") => at(0).map(Call::Create),
        "openat" => None,
        "openat2" => {
            assert!(!args[2].contains("O_CREAT"), "nothing is made by {text}");
            None
        }
        "mkdirat" => at(0).map(Call::MakeDir),
        "renameat" | "renameat2" => Some(Call::Rename { from: at(0)?, to: at(2)? }),
        "unlinkat" => at(0).map(Call::Unlink),
        "fsync" | "fdatasync" => of(0).map(Call::Sync),
        "fallocate" | "ftruncate" => of(0).map(|path| Call::Resize { path }),
        "pwrite64" => Some(Call::Write { path: of(0)?, offset: number(3), bytes: bytes(args[1]) }),
        "write" => {
            let path = of(0)?;
            assert!(
                path.ends_with("/marks") || path.ends_with("/.lock"),
                "a write without an offset to {path}"
            );
            path.ends_with("/marks").then(|| Call::Mark(string(args[1]).trim_end().to_owned()))
        }
        other => {
            // Gathered writes of the test harness itself are fine; of a file of the engine's they are not understood.
            assert!(of(0).is_none(), "{other} is not understood: {text}");
            None
        }
    }
}

/// `3</a/b>` without the brackets; a deleted file has none.
fn path_of(fd: &str) -> Option<String> {
    let (_, path) = fd.split_once('<')?;
    let path = path.strip_suffix('>')?;
    Some(String::from_utf8(unescape(path)).expect("paths of the test are UTF-8"))
}

fn string(quoted: &str) -> String {
    String::from_utf8(bytes(quoted)).expect("names and marks of the test are UTF-8")
}

fn bytes(quoted: &str) -> Vec<u8> {
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    unescape(inner.expect("the string is whole: strace was told a length that suffices"))
}

/// `\x61\x62` as bytes. (Told to, strace writes every byte so.)
fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x")
        .skip(1)
        .map(|hex| u8::from_str_radix(hex, 16).expect("two hexadecimal digits"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|b| format!("\\x{b:02x}")).collect()
    }

    #[test]
    fn overlapping_calls_begin_and_end_in_their_lines() {
        let (dir, file) = (hex("/w/d"), hex("/w/d/f"));
        let name = hex("f");
        let log = format!(
            "7  openat(3<{dir}>, \"{name}\", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 4<{file}>\n\
             7  pwrite64(4<{file}>, \"{}\", 2, 8 <unfinished ...>\n\
             8  fdatasync(4<{file}>) = 0\n\
             7  <... pwrite64 resumed>) = 2\n\
             8  fsync(3<{dir}>) = -1 EIO (Input/output error)\n\
             8  fsync(3<{}>) = 0\n\
             8  fsync(3<{dir}> <unfinished ...>\n\
             8  +++ killed by SIGKILL +++\n",
            hex("ab"),
            hex("/elsewhere")
        );
        let mut trace = Trace::default();
        trace.add(&log, "/w");
        let sync = |p: &str| Call::Sync(p.to_owned());
        assert_eq!(
            trace.calls,
            [
                Call::Create("/w/d/f".to_owned()),
                Call::Write { path: "/w/d/f".to_owned(), offset: 8, bytes: b"ab".to_vec() },
                sync("/w/d/f"),
                sync("/w/d"),
                sync("/w/d"),
            ]
        );
        use Event::*;
        let expected =
            [Process, Begun(0), Done(0), Begun(1), Begun(2), Done(2), Done(1), Begun(3), Failed(3), Begun(4)];
        assert_eq!(trace.events, expected);
    }
}
