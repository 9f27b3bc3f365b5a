//! What of a file's unsynced changes survives a power cut, or a failed sync: rules C1–C4 of the fault model.
use crate::decide::{Decider, Site, mix};
use crate::image::{Image, SECTOR, SECTORS};
use crate::plan::{FaultKind, Faults};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change that no sync made durable yet.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) seq: u64,
    pub(crate) change: Change,
}

#[derive(Clone)]
pub(crate) enum Change {
    /// The whole sectors that a write touched, as they were after it; the file reaches at least `end`.
    Write { first: u64, sectors: Arc<[u8]>, end: u64, writer: u64 },
    /// The length was set, up or down.
    Len { to: u64 },
    /// Disk space was allocated, and the length raised to at least `to`.
    Allocate { to: u64 },
}

/// Takes the decisions about one file's unsynced changes.
pub(crate) struct Cut<'a> {
    pub(crate) decider: &'a mut Decider,
    pub(crate) faults: &'a Faults,
    /// Whose file it is.
    pub(crate) owner: u64,
    /// Tells this occasion from all others for the same file.
    pub(crate) occasion: u64,
}

impl Cut<'_> {
    fn allowed(&mut self, kind: FaultKind, key: u64) -> bool {
        let rate = self.faults.rate(kind, self.owner);
        self.decider.permits(kind, self.owner, mix(key, self.occasion), rate)
    }

    fn choose(&mut self, site: Site, key: u64, n: usize) -> usize {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.decider.choose(site, self.owner, mix(key, self.occasion), n) as usize
    }
}

/// How a file's writes survive, all of it legal by C1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    None,
    Prefix,
    Page,
    Sector,
}

/// Index 0 is the harmless one. The prefix comes seldom: it hides holes.
const MODES: [Mode; 8] =
    [Mode::All, Mode::None, Mode::Prefix, Mode::Sector, Mode::Sector, Mode::Sector, Mode::Page, Mode::Page];

pub(crate) struct Survivors {
    pub(crate) image: Image,
    /// Sectors of which some version was lost, and how.
    pub(crate) lost: Vec<(u64, FaultKind)>,
}

/// What of `changes` survives on top of `base` (C1–C4).
pub(crate) fn survivors(base: &Image, changes: &[Pending], key: u64, cut: &mut Cut<'_>) -> Survivors {
    if changes.is_empty() {
        return Survivors { image: base.clone(), lost: Vec::new() };
    }
    let lose_tail = cut.allowed(FaultKind::F01LostTail, key);
    let mode = match MODES[cut.choose(Site::CutMode, key, MODES.len())] {
        Mode::None | Mode::Prefix if !lose_tail => Mode::All,
        Mode::Sector | Mode::Page if !cut.allowed(FaultKind::F02Reorder, key) => Mode::All,
        mode => mode,
    };
    let keep_allocated = !cut.allowed(FaultKind::F06AllocatedZeros, key);
    let free_size = (lose_tail || mode != Mode::All) && cut.allowed(FaultKind::F03SizeWithoutData, key);

    let sizes = sizes(base, changes);
    let mut kept_sizes = sizes.len();
    if free_size {
        kept_sizes -= cut.choose(Site::CutSize, key, sizes.len() + 1);
    }
    let mut kept = keep(base, changes, barrier(&sizes, kept_sizes, changes), mode, keep_allocated, key, cut);
    if !free_size {
        // Without F03 the length never outlives the bytes that made it grow.
        let follows = sizes.iter().position(|s| !s.shrinks && !kept.whole(changes, s.change));
        kept_sizes = follows.unwrap_or(sizes.len());
        kept.limit(barrier(&sizes, kept_sizes, changes));
    }
    let len = kept_sizes.checked_sub(1).map_or(base.len(), |last| sizes[last].to);
    apply(base, changes, &sizes[..kept_sizes], &kept, len)
}

/// One of a file's changes of length.
struct Size {
    change: usize,
    to: u64,
    shrinks: bool,
}

/// The lengths that the file had, in order (C2: a prefix of them survives).
fn sizes(base: &Image, changes: &[Pending]) -> Vec<Size> {
    let mut now = base.len();
    let mut sizes = Vec::new();
    for (change, pending) in changes.iter().enumerate() {
        let to = match pending.change {
            Change::Write { end, .. } if end <= now => continue,
            Change::Write { end, .. } => end,
            Change::Len { to } => to,
            Change::Allocate { to } => to.max(now),
        };
        sizes.push(Size { change, to, shrinks: to < now });
        now = to;
    }
    sizes
}

/// C3: no byte written after a truncation that did not survive is on the disk.
fn barrier(sizes: &[Size], kept: usize, changes: &[Pending]) -> usize {
    sizes[kept..].iter().find(|s| s.shrinks).map_or(changes.len(), |s| s.change)
}

/// For each sector, the changes that wrote it, and how many of these survive.
struct Kept(BTreeMap<u64, (Vec<usize>, usize)>);

impl Kept {
    fn has(&self, sector: u64, change: usize) -> bool {
        self.0.get(&sector).is_some_and(|(writes, kept)| writes[..*kept].contains(&change))
    }

