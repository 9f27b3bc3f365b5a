//! Goal: the commit line keeps its invariants under any order of orders, answers, rotations and failures. Method: it is
//! driven by a small generator over files in memory; what was synced is scanned back after every sync.
use super::*;
use crate::ids::{Epoch, FileUid, Priority, SegmentNo, SpaceUid};
use crate::wal::operation::Operation;
use crate::wal::scan::Scanner;
use crate::wal::segment::encode_header;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn id(n: usize) -> SegmentId {
    let file = FileUid::from_raw(n as u64 + 1);
    SegmentId { space: SpaceUid([1; 16]), file, number: SegmentNo::from_raw(n as u64 + 1) }
}

fn scan(bytes: &[u8], n: usize) -> crate::wal::scan::Scanned {
    let mut scanner = Scanner::new(bytes, id(n)).expect("headers are synced");
    while !scanner.step(1 << 20, &mut |_| ()) {}
    scanner.finish()
}

struct Disk {
    line: Line<usize>,
    files: Vec<Vec<u8>>,
    synced: Vec<Vec<u8>>,
    write: Option<(usize, u64, Vec<u8>, u32)>,
    sync: Option<(usize, Vec<u8>)>,
    rotations: usize,
}

impl Disk {
    fn new() -> Disk {
        let mut line = Line::new(Lsn::ZERO, None);
        line.begin_epoch(Epoch::ZERO.next().unwrap().first_lsn());
        Disk { line, files: Vec::new(), synced: Vec::new(), write: None, sync: None, rotations: 0 }
    }

    fn prepare(&mut self, capacity: u64) {
        let n = self.files.len();
        let (mut bytes, header_crc) = encode_header(id(n), Epoch::ZERO, 0);
        bytes.resize(capacity as usize, 0);
        self.files.push(bytes.clone());
        self.synced.push(bytes);
        self.line.set_spare(Spare { id: id(n), file: n, capacity, header_crc });
    }

    fn order(&mut self, value: usize) -> bool {
        let value = vec![7; value];
        let op = Operation::Put { key: b"key", value: &value, priority: Priority::default() };
        let body = 1 + op.encoded_len();
        match self.line.room(body) {
            Room::Here => {
                self.line.order(body, |out| {
                    out.push(1);
                    op.encode(out);
                });
                true
            }
            Room::Prepare(least) => {
                self.prepare(least.max(8192));
                self.rotations += 1;
                false
            }
            Room::Grow(least) => {
                let (spare, file) = self.line.begin_growth().expect("a spare that is to grow");
                self.files[file].resize(least as usize, 0);
                self.synced[file].resize(least as usize, 0);
                self.line.growth_ended(spare, Some(least));
                false
            }
            Room::Buffer => {
                self.line.want_process(self.line.last());
                false
            }
        }
    }

    fn start(&mut self) {
        while let Some(job) = self.line.next_job() {
            match job {
                Job::Write(job) => {
                    let (file, offset) = (job.file, job.offset);
                    let (bytes, chain) = job.seal();
                    assert!(
                        self.write.replace((file, offset, bytes, chain)).is_none(),
                        "one write at a time"
                    );
                }
                Job::Sync(file) => {
                    let sees = self.files[file].clone();
                    assert!(self.sync.replace((file, sees)).is_none(), "one sync at a time");
                }
            }
        }
    }

    fn answer_write(&mut self) {
        let Some((file, offset, bytes, chain)) = self.write.take() else { return };
        let at = offset as usize;
        let end = at + bytes.len();
        assert!(end <= self.files[file].len(), "frames stay in allocated bytes");
        // A synced sector is never written again.
        let sectors = at / SECTOR * SECTOR..end.next_multiple_of(SECTOR).min(self.files[file].len());
        assert!(self.synced[file][sectors].iter().all(|&b| b == 0), "a synced sector was written again");
        self.files[file][at..end].copy_from_slice(&bytes);
        self.line.wrote(chain, bytes);
    }

    fn answer_sync(&mut self) {
        let Some((file, sees)) = self.sync.take() else { return };
        self.synced[file] = sees;
        self.line.synced();
        assert_eq!(self.recovered(), self.line.durable(), "exactly what is called durable is on the disk");
    }

