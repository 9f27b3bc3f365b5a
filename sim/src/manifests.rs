//! What a space's older manifests may still bring back, looked at from outside whenever a machine stops.
//!
//! A manifest is ignored beside a newer one that verifies. If the newer one rots, the older one counts again, unless its
//! removal is durable: so an edit is in effect only once that is so, and until then nothing may be acknowledged, and no
//! file may go, that the older one knows nothing of. Otherwise damage would show as a clean, shorter log (G4).
use crate::execute::ROOT;
use crate::failure::{Failure, Guarantee};
use crate::model::{Harm, Model};
use bulkhead::Lsn;
use bulkhead::manifest::{Manifest, ManifestName, SegmentEntry, decode};
use bulkhead::wal::frame::{Frame, Place};
use bulkhead::wal::segment::{SEGMENT_HEADER, SegmentId};
use bulkhead_fault_injection::{View, World};

/// Whether every manifest of this space that a power cut may leave knows all that was promised.
///
/// # Errors
/// The first one that does not.
pub fn check(world: &World, model: &Model) -> Result<(), Failure> {
    if model.harm != Harm::None {
        return Ok(());
    }
    let dir = format!("{ROOT}/{}", model.id.dir_name());
    let (durable, seen) = (names(world, &dir, View::Durable), names(world, &dir, View::Seen));
    let Some(highest) = seen.last() else { return Ok(()) };
    if durable.iter().all(|name| name >= highest) {
        return Ok(());
    }
    let read = |name: &ManifestName, view| {
        let bytes = world.read_file(&format!("{dir}/{}", name.file_name()), view)?;
        decode(&bytes, *name, None)
    };
    let Some(newest) = seen.iter().rev().find_map(|name| read(name, View::Seen)) else { return Ok(()) };
    for name in durable.iter().filter(|name| **name < newest.name) {
        let Some(older) = read(name, View::Durable) else { continue };
        if let Some(what) = forgets(world, &dir, &older, &newest, model.acknowledged_up_to()) {
            let (older, newest) = (name.file_name(), newest.name.file_name());
            let what = format!("{older} may come back once {newest} rots, and {what}");
            return Err(model.failure(Guarantee::G4Honesty, what));
        }
    }
    Ok(())
}

/// Of manifests, by generation.
fn names(world: &World, dir: &str, view: View) -> Vec<ManifestName> {
    let mut names: Vec<_> =
        world.names_in(dir, view).iter().filter_map(|name| ManifestName::parse(name)).collect();
    names.sort_unstable();
    names
}

/// What is wrong if `older` counts instead of `newest`, where everything up to `promised` was acknowledged.
fn forgets(world: &World, dir: &str, older: &Manifest, newest: &Manifest, promised: Lsn) -> Option<String> {
    if promised.epoch() > older.version.epoch {
        return Some(format!(
            "knows only epoch {}, but {promised} was acknowledged",
            older.version.epoch.raw()
        ));
    }
    let lists = |m: &Manifest, s: &SegmentEntry| m.version.segments.iter().any(|t| t.file == s.file);
    let path = |s: &SegmentEntry| {
        let id = SegmentId { space: newest.identity.uid, file: s.file, number: s.number };
        (id, format!("{dir}/wal/{}", id.file_name()))
    };
    for segment in older.version.segments.iter().filter(|s| !lists(newest, s)) {
        if !world.has_name(&path(segment).1, View::Seen) {
            return Some(format!("lists segment {}, which was removed", segment.number.raw()));
        }
    }
    // In log order: where the first of them has no link yet, none has a commit. What recovery copies forward into a new segment is in the old ones too; commits of the newest epoch are not.
    let added = newest.version.segments.iter().filter(|s| !lists(older, s));
    for segment in added.filter(|_| promised.epoch() == newest.version.epoch) {
        let (id, path) = path(segment);
        let bytes = world.read_file(&path, View::Seen)?;
        let place = Place { tag: id.frame_tag(), offset: SEGMENT_HEADER };
        let link = Frame::verify(bytes.get(SEGMENT_HEADER as usize..)?, place)?.link()?;
        if link.last < promised {
            let number = segment.number.raw();
            return Some(format!("does not list segment {number}, which holds acknowledged {promised}"));
        }
    }
    None
}