    fn whole(&self, changes: &[Pending], change: usize) -> bool {
        match &changes[change].change {
            Change::Write { first, sectors, .. } => {
                (0..sectors.len() / SECTOR).all(|i| self.has(first + i as u64, change))
            }
            _ => true,
        }
    }

    fn limit(&mut self, barrier: usize) {
        for (writes, kept) in self.0.values_mut() {
            *kept = (*kept).min(writes.partition_point(|w| *w < barrier));
        }
    }
}

/// C1: which version of each sector survives.
fn keep(
    base: &Image,
    changes: &[Pending],
    barrier: usize,
    mode: Mode,
    keep_allocated: bool,
    key: u64,
    cut: &mut Cut<'_>,
) -> Kept {
    let mut all: BTreeMap<u64, (Vec<usize>, usize)> = BTreeMap::new();
    let mut writes = Vec::new();
    for (i, pending) in changes.iter().enumerate() {
        if let Change::Write { first, sectors, .. } = &pending.change {
            writes.push(i);
            for sector in *first..first + (sectors.len() / SECTOR) as u64 {
                all.entry(sector).or_default().0.push(i);
            }
        }
    }
    match mode {
        Mode::All => all.values_mut().for_each(|(writes, kept)| *kept = writes.len()),
        Mode::None => {}
        Mode::Prefix => keep_prefix(&mut all, changes, &writes, key, cut),
        Mode::Sector => {
            for (sector, (writes, kept)) in &mut all {
                *kept = writes.len() - cut.choose(Site::CutData, mix(key, *sector), writes.len() + 1);
            }
        }
        Mode::Page => keep_pages(&mut all, key, cut),
    }
    if keep_allocated {
        let within = |sector: u64| sector * (SECTOR as u64) < base.len() && base.sector(sector).is_none();
        let spared = all.iter_mut().filter(|(sector, _)| within(**sector));
        spared.for_each(|(_, (writes, kept))| *kept = writes.len());
    }
    let mut kept = Kept(all);
    kept.limit(barrier);
    kept
}

/// Everything before one point in the order of writes, within one write by sectors from its front.
fn keep_prefix(
    all: &mut BTreeMap<u64, (Vec<usize>, usize)>,
    changes: &[Pending],
    writes: &[usize],
    key: u64,
    cut: &mut Cut<'_>,
) {
    let n = writes.len() - cut.choose(Site::CutPrefix, key, writes.len() + 1);
    let end = writes.get(n).copied().unwrap_or(changes.len());
    let mut torn = 0..0;
    if let Some(Change::Write { first, sectors, .. }) = changes.get(end).map(|p| &p.change) {
        let part = cut.choose(Site::CutPrefix, mix(key, 1), sectors.len() / SECTOR);
        torn = *first..first + part as u64;
    }
    for (sector, (writes, kept)) in all {
        *kept = writes.partition_point(|w| *w < end || (*w == end && torn.contains(sector)));
    }
}

/// All sectors of a 4 KiB page survive up to the same write.
fn keep_pages(all: &mut BTreeMap<u64, (Vec<usize>, usize)>, key: u64, cut: &mut Cut<'_>) {
    let mut pages: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (sector, (writes, _)) in all.iter() {
        pages.entry(sector / SECTORS as u64).or_default().extend(writes);
    }
    let mut ends = BTreeMap::new();
    for (page, writes) in pages {
        let n = writes.len() - cut.choose(Site::CutData, mix(key, page), writes.len() + 1);
        ends.insert(page, writes.iter().nth(n).copied().unwrap_or(usize::MAX));
    }
    for (sector, (writes, kept)) in all {
        let end = ends[&(sector / SECTORS as u64)];
        *kept = writes.partition_point(|w| *w < end);
    }
}

fn apply(base: &Image, changes: &[Pending], sizes: &[Size], kept: &Kept, len: u64) -> Survivors {
    let mut image = base.clone();
    let mut last_kept = 0;
    for (i, pending) in changes.iter().enumerate() {
        let survives = sizes.binary_search_by_key(&i, |s| s.change).is_ok();
        match &pending.change {
            Change::Write { first, sectors, writer, .. } => {
                for (n, bytes) in sectors.chunks_exact(SECTOR).enumerate() {
                    let sector = first + n as u64;
                    if kept.has(sector, i) {
                        image.put_sector(sector, bytes, *writer);
                        if sector * (SECTOR as u64) < len {
                            last_kept = i;
                        }
                    }
                }
            }
            Change::Len { to } if survives => image.settle_len(*to),
            Change::Allocate { to } if survives => image.allocate(*to),
            Change::Len { .. } | Change::Allocate { .. } => {}
        }
    }
    image.settle_len(len);
    let lost = kept.0.iter().filter(|(_, (writes, n))| *n < writes.len()).map(|(sector, (writes, n))| {
        let kind = if writes[*n] < last_kept {
            FaultKind::F02Reorder
        } else if sector * SECTOR as u64 >= base.len() {
            FaultKind::F03SizeWithoutData
        } else if base.sector(*sector).is_none() {
            FaultKind::F06AllocatedZeros
        } else {
            FaultKind::F01LostTail
        };
        (*sector, kind)
    });
    Survivors { lost: lost.collect(), image }
}
