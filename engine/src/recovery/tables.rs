//! Looking at the tables that a manifest names: each is there, as long as it was when it was named. What is in them is
//! verified when it is read.
use super::report::{Damage, RecoveryReport};
use super::{Dirs, failed};
use crate::error::{Error, Result};
use crate::manifest::Version;

pub(super) async fn look(dirs: &Dirs, version: &Version, report: &mut RecoveryReport) -> Result<()> {
    for (tier, table) in version.tables.iter() {
        let name = table.file_name();
        let missing = |report: &mut RecoveryReport, what: String, offset| {
            let file = format!("{}/{name}", tier.dir());
            let path = dirs.space.path().join(&file);
            report.damage = Some(Damage { file, offset });
            Err(Error::corrupt(what).at_path(path).at_offset(offset))
        };
        let found = async { dirs.tier(tier).await?.metadata(&name).await };
        match found.await {
            Ok(found) if found.len == table.len => {}
            Ok(found) => {
                let what = format!("a table is {} bytes long, {} were durable", found.len, table.len);
                return missing(report, what, found.len.min(table.len));
            }
            Err(e) if e.is_not_found() => {
                return missing(report, "a table that the manifest names is missing".to_owned(), 0);
            }
            Err(e) => return Err(failed("a table could not be looked at")(e)),
        }
    }
    Ok(())
}
