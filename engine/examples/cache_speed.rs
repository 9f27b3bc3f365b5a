//! What a hit in the block cache costs, and a load that evicts.
//!
//! `cargo run --release -p bulkhead --example cache_speed [PIECES]`. One thread; a hit clones the piece and drops it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark"
)]

use bulkhead::cache::{Cache, Partition, Use};
use bulkhead::codec::mix;
use bulkhead::ids::FileUid;
use bulkhead::table::Loaded;
use bulkhead::table::filter::Filter;
use std::hint::black_box;
use std::time::Instant;

const CALLS: u64 = 1_000_000;

/// The best of seven runs of `call`, in nanoseconds for each.
fn best(mut call: impl FnMut(u64)) -> f64 {
    let times = (0..7).map(|_| {
        let start = Instant::now();
        (0..CALLS).for_each(&mut call);
        start.elapsed().as_nanos() as f64 / CALLS as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    let most: u64 = std::env::args().nth(1).map_or(50_000, |n| n.parse().expect("a number of pieces"));
    let file = FileUid::from_raw(mix(1));
    let piece = || Loaded::Filter(Filter::new(vec![0; 4096].into()).expect("whole groups"));
    for pieces in [100, most] {
        let cache = Cache::new(1 << 40, 1 << 20);
        let partition = cache.partition();
        for n in 0..pieces {
            partition.insert(file, n * 4096, piece(), Use::Point);
        }
        let get = |partition: &Partition, n: u64, by| {
            black_box(partition.get(file, mix(n) % pieces * 4096, by)).expect("all are there");
        };
        let point = best(|n| get(&partition, n, Use::Point));
        let scan = best(|n| get(&partition, n, Use::Scan));
        println!("{pieces} pieces of 4 KiB: a hit {point:.0} ns, of a scan {scan:.0} ns");
    }
    let one = piece();
    for spaces in [1, 1000] {
        let cache = Cache::new(256 << 20, 1 << 20);
        let partitions: Vec<_> = (0..spaces).map(|_| cache.partition()).collect();
        let ns = best(|n| {
            partitions[(mix(n) % spaces) as usize].insert(file, mix(n) >> 1, one.clone(), Use::Point);
        });
        let again = best(|n| {
            partitions[(mix(n) % spaces) as usize].insert(file, mix(n + CALLS) >> 1, one.clone(), Use::Point);
        });
        println!("{spaces} spaces: a load {ns:.0} ns, {again:.0} ns where each evicts");
    }
}
