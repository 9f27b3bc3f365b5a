//! Tables: footer, extent, root, and for every leaf its filter and its blocks.
//!
//! Each piece verifies by itself and by what refers to it, so one that is damaged hides only what it alone refers to.
use super::{Detail, Fact, Inspector, Pass};
use crate::ids::Lsn;
use crate::table::block::{Block, RawBody, RawEntry};
use crate::table::entry::version_order;
use crate::table::filter::{Filter, KeyHash};
use crate::table::footer::{FOOTER, MAGIC};
use crate::table::index::{Index, Level};
use crate::table::piece::{Malformed, verify};
use crate::table::{Extent, Footer, Handle, PieceKind, TableId};
use bytes::Bytes;

pub(super) fn recognise<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<bool, I::Error> {
    let footer = footer_bytes(pass)?;
    Ok(footer.starts_with(&MAGIC) || Footer::claimed(&footer, pass.len).is_some())
}

fn footer_bytes<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<Bytes, I::Error> {
    match pass.len.checked_sub(FOOTER as u64) {
        Some(offset) => pass.bytes(offset, FOOTER),
        None => Ok(Bytes::new()),
    }
}

/// What was counted on the way.
#[derive(Default)]
struct Seen {
    entries: u64,
    tombstones: u64,
    /// Every block could be read: then the counts must be the footer's.
    all: bool,
    /// Key and LSN of the entry in front.
    last: Option<(Vec<u8>, Lsn)>,
}

pub(super) fn table<I: Inspector>(pass: &mut Pass<'_, I>, detail: Detail) -> Result<(), I::Error> {
    let bytes = footer_bytes(pass)?;
    let at = pass.len.saturating_sub(FOOTER as u64);
    let Some((id, footer)) = Footer::claimed(&bytes, pass.len) else {
        return pass.damage(at, "the footer", "fields of a footer that fit together");
    };
    match Footer::verify(&bytes, id, pass.len, None) {
        Ok(footer) => pass.say(&of_footer(at, id, &footer))?,
        Err(why) => pass.damage(at, "the footer", why.0)?,
    }
    if let Some(extent) = read(pass, id, PieceKind::Extent, footer.extent, |bytes| Extent::decode(&bytes))? {
        let bounds = extent.bounds();
        let fact = Fact::new(footer.extent.offset, "extent");
        let fact = fact.bound("first", bounds.map(|(first, _)| &first[..]));
        let fact = fact.bound("last", bounds.map(|(_, last)| &last[..]));
        pass.say(&fact.number("range_tombstones", extent.tombstones().len() as u64))?;
        for t in extent.tombstones() {
            let fact = Fact::new(footer.extent.offset, "range tombstone").text("lsn", t.lsn);
            pass.say(&fact.key("from", &t.start).bound("to", t.end.as_deref()))?;
        }
    }
    let Some(handle) = footer.root else { return Ok(()) };
    let index = |bytes| Index::new(bytes, Level::Root);
    let Some(root) = read(pass, id, PieceKind::Root, handle, index)? else { return Ok(()) };
    pass.say(&Fact::new(handle.offset, "index root").number("leaves", root.count() as u64))?;
    let mut seen = Seen { all: true, ..Seen::default() };
    for i in 0..root.count() {
        leaf(pass, id, (root.filter(i), root.child(i)), detail, &mut seen)?;
    }
    let counts = (footer.counts.entries, footer.counts.tombstones);
    if seen.all && counts != (seen.entries, seen.tombstones) {
        pass.damage(at, "the footer", "counts of entries and tombstones as the blocks hold them")?;
    }
    Ok(())
}

fn of_footer(at: u64, id: TableId, footer: &Footer) -> Fact {
    let counts = &footer.counts;
    let fact = Fact::new(at, "table").text("file", id.file).text("origin", id.origin);
    let fact = fact.number("entries", counts.entries).number("tombstones", counts.tombstones);
    let fact = fact.number("range_tombstones", counts.ranges).number("key_bytes", counts.key_bytes);
    let fact = fact.number("value_bytes", counts.value_bytes).text("lowest", footer.lowest);
    let fact = fact.text("highest", footer.highest).priority(counts.priority).number("tail_at", footer.tail);
    fact.text("compression", format!("{:?}", footer.compression).to_lowercase())
}

/// The piece `handle`, made something of by `make`; damage is told, and is `None`.
fn read<I: Inspector, T>(
    pass: &mut Pass<'_, I>,
    id: TableId,
    kind: PieceKind,
    handle: Handle,
    make: impl FnOnce(Bytes) -> Result<T, Malformed>,
) -> Result<Option<T>, I::Error> {
    let part = kind.to_string();
    if handle.len as usize > kind.contents_max() + crate::limits::PAGE {
        pass.damage(handle.offset, &part, "a piece within the bound of its kind")?;
        return Ok(None);
    }
    let bytes = pass.bytes(handle.offset, handle.len as usize)?;
    match verify(&bytes, id, kind, handle).and_then(|contents| make(contents.plain)) {
        Ok(made) => Ok(Some(made)),
        Err(why) => {
            pass.damage(handle.offset, &part, why.0)?;
            Ok(None)
        }
    }
}

