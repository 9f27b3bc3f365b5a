//! Sequences by which puts that were let in once lost their place.
use super::{Bug, Step, run};
use crate::config::{Amount, TierOptions};

#[test]
fn what_was_let_in_keeps_its_place_beside_promotions() {
    // What broke: a promotion copied an entry to where puts in memory, or such as came while it ran, had their place.
    use Step::{Delete, Finish, Flush, Plan, Put, Read, Rest, Sync};
    let small = |hot, warm, cold, job_bytes| {
        let amount = |entries| Amount { entries, bytes: 10_000 };
        TierOptions {
            hot_capacity: amount(hot),
            warm_capacity: amount(warm),
            cold_capacity: amount(cold),
            hot_tables: 1,
            table_bytes: 20,
            job_bytes,
            hot_age_s: 0,
            warm_age_s: 0,
            ..TierOptions::default()
        }
    };
    let in_memory = [
        vec![Put(2), Put(0), Flush, Delete(1), Flush, Plan, Finish, Plan, Finish, Sync, Delete(1), Put(3)],
        vec![Read(2), Plan, Put(4), Finish, Flush, Plan, Put(3), Finish, Plan, Finish, Put(4), Put(1)],
        vec![Put(5), Plan, Flush],
    ];
    let meanwhile = [
        vec![Put(1), Put(6), Put(0), Flush, Rest, Read(6), Put(0), Plan],
        vec![Put(0), Put(0), Put(0), Put(0), Put(0), Put(0)],
    ];
    for (options, steps, bug) in [
        (small(2, 2, 4, 60), in_memory.concat(), Bug::PromotionOverMemory),
        (small(3, 3, 3, 16), meanwhile.concat(), Bug::PromotionUncharged),
    ] {
        run(options.clone(), &steps, Bug::None);
        let noticed = std::panic::catch_unwind(|| run(options, &steps, bug));
        assert!(noticed.is_err(), "{bug:?} was not noticed");
    }
}
