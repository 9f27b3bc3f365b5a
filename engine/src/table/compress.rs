//! Compression of pieces: which kinds there are, and when a piece is worth it.
//!
//! The kind stands in every piece, so tables of different tiers, and pieces of one table, may differ. A piece that does
//! not shrink by a sixteenth is stored as it is: it is then read without a copy.

/// How the contents of a piece are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// One LZ4 block.
    Lz4 = 1,
}

impl Compression {
    /// The kind that stands on disk as `raw`; `None` for one that this release does not know.
    #[must_use]
    pub fn from_raw(raw: u8) -> Option<Compression> {
        match raw {
            0 => Some(Compression::None),
            1 => Some(Compression::Lz4),
            _ => None,
        }
    }
}

/// Pieces in a row that did not shrink, after which not every one is tried.
const TRIED: u32 = 4;
/// From then on one of so many is.
const EVERY: u32 = 8;

/// Which pieces of a table are tried: pieces beside each other are mostly alike, and trying costs more than all else that
/// is done to one.
#[derive(Debug, Default)]
pub struct Trials {
    /// Tries in a row that came to nothing.
    vain: u32,
    /// Pieces not tried since.
    passed: u32,
}

impl Trials {
    /// As what the next piece is to be stored, if `wanted` is what pays where it pays.
    pub fn next(&mut self, wanted: Compression) -> Compression {
        if self.vain >= TRIED && self.passed + 1 < EVERY {
            self.passed += 1;
            return Compression::None;
        }
        self.passed = 0;
        wanted
    }

    /// A piece was tried; how it is stored.
    pub fn note(&mut self, found: Compression) {
        self.vain = if found == Compression::None { self.vain.saturating_add(1) } else { 0 };
    }
}

/// LZ4 cannot make more than this many bytes of one.
const LZ4_RATIO_MAX: usize = 255;

/// Appends `contents` to `out`, compressed as `wanted` if that pays; says how they are stored.
pub fn compress(out: &mut Vec<u8>, contents: &[u8], wanted: Compression) -> Compression {
    if wanted == Compression::Lz4 && !contents.is_empty() {
        let start = out.len();
        out.resize(start + lz4_flex::block::get_maximum_output_size(contents.len()), 0);
        let stored =
            lz4_flex::block::compress_into(contents, &mut out[start..]).expect("room for the worst case");
        if stored <= contents.len() - contents.len().div_ceil(16) {
            out.truncate(start + stored);
            return Compression::Lz4;
        }
        out.truncate(start);
    }
    out.extend_from_slice(contents);
    Compression::None
}

/// The `len` bytes that were compressed to `stored`; `None` if they are not that. Allocates `len` bytes, and nothing
/// before it is known that `stored` could be that long.
#[must_use]
pub fn decompress_lz4(stored: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > stored.len().checked_mul(LZ4_RATIO_MAX)? {
        return None;
    }
    let mut out = vec![0; len];
    let found = lz4_flex::block::decompress_into(stored, &mut out).ok()?;
    (found == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_is_compressed_and_comes_back() {
        let text = b"one key after another, ".repeat(100);
        let mut out = vec![9];
        assert_eq!(compress(&mut out, &text, Compression::Lz4), Compression::Lz4);
        assert!(out.len() < text.len() / 4);
        assert_eq!(decompress_lz4(&out[1..], text.len()).as_deref(), Some(&text[..]));
        for wrong in [0, 1, text.len() - 1, text.len() + 1, usize::MAX] {
            assert_eq!(decompress_lz4(&out[1..], wrong), None, "{wrong}");
        }
    }

    #[test]
    fn among_pieces_that_do_not_shrink_few_are_tried_until_one_does() {
        let mut trials = Trials::default();
        let mut tried = |n: usize, found| {
            let pieces = (0..n).map(|_| trials.next(Compression::Lz4));
            let wanted: Vec<_> = pieces.collect();
            wanted.iter().filter(|w| **w == Compression::Lz4).for_each(|_| trials.note(found));
            wanted.iter().filter(|w| **w == Compression::Lz4).count()
        };
        assert_eq!((tried(3, Compression::None), tried(1, Compression::None)), (3, 1));
        assert_eq!((tried(7, Compression::None), tried(1, Compression::None)), (0, 1));
        assert_eq!((tried(7, Compression::None), tried(1, Compression::Lz4)), (0, 1));
        assert_eq!(tried(100, Compression::Lz4), 100);
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        let mut noise = Vec::new();
        for i in 0..512 {
            noise.extend_from_slice(&crate::codec::mix(i).to_be_bytes());
        }
        for (contents, wanted) in
            [(&noise[..], Compression::Lz4), (b"", Compression::Lz4), (b"aa", Compression::None)]
        {
            let mut out = Vec::new();
            assert_eq!(compress(&mut out, contents, wanted), Compression::None);
            assert_eq!(out, contents);
        }
    }
}