    /// The last LSN in the synced bytes, read as recovery does.
    fn recovered(&self) -> Lsn {
        let mut last = Lsn::ZERO;
        for (n, bytes) in self.synced.iter().enumerate() {
            let found = scan(bytes, n);
            let Some(link) = found.link else { break };
            assert_eq!(link.last, last, "a link names the end of its predecessor");
            if n > 0 {
                // All that the link names is on the disk: a seal behind the last commit need not be.
                let named = scan(&self.synced[n - 1][..link.len as usize], n - 1).end;
                assert_eq!(
                    (named.offset, named.chain),
                    (link.len, link.chain),
                    "a link names what is durable"
                );
            }
            last = found.end.last;
        }
        last
    }
}

#[test]
fn what_is_called_durable_is_exactly_what_a_scan_of_the_synced_bytes_finds() {
    let (mut rotations, mut seals) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut disk = Disk::new();
        for _ in 0..200 {
            match dice.roll(10) {
                0..=3 => {
                    let size = if dice.roll(20) == 0 { dice.roll(20_000) } else { dice.roll(900) };
                    disk.order(size as usize);
                }
                4 => disk.line.want_process(disk.line.last()),
                5 => disk.line.want_power(disk.line.last()),
                6 => disk.answer_write(),
                7 => {
                    let answered = disk.sync.is_some() && dice.roll(2) == 0;
                    disk.answer_sync();
                    disk.line.answered(if answered { dice.roll(3) as usize } else { 0 });
                }
                8 => match dice.roll(4) {
                    0 => disk.line.want_seal(),
                    1 => disk.line.release(),
                    _ => disk.line.came_back(),
                },
                _ => disk.start(),
            }
        }
        disk.line.release();
        disk.line.want_power(disk.line.last());
        disk.line.want_seal();
        for _ in 0..20 {
            disk.start();
            disk.answer_write();
            disk.answer_sync();
        }
        assert_eq!(
            disk.line.durable(),
            disk.line.last(),
            "seed {seed}: everything asked for becomes durable"
        );
        assert!(disk.line.is_sealed(), "seed {seed}: a quiet log can be sealed");
        if let Some((id, _)) = disk.line.position() {
            let n = id.number.raw() as usize - 1;
            assert!(scan(&disk.synced[n], n).sealed, "seed {seed}: what is called sealed ends with a seal");
        }
        rotations += disk.rotations;
        seals += usize::from(disk.line.position().is_some());
    }
    assert!(rotations > 600 && seals > 290, "{rotations} rotations, {seals} seals");
}

#[test]
fn nothing_happens_behind_a_fence() {
    let mut disk = Disk::new();
    disk.prepare(65536);
    assert!(disk.order(10));
    disk.line.want_power(disk.line.last());
    disk.start();
    disk.line.fence();
    assert!(disk.line.next_job().is_none());
    assert_eq!((disk.line.durable(), disk.line.is_fenced()), (Lsn::ZERO, true));
}

#[test]
fn a_commit_that_nobody_waits_for_is_not_written_until_somebody_asks() {
    let mut disk = Disk::new();
    disk.prepare(65536);
    assert!(disk.order(10) && disk.order(10));
    disk.start();
    assert!(disk.write.is_none());
    disk.line.want_process(disk.line.last());
    disk.start();
    disk.answer_write();
    assert_eq!((disk.line.written(), disk.line.durable()), (disk.line.last(), Lsn::ZERO));
    assert!(disk.sync.is_none());
}

/// A disk on which a sync just answered `waiters`.
fn answered(waiters: usize) -> Disk {
    let mut disk = Disk::new();
    disk.prepare(65536);
    assert!(disk.order(10));
    disk.line.want_power(disk.line.last());
    disk.start();
    disk.answer_write();
    disk.start();
    disk.answer_sync();
    disk.line.answered(waiters);
    disk
}

#[test]
fn who_comes_back_first_after_a_sync_does_not_take_the_next_one_for_itself() {
    let mut disk = answered(2);
    for back in 1..=2 {
        assert!(disk.order(10));
        disk.line.came_back();
        disk.line.want_power(disk.line.last());
        disk.start();
        assert_eq!((disk.line.withholds(), disk.write.is_some()), (back < 2, back == 2));
    }
    disk.answer_write();
    disk.start();
    disk.answer_sync();
    assert_eq!(disk.line.durable(), disk.line.last(), "one sync for both");
}

#[test]
fn a_sync_is_withheld_until_it_is_released_and_a_write_is_not() {
    let mut disk = answered(1);
    assert!(disk.order(10));
    disk.line.want_power(disk.line.last());
    disk.line.want_process(disk.line.last());
    disk.start();
    disk.answer_write();
    disk.start();
    assert_eq!(disk.line.written(), disk.line.last(), "who waits for the page cache waits for nobody else");
    assert!(disk.write.is_none() && disk.sync.is_none(), "no pad and no sync");
    disk.line.release();
    disk.start();
    disk.answer_write();
    disk.start();
    disk.answer_sync();
    assert_eq!(disk.line.durable(), disk.line.last());
}

