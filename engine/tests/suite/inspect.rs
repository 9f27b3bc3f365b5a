//! Goal: an inspection never panics and never ends in an endless walk, whatever the bytes are, finds nothing wrong with
//! files that are whole, and something wrong with every flipped bit. Method: real files of a small data root, cut,
//! flipped and made up.
use bulkhead::blocking::Engine;
use bulkhead::inspect::{Detail, Fact, Inspected, Inspector, Kind, inspect};
use bulkhead::{Options, SpaceId};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// A file in memory, and how many facts it has.
struct Bytes<'a>(&'a [u8], usize);

impl Inspector for Bytes<'_> {
    type Error = std::convert::Infallible;
    fn file_len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Self::Error> {
        let from = (offset as usize).min(self.0.len());
        Ok(self.0[from..(from + len).min(self.0.len())].to_vec())
    }
    fn say(&mut self, _: &Fact) -> Result<(), Self::Error> {
        self.1 += 1;
        Ok(())
    }
}

fn look(bytes: &[u8]) -> Inspected {
    let Ok(inspected) = inspect(&mut Bytes(bytes, 0), Detail::Entries);
    inspected
}

fn gather(dir: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(&path, found),
            false if ![".lock", ".reserve"].map(OsStr::new).contains(&path.file_name().unwrap()) => {
                found.push(std::fs::read(&path).unwrap())
            }
            false => {}
        }
    }
}

/// Every kind of file, from a data root with tables of several blocks, values apart and a log behind them.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), Options::default()).unwrap();
        let space = engine.create_space(&SpaceId::new("s").unwrap()).unwrap();
        for n in 0..400u32 {
            space.put(format!("key {n:04}"), vec![n as u8; (n % 90) as usize]).unwrap();
        }
        space.put("large", vec![7; 40_000]).unwrap();
        space.delete("key 0007").unwrap();
        space.delete_range("key 0100".."key 0110").unwrap();
        space.compact().unwrap();
        for n in 0..50u32 {
            space.put(format!("late {n}"), vec![n as u8; 100]).unwrap();
        }
        space.delete_range("key 0200".."key 0210").unwrap();
        engine.close().unwrap();
        let mut found = Vec::new();
        gather(dir.path(), &mut found);
        found
    })
}

#[test]
fn files_that_are_whole_are_of_a_kind_and_verify() {
    let mut kinds = Vec::new();
    for file in files() {
        let Inspected { kind, damages } = look(file);
        assert_eq!(damages, 0, "{kind:?}");
        kinds.push(kind);
    }
    for kind in [Kind::Root, Kind::Space, Kind::Manifest, Kind::Segment, Kind::Table] {
        assert!(kinds.contains(&kind), "{kind:?} is among {kinds:?}");
    }
    assert_eq!(look(&[]), Inspected { kind: Kind::Unknown, damages: 1 });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_damage(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut file = which.get(files()).clone();
        let at = at.index(file.len());
        file[at] ^= 1u8 << bit;
        prop_assert!(look(&file).damages > 0, "byte {at} of {}", file.len());
    }

    #[test]
    fn a_file_that_is_cut_and_overwritten_panics_nobody(
        which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        over in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..16)), 0..6),
    ) {
        let mut file = which.get(files()).clone();
        file.truncate(cut.index(file.len() + 1));
        for (at, bytes) in over.iter().take(if file.is_empty() { 0 } else { over.len() }) {
            let at = at.index(file.len());
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
        }
        look(&file);
    }

    #[test]
    fn any_bytes_behind_any_magic_panic_nobody(
        magic in prop::sample::select(vec!["", "BHSPACE\0", "BHMANIFS", "BHWALSEG", "BHENGINE"]),
        bytes in prop::collection::vec(any::<u8>(), 0..6000),
    ) {
        let mut file = magic.as_bytes().to_vec();
        file.extend_from_slice(&bytes);
        prop_assert!(look(&file).damages > 0);
        let at = file.len().saturating_sub(512);
        if file.len() > 512 {
            file[at..at + 8].copy_from_slice(b"BHTABLES");
            look(&file);
        }
    }
}
