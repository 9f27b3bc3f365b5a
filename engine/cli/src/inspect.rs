//! `inspect`: any file of a data root as text. Reads it alone, takes no lock and needs no engine.
use crate::args::InspectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{count, json_line, put_bytes};
use bulkhead::inspect::{Detail, Fact, Field, Inspector, Kind, inspect};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Prints what the file is and holds; fails if a part of it does not verify.
pub fn run(args: InspectArgs) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::file("read", &args.file, &e);
    let file = File::open(&args.file).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::Usage(format!("{} is no file", args.file.display())));
    }
    let out = BufWriter::new(std::io::stdout().lock());
    let mut shown = Shown { path: args.file, file, len: metadata.len(), json: args.json, out };
    let detail = if args.entries { Detail::Entries } else { Detail::Parts };
    let inspected = inspect(&mut shown, detail)?;
    shown.out.flush()?;
    let path = shown.path.display();
    match inspected.damages {
        0 => Ok(()),
        _ if inspected.kind == Kind::Unknown => Err(Failure::Failed(format!("{path} is no file of ours"))),
        1 => Err(Failure::Failed(format!("{path}: 1 part does not verify"))),
        n => Err(Failure::Failed(format!("{path}: {} do not verify", count(n, "part")))),
    }
}

/// The `len` bytes at `offset`, or what there is of them before the end.
pub fn read_up_to(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut filled) = (vec![0; len], 0);
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The file that is read, and where its facts go.
struct Shown<W> {
    path: PathBuf,
    file: File,
    len: u64,
    json: bool,
    out: W,
}

impl<W: Write> Inspector for Shown<W> {
    type Error = Failure;

    fn file_len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Failure> {
        read_up_to(&self.file, offset, len).map_err(|e| Failure::file("read", &self.path, &e))
    }

    fn say(&mut self, fact: &Fact) -> Result<(), Failure> {
        if self.json {
            let mut object = Map::new();
            object.insert("offset".into(), fact.offset.into());
            object.insert("what".into(), fact.what.into());
            if fact.what == Fact::DAMAGE {
                object.insert("file".into(), Value::String(self.path.display().to_string()));
            }
            for (name, field) in &fact.fields {
                match field {
                    Field::Number(n) => drop(object.insert((*name).into(), (*n).into())),
                    Field::Text(text) => drop(object.insert((*name).into(), text.as_str().into())),
                    Field::Bytes(bytes) => put_bytes(&mut object, name, bytes),
                }
            }
            return Ok(json_line(&mut self.out, &object)?);
        }
        if fact.what == Fact::DAMAGE {
            write!(self.out, "{}: ", escape(self.path.as_os_str().as_encoded_bytes()))?;
        }
        write!(self.out, "{:>10}  {}", fact.offset, fact.what)?;
        for (name, field) in &fact.fields {
            match field {
                Field::Number(n) => write!(self.out, "  {name} {n}")?,
                Field::Text(text) => write!(self.out, "  {name} {text}")?,
                Field::Bytes(bytes) => write!(self.out, "  {name} \"{}\"", escape(bytes))?,
            }
        }
        Ok(writeln!(self.out)?)
    }
}
