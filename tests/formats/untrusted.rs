//! Bytes from outside. Each property holds for every decoder; the inputs come in three depths: arbitrary bytes, which
//! stop at the first check; valid bytes with changes, which stop at the checksum; and changed bytes whose checksum was
//! put right, which only a liar or a bug of ours could write, and which reach everything behind it.
use super::samples;
use crate::allocations::peak_of;
use bulkhead::codec::{Reader, checksum, put_varint};
use bulkhead::ids::SpaceId;
use bulkhead::limits::PAGE;
use bulkhead::manifest::{self, ManifestName};
use bulkhead::space::Identity;
use bulkhead::wal::frame::{Frame, Place};
use bulkhead::wal::operation::decode_commit;
use bulkhead::wal::scan::Scanner;
use bulkhead::wal::segment::verify_header;
use bulkhead::{decode_engine_file, encode_engine_file};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Range;

/// A format: valid bytes of it, and its decoder, which answers with what it believed, written out again.
struct Format {
    name: &'static str,
    valid: Vec<u8>,
    believed: fn(&[u8]) -> Option<Vec<u8>>,
    /// Most bytes that the decoder may hold at once, in percent of its input: decoded lists are wider than encoded
    /// ones, and grow by doubling. What it may never do is believe a length before it has seen the bytes.
    memory_percent: usize,
    /// Its pieces with a checksum, as far as their lengths can be followed.
    sealed: fn(&[u8]) -> Vec<Sealed>,
}

/// Bytes under one checksum.
struct Sealed {
    piece: Range<usize>,
    /// Where in the piece its checksum stands.
    crc_at: usize,
    /// The offset in the file that the checksum covers.
    offset: u64,
}

impl Sealed {
    fn at(start: usize, len: usize) -> Sealed {
        Sealed { piece: start..start + len, crc_at: 16, offset: start as u64 }
    }
}

fn two_pages(bytes: &[u8]) -> Vec<Sealed> {
    let whole = |start: &usize| start + PAGE <= bytes.len();
    [0, PAGE].into_iter().filter(whole).map(|start| Sealed::at(start, PAGE)).collect()
}

/// The copies of a manifest.
fn manifest_copies(bytes: &[u8]) -> Vec<Sealed> {
    let copy = |start: usize| {
        let len = u32::from_le_bytes(bytes.get(start + 20..start + 24)?.try_into().ok()?) as usize;
        (len >= 24 && start + len <= bytes.len()).then(|| Sealed::at(start, len))
    };
    [0, bytes.len() / 2].into_iter().filter_map(copy).collect()
}

fn whole_frame(bytes: &[u8]) -> Vec<Sealed> {
    let Some(len) = bytes.get(12..16) else { return Vec::new() };
    let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
    let fits = (16..=bytes.len()).contains(&len);
    if fits { vec![Sealed { piece: 0..len, crc_at: 8, offset: FRAME_AT }] } else { Vec::new() }
}

const FRAME_AT: u64 = 8192;

fn formats() -> Vec<Format> {
    vec![
        Format {
            name: ".engine",
            valid: encode_engine_file(samples::space_uid()),
            believed: |b| decode_engine_file(b).map(encode_engine_file),
            memory_percent: 0,
            sealed: two_pages,
        },
        Format {
            name: "SPACE",
            valid: samples::identity().encode(),
            believed: |b| Identity::decode(b).map(|i| i.encode()),
            memory_percent: 1,
            sealed: two_pages,
        },
        Format {
            name: "MANIFEST",
            valid: manifest::encode(&samples::manifest()),
            believed: |b| manifest::decode(b, samples::manifest_name(), None).map(|m| manifest::encode(&m)),
            memory_percent: 250,
            sealed: manifest_copies,
        },
        Format {
            name: "segment header",
            valid: samples::segment_header(),
            believed: |b| {
                let header = verify_header(b, samples::segment_id())?;
                Some(bulkhead::wal::segment::encode_header(header.id, header.epoch, header.allocated).0)
            },
            memory_percent: 0,
            sealed: |b| two_pages(&b[..b.len().min(PAGE)]),
        },
        frame("commits", samples::commits_frame(1, FRAME_AT)),
        frame("priorities", samples::priorities_frame(1, FRAME_AT)),
        frame("link", samples::link_frame(1, FRAME_AT)),
        frame("seal", samples::seal_frame(1, FRAME_AT)),
        frame("pad", samples::pad_frame(1, FRAME_AT)),
    ]
}

