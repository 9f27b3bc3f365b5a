//! Which job comes next.
//!
//! In this order: what range deletes hide goes; where cold is full, deletes come down, which makes room; hot tables merge when there are too many; a tier
//! under pressure gives down what has the lowest priority, the fuller one first and of two equal ones the lower, which makes room for the other; while
//! puts wait for room, whatever may hide something moves down to meet it; what was not touched for long moves down; a table
//! of which much was only needed by snapshots that are gone is written anew; what is read often is copied up. Every job takes keys down for good, or lessens the
//! number of hot tables, or uses up what asked for it, and none asks for another upwards: planning comes to an end.
use super::capacity::{Pressure, Puts, capacity, pressure_of, used};
use super::{Below, Facts, MergePlan, MovePlan, Plan, Take, hidden, promote};
use crate::config::Amount;
use crate::key::KeyRange;
use crate::limits::{HOT_TABLES_MAX, TABLES_MAX};
use crate::manifest::{TableEntry, Tier};

/// What to do next; `None` when there is nothing.
#[must_use]
pub fn next(f: &Facts<'_>) -> Option<Plan> {
    hidden::plan(f)
        .map(Plan::Free)
        .or_else(|| deletes(f).map(Plan::Move))
        .or_else(|| crowded(f))
        .or_else(|| pressed(f).map(Plan::Move))
        .or_else(|| hiding(f).map(Plan::Move))
        .or_else(|| aged(f).map(Plan::Move))
        .or_else(|| worn(f).map(Plan::Move))
        .or_else(|| promote::plan(f).map(Plan::Promote))
}

/// Too many hot tables: the neighbours that are smallest together merge, the oldest among equals. If they are too large
/// for one job, moving down in slices is better, where there is room.
fn crowded(f: &Facts<'_>) -> Option<Plan> {
    let (o, hot) = (f.tiers.get(), &f.version.tables.hot);
    let excess = hot.len().checked_sub(o.hot_tables).filter(|&n| n > 0)?;
    let bytes = |run: &[TableEntry]| run.iter().map(|t| t.bytes).sum::<u64>();
    let fewer = |run: &[TableEntry]| run.iter().any(|t| !f.apart.contains(&t.file));
    let smallest = |n: usize| {
        let all = (0..=hot.len() - n).filter(|&at| fewer(&hot[at..at + n]));
        all.min_by_key(|&at| bytes(&hot[at..at + n])).map(|at| (at, n))
    };
    let fitting =
        (2..=excess + 1).rev().filter_map(smallest).find(|&(at, n)| bytes(&hot[at..at + n]) <= o.job_bytes);
    let merge = |(at, n): (usize, usize)| {
        let run = &hot[at..at + n];
        let range = run.iter().map(|t| t.range.clone()).reduce(|a, b| a.union(&b))?;
        let tables = &f.version.tables;
        let older = hot[..at].iter().chain(&tables.warm).chain(&tables.cold);
        Some(Plan::Merge(MergePlan {
            inputs: run.iter().map(|t| t.file).collect(),
            below: Below::of(older, &range),
            writes: bytes(run),
            frees: run.iter().map(|t| t.len).sum(),
        }))
    };
    fitting
        .and_then(merge)
        .or_else(|| down(f, Tier::Hot).map(Plan::Move))
        .or_else(|| smallest(2).and_then(merge))
}

/// A tier under pressure gives down.
fn pressed(f: &Facts<'_>) -> Option<MovePlan> {
    let pressure = |tier| pressure_of(f.tiers.get(), &f.version.tables, tier);
    let (hot, warm) = (pressure(Tier::Hot), pressure(Tier::Warm));
    let order = if warm >= hot { [Tier::Warm, Tier::Hot] } else { [Tier::Hot, Tier::Warm] };
    order.into_iter().filter(|&tier| pressure(tier) >= Pressure::Raised).find_map(|tier| down(f, tier))
}

