//! The real environment with hooks: every verb is counted, and a rule may make it fail or hold it back, by verb and
//! path. A verb that is held back has not been called below: it is, once it is let go.
use bulkhead::env::os::{OsEnv, OsOptions};
use bulkhead::env::{
    Access, Dir, DirEntry, DiskSpace, Env, File, Io, IoError, IoErrorKind, IoOp, LockGuard, Metadata,
    Missing, Owner, Sleep, Task,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Longest that a thread is held back.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done about a verb.
#[derive(Debug, Clone)]
pub enum Hook {
    /// It answers this and does nothing.
    Fail(IoErrorKind, i32),
    /// As `Fail`, and then the rule is lifted.
    FailOnce(IoErrorKind, i32),
    /// It is done, and answers this.
    DoAndFail(IoErrorKind, i32),
    /// It waits until the rule is lifted, and does what another rule says then.
    Hold,
    /// The thread that calls it waits until the rule is lifted or [`HookedEnv::let_one_go`] lets it go, does it, and has the
    /// answer at once. It waits for [`PATIENCE`]: a runtime ends only with its threads, so a test that failed meanwhile would
    /// hang.
    Block,
    /// The engine panics where it calls this.
    Panic,
}

#[derive(Debug, Clone)]
struct Rule {
    op: IoOp,
    part: String,
    hook: Hook,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<(IoOp, PathBuf)>>,
    /// How many calls that block their threads may go on all the same.
    passes: Mutex<u64>,
    /// Tells threads that are held back of changes of the rules and of passes.
    freed: Condvar,
    /// What the wall clock stands at, if the test says so.
    wall: Mutex<Option<Duration>>,
    /// Counts changes of the rules.
    changed: watch::Sender<u64>,
    handle: tokio::runtime::Handle,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HookedEnv {
    inner: Arc<OsEnv>,
    shared: Arc<Shared>,
}

impl HookedEnv {
    /// Without any rule, on the runtime that the caller runs in.
    pub fn new() -> Arc<HookedEnv> {
        let handle = tokio::runtime::Handle::current();
        let inner = OsEnv::new(handle.clone(), OsOptions::default());
        let (rules, calls, wall) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (passes, freed, changed) = (Mutex::default(), Condvar::new(), watch::Sender::new(0));
        let shared = Shared { rules, calls, passes, freed, wall, changed, handle };
        Arc::new(HookedEnv { inner, shared: Arc::new(shared) })
    }

    /// From now on `hook` is done about `op` wherever the path contains `part`.
    pub fn rule(&self, op: IoOp, part: &str, hook: Hook) {
        self.shared.rules.lock().unwrap().push(Rule { op, part: part.to_owned(), hook });
    }

    /// Lifts all rules; what was held back is called now.
    pub fn lift(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.tell();
    }

    /// One call that blocks its thread goes on.
    pub fn let_one_go(&self) {
        *self.shared.passes.lock().unwrap() += 1;
        self.shared.tell();
    }

    /// Lifts the rules about `op` alone.
    pub fn lift_only(&self, op: IoOp) {
        self.shared.rules.lock().unwrap().retain(|rule| rule.op != op);
        self.shared.tell();
    }

    /// Has `hook` done about `op` here alone, and no longer anywhere else.
    pub fn only(&self, op: IoOp, part: &str, hook: Hook) {
        let mut rules = self.shared.rules.lock().unwrap();
        rules.retain(|rule| rule.op != op);
        rules.push(Rule { op, part: part.to_owned(), hook });
        drop(rules);
        self.shared.tell();
    }

    /// From now on the wall clock stands at `wall`.
    pub fn set_wall(&self, wall: Duration) {
        *self.shared.wall.lock().unwrap() = Some(wall);
    }

    /// How often `op` was called on paths that contain `part`.
    pub fn count(&self, op: IoOp, part: &str) -> usize {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().filter(|(o, p)| *o == op && p.to_string_lossy().contains(part)).count()
    }
}

impl Shared {
    /// The rules or the passes have changed.
    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
        // Nobody who has just looked misses it: whoever looks holds this lock until it waits.
        drop(self.passes.lock().unwrap());
        self.freed.notify_all();
    }

    /// Holds the calling thread back while the rules say so.
    fn block(&self, op: IoOp, path: &Path) {
        let held = |passes: &mut u64| {
            let held = matches!(self.hook(op, path), Some(Hook::Block));
            let passes_now = held && *passes > 0;
            *passes -= u64::from(passes_now);
            held && !passes_now
        };
        let waited = self.freed.wait_timeout_while(self.passes.lock().unwrap(), PATIENCE, held);
        assert!(!waited.unwrap().1.timed_out(), "{op:?} of {} was held back for ever", path.display());
    }

    fn hook(&self, op: IoOp, path: &Path) -> Option<Hook> {
        let path = path.to_string_lossy();
        let mut rules = self.rules.lock().unwrap();
        let at = rules.iter().position(|r| r.op == op && path.contains(&r.part))?;
        let once = matches!(rules[at].hook, Hook::FailOnce(..));
        Some(if once { rules.remove(at).hook } else { rules[at].hook.clone() })
    }

    fn call<T: Send + Unpin + 'static>(
        self: &Arc<Self>,
        op: IoOp,
        path: PathBuf,
        call: impl FnOnce() -> Io<T> + Send + 'static,
    ) -> Io<T> {
        self.calls.lock().unwrap().push((op, path.clone()));
        let failed =
            |path, kind, os| Err(IoError::new(op, path, kind, "made to fail by the test").with_os(os));
        match self.hook(op, &path) {
            None => call(),
            Some(Hook::Fail(kind, os) | Hook::FailOnce(kind, os)) => Io::ready(failed(path, kind, os)),
            Some(Hook::DoAndFail(kind, os)) => {
                bulkhead::env::os::block_on(call()).expect("what is done and then fails is done");
                Io::ready(failed(path, kind, os))
            }
            Some(Hook::Panic) => panic!("made to panic by the test"),
            Some(Hook::Block) => {
                self.block(op, &path);
                Io::ready(bulkhead::env::os::block_on(call()))
            }
            Some(Hook::Hold) => {
                let (completer, io) = Io::pending();
                let shared = Arc::clone(self);
                self.handle.spawn(async move {
                    let mut changes = shared.changed.subscribe();
                    loop {
                        match shared.hook(op, &path) {
                            Some(Hook::Hold) => changes.changed().await.expect("the sender is held"),
                            Some(Hook::Fail(kind, os) | Hook::FailOnce(kind, os)) => {
                                let error = IoError::new(op, path, kind, "made to fail by the test");
                                return completer.complete(Err(error.with_os(os)));
                            }
                            _ => return completer.complete(call().await),
                        }
                    }
                });
                io
            }
        }
    }
}

