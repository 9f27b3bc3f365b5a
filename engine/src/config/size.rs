//! Numbers of bytes as people write them: `67108864` or `64MiB`.
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// What is expected where a text is no size.
const EXPECTED: &str = "bytes, or a whole number with KiB, MiB, GiB or TiB, for example 512MiB";

/// A number of bytes: digits, and perhaps a binary unit in any case (`k`, `KiB`; `m`, `MiB`; `g`, `GiB`; `t`, `TiB`).
///
/// # Errors
/// What was expected, as a text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(format!("expected {EXPECTED}")),
    };
    let number = number.parse::<u64>().map_err(|_| format!("expected {EXPECTED}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "more bytes than there can be".to_owned())
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
        bytes.try_into().map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// For fields that are numbers of bytes. Formats that nobody writes by hand have plain numbers.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    if from.is_human_readable() { from.deserialize_any(Size) } else { from.deserialize_u64(Size) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, I64Deserializer, StrDeserializer};

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("0", 0), ("17", 17), ("4k", 4096), ("2 MiB", 2 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "k", "-1", "1.5G", "1 GB", "99999999999T", "18446744073709551616"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_take_them_as_numbers_and_as_texts() {
        let text: StrDeserializer<'_, Error> = "64MiB".into_deserializer();
        assert_eq!(deserialize(text), Ok(64 << 20));
        let number: I64Deserializer<Error> = 4096i64.into_deserializer();
        assert_eq!(deserialize(number), Ok(4096));
        for bad in ["64 parsecs", ""] {
            let text: StrDeserializer<'_, Error> = bad.into_deserializer();
            assert!(deserialize(text).unwrap_err().to_string().contains(EXPECTED), "{bad}");
        }
        let negative: I64Deserializer<Error> = (-1i64).into_deserializer();
        assert!(deserialize(negative).is_err());
    }
}
