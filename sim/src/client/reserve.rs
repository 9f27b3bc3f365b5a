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

/// A write was refused for want of room. A delete, on a disk that was full all the time: only once nothing is left of the
/// reserve. A put, because of the reserve, on a disk that had room all the time: never, since the put makes it whole.
pub(super) fn refused(client: &Client, e: &Error) -> Checked<()> {
    let (is_full, fills) = {
        let shared = client.story.shared();
        (shared.is_full, shared.fills)
    };
    if e.kind() != ErrorKind::NoSpace || client.fills != fills || client.story.is_anybody_struck() {
        return Ok(());
    }
    let reserve = client.engine.reserve();
    let of_the_log = e.path().is_some_and(|path| path.components().any(|part| part.as_os_str() == WAL_DIR));
    let of_the_reserve = e.path().is_none() && reserve.holds_puts;
    let what = match (client.deletes, is_full) {
        (true, true) if of_the_log && reserve.ran_out == 0 => {
            "a delete found no room, and there is some in the reserve"
        }
        (false, false) if of_the_reserve => "a put waits for the reserve, and there is room to make it whole",
        _ => return Ok(()),
    };
    Err(client.failure(Guarantee::G10Bounded, format!("{what}: {reserve:?}, {e:?}")))
}
