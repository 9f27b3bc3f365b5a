//! A task whose panic is told and ends nothing but the task.
use crate::env::Task;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `task`; completes also when it panics.
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) task: Task,
}

impl Future for Told {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.task.as_mut();
        // After a panic the task is never polled again, only dropped.
        catch_unwind(AssertUnwindSafe(|| task.poll(cx))).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<&str>().copied();
            let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(task = self.name, panic = words.unwrap_or("?"), "a task of the engine panicked");
            Poll::Ready(())
        })
    }
}
