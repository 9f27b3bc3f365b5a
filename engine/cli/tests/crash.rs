//! Goal: a load that is killed at any moment loses nothing that it acknowledged, and a further run completes it.
//! Method: SIGKILL five loads of one tree at random moments; before each resume, every key of the ack log is compared
//! with its file; at the end the dumps are compared with the tree, and every file has one line for each space.
use super::run::{Home, finish, write};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Plain files of the tree, enough that no load is through before it is killed.
const FILES: u32 = 4000;
/// Most acknowledgements after which a load is killed.
const ACKS: u64 = 500;

#[test]
fn five_kills_lose_nothing_that_was_acknowledged() {
    let home = Home::new();
    let (tree, acks) = (home.path("tree"), home.path("acks"));
    let stored = make_tree(&tree);
    let load = |durability: &str| {
        home.command(&[
            "load".as_ref(),
            tree.as_os_str(),
            "--space=alpha".as_ref(),
            "--space=beta".as_ref(),
            "--ack-log".as_ref(),
            acks.as_os_str(),
            "--durability".as_ref(),
            durability.as_ref(),
            "--json".as_ref(),
        ])
    };
    let (mut kills, mut tries, mut acknowledged) = (0, 0, 0);
    while kills < 5 {
        tries += 1;
        assert!(tries <= 25, "only {kills} of 25 loads were killed before they were through");
        let durability = ["power", "process"][kills % 2];
        let aim = acknowledged + 1 + RandomState::new().hash_one(tries) % ACKS;
        let mut child = load(durability).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while lines(&acks) < aim && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        let killed = child.wait().unwrap().signal() == Some(9);
        acknowledged = lines(&acks);
        assert!(acknowledged > 0, "nothing was acknowledged within the time limit");
        // A last line that was cut short is left out by the verifier and cut off by the next load.
        let verified = home.ok(&[
            "verify".as_ref(),
            tree.as_os_str(),
            "--ack-log".as_ref(),
            acks.as_os_str(),
            "--json".as_ref(),
        ]);
        assert_eq!(verified.json()["same"], acknowledged, "after kill {kills}");
        if killed {
            kills += 1;
        } else {
            // It was through before the kill: nothing is left to kill, so begin anew.
            std::fs::remove_dir_all(home.default_root()).unwrap();
            std::fs::remove_file(&acks).unwrap();
            acknowledged = 0;
        }
    }
    let mut last = load("process");
    last.arg("--compare");
    let last = finish(last);
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let report = last.json();
    assert_eq!((&report["symlinks"], &report["complete"]), (&1.into(), &true.into()), "{report}");
    // Also those that were durable when the kill came, and had no line yet.
    assert_eq!(lines(&acks), 2 * stored.len() as u64);
    for space in ["alpha", "beta"] {
        let to = home.path(&format!("dump-{space}"));
        home.ok(&["dump".as_ref(), "--space".as_ref(), space.as_ref(), to.as_os_str()]);
        assert!(files(&to) == stored, "the dump of {space} differs from the tree");
    }
}

/// Finished lines of the ack log.
fn lines(path: &Path) -> u64 {
    std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&b| b == b'\n').count() as u64)
}

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// Makes the tree; what of it is stored.
fn make_tree(root: &Path) -> Files {
    let odd: [&[u8]; 10] = [
        b"empty",
        b"tab\tname",
        b"new\nline",
        b"not utf-8 \xff\xfe",
        b"back\\slash\\x41",
        b"-dash",
        b" ",
        b"...",
        "ä/\u{202e}ö/%41".as_bytes(),
        &[b'l'; 255],
    ];
    for name in odd {
        let content = if name == b"empty" { &b""[..] } else { name };
        write(&root.join(OsStr::from_bytes(name)), content);
    }
    for n in 0..FILES {
        let content: Vec<u8> = n.to_le_bytes().into_iter().cycle().take((n % 97) as usize * 40).collect();
        write(&root.join(format!("dir-{}/sub/file-{n}", n % 50)), content);
    }
    write(&root.join("large"), vec![0xa5; 3 << 20]);
    let stored = files(root);
    std::os::unix::fs::symlink("empty", root.join("a-link")).unwrap();
    stored
}

fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let key = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                files.insert(key, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
