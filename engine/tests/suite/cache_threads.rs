//! The block cache with several threads in it at once.

use bulkhead::cache::{Cache, Use};
use bulkhead::codec::mix;
use bulkhead::ids::FileUid;
use bulkhead::table::Loaded;
use bulkhead::table::filter::Filter;

#[test]
fn sums_stay_exact_under_threads() {
    const THREADS: u64 = 4;
    let cache = Cache::new(1 << 20, 64 << 10);
    let spaces: Vec<_> = (0..3).map(|_| cache.partition()).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, spaces) = (&cache, &spaces);
            scope.spawn(move || {
                for n in 0..20_000 {
                    let drawn = mix(n * THREADS + thread);
                    let (space, file, offset) =
                        (&spaces[(drawn % 3) as usize], FileUid::from_raw(drawn >> 8 & 3), drawn >> 16 & 255);
                    let by = if drawn >> 32 & 1 == 0 { Use::Point } else { Use::Scan };
                    if drawn >> 40 & 1023 == 0 {
                        space.forget(file);
                    } else if space.get(file, offset, by).is_none() {
                        let bytes = vec![0; 64 * (1 + (drawn >> 48 & 127) as usize)];
                        space.insert(file, offset, Loaded::Filter(Filter::new(bytes.into()).unwrap()), by);
                    }
                    assert!(cache.used() <= cache.budget() + THREADS * (16 << 10));
                }
            });
        }
    });
    assert_eq!(cache.used(), spaces.iter().map(|s| s.usage().bytes).sum::<u64>());
    assert!(cache.used() <= cache.budget() && cache.used() > cache.budget() / 2);
    drop(spaces);
    assert_eq!(cache.used(), 0);
}