fn frame(name: &'static str, valid: Vec<u8>) -> Format {
    Format {
        name,
        valid,
        believed: |b| {
            let frame = Frame::verify(b, samples::place(FRAME_AT))?;
            // Whatever a frame can be asked must be answered without a panic.
            let _ = (frame.last(), frame.link(), frame.seal(), frame.head().first.follows(frame.last()));
            Some(b[..frame.len()].to_vec())
        },
        memory_percent: 0,
        sealed: whole_frame,
    }
}

/// Runs the decoder of `format` over `bytes` and holds it to its memory.
fn believed(format: &Format, bytes: &[u8]) -> Option<Vec<u8>> {
    // What was believed is written out again, at most doubling as it grows: memory of the test, not of the decoder.
    let (result, peak) = peak_of(|| (format.believed)(bytes));
    let written = result.as_ref().map_or(0, |b| 3 * b.capacity());
    let allowed = bytes.len() * format.memory_percent / 100 + 256 + written;
    assert!(peak <= allowed, "{}: {peak} bytes held for {} given", format.name, bytes.len());
    result
}

/// Puts every checksum of `bytes` right, as if they had been written so.
fn reseal(format: &Format, bytes: &mut [u8]) {
    for Sealed { piece, crc_at, offset } in (format.sealed)(bytes) {
        let piece = &mut bytes[piece];
        // In every format the tag stands right in front of the checksum.
        let tag = u64::from_le_bytes(piece[crc_at - 8..crc_at].try_into().unwrap());
        let crc = checksum(tag, offset, piece, crc_at);
        piece[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Changes: at a place (a share of the length) a byte is replaced.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
}

/// Changes near the front, where the fields are, in bytes and in whole words of extreme values.
fn field_changes() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let word = prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        any::<u32>().prop_map(|w| w.to_le_bytes().to_vec()),
        any::<u64>().prop_map(|w| w.to_le_bytes().to_vec()),
        Just(vec![0xff; 4]),
        Just(vec![0xff; 8]),
        Just(vec![0; 8]),
    ];
    // The front of every format, and the lists of a manifest behind its first kilobyte of tables.
    vec((0usize..640, word), 1..4)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/formats.txt"
        )))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..3 * PAGE)) {
        for format in formats() {
            prop_assert!(believed(&format, &bytes).is_none(), "{}", format.name);
        }
    }

    #[test]
    fn valid_bytes_with_changes_are_refused_or_mean_what_they_meant(changes in changes(), cut in any::<prop::sample::Index>()) {
        for format in formats() {
            let mut bytes = format.valid.clone();
            for (at, b) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *b;
            }
            if let Some(b) = believed(&format, &bytes) {
                prop_assert!(b == format.valid, "{} believed other bytes", format.name);
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Some(b) = believed(&format, &bytes) {
                prop_assert!(b == format.valid, "{} believed other bytes, cut short", format.name);
            }
        }
    }

    #[test]
    fn nothing_that_a_right_checksum_covers_makes_a_decoder_panic_or_guess(changes in field_changes()) {
        for format in formats() {
            let mut bytes = format.valid.clone();
            // The same change in both copies: else the other one answers.
            let copies = (format.sealed)(&bytes).into_iter().map(|s| s.piece.start).collect::<Vec<_>>();
            for (at, word) in &changes {
                for start in &copies {
                    let at = start + at;
                    let end = bytes.len().min(at + word.len());
                    if at < end {
                        bytes[at..end].copy_from_slice(&word[..end - at]);
                    }
                }
            }
            reseal(&format, &mut bytes);
            if let Some(again) = believed(&format, &bytes) {
                // A value has one encoding: what was believed is written the same way, unknown bits and all.
                let n = again.len().min(bytes.len());
                prop_assert!(again[..n] == bytes[..n], "{} guessed", format.name);
            }
        }
    }

    #[test]
    fn a_scan_hands_out_only_frames_that_were_written(changes in changes(), tail in vec(any::<u8>(), 0..600), from in 4096usize..8000) {
        let (valid, _) = samples::segment();
        let written = frames_of(&valid);
        prop_assert_eq!(written.len(), 4);
        let mut bytes = valid.clone();
        for (at, b) in &changes {
            let at = PAGE + at.index(bytes.len() - PAGE);
            bytes[at] = *b;
        }
        let found = frames_of(&bytes);
        prop_assert!(written.starts_with(&found), "changes brought up other frames");
        let mut bytes = valid;
        let end = bytes.len().min(from + tail.len());
        bytes[from..end].copy_from_slice(&tail[..end - from]);
        let found = frames_of(&bytes);
        prop_assert!(written.starts_with(&found), "garbage brought up other frames");
    }

    #[test]
    fn arbitrary_commits_are_refused_or_have_this_one_encoding(
        bytes in prop_oneof![vec(any::<u8>(), 0..200), vec(prop_oneof![6 => 0u8..6, 1 => Just(0x41)], 0..200)],
    ) {
        let mut r = Reader::new(&bytes);
        let (read, peak) = peak_of(|| decode_commit(&mut r, |_| ()));
        prop_assert_eq!(peak, 0, "decoding operations allocates nothing");
        if let Some(count) = read {
            let used = bytes.len() - r.rest().len();
            let mut again = Vec::new();
            put_varint(&mut again, count as u64);
            decode_commit(&mut Reader::new(&bytes), |op| op.encode(&mut again));
            prop_assert_eq!(&again[..], &bytes[..used]);
        }
    }

    #[test]
    fn names_are_read_only_as_they_are_written(name in "(MANIFEST-)?[-0-9a-f+ ]{0,40}|\\PC{0,40}|[%a-z0-9+]{0,12}") {
        if let Some(parsed) = ManifestName::parse(&name) {
            prop_assert_eq!(parsed.file_name(), name.clone());
        }
        if let Some(id) = SpaceId::from_dir_name(&name) {
            prop_assert_eq!(id.dir_name(), name);
        }
    }
}