#[test]
fn a_seal_that_commits_were_ordered_behind_is_not_the_one_that_is_asked_for_next() {
    // What broke: a seal was on its way, a commit came behind it, and the log was closed. The seal's answer was taken for
    // that of the second one, so the log was called sealed without a seal: rot in front of the last commit was no longer
    // to be told from a torn tail.
    let mut disk = Disk::new();
    disk.prepare(8192);
    assert!(disk.order(100));
    disk.line.want_power(disk.line.last());
    disk.start();
    disk.answer_write();
    disk.start();
    disk.answer_sync();
    disk.line.want_seal();
    disk.start();
    assert!(disk.write.is_some(), "the seal's write is under way");
    assert!(disk.order(100));
    disk.line.want_power(disk.line.last());
    disk.line.want_seal();
    for _ in 0..10 {
        disk.answer_write();
        disk.answer_sync();
        disk.start();
    }
    assert!(disk.line.is_sealed());
    assert!(scan(&disk.synced[0], 0).sealed, "the last frame is a seal");
}

#[test]
fn a_link_passes_over_a_seal_that_was_written_and_not_synced() {
    // What broke: the link named the seal, power was lost, and a healthy log read as one that had lost data. The seal's
    // write returns before the commit that rotates the log is ordered, or after.
    for returned_before in [true, false] {
        let mut disk = Disk::new();
        disk.prepare(8192);
        assert!(disk.order(1500));
        disk.line.want_power(disk.line.last());
        disk.start();
        disk.answer_write();
        disk.start();
        disk.answer_sync();
        disk.prepare(8192);
        disk.line.want_seal();
        let (first, before_seal) = disk.line.position().expect("a segment is active");
        disk.start();
        assert!(disk.write.is_some(), "the seal's write is under way");
        if returned_before {
            disk.answer_write();
        }
        assert!(disk.order(2000), "there is room in the next segment");
        disk.line.want_power(disk.line.last());
        disk.answer_write();
        disk.start();
        let (second, _) = disk.line.position().expect("a segment is active");
        assert!(first != second, "the log rotated, and nobody synced the seal");
        let link = disk.line.predecessor().expect("the first segment ended");
        assert_eq!((link.len, link.last), (before_seal, Epoch::ZERO.next().unwrap().first_lsn()));
        disk.answer_write();
        disk.start();
        disk.answer_sync();
        assert_eq!(disk.line.durable(), disk.line.last());
    }
}

#[test]
fn nothing_is_ordered_for_a_segment_that_is_being_grown() {
    let mut disk = Disk::new();
    disk.prepare(8192);
    assert_eq!(disk.line.room(1), Room::Here);
    let (spare, _) = disk.line.begin_growth().unwrap();
    assert!(matches!(disk.line.room(1), Room::Grow(_)), "although it has room");
    disk.line.growth_ended(spare, None);
    assert_eq!(disk.line.room(1), Room::Here, "as much as before");
    assert!(matches!(disk.line.room(10_000), Room::Grow(_)));
    let (spare, _) = disk.line.begin_growth().unwrap();
    disk.line.growth_ended(spare, Some(16_384));
    assert_eq!(disk.line.room(10_000), Room::Here);
}

#[test]
fn what_the_first_frame_of_a_segment_waits_for_is_synced_ahead() {
    let mut disk = Disk::new();
    disk.prepare(4 << 20);
    let mut left = None;
    for _ in 0..40 {
        // A sync takes as long as a dozen writes.
        for _ in 0..12 {
            while disk.line.room(1100) == Room::Here && disk.line.buffered < 16 * 1024 {
                assert!(disk.order(1000));
            }
            disk.line.want_process(disk.line.last());
            disk.start();
            if disk.write.is_some() {
                disk.answer_write();
            }
            if disk.line.should_sync(1 << 30) {
                disk.line.want_power(disk.line.written());
            }
            disk.start();
        }
        if disk.line.room(1100) != Room::Here {
            left.get_or_insert(disk.line.unsynced);
        }
        if disk.sync.is_some() {
            disk.answer_sync();
        }
    }
    let left = left.expect("the segment was filled");
    assert!(left <= 3 * SYNC_AHEAD_MIN, "{left} bytes");
}
