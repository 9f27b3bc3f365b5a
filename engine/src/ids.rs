//! The words of the engine: identifiers as types of their own, so that none can be taken for another.
use crate::limits::{EPOCH_MAX, LSN_COUNTER_BITS, SPACE_ID_MAX};
use std::fmt;

/// Why a string is not a space id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceIdError {
    #[error(
        "a space id must not be empty; expected 1..={SPACE_ID_MAX} bytes of UTF-8, for example \"alpha\""
    )]
    Empty,
    #[error("a space id of {0} bytes is too long; expected 1..={SPACE_ID_MAX} bytes, for example \"alpha\"")]
    TooLong(usize),
    #[error("a space id must not contain the control character U+{0:04X}; remove it")]
    Control(u32),
    #[error("a space id must not contain '{0}'; use another separator, for example ':'")]
    Separator(char),
    #[error("a space id must neither be \".\" nor contain \"..\"; use another name")]
    Dots,
    #[error("a space id must be UTF-8; the bytes given are not")]
    NotUtf8,
}

/// The name of a space: 1..=64 bytes of UTF-8 without control characters, `/`, `\` or `..`, and not `.`.
///
/// This type is the only validator: the API, the command line, configuration and the directory scan all use it.
/// Nothing is trimmed or folded: two ids are the same space exactly if their bytes are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpaceId(Box<str>);

impl SpaceId {
    /// Checks `id` and takes it as it is.
    ///
    /// # Errors
    /// The first rule that `id` breaks.
    pub fn new(id: &str) -> Result<SpaceId, SpaceIdError> {
        if id.is_empty() {
            return Err(SpaceIdError::Empty);
        }
        if id.len() > SPACE_ID_MAX {
            return Err(SpaceIdError::TooLong(id.len()));
        }
        if let Some(c) = id.chars().find(|c| c.is_control()) {
            return Err(SpaceIdError::Control(c as u32));
        }
        if let Some(c) = id.chars().find(|c| matches!(c, '/' | '\\')) {
            return Err(SpaceIdError::Separator(c));
        }
        if id == "." || id.contains("..") {
            return Err(SpaceIdError::Dots);
        }
        Ok(SpaceId(id.into()))
    }

    /// As [`SpaceId::new`], for bytes from outside.
    ///
    /// # Errors
    /// As [`SpaceId::new`], and [`SpaceIdError::NotUtf8`].
    pub fn from_bytes(id: &[u8]) -> Result<SpaceId, SpaceIdError> {
        SpaceId::new(std::str::from_utf8(id).map_err(|_| SpaceIdError::NotUtf8)?)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory name of this space: bytes `[a-z0-9_-]` as they are, every other byte as `%xx`.
    ///
    /// Injective, also on file systems that fold case. A leading `-` and the names that Windows reserves for
    /// devices are escaped too, so that the tree can be copied anywhere.
    #[must_use]
    pub fn dir_name(&self) -> String {
        let mut name = String::with_capacity(self.0.len());
        let device = is_device_name(&self.0);
        for (i, b) in self.0.bytes().enumerate() {
            let plain = matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_') || (b == b'-' && i > 0);
            if plain && !(device && i == 0) {
                name.push(b as char);
            } else {
                use fmt::Write;
                write!(name, "%{b:02x}").expect("writing to a String cannot fail");
            }
        }
        name
    }

    /// The id whose directory name is exactly `name`; `None` for any other name.
    #[must_use]
    pub fn from_dir_name(name: &str) -> Option<SpaceId> {
        let mut bytes = Vec::with_capacity(name.len());
        let mut rest = name.as_bytes();
        while let Some((&b, tail)) = rest.split_first() {
            if b == b'%' {
                let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(b);
                rest = tail;
            }
        }
        let id = SpaceId::from_bytes(&bytes).ok()?;
        (id.dir_name() == name).then_some(id)
    }
}

/// Names that Windows takes for devices, whatever their case.
fn is_device_name(id: &str) -> bool {
    let lower = id.to_ascii_lowercase();
    match lower.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        s => {
            s.len() == 4
                && (s.starts_with("com") || s.starts_with("lpt"))
                && s.as_bytes()[3].is_ascii_digit()
                && s.as_bytes()[3] != b'0'
        }
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SpaceId {
    type Err = SpaceIdError;
    fn from_str(s: &str) -> Result<SpaceId, SpaceIdError> {
        SpaceId::new(s)
    }
}

impl TryFrom<String> for SpaceId {
    type Error = SpaceIdError;
    fn try_from(s: String) -> Result<SpaceId, SpaceIdError> {
        SpaceId::new(&s)
    }
}

impl From<SpaceId> for String {
    fn from(id: SpaceId) -> String {
        id.0.into()
    }
}

/// Unique id of one life of a space: 128 random bits, new at every creation, so that a space created anew under an
/// old name shares nothing with its predecessor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceUid(pub [u8; 16]);

impl fmt::Debug for SpaceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for SpaceUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

macro_rules! id64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The value as it stands on disk and in file names.
            #[must_use]
            pub const fn from_raw(raw: u64) -> $name {
                $name(raw)
            }
            /// See [`Self::from_raw`].
            #[must_use]
            pub const fn raw(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

id64!(
    /// Unique id of one file: 64 random bits, in its name and in the manifest, never used twice.
    FileUid
);
id64!(
    /// Number of a log segment within its space; orders names for people and carries no other meaning.
    SegmentNo
);
id64!(
    /// Number of a table within its space; orders names for people and carries no other meaning.
    TableNo
);
id64!(
    /// Number of a manifest within its space: the highest that verifies is the current one.
    Generation
);
id64!(
    /// Log sequence number: epoch (24 bits) · 2^40 + counter. Names one commit of one space, for ever.
    Lsn
);

impl fmt::Display for FileUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FileUid {
    /// The uid that is shown as exactly `text`.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<FileUid> {
        let shown = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| shown).map(FileUid)
    }
}

/// The number that numbers in file names show as exactly `text`: in at least sixteen digits.
#[must_use]
pub(crate) fn padded_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let shown = digits && (text.len() == 16 || text.len() > 16 && !text.starts_with('0'));
    text.parse().ok().filter(|_| shown)
}

