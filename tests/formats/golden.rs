//! Every format's bytes, held for ever. A change here is a new format level, an entry in the changelog and a golden of
//! its own beside the old one, which must go on being read.
use super::hex::{dump, undump};
use super::samples;
use bulkhead::ids::SpaceUid;
use bulkhead::manifest;
use bulkhead::space::Identity;
use bulkhead::wal::frame::{Frame, FrameKind};
use bulkhead::wal::operation::decode_commit;
use bulkhead::wal::scan::{Scanner, Stop};
use bulkhead::wal::segment::verify_header;
use bulkhead::{codec::Reader, decode_engine_file, encode_engine_file};
use std::path::Path;

/// Compares `bytes` with the golden `name`.
pub fn written(name: &str, bytes: &[u8]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(format!("format-{name}"), dump(bytes)));
}

/// The bytes that the golden `name` holds.
pub fn kept(name: &str) -> Vec<u8> {
    let file = format!("../snapshots/format-{name}.snap");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    undump(&text)
}

#[test]
fn the_encoders_write_what_the_goldens_hold() {
    written("engine-1", &encode_engine_file(samples::space_uid()));
    written("space-1", &samples::identity().encode());
    written("manifest-1", &manifest::encode(&samples::manifest()));
    written("manifest-1-new", &manifest::encode(&samples::new_manifest()));
    written("segment-header-1", &samples::segment_header());
    written("frame-commits-1", &samples::commits_frame(0x0bad_cafe, 8192));
    written("frame-ranges-1", &samples::ranges_frame(0x0bad_cafe, 8192));
    written("frame-priorities-1", &samples::priorities_frame(0x0bad_cafe, 8192));
    written("frame-link-1", &samples::link_frame(0x0bad_cafe, 4096));
    written("frame-seal-1", &samples::seal_frame(0x0bad_cafe, 8192));
    written("frame-pad-1", &samples::pad_frame(0x0bad_cafe, 8192));
    written("segment-1", &samples::segment().0);
}

#[test]
fn the_decoders_read_what_the_goldens_hold() {
    assert_eq!(decode_engine_file(&kept("engine-1")), Some(samples::space_uid()));
    assert_eq!(Identity::decode(&kept("space-1")), Some(samples::identity()));
    let (name, uid) = (samples::manifest_name(), Some(samples::space_uid()));
    assert_eq!(manifest::decode(&kept("manifest-1"), name, uid), Some(samples::manifest()));
    assert_eq!(manifest::decode(&kept("manifest-1-new"), name, uid), Some(samples::new_manifest()));
    assert_eq!(manifest::decode(&kept("manifest-1"), name, Some(SpaceUid([1; 16]))), None);
    let header = verify_header(&kept("segment-header-1"), samples::segment_id()).unwrap();
    assert_eq!((header.id, header.epoch.raw()), (samples::segment_id(), 2));
}

#[test]
fn the_frames_of_the_goldens_verify_and_say_what_they_said() {
    let frame = |name: &str, offset: u64, check: &dyn Fn(Frame<'_>)| {
        let bytes = kept(name);
        check(Frame::verify(&bytes, samples::place(offset)).unwrap_or_else(|| panic!("{name}")));
        assert!(Frame::verify(&bytes, samples::place(offset + 512)).is_none(), "{name} in another place");
    };
    for (name, commits) in [
        ("frame-commits-1", samples::operations()),
        ("frame-ranges-1", samples::range_deletes()),
        ("frame-priorities-1", samples::priorities()),
    ] {
        frame(name, 8192, &|f| {
            let mut r = Reader::new(f.body());
            for expected in &commits {
                let mut found = Vec::new();
                decode_commit(&mut r, |op| found.push(op)).unwrap();
                assert_eq!(found, *expected);
            }
            assert!(r.is_empty());
            assert_eq!(
                (f.head().kind, f.head().first, f.last()),
                (FrameKind::Commits, samples::lsn(5), samples::lsn(6))
            );
        });
    }
    frame("frame-link-1", 4096, &|f| assert_eq!(f.link(), Some(samples::link())));
    frame("frame-seal-1", 8192, &|f| assert_eq!(f.seal(), Some(samples::lsn(6))));
    frame("frame-pad-1", 8192, &|f| assert_eq!((f.head().kind, f.body()), (FrameKind::Pad, &[][..])));
}

#[test]
fn the_segment_of_the_goldens_scans_to_its_seal() {
    let bytes = kept("segment-1");
    let mut scanner = Scanner::new(&bytes, samples::segment_id()).unwrap();
    assert!(scanner.step(bytes.len(), &mut |_| ()));
    let scanned = scanner.finish();
    assert_eq!(scanned.link, Some(samples::link()));
    assert_eq!((scanned.frames, scanned.end.last, scanned.sealed), (4, samples::lsn(6), true));
    assert_eq!(scanned.stop, Stop::Unwritten);
}
