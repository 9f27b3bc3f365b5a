//! `dump` and `load` on trees that are not as simple as they should be.
use super::run::{Home, write};
use serde_json::json;

#[test]
fn keys_that_would_lead_out_of_the_directory_are_refused_and_counted() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    for key in ["../escaped", "/tmp/escaped", "a/../../escaped", r"nul\x00", "good", "dir/good", "good/below"]
    {
        home.ok(&["put", "-s", "alpha", "-e", key, "v"]);
    }
    let to = home.path("out/dir");
    let ran =
        home.run(&["dump".as_ref(), "-s".as_ref(), "alpha".as_ref(), "--json".as_ref(), to.as_os_str()]);
    ran.failed(1, &["../escaped: refused", "nul\\x00: refused", "good/below: refused"]);
    let counts = ran.json();
    assert_eq!((&counts["written"], &counts["refused"]), (&json!(2), &json!(5)), "{counts}");
    assert!(!home.path("out/escaped").exists() && !home.path("escaped").exists());
    assert_eq!(std::fs::read(to.join("dir/good")).unwrap(), b"v");
}

#[test]
fn other_content_stays_unless_forced() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    home.ok(&["put", "-s", "alpha", "k", "stored"]);
    write(&home.path("out/k"), "mine");
    let to = home.path("out");
    let dump = ["dump".as_ref(), "-s".as_ref(), "alpha".as_ref(), to.as_os_str(), "--json".as_ref()];
    let ran = home.run(&dump);
    ran.failed(1, &["there with other content"]);
    assert_eq!(ran.json()["kept"], 1);
    assert_eq!(std::fs::read(home.path("out/k")).unwrap(), b"mine");
    let forced = home.ok(&[&dump[..], &["--force".as_ref()]].concat());
    assert_eq!(forced.json()["written"], 1);
    assert_eq!(std::fs::read(home.path("out/k")).unwrap(), b"stored");
    assert_eq!(home.ok(&dump).json()["unchanged"], 1);
}

#[test]
fn a_load_reports_what_it_does_not_store_and_what_differs() {
    let home = Home::new();
    let tree = home.path("tree");
    write(&tree.join("a"), "first");
    write(&tree.join("b"), "1");
    std::fs::create_dir_all(tree.join("empty")).unwrap();
    std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let huge = std::fs::File::create(tree.join("huge")).unwrap();
    huge.set_len(64 * 1024 * 1024 + 1).unwrap();
    let load = ["load".as_ref(), tree.as_os_str(), "-s".as_ref(), "alpha".as_ref(), "--json".as_ref()];
    let first = home.run(&load);
    first.failed(1, &["huge: longer than the 67108864 bytes"]);
    let report = first.json();
    assert_eq!(
        [&report["symlinks"], &report["special_files"], &report["empty_directories"], &report["complete"]],
        [&json!(1), &json!(1), &json!(1), &json!(false)]
    );
    assert_eq!((&report["spaces"][0]["written"], &report["spaces"][0]["too_large"]), (&json!(2), &json!(1)));
    std::fs::remove_file(tree.join("huge")).unwrap();
    let again = home.ok(&load).json();
    assert_eq!((&again["spaces"][0]["present"], &again["spaces"][0]["by_length"]), (&json!(2), &json!(2)));
    // Another length is seen at once, another content of the same length when asked for.
    write(&tree.join("a"), "longer than first");
    home.run(&load).failed(1, &["a: its key is there with another value"]);
    home.ok(&[&load[..], &["--replace".as_ref()]].concat());
    write(&tree.join("b"), "2");
    // It was called complete, although b holds another value.
    assert_eq!(home.ok(&load).json()["complete"], false);
    let said = home.ok(&load[..4]);
    assert!(said.text().contains("by length alone: 2 keys there already; --compare"), "{}", said.text());
    let compare = [&load[..], &["--compare".as_ref()]].concat();
    home.run(&compare).failed(1, &["b: its key is there"]);
    home.ok(&[&compare[..], &["--replace".as_ref()]].concat());
    assert_eq!(home.ok(&compare).json()["complete"], true);
    assert_eq!(home.ok(&["get", "-s", "alpha", "b"]).stdout, b"2");
    assert_eq!(home.ok(&["get", "-s", "alpha", "a"]).stdout, b"longer than first");
}

#[test]
fn the_data_root_is_not_loaded_into_itself() {
    let home = Home::new();
    let all = home.path("");
    let load = ["load".as_ref(), "-s".as_ref(), "alpha".as_ref(), all.as_os_str()];
    home.run(&load).failed(64, &["lies in the tree to load"]);
    assert!(!home.path(".local").exists());
    home.ok(&["spaces", "create", "alpha"]);
    home.run(&load).failed(64, &["lies in the tree to load"]);
}

#[test]
fn an_ack_log_in_the_tree_to_load_is_refused_at_once() {
    let home = Home::new();
    let (tree, acks) = (home.path("tree"), home.path("tree/sub/acks"));
    write(&tree.join("sub/a"), "a");
    let load =
        ["load".as_ref(), tree.as_os_str(), "-s=alpha".as_ref(), "--ack-log".as_ref(), acks.as_os_str()];
    home.run(&load).failed(64, &["the ack log ", "sub/acks lies in the tree to load"]);
    assert!(!acks.exists() && !home.default_root().exists());
    write(&acks, "");
    home.run(&load).failed(64, &["the ack log ", "lies in the tree to load"]);
}

