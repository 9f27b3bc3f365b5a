//! The ack log: one line `space<TAB>key` for each write that was acknowledged, appended after its acknowledgement.
//!
//! Keys are escaped, so a line holds exactly one tab and ends at its line end. A line is written by one call, but a
//! SIGKILL may still cut it: a last line without its end was never finished. Readers leave it out, and the next
//! writer cuts it off before it appends.
use crate::escape::{escape, unescape};
use crate::failure::Failure;
use bulkhead::SpaceId;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

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
}

impl AckLog {
    /// Opens `path` at its end, making it if it is not there.
    pub fn append_to(path: &Path) -> Result<AckLog, Failure> {
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let whole = end_of_last_line(&mut file)?;
            if whole < file.metadata()?.len() {
                file.set_len(whole)?;
            }
            Ok(file)
        };
        let file = open().map_err(|e| Failure::file("opened", path, &e))?;
        Ok(AckLog { file, path: path.to_path_buf() })
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
    let key = unescape(&line[tab + 1..])?;
    let space = SpaceId::from_bytes(&line[..tab]).ok()?;
    (!key.is_empty()).then_some(Acked { space, key })
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

/// The offset behind the last line end.
fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    const STEP: u64 = 4096;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|&b| b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
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
            AckLog::append_to(&path).unwrap().acked(&alpha, key).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend_from_slice(&line(&alpha, &long).as_bytes()[..[3, 9000, 1][n]]);
            std::fs::write(&path, bytes).unwrap();
            let found: Vec<_> = read(&path).unwrap().into_iter().map(|a| a.key).collect();
            assert_eq!(found, keys[..=n], "{n}");
        }
        std::fs::write(&path, "no tab\nalpha\tk\n").unwrap();
        assert!(matches!(read(&path), Err(Failure::Failed(why)) if why.contains("line 1 ")));
    }
}
