//! The tables of a space as its readers have them: which there are, and those of them that are open.
use super::home::Home;
use crate::cache::{Partition, Use};
use crate::descriptors::Held;
use crate::env::Env;
use crate::held::{HeldInTable, Holders};
use crate::ids::{FileUid, Lsn, Priority};
use crate::manifest::{TableEntry, Tables, Tier, parse_table_file_name};
use crate::memtable::Value;
use crate::mutants;
use crate::sync::{AtomicBool, AtomicU64, OnceLock, Ordering};
use crate::table::{Extent, Found, Keep, Loaded, Lookup, Need, Slot, Step};
use crate::work::Failure;
use crate::work::table::{OpenTable, open, read_piece, read_value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What an open table keeps in memory: filters and index leaves too, unless they are large. A table of the size that is
/// aimed at by default has 350 KiB of them if its records are of 150 bytes; a read of it then asks the cache once, and
/// else three times.
pub(crate) const KEEP: Keep = Keep::Tail(512 * 1024);

/// How tables are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reads<'a> {
    pub(crate) home: &'a Home,
    pub(crate) cache: &'a Partition,
    pub(crate) by: Use,
    /// Whose clock says when tables are read; what nobody serves from has none.
    pub(crate) env: Option<&'a dyn Env>,
}

impl Reads<'_> {
    /// Wall time as tables are aged with it; see [`minute_ms`].
    pub(crate) fn minute_ms(&self) -> u64 {
        self.env.map_or(0, minute_ms)
    }

    /// A piece of a table, from the cache or from the file.
    pub(crate) async fn fetch(&self, open: &OpenTable, need: Need) -> Result<Loaded, Failure> {
        let (mut file, offset) = (open.table.id().file, need.handle.offset);
        if mutants::on("recreated-space-serves-old-block") {
            let number = open.file.path().file_name().and_then(|name| parse_table_file_name(name.to_str()?));
            file = number.map_or(file, |(number, _)| FileUid::from_raw(number.raw()));
        }
        let loaded = match self.cache.get(file, offset, self.by) {
            // What a scan has left there is not ready for lookups yet.
            Some(loaded) if self.by == Use::Scan || loaded.is_for_lookups() => return Ok(loaded),
            Some(loaded) => loaded,
            None => {
                self.home.note_use();
                read_piece(open, need).await?
            }
        };
        let loaded = if self.by == Use::Point { loaded.for_lookups() } else { loaded };
        self.cache.insert(file, offset, loaded.clone(), self.by);
        Ok(loaded)
    }
}

/// A live table. It is opened when it is first read; one that a later version names too stays open.
#[derive(Debug)]
pub(crate) struct LiveTable {
    pub(crate) entry: TableEntry,
    tier: Tier,
    file: Arc<LiveFile>,
}

/// What stays of a live table while versions come and go, also if less and less of it counts.
#[derive(Debug, Default)]
struct LiveFile {
    opened: OnceCell<Opened>,
    /// When it was last read, as far as this opening knows; 0 is never. Wall time in milliseconds since the Unix epoch.
    accessed_ms: AtomicU64,
    /// What of it was kept for pins alone when it was written in this opening.
    held: OnceLock<Arc<HeldInTable>>,
    /// Range deletes hide all of it from everybody but pins.
    is_hidden: AtomicBool,
}

/// An open table, and what it takes of the budget.
#[derive(Debug)]
struct Opened {
    table: OpenTable,
    _held: Option<Held>,
}

/// What a lookup found in tables.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) tier: Tier,
    pub(crate) lsn: Lsn,
    pub(crate) priority: Priority,
    /// `None` is a delete.
    pub(crate) value: Option<Value>,
    /// When it was found: [`minute_ms`].
    pub(crate) at_ms: u64,
}

/// Wall time to the minute, in milliseconds since the Unix epoch. It goes into manifests, and tells ages of hours and
/// days: what a space writes is not to depend on which millisecond its neighbours leave it.
pub(crate) fn minute_ms(env: &dyn Env) -> u64 {
    (env.wall().as_secs() / 60).saturating_mul(60_000)
}

impl LiveTable {
    /// The table, opened.
    pub(crate) async fn open(&self, home: &Home) -> Result<&OpenTable, Failure> {
        let begin = || async {
            let held = home.for_table().await;
            let dirs = home.dirs().await?;
            let table = open(dirs.tier(self.tier).await?, &self.entry, KEEP).await?;
            Ok::<_, Failure>(Opened { table, _held: held })
        };
        Ok(&self.file.opened.get_or_try_init(begin).await?.table)
    }

