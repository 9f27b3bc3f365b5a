//! How answers look: aligned tables and sizes for people, JSON for scripts.
use crate::escape::hex;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// Puts bytes into a JSON object: as `name` if they are UTF-8, as `name_hex` otherwise, so that no byte is lost.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

/// Writes `value` as one line.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Writes `rows` below `head` in columns; all but the last column are padded.
pub fn table<const N: usize>(out: &mut impl Write, head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let head = head.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    let width: [usize; N] =
        std::array::from_fn(|i| lines().map(|row| row[i].chars().count()).max().unwrap_or(0));
    for row in lines() {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = if i + 1 < N { width[i] + 2 - cell.chars().count() } else { 0 };
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', pad));
        }
        writeln!(out, "  {}", line.trim_end())?;
    }
    Ok(())
}

/// A number of bytes for people: `4096 B`, `64.0 KiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(n: u64) -> String {
    if n < 10_000 {
        return format!("{n} B");
    }
    let mut size = n as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

/// `1 file`, `2 files`.
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Most memory that this process ever had, in bytes, where the kernel tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_sizes_are_short() {
        let mut out = Vec::new();
        table(&mut out, ["a", "size"], &[["äöü".into(), bytes(0)], ["b".into(), bytes(123_456_789)]])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  a    size\n  äöü  0 B\n  b    117.7 MiB\n");
        assert_eq!((bytes(9999), bytes(10240)), ("9999 B".into(), "10.0 KiB".into()));
    }

    #[test]
    fn json_loses_no_byte() {
        let mut object = Map::new();
        put_bytes(&mut object, "key", "ä\n".as_bytes());
        put_bytes(&mut object, "value", &[0xff, 0]);
        assert_eq!(Value::Object(object).to_string(), r#"{"key":"ä\n","value_hex":"ff00"}"#);
    }
}
