//! Goal: a space's id decides its directory, alone and for ever; no id reaches outside the data root or into another
//! space's directory, and every entry point judges an id alike (features 1, 2 and 3).
//!
//! Method: properties over drawn ids; a million byte strings, mostly nasty ones, against a second validator written
//! from the rules; a table of ids with the directory that each has had since the first release; the real file system
//! with a symbolic link in the way.
use bulkhead::env::os::{OsEnv, OsOptions};
use bulkhead::ids::{SpaceIdError, stable_hash};
use bulkhead::space::SpacePaths;
use bulkhead::{Engine, ErrorKind, Options, SpaceId};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Ids and their directories. Both columns are part of the format: a change here loses people's data.
const VALID: &[(&str, &str)] = &[
    ("a", "a"),
    ("alpha", "alpha"),
    ("alpha_1-b", "alpha_1-b"),
    ("Alpha", "%41lpha"),
    ("ALPHA", "%41%4c%50%48%41"),
    (" ", "%20"),
    (" alpha ", "%20alpha%20"),
    (".alpha", "%2ealpha"),
    ("alpha.", "alpha%2e"),
    ("a.b.c", "a%2eb%2ec"),
    ("-", "%2d"),
    ("-rf", "%2drf"),
    ("a-", "a-"),
    ("~", "%7e"),
    ("%41", "%2541"),
    ("alpha:beta", "alpha%3abeta"),
    ("C:", "%43%3a"),
    ("a*?\"<>|b", "a%2a%3f%22%3c%3e%7cb"),
    ("con", "%63on"),
    ("nul", "%6eul"),
    ("com1", "%63om1"),
    ("lpt9", "%6cpt9"),
    ("com0", "com0"),
    ("CON", "%43%4f%4e"),
    ("con1", "con1"),
    ("é", "%c3%a9"),
    ("e\u{301}", "e%cc%81"),
    ("日本", "%e6%97%a5%e6%9c%ac"),
    ("\u{202e}x", "%e2%80%aex"),
    (".deleted-0", "%2edeleted-0"),
    ("wal", "wal"),
    ("quarantine", "quarantine"),
];

const INVALID: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    "a..",
    "..a",
    "a..b",
    "/",
    "/etc/passwd",
    "a/b",
    "a/",
    "../a",
    "\\",
    "a\\b",
    "..\\a",
    "\0",
    "a\0b",
    "a\nb",
    "a\tb",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{80}",
    "a\u{9f}",
];

/// Every way in which a string from outside becomes an id.
fn verdicts(text: &str) -> Vec<(&'static str, Option<SpaceId>)> {
    let json = serde_json::to_string(text).unwrap();
    vec![
        ("SpaceId::new", SpaceId::new(text).ok()),
        ("bytes", SpaceId::from_bytes(text.as_bytes()).ok()),
        ("FromStr", text.parse().ok()),
        ("TryFrom<String>", SpaceId::try_from(text.to_owned()).ok()),
        ("configuration", serde_json::from_str(&json).ok()),
        ("directory scan", SpaceId::from_dir_name(&escaped(text.as_bytes()))),
    ]
}

/// The rule for directory names, a second time.
fn escaped(id: &[u8]) -> String {
    let lower = String::from_utf8_lossy(id).to_ascii_lowercase();
    let stem = lower.trim_end_matches(|c: char| matches!(c, '1'..='9'));
    let device = matches!(lower.as_str(), "con" | "prn" | "aux" | "nul")
        || matches!(stem, "com" | "lpt") && lower.len() == 4;
    let mut name = String::new();
    for (i, &b) in id.iter().enumerate() {
        let plain = b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if plain && !(i == 0 && (device || b == b'-')) {
            name.push(char::from(b));
        } else {
            name += &format!("%{b:02x}");
        }
    }
    name
}

/// The rule for ids, a second time.
fn allowed(id: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(id) else { return false };
    let control = text.chars().any(|c| u32::from(c) < 0x20 || (0x7f..0xa0).contains(&u32::from(c)));
    let dots = id == b"." || id.windows(2).any(|w| w == b"..");
    (1..=64).contains(&id.len()) && !control && !dots && !id.iter().any(|b| matches!(b, b'/' | b'\\'))
}

#[test]
fn every_entry_point_gives_the_same_verdict() {
    let long = "x".repeat(64);
    let valid = VALID.iter().copied().chain([(long.as_str(), long.as_str())]);
    for (text, directory) in valid {
        for (entry, verdict) in verdicts(text) {
            let id = verdict.unwrap_or_else(|| panic!("{entry} refuses {text:?}"));
            assert_eq!((id.as_str(), id.dir_name().as_str()), (text, directory), "{entry}");
        }
    }
    let (too_long, two_bytes_over) = ("x".repeat(65), "é".repeat(33));
    for text in INVALID.iter().copied().chain([too_long.as_str(), two_bytes_over.as_str()]) {
        for (entry, verdict) in verdicts(text) {
            assert_eq!(verdict, None, "{entry} accepts {text:?}");
        }
        let message = SpaceId::new(text).unwrap_err().to_string();
        assert!(!message.chars().any(char::is_control), "{message:?} goes to a terminal as it is");
    }
    assert_eq!(SpaceId::from_bytes(b"a\xff"), Err(SpaceIdError::NotUtf8));
}

