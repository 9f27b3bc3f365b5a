//! Every format has one module, a golden and an entry in the changelog; nothing else encodes bytes.
use super::source::{read, sources, workspace};
use std::collections::BTreeSet;

/// The modules that lay out bytes, and the goldens that hold them.
const FORMATS: &[(&str, &[&str])] = &[
    ("engine/src/root.rs", &["engine-1"]),
    ("engine/src/identity.rs", &["space-1"]),
    ("engine/src/manifest/format.rs", &["manifest-1", "manifest-1-new"]),
    ("engine/src/wal/segment.rs", &["segment-header-1", "segment-1"]),
    ("engine/src/wal/frame.rs", &["frame-commits-1", "frame-link-1", "frame-seal-1", "frame-pad-1"]),
    // Operations are the body of commits.
    ("engine/src/wal/operation.rs", &["frame-commits-1", "frame-ranges-1", "frame-priorities-1"]),
    // A table is made of all of these, and of filters, which are bits.
    ("engine/src/table/piece.rs", &["table-1", "table-1-ranges"]),
    ("engine/src/table/block.rs", &["table-1", "table-1-lz4"]),
    ("engine/src/table/index.rs", &["table-1"]),
    ("engine/src/table/extent.rs", &["table-1", "table-1-ranges"]),
    ("engine/src/table/footer.rs", &["table-1", "table-1-ranges"]),
];

/// What formats are made of.
const CODEC: &str = "engine/src/codec.rs";
/// Looks for the identity tag among bytes; lays out nothing.
const SCAN: &str = "engine/src/wal/scan.rs";

/// Format level: what the changelog calls it, where it stands, and its constant.
const LEVELS: &[(&str, &str, &str)] = &[
    ("root", "engine/src/root.rs", "ROOT_LEVEL"),
    ("space", "engine/src/identity.rs", "SPACE_LEVEL"),
    ("segment", "engine/src/wal/segment.rs", "SEGMENT_LEVEL"),
    ("manifest", "engine/src/manifest/format.rs", "MANIFEST_LEVEL"),
    ("table", "engine/src/table/footer.rs", "TABLE_LEVEL"),
];

#[test]
fn every_module_that_lays_out_bytes_has_a_diagram_and_a_golden() {
    let mut found = BTreeSet::new();
    for source in sources(&["engine/src"]) {
        let encodes = ["to_le_bytes", "checksum(", "const MAGIC"].iter().any(|w| source.code.contains(w));
        if encodes || source.text.contains("varint(key length)") {
            found.insert(source.path);
        }
    }
    let listed = FORMATS.iter().map(|(path, _)| *path).chain([CODEC, SCAN]).map(str::to_owned).collect();
    assert_eq!(found, listed, "modules that encode bytes, and those that have a golden");
    for (path, goldens) in FORMATS {
        assert!(
            read(path).contains("//! ```text") || read(path).contains("/// ```text"),
            "{path} has no diagram"
        );
        for golden in *goldens {
            assert!(!read(&format!("snapshots/format-{golden}.snap")).is_empty());
        }
    }
}

#[test]
fn every_golden_belongs_to_a_format() {
    let known: BTreeSet<_> =
        FORMATS.iter().flat_map(|(_, g)| *g).map(|g| format!("format-{g}.snap")).collect();
    let there = std::fs::read_dir(workspace().join("snapshots")).unwrap();
    let there = there.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.filter(|n| n.starts_with("format-")).collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_changelog_has_an_entry_for_every_format_level() {
    let changelog = read("CHANGELOG.md");
    for (name, path, constant) in LEVELS {
        let text = read(path);
        let (_, value) =
            text.split_once(&format!("pub const {constant}: u32 = ")).expect("the level's constant");
        let level: u32 = value.split(';').next().unwrap().parse().unwrap();
        for level in 1..=level {
            let entry = format!("{name} level {level}");
            assert!(changelog.contains(&entry), "CHANGELOG.md has no entry for {entry}");
        }
    }
}
