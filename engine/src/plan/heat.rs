//! Which entries are read repeatedly below hot: a bounded table of keys with counts of their reads.
//!
//! # What it is not
//! An approximation, on purpose. It holds at most [`HEAT_KEYS_MAX`] keys in [`HEAT_BYTES_MAX`] bytes; where more are read
//! in turn, the one with the fewest reads goes first, of several the one read longest ago, and starts again at nothing
//! when it comes back. Reads count by halves of the window: those of the running half and of the one before it. So a read
//! counts for half a window at least and a whole one at most, and none that lies further back is ever counted. Keys
//! longer than [`HEAT_KEY_MAX`] are not counted at all. After a restart it is empty.
//!
//! Where more keys are read in turn than there is room for, nearly all of them are read once: a newcomer must knock first.
//! Its first read leaves a fingerprint that the next key of the same slot takes away, and is counted with its second one,
//! if that comes within the same half of the window. (The doorkeeper of TinyLFU, Einziger, Friedman and Manes 2017, with
//! one key a slot instead of a Bloom filter.)
//!
//! A table of one copied entry is a file, and a manifest to be switched: so promotions of one space wait for one another,
//! a minute or until half of the table is wanted.
use super::promote::Wanted;
use crate::config::TierOptions;
use crate::ids::Lsn;
use crate::key::Key;
use crate::limits::{HEAT_BYTES_MAX, HEAT_KEY_COST, HEAT_KEY_MAX, HEAT_KEYS_MAX, HEAT_SLOTS};
use crate::manifest::Tier;
use std::collections::BTreeMap;

/// A point read that a table below hot answered with a value.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    pub key: &'a [u8],
    pub lsn: Lsn,
    pub tier: Tier,
    /// Bytes of key and value.
    pub bytes: u64,
    /// Wall time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// Whether there is something to copy up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Yes,
    No,
}

/// What is known of the reads of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    lsn: Lsn,
    tier: Tier,
    bytes: u64,
    /// When the running half of the window began.
    since_ms: u64,
    /// Reads in the half before.
    before: u32,
    /// Reads in the running half.
    recent: u32,
}

impl Count {
    /// Goes on to the half of the window in which `now_ms` lies.
    fn pass(&mut self, now_ms: u64, half_ms: u64) {
        if now_ms < self.since_ms {
            // The clock was set back: what was read stays read, and ages from now on.
            self.since_ms = now_ms;
            return;
        }
        match (now_ms - self.since_ms) / half_ms {
            0 => {}
            1 => (self.before, self.recent, self.since_ms) = (self.recent, 0, self.since_ms + half_ms),
            _ => (self.before, self.recent, self.since_ms) = (0, 0, now_ms),
        }
    }

