//! The ack log: one line `space<TAB>key` for each write that was acknowledged, appended after its acknowledgement.
//!
//! Keys are escaped, so a line holds exactly one tab and ends at its line end. A line is written by one call, but a
//! SIGKILL may still cut it: a last line without its end was never finished. Readers leave it out, and the next
//! writer cuts it off before it appends. Nothing is cut off or appended unless all of the file is of this form: a file
//! that was named by mistake stays as it is.
use crate::escape::{escape, unescape};
use crate::failure::Failure;
use bulkhead::SpaceId;
use bulkhead::limits::{KEY_MAX, SPACE_ID_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Longest line with its end: every byte of the key may be escaped as `\\xNN`.
const LINE_MAX: usize = SPACE_ID_MAX + 1 + 4 * KEY_MAX + 1;

/// An acknowledged write.
#[derive(Debug, PartialEq, Eq)]
pub struct Acked {
    pub space: SpaceId,
    pub key: Vec<u8>,
}

/// An ack log being appended to, by any number of threads.
#[derive(Debug)]
pub struct AckLog {
    file: File,
    path: PathBuf,
    /// The keys that had a line when it was opened, of the spaces that it was opened for.
    named: BTreeMap<SpaceId, BTreeSet<Vec<u8>>>,
}

impl AckLog {
    /// Opens `path` at its end for writes of `spaces`, making it if it is not there. Fails, and changes nothing, if it
    /// is no ack log.
    pub fn append_to(path: &Path, spaces: &[SpaceId]) -> Result<AckLog, Failure> {
        let failed = |e: std::io::Error| Failure::file("opened", path, &e);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        // What cannot be read from its start, such as a pipe, is no log to go on with.
        file.rewind().map_err(failed)?;
        let named = spaces.iter().map(|id| (id.clone(), BTreeSet::new())).collect();
        let mut log = AckLog { file, path: path.to_path_buf(), named };
        let whole = log.check()?;
        if whole < log.file.metadata().map_err(failed)?.len() {
            log.file.set_len(whole).map_err(failed)?;
        }
        Ok(log)
    }

    /// Reads the file from its start, and notes the keys it names; the offset behind its last whole line.
    fn check(&mut self) -> Result<u64, Failure> {
        let foreign = |line: u64, expected: &str| {
            Failure::Failed(format!(
                "{}: line {line} is not {expected}: it is taken for no ack log of `load`, and was not touched. Name \
                 another file, or remove it if it is not needed",
                self.path.display()
            ))
        };
        let mut reader = BufReader::new(&self.file);
        let (mut whole, mut number, mut line) = (0, 1, Vec::new());
        let mut others = BTreeSet::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line);
            read.map_err(|e| Failure::file("read", &self.path, &e))?;
            let Some((b'\n', content)) = line.split_last() else { break };
            let Some(Acked { space, key }) = parse_line(content) else {
                return Err(foreign(number, "`space<TAB>key` with the key escaped"));
            };
            match self.named.get_mut(&space) {
                Some(keys) => drop(keys.insert(key)),
                None => drop(others.insert(space)),
            }
            (whole, number) = (whole + line.len() as u64, number + 1);
        }
        // Most files without a line end could be the beginning of some line: only one of a space that is known counts.
        let mut known = self.named.keys().chain(&others);
        if line.len() == LINE_MAX || !known.any(|space| may_begin_line(&line, space)) {
            return Err(foreign(
                number,
                "the beginning of a `space<TAB>key` of a space loaded now or before",
            ));
        }
        Ok(whole)
    }

    /// Whether `key` of `space` had its line when the log was opened.
    pub fn names(&self, space: &SpaceId, key: &[u8]) -> bool {
        self.named.get(space).is_some_and(|keys| keys.contains(key))
    }

    /// Appends one line.
    pub fn acked(&self, space: &SpaceId, key: &[u8]) -> Result<(), Failure> {
        let line = line(space, key);
        (&self.file).write_all(line.as_bytes()).map_err(|e| Failure::file("written", &self.path, &e))
    }
}

/// The line of one write, with its end.
pub fn line(space: &SpaceId, key: &[u8]) -> String {
    // A space id holds no control character: it cannot contain the tab.
    format!("{space}\t{}\n", escape(key))
}

