//! [`Io`]: the answer of a verb, ready at once or completed by someone else.
use crate::io_error::IoResult;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// The answer of a verb.
///
/// A concrete future. When the other side goes away without an answer it never completes: that is what a frozen
/// machine looks like from inside.
#[must_use = "an Io that is not awaited hides its error"]
pub struct Io<T>(State<T>);

enum State<T> {
    Ready(Option<IoResult<T>>),
    Waiting(oneshot::Receiver<IoResult<T>>),
    Mapped(Mapped<T>),
    Never,
}

/// An answer on its way to another form.
type Mapped<T> = Pin<Box<dyn Future<Output = IoResult<T>> + Send + Sync>>;

/// The other end of an [`Io`]. Dropping it unanswered leaves the `Io` waiting for ever.
pub struct Completer<T>(oneshot::Sender<IoResult<T>>);

impl<T> Io<T> {
    /// An answer that is there already.
    pub fn ready(result: IoResult<T>) -> Io<T> {
        Io(State::Ready(Some(result)))
    }

    /// Short for an Ok that is there already.
    pub fn ok(value: T) -> Io<T> {
        Io::ready(Ok(value))
    }

    /// An answer that never comes.
    pub fn never() -> Io<T> {
        Io(State::Never)
    }

    /// An answer that the [`Completer`] gives later, from any thread.
    pub fn pending() -> (Completer<T>, Io<T>) {
        let (sender, receiver) = oneshot::channel();
        (Completer(sender), Io(State::Waiting(receiver)))
    }

    /// The answer if it is there, else the `Io` back. Never waits.
    ///
    /// # Errors
    /// Not an error: the unanswered `Io`.
    pub fn try_take(mut self) -> Result<IoResult<T>, Io<T>> {
        match &mut self.0 {
            State::Ready(result) => Ok(result.take().expect("an Io is not used after it answered")),
            State::Never => Err(self),
            State::Mapped(answer) => match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => Ok(result),
                Poll::Pending => Err(self),
            },
            State::Waiting(receiver) => match receiver.try_recv() {
                Ok(result) => Ok(result),
                Err(oneshot::error::TryRecvError::Empty) => Err(self),
                Err(oneshot::error::TryRecvError::Closed) => Err(Io::never()),
            },
        }
    }
}

impl<T: Send + Sync + Unpin + 'static> Io<T> {
    /// The same answer in another form.
    pub fn map<U: 'static>(self, form: fn(T) -> U) -> Io<U> {
        match self.0 {
            State::Ready(result) => Io(State::Ready(result.map(|r| r.map(form)))),
            State::Never => Io::never(),
            State::Waiting(_) | State::Mapped(_) => {
                Io(State::Mapped(Box::pin(async move { self.await.map(form) })))
            }
        }
    }
}

impl<T> Completer<T> {
    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    /// Gives the answer. Nobody waiting for it any more is fine.
    pub fn complete(self, result: IoResult<T>) {
        let _ = self.0.send(result);
    }
}

impl<T: Unpin> Future for Io<T> {
    type Output = IoResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<T>> {
        match &mut self.0 {
            State::Ready(result) => {
                Poll::Ready(result.take().expect("an Io is not polled after it answered"))
            }
            State::Never => Poll::Pending,
            State::Mapped(answer) => answer.as_mut().poll(cx),
            State::Waiting(receiver) => match Pin::new(receiver).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(result)) => Poll::Ready(result),
                Poll::Ready(Err(_)) => {
                    self.0 = State::Never;
                    Poll::Pending
                }
            },
        }
    }
}

impl<T> fmt::Debug for Io<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Io(ready)",
            State::Waiting(_) | State::Mapped(_) => "Io(waiting)",
            State::Never => "Io(never)",
        })
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_io_never_completes_and_a_ready_one_is_taken_at_once() {
        assert_eq!(Io::ok(3).try_take().unwrap(), Ok(3));
        let (completer, io) = Io::<u8>::pending();
        let io = io.try_take().expect_err("not answered yet");
        drop(completer);
        let io = io.try_take().expect_err("abandoned");
        assert!(io.try_take().is_err());
        let (completer, io) = Io::pending();
        completer.complete(Ok(7));
        assert_eq!(io.try_take().unwrap(), Ok(7));
    }

    #[test]
    fn a_mapped_io_answers_when_the_io_itself_does() {
        assert_eq!(Io::ok(3).map(|n| n + 1).try_take().unwrap(), Ok(4));
        assert!(Io::<u8>::never().map(|n| n + 1).try_take().is_err());
        let (completer, io) = Io::pending();
        let io = io.map(|n: u8| n + 1).map(u64::from).try_take().expect_err("not answered yet");
        completer.complete(Ok(7));
        assert_eq!(io.try_take().unwrap(), Ok(8));
        let (completer, io) = Io::<u8>::pending();
        drop(completer);
        assert!(io.map(|n| n).try_take().is_err(), "abandoned");
    }
}