/// As much of `tier` as one job takes, if there is room below: of hot the oldest tables of the lowest priority; of warm the
/// table that matters least.
fn down(f: &Facts<'_>, tier: Tier) -> Option<MovePlan> {
    let to = tier.lower()?;
    let (o, tables) = (f.tiers.get(), f.version.tables.tier(tier));
    let room = room(f, to)?;
    // A little room is not worth rewriting a table for, unless this tier is over its own capacity.
    let worth = capacity(o, to).percent(2);
    let full = pressure_of(o, &f.version.tables, tier) == Pressure::Full;
    if !full && (room.entries < worth.entries || room.bytes < worth.bytes) {
        return None;
    }
    let run = match tier {
        Tier::Hot => least_of_hot(f),
        Tier::Warm | Tier::Cold => vec![tables.iter().min_by_key(|t| least(f, t))?],
    };
    slice(f, tier, &run, run.iter().map(|t| t.range.lower()).min()?, Take::All, room)
}

/// By this order tables matter less: priority, then last access, then place.
fn least<'a>(f: &Facts<'_>, t: &'a TableEntry) -> (i32, u64, &'a [u8]) {
    (t.priority, touched(f, t), t.range.lower())
}

fn touched(f: &Facts<'_>, t: &TableEntry) -> u64 {
    f.accessed.get(&t.file).copied().unwrap_or(0).max(t.touched_ms)
}

/// What `tier` still takes; `None` if nothing.
fn room(f: &Facts<'_>, tier: Tier) -> Option<Amount> {
    let tables = f.version.tables.tier(tier);
    let room = capacity(f.tiers.get(), tier).minus(used(tables));
    (room.entries > 0 && room.bytes > 0 && f.version.tables.count() < TABLES_MAX / 2).then_some(room)
}

/// The hot tables that leave first: the oldest of those with which nothing of a higher priority has to go than with any
/// other. So a table stays longer than older ones of lower priority, and than newer ones that do not meet it.
fn least_of_hot<'a>(f: &Facts<'a>) -> Vec<&'a TableEntry> {
    let weights = weights(f);
    let least = weights.iter().copied().min();
    oldest(f, |at| Some(weights[at]) == least)
}

/// Of every hot table, the oldest first: the highest priority in it and in all that has to leave before it.
fn weights(f: &Facts<'_>) -> Vec<i32> {
    let hot = &f.version.tables.hot;
    let mut with: Vec<i32> = Vec::with_capacity(hot.len());
    for (at, t) in hot.iter().enumerate() {
        let older = hot[..at].iter().zip(&with).filter(|(o, _)| o.range.overlaps(&t.range));
        let weight = older.map(|(_, weight)| *weight).max().map_or(t.priority, |older| older.max(t.priority));
        with.push(weight);
    }
    with
}

/// The oldest hot tables that `which` is true of, by place, as many as one job takes. Where a former job has taken the lower part of a few, all of them now
/// begin at one key: these go on from there, if they are most of it, and what was flushed since waits for its turn.
fn oldest<'a>(f: &Facts<'a>, which: impl Fn(usize) -> bool) -> Vec<&'a TableEntry> {
    let (hot, most) = (&f.version.tables.hot, f.tiers.get().job_bytes);
    let mut bytes = 0;
    let fits = |t: &&TableEntry| {
        bytes += t.bytes;
        bytes <= most || bytes == t.bytes
    };
    let those = hot.iter().enumerate().filter(|(at, _)| which(*at)).map(|(_, t)| t);
    let mut run: Vec<_> = those.take_while(fits).collect();
    if crate::mutants::on("newer-table-moves-first") {
        run = hot.iter().rev().take(1).collect();
    }
    let begun = run.iter().take_while(|t| t.range.lower() == run[0].range.lower()).count();
    let of = |run: &[&TableEntry]| run.iter().map(|t| t.bytes).sum::<u64>();
    if of(&run[..begun]) * 2 > of(&run) { run[..begun].to_vec() } else { run }
}

