//! The two pools of an [`super::OsEnv`], and calls on them that answer an [`Io`].
use super::OsOptions;
use super::pool::Pool;
use crate::env::{Io, IoError, IoErrorKind, IoOp, IoResult, Owner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Reads have a pool of their own: a space that reads never waits behind its own syncs.
#[derive(Debug)]
pub(super) struct Pools {
    changes: Pool,
    reads: Pool,
    inline_max: usize,
}

impl Pools {
    pub(super) fn new(options: &OsOptions) -> Pools {
        Pools {
            changes: Pool::new("io", options.changes),
            reads: Pool::new("read", options.reads),
            inline_max: options.inline_max,
        }
    }

    /// Longest transfer that is done on the calling thread.
    pub(super) fn inline_max(&self) -> usize {
        self.inline_max
    }

    /// Runs `call` on the pool of syncs, names and everything else that changes something.
    pub(super) fn change<T: Send + 'static>(
        &self,
        owner: Owner,
        op: IoOp,
        path: &Path,
        call: impl FnOnce() -> IoResult<T> + Send + 'static,
    ) -> Io<T> {
        submit(&self.changes, owner, op, path, call)
    }

    /// Runs `call` on the pool of reads.
    pub(super) fn read<T: Send + 'static>(
        &self,
        owner: Owner,
        op: IoOp,
        path: &Path,
        call: impl FnOnce() -> IoResult<T> + Send + 'static,
    ) -> Io<T> {
        submit(&self.reads, owner, op, path, call)
    }
}

fn submit<T: Send + 'static>(
    pool: &Pool,
    owner: Owner,
    op: IoOp,
    path: &Path,
    call: impl FnOnce() -> IoResult<T> + Send + 'static,
) -> Io<T> {
    let (completer, io) = Io::pending();
    let path = path.to_path_buf();
    let job = move || {
        // An unanswered `Io` would wait for ever: a panic is an answer too.
        let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            Err(IoError::new(
                op,
                &path,
                IoErrorKind::Device,
                "the call panicked; this is a bug in the engine",
            ))
        });
        completer.complete(result);
    };
    pool.submit(owner, Box::new(job));
    io
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::os::block_on;

    #[test]
    fn a_call_that_panics_is_answered() {
        let pools = Pools::new(&OsOptions::default());
        let path = Path::new("/x");
        let io: Io<()> = pools.change(Owner(1), IoOp::Sync, path, || panic!("on purpose"));
        let error = block_on(io).unwrap_err();
        assert_eq!((error.op, error.kind), (IoOp::Sync, IoErrorKind::Device));
        assert_eq!(block_on(pools.change(Owner(1), IoOp::Sync, path, || Ok(5))), Ok(5));
        assert_eq!(block_on(pools.read(Owner(1), IoOp::Len, path, || Ok(6))), Ok(6));
    }
}
