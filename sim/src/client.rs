//! One client of one space: does its operations in order and checks every answer against the model.
use crate::adapter::SimEnv;
use crate::failure::{Failure, Guarantee};
use crate::model::{Changes, Content, Existence};
use crate::plan::{Guess, Item, Op, Wait, group_prefix, key_bytes, lies_in, stretch};
use crate::probe::Probe;
use crate::repair::{self, Others};
use crate::story::{Doing, Story, in_order};
use crate::views::{Kept, Leisure};
use bulkhead::env::Owner;
use bulkhead::{
    Batch, Commit, Direction, Durability, Engine, Error, ErrorKind, Expected, Lsn, Outcome, Precondition,
    Priority, PutOptions, Rejected, Snapshot, Space, SpaceState, WriteOptions,
};
use bulkhead_fault_injection::decide::mix;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub mod deletion;
mod ranges;
mod reserve;

/// See the module.
#[derive(Debug)]
pub struct Client {
    pub story: Arc<Story>,
    pub engine: Engine,
    pub env: Arc<SimEnv>,
    pub space: usize,
    pub client: u64,
    pub boot: u64,
    /// Which of the spaces of this id the present operation is about.
    generation: u64,
    /// Whether it only deletes.
    deletes: bool,
    /// How often the disk had been filled and emptied when it began.
    fills: u64,
    tickets: Vec<(u64, Commit)>,
    snapshots: VecDeque<Kept>,
    fences: u32,
    values: u64,
}

type Checked<T> = Result<T, Failure>;

impl Client {
    /// A client that did nothing yet.
    #[must_use]
    pub fn new(
        story: Arc<Story>,
        engine: Engine,
        env: Arc<SimEnv>,
        space: usize,
        client: u64,
        boot: u64,
    ) -> Client {
        let (tickets, snapshots) = (Vec::new(), VecDeque::new());
        let generation = 0;
        Client {
            story,
            engine,
            env,
            space,
            client,
            boot,
            generation,
            deletes: false,
            fills: 0,
            tickets,
            snapshots,
            fences: 0,
            values: 0,
        }
    }

    /// Does `ops`, one at each of its turns.
    ///
    /// # Errors
    /// What did not agree with the model.
    pub async fn run(mut self, ops: Vec<Op>) -> Checked<()> {
        let owner = Owner(self.story.owner(self.space));
        for op in ops {
            self.env.turn(owner, self.client).await;
            self.act(&op).await?;
            self.story.look_at_cache()?;
            let mut shared = self.story.shared();
            shared.operations += 1;
            if shared.troubled && self.space != 0 {
                shared.overlapping += 1;
            }
            drop(shared);
            self.story.model(self.space).operations += 1;
        }
        if self.story.limits_views(self.space) {
            self.story.serving(self.space, self.snapshots.iter()).await?;
        }
        for kept in std::mem::take(&mut self.snapshots) {
            self.compare(kept).await?;
        }
        Ok(())
    }