/// Deletes that wait above a full cold tier.
fn deletes(f: &Facts<'_>) -> Option<MovePlan> {
    let (o, tables) = (f.tiers.get(), &f.version.tables);
    if pressure_of(o, tables, Tier::Cold) != Pressure::Full {
        return None;
    }
    let waits = |t: &&TableEntry| t.tombstones + t.range_tombstones > 0 && !f.barren.contains(&t.file);
    let most = Amount::default();
    // The oldest that has some, and all that are older: they may hold versions of the same keys.
    // What a slice leaves behind is one more table: not when there are many already.
    let space = tables.hot.len() < HOT_TABLES_MAX / 2;
    if let Some(at) = tables.hot.iter().position(|t| waits(&t)).filter(|_| space) {
        let run: Vec<_> = tables.hot[..=at].iter().collect();
        return slice(f, Tier::Hot, &run, tables.hot[at].range.lower(), Take::Deletes, most);
    }
    let run = vec![tables.warm.iter().filter(waits).max_by_key(|t| t.tombstones)?];
    slice(f, Tier::Warm, &run, run[0].range.lower(), Take::Deletes, most)
}

/// Puts wait for room: tables that may hold or hide versions which nobody needs meet what lies below. Of two tiers the
/// lower one comes first, which makes room for the other.
fn hiding(f: &Facts<'_>) -> Option<MovePlan> {
    let Puts::Wait { since } = f.puts else { return None };
    let tables = &f.version.tables;
    let meets = |t: &TableEntry, other: &TableEntry| t.file != other.file && t.range.overlaps(&other.range);
    // What is newer than the search does not count: it would never come to an end where writers go on.
    let hides = |t: &TableEntry, others: &[TableEntry]| {
        let deletes = t.tombstones + t.range_tombstones > 0;
        t.lowest <= since && (deletes || others.iter().any(|other| meets(t, other)))
    };
    let warm = tables.warm.iter().filter(|t| hides(t, &tables.cold)).min_by_key(|t| least(f, t));
    let of_warm =
        warm.and_then(|t| slice(f, Tier::Warm, &[t], t.range.lower(), Take::All, room(f, Tier::Cold)?));
    of_warm.or_else(|| {
        // Or what was kept for readers that are gone: a hot table is not written anew where it is.
        let kept = |t: &TableEntry| t.lowest <= since && (vain(f, Tier::Hot, t) > 0 || released(f, t) > 0);
        let hides =
            |t: &TableEntry| kept(t) || [&tables.hot, &tables.warm, &tables.cold].iter().any(|o| hides(t, o));
        // Also where only newer ones do: these wait for the older ones.
        tables.hot.iter().any(hides).then(|| down(f, Tier::Hot)).flatten()
    })
}

/// Share of a table, in percent, from which it is written anew to be rid of what nobody reads.
const WORN_PERCENT: u64 = 25;

/// A table of which much, or while puts wait anything, was kept for readers that are gone.
fn worn(f: &Facts<'_>) -> Option<MovePlan> {
    let percent = if f.puts == Puts::Fit { WORN_PERCENT } else { 0 };
    let is_worn = |tier, t: &&TableEntry| {
        let (vain, released) = (vain(f, tier, t), released(f, t));
        vain > 0 && vain * 100 >= percent * (t.entries + t.range_tombstones)
            || released > 0 && released * 100 >= percent * t.bytes
    };
    let worst = |tier| {
        let run = f.version.tables.tier(tier).iter().filter(|t| is_worn(tier, t));
        run.max_by_key(|t| (vain(f, tier, t), released(f, t))).map(|t| rewrite(f, tier, t))
    };
    worst(Tier::Cold).or_else(|| worst(Tier::Warm))
}

/// How many versions of `t` go for certain if it is written anew where it is: at most, for what is left of a table.
fn vain(f: &Facts<'_>, tier: Tier, t: &TableEntry) -> u64 {
    let deletes = if tier.lower().is_none() { t.tombstones + t.range_tombstones } else { 0 };
    if t.highest <= f.floor { t.hidden + deletes } else { 0 }
}

/// How many bytes of `t` go if it is written anew where it is, although some of it may be newer than a pin that is left.
fn released(f: &Facts<'_>, t: &TableEntry) -> u64 {
    f.released.get(&t.file).copied().unwrap_or(0)
}

/// The table `t` of a run written anew: a move into its tier with nothing from above.
fn rewrite(f: &Facts<'_>, tier: Tier, t: &TableEntry) -> MovePlan {
    let tables = &f.version.tables;
    MovePlan {
        from: if tier == Tier::Cold { Tier::Warm } else { Tier::Hot },
        to: tier,
        upper: Vec::new(),
        lower: vec![t.file],
        take: Take::All,
        most: Amount::default(),
        below: Below::of(tier.lower().map_or(&[][..], |tier| tables.tier(tier)).iter(), &t.range),
        table_bytes: table_bytes(f.tiers.get().table_bytes, tables.tier(tier)),
        writes: t.bytes,
        frees: t.len,
        range: t.range.clone(),
    }
}

