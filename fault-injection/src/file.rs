//! One file: what is on the disk, what is in the page cache, and the changes between the two.
//!
//! Rule C7 of the fault model lives here, and C1–C4 in `survive`. Invariant: `durable` with every pending change applied in order
//! is `cached`, unless a sync failed since (F09 drops changes that the cache still shows).
use crate::image::{Image, LOST, SECTOR};
use crate::plan::FaultKind;
use crate::survive::{Change, Cut, Pending, Survivors, survivors};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A file that has, or had, a name.
#[derive(Clone)]
pub(crate) struct FileNode {
    /// Names the file in decisions: the same whatever other owners do.
    pub(crate) key: u64,
    /// Who created it.
    pub(crate) owner: u64,
    /// What reads return (V).
    pub(crate) cached: Image,
    /// What a power cut leaves at least (D).
    pub(crate) durable: Image,
    pending: Vec<Pending>,
    next_seq: u64,
    /// Held by every open handle and every operation under way.
    pub(crate) token: Arc<()>,
    /// Sectors that cannot be read until they are written again (F16).
    pub(crate) dead: BTreeSet<u64>,
    /// Lost or damaged sectors that nobody has looked at yet.
    pub(crate) marks: BTreeMap<u64, FaultKind>,
    /// The length was lost, and nobody has looked at it yet.
    pub(crate) len_mark: Option<FaultKind>,
}

impl FileNode {
    pub(crate) fn new(key: u64, owner: u64) -> FileNode {
        FileNode {
            key,
            owner,
            cached: Image::default(),
            durable: Image::default(),
            pending: Vec::new(),
            next_seq: 0,
            token: Arc::new(()),
            dead: BTreeSet::new(),
            marks: BTreeMap::new(),
            len_mark: None,
        }
    }

    /// A file whose content is durable.
    pub(crate) fn with_content(key: u64, owner: u64, bytes: &[u8]) -> FileNode {
        let mut file = FileNode::new(key, owner);
        file.cached.write(0, bytes, owner);
        file.durable = file.cached.clone();
        file
    }

    pub(crate) fn is_open(&self) -> bool {
        Arc::strong_count(&self.token) > 1
    }

    /// A change answered from now on has this number or a higher one.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8], writer: u64) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        self.cached.write(offset, data, writer);
        let first = offset / SECTOR as u64;
        let last = end.div_ceil(SECTOR as u64);
        let mut sectors = Vec::with_capacity((last - first) as usize * SECTOR);
        for sector in first..last {
            let written = self.cached.sector(sector).expect("just written");
            sectors.extend_from_slice(written.bytes);
            self.dead.remove(&sector);
            self.marks.remove(&sector);
        }
        self.push(Change::Write { first, sectors: sectors.into(), end, writer });
    }

    pub(crate) fn truncate(&mut self, to: u64) {
        self.cached.set_len(to);
        self.push(Change::Len { to });
    }

    pub(crate) fn allocate(&mut self, to: u64) {
        self.cached.allocate(to);
        if to > self.cached.len() {
            self.cached.set_len(to);
        }
        self.push(Change::Allocate { to });
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { seq: self.next_seq, change });
        self.next_seq += 1;
    }

    fn covered(&self, upto: u64) -> usize {
        self.pending.partition_point(|p| p.seq < upto)
    }

    /// C7: the changes below `upto` are durable.
    pub(crate) fn sync(&mut self, upto: u64) {
        let covered = self.covered(upto);
        for pending in self.pending.drain(..covered) {
            match pending.change {
                Change::Write { first, sectors, end, writer } => {
                    for (i, bytes) in sectors.chunks_exact(SECTOR).enumerate() {
                        self.durable.put_sector(first + i as u64, bytes, writer);
                    }
                    self.durable.settle_len(end.max(self.durable.len()));
                }
                Change::Len { to } => self.durable.settle_len(to),
                Change::Allocate { to } => {
                    self.durable.allocate(to);
                    self.durable.settle_len(to.max(self.durable.len()));
                }
            }
        }
    }

    /// F09: the changes below `upto` are marked clean; some of them reached the disk, and reads go on as before.
    pub(crate) fn sync_failed(&mut self, upto: u64, cut: &mut Cut<'_>) {
        let covered = self.covered(upto);
        self.durable = survivors(&self.durable, &self.pending[..covered], self.key, cut).image;
        self.pending.drain(..covered);
    }

    /// F10: as F09, and reads return what is on the disk.
    pub(crate) fn sync_failed_reverting(&mut self, upto: u64, cut: &mut Cut<'_>) {
        self.sync_failed(upto, cut);
        let rest = std::mem::take(&mut self.pending);
        self.cached = self.durable.clone();
        for pending in rest {
            match &pending.change {
                Change::Write { first, sectors, end, writer } => {
                    let from = first * SECTOR as u64;
                    let bytes = &sectors[..((end - from) as usize).min(sectors.len())];
                    self.cached.write(from, bytes, *writer);
                }
                Change::Len { to } => self.cached.set_len(*to),
                Change::Allocate { to } => {
                    self.cached.allocate(*to);
                    self.cached.set_len((*to).max(self.cached.len()));
                }
            }
            self.pending.push(pending);
        }
    }

    /// Power is cut: what the disk holds afterwards is all there is. Returns what was lost, for the tallies.
    pub(crate) fn power_cut(&mut self, cut: &mut Cut<'_>) -> Vec<FaultKind> {
        let Survivors { mut image, lost } = survivors(&self.durable, &self.pending, self.key, cut);
        let mut kinds = Vec::new();
        for (sector, kind) in lost {
            let visible = sector * (SECTOR as u64) < image.len();
            if visible && !image.same_sector(&self.cached, sector) {
                if image.sector(sector).is_none() {
                    image.put_sector(sector, &[0; SECTOR], LOST);
                }
                self.marks.insert(sector, kind);
                kinds.push(kind);
            }
        }
        if image.len() != self.cached.len() {
            self.len_mark = Some(FaultKind::F01LostTail);
            kinds.push(FaultKind::F01LostTail);
        }
        self.durable = image;
        self.cached = self.durable.clone();
        self.pending.clear();
        self.token = Arc::new(());
        kinds
    }

    /// Whether any change waits for a sync.
    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }
}
