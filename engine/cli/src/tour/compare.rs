//! Compares what the child reported with what recovery brought back.
use super::writer::value;
use crate::ack_log::Acked;
use crate::failure::Failure;
use crate::output::{count, table};
use bulkhead::blocking::Space;
use bulkhead::{Direction, SpaceId};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// What came back of one space.
#[derive(Debug)]
pub struct Compared {
    space: SpaceId,
    acknowledged: u64,
    missing: u64,
    /// Values that the child never wrote under that key, in that space.
    wrong: u64,
    /// Written, and killed before the acknowledgement was reported.
    unreported: u64,
}

impl Compared {
    /// Reads all of `space`, and looks for each key of it in `acked`.
    pub fn of(space: &Space, acked: &[Acked]) -> Result<Compared, Failure> {
        let mut expected: BTreeSet<&[u8]> =
            acked.iter().filter(|a| a.space == *space.id()).map(|a| a.key.as_slice()).collect();
        let acknowledged = expected.len() as u64;
        let (mut wrong, mut unreported) = (0, 0);
        for entry in space.scan::<&[u8]>(.., Direction::Ascending) {
            let (key, found) = entry?;
            unreported += u64::from(!expected.remove(&*key));
            wrong += u64::from(*found != value(space.id(), &key)[..]);
        }
        let missing = expected.len() as u64;
        Ok(Compared { space: space.id().clone(), acknowledged, missing, wrong, unreported })
    }

    /// Whether the promise was kept.
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.wrong == 0
    }
}

/// Writes one row for each space.
pub fn show(out: &mut impl Write, compared: &[Compared]) -> io::Result<()> {
    let rows: Vec<_> = compared
        .iter()
        .map(|c| {
            let came_back = c.acknowledged - c.missing;
            [&c.acknowledged, &came_back, &c.missing, &c.wrong, &c.unreported].map(u64::to_string)
        })
        .zip(compared)
        .map(|([acked, back, missing, wrong, more], c)| {
            [c.space.to_string(), acked, back, missing, wrong, more]
        })
        .collect();
    table(out, ["SPACE", "ACKNOWLEDGED", "CAME BACK", "MISSING", "WRONG VALUE", "BEYOND"], &rows)?;
    let beyond: u64 = compared.iter().map(|c| c.unreported).sum();
    if beyond > 0 {
        let writes = count(beyond, "write");
        writeln!(out, "  Beyond the promise: {writes} done when the kill came, and not yet acknowledged.")?;
    }
    Ok(())
}
