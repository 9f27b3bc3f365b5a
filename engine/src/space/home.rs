//! The directories of a space, open while it is used.
//!
//! They are opened by their names again once the space was at rest. A deletion has said so before it gives the name to
//! somebody else, and then nothing is opened any more. Should the name have changed hands in between, nothing is mistaken
//! for something else: the names of files are random, and all that they hold is verified against the space's own uid.
use crate::context::Context;
use crate::descriptors::{Held, Holder, Round};
use crate::env::{Dir, IoError, IoErrorKind, IoOp, IoResult, Owner};
use crate::ids::SpaceId;
use crate::paths::WAL_DIR;
use crate::recovery::Dirs;
use crate::sync::{AtomicBool, Mutex, OnceLock, Ordering};
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// Directories of a space: its own, the log's, and three of tiers.
const DIRS: u64 = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    /// `None` for directories that stay open.
    from: Option<From>,
    open: Mutex<Option<Arc<OpenDirs>>>,
    /// One at a time opens them.
    opening: tokio::sync::Mutex<()>,
    used: AtomicBool,
    /// The space is being deleted, or was: its name may be another one's.
    moved_away: AtomicBool,
}

#[derive(Debug)]
struct From {
    context: Arc<Context>,
    root: Arc<dyn Dir>,
    id: SpaceId,
    /// Who gives back what is open: whoever this is the home of.
    holder: OnceLock<Weak<dyn Holder>>,
}

/// Directories that stay open as long as this is held.
#[derive(Debug)]
pub(crate) struct OpenDirs {
    dirs: Dirs,
    _held: Option<Held>,
}

impl Deref for OpenDirs {
    type Target = Dirs;

    fn deref(&self) -> &Dirs {
        &self.dirs
    }
}

impl Home {
    /// Of an open space, with what recovery or creation opened.
    pub(super) fn new(
        context: &Arc<Context>,
        root: &Arc<dyn Dir>,
        id: &SpaceId,
        dirs: Dirs,
        held: Held,
    ) -> Home {
        let from = From {
            context: context.clone(),
            root: root.as_owner(Owner::of(id)),
            id: id.clone(),
            holder: OnceLock::new(),
        };
        Home::with(Some(from), OpenDirs { dirs, _held: Some(held) })
    }

    /// What opening or making `id` takes of the budget for descriptors.
    pub(crate) async fn admit(context: &Arc<Context>, id: &SpaceId) -> Held {
        context.descriptors.acquire(DIRS, &*context.env, Owner::of(id)).await
    }

    /// Of what nobody serves from.
    pub(crate) fn fixed(dirs: Dirs) -> Home {
        Home::with(None, OpenDirs { dirs, _held: None })
    }

    fn with(from: Option<From>, open: OpenDirs) -> Home {
        Home {
            from,
            open: Mutex::new(Some(Arc::new(open))),
            opening: tokio::sync::Mutex::new(()),
            used: AtomicBool::new(true),
            moved_away: AtomicBool::new(false),
        }
    }

    /// Whose home this is: asked to rest from time to time, and when descriptors are short, while this is open.
    pub(super) fn belongs_to(&self, holder: Weak<dyn Holder>) {
        let from = self.from.as_ref().expect("only what may be closed belongs to somebody");
        from.holder.set(holder).expect("a home belongs to one space");
        from.join();
    }

    /// The directories, opened if they are not.
    pub(super) async fn dirs(&self) -> IoResult<Arc<OpenDirs>> {
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let from = self.from.as_ref().expect("what has nothing to be opened from stays open");
        let _turn = self.opening.lock().await;
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let held = Home::admit(&from.context, &from.id).await;
        self.may_open(from)?;
        let space = from.root.open_dir(&from.id.dir_name()).await?;
        let wal = space.open_dir(WAL_DIR).await?;
        self.may_open(from)?;
        let open = Arc::new(OpenDirs { dirs: Dirs::new(space, wal), _held: Some(held) });
        *self.open.lock() = Some(open.clone());
        from.join();
        Ok(open)
    }

    fn present(&self) -> Option<Arc<OpenDirs>> {
        self.note_use();
        self.open.lock().clone()
    }

    fn may_open(&self, from: &From) -> IoResult<()> {
        if self.moved_away.load(Ordering::Acquire) {
            let path = from.root.path().join(from.id.dir_name());
            return Err(IoError::new(IoOp::OpenDir, path, IoErrorKind::NotFound, "the space was deleted"));
        }
        Ok(())
    }

    /// Notes that the space uses its descriptors.
    pub(super) fn note_use(&self) {
        // Most of the time nothing is written, so that readers do not take the line from one another.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since this was last asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Takes the directories; they are closed once nobody holds them any more.
    pub(super) fn take(&self) -> Option<Arc<OpenDirs>> {
        assert!(self.from.is_some(), "what stays open is not closed");
        self.open.lock().take()
    }

    /// The name of the space's directory may be another one's from now on.
    pub(super) fn move_away(&self) {
        self.moved_away.store(true, Ordering::Release);
    }

    /// Descriptors for tables of this space.
    pub(super) async fn for_table(&self) -> Option<Held> {
        let from = self.from.as_ref()?;
        Some(from.context.descriptors.acquire(1, &*from.context.env, Owner::of(&from.id)).await)
    }
}

impl From {
    fn join(&self) {
        let Some(holder) = self.holder.get() else { return };
        if self.context.descriptors.join(holder.clone()) {
            let of = Arc::downgrade(&self.context);
            self.context.env.spawn(Owner::ENGINE, "rest", Box::pin(sweep(of)));
        }
    }
}

/// Asks all holders of descriptors from time to time, as long as there are any.
async fn sweep(of: Weak<Context>) {
    loop {
        let Some((env, pause)) = of.upgrade().map(|c| (c.env.clone(), c.config.idle_close())) else { return };
        env.sleep(Owner::ENGINE, pause).await;
        let Some(context) = of.upgrade() else { return };
        context.descriptors.ask_to_rest(Round::Unused, |_| false);
        if !context.descriptors.is_still_swept() {
            return;
        }
    }
}
