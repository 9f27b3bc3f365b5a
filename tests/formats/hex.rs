//! Bytes as text that a person can read beside a format's diagram, and back.

/// Sixteen bytes a line: offset, hex, printable characters. Two and more lines of zeros are one line that says so.
pub fn dump(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let zeros = bytes[at..].iter().take_while(|&&b| b == 0).count();
        let zeros = if at + zeros == bytes.len() { zeros } else { zeros / 16 * 16 };
        if zeros >= 32 {
            writeln!(out, "{at:08x}  {zeros} zeros").expect("writing to a String cannot fail");
            at += zeros;
            continue;
        }
        let line = &bytes[at..bytes.len().min(at + 16)];
        let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        let text: String =
            line.iter().map(|&b| if matches!(b, 0x20..=0x7e) { b as char } else { '.' }).collect();
        writeln!(out, "{at:08x}  {:<47}  {text}", hex.join(" ")).expect("writing to a String cannot fail");
        at += 16;
    }
    out
}

/// The bytes that [`dump`] made `text` of. Lines that do not begin with an offset are passed over.
pub fn undump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let Some((offset, rest)) = line.split_once("  ") else { continue };
        let Ok(offset) = usize::from_str_radix(offset, 16) else { continue };
        assert_eq!(offset, bytes.len(), "offsets are without gaps: {line}");
        match rest.strip_suffix(" zeros") {
            Some(count) => bytes.resize(offset + count.parse::<usize>().expect("a count of zeros"), 0),
            None => {
                let hex = rest.get(..47).expect("a full line").split_whitespace();
                bytes.extend(hex.map(|b| u8::from_str_radix(b, 16).expect("a byte in hex")));
            }
        }
    }
    bytes
}

#[test]
fn a_dump_reads_back() {
    let mut bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(undump(&dump(&bytes)), bytes);
    bytes.resize(1000, 0);
    bytes.extend_from_slice(b"  12 zeros");
    assert_eq!(undump(&dump(&bytes)), bytes);
    assert!(dump(&bytes).contains("00000100  736 zeros\n"), "{}", dump(&bytes));
}
