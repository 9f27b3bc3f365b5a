//! The workspace's source, as text without comments and strings.
use std::path::{Path, PathBuf};

pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
    /// The text without comments, and with string and character literals empty.
    pub code: String,
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> String {
    let full = workspace().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()))
}

/// All Rust files below the given directories, sorted.
pub fn sources(below: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for dir in below {
        walk(&workspace().join(dir), dir, &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no source below {below:?}");
    let source = |path: String| {
        let text = read(&path);
        let code = code_of(&text);
        Source { path, text, code }
    };
    paths.into_iter().map(source).collect()
}

/// The Rust files of the whole workspace.
pub fn all() -> Vec<Source> {
    sources(&["engine", "fault-injection", "sim", "tests"])
}

fn walk(dir: &Path, shown: &str, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().expect("names of source files are UTF-8");
        let shown = format!("{shown}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                walk(&entry.path(), &shown, paths);
            }
        } else if name.ends_with(".rs") {
            paths.push(shown);
        }
    }
}

/// `text` without comments, and with the insides of literals gone. Lines stay where they are.
pub fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (kept, used) = if rest.starts_with("//") {
            ("", rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            ("", rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            ("\"\"", rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len()))
        } else if c == '"' {
            ("\"\"", end_of_literal(rest, b'"'))
        } else if c == '\'' && is_char_literal(rest) {
            ("' '", end_of_literal(rest, b'\''))
        } else {
            (&rest[..c.len_utf8()], c.len_utf8())
        };
        out.push_str(kept);
        out.extend(rest[..used].matches('\n').filter(|_| !kept.contains('\n')));
        rest = &rest[used..];
    }
    out
}

/// Hashes of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|&b| b == b'#').count();
    (after.as_bytes().get(hashes) == Some(&b'"')).then_some(hashes)
}

fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn end_of_literal(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Whether `name` occurs in `code` as a word of its own.
pub fn has_word(code: &str, name: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(name)
        .any(|(at, _)| !part(code[..at].chars().next_back()) && !part(code[at + name.len()..].chars().next()))
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a // std::fs\nb /* std::fs\n */ c \"std::fs \\\" x\" d 'e' '\\'' r#\"std::\"fs\"# &'static f";
    assert_eq!(code_of(text), "a \nb \n c \"\" d ' ' ' ' \"\" &'static f");
    assert!(has_word("a unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