/// What nobody touched for long moves down while there is ample room.
fn aged(f: &Facts<'_>) -> Option<MovePlan> {
    let (o, tables) = (f.tiers.get(), &f.version.tables);
    let idle =
        |t: &&TableEntry, age_s: u64| age_s > 0 && f.now_ms.saturating_sub(touched(f, t)) >= age_s * 1000;
    let calm = |tier| pressure_of(o, tables, tier) < Pressure::High;
    if calm(Tier::Warm) {
        let run: Vec<_> = oldest(f, |_| true).into_iter().take_while(|t| idle(t, o.hot_age_s)).collect();
        let start = run.iter().map(|t| t.range.lower()).min();
        if let (Some(start), Some(room)) = (start, room(f, Tier::Warm)) {
            return slice(f, Tier::Hot, &run, start, Take::All, room);
        }
    }
    let run = vec![tables.warm.iter().filter(|t| idle(t, o.warm_age_s)).min_by_key(|t| least(f, t))?];
    let room = room(f, Tier::Cold).filter(|_| calm(Tier::Cold))?;
    slice(f, Tier::Warm, &run, run[0].range.lower(), Take::All, room)
}

/// A move of keys of `run` from `start` on: as far as the tables of the tier below that they meet make up one job.
///
/// The slice begins where the first table concerned does and ends where the last of those below ends, so that of every
/// input it takes the lower part or all. A job reads the run, and below it [`crate::config::TierOptions::job_bytes`] or
/// one table.
fn slice(
    f: &Facts<'_>,
    from: Tier,
    run: &[&TableEntry],
    start: &[u8],
    take: Take,
    most: Amount,
) -> Option<MovePlan> {
    let (to, o) = (from.lower()?, f.tiers.get());
    let below = f.version.tables.tier(to);
    let aim = table_bytes(o.table_bytes, below);
    let all = run.iter().map(|t| t.range.clone()).reduce(|a, b| a.union(&b))?;
    let mut range = KeyRange::new(start, end_of(below, &all, start, o.job_bytes).as_deref())?;
    // What the slice meets widens it, and a wider slice may meet more.
    let (upper, lower) = loop {
        let upper: Vec<_> = run.iter().copied().filter(|t| t.range.overlaps(&range)).collect();
        let lower = with_small_neighbours(below, &range, upper.iter().map(|t| t.bytes).sum(), aim);
        let first = upper.iter().chain(&lower.iter().collect::<Vec<_>>()).map(|t| t.range.lower()).min()?;
        let wider = lower.iter().fold(KeyRange::new(first, range.upper())?, |r, t| r.union(&t.range));
        if wider == range {
            break (upper, lower);
        }
        range = wider;
    };
    let under = to.lower().map_or(&[][..], |tier| f.version.tables.tier(tier));
    let inputs = || upper.iter().copied().chain(lower);
    Some(MovePlan {
        from,
        to,
        upper: upper.iter().map(|t| t.file).collect(),
        lower: lower.iter().map(|t| t.file).collect(),
        take,
        most,
        below: Below::of(under.iter(), &range),
        table_bytes: aim,
        writes: inputs().map(|t| t.bytes).sum(),
        frees: inputs().filter(|t| range.covers(&t.range)).map(|t| t.len).sum(),
        range,
    })
}

/// Where a slice from `start` on ends: with the last table below that one job takes, or with all of the run.
fn end_of(below: &[TableEntry], all: &KeyRange, start: &[u8], job_bytes: u64) -> Option<Vec<u8>> {
    let mut meets = below.iter().filter(|t| t.range.overlaps(all) && !t.range.ends_by(start)).peekable();
    let mut bytes = 0;
    while let Some(t) = meets.next() {
        bytes += t.bytes;
        if meets.peek().is_some_and(|next| bytes + next.bytes > job_bytes) {
            return t.range.upper().map(<[u8]>::to_vec);
        }
    }
    all.upper().map(<[u8]>::to_vec)
}

