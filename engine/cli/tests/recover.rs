//! `recover`: a report for every space, whatever became of the others.
use super::run::Home;
use std::path::{Path, PathBuf};

#[test]
fn every_space_has_its_row_and_one_that_cannot_be_served_its_exit_code() {
    let home = Home::new();
    home.ok(&["spaces", "create", "alpha", "beta", "gamma"]);
    home.run(&["recover"]).failed_with_rows(Some(0), &["clean", "clean", "clean"]);
    for space in ["alpha", "beta", "gamma"] {
        home.ok(&["put", "-s", space, "k", "a value that is long enough to be found"]);
    }
    // Damage in front of a seal is no torn tail.
    flip(&segment(&home.default_root().join("beta/wal")), b"long enough");
    std::fs::write(home.default_root().join("gamma/SPACE"), "").unwrap();
    let text = home.run(&["recover"]);
    text.failed_with_rows(Some(1), &["clean", "CORRUPT", "FAILED"]);
    assert!(
        text.text().contains("space \"beta\": ") && text.text().contains(" at offset "),
        "{}",
        text.text()
    );
    let json = home.run(&["recover", "--json"]);
    assert_eq!(json.code, Some(1));
    let status: Vec<_> = json.json().as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(status, ["clean", "corrupt", "failed"]);
    // The neighbours of a damaged space go on.
    home.ok(&["put", "-s", "alpha", "k", "new"]);
    home.run(&["get", "-s", "beta", "k"]).failed(1, &["space \"beta\"", "beta/wal/", " at offset "]);
}

impl super::run::Ran {
    /// The table has exactly one row for each space, in order, with this status.
    #[track_caller]
    fn failed_with_rows(&self, code: Option<i32>, status: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        let rows: Vec<_> = self.text().lines().skip(1).take(status.len()).collect();
        for ((row, space), status) in rows.iter().zip(["alpha", "beta", "gamma"]).zip(status) {
            let mut words = row.split_whitespace();
            assert_eq!((words.next(), words.next()), (Some(space), Some(*status)), "{}", self.text());
        }
    }
}

fn segment(wal: &Path) -> PathBuf {
    std::fs::read_dir(wal).unwrap().next().expect("a space that was written has a segment").unwrap().path()
}

fn flip(file: &Path, near: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(near.len()).position(|w| w == near).expect("the value is in the log");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}
