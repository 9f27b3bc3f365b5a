//! What the traced processes do. Every acknowledgement is followed by a mark, a line in a file of marks.
use bulkhead::env::os::{OsEnv, OsOptions};
use bulkhead::{Batch, Durability, Engine, Lsn, Options, Space, SpaceId, WriteOptions};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Set for a traced process: the script to run, and the directory to run it in.
pub const SCRIPT: &str = "BULKHEAD_TEST_AUDIT_SCRIPT";
pub const BASE: &str = "BULKHEAD_TEST_AUDIT_BASE";

/// The data root of every script; the directory above it is missing at first.
pub fn root(base: &Path) -> PathBuf {
    base.join("x/root")
}

struct Session {
    engine: Engine,
    marks: File,
}

impl Session {
    async fn open(base: &Path) -> Session {
        let mut options = OsOptions::default();
        // One thread for what changes something: strace counts the calls of each thread by itself, and what is
        // killed is then known.
        (options.changes.owners, options.changes.extra) = (1, 0);
        let env = OsEnv::new(tokio::runtime::Handle::current(), options);
        // No sync and no seal by the clock, but where a script waits for one.
        let options = Options {
            segment_first: 16 * 1024,
            segment_max: 16 * 1024,
            flush_interval_ms: if std::env::var(SCRIPT).unwrap() == "interval" { 20 } else { 3_600_000 },
            idle_seal_ms: 3_600_000,
            ..Options::default()
        };
        let marks = File::options().create(true).append(true).open(base.join("marks")).unwrap();
        let engine = Engine::open(env, &root(base), options).await.unwrap();
        let mut session = Session { engine, marks };
        session.mark("opened".to_owned());
        session
    }

    fn mark(&mut self, mark: String) {
        self.marks.write_all(format!("{mark}\n").as_bytes()).unwrap();
    }

    async fn create(&mut self, name: &str) -> Space {
        let space = self.engine.create_space(&id(name)).await.unwrap();
        self.mark(format!("created {name}"));
        space
    }

    /// Opens a space and notes what was read in it.
    async fn space(&mut self, name: &str) -> Space {
        let space = self.engine.space(&id(name)).await.unwrap();
        self.mark(format!("read {name} {}", space.last_lsn().raw()));
        space
    }

    async fn power(&mut self, space: &Space, key: &str, bytes: usize) {
        let lsn = space.put(key, vec![b'v'; bytes]).await.unwrap();
        self.acknowledged("power", space, lsn);
    }

    async fn process(&mut self, space: &Space, key: &str, bytes: usize) {
        let commit = space.put_commit(key, vec![b'p'; bytes]).await.unwrap();
        commit.durable(Durability::Process).await.unwrap();
        self.acknowledged("process", space, commit.lsn());
    }

    fn acknowledged(&mut self, how: &str, space: &Space, lsn: Lsn) {
        self.mark(format!("{how} {} {}", space.id(), lsn.raw()));
    }

    async fn close(mut self, spaces: &[&str]) {
        self.engine.close().await.unwrap();
        for space in spaces {
            self.mark(format!("closed {space}"));
        }
    }

    async fn repair(&mut self, name: &str) -> Space {
        let plan = self.engine.repair_plan(&id(name)).await.unwrap();
        let space = self.engine.repair(&plan).await.unwrap();
        self.mark(format!("repaired {name} {}", plan.kept.raw()));
        space
    }
}

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

/// Runs the script `name` in `base`.
pub async fn run(name: &str, base: &Path) {
    let mut s = Session::open(base).await;
    match name {
        "first" => first(&mut s).await,
        "unclean" => {
            let alpha = s.space("alpha").await;
            let beta = s.space("beta").await;
            s.power(&beta, "after", 10).await;
            s.power(&alpha, "after", 10).await;
            s.close(&["alpha", "beta"]).await;
        }
        "again" => {
            // Sealed before: the first commit brings a segment. Then a kill while some of it is in memory only.
            let alpha = s.space("alpha").await;
            s.power(&alpha, "again", 10).await;
            s.process(&alpha, "again-process", 10).await;
        }
        "interval" => {
            let alpha = s.space("alpha").await;
            let commit = alpha.put_commit("relaxed", "r").await.unwrap();
            while alpha.durable_lsn() < commit.lsn() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            s.acknowledged("power", &alpha, commit.lsn());
        }
        "read" => {
            for name in ["alpha", "beta"] {
                s.space(name).await;
            }
        }
        "repair" => {
            let alpha = s.repair("alpha").await;
            s.power(&alpha, "repaired", 10).await;
            s.close(&["alpha"]).await;
        }
        "create" => {
            let alpha = s.create("alpha").await;
            s.power(&alpha, "first", 10).await;
        }
        "go-on" => {
            let alpha = s.engine.get_or_create_space(&id("alpha")).await.unwrap();
            s.mark("created alpha".to_owned());
            s.power(&alpha, "second", 10).await;
        }
        other => panic!("no script {other}"),
    }
    // A kill, or after a close the same without loss.
    std::process::abort();
}

async fn first(s: &mut Session) {
    let alpha = s.create("alpha").await;
    let beta = s.create("beta").await;
    s.power(&alpha, "a", 10).await;
    s.power(&beta, "b", 10).await;
    // A group that one sync makes durable.
    let mut last = None;
    for i in 0..5 {
        last = Some(alpha.put_commit(format!("group-{i}"), "g").await.unwrap());
    }
    let last = last.unwrap();
    last.durable(Durability::Power).await.unwrap();
    s.acknowledged("power", &alpha, last.lsn());
    let mut batch = Batch::new();
    batch.put("x", "1").put("y", "2").delete("a");
    let commit = alpha.write(&batch, WriteOptions::default()).await.unwrap();
    commit.durable(Durability::Power).await.unwrap();
    s.acknowledged("power", &alpha, commit.lsn());
    // Over several segments, some waited for and some not.
    for i in 0..18 {
        match i % 3 {
            0 => s.power(&alpha, &format!("big-{i}"), 3000).await,
            _ => s.process(&alpha, &format!("big-{i}"), 3000).await,
        }
    }
    // Larger than a segment.
    s.power(&alpha, "huge", 40_000).await;
    for i in 0..4 {
        s.power(&alpha, &format!("behind-{i}"), 3000).await;
    }
    s.process(&alpha, "lost by a power cut, kept by a kill", 100).await;
    s.process(&beta, "the same", 100).await;
}
