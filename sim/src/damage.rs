//! Damage to a space's files at rest, and what of the space cannot be hurt by it.
use crate::execute::ROOT;
use crate::model::{Existence, Harm, Model};
use crate::plan::{Boot, DamageKind};
use crate::probe::Probe;
use crate::story::Story;
use bulkhead::decode_engine_file;
use bulkhead::limits::PAGE;
use bulkhead::manifest::{Manifest, ManifestName, decode};
use bulkhead::space::{ENGINE_FILE, Identity, SPACE_FILE};
use bulkhead::wal::frame::{Frame, FrameKind, Place};
use bulkhead::wal::segment::{SEGMENT_HEADER, claimed_id};
use bulkhead_fault_injection::decide::mix;
use bulkhead_fault_injection::{Rot, Rotted, View, World};
use std::collections::BTreeMap;

/// Bytes that rot together.
const SECTOR: u64 = 512;

/// Files of a space by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Does the damage that `boot` begins with.
pub fn damage(story: &Story, boot: &Boot) {
    let world = &story.world;
    for damage in &boot.damage {
        let mut model = story.model(usize::from(damage.space));
        if damage.what == DamageKind::RootDies {
            root_dies(story);
            continue;
        }
        if model.harm != Harm::None {
            continue;
        }
        let dir = format!("{ROOT}/{}", model.id.dir_name());
        let prefix = format!("{dir}/");
        let before = files(world, &prefix);
        let owner = model.owner.0;
        let inside = |path: &str| path.starts_with(&prefix);
        let in_log = |path: &str| inside(path) && path.contains("/wal/");
        // One sector only, where a seal proves what that sector held.
        let proven = |world: &World| world.rot_as(owner, in_log, Some(Rot::Zero)).is_some();
        let hit = match damage.what {
            DamageKind::Dies => match world.rot_as(owner, inside, Some(Rot::Dead)) {
                // One of two copies: that must not be noticed.
                Some(dead) if !model.scarred && other_copy_is_whole(world, &dead) => {
                    model.scarred = true;
                    story.hit(Probe::CopyLost);
                    false
                }
                dead => dead.is_some(),
            },
            DamageKind::Rots | DamageKind::RotsInLog if model.sealed => proven(world),
            DamageKind::Rots => world.rot(owner, inside).is_some(),
            DamageKind::RotsInLog => world.rot(owner, in_log).is_some(),
            DamageKind::GoesAstray => {
                let other = story.run.spaces[(usize::from(damage.space) + 1) % story.len()].dir_name();
                goes_astray(world, &format!("{ROOT}/{other}/"), &prefix)
            }
            DamageKind::LosesIdentity => loses_identity(world, &model, &dir),
            DamageKind::LosesManifest => loses_manifest(world, &dir),
            DamageKind::RootDies => false,
            DamageKind::LosesSegment | DamageKind::LosesTable => loses_file(world, &model, &dir, damage.what),
        };
        if hit {
            let dies = damage.what == DamageKind::Dies;
            model.harm = if dies { Harm::Dead } else { Harm::Rotten };
            model.sealed_when_harmed =
                model.sealed && matches!(damage.what, DamageKind::Rots | DamageKind::RotsInLog);
            let changed = changed(&before, &files(world, &prefix));
            model.front =
                changed.iter().map(|(path, at)| in_front(&before[path], *at)).min().unwrap_or(u64::MAX);
            let mends = |path: &String| path.contains("/wal/") || path.ends_with("/SPACE");
            model.mends = !dies && !model.scarred && changed.keys().all(mends);
        }
    }
}

/// A sector dies of one copy in `.engine`, in a run always of the same copy.
fn root_dies(story: &Story) {
    let path = format!("{ROOT}/{ENGINE_FILE}");
    let seed = story.run.seed;
    // Its making may have been cut short.
    let page = PAGE as u64 * (seed % 2);
    let other_is_whole = story.world.read_file(&path, View::Seen).is_some_and(|mut bytes| {
        let dies = page as usize..page as usize + PAGE;
        bytes.get_mut(dies).is_some_and(|bytes| {
            bytes.fill(0);
            true
        }) && decode_engine_file(&bytes).is_some()
    });
    if other_is_whole && is_durable(&story.world, &path) {
        let sector = mix(seed, story.world.now()) % (PAGE as u64 / SECTOR);
        story.world.rot_at(&path, page + sector * SECTOR, Rot::Dead);
        story.hit(Probe::RootCopyLost);
    }
}

/// Whether a dead sector is in one of two copies, and the other one verifies whatever happens to the system's cache. A
/// manifest whose sync failed may have come to the device in part, and what died may be the only copy of it.
fn other_copy_is_whole(world: &World, dead: &Rotted) -> bool {
    let whole = |verifies: &dyn Fn(&[u8]) -> bool| {
        let page = dead.offset as usize / PAGE * PAGE;
        world.read_file(&dead.path, View::Durable).is_some_and(|mut bytes| {
            let rest = bytes.len().min(page + PAGE);
            bytes[page..rest].fill(0);
            verifies(&bytes)
        })
    };
    let name = dead.path.rsplit('/').next().unwrap_or_default();
    match ManifestName::parse(name) {
        Some(name) => whole(&|bytes| decode(bytes, name, None).is_some()),
        None => name == SPACE_FILE && whole(&|bytes| Identity::decode(bytes).is_some()),
    }
}

