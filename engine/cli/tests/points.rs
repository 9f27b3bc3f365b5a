//! `spaces`, `put`, `get`, `delete`, `scan`.
use super::run::{Home, write};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn values_come_back_byte_for_byte() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha", "Beta"]);
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for (key, value) in [("empty", &b""[..]), ("line", b"no line end"), ("binary", &binary)] {
        assert_eq!(home.run_with_input(&["put", "-s", "alpha", key], value).code, Some(0));
        assert_eq!(home.ok(&["get", "-s", "alpha", key]).stdout, value, "{key}");
    }
    write(&home.path("value"), &binary);
    let file = home.path("value");
    home.ok(&[OsStr::new("put"), "-s".as_ref(), "Beta".as_ref(), "k".as_ref(), "-f".as_ref(), file.as_ref()]);
    assert_eq!(home.ok(&["get", "-s", "Beta", "k"]).stdout, binary);
    home.run(&["get", "-s", "Beta", "line"]).failed(1, &["not found: there is no key \"line\""]);
    home.ok(&["delete", "-s", "alpha", "line"]);
    home.ok(&["delete", "-s", "alpha", "line"]);
    home.run(&["get", "-s", "alpha", "line"]).failed(1, &["not found"]);
}

#[test]
fn keys_of_any_bytes_can_be_given_and_are_shown_on_one_line() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    let odd = OsStr::from_bytes(b"a\xff\n\t\\");
    let put = [OsStr::new("put"), "-s".as_ref(), "alpha".as_ref(), odd, "v\u{1b}[2J".as_ref()];
    home.ok(&put);
    home.ok(&["put", "-s", "alpha", "b", "ä"]);
    assert_eq!(home.ok(&["scan", "-s", "alpha"]).text(), "a\\xff\\n\\t\\\\\tv\\x1b[2J\nb\tä\n");
    assert_eq!(home.ok(&["get", "-s", "alpha", "-e", r"a\xff\n\t\\"]).stdout, b"v\x1b[2J");
    home.run(&["get", "-s", "alpha", "-e", r"a\q"]).failed(64, &["escape that is not understood"]);
    let json: Vec<serde_json::Value> = home
        .ok(&["scan", "-s", "alpha", "--json"])
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        json,
        [json!({"key_hex": "61ff0a095c", "value": "v\u{1b}[2J"}), json!({"key": "b", "value": "ä"})]
    );
    let found = home.ok(&["get", "-s", "alpha", "b", "--json"]).json();
    assert_eq!((&found["key"], &found["value"]), (&json!("b"), &json!("ä")));
}

#[test]
fn a_priority_is_given_with_a_value_and_told_where_entries_are_told() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    let put = |flags: &[&str]| home.ok(&[&["put", "-s", "alpha", "k", "v", "--json"], flags].concat()).json();
    let get = || home.ok(&["get", "-s", "alpha", "k", "--json"]).json();
    for priority in ["7", "-2147483648", "2147483647"] {
        let lsn = put(&["--priority", priority])["lsn"].clone();
        let priority: i32 = priority.parse().unwrap();
        assert_eq!(get(), json!({"key": "k", "value": "v", "lsn": lsn, "priority": priority}));
    }
    let wal = std::fs::read_dir(home.default_root().join("alpha/wal")).unwrap();
    let told: String = wal
        .map(|file| home.ok(&[OsStr::new("inspect"), file.unwrap().path().as_os_str()]).text().to_owned())
        .collect();
    assert!(told.contains("value_length 1  priority 2147483647"), "{told}");
    home.ok(&["compact", "-s", "alpha"]);
    assert_eq!(get()["priority"], i32::MAX, "from a table");
    let tiers = home.ok(&["spaces", "stat", "alpha", "--json"]).json()["alpha"]["tiers"].clone();
    let highest: Vec<_> = tiers.as_array().unwrap().iter().map(|t| t["priority"].clone()).collect();
    assert!(highest.contains(&json!(i32::MAX)), "{tiers}");
    put(&[]);
    assert_eq!(get()["priority"], 0, "a put without one has none, whatever was there");
    home.run(&["put", "-s", "alpha", "k", "v", "--priority", "2147483648"]).failed(64, &["--priority"]);
}