impl fmt::Display for SegmentNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}
impl fmt::Display for TableNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}", self.0)
    }
}

impl SegmentNo {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> SegmentNo {
        SegmentNo(self.0 + 1)
    }
}
impl TableNo {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> TableNo {
        TableNo(self.0 + 1)
    }
}
impl Generation {
    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// How much an entry is worth keeping in a fast tier, as its writer said: any `i32`, the higher the longer; 0 unless it said
/// otherwise. It belongs to the value that was put with it: a put without one has 0, whatever the key had before, and a
/// delete has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i32);

impl Priority {
    /// The value as it stands on disk.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Priority {
        Priority(raw)
    }
    /// See [`Priority::from_raw`].
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts the openings of a space that wrote: raised durably in the manifest before an opening's first commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a space that was never written.
    pub const ZERO: Epoch = Epoch(0);

    /// `None` beyond 24 bits.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Epoch> {
        if raw <= EPOCH_MAX { Some(Epoch(raw)) } else { None }
    }
    /// The value as it stands on disk.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }
    /// The epoch after this one; `None` when all 16 million are used up.
    #[must_use]
    pub const fn next(self) -> Option<Epoch> {
        Epoch::from_raw(self.0 + 1)
    }
    /// The LSN of this epoch's first commit.
    #[must_use]
    pub const fn first_lsn(self) -> Lsn {
        Lsn(((self.0 as u64) << LSN_COUNTER_BITS) + 1)
    }
}

impl Default for Lsn {
    fn default() -> Lsn {
        Lsn::ZERO
    }
}

impl Lsn {
    /// Before every commit.
    pub const ZERO: Lsn = Lsn(0);

    /// The LSN of the next commit within the same epoch.
    ///
    /// # Panics
    /// When an epoch's 2^40 commits are used up: a million a second for twelve days without a reopen.
    #[must_use]
    pub const fn next(self) -> Lsn {
        let next = Lsn(self.0 + 1);
        assert!(next.counter() != 0, "an epoch has at most 2^40 - 1 commits");
        next
    }
    /// The LSN `n` commits further within the same epoch.
    #[must_use]
    pub const fn advance(self, n: u64) -> Lsn {
        Lsn(self.0 + n)
    }
    /// The epoch that this LSN belongs to.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> LSN_COUNTER_BITS) as u32)
    }
    /// Position within its epoch, from 1.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & ((1 << LSN_COUNTER_BITS) - 1)
    }
    /// Whether `self` may follow `last` in a log: the next of its epoch, or the first of a later one.
    #[must_use]
    pub fn follows(self, last: Lsn) -> bool {
        last.0.checked_add(1) == Some(self.0) && self.epoch() == last.epoch() && self.counter() > 1
            || self.epoch() > last.epoch() && self.counter() == 1
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch().raw(), self.counter())
    }
}

/// A 64-bit hash that is the same in every build and on every machine (FNV-1a with a final mix). For keys of
/// decisions and shares of pools, never for checksums.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    for &b in bytes {
        h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_judged_by_their_bytes() {
        for ok in [
            "a",
            "alpha",
            "Ä/".trim_end_matches('/'),
            "A",
            "con",
            "-x",
            ".x",
            "x.y",
            " a ",
            "50%",
            &"x".repeat(64),
        ] {
            let id = SpaceId::new(ok).unwrap();
            assert_eq!(SpaceId::from_dir_name(&id.dir_name()), Some(id.clone()), "{ok}");
            assert!(!id.dir_name().starts_with(['.', '-']));
        }
        for bad in ["", ".", "..", "a..b", "a/b", "a\\b", "a\0b", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(65)]
        {
            assert!(SpaceId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SpaceId::from_bytes(&[0xff]), Err(SpaceIdError::NotUtf8));
    }

    #[test]
    fn only_the_canonical_directory_name_is_an_id() {
        for bad in ["A", "%61", "%C3%A4", "%c3", "%", "%2", "con", "-x", ".x", "", "%2e"] {
            assert_eq!(SpaceId::from_dir_name(bad), None, "{bad}");
        }
        assert_eq!(SpaceId::new("A").unwrap().dir_name(), "%41");
        assert_eq!(SpaceId::new("con").unwrap().dir_name(), "%63on");
        assert_eq!(SpaceId::new("-a-").unwrap().dir_name(), "%2da-");
    }

    #[test]
    fn an_lsn_follows_only_its_neighbour_or_a_later_epochs_first() {
        let e1 = Epoch::ZERO.next().unwrap();
        let e2 = e1.next().unwrap();
        let a = e1.first_lsn();
        assert!(a.next().follows(a) && e2.first_lsn().follows(a));
        assert!(!a.follows(a) && !a.next().next().follows(a) && !e2.first_lsn().next().follows(a));
        assert!(!a.follows(e2.first_lsn()) && a.follows(Lsn::ZERO));
        assert!(!Lsn::ZERO.follows(Lsn::from_raw(u64::MAX)), "an LSN read from a disk may be any number");
    }
}