#[test]
fn the_hash_that_decisions_are_keyed_by_never_changes() {
    assert_eq!(stable_hash(b""), 0xecba_3df2_c338_3c52);
    assert_eq!(stable_hash(b"alpha"), 0xec02_6fa5_e96a_612c);
}

/// What holds of the paths of any id.
fn check_paths(root: &Path, id: &SpaceId) {
    let paths = SpacePaths::new(root, id);
    assert_eq!(paths, SpacePaths::new(root, &id.clone()), "equal in every call");
    let below: Vec<_> = paths.space().strip_prefix(root).unwrap().components().collect();
    assert!(matches!(below[..], [Component::Normal(_)]), "{id:?} lies directly under the root: {below:?}");
    let name = below[0].as_os_str().to_str().expect("a name of ASCII");
    assert_eq!(name, escaped(id.as_str().as_bytes()), "{id:?}");
    assert!(name.len() <= 255 && !name.starts_with(['.', '-']), "{name}");
    assert_eq!(name, name.to_ascii_lowercase(), "no two ids meet where case is folded");
    assert!(!name.ends_with(['.', ' ']), "{name}: some file systems drop these");
    assert_eq!(SpaceId::from_dir_name(name).as_ref(), Some(id), "the way back is unique");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/ids.txt"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_four_directories_of_a_space_lie_under_its_own(text in "\\PC{1,20}|[a-cA-C._-]{1,4}") {
        let Ok(id) = SpaceId::new(&text) else { return Ok(()) };
        let root = Path::new("/data");
        check_paths(root, &id);
        let paths = SpacePaths::new(root, &id);
        let dirs = [paths.wal(), paths.hot(), paths.warm(), paths.cold()];
        for (dir, name) in dirs.iter().zip(["wal", "hot", "warm", "cold"]) {
            prop_assert_eq!(dir, &root.join(id.dir_name()).join(name));
        }
        prop_assert_eq!(dirs.iter().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn distinct_ids_have_distinct_directories_also_where_case_is_folded(
        texts in proptest::collection::btree_set("[aAbB%61. -]{1,3}|[cC][oO][nN]|\\PC{1,3}", 2..40),
    ) {
        let ids: Vec<_> = texts.iter().filter_map(|t| SpaceId::new(t).ok()).collect();
        let folded: BTreeSet<_> = ids.iter().map(|id| id.dir_name().to_lowercase()).collect();
        prop_assert_eq!(folded.len(), ids.len());
    }
}

/// A stream of numbers that is the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 += 1;
        stable_hash(&self.0.to_le_bytes()) % n
    }

    /// A byte string: raw bytes, text with what paths are made of, or one with a character of several bytes.
    fn bytes(&mut self) -> Vec<u8> {
        const NASTY: &[&str] = &[
            "a", "b", "A", "z", "0", "1", "9", "_", "-", ".", "..", "/", "\\", "%", "%2e", "%2f", "~", " ",
            ":", "*", "\0", "\n", "\x7f", "con", "nul", "com", "é", "ß", "İ", "日", "\u{85}", "\u{202e}",
            "wal",
        ];
        let kind = self.below(8);
        let len = match self.below(16) {
            0 => 60 + self.below(12),
            1..=3 => self.below(24),
            _ => self.below(6),
        };
        match kind {
            0 => (0..len).map(|_| self.below(256) as u8).collect(),
            1 => (0..len).map(|_| 0x20 + self.below(0x60) as u8).collect(),
            _ => (0..len).flat_map(|_| NASTY[self.below(NASTY.len() as u64) as usize].bytes()).collect(),
        }
    }
}

#[test]
fn of_a_million_byte_strings_none_escapes_the_root() {
    let root = Path::new("/data/root");
    let mut draw = Draw(0);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1_000_000 {
        let bytes = draw.bytes();
        match SpaceId::from_bytes(&bytes) {
            Ok(id) => {
                assert!(allowed(&bytes), "{id:?} is accepted");
                assert_eq!(id.as_str().as_bytes(), &bytes[..], "nothing is trimmed or folded");
                let paths = SpacePaths::new(root, &id);
                assert_eq!(paths.space().parent(), Some(root));
                check_paths(root, &id);
                accepted += 1;
            }
            Err(why) => {
                assert!(!allowed(&bytes), "{:?} is refused: {why}", String::from_utf8_lossy(&bytes));
                refused += 1;
            }
        }
    }
    assert!(accepted > 200_000 && refused > 200_000, "both verdicts are drawn: {accepted}, {refused}");
}

/// A symbolic link under a space's name is no space, and nothing is written through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_under_a_spaces_name_leads_nowhere() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), root.path().join("alpha")).unwrap();
    let env = OsEnv::new(tokio::runtime::Handle::current(), OsOptions::default());
    let engine = Engine::open(env, root.path(), Options::default()).await.unwrap();
    let listing = engine.list_spaces();
    assert_eq!((listing.spaces.len(), listing.ignored.len()), (0, 1), "{listing:?}");
    let alpha = SpaceId::new("alpha").unwrap();
    let error =
        engine.create_space(&alpha).await.expect_err("the name is taken by something that is no space");
    assert!(matches!(error.kind(), ErrorKind::Rejected(_) | ErrorKind::Failed), "{error}");
    engine.create_space(&SpaceId::new("beta").unwrap()).await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "nothing was written through the link");
    assert!(root.path().join("alpha").is_symlink(), "and the link is left alone");
}
