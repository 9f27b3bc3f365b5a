//! Goal: whatever is traced about a space tells which one, and a space's counters count its own work alone. Method: real
//! files, and everything traced kept as text. One test: what is traced is global to a process.
#![allow(clippy::disallowed_methods, reason = "the test waits for real work")]
use bulkhead::env::os::OsEnv;
use bulkhead::{Amount, Engine, Options, SpaceId, TierOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};

fn id(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

/// Small enough that a few hundred entries fill them.
fn tiers() -> TierOptions {
    let amount = |entries| Amount { entries, bytes: 1 << 30 };
    TierOptions {
        hot_capacity: amount(20),
        warm_capacity: amount(60),
        cold_capacity: amount(1000),
        memtable_bytes: 512,
        ..TierOptions::default()
    }
}

/// Lines of a log, shared with whoever writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn whatever_is_traced_about_a_space_tells_which_and_counters_count_its_own_work() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (alpha, beta) = {
        runtime.block_on(async {
            let temp = tempfile::tempdir().unwrap();
            let options = Options { tiers: tiers(), ..Options::default() };
            let engine = Engine::open(OsEnv::current(), temp.path(), options).await.unwrap();
            let alpha = engine.create_space(&id("alpha")).await.unwrap();
            let beta = engine.create_space(&id("beta")).await.unwrap();
            beta.put("key", "value").await.unwrap();
            for n in 0..300 {
                alpha.put(format!("key {n:06}"), [7; 100]).await.unwrap();
            }
            for key in 0..5 {
                for _ in 0..4 {
                    alpha.get(format!("key {key:06}")).await.unwrap().unwrap();
                }
            }
            while alpha.stats().jobs.promotions == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let counts = (alpha.stats().jobs, beta.stats().jobs);
            engine.close().await.unwrap();
            counts
        })
    };
    assert!(alpha.flushes > 0 && alpha.moves > 0, "{alpha:?}");
    assert_eq!(beta, bulkhead::JobCounts::default(), "only its own work");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let of_engine: Vec<&str> = text.lines().filter(|line| line.contains("bulkhead::")).collect();
    for what in ["flushed", "job=\"move\"", "job=\"promotion\""] {
        assert!(of_engine.iter().any(|line| line.contains(what)), "{what} in:\n{text}");
    }
    for line in of_engine {
        assert!(line.contains("space=alpha") || line.contains("space=beta"), "{line}");
        let of_tables = ["flushed", "tables changed"].iter().any(|what| line.contains(what));
        assert!(!of_tables || line.contains("space=alpha"), "{line}");
    }
}