/// The tables of a run that `range` meets, and their neighbours as long as these are smaller than a table should be and
/// than twice what is taken so far: so small tables double in size until they are large enough.
fn with_small_neighbours<'a>(
    run: &'a [TableEntry],
    range: &KeyRange,
    bytes: u64,
    aim: u64,
) -> &'a [TableEntry] {
    let mut from = run.partition_point(|t| t.range.ends_by(range.lower()));
    let mut to = from + run[from..].iter().take_while(|t| t.range.overlaps(range)).count();
    let mut bytes = bytes + run[from..to].iter().map(|t| t.bytes).sum::<u64>();
    loop {
        let small = |t: &&TableEntry| t.bytes < aim / 2 && bytes < aim && t.bytes <= 2 * bytes;
        if let Some(t) = from.checked_sub(1).map(|i| &run[i]).filter(small) {
            (from, bytes) = (from - 1, bytes + t.bytes);
        } else if let Some(t) = run.get(to).filter(small) {
            (to, bytes) = (to + 1, bytes + t.bytes);
        } else {
            return &run[from..to];
        }
    }
}

/// Tables grow with their tier, so that their number stays far below what a manifest can name.
fn table_bytes(aim: u64, tier: &[TableEntry]) -> u64 {
    let bytes: u64 = tier.iter().map(|t| t.bytes).sum();
    aim.max(bytes / (TABLES_MAX as u64 / 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TierOptions, Tiers};
    use crate::ids::{FileUid, Lsn};
    use crate::manifest::{Tables, Version};
    use crate::plan::model::entry;
    use std::collections::{BTreeMap, BTreeSet};

    fn tiers() -> Tiers {
        let amount = |entries| Amount { entries, bytes: 1 << 20 };
        Tiers::new(TierOptions {
            hot_capacity: amount(100),
            warm_capacity: amount(200),
            cold_capacity: amount(400),
            hot_tables: 3,
            job_bytes: 1000,
            table_bytes: 100,
            ..TierOptions::default()
        })
        .unwrap()
    }

    fn plan_at(now_ms: u64, tables: Tables, accessed: &[(u64, u64)]) -> Option<Plan> {
        plan_with(now_ms, tables, accessed, Puts::Fit)
    }

    fn plan_with(now_ms: u64, tables: Tables, accessed: &[(u64, u64)], puts: Puts) -> Option<Plan> {
        plan_of(now_ms, tables, accessed, puts, &[], &[])
    }

    fn plan_of(
        now_ms: u64,
        tables: Tables,
        accessed: &[(u64, u64)],
        puts: Puts,
        apart: &[u64],
        released: &[(u64, u64)],
    ) -> Option<Plan> {
        let accessed: BTreeMap<_, _> = accessed.iter().map(|&(n, ms)| (FileUid::from_raw(n), ms)).collect();
        next(&Facts {
            version: &Version { tables, ..Version::new() },
            tiers: &tiers(),
            now_ms,
            accessed: &accessed,
            barren: &BTreeSet::new(),
            apart: &apart.iter().map(|n| FileUid::from_raw(*n)).collect(),
            extents: &BTreeMap::new(),
            looked: &BTreeSet::new(),
            memory: Amount::default(),
            floor: Lsn::from_raw(10),
            wanted: &[],
            puts,
            released: &released.iter().map(|&(n, bytes)| (FileUid::from_raw(n), bytes)).collect(),
        })
    }

    fn moves(plan: Option<Plan>) -> (Tier, Vec<u64>, Vec<u64>, String) {
        let Some(Plan::Move(m)) = plan else { panic!("a move, not {plan:?}") };
        let raw = |files: &[FileUid]| files.iter().map(|f| f.raw()).collect();
        (m.from, raw(&m.upper), raw(&m.lower), format!("{:?}", m.range))
    }

    #[test]
    fn neighbours_that_are_smallest_together_merge() {
        let hot = vec![
            entry(1, "a", "z", 5, 900),
            entry(2, "a", "z", 1, 50),
            entry(3, "b", "c", 1, 60),
            entry(4, "a", "z", 1, 300),
        ];
        let Some(Plan::Merge(m)) = plan_at(0, Tables { hot, ..Tables::default() }, &[]) else {
            panic!("a merge")
        };
        assert_eq!((m.inputs, m.writes), (vec![FileUid::from_raw(2), FileUid::from_raw(3)], 110));
        assert!(m.below.may_hold(b"y"), "the older hot table lies below");
    }

    #[test]
    fn the_fuller_tier_gives_down_first_and_nothing_moves_below_the_first_level() {
        let hot = |n| vec![entry(1, "a", "m", n, 300), entry(2, "c", "z", 0, 400)];
        let tables =
            |h, w| Tables { hot: hot(h), warm: vec![entry(3, "k", "p", w, 300)], ..Tables::default() };
        assert_eq!(plan_at(0, tables(69, 139), &[]), None);
        assert_eq!(
            moves(plan_at(0, tables(70, 139), &[])),
            (Tier::Hot, vec![1, 2], vec![3], r#"b"a"..b"z""#.into())
        );
        assert_eq!(moves(plan_at(0, tables(70, 140), &[])).0, Tier::Warm);
        assert_eq!(moves(plan_at(0, tables(85, 140), &[])).0, Tier::Hot);
    }

    #[test]
    fn what_has_the_lowest_priority_leaves_hot_first_unless_something_older_has_to_go_with_it() {
        let leaves = |tables: &[(&str, &str, i32)]| {
            let one = |(n, &(from, to, priority)): (usize, &(&str, &str, i32))| TableEntry {
                priority,
                ..entry(1 + n as u64, from, to, 70 / tables.len() as u64 + 1, 10)
            };
            let hot = tables.iter().enumerate().map(one).collect();
            moves(plan_at(0, Tables { hot, ..Tables::default() }, &[])).1
        };
        assert_eq!(leaves(&[("a", "c", 0), ("c", "e", 0)]), [1, 2], "the oldest, as far as one job goes");
        assert_eq!(leaves(&[("a", "c", 5), ("c", "e", 0)]), [2]);
        assert_eq!(leaves(&[("a", "c", -5), ("c", "e", 0)]), [1]);
        assert_eq!(leaves(&[("a", "c", 5), ("b", "e", 0)]), [1, 2], "with a newer one the older versions go");
        assert_eq!(leaves(&[("a", "c", 5), ("b", "e", 0), ("f", "g", 1)]), [3]);
        assert_eq!(leaves(&[("a", "c", 0), ("b", "d", 7), ("x", "z", 0)]), [1, 3]);
        assert_eq!(leaves(&[("a", "c", i32::MIN), ("x", "z", i32::MAX)]), [1]);
    }

    #[test]
    fn a_large_move_goes_in_slices_that_begin_where_the_last_one_ended() {
        let warm: Vec<_> = [("b", "d"), ("d", "f"), ("f", "h")]
            .iter()
            .zip(3..)
            .map(|((l, u), n)| entry(n, l, u, 1, 600))
            .collect();
        let hot = vec![entry(1, "a", "m", 40, 400), entry(2, "a", "z", 40, 400)];
        let plan = plan_at(0, Tables { hot, warm: warm.clone(), ..Tables::default() }, &[]);
        assert_eq!(moves(plan), (Tier::Hot, vec![1, 2], vec![3], r#"b"a"..b"d""#.into()));
        // What is left of them, and a table flushed since.
        let hot = vec![entry(1, "d", "m", 30, 300), entry(2, "d", "z", 30, 300), entry(9, "a", "z", 30, 300)];
        let plan = plan_at(0, Tables { hot, warm, ..Tables::default() }, &[]);
        assert_eq!(moves(plan), (Tier::Hot, vec![1, 2], vec![4], r#"b"d"..b"f""#.into()));
    }

    #[test]
    fn what_was_not_touched_for_long_moves_down_the_oldest_first() {
        let day = 24 * 3_600_000;
        let hot = vec![entry(1, "a", "c", 1, 10), entry(2, "c", "e", 1, 10)];
        let tables = Tables { hot, ..Tables::default() };
        assert_eq!(plan_at(day - 1, tables.clone(), &[]), None);
        assert_eq!(moves(plan_at(day, tables.clone(), &[])).1, [1, 2]);
        assert_eq!(moves(plan_at(day, tables.clone(), &[(2, day)])).1, [1], "the newer one was read");
        assert_eq!(plan_at(day, tables, &[(1, day)]), None, "a newer table never leaves before an older one");
        let warm = vec![entry(1, "a", "c", 1, 10), entry(2, "c", "e", 1, 10)];
        let tables = Tables { warm, ..Tables::default() };
        assert_eq!(moves(plan_at(7 * day, tables.clone(), &[(1, day)])).1, [2]);
        assert_eq!(plan_at(7 * day, tables, &[(1, day), (2, day)]), None);
    }

    #[test]
    fn small_tables_double_in_size_as_they_meet() {
        let warm: Vec<_> = [("a", "b", 45), ("b", "c", 20), ("c", "d", 10)]
            .iter()
            .zip(3..)
            .map(|((l, u, bytes), n)| entry(n, l, u, 1, *bytes))
            .collect();
        let hot = vec![entry(1, "d", "e", 80, 10)];
        let plan = plan_at(0, Tables { hot, warm: warm.clone(), ..Tables::default() }, &[]);
        assert_eq!(moves(plan).2, [3, 4, 5]);
        let hot = vec![entry(1, "d", "e", 80, 2)];
        let plan = plan_at(0, Tables { hot, warm, ..Tables::default() }, &[]);
        assert_eq!(moves(plan).2, [] as [u64; 0], "a table far larger than what comes is left alone");
    }

    #[test]
    fn a_search_for_room_rids_hot_tables_of_what_was_kept_for_readers_that_are_gone() {
        let one = |hidden, highest| {
            let mut t = entry(1, "a", "c", 5, 50);
            (t.hidden, t.highest) = (hidden, Lsn::from_raw(highest));
            let wait = Puts::Wait { since: Lsn::from_raw(10) };
            plan_with(0, Tables { hot: vec![t], ..Tables::default() }, &[], wait)
        };
        assert_eq!(moves(one(2, 10)), (Tier::Hot, vec![1], vec![], r#"b"a"..b"c""#.into()));
        assert_eq!(one(0, 10), None, "it keeps nothing");
        assert_eq!(one(2, 11), None, "what it keeps may still be read");
    }

    #[test]
    fn what_was_held_for_pins_that_are_gone_goes_although_a_younger_one_is_there() {
        let mut t = entry(1, "a", "c", 5, 100);
        t.highest = Lsn::from_raw(11);
        let of = |tables: Tables, puts, released| plan_of(0, tables, &[], puts, &[], &[(1, released)]);
        let warm = || Tables { warm: vec![t.clone()], ..Tables::default() };
        let hot = || Tables { hot: vec![t.clone()], ..Tables::default() };
        let wait = Puts::Wait { since: Lsn::from_raw(11) };
        assert_eq!(moves(of(warm(), Puts::Fit, 25)).2, [1]);
        assert_eq!(of(warm(), Puts::Fit, 24), None, "not worth it");
        assert_eq!(moves(of(warm(), wait, 1)).2, [1]);
        assert_eq!(moves(of(hot(), wait, 1)).1, [1]);
        assert_eq!((of(hot(), wait, 0), of(hot(), Puts::Fit, 100)), (None, None));
    }

    #[test]
    fn hot_tables_that_no_merge_makes_fewer_are_left_apart() {
        let hot: Vec<_> = (1..=5).map(|n| entry(n, "a", "z", 1, 10 * n)).collect();
        let of = |apart: &[u64]| {
            let tables = Tables { hot: hot.clone(), ..Tables::default() };
            match plan_of(0, tables, &[], Puts::Fit, apart, &[]) {
                Some(Plan::Merge(plan)) => plan.inputs.iter().map(|f| f.raw()).collect::<Vec<_>>(),
                _ => Vec::new(),
            }
        };
        assert_eq!(of(&[]), [1, 2, 3], "down to three of them in one go");
        assert_eq!(of(&[1, 2, 3]), [2, 3, 4], "one of which may still be taken in");
        assert_eq!(of(&[1, 2, 3, 4]), [3, 4, 5]);
        assert_eq!(of(&[1, 2, 3, 4, 5]), [] as [u64; 0]);
    }
}
