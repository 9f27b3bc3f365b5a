//! `tour`, and a second process on an open data root.
use super::run::{Home, write};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn the_tour_shows_that_nothing_acknowledged_is_lost_in_under_ten_seconds() {
    let home = Home::new();
    let dir = home.path("tour");
    let started = Instant::now();
    let ran = home.ok(&["tour".as_ref(), dir.as_os_str()]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let text = ran.text();
    for part in
        ["SIGKILL", "alpha/", "beta/", ".wal", "MANIFEST-", "not sealed", "CAME BACK", "Nothing acknowledged"]
    {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    let row = |space: &str| {
        let line = text.lines().rfind(|l| l.trim_start().starts_with(space)).unwrap();
        line.split_whitespace().skip(1).map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    for space in ["alpha", "beta"] {
        let [acknowledged, back, missing, wrong, _beyond] = row(space)[..] else { panic!("{text}") };
        assert!(acknowledged > 0 && back == acknowledged && missing + wrong == 0, "{text}");
    }
    // The data is kept, and closed cleanly.
    let reports =
        home.ok(&["recover".as_ref(), "--json".as_ref(), "--data-root".as_ref(), dir.as_os_str()]).json();
    for report in reports.as_array().unwrap() {
        assert_eq!((&report["status"], &report["case"]), (&"clean".into(), &"sealed".into()), "{report}");
    }
}

#[test]
fn the_tour_touches_nobodys_data() {
    let home = Home::new();
    write(&home.path("mine/file"), "mine");
    home.run(&["tour".as_ref(), home.path("mine").as_os_str()]).failed(1, &["is not empty"]);
    home.run(&["tour", "--data-root", "x"]).failed(64, &["without --data-root"]);
    // Neither does a configuration of the user's reach it.
    write(&home.path(".config/bulkhead/config.toml"), "data-root = '~/mine'\nmax-spaces = 1");
    home.ok(&["tour".as_ref(), home.path("tour").as_os_str()]);
    assert_eq!(std::fs::read_dir(home.path("mine")).unwrap().count(), 1);
}

#[test]
fn a_second_process_is_told_who_has_the_data_root_and_a_killed_one_leaves_no_lock() {
    let home = Home::new();
    let mut holder = home.command(&["tour-writer"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let (space, key) = line.trim_end().split_once('\t').unwrap();
    let refused = home.run(&["get", "-s", space, key]);
    holder.kill().unwrap();
    let pid = holder.id();
    holder.wait().unwrap();
    refused.failed(1, &["open in another process", &format!("pid={pid} "), "nothing was done"]);
    let value = home.ok(&["get", "-s", space, key]);
    assert!(value.text().starts_with(&format!("{space}: {key} ")), "{}", value.text());
}