    fn reads(&self) -> u32 {
        self.before.saturating_add(self.recent)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Heat {
    keys: BTreeMap<Key, Count>,
    /// Of all keys, with what each costs beside.
    bytes: usize,
    /// The minute of the last promotion.
    promoted_ms: Option<u64>,
    /// Fingerprints of keys that have knocked; empty until there is no room.
    knocked: Vec<u32>,
}

impl Heat {
    /// Counts a read. `Yes` only with the read that makes its key wanted: nobody has to ask again before the next minute.
    pub fn note(&mut self, o: &TierOptions, read: Read<'_>) -> Asks {
        if o.promote_reads == 0 || read.key.len() > HEAT_KEY_MAX {
            return Asks::No;
        }
        let mut reads = 1;
        if !self.knows(read.key) {
            if !self.has_room(read.key) && o.promote_reads > 1 {
                if !self.knocks(o, &read) {
                    return Asks::No;
                }
                reads = 2;
            }
            self.make_room(o, read.key.len() + HEAT_KEY_COST, read.now_ms);
            self.bytes += read.key.len() + HEAT_KEY_COST;
            let Read { lsn, tier, bytes, now_ms, .. } = read;
            let count = Count { lsn, tier, bytes, since_ms: now_ms, before: 0, recent: 0 };
            self.keys.insert(read.key.into(), count);
        }
        let count = self.keys.get_mut(read.key).expect("it is there by now");
        count.pass(read.now_ms, half_ms(o));
        if read.lsn < count.lsn {
            // A snapshot's read of a version that has been overwritten.
            return Asks::No;
        }
        (count.lsn, count.tier, count.bytes) = (read.lsn, read.tier, read.bytes);
        let before = count.reads();
        count.recent = count.recent.saturating_add(reads);
        let crosses = before < o.promote_reads && count.reads() >= o.promote_reads;
        if crosses && self.is_due(o, read.now_ms) { Asks::Yes } else { Asks::No }
    }

    /// What is to be copied up now, by key; nothing if it is not time yet.
    #[must_use]
    pub fn wanted(&mut self, o: &TierOptions, now_ms: u64) -> Vec<Wanted> {
        self.keys.values_mut().for_each(|count| count.pass(now_ms, half_ms(o)));
        if o.promote_reads == 0 || !self.is_due(o, now_ms) {
            return Vec::new();
        }
        let wanted = self.keys.iter().filter(|(_, count)| count.reads() >= o.promote_reads);
        let wanted = wanted.map(|(key, count)| Wanted {
            key: key.to_vec(),
            lsn: count.lsn,
            tier: count.tier,
            reads: count.reads(),
            bytes: count.bytes,
        });
        wanted.collect()
    }

    /// A promotion of these begins.
    pub fn began(&mut self, now_ms: u64) {
        self.promoted_ms = Some(now_ms);
    }

    /// A promotion is over: only further reads bring these up again.
    pub fn forget(&mut self, wanted: &[Wanted]) {
        for w in wanted {
            if self.keys.remove(&w.key[..]).is_some() {
                self.bytes -= w.key.len() + HEAT_KEY_COST;
            }
        }
    }

    /// Not in the minute of the last promotion, unless much is wanted.
    fn is_due(&self, o: &TierOptions, now_ms: u64) -> bool {
        let wanted = || self.keys.values().filter(|count| count.reads() >= o.promote_reads).count();
        self.promoted_ms != Some(now_ms) || wanted() >= HEAT_KEYS_MAX / 2
    }

    fn knows(&self, key: &[u8]) -> bool {
        match Key::in_place(key) {
            Some(key) => self.keys.contains_key(&key),
            None => self.keys.contains_key(key),
        }
    }

    fn has_room(&self, key: &[u8]) -> bool {
        self.keys.len() < HEAT_KEYS_MAX && self.bytes + key.len() + HEAT_KEY_COST <= HEAT_BYTES_MAX
    }

    /// Whether this key was the last one of its slot to knock, in this half of the window; the next one knocks anew.
    fn knocks(&mut self, o: &TierOptions, read: &Read<'_>) -> bool {
        if self.knocked.is_empty() {
            self.knocked = vec![0; HEAT_SLOTS];
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&(read.now_ms / half_ms(o)).to_be_bytes());
        hasher.update(read.key);
        let print = hasher.finalize();
        let slot = &mut self.knocked[print as usize % HEAT_SLOTS];
        let again = *slot == print;
        *slot = if again { 0 } else { print };
        again
    }

    fn make_room(&mut self, o: &TierOptions, bytes: usize, now_ms: u64) {
        while self.keys.len() >= HEAT_KEYS_MAX || self.bytes + bytes > HEAT_BYTES_MAX {
            self.keys.values_mut().for_each(|count| count.pass(now_ms, half_ms(o)));
            let least = self.keys.iter().min_by_key(|(key, count)| (count.reads(), count.since_ms, *key));
            let Some(key) = least.map(|(key, _)| key.clone()) else { return };
            self.bytes -= key.len() + HEAT_KEY_COST;
            self.keys.remove(&key);
        }
    }
}

fn half_ms(o: &TierOptions) -> u64 {
    o.promote_window_s * 1000 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    fn options(promote_reads: u32) -> TierOptions {
        TierOptions { promote_reads, ..TierOptions::default() }
    }

    fn read(key: &[u8], lsn: u64, now_ms: u64) -> Read<'_> {
        Read { key, lsn: Lsn::from_raw(lsn), tier: Tier::Cold, bytes: 9, now_ms }
    }

    fn keys(heat: &mut Heat, o: &TierOptions, now_ms: u64) -> Vec<(Vec<u8>, u32)> {
        heat.wanted(o, now_ms).into_iter().map(|w| (w.key, w.reads)).collect()
    }

    #[test]
    fn the_third_read_within_a_window_asks_and_no_other_one() {
        let (o, mut heat) = (options(3), Heat::default());
        let asks: Vec<_> = (0..5).map(|_| heat.note(&o, read(b"k", 7, 100))).collect();
        assert_eq!(asks, [Asks::No, Asks::No, Asks::Yes, Asks::No, Asks::No]);
        heat.note(&o, read(b"other", 7, 100));
        assert_eq!(keys(&mut heat, &o, 100), [(b"k".to_vec(), 5)]);
        let never = options(0);
        assert_eq!(Heat::default().note(&never, read(b"k", 7, 100)), Asks::No);
        assert_eq!(heat.wanted(&never, 100), []);
    }

    #[test]
    fn no_read_further_back_than_the_window_counts() {
        for first in [0, DAY / 3, DAY / 2, DAY - 1] {
            let (o, mut heat) = (options(3), Heat::default());
            for at in [first, first + DAY / 4, first + DAY / 4] {
                heat.note(&o, read(b"k", 7, at));
            }
            assert_eq!(keys(&mut heat, &o, first + DAY / 4).len(), 1);
            assert_eq!(keys(&mut heat, &o, first + DAY + DAY / 4), [], "all of them lie too far back");
        }
        let (o, mut heat) = (options(3), Heat::default());
        let asks: Vec<_> = (0..30).map(|n| heat.note(&o, read(b"k", 7, n * DAY / 2))).collect();
        assert_eq!(asks, [Asks::No; 30], "never more than two within a day");
    }

    #[test]
    fn a_clock_that_is_set_back_neither_forgets_nor_keeps_for_ever() {
        let (o, mut heat) = (options(2), Heat::default());
        heat.note(&o, read(b"k", 7, 100 * DAY));
        assert_eq!(heat.note(&o, read(b"k", 7, DAY)), Asks::Yes);
        assert_eq!(keys(&mut heat, &o, 2 * DAY), []);
    }

    #[test]
    fn it_is_bounded_and_those_read_least_go_first() {
        let (o, mut heat) = (options(2), Heat::default());
        for _ in 0..20 {
            heat.note(&o, read(b"often", 7, 0));
        }
        let long = vec![b'x'; HEAT_KEY_MAX];
        for n in 0..10_000_u32 {
            let key = n.to_be_bytes();
            heat.note(&o, read(if n % 3 == 0 { &key } else { &long[..n as usize % HEAT_KEY_MAX + 1] }, 7, 1));
            let bytes: usize = heat.keys.keys().map(|k| k.len() + HEAT_KEY_COST).sum();
            assert!(heat.keys.len() <= HEAT_KEYS_MAX && bytes <= HEAT_BYTES_MAX && bytes == heat.bytes);
        }
        assert!(heat.keys.contains_key(&b"often"[..]), "it was read most");
        let mut heat = Heat::default();
        for n in 0..1000_u32 {
            heat.note(&o, read(&n.to_be_bytes(), 7, 1));
        }
        assert_eq!(heat.keys.len(), HEAT_KEYS_MAX, "short keys are bounded by their number");
        assert!(heat.keys.contains_key(&0_u32.to_be_bytes()[..]), "who is read once takes nobody's place");
        let late = 5000_u32.to_be_bytes();
        let asks =
            |heat: &mut Heat| (0..3).map(|_| heat.note(&options(3), read(&late, 7, 1))).collect::<Vec<_>>();
        assert_eq!(asks(&mut heat), [Asks::No, Asks::No, Asks::Yes], "every read of a newcomer counts");
        assert_eq!(heat.keys[&late[..]].reads(), 3);
        let later = 5001_u32.to_be_bytes();
        heat.note(&o, read(&later, 7, DAY / 2 - 1));
        heat.note(&o, read(&later, 7, DAY / 2));
        assert!(!heat.keys.contains_key(&later[..]), "it has knocked once in each half");
        heat.note(&o, read(&[b'x'; HEAT_KEY_MAX + 1], 7, 1));
        assert!(heat.keys.keys().all(|k| k.len() <= HEAT_KEY_MAX));
    }

    #[test]
    fn the_same_reads_leave_the_same_table() {
        let run = || {
            let (o, mut heat) = (options(3), Heat::default());
            for n in 0..5000_u64 {
                let key = (n * n * 31 % 400).to_be_bytes();
                heat.note(&o, read(&key, n, n * DAY / 3000));
            }
            heat
        };
        let (one, other) = (run(), run());
        assert!(one.keys == other.keys && !one.keys.is_empty());
    }

    #[test]
    fn promotions_wait_a_minute_for_one_another_unless_much_is_wanted() {
        let (o, mut heat) = (options(1), Heat::default());
        assert_eq!(heat.note(&o, read(b"a", 7, 60_000)), Asks::Yes);
        heat.began(60_000);
        heat.forget(&heat.wanted_now(&o));
        assert_eq!(heat.note(&o, read(b"b", 7, 60_000)), Asks::No);
        assert_eq!(keys(&mut heat, &o, 60_000), []);
        assert_eq!(keys(&mut heat, &o, 120_000), [(b"b".to_vec(), 1)]);
        let asks = (0..HEAT_KEYS_MAX as u32)
            .filter(|n| heat.note(&o, read(&n.to_be_bytes(), 7, 60_000)) == Asks::Yes);
        assert!(asks.count() > 0, "half of the table is wanted");
        heat.forget(&heat.wanted_now(&o));
        assert_eq!((heat.keys.len(), heat.bytes), (0, 0));
    }

    impl Heat {
        fn wanted_now(&self, o: &TierOptions) -> Vec<Wanted> {
            let mut all = Heat { keys: self.keys.clone(), ..Heat::default() };
            all.wanted(o, 120_000)
        }
    }

    #[test]
    fn an_older_version_does_not_count_for_a_newer_one() {
        let (o, mut heat) = (options(2), Heat::default());
        heat.note(&o, read(b"k", 9, 0));
        assert_eq!(heat.note(&o, read(b"k", 5, 0)), Asks::No);
        assert_eq!(heat.note(&o, read(b"k", 12, 0)), Asks::Yes);
        assert_eq!(heat.wanted(&o, 0)[0].lsn, Lsn::from_raw(12));
    }
}