/// What a line without its end says; `None` if it is no line of an ack log.
pub fn parse_line(line: &[u8]) -> Option<Acked> {
    let tab = line.iter().position(|&b| b == b'\t')?;
    let text = &line[tab + 1..];
    let key = unescape(text)?;
    let space = SpaceId::from_bytes(&line[..tab]).ok()?;
    // Other programs' tables have tabs too: what `escape` would have written otherwise is none of its lines.
    let ours = (1..=KEY_MAX).contains(&key.len()) && escape(&key).as_bytes() == text;
    ours.then_some(Acked { space, key })
}

/// Whether `rest` may be what a kill left of a line of `space`: any number of its first bytes, so none too.
fn may_begin_line(rest: &[u8], space: &SpaceId) -> bool {
    let head = format!("{space}\t").into_bytes();
    let Some(key) = rest.strip_prefix(&head[..]) else { return head.starts_with(rest) };
    // The last escape or character may be cut too; the longest is an escape of four bytes.
    (0..=3.min(key.len())).any(|cut| {
        let (whole, last) = key.split_at(key.len() - cut);
        let cut_short = match last {
            [] | [b'\\'] | [b'\\', b'x'] => true,
            [b'\\', b'x', digit] => digit.is_ascii_hexdigit(),
            _ => std::str::from_utf8(last).is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0),
        };
        cut_short && unescape(whole).is_some_and(|key| escape(&key).as_bytes() == whole)
    })
}

/// All finished lines of `path`.
pub fn read(path: &Path) -> Result<Vec<Acked>, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    let mut lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    // What follows the last line end: nothing, or a line cut short.
    lines.pop();
    let bad = |n: usize| {
        Failure::Failed(format!(
            "{}: line {} is not `space<TAB>key`; is it an ack log?",
            path.display(),
            n + 1
        ))
    };
    lines.iter().enumerate().map(|(n, line)| parse_line(line).ok_or_else(|| bad(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_short_is_left_out_and_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acks");
        let alpha = SpaceId::new("alpha").unwrap();
        let long = vec![b'k'; 10_000];
        let keys = [&b"a/b"[..], b"tab\tand\nline\xff", &long];
        for (n, key) in keys.iter().enumerate() {
            let log = AckLog::append_to(&path, std::slice::from_ref(&alpha)).unwrap();
            assert!(keys.iter().enumerate().all(|(at, key)| log.names(&alpha, key) == (at < n)), "{n}");
            log.acked(&alpha, key).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend_from_slice(&line(&alpha, &long).as_bytes()[..[3, 9000, 1][n]]);
            std::fs::write(&path, bytes).unwrap();
            let found: Vec<_> = read(&path).unwrap().into_iter().map(|a| a.key).collect();
            assert_eq!(found, keys[..=n], "{n}");
        }
        std::fs::write(&path, "no tab\nalpha\tk\n").unwrap();
        assert!(matches!(read(&path), Err(Failure::Failed(why)) if why.contains("line 1 ")));
    }

    /// The file was cut to its last line end before anything in it was looked at.
    #[test]
    fn a_file_that_is_no_ack_log_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        let spaces = [SpaceId::new("alpha").unwrap(), SpaceId::new("beta").unwrap()];
        let long = [b"alpha\t", &vec![b'k'; LINE_MAX][..]].concat();
        let foreign: [&[u8]; 11] = [
            b"precious without newline",
            b"alpha\tk\nprecious",
            b"alpha\tk\n\nalpha\tk\n",
            b"alpha\tk\nno tab\nalph",
            b"name\tvalue\r\n",
            b"alpha\t\xff\n",
            b"alpha\ta\tb",
            b"alpha\t\\q",
            b"alphabet",
            &[0; 5000],
            &long,
        ];
        for content in foreign {
            std::fs::write(&path, content).unwrap();
            let shown = escape(&content[..content.len().min(40)]);
            match AckLog::append_to(&path, &spaces) {
                Err(Failure::Failed(why)) => assert!(why.contains("precious: line "), "{shown}: {why}"),
                other => panic!("{shown}: {other:?}"),
            }
            assert!(std::fs::read(&path).unwrap() == content, "{shown}");
        }
    }

    #[test]
    fn every_beginning_of_a_line_may_be_one() {
        let beta = SpaceId::new("beta").unwrap();
        let whole = line(&beta, "a/ä\u{1f980}\t\\\u{202e}\u{7}z".as_bytes());
        for end in 0..whole.len() {
            assert!(may_begin_line(&whole.as_bytes()[..end], &beta), "{end}");
        }
    }
}
