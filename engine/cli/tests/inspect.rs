//! `inspect`, `delete` of ranges, `clear`. Files are made by the command itself; damage is put there bit by bit.
use super::run::{Home, write};
use std::path::{Path, PathBuf};

/// All files below `dir`, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A home with a space of a table and a log.
fn filled() -> Home {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    for (key, value) in [("a", "one"), ("b\t", "two"), ("c", "three")] {
        home.ok(&["put", "-s", "alpha", key, value]);
    }
    home.ok(&["compact", "-s", "alpha"]);
    home.ok(&["delete", "-s", "alpha", "a"]);
    home.ok(&["delete", "-s", "alpha", "--from", "c", "--to", "d"]);
    for (name, value) in [("late", "value"), ("later", "last")] {
        write(&home.path("tree").join(name), value);
    }
    home.ok(&["load", home.path("tree").to_str().unwrap(), "-s", "alpha", "--jobs", "1"]);
    home
}

fn file(home: &Home, part: &str) -> String {
    let all = files(&home.default_root());
    let found = all.iter().rfind(|path| path.to_str().unwrap().contains(part));
    found.unwrap_or_else(|| panic!("{part} is in {all:?}")).to_str().unwrap().to_owned()
}

#[test]
fn every_file_is_recognised_by_its_content_and_verifies() {
    let home = filled();
    for (part, shown) in [
        ("/.engine", &["root  uid "][..]),
        ("/SPACE", &["space  id alpha  uid "]),
        ("/MANIFEST-", &["manifest  generation ", "version  epoch ", "segment  number ", "entries 3"]),
        (
            "/wal/",
            &[
                "segment  number ",
                "link",
                "commits",
                "put  lsn ",
                "key \"late\"  value_length 5",
                "delete  lsn ",
                "delete-range  lsn ",
                "from \"c\"  to \"d\"",
                "seal",
                "unwritten",
            ],
        ),
        (
            ".tbl",
            &[
                "entries 3",
                "extent  first \"a\"  last \"c\"",
                "index root",
                "filter",
                "index leaf",
                "block",
                "key \"b\\t\"  value_length 3",
            ],
        ),
    ] {
        let mut text = String::new();
        for path in files(&home.default_root()).iter().filter(|path| path.to_str().unwrap().contains(part)) {
            let copy = home.path("copy without a name");
            std::fs::copy(path, &copy).unwrap();
            let copy = copy.to_str().unwrap();
            let ran = home.ok(&["inspect", copy, "--entries"]);
            let json = home.ok(&["inspect", copy, "--entries", "--json"]);
            let lines = json.text().lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
            assert!(lines.clone().all(|l| l["what"] != "damage" && l["offset"].is_u64()));
            assert_eq!(lines.count(), ran.text().lines().count());
            text.push_str(ran.text());
        }
        for s in shown {
            assert!(text.contains(s), "{s:?} is in: {text}");
        }
    }
    write(&home.path("foreign"), "none of ours");
    let foreign = home.path("foreign");
    home.run(&["inspect", foreign.to_str().unwrap()]).failed(1, &["is no file of ours"]);
    home.run(&["inspect", "/"]).failed(64, &["is no file"]);
}

#[test]
fn damage_is_told_with_its_place_and_the_rest_is_shown() {
    let home = filled();
    for (part, offset, what, still) in [
        ("/SPACE", 4096 + 30, "a copy of the space's identity", "space  id alpha"),
        ("/MANIFEST-", 40, "a copy of the manifest", "entries 3"),
        ("/MANIFEST-", 3, "a copy of the manifest", "entries 3"),
        ("/wal/", 100, "the header", "key \"late\""),
        ("/wal/", 2, "the header", "key \"late\""),
        (".tbl", 30, "part block", "index leaf"),
    ] {
        let path = file(&home, part);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[offset] ^= 1;
        write(&home.path("damaged"), bytes);
        let damaged = home.path("damaged");
        let ran = home.run(&["inspect", damaged.to_str().unwrap()]);
        ran.failed(1, &["not verify"]);
        for s in ["damage", "damaged: ", what, "expected", still] {
            assert!(ran.text().contains(s), "{part}: {s:?} is in: {}", ran.text());
        }
    }
}

#[test]
fn torn_and_stale_tails_are_told_apart() {
    let home = filled();
    let path = file(&home, "/wal/");
    let bytes = std::fs::read(&path).unwrap();
    let shown = |bytes: &[u8]| {
        write(&home.path("tail"), bytes);
        let ran = home.run(&["inspect", home.path("tail").to_str().unwrap()]);
        assert_eq!(ran.code, Some(1), "{}", ran.text());
        ran.text().to_owned()
    };
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    let mut torn = bytes.clone();
    torn[end / 512 * 512 + 1024] = 7;
    assert!(shown(&torn).contains("a torn tail  length "), "{}", shown(&torn));
    let mut hole = bytes.clone();
    hole[4096 + 200] ^= 1;
    let text = shown(&hole);
    assert!(text.contains("stale frames  length "), "{text}");
    assert!(text.contains("which a later frame says are durable"), "{text}");
}

#[test]
fn ranges_prefixes_and_whole_spaces_are_deleted() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    let keys = || home.ok(&["scan", "-s", "alpha", "--keys-only"]).text().replace('\n', " ");
    for key in ["a", "ab", "abc", "b", "ba", "c"] {
        home.ok(&["put", "-s", "alpha", key, "v"]);
    }
    home.ok(&["delete", "-s", "alpha", "--from", "abc", "--to", "ba"]);
    assert_eq!(keys(), "a ab ba c ");
    home.ok(&["delete", "-s", "alpha", "--prefix", "a"]);
    assert_eq!(keys(), "ba c ");
    let said = home.ok(&["delete", "-s", "alpha", "--from", "c", "--json"]).json();
    assert!(said["lsn"].is_string() && said.get("key").is_none(), "{said}");
    assert_eq!(keys(), "ba ");
    home.run(&["delete", "-s", "alpha"]).failed(64, &["required"]);
    home.run(&["delete", "-s", "alpha", "ba", "--prefix", "b"]).failed(64, &["cannot be used with"]);
    home.run(&["delete", "-s", "alpha", "--prefix", ""]).failed(64, &["clear"]);
    home.run(&["delete", "-s", "alpha", "--from", "b", "--to", "a"]).failed(64, &["no key lies within"]);
    assert_eq!(keys(), "ba ");
    home.ok(&["clear", "-s", "alpha"]);
    assert_eq!(keys(), "");
    home.run(&["clear", "-s", "beta"]).failed(1, &["no such space"]);
}
