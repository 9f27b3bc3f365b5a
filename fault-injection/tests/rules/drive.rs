//! Drives a world by hand: submit, then step until it answers.
use bulkhead::env::{Access, Dir, File, Io, IoError, IoResult, Missing, Owner};
use bulkhead_fault_injection::{DiskOptions, FaultPlan, SimFs, Step, Tally, View, World};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub(crate) const SEEDS: u64 = 300;
pub(crate) const A: Owner = Owner(0xA);
pub(crate) const B: Owner = Owner(0xB);

pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) fs: SimFs,
    /// `/data`, used by [`A`].
    pub(crate) dir: Arc<dyn Dir>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Rig {
        Rig::with(seed, &DiskOptions::default())
    }

    pub(crate) fn faulty(seed: u64, faults: FaultPlan) -> Rig {
        Rig::with(seed, &DiskOptions { faults, ..DiskOptions::default() })
    }

    pub(crate) fn with(seed: u64, options: &DiskOptions) -> Rig {
        Rig::over(World::new(seed, options))
    }

    pub(crate) fn over(world: World) -> Rig {
        let fs = world.boot();
        let root = wait(&world, fs.open_root(Path::new("/data"), Missing::Create)).unwrap();
        Rig { dir: root.as_owner(A), world, fs }
    }

    pub(crate) fn ok<T: Unpin>(&self, io: Io<T>) -> T {
        wait(&self.world, io).unwrap()
    }

    pub(crate) fn err<T: Unpin + std::fmt::Debug>(&self, io: Io<T>) -> IoError {
        wait(&self.world, io).unwrap_err()
    }

    /// A new file whose content and name are durable.
    pub(crate) fn synced(&self, name: &str, content: &[u8]) -> Arc<dyn File> {
        let file = self.ok(self.dir.create(name));
        self.ok(file.write_at(0, content.to_vec()));
        self.ok(file.sync());
        self.ok(self.dir.sync());
        file
    }

    pub(crate) fn power_cut(self) -> Rig {
        self.world.power_cut();
        Rig::over(self.world)
    }

    pub(crate) fn process_kill(self) -> Rig {
        self.world.process_kill();
        Rig::over(self.world)
    }

    pub(crate) fn open(&self, name: &str) -> Arc<dyn File> {
        self.ok(self.dir.open(name, Access::ReadRaw))
    }

    /// All bytes of a file, read as the engine reads them.
    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let file = self.open(name);
        let len = usize::try_from(self.ok(file.len())).unwrap();
        let read = self.ok(file.read_at(0, vec![1; len + 1]));
        assert_eq!(read.len(), len);
        assert_eq!(Some(&read), self.world.read_file(&format!("/data/{name}"), View::Seen).as_ref());
        read
    }

    /// Sorted names, joined by commas.
    pub(crate) fn names(&self) -> String {
        let mut names: Vec<String> =
            self.ok(self.dir.list()).into_iter().map(|e| e.name.into_string().unwrap()).collect();
        names.sort();
        names.join(",")
    }

    pub(crate) fn tally(&self, kind: bulkhead_fault_injection::FaultKind) -> Tally {
        self.world.tallies()[&kind]
    }
}

/// Steps the world until `io` is answered.
pub(crate) fn wait<T: Unpin>(world: &World, mut io: Io<T>) -> IoResult<T> {
    loop {
        match io.try_take() {
            Ok(result) => return result,
            Err(unanswered) => io = unanswered,
        }
        assert!(matches!(world.step(), Step::Released(_)), "what was asked is answered");
    }
}

/// The outcomes over many seeds.
pub(crate) fn outcomes<T: Ord>(outcome: impl Fn(u64) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(outcome).collect()
}

pub(crate) fn set<const N: usize>(expected: [&str; N]) -> BTreeSet<String> {
    expected.into_iter().map(str::to_owned).collect()
}
