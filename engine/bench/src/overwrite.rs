//! 1,000,000 keys overwritten ten times with random values: what it takes on the disk, and what was written for it.
use crate::args::Args;
use crate::beside::Kind;
use crate::meter::{cost, drained, written};
use crate::raw::allocated;
use crate::records::{KEY, VALUE};
use crate::report::{Report, Target};
use std::path::Path;

const KEYS: usize = 1_000_000;
/// Times that every key is written after the first.
const TIMES: u64 = 10;
/// Writes of a commit.
const BATCH: usize = 100;

pub fn run(args: &Args, dir: &Path, report: &mut Report) {
    let keys = args.scaled(KEYS) as u64;
    report.title(&format!(
        "{keys} keys, each overwritten {TIMES} times, then at rest; nothing compacted by hand"
    ));
    // redb never gives room back by itself, and has nothing to merge.
    for kind in [Kind::Bulkhead, Kind::Fjall] {
        let home = dir.join(kind.name());
        let store = kind.open(&home);
        let before = written();
        let took = cost(|| {
            for time in 0..=TIMES {
                // Another order each time, of all keys: the stride has no factor in common with their number.
                let order = (0..keys).map(|n| (n * 7919 + time * 104_729) % keys);
                store.put_batches(&mut order.map(|k| (k, k + time * keys)), BATCH);
            }
            store.settle();
        });
        let after = cost(|| drained(&home));
        let user = (keys * (TIMES + 1)) as f64 * (KEY + VALUE) as f64;
        let wrote = (written() - before) as f64 / user;
        let room = allocated(&home) as f64 / (keys as f64 * (KEY + VALUE) as f64);
        let name = kind.name();
        println!(
            "  {name}: written in {:.1} s, at rest {:.1} s later",
            took.wall.as_secs_f64(),
            after.wall.as_secs_f64()
        );
        for part in ["wal", "hot", "warm", "cold"].map(|part| home.join("space-0").join(part)) {
            if kind == Kind::Bulkhead {
                println!("    {}: {} MiB", part.display(), allocated(&part) >> 20);
            }
        }
        report.told(&format!("overwrite.write_amp.{name}"), wrote);
        match kind {
            Kind::Bulkhead => report.verdict("overwrite.space_amp.bulkhead", room, Target::AtMost(1.25)),
            _ => report.told(&format!("overwrite.space_amp.{name}"), room),
        }
        for n in 0..keys {
            assert!(store.holds(n, n + TIMES * keys), "{name} lost the last value of record {n}");
        }
        assert_eq!(store.scan(), keys, "every record is there");
        store.close();
    }
}
