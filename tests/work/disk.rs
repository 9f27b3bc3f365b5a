//! A simulated disk with one directory for each tier, and an executor of a few lines.
use bulkhead::env::{Dir, Missing, Owner};
use bulkhead::ids::{FileUid, SpaceUid, TableNo};
use bulkhead::manifest::Tier;
use bulkhead::table::TableId;
use bulkhead::work::NewTable;
use bulkhead_fault_injection::{DiskOptions, Step, World};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

pub const ORIGIN: SpaceUid = SpaceUid([7; 16]);

/// Whether the future asked to be polled again.
#[derive(Default)]
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls `future` to its end; where nothing but the disk can help, the disk goes one step.
pub fn run<T>(world: &World, future: impl Future<Output = T>) -> T {
    let again = Arc::new(Again::default());
    let waker = Waker::from(again.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let yielded = again.0.swap(false, Ordering::Relaxed);
        let stepped = world.step() != Step::Idle;
        assert!(yielded || stepped, "somebody waits, so something must be under way");
    }
}

/// The directories of the tiers, made and durable.
#[derive(Debug)]
pub struct Disk {
    pub world: World,
    pub dirs: [Arc<dyn Dir>; 3],
}

impl Disk {
    pub fn new(seed: u64) -> Disk {
        let world = World::new(seed, &DiskOptions::default());
        let fs = world.boot();
        let dirs = run(&world, async {
            let root = fs.open_root(Path::new("/mnt/data"), Missing::Create).await.unwrap();
            let root = root.as_owner(Owner(1));
            for tier in Tier::ALL {
                root.make_dir(tier.dir()).await.unwrap();
            }
            root.sync().await.unwrap();
            let mut dirs = Vec::new();
            for tier in Tier::ALL {
                dirs.push(root.open_dir(tier.dir()).await.unwrap());
            }
            dirs
        });
        Disk { world, dirs: dirs.try_into().unwrap() }
    }

    pub fn dir(&self, tier: Tier) -> &Arc<dyn Dir> {
        &self.dirs[tier as usize]
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(&self.world, future)
    }

    /// What lies in the directory of `tier`.
    pub fn names(&self, tier: Tier) -> Vec<String> {
        let mut names: Vec<_> = self.run(async { self.dir(tier).list().await.unwrap() });
        names.sort();
        names.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }
}

pub fn new_table(n: u64) -> NewTable {
    let id = TableId { origin: ORIGIN, file: FileUid::from_raw(1000 + n) };
    NewTable { number: TableNo::from_raw(n), id }
}
