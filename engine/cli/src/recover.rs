//! `recover`: opens every space and shows one report for each, whatever became of the others.
use crate::args::RecoverArgs;
use crate::failure::Failure;
use crate::output::{self, bytes, json_line};
use crate::session::{Missing, with_engine};
use crate::settings::Settings;
use bulkhead::{RecoveryReport, RecoveryStatus};
use std::io::{self, Write};

/// Recovers all spaces; fails if one of them cannot be served.
pub fn run(settings: &Settings, args: RecoverArgs) -> Result<(), Failure> {
    let reports = with_engine(settings, Missing::Refuse, |engine| Ok(engine.recover_all()?))?;
    let mut out = io::stdout().lock();
    if args.json {
        json_line(&mut out, &reports)?;
    } else if reports.is_empty() {
        writeln!(out, "No spaces in {}.", settings.data_root.display())?;
    } else {
        table(&mut out, &reports)?;
    }
    if reports.iter().all(is_served) { Ok(()) } else { Err(Failure::Said) }
}

/// Whether the space reads and writes.
fn is_served(report: &RecoveryReport) -> bool {
    matches!(report.status, RecoveryStatus::Clean | RecoveryStatus::TornTail)
}

/// Writes one row for each report, and below them what went wrong where something did.
pub fn table(out: &mut impl Write, reports: &[RecoveryReport]) -> io::Result<()> {
    let head = ["SPACE", "STATUS", "COMMITS", "LOG READ", "TORN", "COPIED", "LAST LSN", "MS", "CASE"];
    let rows: Vec<_> = reports
        .iter()
        .map(|r| {
            [
                r.id.to_string(),
                status(r.status).to_owned(),
                r.commits.to_string(),
                bytes(r.bytes),
                bytes(r.torn_bytes),
                r.copied_forward.to_string(),
                r.last_lsn.to_string(),
                format!("{}.{}", r.micros / 1000, r.micros / 100 % 10),
                if r.case.is_empty() { "-" } else { r.case }.to_owned(),
            ]
        })
        .collect();
    output::table(out, head, &rows)?;
    for error in reports.iter().filter_map(|r| r.error.as_ref()) {
        writeln!(out, "{error}")?;
    }
    Ok(())
}

fn status(status: RecoveryStatus) -> &'static str {
    match status {
        RecoveryStatus::Clean => "clean",
        RecoveryStatus::TornTail => "torn tail",
        RecoveryStatus::Corrupt => "CORRUPT",
        RecoveryStatus::Failed => "FAILED",
    }
}