    /// The table, if it is open: nothing has to be waited for then.
    fn opened(&self) -> Option<&OpenTable> {
        Some(&self.file.opened.get()?.table)
    }

    /// Notes that it was read.
    pub(crate) fn touch(&self, now_ms: u64) {
        // Most of the time nothing is written, so that readers do not take the line from one another.
        if self.file.accessed_ms.load(Ordering::Relaxed) != now_ms {
            self.file.accessed_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// What was kept in it for pins alone, be they there or gone.
    fn kept(&self) -> impl Iterator<Item = (Holders, u64)> {
        let held = self.file.held.get().map(|held| held.from(self.entry.range.lower()));
        held.into_iter().flatten()
    }

    /// All of it, if range deletes hide it from everybody but pins.
    fn hidden(&self) -> Option<(Holders, u64)> {
        let all = Holders { oldest: self.entry.lowest, newest: self.entry.highest };
        self.file.is_hidden.load(Ordering::Relaxed).then_some((all, self.entry.bytes))
    }

    fn accessed_ms(&self) -> Option<u64> {
        Some(self.file.accessed_ms.load(Ordering::Relaxed)).filter(|&at| at > 0)
    }
}

/// All live tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveTables {
    /// The newest first.
    pub(crate) hot: Vec<Arc<LiveTable>>,
    /// By key, and so the next one.
    pub(crate) warm: Vec<Arc<LiveTable>>,
    pub(crate) cold: Vec<Arc<LiveTable>>,
    /// Held by every version of the tables of one opening.
    versions: Arc<()>,
}

impl LiveTables {
    /// The tables of a version. Those that are in `old` too stay as open as they are.
    pub(crate) fn of(tables: &Tables, old: &LiveTables) -> LiveTables {
        let versions = old.versions.clone();
        let old: BTreeMap<FileUid, &Arc<LiveTable>> = old.iter().map(|t| (t.entry.file, t)).collect();
        let live = |tier, entry: &TableEntry| match old.get(&entry.file) {
            Some(old) if old.entry == *entry && old.tier == tier => Arc::clone(old),
            old => {
                let file = old.filter(|old| old.tier == tier).map(|old| old.file.clone());
                Arc::new(LiveTable { entry: entry.clone(), tier, file: file.unwrap_or_default() })
            }
        };
        let tier = |tier: Tier| tables.tier(tier).iter().map(move |entry| live(tier, entry));
        LiveTables {
            hot: tier(Tier::Hot).rev().collect(),
            warm: tier(Tier::Warm).collect(),
            cold: tier(Tier::Cold).collect(),
            versions,
        }
    }

    /// Whether nobody reads any version of the tables but this one.
    pub(crate) fn is_only_version(&self) -> bool {
        Arc::strong_count(&self.versions) == 1
    }

    /// The same tables, none of them open. Whoever still reads another version than this one may find that a file is gone
    /// that it wants to open: a job keeps what it removes open for readers of the version that it knows.
    pub(crate) fn closed(&self) -> LiveTables {
        let closed = |live: &Arc<LiveTable>| {
            let accessed_ms = AtomicU64::new(live.file.accessed_ms.load(Ordering::Relaxed));
            let is_hidden = AtomicBool::new(live.file.is_hidden.load(Ordering::Relaxed));
            let held = live.file.held.clone();
            let file = Arc::new(LiveFile { opened: OnceCell::new(), accessed_ms, held, is_hidden });
            Arc::new(LiveTable { entry: live.entry.clone(), tier: live.tier, file })
        };
        let all = |run: &[Arc<LiveTable>]| run.iter().map(closed).collect();
        let (hot, warm, cold) = (all(&self.hot), all(&self.warm), all(&self.cold));
        LiveTables { hot, warm, cold, versions: self.versions.clone() }
    }

    /// Whether these are the tables of `tables`.
    pub(crate) fn are(&self, tables: &Tables) -> bool {
        let entries = |live: &[Arc<LiveTable>]| live.iter().map(|t| t.entry.clone()).collect::<Vec<_>>();
        let same = |live: &[Arc<LiveTable>], tier| entries(live) == tables.tier(tier);
        let hot: Vec<_> = self.hot.iter().rev().map(|t| t.entry.clone()).collect();
        hot == tables.hot && same(&self.warm, Tier::Warm) && same(&self.cold, Tier::Cold)
    }

