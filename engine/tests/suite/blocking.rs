//! Goal: the blocking API is the asynchronous one, call for call. Method: every kind of call once, on the real file
//! system, from plain threads.

use bulkhead::blocking::Engine;
use bulkhead::{
    Batch, Direction, Durability, ErrorKind, Expected, Options, Outcome, Precondition, Rejected, SpaceId,
    SpaceState, WriteOptions,
};

fn id(s: &str) -> SpaceId {
    SpaceId::new(s).unwrap()
}

fn keys(scan: bulkhead::blocking::Scan) -> Vec<String> {
    scan.map(|entry| String::from_utf8(entry.unwrap().0.into()).unwrap()).collect()
}

#[test]
fn every_call_answers_without_a_runtime_of_the_callers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let space = engine.create_space(&id("alpha")).unwrap();
    assert_eq!(
        engine.create_space(&id("alpha")).unwrap_err().kind(),
        ErrorKind::Rejected(Rejected::SpaceExists)
    );
    assert_eq!(engine.space(&id("beta")).unwrap_err().kind(), ErrorKind::Rejected(Rejected::NoSuchSpace));

    let first = space.put("a", "1").unwrap();
    assert_eq!(space.outcome(first).unwrap(), Outcome::Present);
    assert!(space.durable_lsn() >= first);
    let commit = space.put_commit("b", "2").unwrap();
    commit.durable(Durability::Process).unwrap();
    let before = space.snapshot();
    let mut batch = Batch::new();
    batch.put("c", "3").delete("a");
    let last = space.write(&batch, WriteOptions::default()).unwrap();
    assert_eq!(space.last_lsn(), last.lsn());
    space.flush(Durability::Power).unwrap();
    assert!(space.durable_lsn() >= last.lsn() && space.durable_snapshot().lsn() >= last.lsn());
    let expected = Some(Precondition { key: b"c".to_vec(), expected: Expected::Absent });
    let refused = space.write(&batch, WriteOptions { precondition: expected }).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected(Rejected::Precondition));

    assert_eq!(keys(space.scan::<&str>(.., Direction::Descending)), ["c", "b"]);
    assert_eq!(keys(space.scan("b".."c", Direction::Ascending)), ["b"]);
    assert_eq!(keys(space.scan_prefix("c", Direction::Ascending)), ["c"]);
    assert_eq!(keys(before.scan::<&str>(.., Direction::Ascending)), ["a", "b"]);
    assert_eq!(before.get("a").unwrap().as_deref(), Some(&b"1"[..]));
    let values = space.multi_get(&["a", "c"]).unwrap();
    assert_eq!(values.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    space.delete("c").unwrap();
    space.delete_commit("b").unwrap();
    assert!(space.get("c").unwrap().is_none());
    assert_eq!(space.get("").unwrap_err().kind(), ErrorKind::Rejected(Rejected::Key));

    let again = engine.reopen(&id("alpha")).unwrap();
    assert!(matches!((space.state(), again.state()), (SpaceState::Closed, SpaceState::Open)));
    assert_eq!(keys(again.scan::<&str>(.., Direction::Ascending)), Vec::<String>::new());
    assert_eq!(engine.recover_all().unwrap().len(), 1);
    assert_eq!(engine.list_spaces().spaces, [id("alpha")]);
    assert_eq!(space.set_tiers(space.tiers()).unwrap_err().kind(), ErrorKind::Closed);
    again.set_tiers(again.tiers()).unwrap();
    again.shutdown().unwrap();
    assert_eq!(again.put("late", "x").unwrap_err().kind(), ErrorKind::Closed);
    engine.close().unwrap();
    engine.close().unwrap();
    assert_eq!(engine.space(&id("alpha")).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn threads_share_a_space_and_a_space_outlives_its_engines_handle() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let space = engine.get_or_create_space(&id("alpha")).unwrap();
    let closer = engine.clone();
    drop(engine);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let space = space.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    space.put(format!("{thread}-{n}"), "value").unwrap();
                }
            });
        }
    });
    assert_eq!(space.scan::<&str>(.., Direction::Ascending).count(), 200);
    let commit = space.put_commit("late", "value").unwrap();
    drop(closer);
    commit.durable(Durability::Power).unwrap();
    assert!(space.get("late").unwrap().is_some());
}

#[test]
fn a_damaged_space_is_salvaged_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    let space = engine.create_space(&id("alpha")).unwrap();
    space.put("a", "1").unwrap();
    assert!(engine.descriptors() > 0 && engine.reserve().made == 1);
    let open = engine.repair_plan(&id("alpha")).unwrap_err();
    assert_eq!(open.kind(), ErrorKind::Rejected(Rejected::State), "{open}");
    engine.close().unwrap();
    std::fs::remove_file(dir.path().join("alpha/SPACE")).unwrap();
    let engine = Engine::open(dir.path(), Options::default()).unwrap();
    assert_eq!(engine.space(&id("alpha")).unwrap_err().kind(), ErrorKind::Failed);
    let plan = engine.repair_plan(&id("alpha")).unwrap();
    assert_eq!(engine.salvage(&id("alpha")).unwrap().get(b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(engine.repair(&plan).unwrap().get("a").unwrap().as_deref(), Some(&b"1"[..]));
    engine.close().unwrap();
}
