//! What `inspect` tells of every kind of file, held as text: of the goldens' content, and of a copy with damage in it.
use super::{samples, tables};
use bulkhead::encode_engine_file;
use bulkhead::inspect::{Detail, Fact, Field, Inspector, inspect};
use bulkhead::manifest;

/// A file in memory, and its facts a line each.
struct Told<'a> {
    file: &'a [u8],
    text: String,
}

impl Inspector for Told<'_> {
    type Error = std::convert::Infallible;
    fn file_len(&self) -> u64 {
        self.file.len() as u64
    }
    fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Self::Error> {
        let from = (offset as usize).min(self.file.len());
        Ok(self.file[from..(from + len).min(self.file.len())].to_vec())
    }
    fn say(&mut self, fact: &Fact) -> Result<(), Self::Error> {
        self.text += &format!("{:>6}  {}", fact.offset, fact.what);
        for (name, field) in &fact.fields {
            self.text += &match field {
                Field::Number(n) => format!("  {name} {n}"),
                Field::Text(text) => format!("  {name} {text}"),
                Field::Bytes(bytes) => format!("  {name} \"{}\"", bytes.escape_ascii()),
            };
        }
        self.text.push('\n');
        Ok(())
    }
}

/// Compares what is told of `file` with the golden `name`.
fn told(name: &str, file: &[u8]) {
    let mut told = Told { file, text: String::new() };
    let Ok(inspected) = inspect(&mut told, Detail::Entries);
    let text = format!("{:?}, damages: {}\n{}", inspected.kind, inspected.damages, told.text);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(format!("inspect-{name}"), text));
}

/// The sample at the length that its header says.
fn segment() -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, frames) = samples::segment();
    bytes.resize(65536, 0);
    (bytes, frames)
}

#[test]
fn every_kind_of_file_is_told_as_the_goldens_hold() {
    told("engine", &encode_engine_file(samples::space_uid()));
    told("space", &samples::identity().encode());
    told("manifest", &manifest::encode(&samples::manifest()));
    told("segment", &segment().0);
    told("table", &tables::table());
    told("table-of-ranges", &tables::ranges_only());
}

#[test]
fn damage_is_told_as_the_goldens_hold() {
    let flipped = |mut file: Vec<u8>, at: usize| {
        file[at] ^= 1;
        file
    };
    told("space-damaged", &flipped(samples::identity().encode(), 30));
    told("manifest-damaged", &flipped(manifest::encode(&samples::manifest()), 4096 + 100));
    let (segment, frames) = segment();
    told("segment-damaged", &flipped(segment, frames[1] + 40));
    told("table-damaged", &flipped(tables::table(), 20));
}
