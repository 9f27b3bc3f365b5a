//! Ratios of the engine to the bare disk to fjall and to redb.
//!
//! Machines and disks have moods; so no figure stands alone. All ways of doing one thing run in turn, in short rounds
//! of one process, and what is compared is the median of each round's ratio ([`rounds`]). The last line on stdout holds
//! every figure as `key=value`. Ratios are above 1 where the engine is faster, but for `reopen` and `idle`, which count
//! how many times the yardstick something takes.
mod args;
mod beside;
mod children;
mod churn;
mod durable;
mod group;
mod idle;
mod load;
mod many;
mod meter;
mod overwrite;
mod peer;
mod process;
mod raw;
mod records;
mod recovery;
mod reopen;
mod report;
mod rounds;
mod spaces;
mod store;
mod tenants;

use args::{Args, Bench};
use clap::Parser;
use report::Report;

fn main() {
    let args = Args::parse();
    if let Some(child) = &args.child {
        return children::run(child, &args);
    }
    let report = &mut Report::default();
    for bench in Bench::ALL.into_iter().filter(|b| args.only.is_none_or(|only| only == *b)) {
        let dir = args.scratch();
        match bench {
            Bench::Durable => durable::run(&args, dir.path(), report),
            Bench::Group => group::run(&args, dir.path(), report),
            Bench::Many => many::run(&args, dir.path(), report),
            Bench::Process => process::run(&args, dir.path(), report),
            Bench::Reopen => reopen::run(&args, dir.path(), report),
            Bench::Idle => idle::run(&args, dir.path(), report),
            Bench::Load => load::run(&args, dir.path(), report),
            Bench::Overwrite => overwrite::run(&args, dir.path(), report),
            Bench::Churn => churn::run(&args, dir.path(), report),
            Bench::Spaces => spaces::run(&args, dir.path(), report),
            Bench::Tenants => tenants::run(&args, dir.path(), report),
        }
        dir.close().expect("the scratch directory is removed");
    }
    report.finish();
}