    async fn act(&mut self, op: &Op) -> Checked<()> {
        if let Op::Pause { ms } = op {
            let owner = Owner(self.story.owner(self.space));
            self.env.pause(owner, Duration::from_millis(u64::from(*ms))).await;
            return Ok(());
        }
        let Some((space, generation)) = self.handle().await? else { return Ok(()) };
        self.generation = generation;
        {
            let model = self.story.model(self.space);
            if model.generation != generation || model.handle.as_ref() != Some(&space) {
                // It was deleted while it was looked at, or another opening has begun: this one shows what was there.
                return Ok(());
            }
        }
        self.deletes = matches!(op, Op::Delete { .. } | Op::DeleteRange { .. } | Op::Clear { .. });
        self.fills = self.story.shared().fills;
        match op {
            Op::Put { key, len, priority, wait } => {
                let content = self.content(*len, *priority);
                self.put(&space, *key, Some(content), *wait).await?;
            }
            Op::Delete { key, wait } => self.put(&space, *key, None, *wait).await?,
            Op::Batch { items, wait } => self.batch(&space, items, *wait).await?,
            Op::DeleteRange { from, to, wait } => {
                self.delete_range(&space, stretch(*from, *to), *wait).await?;
            }
            Op::Clear { wait } => self.clear(&space, *wait).await?,
            Op::PutIf { key, len, guess } => self.put_if(&space, *key, *len, *guess).await?,
            Op::Abandon { key, len, polls } => self.abandon(&space, *key, *len, *polls).await?,
            Op::Get { key } => self.multi_get(&space, &[*key], false).await?,
            Op::MultiGet { keys } => self.multi_get(&space, keys, true).await?,
            Op::Scan { from, to, backwards } => self.scan(&space, *from, *to, *backwards).await?,
            Op::ScanPrefix { group, backwards } => self.scan_prefix(&space, *group, *backwards).await?,
            Op::Snapshot => self.keep(&space, space.snapshot())?,
            Op::DurableSnapshot => self.keep(&space, space.durable_snapshot())?,
            Op::Compare => {
                if let Some(kept) = self.snapshots.pop_front() {
                    self.compare(kept).await?;
                }
            }
            Op::Flush { durability } => {
                let last = space.last_lsn();
                let result = space.flush(*durability).await;
                self.settle(generation, last, *durability, result).await?;
            }
            Op::Compact => {
                let (before, last) = (self.story.overwritten(self.space), space.last_lsn());
                match space.compact().await {
                    Err(e) => self.refused(&e).await?,
                    Ok(()) => {
                        self.has_unloaded(&space, last)?;
                        if let Some(before) = before {
                            let kept = self.snapshots.iter();
                            self.story.are_within_bytes(self.space, &space, &before, kept).await?;
                        }
                    }
                }
            }
            Op::Await { durability } => {
                for (of, ticket) in std::mem::take(&mut self.tickets) {
                    let result = ticket.durable(*durability).await;
                    self.settle(of, ticket.lsn(), *durability, result).await?;
                }
            }
            Op::Outcome => self.outcomes(&space)?,
            Op::Reopen => self.reopen().await?,
            Op::Shutdown => self.shutdown(&space).await?,
            Op::CreateAgain => {
                let result = self.engine.create_space(space.id()).await;
                match result {
                    Err(e) if e.kind() == ErrorKind::Rejected(Rejected::SpaceExists) => {}
                    Err(e) => self.story.judge(self.space, Doing::Creating, &e)?,
                    Ok(new) if self.story.model(self.space).deletes > 0 => {
                        self.story.observe(self.space, &new).await?;
                    }
                    Ok(_) => return Err(self.failure(Guarantee::G3Isolation, "created over a space")),
                }
            }
            Op::DeleteSpace { then } => self.delete_space(*then).await?,
            Op::Pause { .. } => {}
        }
        // Whatever the engine says to be durable is a promise.
        let mut model = self.story.model(self.space);
        if model.handle.as_ref() == Some(&space) {
            model.promise_power(space.durable_lsn())?;
        }
        Ok(())
    }

    fn failure(&self, guarantee: Guarantee, what: impl std::fmt::Display) -> Failure {
        self.story.model(self.space).failure(guarantee, what)
    }

