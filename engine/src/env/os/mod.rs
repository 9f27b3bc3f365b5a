//! [`OsEnv`]: the real operating system. The only place of the engine that touches files, clocks and threads.
//!
//! **What runs where.** Writes go to the page cache on the calling thread; reads try the page cache there too and go
//! to a pool when they would wait for the device. Opening something to be read and asking what a name stands for try
//! the kernel's cache of names there, in the same way (`RESOLVE_CACHED`, from Linux 5.12 on). Everything else (syncs,
//! allocation, changes of names, lists, locks, transfers longer than [`OsOptions::inline_max`]), and names that are not
//! cached, runs on a second pool. In both an [`Owner`] has a bounded share, so that a slow file stalls only its own
//! space, and threads end when idle. Dropping an [`Io`] leaves the operation running.
//!
//! **What is not promised.** A write to the page cache can itself wait when the kernel throttles writers or when the
//! file system's journal stands still, and so can asking a file system on the network how long an open file is; then
//! it holds up the thread of the runtime that called it.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this module is where the engine meets files, clocks and threads"
)]
#[cfg(not(target_os = "linux"))]
compile_error!("OsEnv is written for Linux: it relies on openat, fallocate, preadv2 and renameat2");

mod block_on;
mod dir;
mod errno;
mod file;
mod lock;
mod memory;
mod pool;
mod pools;
mod root;
mod task;
mod transfer;

pub use block_on::{block_on, block_on_here};
pub use pool::PoolLimits;

use crate::env::{Dir, Env, Io, IoOp, Missing, Owner, Sleep, Task};
use crate::limits::GROUP_BYTES_MAX;
use pools::Pools;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// Bounds of an [`OsEnv`].
#[derive(Debug, Clone)]
pub struct OsOptions {
    /// Threads for syncs, names and everything else that changes something.
    pub changes: PoolLimits,
    /// Threads for reads that have to wait for the device.
    pub reads: PoolLimits,
    /// Longest read from or write to the page cache, in bytes, that runs on the calling thread.
    pub inline_max: usize,
}

impl Default for OsOptions {
    fn default() -> OsOptions {
        let limits = PoolLimits { owners: 64, extra: 16, share: 8, idle: Duration::from_secs(5) };
        OsOptions { changes: limits, reads: limits, inline_max: GROUP_BYTES_MAX }
    }
}

/// The real operating system, with timers and tasks on a tokio runtime.
#[derive(Debug)]
pub struct OsEnv {
    handle: Handle,
    pools: Arc<Pools>,
    start: Instant,
}

impl OsEnv {
    /// An environment that runs tasks and timers on `handle`'s runtime, which must have its timer enabled and must
    /// outlive what was opened with the environment.
    ///
    /// # Panics
    /// When a pool's `owners` or `share` is zero.
    #[must_use]
    pub fn new(handle: Handle, options: OsOptions) -> Arc<OsEnv> {
        Arc::new(OsEnv { handle, pools: Arc::new(Pools::new(&options)), start: Instant::now() })
    }

    /// The same on the runtime that the caller runs in, with default options.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn current() -> Arc<OsEnv> {
        OsEnv::new(Handle::current(), OsOptions::default())
    }
}

impl Env for OsEnv {
    fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>> {
        let (owned, pools) = (path.to_path_buf(), Arc::clone(&self.pools));
        self.pools.change(Owner::ENGINE, IoOp::OpenRoot, path, move || {
            let fd = root::open(&owned, missing)?;
            let dir: Arc<dyn Dir> = Arc::new(dir::OsDir::new(fd, owned, Owner::ENGINE, pools));
            Ok(dir)
        })
    }

    fn sync_parent(&self, path: &Path) -> Io<()> {
        let owned = path.to_path_buf();
        self.pools.change(Owner::ENGINE, IoOp::SyncParent, path, move || root::sync_parent(&owned))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn sleep(&self, _owner: Owner, duration: Duration) -> Sleep {
        let _runtime = self.handle.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, _owner: Owner, name: &'static str, task: Task) {
        // Detached: the handle that could join it is dropped.
        drop(self.handle.spawn(task::Told { name, task }));
    }

    fn entropy(&self, _owner: Owner) -> u64 {
        let mut bytes = [0; 8];
        let n = rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        })
        .expect("the kernel has random bytes (Linux 3.17 or later)");
        assert_eq!(n, bytes.len(), "up to 256 random bytes come whole");
        u64::from_ne_bytes(bytes)
    }
}