    /// Hands over a table that its writer has open, and what of it is kept for pins alone.
    pub(crate) fn adopt(&self, file: FileUid, table: OpenTable, held: Held, for_pins: HeldInTable) {
        if let Some(live) = self.iter().find(|t| t.entry.file == file) {
            // If a reader was faster, both are the same.
            let _ = live.file.opened.set(Opened { table, _held: Some(held) });
            if !for_pins.is_empty() {
                live.file.held.set(Arc::new(for_pins)).expect("a table is handed over once");
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// When each of them was last read, those that were.
    pub(crate) fn accessed(&self) -> BTreeMap<FileUid, u64> {
        self.iter().filter_map(|t| Some((t.entry.file, t.accessed_ms()?))).collect()
    }

    /// Range tombstones of those that have some and are open.
    pub(crate) fn extents(&self) -> BTreeMap<FileUid, &Extent> {
        let deletes = self.iter().filter(|t| t.entry.range_tombstones > 0);
        deletes.filter_map(|t| Some((t.entry.file, t.opened()?.table.extent()))).collect()
    }

    /// What of them is there for the sake of pins alone, be they there or gone.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Holders, u64)> {
        self.iter().flat_map(|t| {
            let (all, some) = match t.hidden() {
                None => (None, Some(t.kept())),
                all => (all, None),
            };
            all.into_iter().chain(some.into_iter().flatten())
        })
    }

    /// What was kept for pins alone in tables that range deletes do not hide, be they there or gone; by table.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (FileUid, Holders, u64)> {
        let shown = self.iter().filter(|t| t.hidden().is_none());
        shown.flat_map(|t| t.kept().map(|(holders, bytes)| (t.entry.file, holders, bytes)))
    }

    /// Range deletes hide all of the table `file` of `tier`, but for pins.
    pub(crate) fn note_hidden(&self, tier: Tier, file: FileUid) {
        if let Some(live) = self.find_file(tier, file) {
            live.file.is_hidden.store(true, Ordering::Relaxed);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<LiveTable>> {
        self.hot.iter().chain(&self.warm).chain(&self.cold)
    }

    /// The table `file` of `tier`.
    pub(crate) fn find_file(&self, tier: Tier, file: FileUid) -> Option<&Arc<LiveTable>> {
        self.iter().find(|t| t.tier == tier && t.entry.file == file)
    }

    /// Those that may hold `key`, the newest first.
    fn of_key<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<LiveTable>> {
        let in_run = |run: &'a [Arc<LiveTable>]| run.get(run.partition_point(|t| t.entry.range.ends_by(key)));
        let runs = [&self.warm, &self.cold].into_iter().filter_map(move |run| in_run(run));
        self.hot.iter().chain(runs).filter(move |t| t.entry.range.contains(key))
    }

    /// Whether any of them may hold `key`, as far as their ranges tell.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.of_key(key).next().is_some()
    }

    /// The newest version of `key` in tables that a reader at `lsn` sees, `None` for its value if it is a delete.
    pub(crate) async fn find(&self, reads: Reads<'_>, key: &[u8], lsn: Lsn) -> Result<Option<Hit>, Failure> {
        let mut lookup = Lookup::new(key, lsn);
        for live in self.of_key(key) {
            let open = match live.opened() {
                Some(open) => open,
                None => live.open(reads.home).await?,
            };
            let damaged = |damage| open.damaged(damage);
            let mut step = lookup.begin(&open.table).map_err(damaged)?;
            let found = loop {
                match step {
                    Step::Done(found) => break found,
                    Step::Need(need) => {
                        let loaded = reads.fetch(open, need).await?;
                        step = lookup.feed(&open.table, &loaded).map_err(damaged)?;
                    }
                }
            };
            let (lsn, priority, value) = match found {
                Found::Put { lsn, priority, value } => (lsn, priority, Some(value_of(open, value).await?)),
                Found::Delete { lsn } => (lsn, Priority::default(), None),
                Found::Absent => continue,
            };
            let at_ms = reads.minute_ms();
            live.touch(at_ms);
            return Ok(Some(Hit { tier: live.tier, lsn, priority, value, at_ms }));
        }
        Ok(None)
    }
}

/// The value of an entry.
pub(crate) async fn value_of(open: &OpenTable, slot: Slot) -> Result<Value, Failure> {
    Ok(Value::from_bytes(match slot {
        Slot::Inline(bytes) => bytes,
        Slot::Apart(apart) => read_value(open, apart).await?,
    }))
}
