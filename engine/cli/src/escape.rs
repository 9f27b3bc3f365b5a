//! Bytes as one line of text, and back: `\t`, `\n`, `\r`, `\\`, and `\xNN` for every byte that is no printable UTF-8.
//!
//! The text holds no control character, line separator or character that turns the direction of writing, so that a
//! key cannot forge a line of output or steer a terminal. `unescape(escape(b)) == b` for all bytes.
use std::fmt::Write;

/// `bytes` as text.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                c if is_printable(c) => text.push(c),
                c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| push_hex(&mut text, b)),
            }
        }
        chunk.invalid().iter().for_each(|&b| push_hex(&mut text, b));
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail");
}

fn is_printable(c: char) -> bool {
    let steers = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !steers
}

/// The bytes that `text` stands for; `None` if it holds an escape that [`escape`] never writes.
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&b) = rest.next() {
        if b != b'\\' {
            bytes.push(b);
            continue;
        }
        bytes.push(match rest.next()? {
            b'\\' => b'\\',
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'x' => 16 * hex_digit(*rest.next()?)? + hex_digit(*rest.next()?)?,
            _ => return None,
        });
    }
    Some(bytes)
}

fn hex_digit(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// `bytes` as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
        write!(text, "{b:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_and_no_line_is_broken() {
        let all: Vec<u8> = (0..=255).chain("ä\u{202e}\u{2028}\u{85}\\x00".bytes()).collect();
        for bytes in all.windows(3).chain([&all[..], b""]) {
            let text = escape(bytes);
            assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
            assert_eq!(unescape(text.as_bytes()).as_deref(), Some(bytes), "{text:?}");
        }
        assert_eq!(escape("a/ä b\t\\\u{202e}\u{ff}".as_bytes()), "a/ä b\\t\\\\\\xe2\\x80\\xaeÿ");
    }

    #[test]
    fn foreign_escapes_are_refused() {
        for bad in ["\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x+1"] {
            assert_eq!(unescape(bad.as_bytes()), None, "{bad}");
        }
    }
}