    /// The handle of the present opening, opening or creating the space if need be.
    async fn handle(&mut self) -> Checked<Option<(Space, u64)>> {
        let (id, existence) = {
            let mut model = self.story.model(self.space);
            if let Some(handle) = &model.handle
                && !matches!(handle.state(), SpaceState::Closed | SpaceState::Deleted)
            {
                return Ok(Some((handle.clone(), model.generation)));
            }
            let before = model.existence;
            if before == Existence::Never {
                model.existence = Existence::Perhaps;
            }
            (model.id.clone(), before)
        };
        let creates = existence != Existence::Certain;
        let result = match (creates, self.client % 2) {
            (false, 1) => self.engine.space(&id).await,
            _ => self.creates(self.engine.get_or_create_space(&id)).await,
        };
        if creates && existence == Existence::Perhaps {
            self.story.hit(Probe::FirstTouches);
        }
        match result {
            Ok(space) => {
                let generation = self.story.observe(self.space, &space).await?;
                Ok(Some((space, generation)))
            }
            Err(e) => {
                let doing = if creates { Doing::Creating } else { Doing::Opening };
                self.tell_error(doing, &e)?;
                repair::order(&self.story, &self.engine, self.space, Others::Some, &e).await?;
                Ok(None)
            }
        }
    }

    /// Awaits a call that makes the space where it is not there.
    async fn creates<T>(&self, call: impl Future<Output = T>) -> T {
        self.story.model(self.space).creating += 1;
        let made = call.await;
        self.story.model(self.space).creating -= 1;
        made
    }

    fn tell_error(&self, doing: Doing, e: &Error) -> Checked<()> {
        self.story.model(self.space).tell(Story::error_hash(e));
        self.story.judge(self.space, doing, e)
    }

    async fn reopen(&mut self) -> Checked<()> {
        let id = {
            let mut model = self.story.model(self.space);
            model.reopens += 1;
            model.id.clone()
        };
        let result = self.engine.reopen(&id).await;
        match result {
            Ok(space) => self.story.observe(self.space, &space).await.map(|_| ()),
            Err(e) => self.tell_error(Doing::Opening, &e),
        }
    }

    /// `space` said that all up to `last` is compacted: unless somebody wrote meanwhile, nothing of it is in memory alone.
    fn has_unloaded(&self, space: &Space, last: Lsn) -> Checked<()> {
        let stats = space.stats();
        let quiet = matches!(space.state(), SpaceState::Open) && stats.log.last == last;
        if quiet && stats.log.flushed < last && stats.memory.bytes > 0 {
            let what = format!("it was compacted, and memory was not flushed: {stats:?}");
            return Err(self.failure(Guarantee::G10Bounded, what));
        }
        Ok(())
    }

    /// Ends the opening `space`: with Ok everything that was ordered in it is durable, and it is not open any more.
    async fn shutdown(&mut self, space: &Space) -> Checked<()> {
        let before = space.last_lsn();
        self.story.model(self.space).reopens += 1;
        let result = space.shutdown().await;
        let state = space.state();
        match result {
            _ if matches!(state, SpaceState::Open) => {
                Err(self.failure(Guarantee::G9Liveness, "it was shut down, and is open"))
            }
            Ok(()) if matches!(state, SpaceState::Deleted) => Ok(()),
            Ok(()) => {
                self.story.hit(Probe::ShutDown);
                self.settle(self.generation, before, Durability::Power, Ok(())).await
            }
            Err(e) => self.refused(&e).await,
        }
    }

