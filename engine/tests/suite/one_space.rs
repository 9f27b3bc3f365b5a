//! One space on real files, as several tests open it, fill it and look at it.
use bulkhead::env::os::OsEnv;
use bulkhead::{Amount, Direction, Durability, Engine, Options, Snapshot, Space, SpaceId, TierOptions};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// What it is to hold.
pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Opens it, in the directory `s`, with small segments.
pub async fn open(root: &Path, durability: Durability, tiers: TierOptions) -> (Engine, Space) {
    let options = Options { durability, segment_max: 64 * 1024, tiers, ..Options::default() };
    let engine = Engine::open(OsEnv::current(), root, options).await.unwrap();
    let space = engine.get_or_create_space(&SpaceId::new("s").unwrap()).await.unwrap();
    (engine, space)
}

/// So many entries, of whatever size.
pub fn entries(entries: u64) -> Amount {
    Amount { entries, bytes: 1 << 30 }
}

/// How many files it has in the directory `dir`.
pub fn files(root: &Path, dir: &str) -> usize {
    std::fs::read_dir(root.join("s").join(dir)).unwrap().count()
}

/// Numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    /// Below `n`.
    pub fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A scan of `range`, either way, shows what `model` holds there.
pub async fn scans_agree(snapshot: &Snapshot, model: &Model, range: RangeInclusive<Vec<u8>>) {
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut scan = snapshot.scan(range.clone(), direction);
        let mut found = Vec::new();
        while let Some((key, value)) = scan.next().await.unwrap() {
            found.push((Vec::from(key), Vec::from(value)));
        }
        let mut expected: Vec<_> = model.range(range.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
        if direction == Direction::Descending {
            expected.reverse();
        }
        assert!(found == expected, "{direction:?} {range:?}: {} of {}", found.len(), expected.len());
    }
}
