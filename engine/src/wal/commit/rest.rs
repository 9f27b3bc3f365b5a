//! A line without files: at rest, or let go.
use super::{Line, Seal};
use crate::ids::FileUid;
use crate::mutants;
use crate::wal::frame::Link;

/// What a line that rests leaves to be said in the next manifest.
#[derive(Debug)]
pub struct Rested {
    /// How the active segment ended.
    pub ended: Option<Link>,
    /// A segment that no commit went to.
    pub unused: Option<FileUid>,
}

impl<F: Clone> Line<F> {
    /// Closes its files. The next commit begins a segment, as after a reopen of a sealed log.
    ///
    /// # Panics
    /// Unless the log is sealed, and nothing is ordered for the next segment.
    pub fn rest(&mut self) -> Rested {
        assert!(self.groups.is_empty() && self.spare_reserved == 0, "nothing ordered waits to be written");
        assert!(self.is_quiet(), "everything is durable");
        let ended = self.active.take().map(|active| {
            let (len, chain) = active.end;
            let link = Link { file: Some(active.id.file), len, last: self.written, chain };
            if !mutants::on("rest-forgets-its-end") {
                self.before = Some(link);
            }
            link
        });
        self.seal = Seal::Durable;
        self.rotates = false;
        Rested { ended, unused: self.spare.take().map(|spare| spare.id.file) }
    }

    /// Lets go of its files: it is fenced, and nothing of it is under way.
    pub fn let_go(&mut self) {
        (self.active, self.spare) = (None, None);
    }
}
