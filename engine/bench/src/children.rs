//! Processes of their own. Most fill a log and are killed: what they leave is what a crash leaves.
use crate::args::{Args, Child};
use crate::beside::{Kind, plain};
use crate::records::{key, value};
use crate::{peer, store};
use bulkhead::Durability;
use bulkhead::env::os::block_on;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Said on stdout once everything is acknowledged.
const FILLED: &str = "filled";

/// What the child does.
pub fn run(child: &Child, args: &Args) {
    let records = (0..args.count).map(|n| (key(n, args.order), value(n, args.value)));
    match child {
        Child::Fjall => {
            let db = peer::open_in_memory(&args.dir);
            let keyspace = peer::keyspace(&db, 0);
            records.for_each(|(k, v)| keyspace.insert(k, v).expect("fjall writes"));
            wait_to_be_killed();
        }
        Child::LoadBulkhead => load(Kind::Bulkhead, args),
        Child::LoadFjall => load(Kind::Fjall, args),
        Child::LoadRedb => load(Kind::Redb, args),
        Child::Recover => crate::recovery::open(args),
        Child::Puts | Child::Groups => {
            let runtime = store::runtime();
            let engine = store::open_log(&runtime, &args.dir, Durability::Process);
            let space = store::space(&engine, 0);
            let groups = *child == Child::Groups;
            block_on(async {
                for (k, v) in records {
                    let commit = space.put_commit(k, v).await.expect("the engine writes");
                    if !groups {
                        commit.durable(Durability::Process).await.expect("the engine writes");
                    }
                }
                space.flush(Durability::Process).await.expect("the engine writes");
            });
            wait_to_be_killed();
        }
    }
}

fn load(kind: Kind, args: &Args) {
    let store = kind.open(&args.dir);
    store.put(&mut plain(0..args.count));
    store.settle();
    wait_to_be_killed();
}

fn wait_to_be_killed() {
    println!("{FILLED}");
    std::io::stdout().flush().expect("somebody listens");
    loop {
        std::thread::park();
    }
}

/// What to fill a log with.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    pub child: Child,
    pub value: usize,
    pub count: u64,
    pub order: crate::records::Order,
}

/// Has a child fill `dir` and kills it at once.
pub fn fill_and_kill(filling: Filling, dir: &Path) {
    use clap::ValueEnum;
    let name =
        |v: Option<clap::builder::PossibleValue>| v.expect("every value has a name").get_name().to_owned();
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--child", &name(filling.child.to_possible_value())])
        .args(["--order", &name(filling.order.to_possible_value())])
        .args(["--value", &filling.value.to_string(), "--count", &filling.count.to_string()])
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts once more");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("it is piped"))
        .read_line(&mut line)
        .expect("the child speaks");
    child.kill().expect("the child lives");
    child.wait().expect("the child ends");
    assert_eq!(line.trim_end(), FILLED, "the child failed");
}