    /// Runs a write; notes the commit in the very poll that ordered it.
    async fn watch<T>(
        &self,
        space: &Space,
        changes: &Changes,
        polls: u32,
        write: impl Future<Output = T>,
    ) -> Checked<(Option<T>, Option<Lsn>)> {
        let mut write = pin!(write);
        let (mut ordered, mut polled_times) = (None, 0);
        let result = poll_fn(|cx| {
            let (last, durable) = (space.last_lsn(), space.durable_lsn());
            let polled = write.as_mut().poll(cx);
            let lsn = space.last_lsn();
            if lsn != last {
                let noted = self
                    .still_there(self.generation, "a commit was ordered")
                    .and_then(|()| self.story.model(self.space).ordered(lsn, durable, changes));
                ordered = Some(lsn);
                let puts = changes.keys.iter().any(|(_, content)| content.is_some());
                let let_in = if puts { self.story.let_in(self.space) } else { Ok(()) };
                if let Err(failure) = noted.and(let_in).and(reserve::ordered(self, puts)) {
                    return Poll::Ready(Err(failure));
                }
            }
            polled_times += 1;
            match polled {
                Poll::Ready(result) => Poll::Ready(Ok(Some(result))),
                Poll::Pending if polled_times >= polls => Poll::Ready(Ok(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        Ok((result, ordered))
    }

    fn content(&mut self, len: u32, priority: i32) -> Content {
        self.values += 1;
        let id = mix(mix(self.boot, self.client), self.values);
        Content { id: mix(id, self.story.owner(self.space)), len, priority }
    }

    async fn put(&mut self, space: &Space, key: u16, content: Option<Content>, wait: Wait) -> Checked<()> {
        let changes = vec![(key, content)].into();
        let key = key_bytes(key);
        let put = content.map(|content| (content.bytes(), options(content)));
        if wait == Wait::Configured {
            let (result, lsn) = match &put {
                Some((value, options)) => {
                    self.watch(space, &changes, u32::MAX, space.put_with(&key, value, *options)).await?
                }
                None => self.watch(space, &changes, u32::MAX, space.delete(&key)).await?,
            };
            return self.configured(result.expect("it was not abandoned"), lsn).await;
        }
        let (result, lsn) = match put {
            Some((value, options)) if options != PutOptions::default() => {
                let mut batch = Batch::new();
                batch.put_with(key, value, options);
                let write = space.write(&batch, WriteOptions::default());
                self.watch(space, &changes, u32::MAX, write).await?
            }
            Some((value, _)) => self.watch(space, &changes, u32::MAX, space.put_commit(&key, value)).await?,
            None => self.watch(space, &changes, u32::MAX, space.delete_commit(&key)).await?,
        };
        self.follow(result.expect("it was not abandoned"), lsn, wait).await
    }

    /// A call returned that waits for what is configured.
    async fn configured(&mut self, result: Result<Lsn, Error>, lsn: Option<Lsn>) -> Checked<()> {
        if let (Ok(told), Some(lsn)) = (&result, lsn)
            && *told != lsn
        {
            return Err(self.failure(Guarantee::G2Prefix, format!("commit {lsn} was told to be {told}")));
        }
        let durability = self.story.run.options.durability;
        match (lsn, result) {
            (Some(lsn), result) => self.settle(self.generation, lsn, durability, result.map(|_| ())).await,
            (None, Err(e)) => self.refused(&e).await,
            (None, Ok(lsn)) => Err(self.failure(Guarantee::G2Prefix, format!("{lsn} was never ordered"))),
        }
    }

    async fn batch(&mut self, space: &Space, items: &[Item], wait: Wait) -> Checked<()> {
        let mut batch = Batch::new();
        let mut last: std::collections::BTreeMap<u16, Option<Content>> = std::collections::BTreeMap::new();
        let mut ranges = Vec::new();
        for Item { key, len, priority, to } in items {
            if let Some(to) = to {
                let stretch = stretch(*key, *to);
                batch.delete_range(stretch.clone());
                last.retain(|key, _| !lies_in(*key, &stretch));
                ranges.push(stretch);
                continue;
            }
            let content = len.map(|len| self.content(len, *priority));
            match content {
                Some(content) => batch.put_with(key_bytes(*key), content.bytes(), options(content)),
                None => batch.delete(key_bytes(*key)),
            };
            last.insert(*key, content);
        }
        let changes = Changes { ranges, keys: last.into_iter().collect() };
        let write = space.write(&batch, WriteOptions::default());
        let (result, lsn) = self.watch(space, &changes, u32::MAX, write).await?;
        self.follow(result.expect("it was not abandoned"), lsn, wait).await
    }

    /// Waits for a commit as told.
    async fn follow(&mut self, result: Result<Commit, Error>, lsn: Option<Lsn>, wait: Wait) -> Checked<()> {
        let commit = match (result, lsn) {
            (Ok(commit), Some(lsn)) if commit.lsn() == lsn => commit,
            (Err(e), None) => return self.refused(&e).await,
            (result, lsn) => {
                let what =
                    format!("a write was ordered as {lsn:?} and answered {:?}", result.map(|c| c.lsn()));
                return Err(self.failure(Guarantee::G2Prefix, what));
            }
        };
        let durability = match wait {
            Wait::Later => {
                self.tickets.push((self.generation, commit));
                return Ok(());
            }
            Wait::Process => Durability::Process,
            Wait::Power | Wait::Configured => Durability::Power,
        };
        let result = commit.durable(durability).await;
        self.settle(self.generation, commit.lsn(), durability, result).await
    }

    /// A wait ended.
    async fn settle(
        &mut self,
        generation: u64,
        lsn: Lsn,
        durability: Durability,
        result: Result<(), Error>,
    ) -> Checked<()> {
        match result {
            Ok(()) => {
                self.still_there(generation, "a wait for durability was answered Ok")?;
                let mut model = self.story.model(self.space);
                model.tell(lsn.raw());
                match durability {
                    Durability::Power => {
                        model.promise_power(lsn)?;
                        model.acknowledged += 1;
                        drop(model);
                        self.story.shared().power_acknowledged += 1;
                    }
                    Durability::Process => model.promise_process(lsn),
                    Durability::Relaxed => {}
                }
                Ok(())
            }
            Err(e) => {
                self.story.hit(Probe::UnknownTold);
                self.refused(&e).await
            }
        }
    }

    /// A write was refused, or its outcome is not known. After some of these the space is reopened.
    async fn refused(&mut self, e: &Error) -> Checked<()> {
        self.tell_error(Doing::Using, e)?;
        reserve::refused(self, e)?;
        if !matches!(e.kind(), ErrorKind::Fenced | ErrorKind::Unknown) {
            return Ok(());
        }
        self.fences += 1;
        if self.fences <= 1 + self.client as u32 % 3 {
            return Ok(());
        }
        self.fences = 0;
        let fenced = self.story.model(self.space).handle.as_ref().map(Space::state);
        if matches!(fenced, Some(SpaceState::Fenced(_))) {
            self.story.hit(Probe::ReopenedAfterFence);
            self.reopen().await?;
        }
        Ok(())
    }

    async fn put_if(&mut self, space: &Space, key: u16, len: u32, guess: Guess) -> Checked<()> {
        let content = self.content(len, 0);
        let written_by = self.story.model(self.space).written_by(key);
        let right = written_by.map_or(Expected::Absent, |lsn| Expected::WrittenBy(Lsn::from_raw(lsn)));
        let wrong = match written_by {
            Some(_) => Expected::Absent,
            None => Expected::WrittenBy(Lsn::from_raw((1 << 40) + 1)),
        };
        let expected = if guess == Guess::Right { right } else { wrong };
        let precondition = Some(Precondition { key: key_bytes(key), expected });
        let mut batch = Batch::new();
        batch.put(key_bytes(key), content.bytes());
        let changes = vec![(key, Some(content))].into();
        let write = space.write(&batch, WriteOptions { precondition });
        let (result, lsn) = self.watch(space, &changes, u32::MAX, write).await?;
        let result = result.expect("it was not abandoned");
        let before = lsn.map_or(u64::MAX, |lsn| lsn.raw() - 1);
        if self.story.model(self.space).generation != self.generation {
            return self.follow(result, lsn, Wait::Later).await;
        }
        let (held, is_current) = {
            let model = self.story.model(self.space);
            (model.written_by_at(key, before), model.handle.as_ref() == Some(space))
        };
        let held = held.map_or(Expected::Absent, |lsn| Expected::WrittenBy(Lsn::from_raw(lsn)));
        match &result {
            Ok(_) if held != expected => {
                let what = format!("a write was done although {expected:?} did not hold, but {held:?}");
                return Err(self.failure(Guarantee::G5Reads, what));
            }
            Err(e) if e.kind() == ErrorKind::Rejected(Rejected::Precondition) => {
                if held == expected && is_current {
                    let what = format!("a write was refused although {expected:?} holds");
                    return Err(self.failure(Guarantee::G5Reads, what));
                }
                return Ok(());
            }
            _ => {}
        }
        self.follow(result, lsn, Wait::Later).await
    }

    async fn abandon(&mut self, space: &Space, key: u16, len: u32, polls: u8) -> Checked<()> {
        let content = self.content(len, 0);
        let changes = vec![(key, Some(content))].into();
        let (key, value) = (key_bytes(key), content.bytes());
        let (result, lsn) = self.watch(space, &changes, u32::from(polls), space.put(&key, &value)).await?;
        match (result, lsn) {
            (None, Some(_)) => self.story.hit(Probe::AbandonedOrdered),
            (None, None) => self.story.hit(Probe::AbandonedNothing),
            (Some(result), Some(lsn)) => {
                let durability = self.story.run.options.durability;
                return self.settle(self.generation, lsn, durability, result.map(|_| ())).await;
            }
            (Some(Err(e)), None) => return self.refused(&e).await,
            (Some(Ok(lsn)), None) => {
                return Err(self.failure(Guarantee::G2Prefix, format!("{lsn} was never ordered")));
            }
        }
        Ok(())
    }

    /// What reads of `space` show now.
    fn visible(&self, space: &Space) -> u64 {
        match space.state() {
            SpaceState::Fenced(_) => space.durable_lsn().raw(),
            _ => self.story.model(self.space).last(),
        }
    }

    async fn multi_get(&mut self, space: &Space, keys: &[u16], many: bool) -> Checked<()> {
        let lsn = self.visible(space);
        let hidden;
        let expected: Vec<Option<Content>> = {
            let model = self.story.model(self.space);
            if lsn < model.promised() {
                let (shown, promised) = (Lsn::from_raw(lsn), Lsn::from_raw(model.promised()));
                return Err(model.failure(
                    Guarantee::G6FailedSync,
                    format!("reads show the state up to {shown}, but {promised} was promised"),
                ));
            }
            hidden = keys.iter().any(|k| model.is_hidden_in_tables(*k, lsn));
            keys.iter().map(|k| model.value(*k, lsn)).collect()
        };
        if hidden {
            self.story.hit(Probe::RangeDeleteCovers);
        }
        let bytes: Vec<_> = keys.iter().map(|k| key_bytes(*k)).collect();
        let mut entry = None;
        let found = if many {
            space.multi_get(&bytes).await
        } else {
            space.get_entry(&bytes[0]).await.map(|found| {
                entry = found;
                vec![entry.as_ref().map(|entry| entry.value.clone())]
            })
        };
        let found = match found {
            Ok(found) => found,
            Err(e) => return self.story.judge(self.space, Doing::Using, &e),
        };
        let mut hash = found.len() as u64;
        for ((key, expected), found) in keys.iter().zip(&expected).zip(&found) {
            let same = match (expected, found) {
                (Some(content), Some(value)) => content.is(value),
                (None, None) => true,
                _ => false,
            };
            if !same {
                let what = format!(
                    "key {key} must hold {expected:?} at {}, but holds {found:?}",
                    Lsn::from_raw(lsn)
                );
                return Err(self.failure(Guarantee::G5Reads, what));
            }
            hash = mix(hash, expected.map_or(0, |c| c.id));
        }
        if let ([Some(content), ..], Some(entry)) = (&expected[..], &entry) {
            self.story.weigh(self.space, space, (keys[0], lsn), content, entry)?;
        }
        self.story.model(self.space).tell(hash);
        Ok(())
    }

    async fn scan(&mut self, space: &Space, from: u16, to: u16, backwards: bool) -> Checked<()> {
        let visible = self.visible(space);
        let state = self.story.model(self.space).state(visible);
        let (from, to) = (key_bytes(from), key_bytes(to));
        let expected = in_order(&state, |key| *key >= *from && *key < *to);
        let direction = if backwards { Direction::Descending } else { Direction::Ascending };
        self.drain(space.scan(from..to, direction), visible, expected, backwards).await
    }

    async fn scan_prefix(&mut self, space: &Space, group: u8, backwards: bool) -> Checked<()> {
        let visible = self.visible(space);
        let state = self.story.model(self.space).state(visible);
        let prefix = group_prefix(group);
        let expected = in_order(&state, |key| key.starts_with(&prefix));
        let direction = if backwards { Direction::Descending } else { Direction::Ascending };
        self.drain(space.scan_prefix(&prefix, direction), visible, expected, backwards).await
    }

    async fn drain(
        &self,
        scan: bulkhead::Scan,
        lsn: u64,
        mut expected: Vec<(Vec<u8>, Content)>,
        backwards: bool,
    ) -> Checked<()> {
        if backwards {
            expected.reverse();
        }
        let view = self.story.view(&mut self.story.model(self.space), lsn);
        self.story.compare_scan(self.space, scan, &view, &expected, self.leisure()).await
    }

    /// Where views expire, they are read so that this may happen midway.
    fn leisure(&self) -> Option<Leisure<'_>> {
        let owner = Owner(self.story.owner(self.space));
        let limited = self.story.limits_views(self.space);
        limited.then_some(Leisure { env: &self.env, owner, client: self.client })
    }

    fn keep(&mut self, space: &Space, snapshot: Snapshot) -> Checked<()> {
        let visible = self.visible(space);
        let mut model = self.story.model(self.space);
        let lsn = snapshot.lsn();
        if lsn.raw() != visible {
            // Then it is a durable one, and what it shows is promised.
            model.promise_power(lsn)?;
            if lsn < space.durable_lsn() {
                let what = format!("a snapshot shows {lsn}, less than is durable");
                return Err(model.failure(Guarantee::G5Reads, what));
            }
        }
        let (state, view) = (model.state(lsn.raw()), self.story.view(&mut model, lsn.raw()));
        drop(model);
        self.snapshots.push_back(Kept { snapshot, state, view, of: space.clone() });
        Ok(())
    }

    async fn compare(&self, kept: Kept) -> Checked<()> {
        if self.story.model(self.space).opening != kept.view.opening() {
            self.story.hit(Probe::OldSnapshot);
        }
        self.story.compare(self.space, &kept, "a snapshot", self.leisure()).await
    }

    fn outcomes(&self, space: &Space) -> Checked<()> {
        if matches!(space.state(), SpaceState::Deleted) {
            return Ok(());
        }
        let mut model = self.story.model(self.space);
        let last = model.last();
        if last != 0 && matches!(space.outcome(Lsn::from_raw(last)), Ok(Outcome::Present)) {
            // Present stays present: that is a promise.
            model.promise_power(Lsn::from_raw(last))?;
        }
        let (kept, gone) = model.settled(3);
        for (lsns, is) in [(kept, Outcome::Present), (gone, Outcome::Absent)] {
            for lsn in lsns.into_iter().map(Lsn::from_raw) {
                let outcome = space.outcome(lsn);
                if outcome.as_ref().ok() != Some(&is) {
                    let what = format!("commit {lsn} is {is:?} for certain, but answered {outcome:?}");
                    return Err(model.failure(Guarantee::G6FailedSync, what));
                }
            }
        }
        Ok(())
    }
}

/// What a value is put with.
fn options(content: Content) -> PutOptions {
    PutOptions { priority: Priority::from_raw(content.priority) }
}