impl Env for HookedEnv {
    fn open_root(&self, path: &Path, missing: Missing) -> Io<Arc<dyn Dir>> {
        // Opened at once: the tests have no rule about it, and what it returns must be wrapped.
        let opened = bulkhead::env::os::block_on(self.inner.open_root(path, missing));
        let shared = Arc::clone(&self.shared);
        Io::ready(opened.map(|inner| Arc::new(HookedDir { inner, shared }) as Arc<dyn Dir>))
    }
    fn sync_parent(&self, path: &Path) -> Io<()> {
        let (inner, owned) = (Arc::clone(&self.inner), path.to_path_buf());
        self.shared.call(IoOp::SyncParent, path.to_path_buf(), move || inner.sync_parent(&owned))
    }
    fn now(&self) -> Duration {
        self.inner.now()
    }
    fn wall(&self) -> Duration {
        self.shared.wall.lock().unwrap().unwrap_or_else(|| self.inner.wall())
    }
    fn sleep(&self, owner: Owner, duration: Duration) -> Sleep {
        self.inner.sleep(owner, duration)
    }
    fn spawn(&self, owner: Owner, name: &'static str, task: Task) {
        self.inner.spawn(owner, name, task);
    }
    fn entropy(&self, owner: Owner) -> u64 {
        self.inner.entropy(owner)
    }
}

#[derive(Debug)]
struct HookedDir {
    inner: Arc<dyn Dir>,
    shared: Arc<Shared>,
}

