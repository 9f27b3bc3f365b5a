//! Documents name what exists.
use super::source::{all, read, workspace};

/// What stands between backticks in `text`, code blocks left out.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            block = !block;
        } else if !block {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_test_that_the_table_of_features_names_exists() {
    let sources = all();
    let named = quoted(&read("tests/FEATURES.md"));
    let tests: Vec<_> = named.iter().filter(|name| name.contains("::")).collect();
    assert!(tests.len() > 10, "the table names tests as `module::name`");
    for test in tests {
        let name = test.rsplit("::").next().unwrap();
        let there = [format!("fn {name}("), format!("fn {name}<")];
        let exists = sources.iter().any(|s| there.iter().any(|f| s.code.contains(f)));
        assert!(exists, "tests/FEATURES.md names `{test}`, and there is no such test");
    }
}

#[test]
fn every_file_that_a_document_names_exists_and_the_code_map_is_whole() {
    let map = read("ARCHITECTURE.md");
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        for name in quoted(&read(document)) {
            let is_path = name.contains('/') && !name.contains([' ', '<', '{', '*', ':', '\\']);
            if !is_path || name.starts_with('/') {
                continue;
            }
            let root = workspace();
            let there = root.join(&name).exists() || root.join("engine/src").join(&name).exists();
            assert!(
                there || name == "proptest-regressions/",
                "{document} names `{name}`, which is not there"
            );
        }
    }
    for entry in std::fs::read_dir(workspace().join("engine/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let named = map.contains(&format!("`{module}.rs`")) || map.contains(&format!("`{module}/`"));
        assert!(named || module == "lib", "the code map of ARCHITECTURE.md leaves out {name}");
    }
}
