//! What clients must find of the reserve for deletes.
use super::{Checked, Client};
use crate::failure::Guarantee;
use crate::probe::Probe;
use bulkhead::space::WAL_DIR;
use bulkhead::{Error, ErrorKind};

/// A commit was ordered in this very poll: one with a put only while the reserve is whole.
pub(super) fn ordered(client: &Client, puts: bool) -> Checked<()> {
    let reserve = client.engine.reserve();
    match (puts, reserve.holds_puts) {
        (true, true) => {
            let what = format!("a put was let in while the reserve for deletes is not whole: {reserve:?}");
            Err(client.failure(Guarantee::G10Bounded, what))
        }
        (false, true) if reserve.lent > 0 => {
            client.story.hit(Probe::DeletedOnReserve);
            Ok(())
        }
        (true, false) if reserve.made > 1 => {
            client.story.hit(Probe::PutAfterRefill);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A delete was refused for want of log space while the disk was full all the time: only once nothing is left of the
/// reserve.
pub(super) fn refused(client: &Client, e: &Error) -> Checked<()> {
    let reserve = client.engine.reserve();
    let of_the_log = e.path().is_some_and(|path| path.components().any(|part| part.as_os_str() == WAL_DIR));
    let full = {
        let shared = client.story.shared();
        shared.is_full && client.deletes == Some(shared.fills)
    };
    let struck = client.story.is_anybody_struck();
    if full && of_the_log && e.kind() == ErrorKind::NoSpace && reserve.ran_out == 0 && !struck {
        let what = format!("a delete found no room, and there is some in the reserve: {reserve:?}, {e:?}");
        return Err(client.failure(Guarantee::G10Bounded, what));
    }
    Ok(())
}
