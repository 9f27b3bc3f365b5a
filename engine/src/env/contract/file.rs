//! Verbs of a file.
use super::{eventually, file_holds, file_with, holds, ok};
use crate::env::{Access, Dir, Env};

pub(super) async fn what_is_written_is_read(dir: &dyn Dir) {
    let file = ok("create", dir.create("a")).await;
    let back = ok("write_at", file.write_at(0, b"0123456789".to_vec())).await;
    assert_eq!(back, b"0123456789", "write_at: hands the buffer back");
    ok("write_at", file.write_at(3, b"xyz".to_vec())).await;
    ok("write_at", file.write_at(9, b"9abc".to_vec())).await;
    ok("write_at", file.write_at(500, Vec::new())).await;
    file_holds("write_at: overwrites and extends; nothing extends nothing", &*file, b"012xyz6789abc").await;
    ok("sync", file.sync()).await;
    file_holds("sync: changes nothing", &*file, b"012xyz6789abc").await;
    drop(file);
    let file = ok("open", dir.open("a", Access::ReadStrict)).await;
    let read = ok("read_at", file.read_at(2, vec![0; 4])).await;
    assert_eq!(read, b"2xyz", "read_at: reads where it is told to");
}

pub(super) async fn reads_are_short_only_at_the_end(dir: &dyn Dir) {
    let file = file_with(dir, "a", &[7; 10_000]).await;
    for (offset, len, expected) in [
        (0, 10_000, 10_000),
        (0, 10_001, 10_000),
        (9_990, 100, 10),
        (10_000, 5, 0),
        (1 << 40, 5, 0),
        (3, 0, 0),
    ] {
        let read = ok("read_at", file.read_at(offset, vec![0xee; len])).await;
        assert_eq!(read.len(), expected, "read_at: {len} bytes from {offset} of 10000");
        assert!(read.iter().all(|b| *b == 7), "read_at: {len} bytes from {offset} of 10000");
        let kept = ok("read_kept", file.read_kept(offset, len)).await;
        assert_eq!(kept, read, "read_kept: {len} bytes from {offset} of 10000");
    }
}

pub(super) async fn what_was_never_written_is_zero(dir: &dyn Dir) {
    let file = file_with(dir, "a", b"head").await;
    ok("write_at", file.write_at(5_000, b"tail".to_vec())).await;
    let mut expected = vec![0; 5_004];
    expected[..4].copy_from_slice(b"head");
    expected[5_000..].copy_from_slice(b"tail");
    holds("write_at: beyond the end leaves zeros", dir, "a", &expected).await;
}

pub(super) async fn allocate_only_extends(dir: &dyn Dir) {
    drop(ok("create", dir.create("empty")).await);
    let file = ok("open", dir.open("empty", Access::Write)).await;
    ok("allocate", file.allocate(0)).await;
    assert_eq!(ok("len", file.len()).await, 0, "allocate: of nothing does nothing");
    let file = file_with(dir, "a", b"kept").await;
    ok("allocate", file.allocate(70_001)).await;
    let mut expected = vec![0; 70_001];
    expected[..4].copy_from_slice(b"kept");
    holds("allocate: extends, keeps what is there and reads as zero", dir, "a", &expected).await;
    ok("allocate", file.allocate(3)).await;
    ok("sync", file.sync()).await;
    holds("allocate: never cuts", dir, "a", &expected).await;
    ok("write_at", file.write_at(65_000, vec![9; 512])).await;
    expected[65_000..65_512].fill(9);
    holds("allocate: the room can be written", dir, "a", &expected).await;
}

pub(super) async fn truncate_cuts_and_extends(dir: &dyn Dir) {
    let file = file_with(dir, "a", &[5; 9_000]).await;
    ok("truncate", file.truncate(4_100)).await;
    holds("truncate: cuts", dir, "a", &[5; 4_100]).await;
    ok("truncate", file.truncate(9_000)).await;
    let mut expected = vec![0; 9_000];
    expected[..4_100].fill(5);
    holds("truncate: what was cut does not come back", dir, "a", &expected).await;
    ok("truncate", file.truncate(0)).await;
    ok("sync", file.sync()).await;
    holds("truncate: to nothing", dir, "a", &[]).await;
}

pub(super) async fn long_transfers_are_whole(dir: &dyn Dir) {
    let content: Vec<u8> = (0..3 * 1024 * 1024 + 7_u32).map(|n| (n % 251) as u8).collect();
    let file = ok("create", dir.create("a")).await;
    let back = ok("write_at", file.write_at(0, content.clone())).await;
    assert!(back == content, "write_at: hands the buffer back");
    holds("write_at: of any length is whole", dir, "a", &content).await;
    let read = ok("read_at", file.read_at(1, vec![0; content.len()])).await;
    assert!(read == content[1..], "read_at: of any length is whole");
}

pub(super) async fn calls_may_overlap(dir: &dyn Dir) {
    let file = ok("create", dir.create("a")).await;
    let writes: Vec<_> = (0..20_u8).rev().map(|n| file.write_at(u64::from(n) * 100, vec![n; 100])).collect();
    let others = (file.sync(), dir.sync(), dir.create("b"), dir.make_dir("d"), file.len());
    for write in writes {
        ok("write_at", write).await;
    }
    ok("sync", others.0).await;
    ok("sync", others.1).await;
    ok("create", others.2).await;
    ok("make_dir", others.3).await;
    ok("len", others.4).await;
    let expected: Vec<u8> = (0..20_u8).flat_map(|n| [n; 100]).collect();
    let reads: Vec<_> = (0..20_u64).map(|n| file.read_at(n * 100, vec![0; 100])).collect();
    for (n, read) in reads.into_iter().enumerate() {
        let read = ok("read_at", read).await;
        assert_eq!(read, &expected[n * 100..][..100], "read_at: calls may overlap");
    }
}

pub(super) async fn two_handles_are_one_file(dir: &dyn Dir) {
    let one = file_with(dir, "a", b"one").await;
    let two = ok("open", dir.open("a", Access::Write)).await;
    ok("write_at", two.write_at(3, b" two".to_vec())).await;
    file_holds("write_at: every handle sees it", &*one, b"one two").await;
    drop(one);
    ok("truncate", two.truncate(3)).await;
    file_holds("truncate: a handle lives on its own", &*two, b"one").await;
}

pub(super) async fn dropping_an_io_abandons_only_the_answer(env: &dyn Env, dir: &dyn Dir) {
    let file = file_with(dir, "a", b"....").await;
    drop(file.write_at(0, b"done".to_vec()));
    drop(file.sync());
    drop(dir.create("b"));
    drop(dir.make_dir("d"));
    eventually(env, "a dropped write_at", || async {
        ok("read_at", file.read_at(0, vec![0; 4])).await == b"done"
    })
    .await;
    for name in ["b", "d"] {
        eventually(env, "a dropped create or make_dir", || async { dir.metadata(name).await.is_ok() }).await;
    }
    drop(dir.rename("b", "c"));
    eventually(env, "a dropped rename", || async { dir.metadata("c").await.is_ok() }).await;
    drop(dir.remove("c"));
    eventually(env, "a dropped remove", || async { dir.metadata("c").await.is_err() }).await;
}