fn leaf<I: Inspector>(
    pass: &mut Pass<'_, I>,
    id: TableId,
    (filter_at, leaf_at): (Handle, Handle),
    detail: Detail,
    seen: &mut Seen,
) -> Result<(), I::Error> {
    let filter = read(pass, id, PieceKind::Filter, filter_at, Filter::new)?;
    if let Some(filter) = &filter {
        pass.say(&Fact::new(filter_at.offset, "filter").number("bytes", filter.memory() as u64))?;
    }
    let index = |bytes| Index::new(bytes, Level::Leaf);
    let Some(leaf) = read(pass, id, PieceKind::Leaf, leaf_at, index)? else {
        (seen.all, seen.last) = (false, None);
        return Ok(());
    };
    pass.say(&Fact::new(leaf_at.offset, "index leaf").number("blocks", leaf.count() as u64))?;
    let mut held = true;
    for i in 0..leaf.count() {
        let handle = leaf.child(i);
        match read(pass, id, PieceKind::Block, handle, Block::new)? {
            Some(found) => {
                held &= block(pass, id, (&found, handle), (filter.as_ref(), detail), seen)?;
            }
            None => (seen.all, seen.last) = (false, None),
        }
    }
    if !held {
        pass.damage(filter_at.offset, "filter", "a filter that holds all keys of its blocks")?;
    }
    Ok(())
}

/// Tells of one block; whether the filter holds all of its keys.
fn block<I: Inspector>(
    pass: &mut Pass<'_, I>,
    id: TableId,
    (block, handle): (&Block, Handle),
    (filter, detail): (Option<&Filter>, Detail),
    seen: &mut Seen,
) -> Result<bool, I::Error> {
    let (mut at, mut before, mut key, mut held) = (block.first(), None, Vec::new(), true);
    let (mut entries, mut tombstones, mut apart) = (0, 0, 0);
    let mut first = Bytes::new();
    while at < block.end() {
        let entry = match block.follow(at, &mut key, before) {
            Ok(entry) => entry,
            Err(why) => {
                seen.all = false;
                pass.damage(handle.offset, "block", why.0)?;
                break;
            }
        };
        if entries == 0 {
            first = Bytes::copy_from_slice(&key);
            let behind = |(k, lsn): &(Vec<u8>, Lsn)| version_order((k, *lsn), (&key, entry.lsn)).is_lt();
            if !seen.last.as_ref().is_none_or(behind) {
                pass.damage(handle.offset, "block", "entries behind those of the block in front")?;
            }
        }
        entries += 1;
        tombstones += u64::from(entry.body == RawBody::Delete);
        held &= filter.is_none_or(|filter| filter.may_hold(KeyHash::of(&key)));
        if detail == Detail::Entries {
            pass.say(&of_entry(handle.offset, &key, &entry))?;
        }
        if let RawBody::Apart(value) = entry.body {
            apart += 1;
            let whole = |bytes: Bytes| match bytes.len() == value.len as usize {
                true => Ok(()),
                false => Err(Malformed("a value as long as its entry says")),
            };
            read(pass, id, PieceKind::Value, value.handle, whole)?;
        }
        (at, before) = (entry.next, Some(entry.lsn));
    }
    (seen.entries, seen.tombstones) = (seen.entries + entries, seen.tombstones + tombstones);
    let fact = Fact::new(handle.offset, "block").number("length", u64::from(handle.len));
    let fact = fact.number("contents", block.memory() as u64).number("entries", entries);
    let fact = fact.number("tombstones", tombstones).number("values_apart", apart);
    pass.say(&fact.key("first", &first).key("last", &key))?;
    seen.last = before.map(|lsn| (key, lsn));
    Ok(held)
}

fn of_entry(offset: u64, key: &[u8], entry: &RawEntry) -> Fact {
    let put = |len: u64| {
        Fact::new(offset, "put")
            .text("lsn", entry.lsn)
            .key("key", key)
            .number("value_length", len)
            .priority(entry.priority)
    };
    match &entry.body {
        RawBody::Delete => Fact::new(offset, "delete").text("lsn", entry.lsn).key("key", key),
        RawBody::Inline(range) => put(range.len() as u64),
        RawBody::Apart(apart) => put(u64::from(apart.len)).number("value_at", apart.handle.offset),
    }
}
