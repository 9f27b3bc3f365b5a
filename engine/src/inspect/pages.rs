//! Files that hold their content twice: `.engine`, SPACE and manifests.
use super::{Fact, Inspector, Kind, Pass};
use crate::identity::{self, Identity};
use crate::ids::Priority;
use crate::limits::{MANIFEST_MAX, PAGE};
use crate::manifest::{MANIFEST_MAGIC, Manifest, TableEntry, Tier, claimed_name, decode_copy};
use crate::root::{self, engine_file_copies};
use crate::wal::segment;

/// What the magic says that the file is; where the first copy's is lost, that of the second one.
pub(super) fn recognise<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<Option<Kind>, I::Error> {
    for offset in [0, PAGE as u64, pass.len / 2] {
        let magic = pass.bytes(offset, 8)?;
        let kind = match magic.first_chunk::<8>() {
            Some(m) if *m == root::MAGIC => Kind::Root,
            Some(m) if *m == identity::MAGIC => Kind::Space,
            Some(m) if *m == MANIFEST_MAGIC => Kind::Manifest,
            Some(m) if *m == segment::MAGIC && offset == 0 => Kind::Segment,
            _ => continue,
        };
        return Ok(Some(kind));
    }
    Ok(None)
}

pub(super) fn root<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<(), I::Error> {
    let file = pass.bytes(0, 2 * PAGE)?;
    for (copy, uid) in engine_file_copies(&file).into_iter().enumerate() {
        let offset = (copy * PAGE) as u64;
        match uid {
            Some(uid) => pass.say(&Fact::new(offset, "root").text("uid", uid))?,
            None => pass.damage(offset, "a copy of the root's identity", "a page that verifies")?,
        }
    }
    length(pass, 2 * PAGE as u64)
}

pub(super) fn space<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<(), I::Error> {
    let file = pass.bytes(0, 2 * PAGE)?;
    for (copy, identity) in Identity::copies(&file).into_iter().enumerate() {
        let offset = (copy * PAGE) as u64;
        match identity {
            Some(found) => pass.say(&of_space(Fact::new(offset, "space"), &found))?,
            None => pass.damage(offset, "a copy of the space's identity", "a page that verifies")?,
        }
    }
    length(pass, 2 * PAGE as u64)
}

fn of_space(fact: Fact, identity: &Identity) -> Fact {
    let fact = fact.text("id", &identity.id).text("uid", identity.uid);
    fact.number("created_ms", identity.created_ms)
}

fn length<I: Inspector>(pass: &mut Pass<'_, I>, expected: u64) -> Result<(), I::Error> {
    match pass.len == expected {
        true => Ok(()),
        false => pass.damage(pass.len.min(expected), "the end", &format!("a file of {expected} bytes")),
    }
}

/// Both copies; what is in them is told once, of the first that verifies.
pub(super) fn manifest<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<(), I::Error> {
    let half = (pass.len / 2).min(MANIFEST_MAX as u64) & !(PAGE as u64 - 1);
    let first = copy_at(pass, 0, half)?;
    // A file that was cut has its second copy, or what is left of it, where the first one says that it ends.
    let second_at = first.as_ref().map_or(half, |(_, stride)| *stride);
    let second = copy_at(pass, second_at, half)?;
    for (offset, copy) in [(0, &first), (second_at, &second)] {
        match copy {
            Some((m, _)) => {
                let fact = Fact::new(offset, "manifest").text("generation", m.name.generation);
                pass.say(&of_space(fact.text("file", m.name.file), &m.identity))?;
            }
            None => pass.damage(offset, "a copy of the manifest", "a copy that verifies")?,
        }
    }
    let Some((m, stride)) = first.or(second) else { return Ok(()) };
    length(pass, 2 * stride)?;
    contents(pass, &m)
}

/// The copy at `offset`, if it verifies, and how far from the other one it is.
fn copy_at<I: Inspector>(
    pass: &mut Pass<'_, I>,
    offset: u64,
    half: u64,
) -> Result<Option<(Manifest, u64)>, I::Error> {
    let head = pass.bytes(offset, PAGE)?;
    let Some((name, stride)) = claimed_name(&head) else { return Ok(None) };
    if offset > 0 && stride as u64 != offset && half != offset {
        return Ok(None);
    }
    let bytes = pass.bytes(offset, stride)?;
    let found = bytes.get(..stride).and_then(|copy| decode_copy(copy, offset, name, None));
    Ok(found.map(|manifest| (manifest, stride as u64)))
}

fn contents<I: Inspector>(pass: &mut Pass<'_, I>, m: &Manifest) -> Result<(), I::Error> {
    let v = &m.version;
    let fact = Fact::new(0, "version").number("epoch", u64::from(v.epoch.raw()));
    let fact = fact.text("flushed", v.flushed).text("durable", v.durable);
    pass.say(&fact.text("next_segment", v.next_segment).text("next_table", v.next_table))?;
    for end in &v.epoch_ends {
        pass.say(&Fact::new(0, "epoch end").text("last", end.last))?;
    }
    for s in &v.segments {
        let fact = Fact::new(0, "segment").text("number", s.number).text("file", s.file);
        pass.say(&match s.end {
            Some(end) => fact.number("ended_at", end.len).text("last", end.last),
            None => fact,
        })?;
    }
    for (tier, table) in v.tables.iter() {
        pass.say(&of_table(tier, table))?;
    }
    Ok(())
}

fn of_table(tier: Tier, t: &TableEntry) -> Fact {
    let fact = Fact::new(0, "table").text("tier", tier.dir()).text("number", t.number).text("file", t.file);
    let fact = fact.number("length", t.len).number("entries", t.entries).number("tombstones", t.tombstones);
    let fact = fact.number("range_tombstones", t.range_tombstones).number("bytes", t.bytes);
    let fact = fact.text("lowest", t.lowest).text("highest", t.highest);
    let fact = fact.priority(Priority::from_raw(t.priority));
    fact.key("from", t.range.lower()).bound("to", t.range.upper())
}