/// The frames that a scan of `bytes` hands out.
fn frames_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut at = PAGE;
    let mut scanner = Scanner::new(bytes, samples::segment_id()).expect("the header was left alone");
    while !scanner.step(64, &mut |f| {
        frames.push(bytes[at..at + f.len()].to_vec());
        at += f.len();
    }) {}
    let scanned = scanner.finish();
    assert_eq!(scanned.end.offset, at as u64);
    frames
}

/// A manifest that claims more entries than it has bytes for is refused before room is made for them.
#[test]
fn a_count_without_its_bytes_takes_no_memory() {
    let format = formats().into_iter().find(|f| f.name == "MANIFEST").unwrap();
    // Segments, epoch ends, hot, warm and cold tables.
    for counts in [
        [4096, 0, 0, 0, 0],
        [0, 4096, 0, 0, 0],
        [2, 1, 64, 0, 0],
        [2, 1, 2, 4096, 0],
        [2, 1, 2, 2, 4096],
        [u32::MAX; 5],
    ] {
        let mut bytes = format.valid.clone();
        for start in [0, PAGE] {
            for (i, count) in counts.iter().enumerate() {
                let at = start + 112 + 4 * i;
                bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(*count));
            }
        }
        reseal(&format, &mut bytes);
        let (read, peak) = peak_of(|| manifest::decode(&bytes, samples::manifest_name(), None));
        assert_eq!(read, None);
        assert!(peak < 4096, "{peak} bytes held for a list that is not there");
    }
}

/// A frame that claims to be longer than what was read of its file is refused before anything is looked at.
#[test]
fn a_length_without_its_bytes_is_refused() {
    let valid = samples::commits_frame(1, FRAME_AT);
    for len in [u32::MAX, 1 << 30, valid.len() as u32 + 8] {
        let mut bytes = valid.clone();
        bytes[12..16].copy_from_slice(&len.to_le_bytes());
        let (read, peak) = peak_of(|| Frame::verify(&bytes, Place { ..samples::place(FRAME_AT) }).is_some());
        assert_eq!((read, peak), (false, 0), "length {len}");
    }
}
