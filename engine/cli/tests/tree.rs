//! `tree`: what there is below a data root, what it is, and what of it is not as it should be.
use super::run::{Home, Ran, write};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A home with two spaces; alpha has a table and a log.
fn filled() -> Home {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha", "beta"]);
    home.ok(&["put", "-s", "alpha", "a", "one"]);
    home.ok(&["compact", "-s", "alpha"]);
    home.ok(&["put", "-s", "alpha", "b", "two"]);
    home
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The row of the first path that contains `part`.
#[track_caller]
fn row<'a>(rows: &'a [Value], part: &str) -> &'a Value {
    let found = rows.iter().find(|row| row["path"].as_str().is_some_and(|path| path.contains(part)));
    found.unwrap_or_else(|| panic!("{part} is in {rows:#?}"))
}

fn path(home: &Home, row: &Value) -> PathBuf {
    home.default_root().join(row["path"].as_str().unwrap())
}

#[test]
fn every_file_has_a_row_with_its_sizes_and_directories_have_their_sum() {
    let home = filled();
    let shown = rows(&home.ok(&["tree", "--json"]));
    let (mut length, mut allocated, mut files) = (0, 0, 0);
    for row in shown.iter().filter(|row| row["directory"] == false) {
        let metadata = std::fs::symlink_metadata(path(&home, row)).unwrap();
        assert_eq!(
            (row["length"].as_u64(), row["allocated"].as_u64()),
            (Some(metadata.len()), Some(metadata.blocks() * 512))
        );
        (length, allocated, files) =
            (length + metadata.len(), allocated + metadata.blocks() * 512, files + 1);
    }
    assert_eq!((&shown[0]["path"], &shown[0]["what"]), (&"".into(), &"data root of 2 spaces".into()));
    assert_eq!((&shown[0]["length"], &shown[0]["allocated"]), (&length.into(), &allocated.into()));
    let found = String::from_utf8(
        std::process::Command::new("find")
            .arg(home.default_root())
            .args(["-type", "f"])
            .output()
            .unwrap()
            .stdout,
    );
    assert_eq!(files, found.unwrap().lines().count());
    for (part, what, field, is) in [
        (".engine", "root", "uid", None),
        ("alpha/SPACE", "space", "id", Some("alpha")),
        ("alpha/MANIFEST-", "manifest", "id", Some("alpha")),
        ("alpha/hot/0", "table", "lowest", Some("1.1")),
        ("alpha/wal/0", "segment", "number", None),
    ] {
        let row = row(&shown, part);
        assert_eq!(row["what"], what, "{part}");
        assert!(row["fields"][field].is_string(), "{row}");
        assert!(is.is_none_or(|is| row["fields"][field] == is), "{row}");
    }
    assert_eq!(row(&shown, "beta")["what"], "space beta");
    let text = home.ok(&["tree", "--space", "beta"]);
    assert!(
        text.text().contains("data root of 1 space") && !text.text().contains("alpha"),
        "{}",
        text.text()
    );
}

#[test]
fn what_is_not_ours_is_named_and_not_entered_and_what_no_manifest_lists_is_marked() {
    let home = filled();
    let root = home.default_root();
    write(&root.join("lost+found/inside"), "x");
    write(&root.join("alpha/notes"), "x");
    std::os::unix::fs::symlink("/", root.join("a link")).unwrap();
    let before = rows(&home.ok(&["tree", "--json"]));
    let table = path(&home, row(&before, "alpha/hot/0"));
    std::fs::rename(&table, root.join("beta/hot").join(table.file_name().unwrap())).unwrap();
    let manifest = path(&home, row(&before, "alpha/MANIFEST-"));
    std::fs::copy(&manifest, root.join("alpha/MANIFEST-0000000000000001-0123456789abcdef")).unwrap();
    write(&root.join(".deleted-0123456789abcdef0123456789abcdef/hot/rest"), "");
    let ran = home.run(&["tree", "--json"]);
    ran.failed(1, &["1 file of ours", "inspect"]);
    let shown = rows(&ran);
    assert_eq!(row(&shown, "lost+found")["what"], "not ours: a directory, not looked into");
    assert_eq!(row(&shown, "a link")["what"], "not ours: a symbolic link, not followed");
    assert_eq!(row(&shown, "alpha/notes")["what"], "not ours: a file");
    assert!(!shown.iter().any(|row| row["path"].as_str().unwrap().contains("inside")));
    assert_eq!(row(&shown, "beta/hot/0")["what"], "table, not listed by the manifest");
    assert_eq!(row(&shown, "alpha/MANIFEST-0000000000000001-")["what"], "manifest, superseded");
    assert_eq!(row(&shown, manifest.file_name().unwrap().to_str().unwrap())["what"], "manifest");
    assert!(row(&shown, ".deleted-0")["what"].as_str().unwrap().starts_with("a space that is deleted"));
    assert_eq!(row(&before, "alpha/hot/0")["what"], "table");
    let unknown = row(&shown, "hot/rest");
    assert_eq!(
        (unknown["what"].as_str(), unknown["damages"].as_array().unwrap().len()),
        (Some("unknown"), 1)
    );
}

#[test]
fn a_file_that_does_not_verify_is_told_and_the_others_are_shown() {
    let home = filled();
    let shown = rows(&home.ok(&["tree", "--json"]));
    for (part, offset) in
        [("alpha/SPACE", 4096 + 30), ("alpha/MANIFEST-", 40), ("alpha/wal/0", 30), (".engine", 9)]
    {
        let path = path(&home, row(&shown, part));
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[offset] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let ran = home.run(&["tree", "--json"]);
        ran.failed(1, &["1 file of ours"]);
        let after = rows(&ran);
        assert_eq!(after.len(), shown.len(), "{part}");
        let damaged: Vec<_> =
            after.iter().filter(|row| !row["damages"].as_array().unwrap().is_empty()).collect();
        assert_eq!(damaged, [row(&after, part)]);
        let text = home.run(&["tree"]);
        assert!(text.text().contains("; DAMAGED: "), "{}", text.text());
        std::fs::write(&path, good).unwrap();
    }
    home.ok(&["tree"]);
    home.run(&["tree", "--data-root", "/nowhere"]).failed(1, &["/nowhere could not be read"]);
}
