//! What a space's older manifests may still bring back, looked at from outside whenever a machine stops.
//!
//! A manifest is ignored beside a newer one that verifies. If the newer one rots, the older one counts again, unless its
//! removal is durable: so an edit is in effect only once that is so, and until then nothing may be acknowledged, and no
//! file may go, that the older one knows nothing of. Otherwise damage would show as a clean, shorter log (G4).
use crate::execute::ROOT;
use crate::failure::{Failure, Guarantee};
use crate::model::{Harm, Model};
use crate::probe::Probe;
use bulkhead::Lsn;
use bulkhead::manifest::{Manifest, ManifestName, SegmentEntry, Tier, decode, parse_table_file_name};
use bulkhead::wal::frame::{Frame, Place};
use bulkhead::wal::segment::{SEGMENT_HEADER, SegmentId};
use bulkhead_fault_injection::{View, World};
use std::collections::BTreeSet;

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

/// What the files of this space show that the machine stopped in the middle of.
pub fn notice(world: &World, model: &Model, hit: &mut dyn FnMut(Probe)) {
    let dir = format!("{ROOT}/{}", model.id.dir_name());
    let names = names(world, &dir, View::Seen);
    let newest = names.iter().rev().find_map(|name| {
        let bytes = world.read_file(&format!("{dir}/{}", name.file_name()), View::Seen)?;
        decode(&bytes, *name, None)
    });
    let Some(newest) = newest else { return };
    let tables = newest.version.tables.count();
    if tables > 0 {
        hit(Probe::Flushed);
    }
    if tables > 1 {
        hit(Probe::SeveralTables);
    }
    for (tier, probe) in [(Tier::Warm, Probe::WarmTables), (Tier::Cold, Probe::ColdTables)] {
        if !newest.version.tables.tier(tier).is_empty() {
            hit(probe);
        }
    }
    let ranges = |tier| newest.version.tables.tier(tier).iter().any(|t| t.range_tombstones > 0);
    if Tier::ALL.into_iter().any(ranges) {
        hit(Probe::RangeDeleteFlushed);
    }
    if ranges(Tier::Warm) || ranges(Tier::Cold) {
        hit(Probe::RangeDeleteMoved);
    }
    for tier in Tier::ALL {
        let live = newest.version.tables.tier(tier);
        let is_live = |name: &str| {
            parse_table_file_name(name).is_some_and(|(_, file)| live.iter().any(|t| t.file == file))
        };
        if any_name(world, &format!("{dir}/{}", tier.dir()), |name| !is_live(name)) {
            hit(Probe::TableNotNamed);
        }
    }
    let first = newest.version.segments.first().map_or(newest.version.next_segment, |s| s.number);
    let is_dead = |name: &str| {
        SegmentId::parse(newest.identity.uid, name).is_some_and(|segment| segment.number < first)
    };
    if tables > 0 && any_name(world, &format!("{dir}/wal"), is_dead) {
        hit(Probe::FlushedNotCut);
    }
}

/// Whether any name seen in `dir` is such a one.
fn any_name(world: &World, dir: &str, is_such: impl Fn(&str) -> bool) -> bool {
    let mut any = false;
    world.visit_names(dir, View::Seen, &mut |name| any |= is_such(name));
    any
}

/// Of manifests, by generation.
fn names(world: &World, dir: &str, view: View) -> Vec<ManifestName> {
    let mut names = Vec::new();
    world.visit_names(dir, view, &mut |name| names.extend(ManifestName::parse(name)));
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
    let uid = newest.identity.uid;
    let live: BTreeSet<_> = newest.version.files(uid).map(|f| (f.dir, f.file)).collect();
    for file in older.version.files(uid).filter(|f| !live.contains(&(f.dir, f.file))) {
        if !world.has_name(&format!("{dir}/{}/{}", file.dir, file.name), View::Seen) {
            return Some(format!("names {}/{}, which was removed", file.dir, file.name));
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
