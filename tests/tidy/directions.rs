//! Which crate may depend on which, and which module of the engine may import which.
use super::source::{has_word, read, sources};
use std::collections::BTreeSet;

/// What each crate may depend on among ours: `tests -> sim -> fault-injection -> engine`, `engine/cli -> engine`.
const CRATES: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("engine/cli", &["bulkhead"]),
    ("engine/bench", &["bulkhead"]),
    ("fault-injection", &["bulkhead"]),
    ("sim", &["bulkhead", "bulkhead-fault-injection"]),
    ("tests", &["bulkhead", "bulkhead-fault-injection", "bulkhead-sim"]),
];

/// Crates that may link madsim, which overrides functions of libc: never one that ends up in production.
const ON_MADSIM: &[&str] = &["sim", "tests"];

/// The engine's modules in reading order: each may import those behind it, never one in front of it.
const ORDER: &[&str] = &[
    "blocking",
    "memory",
    "engine",
    "inspect",
    "root",
    "space",
    "recovery",
    "context",
    "work",
    "plan",
    "manifest",
    "cache",
    "table",
    "batch",
    "memtable",
    "wal",
    "budget",
    "descriptors",
    "naming",
    "rate",
    "reserve",
    "slots",
    "twice",
    "metrics",
    "env",
    "config",
    "error",
    "io_error",
    "identity",
    "paths",
    "codec",
    "key",
    "held",
    "mutants",
    "ids",
    "limits",
    "sync",
];

/// Modules that compute and never wait: no I/O, no async, no world outside.
const PURE: &[&str] = &[
    "engine/src/wal/",
    "engine/src/memtable",
    "engine/src/cache/",
    "engine/src/table/",
    "engine/src/batch.rs",
    "engine/src/codec.rs",
    "engine/src/held.rs",
    "engine/src/ids.rs",
    "engine/src/identity.rs",
    "engine/src/paths.rs",
    "engine/src/limits.rs",
    "engine/src/manifest/format.rs",
    "engine/src/manifest/version.rs",
    "engine/src/manifest/tables.rs",
    "engine/src/plan/",
    "engine/src/recovery/cases.rs",
];

#[test]
fn crates_depend_one_way() {
    for (dir, allowed) in CRATES {
        let manifest: toml::Table = read(&format!("{dir}/Cargo.toml")).parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for name in dependencies.keys() {
                let ours = name.starts_with("bulkhead");
                assert!(!ours || allowed.contains(&name.as_str()), "{dir} must not depend on {name}");
                assert!(name != "madsim" || ON_MADSIM.contains(dir), "{dir} must not link madsim");
            }
        }
    }
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<_> = members.iter().map(|m| m.as_str().unwrap()).collect();
    assert_eq!(members, CRATES.iter().map(|(dir, _)| *dir).collect(), "every crate has its directions here");
}

/// The modules that `code` names as `crate::module`.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(['$', '_'])).map(|(at, found)| {
        let rest = &code[at + found.len()..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

#[test]
fn modules_of_the_engine_import_one_way() {
    let place = |module: &str| ORDER.iter().position(|m| *m == module);
    let mut wrong = Vec::new();
    for source in sources(&["engine/src"]) {
        let inside = source.path.strip_prefix("engine/src/").unwrap();
        let module = inside.split('/').next().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(here) = place(module) else {
            wrong.push(format!("{module} has no place in ORDER: put it in front of all that it imports"));
            continue;
        };
        for name in imports(&source.code) {
            match place(name) {
                Some(there) if there >= here => {}
                // The blocking API wraps the other one under the same names.
                None if module == "blocking" && name.starts_with(char::is_uppercase) => {}
                Some(_) => wrong.push(format!("{} imports {name}, which is in front of it", source.path)),
                None => wrong.push(format!("{} imports `crate::{name}`: name its module", source.path)),
            }
        }
        if source.code.contains("super::super") || !inside.contains('/') && outer_super(&source.code) {
            wrong.push(format!("{} reaches out of its module by `super`", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a file that is a module of its own says `super` outside its tests.
fn outer_super(code: &str) -> bool {
    has_word(code.split("mod tests").next().unwrap(), "super")
}

/// Embedders build the engine without `--cfg madsim`; it must be the same engine.
#[test]
fn the_engine_does_not_know_the_simulator() {
    for source in sources(&["engine/src", "engine/cli/src"]) {
        assert!(!has_word(&source.code, "madsim"), "{} knows the simulator", source.path);
    }
}

#[test]
fn what_computes_never_waits() {
    let mut wrong = Vec::new();
    let sources = sources(&["engine/src"]);
    for pure in PURE {
        assert!(sources.iter().any(|s| s.path.starts_with(pure)), "{pure} is not there");
    }
    for source in sources {
        if PURE.iter().any(|p| source.path.starts_with(p)) {
            for word in ["async", "await", "env", "Env", "Instant", "spawn"] {
                if has_word(&source.code, word) {
                    wrong.push(format!("{} says `{word}`", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
