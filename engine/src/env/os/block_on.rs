//! [`block_on`] and [`block_on_here`]: wait for a future on the calling thread.
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs `future` to its end on the calling thread, which parks while there is nothing to do.
///
/// Needs no runtime, and none of its own tasks run here: what the future waits for must be done by somebody else.
pub fn block_on<F: Future>(future: F) -> F::Output {
    wait(future, Syncs::OnPool)
}

/// As [`block_on`], and a sync that `future` itself asks an [`super::OsEnv`] for runs on the calling thread: as fast
/// as the bare call, where the way to the pool and back costs two wakes. For a future that does one thing after the
/// other, such as a single commit; what it would do at the same time as a sync waits for the sync.
pub fn block_on_here<F: Future>(future: F) -> F::Output {
    wait(future, Syncs::Here)
}

fn wait<F: Future>(future: F, syncs: Syncs) -> F::Output {
    let signal = Arc::new(Signal { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&signal));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        let polled = {
            let _syncs = syncs.enter();
            future.as_mut().poll(&mut cx)
        };
        if let Poll::Ready(output) = polled {
            return output;
        }
        // The thread may be unparked by others too: only the flag counts.
        while !signal.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Where syncs run that are asked for on a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncs {
    /// On the pool: the thread is not to be held up.
    OnPool,
    /// On the thread: it waits for this answer anyway.
    Here,
}

thread_local! {
    static SYNCS: Cell<Syncs> = const { Cell::new(Syncs::OnPool) };
}

impl Syncs {
    pub(super) fn of_this_thread() -> Syncs {
        SYNCS.get()
    }

    /// Makes it so for the calling thread until the guard is dropped.
    fn enter(self) -> Entered {
        Entered(SYNCS.replace(self))
    }
}

/// Puts back what was before, also when a future panics.
struct Entered(Syncs);

impl Drop for Entered {
    fn drop(&mut self) {
        SYNCS.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_future_is_polled_until_it_is_ready_and_not_for_foreign_wakes() {
        let mut polls = 0;
        let this = thread::current();
        let future = std::future::poll_fn(|cx| {
            polls += 1;
            let waker = cx.waker().clone();
            match polls {
                // Woken before it returns, from elsewhere, and again after somebody else unparked the thread.
                1 => waker.wake(),
                2 => drop(thread::spawn(move || waker.wake())),
                3 => {
                    this.unpark();
                    drop(thread::spawn(move || {
                        thread::sleep(Duration::from_millis(2));
                        waker.wake_by_ref();
                    }));
                }
                _ => return Poll::Ready(()),
            }
            Poll::Pending
        });
        block_on(future);
        assert_eq!(polls, 4);
    }

    #[test]
    fn where_syncs_run_holds_for_the_poll_alone() {
        let place = || std::future::ready(Syncs::of_this_thread());
        assert_eq!(block_on(async { place().await }), Syncs::OnPool);
        assert_eq!(block_on_here(async { place().await }), Syncs::Here);
        let nested = block_on_here(async { (block_on(async { place().await }), place().await) });
        assert_eq!(nested, (Syncs::OnPool, Syncs::Here));
        let panics = std::panic::catch_unwind(|| block_on_here(async { panic!("on purpose") }));
        assert!(panics.is_err());
        assert_eq!(Syncs::of_this_thread(), Syncs::OnPool);
    }
}
