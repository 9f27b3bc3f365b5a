//! Deleting a space, and what must hold once that was acknowledged (G8).
use super::{Checked, Client};
use crate::execute::ROOT;
use crate::failure::{Failure, Guarantee};
use crate::model::{Existence, Harm};
use crate::plan::Then;
use crate::probe::Probe;
use crate::story::{Doing, Story};
use bulkhead::{Error, ErrorKind, Rejected, SpaceId};
use bulkhead_fault_injection::View;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

impl Client {
    /// Deletes the space, and goes on as told.
    pub(super) async fn delete_space(&mut self, then: Then) -> Checked<()> {
        let id = self.story.model(self.space).id.clone();
        self.begin_deletion();
        let polls = if let Then::Abandon(polls) = then { u32::from(polls) } else { u32::MAX };
        let Some(result) = abandoned_after(polls, self.engine.delete_space(&id)).await else {
            // It goes on; nobody hears how it ends.
            return Ok(());
        };
        self.deleted(result)?;
        match then {
            Then::GoOn | Then::Abandon(_) => Ok(()),
            Then::Create => self.create_anew(&id).await,
            Then::DeleteAgain => {
                let absent = {
                    let model = self.story.model(self.space);
                    // Who wanted it made while it was being deleted may have been told before this client was.
                    model.existence == Existence::Never && model.creating == 0
                };
                self.begin_deletion();
                let result = self.engine.delete_space(&id).await;
                let refused =
                    matches!(&result, Err(e) if e.kind() == ErrorKind::Rejected(Rejected::NoSuchSpace));
                if absent && !refused {
                    // Unless the root was found in doubt meanwhile.
                    let told = match result {
                        Ok(()) => return Err(self.failure(Guarantee::G8Erasure, "it was deleted twice")),
                        Err(told) => told,
                    };
                    return self.deleted(Err(told));
                }
                self.deleted(result)
            }
        }
    }

    fn begin_deletion(&self) {
        let mut model = self.story.model(self.space);
        model.deletes += 1;
        model.pending += 1;
        if model.existence == Existence::Certain {
            model.existence = Existence::Perhaps;
        }
    }

    /// A deletion was answered.
    fn deleted(&mut self, result: Result<(), Error>) -> Checked<()> {
        let mut model = self.story.model(self.space);
        let told = match result {
            Ok(()) => {
                model.pending -= 1;
                model.erase();
                drop(model);
                self.story.hit(Probe::SpaceDeleted);
                self.story.shared().deletions += 1;
                return Ok(());
            }
            Err(told) => told,
        };
        match told.kind() {
            ErrorKind::Rejected(Rejected::NoSuchSpace) => {
                model.pending -= 1;
                let others = model.generation != self.generation || model.pending > 0;
                if !others && model.existence != Existence::Never {
                    let what = "nobody else deleted it, and a deletion does not find it";
                    return Err(model.failure(Guarantee::G5Reads, what));
                }
            }
            // The root is in doubt, and so is the space: until the next boot.
            ErrorKind::Unknown => {}
            _ => {
                model.pending -= 1;
                if model.pending == 0 && model.existence == Existence::Perhaps {
                    model.existence = Existence::Certain;
                }
                drop(model);
                self.story.hit(Probe::DeletionFailed);
                return self.tell_error(Doing::Deleting, &told);
            }
        }
        drop(model);
        self.tell_error(Doing::Deleting, &told)
    }

    async fn create_anew(&mut self, id: &SpaceId) -> Checked<()> {
        let first = {
            let mut model = self.story.model(self.space);
            let first = model.existence == Existence::Never;
            if first {
                model.existence = Existence::Perhaps;
            }
            first
        };
        match self.creates(self.engine.create_space(id)).await {
            Ok(space) => self.story.observe(self.space, &space).await.map(|_| ()),
            // Another client was faster.
            Err(e) if !first && e.kind() == ErrorKind::Rejected(Rejected::SpaceExists) => Ok(()),
            Err(e) => self.tell_error(Doing::Creating, &e),
        }
    }

    /// Whether the space that an operation is about was not deleted since: what was answered is wrong otherwise.
    pub(super) fn still_there(&self, generation: u64, what: &str) -> Checked<()> {
        let model = self.story.model(self.space);
        if model.generation == generation {
            return Ok(());
        }
        Err(model.failure(Guarantee::G8Erasure, format!("{what} after the space was deleted")))
    }
}

/// Polls `call` so many times and drops it then, if it is not done.
async fn abandoned_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if polled >= polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether all is removed that deletions and creations cut short had left, once all has been quiet.
///
/// # Errors
/// What is left.
pub fn nothing_is_left(story: &Story) -> Checked<()> {
    if (0..story.len()).any(|i| story.model(i).harm != Harm::None) {
        // What cannot be read cannot always be removed.
        return Ok(());
    }
    let names = story.world.names_in(ROOT, View::Seen);
    match names.iter().find(|name| name.starts_with(".deleted-") || name.starts_with(".creating-")) {
        Some(name) => {
            let what = format!("{name} is still there after everything was quiet");
            Err(Failure::new(Guarantee::G8Erasure, what))
        }
        None => Ok(()),
    }
}
