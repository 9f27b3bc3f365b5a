//! Every place where a lint is switched off, and every deliberate bug.
use super::source::{Source, all, read, sources};
use bulkhead::mutants;
use std::collections::BTreeSet;

/// File and lint. One more needs a reason here and there, one less is to be deleted here.
const SWITCHED_OFF: &[(&str, &str)] = &[
    ("engine/cli/src/load/mod.rs", "clippy::cast_precision_loss"),
    ("engine/cli/src/output.rs", "clippy::cast_precision_loss"),
    ("engine/src/env/contract/mod.rs", "clippy::missing_panics_doc"),
    ("engine/src/env/mod.rs", "clippy::len_without_is_empty"),
    ("engine/src/env/mod.rs", "dead_code"),
    ("engine/cli/src/memory.rs", "unsafe_code"),
    ("engine/src/env/os/mod.rs", "clippy::disallowed_methods"),
    ("engine/src/env/os/mod.rs", "clippy::disallowed_types"),
    ("engine/src/wal/frame.rs", "clippy::len_without_is_empty"),
    ("sim/src/hunt.rs", "clippy::disallowed_methods"),
    ("sim/src/mutants.rs", "clippy::disallowed_methods"),
];

/// Tests and examples may reach the real world: there the seam's bans are switched off as needed, with a reason, and
/// without an entry above.
fn reaches_the_world(path: &str, lint: &str) -> bool {
    (path.contains("/tests/") || path.contains("/examples/")) && lint.starts_with("clippy::disallowed_")
}

/// The lints named in `allow(…)` and `expect(…)` attributes.
fn switched_off(source: &Source) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for attribute in ["allow(", "expect("] {
        for (at, _) in source.code.match_indices(attribute) {
            let before = source.code[..at].trim_end();
            if !before.ends_with('[') {
                continue;
            }
            let inside = &source.code[at + attribute.len()..];
            let inside = &inside[..inside.find(')').unwrap_or(inside.len())];
            for lint in inside.split(',').map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("reason"))
            {
                if !reaches_the_world(&source.path, lint) {
                    found.insert((source.path.clone(), lint.to_owned()));
                }
            }
            assert!(inside.contains("reason"), "{}: say why a lint is switched off", source.path);
        }
    }
    found
}

#[test]
fn lints_are_switched_off_where_this_list_says() {
    let found: BTreeSet<_> = all().iter().flat_map(switched_off).collect();
    let expected: BTreeSet<_> =
        SWITCHED_OFF.iter().map(|(p, l)| ((*p).to_owned(), (*l).to_owned())).collect();
    let show = |set: Vec<&(String, String)>| {
        set.iter().map(|(p, l)| format!("    (\"{p}\", \"{l}\"),")).collect::<Vec<_>>().join("\n")
    };
    let (new, gone) = (found.difference(&expected).collect(), expected.difference(&found).collect());
    assert!(found == expected, "not listed:\n{}\nlisted but gone:\n{}", show(new), show(gone));
}

/// The names in calls of `mutants::on`.
fn sites(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("mutants::on(\"")
        .map(|(at, found)| text[at + found.len()..].split('"').next().unwrap())
}

#[test]
fn every_mutant_is_somewhere_and_every_site_is_a_mutant() {
    let sources = sources(&["engine/src"]);
    let elsewhere = sources.iter().filter(|s| s.path != "engine/src/mutants.rs");
    let mut found: BTreeSet<_> = elsewhere.flat_map(|s| sites(&s.text)).collect();
    let own = read("engine/src/mutants.rs");
    found.extend(own.match_indices("!on(\"").map(|(at, f)| own[at + f.len()..].split('"').next().unwrap()));
    assert_eq!(found, mutants::ALL.iter().map(|(name, _)| *name).collect());
}