/// It was cut to its last line end before it was looked at.
#[test]
fn a_file_that_is_no_ack_log_is_refused_and_left_as_it_is() {
    let home = Home::new();
    let (tree, acks) = (home.path("tree"), home.path("precious"));
    write(&tree.join("a"), "a");
    let load = ["load".as_ref(), tree.as_os_str(), "-s=A".as_ref(), "--ack-log".as_ref(), acks.as_os_str()];
    for content in ["precious without newline", "A\ta\nprecious", "two\nlines\n"] {
        write(&acks, content);
        home.run(&load).failed(1, &["precious: line ", "no ack log", "not touched"]);
        assert_eq!(std::fs::read_to_string(&acks).unwrap(), content);
    }
    assert!(!home.default_root().exists());
    write(&acks, "A\tb\nA");
    home.ok(&load);
    assert_eq!(std::fs::read_to_string(&acks).unwrap(), "A\tb\nA\ta\n");
}

/// A kill between acknowledgement and line left a key that never got one, so that `verify` passed over it.
#[test]
fn a_key_that_is_there_without_its_line_gets_it_if_its_value_is_the_file() {
    let home = Home::new();
    let (tree, acks) = (home.path("tree"), home.path("acks"));
    for name in ["a", "b", "c"] {
        write(&tree.join(name), name);
    }
    for durability in ["process", "power"] {
        let load = [
            "load".as_ref(),
            tree.as_os_str(),
            "-s=alpha".as_ref(),
            "--json".as_ref(),
            "--durability".as_ref(),
            durability.as_ref(),
            "--ack-log".as_ref(),
            acks.as_os_str(),
        ];
        home.ok(&load);
        write(&acks, "alpha\tb\nalp");
        let space = home.ok(&load).json()["spaces"][0].clone();
        assert_eq!((&space["present"], &space["by_length"]), (&json!(3), &json!(1)), "{space}");
        let text = std::fs::read_to_string(&acks).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["alpha\ta", "alpha\tb", "alpha\tc"], "{durability}");
        write(&acks, "");
        write(&tree.join("c"), "C");
        home.run(&load).failed(1, &["c: its key is there with another value"]);
        assert_eq!(std::fs::read_to_string(&acks).unwrap().lines().count(), 2, "c is not what its file is");
        write(&tree.join("c"), "c");
    }
}

/// One directory that could not be read ended the whole load.
#[test]
fn a_directory_that_cannot_be_read_is_told_and_the_rest_is_loaded() {
    let home = Home::new();
    let tree = home.path("tree");
    write(&tree.join("a"), "a");
    write(&tree.join("z/b"), "b");
    // Its path is longer than a path may be, which stops root too.
    let long = |parts: usize| vec!["d".repeat(200); parts].join("/");
    let (upper, lower) = (tree.join(long(12)), home.path("lower"));
    std::fs::create_dir_all(&upper).unwrap();
    std::fs::create_dir_all(lower.join(long(12))).unwrap();
    std::fs::rename(&lower, upper.join("lower")).unwrap();
    let load = ["load".as_ref(), tree.as_os_str(), "-s=alpha".as_ref(), "--json".as_ref()];
    let ran = home.run(&load);
    ran.failed(1, &["could not be read: ", "nothing below it is loaded"]);
    let report = ran.json();
    assert_eq!(
        [&report["unreadable"], &report["complete"], &report["spaces"][0]["written"]],
        [&json!(1), &json!(false), &json!(2)]
    );
    assert!(home.run(&load[..3]).text().contains("could not be read: 1 path with all below"));
    assert_eq!(home.ok(&["get", "-s", "alpha", "z/b"]).stdout, b"b");
    home.run(&["load", "-s=alpha", "/nowhere"]).failed(1, &["/nowhere could not be"]);
}

#[test]
fn a_dump_of_a_space_that_is_not_there_makes_no_directory() {
    let home = Home::new();
    let to = home.path("out");
    let dump = ["dump".as_ref(), "-s=nosuch".as_ref(), to.as_os_str()];
    home.run(&dump).failed(1, &["no data root"]);
    home.ok(&["spaces", "create", "alpha"]);
    home.run(&dump).failed(1, &["there is no such space"]);
    assert!(!to.exists());
}

#[test]
fn verify_finds_what_is_missing_and_what_differs() {
    let home = Home::new();
    let (tree, acks) = (home.path("tree"), home.path("acks"));
    for name in ["a", "b", "c"] {
        write(&tree.join(name), name);
    }
    home.ok(&[
        "load".as_ref(),
        tree.as_os_str(),
        "--space=alpha".as_ref(),
        "--space=beta".as_ref(),
        "--ack-log".as_ref(),
        acks.as_os_str(),
    ]);
    let verify =
        ["verify".as_ref(), tree.as_os_str(), "--json".as_ref(), "--ack-log".as_ref(), acks.as_os_str()];
    assert_eq!(home.ok(&verify).json()["same"], 6);
    home.ok(&["delete", "-s", "alpha", "a"]);
    home.ok(&["put", "-s", "beta", "b", "other"]);
    let ran = home.run(&verify);
    ran.failed(1, &["space alpha: a was acknowledged and is missing", "space beta: b differs"]);
    let counts = ran.json();
    assert_eq!(
        [&counts["same"], &counts["missing"], &counts["different"]],
        [&json!(4), &json!(1), &json!(1)]
    );
}