#[test]
fn a_scan_keeps_to_its_bounds() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    for key in ["a", "ab", "abc", "b", "ba"] {
        home.ok(&["put", "-s", "alpha", key, "v"]);
    }
    let keys = |flags: &[&str]| {
        let args = [&["scan", "-s", "alpha", "--keys-only"], flags].concat();
        home.ok(&args).text().lines().collect::<Vec<_>>().join(" ")
    };
    for (flags, found) in [
        (&[][..], "a ab abc b ba"),
        (&["--reverse"], "ba b abc ab a"),
        (&["--prefix", "ab"], "ab abc"),
        (&["--from", "ab", "--to", "b"], "ab abc"),
        (&["--from", "ab", "--limit", "2"], "ab abc"),
        (&["--prefix", "a", "--from", "abb", "--reverse"], "abc"),
        (&["--from", "b", "--to", "a"], ""),
        (&["--limit", "0"], ""),
    ] {
        assert_eq!(keys(flags), found, "{flags:?}");
    }
}

#[test]
fn deleted_spaces_are_gone_with_their_files_and_their_ids_are_free() {
    let home = Home::new();
    home.run(&["spaces", "delete", "alpha"]).failed(1, &["no data root"]);
    home.ok(&["spaces", "create", "alpha", "beta", "gamma"]);
    home.ok(&["put", "-s", "alpha", "k", "v"]);
    home.ok(&["put", "-s", "beta", "k", "v"]);
    let said = home.ok(&["spaces", "delete", "alpha"]);
    assert!(said.text().starts_with("deleted space alpha from "), "{}", said.text());
    home.run(&["get", "-s", "alpha", "k"]).failed(1, &["there is no such space"]);
    home.run(&["spaces", "delete", "alpha"]).failed(1, &["there is no such space", "nothing was done"]);
    home.run(&["spaces", "delete", ".."]).failed(64, &[]);
    assert_eq!(home.ok(&["spaces", "delete", "gamma", "--json"]).json(), json!({ "deleted": ["gamma"] }));
    let mut left: Vec<_> = std::fs::read_dir(home.path(".local/share/bulkhead"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [".engine", ".lock", ".reserve", "beta"], "the command waits until the files are gone");
    home.ok(&["spaces", "create", "alpha"]);
    home.run(&["get", "-s", "alpha", "k"]).failed(1, &["not found"]);
    assert_eq!(home.ok(&["get", "-s", "beta", "k"]).stdout, b"v");
}

#[test]
fn spaces_are_listed_with_what_is_none() {
    let home = Home::new();
    home.run(&["spaces", "list"]).failed(1, &["no data root", ".local/share/bulkhead", "spaces create"]);
    home.ok(&["spaces", "create", "alpha", "A:1"]);
    home.run(&["spaces", "create", "alpha"])
        .failed(1, &["space \"alpha\": there is a space of this id already"]);
    write(&home.default_root().join("backup/file"), "mine");
    let list = home.ok(&["spaces", "list", "--json"]).json();
    assert_eq!(
        list["spaces"],
        json!([{"id": "A:1", "directory": "%41%3a1"}, {"id": "alpha", "directory": "alpha"}])
    );
    assert_eq!(list["ignored"][0]["name"], "backup");
    let text = home.ok(&["spaces", "list"]);
    assert!(text.text().contains("alpha") && text.text().contains("backup"), "{}", text.text());
    home.run(&["put", "-s", "gamma", "k", "v"]).failed(1, &["space \"gamma\": there is no such space"]);
    assert_eq!(
        home.ok(&["put", "-s", "alpha", "k", "v", "--json"]).json(),
        json!({"key": "k", "lsn": "1.1"})
    );
    assert_eq!(home.ok(&["delete", "-s", "alpha", "k", "--json"]).json(), json!({"key": "k", "lsn": "2.1"}));
}

/// Any directory that was there became a data root.
#[test]
fn a_directory_that_is_no_data_root_is_not_made_one_by_commands_that_read() {
    let home = Home::new();
    write(&home.path("plain/photos/wall"), "mine");
    write(&home.path("acks"), "");
    let (plain, acks, out) = (home.path("plain"), home.path("acks"), home.path("out"));
    let (plain, acks, out) = (plain.to_str().unwrap(), acks.to_str().unwrap(), out.to_str().unwrap());
    let commands: [&[&str]; 11] = [
        &["get", "-s=a", "k"],
        &["scan", "-s=a"],
        &["delete", "-s=a", "k"],
        &["clear", "-s=a"],
        &["compact", "-s=a"],
        &["spaces", "list"],
        &["spaces", "stat"],
        &["spaces", "delete", "a"],
        &["recover"],
        &["dump", "-s=a", out],
        &["verify", plain, "--ack-log", acks],
    ];
    for command in commands {
        let ran = home.run(&[command, &["--data-root", plain]].concat());
        ran.failed(1, &["no data root", plain, "--data-root"]);
        let left = std::fs::read_dir(plain).unwrap().count();
        assert_eq!((left, home.path("out").exists()), (1, false), "{command:?}");
    }
    home.ok(&["spaces", "create", "a", "--data-root", plain]);
    home.ok(&["spaces", "list", "--data-root", plain]);
    // Spaces without it are damage, and said to be.
    std::fs::remove_file(home.path("plain/.engine")).unwrap();
    home.run(&["get", "-s=a", "k", "--data-root", plain])
        .failed(1, &["identity is missing although it holds spaces"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha"]);
    home.run_with_input(&["put", "-s", "alpha", "k"], &vec![b'x'; 1 << 20]);
    let mut command = home.command(&["get", "-s", "alpha", "k"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn stat_shows_what_a_space_consists_of_and_compact_gets_rid_of_the_rest() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha", "beta"]);
    for value in ["one", "two", "three"] {
        home.ok(&["put", "-s", "alpha", "key", value]);
    }
    home.ok(&["put", "-s", "alpha", "gone", "value"]);
    home.ok(&["delete", "-s", "alpha", "gone"]);
    home.ok(&["compact", "-s", "alpha"]);
    let stats = home.ok(&["spaces", "stat", "--json"]).json();
    assert_eq!(stats["alpha"]["holds"], json!({"entries": 1, "bytes": 8}));
    assert_eq!(stats["alpha"]["memory"]["holds"]["entries"], 0);
    let tables: u64 =
        stats["alpha"]["tiers"].as_array().unwrap().iter().map(|t| t["tables"].as_u64().unwrap()).sum();
    assert_eq!(tables, 1, "{stats}");
    assert_eq!(stats["beta"]["holds"]["entries"], 0);
    let kinds: Vec<_> =
        stats["alpha"]["pins"].as_array().unwrap().iter().map(|p| p["owner"].clone()).collect();
    assert_eq!(kinds, ["snapshot", "durable-snapshot", "scan"]);
    let none = json!({"owner": "scan", "count": 0, "oldest-ms": 0, "held-bytes": 0});
    assert_eq!(stats["alpha"]["pins"][2], none, "nobody reads beside this command");
    assert_eq!(stats["alpha"]["snapshot-bytes"], 8u64 << 30);
    let shown = home.ok(&["spaces", "stat", "alpha"]);
    let text = shown.text();
    for part in [
        "alpha: 1 / 8 B",
        "memory",
        "hot",
        "warm",
        "cold",
        "1 table",
        "100000 / 256.0 MiB",
        "low",
        "log: ",
        "pins: none; at most 8.0 GiB held back",
    ] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    assert!(!text.contains("beta"));
    assert_eq!(
        home.ok(&["compact", "-s", "alpha", "--json"]).json()["bytes"],
        json!({"before": 8, "after": 8})
    );
    assert_eq!(home.ok(&["get", "-s", "alpha", "key"]).stdout, b"three");
    home.run(&["spaces", "stat", "gamma"]).failed(1, &["space \"gamma\": ", "no such space"]);
}