impl HookedDir {
    fn named<T: Send + Unpin + 'static>(
        &self,
        op: IoOp,
        name: &str,
        call: impl FnOnce(&dyn Dir, &str) -> Io<T> + Send + 'static,
    ) -> Io<T> {
        let (inner, owned) = (Arc::clone(&self.inner), name.to_owned());
        self.shared.call(op, self.inner.path().join(name), move || call(&*inner, &owned))
    }

    /// Wraps what a verb returns.
    fn wrapped<T: Send + Unpin + 'static, W: Send + Unpin + 'static>(
        &self,
        io: Io<T>,
        wrap: impl FnOnce(T, Arc<Shared>) -> W + Send + 'static,
    ) -> Io<W> {
        let shared = Arc::clone(&self.shared);
        let (completer, wrapped) = Io::pending();
        self.shared.handle.spawn(async move {
            let result = io.await;
            completer.complete(result.map(|value| wrap(value, shared)));
        });
        wrapped
    }
}

fn file(inner: Arc<dyn File>, shared: Arc<Shared>) -> Arc<dyn File> {
    Arc::new(HookedFile { inner, shared })
}

impl Dir for HookedDir {
    fn path(&self) -> PathBuf {
        self.inner.path()
    }
    fn as_owner(&self, owner: Owner) -> Arc<dyn Dir> {
        Arc::new(HookedDir { inner: self.inner.as_owner(owner), shared: Arc::clone(&self.shared) })
    }
    fn open(&self, name: &str, access: Access) -> Io<Arc<dyn File>> {
        self.wrapped(self.named(IoOp::Open, name, move |d, name| d.open(name, access)), file)
    }
    fn create(&self, name: &str) -> Io<Arc<dyn File>> {
        self.wrapped(self.named(IoOp::Create, name, |d, name| d.create(name)), file)
    }
    fn rename(&self, from: &str, to: &str) -> Io<()> {
        let to = to.to_owned();
        self.named(IoOp::Rename, from, move |d, from| d.rename(from, &to))
    }
    fn remove(&self, name: &str) -> Io<()> {
        self.named(IoOp::Remove, name, |d, name| d.remove(name))
    }
    fn remove_dir(&self, name: &str) -> Io<()> {
        self.named(IoOp::RemoveDir, name, |d, name| d.remove_dir(name))
    }
    fn list(&self) -> Io<Vec<DirEntry>> {
        self.named(IoOp::List, "", |d, _| d.list())
    }
    fn metadata(&self, name: &str) -> Io<Metadata> {
        self.named(IoOp::Metadata, name, |d, name| d.metadata(name))
    }
    fn make_dir(&self, name: &str) -> Io<()> {
        self.named(IoOp::MakeDir, name, |d, name| d.make_dir(name))
    }
    fn open_dir(&self, name: &str) -> Io<Arc<dyn Dir>> {
        let io = self.named(IoOp::OpenDir, name, |d, name| d.open_dir(name));
        self.wrapped(io, |inner, shared| Arc::new(HookedDir { inner, shared }) as Arc<dyn Dir>)
    }
    fn sync(&self) -> Io<()> {
        self.named(IoOp::SyncDir, "", |d, _| d.sync())
    }
    fn disk_space(&self) -> Io<DiskSpace> {
        self.named(IoOp::DiskSpace, "", |d, _| d.disk_space())
    }
    fn lock(&self, name: &str) -> Io<LockGuard> {
        self.named(IoOp::Lock, name, |d, name| d.lock(name))
    }
}

#[derive(Debug)]
struct HookedFile {
    inner: Arc<dyn File>,
    shared: Arc<Shared>,
}

impl HookedFile {
    fn hooked<T: Send + Unpin + 'static>(
        &self,
        op: IoOp,
        call: impl FnOnce(&dyn File) -> Io<T> + Send + 'static,
    ) -> Io<T> {
        let inner = Arc::clone(&self.inner);
        self.shared.call(op, self.inner.path(), move || call(&*inner))
    }
}

impl File for HookedFile {
    fn path(&self) -> PathBuf {
        self.inner.path()
    }
    fn read_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>> {
        self.hooked(IoOp::ReadAt, move |f| f.read_at(offset, buf))
    }
    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<Vec<u8>> {
        self.hooked(IoOp::WriteAt, move |f| f.write_at(offset, buf))
    }
    fn sync(&self) -> Io<()> {
        self.hooked(IoOp::Sync, |f| f.sync())
    }
    fn allocate(&self, len: u64) -> Io<()> {
        self.hooked(IoOp::Allocate, move |f| f.allocate(len))
    }
    fn truncate(&self, len: u64) -> Io<()> {
        self.hooked(IoOp::Truncate, move |f| f.truncate(len))
    }
    fn len(&self) -> Io<u64> {
        self.hooked(IoOp::Len, |f| f.len())
    }
}
