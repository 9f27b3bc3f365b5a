//! What a job takes: how much, and what of all that it could.
use super::World;
use crate::ids::FileUid;
use crate::manifest::Tier;
use crate::plan::{MovePlan, Plan, Take, capacity};

impl World {
    /// Of all that may leave hot no more is taken first than what has the lowest priority.
    pub(super) fn check_priority(&mut self, plan: &Plan) {
        let Plan::Move(plan) = plan else { return };
        let (o, tables) = (self.tiers.get(), &self.version.tables);
        let pressed = capacity::pressure_of(o, tables, Tier::Hot) >= capacity::Pressure::Raised;
        if plan.from != Tier::Hot || plan.take != Take::All || !pressed || o.hot_age_s > 0 {
            return;
        }
        // What goes with a table: all older ones that it meets, and that those meet.
        let with = |at: usize| {
            let mut goes = vec![at];
            while let Some(more) = (0..at).find(|older| {
                let meets = |other: &usize| {
                    older < other && tables.hot[*older].range.overlaps(&tables.hot[*other].range)
                };
                !goes.contains(older) && goes.iter().any(meets)
            }) {
                goes.push(more);
            }
            goes.iter().map(|at| tables.hot[*at].priority).max().expect("the table itself")
        };
        let least = (0..tables.hot.len()).map(with).min().expect("there is something to move");
        let taken = tables.hot.iter().filter(|t| plan.upper.contains(&t.file));
        let taken = taken.map(|t| t.priority).max();
        assert!(
            taken.is_none_or(|taken| taken <= least),
            "{taken:?} leaves before {least}: {:?}",
            tables.hot
        );
        let moves = !plan.upper.is_empty();
        self.counts.passed_over += u64::from(moves && !plan.upper.contains(&tables.hot[0].file));
    }

    /// A job is bounded, and with it the room that it takes for a while.
    pub(super) fn check_size(&self, plan: &MovePlan) {
        let bytes = |tier, files: &[FileUid]| {
            let of = |f: &FileUid| self.version.tables.find(tier, *f).expect("an input").bytes;
            (files.iter().map(of).sum::<u64>(), files.iter().map(of).max().unwrap_or(0))
        };
        let job = self.tiers.get().job_bytes;
        let ((upper, one), (lower, other)) = (bytes(plan.from, &plan.upper), bytes(plan.to, &plan.lower));
        assert!(
            plan.take == Take::Deletes || upper <= job.max(one),
            "{upper} bytes from above for a job of {job}"
        );
        let neighbours = plan.table_bytes + plan.table_bytes / 2;
        assert!(
            plan.take == Take::Deletes || lower <= job.max(other) + neighbours,
            "{lower} bytes from below for a job of {job}"
        );
        assert_eq!(plan.writes, upper + lower);
    }
}
