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
    assert_eq!(home.ok(&load).json()["spaces"][0]["present"], 2);
    // Another length is seen at once, another content of the same length when asked for.
    write(&tree.join("a"), "longer than first");
    home.run(&load).failed(1, &["a: its key is there with another value"]);
    home.ok(&[&load[..], &["--replace".as_ref()]].concat());
    write(&tree.join("b"), "2");
    home.ok(&load);
    home.run(&[&load[..], &["--compare".as_ref()]].concat()).failed(1, &["b: its key is there"]);
    home.ok(&[&load[..], &["--compare".as_ref(), "--replace".as_ref()]].concat());
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