fn files(world: &World, prefix: &str) -> Files {
    let paths = world.paths(View::Seen).into_iter().map(|(path, _)| path);
    let inside = paths.filter(|path| path.starts_with(prefix));
    inside.filter_map(|path| world.read_file(&path, View::Seen).map(|bytes| (path, bytes))).collect()
}

/// Files that are not as they were, and the first sector in which they differ.
fn changed(before: &Files, after: &Files) -> BTreeMap<String, u64> {
    let differs = |(path, old): (&String, &Vec<u8>)| {
        let at = match after.get(path) {
            Some(new) => old.iter().zip(new).position(|(a, b)| a != b)? as u64,
            None => 0,
        };
        Some((path.clone(), at / SECTOR * SECTOR))
    };
    before.iter().filter_map(differs).collect()
}

/// The last commit that a segment holds, or that it says to follow, in front of `at`; no limit where it holds none.
fn in_front(bytes: &[u8], at: u64) -> u64 {
    let Some(id) = claimed_id(bytes) else { return u64::MAX };
    let (mut offset, mut last) = (SEGMENT_HEADER, None);
    while let Some(rest) = bytes.get(offset as usize..)
        && let Some(frame) = Frame::verify(rest, Place { tag: id.frame_tag(), offset })
    {
        last = frame.link().map(|link| link.last).or(last);
        offset += frame.len() as u64;
        if offset > at {
            break;
        }
        let head = frame.head();
        if head.kind == FrameKind::Commits && head.count > 0 {
            last = Some(head.first.advance(u64::from(head.count) - 1));
        }
    }
    last.map_or(u64::MAX, bulkhead::Lsn::raw)
}

/// Puts the bytes of one space's newest segment into that of another. False where either has none.
fn goes_astray(world: &World, from: &str, to: &str) -> bool {
    let tree = world.tree(View::Seen);
    let newest = |prefix: &str| {
        let of = tree.iter().filter(|e| e.path.starts_with(prefix) && e.path.ends_with(".wal") && e.len > 0);
        of.map(|e| e.path.clone()).rfind(|path| !path.ends_with("-copy.wal"))
    };
    match (newest(from), newest(to)) {
        // What is still to be written back would undo it.
        (Some(from), Some(to)) if from != to && is_durable(world, &to) => {
            world.misdirect(&from, &to);
            true
        }
        _ => false,
    }
}

/// Zeroes a sector of each copy. False where it is not durable yet.
fn loses_identity(world: &World, model: &Model, dir: &str) -> bool {
    let path = format!("{dir}/SPACE");
    let there = is_durable(world, &path) && model.existence == Existence::Certain;
    if there {
        [0, PAGE as u64].iter().for_each(|at| world.rot_at(&path, *at, Rot::Zero));
    }
    there
}

/// Zeroes every sector of the manifest in effect. False where it is not durable, or not the only one: which one counts
/// is not for this to know then.
fn loses_manifest(world: &World, dir: &str) -> bool {
    let Some(manifest) = newest(world, dir) else { return false };
    let path = format!("{dir}/{}", manifest.name.file_name());
    let len = world.read_file(&path, View::Seen).map_or(0, |bytes| bytes.len() as u64);
    let there = is_durable(world, &path);
    if there {
        (0..len).step_by(SECTOR as usize).for_each(|at| world.rot_at(&path, at, Rot::Zero));
    }
    there
}

/// Takes away a segment that the manifest lists, or a table that it names. False where there is none.
fn loses_file(world: &World, model: &Model, dir: &str, what: DamageKind) -> bool {
    let Some(manifest) = newest(world, dir) else { return false };
    let mut paths: Vec<String> = manifest
        .version
        .files(manifest.identity.uid)
        .filter(|file| (file.dir == "wal") == (what == DamageKind::LosesSegment))
        .map(|file| format!("{dir}/{}/{}", file.dir, file.name))
        .filter(|path| is_durable(world, path))
        .collect();
    if paths.is_empty() {
        return false;
    }
    let which = mix(model.owner.0, model.last()) as usize % paths.len();
    world.lose(&paths.swap_remove(which))
}

/// Whether a file is seen as a power cut would leave it.
fn is_durable(world: &World, path: &str) -> bool {
    let seen = world.read_file(path, View::Seen);
    world.has_name(path, View::Durable) && seen.is_some() && seen == world.read_file(path, View::Durable)
}

/// Whether a power cut leaves the very manifests of a space that are seen now, and so the files that count.
pub fn manifests_are_durable(world: &World, dir: &str) -> bool {
    let of = |view| {
        let mut names = world.names_in(dir, view);
        names.retain(|name| ManifestName::parse(name).is_some());
        names
    };
    let seen = of(View::Seen);
    seen == of(View::Durable) && seen.iter().all(|name| is_durable(world, &format!("{dir}/{name}")))
}

/// The manifest in effect, unless there are others beside it.
fn newest(world: &World, dir: &str) -> Option<Manifest> {
    let names = world.names_in(dir, View::Seen);
    let mut names = names.iter().filter_map(|name| ManifestName::parse(name));
    let (name, None) = (names.next()?, names.next()) else { return None };
    let bytes = world.read_file(&format!("{dir}/{}", name.file_name()), View::Seen)?;
    decode(&bytes, name, None)
}
