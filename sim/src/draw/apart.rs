//! Draws that came later: each from a stream of its own, so that the rest of a run does not depend on it.
use super::Draw;
use crate::plan::{Op, Run, Step};
use bulkhead::TierOptions;
use bulkhead_fault_injection::decide::mix;
use bulkhead_fault_injection::{FaultKind, FaultRule};

/// What is drawn apart before spaces are shut down and names come into doubt.
pub(super) fn all(run: &mut Run) {
    resting(run);
    braked(run);
    flushing(run);
    sharing(run);
}

/// In one run of six work in the background is held back. Drawn apart, as deletions are.
fn braked(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xB2A4));
    if d.chance(1, 6) {
        run.options.background_bytes_per_s = d.pick(&[1 << 20, 64 << 20]);
    }
}

/// In one run of four few bytes are written before they are synced. Drawn apart, as deletions are.
fn flushing(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xF1B5));
    if d.chance(1, 4) {
        run.options.flush_bytes = d.pick(&[4096, 16 * 1024, 64 * 1024]);
    }
}

/// In one run of four spaces have little to share: places for their jobs, memory beyond what each is guaranteed, log. Drawn
/// apart, as deletions are.
fn sharing(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x5B06));
    if d.chance(1, 4) {
        run.options.background_jobs = d.pick(&[1, 1, 2]);
        run.options.memory_share_bytes = d.pick(&[0, 2048, 16 * 1024, 256 * 1024]);
        run.options.log_budget = d.pick(&[64 * 1024, 256 * 1024, 4 << 30]);
    }
}

/// In one run of three spaces come to rest as soon as they may, or descriptors are short. Drawn apart, as deletions are.
fn resting(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x2E57));
    if !d.chance(1, 3) {
        return;
    }
    run.options.idle_close_ms = d.pick(&[1, 3, 20]);
    run.options.max_descriptors = d.pick(&[16, 24, 40, 512]);
    if d.chance(1, 3) {
        // Readers on a slow disk, under whom others come and go.
        run.faults = run.faults.clone().with(FaultKind::F23Stall, FaultRule::rate(200_000));
    }
    if d.chance(1, 2) {
        run.options.idle_seal_ms = d.pick(&[2, 5]);
    }
}

/// In one run of six snapshots and scans may hold back few bytes, and there are more of them. In most of these tiers have
/// room, and spaces are merged often. Drawn apart, as deletions are.
pub(super) fn holding(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x8E1D));
    if !d.chance(1, 6) {
        return;
    }
    let (bytes, alone, roomy) = (d.pick(&[1, 60, 200, 600, 2000, 6000]), d.chance(2, 3), d.chance(2, 3));
    let generous = TierOptions::default();
    let of_all = std::iter::once(&mut run.options.tiers);
    for tiers in of_all.chain(run.options.spaces.values_mut()) {
        tiers.snapshot_bytes = bytes;
        if alone {
            (tiers.snapshot_age_ms, tiers.max_snapshots) = (generous.snapshot_age_ms, generous.max_snapshots);
        }
        if roomy {
            tiers.hot_capacity = generous.hot_capacity;
            (tiers.warm_capacity, tiers.cold_capacity) = (generous.warm_capacity, generous.cold_capacity);
        }
    }
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        match op {
            Op::Get { .. } | Op::MultiGet { .. } if d.chance(1, 3) => {
                *op = if d.chance(1, 4) { Op::DurableSnapshot } else { Op::Snapshot };
            }
            Op::Flush { .. } | Op::ScanPrefix { .. } | Op::Compare | Op::Outcome
                if roomy && d.chance(1, 2) =>
            {
                *op = Op::Compact;
            }
            Op::Outcome | Op::Await { .. } if d.chance(1, 3) => *op = Op::Compare,
            Op::DeleteRange { from, wait, .. } if roomy => *op = Op::Delete { key: *from, wait: *wait },
            Op::Clear { .. } if roomy => *op = Op::Compact,
            _ => {}
        }
    }
}

/// In one run of eight the disk fills up and is emptied again, whatever clients do meanwhile, and some of their puts are
/// deletes. Drawn apart, as deletions are.
pub(super) fn filling(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0xF0_11D5));
    if !d.chance(1, 8) {
        return;
    }
    run.reserve_bytes = d.pick(&[64 * 1024, 256 * 1024, 1 << 20]);
    let mut steps = Vec::new();
    for mut step in std::mem::take(&mut run.steps) {
        let begins = matches!(step, Step::Boot(_));
        if let Step::Client { op, .. } = &mut step
            && let Op::Put { key, wait, .. } = *op
            && d.chance(1, 3)
        {
            *op = if d.chance(1, 4) {
                Op::DeleteRange { from: key, to: key + 7, wait }
            } else {
                Op::Delete { key, wait }
            };
        }
        steps.push(step);
        if !begins {
            continue;
        }
        let mut after_us = if d.chance(1, 4) { 0 } else { d.scaled(60_000) };
        for _ in 0..d.within(1, 3) {
            let room = d.pick(&[0, 0, 4096, 50_000, 200_000]);
            steps.push(Step::Disk { after_us, room: Some(room) });
            steps.push(Step::Disk { after_us: d.scaled(100_000), room: None });
            after_us = d.scaled(100_000);
        }
    }
    run.steps = steps;
}

/// In one run of six, a few spaces share a cache that does not hold all of their blocks: these stay small, values fill them,
/// and all of them are read. Drawn apart, as deletions are.
pub(super) fn caching(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x5A4E));
    if !d.chance(1, 6) || !(2..=4).contains(&run.spaces.len()) {
        return;
    }
    run.options.cache_bytes = 1024 * d.pick(&[16, 20, 24]);
    let of_all = std::iter::once(&mut run.options.tiers);
    for tiers in of_all.chain(run.options.spaces.values_mut()) {
        (tiers.memtable_bytes, tiers.hot_tables) = (1500, 8);
        (tiers.hot_capacity, tiers.quota_bytes) = (TierOptions::default().hot_capacity, 0);
        tiers.warm_capacity = TierOptions::default().warm_capacity;
        tiers.cold_capacity = TierOptions::default().cold_capacity;
    }
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        let len = d.within(300, 900) as u32;
        match op {
            Op::Put { len: of, .. } => *of = len,
            Op::Batch { items, .. } => items.iter_mut().for_each(|item| item.len = item.len.map(|_| len)),
            Op::Delete { key, .. } | Op::DeleteRange { from: key, .. } => *op = Op::Get { key: *key },
            Op::Outcome | Op::CreateAgain | Op::Await { .. } | Op::Clear { .. } | Op::ScanPrefix { .. } => {
                *op = Op::Scan { from: 0, to: 4, backwards: d.chance(1, 2) };
            }
            Op::Pause { ms } => *ms = (*ms).min(10),
            _ => {}
        }
    }
}

/// In one run of three, most puts have a priority. Drawn apart, as deletions are.
pub(super) fn weighing(run: &mut Run) {
    let mut d = Draw::new(mix(run.seed, 0x9210));
    if !d.chance(1, 3) {
        return;
    }
    let all = [0, 0, 1, -1, 100, i32::MAX, i32::MIN];
    for step in &mut run.steps {
        let Step::Client { op, .. } = step else { continue };
        match op {
            Op::Put { priority, .. } => *priority = d.pick(&all),
            Op::Batch { items, .. } => {
                items
                    .iter_mut()
                    .filter(|item| item.len.is_some())
                    .for_each(|item| item.priority = d.pick(&all));
            }
            _ => {}
        }
    }
}
