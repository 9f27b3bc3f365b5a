//! How many bytes are kept for nobody but pins, and for which of them.
//!
//! A version with the LSN `v`, of which `n` is the next newer one of its key (or the oldest range delete over it), is seen
//! by the readers with `v <= r < n`. Once the commit at `n` is durable no reader comes to lie there any more, so it is
//! kept for the pins alone that lie there then: from the oldest of them to the newest, its [`Holders`]. It is held back as
//! long as a pin is left that lies between these, both included.
//!
//! Every note is made where it is decided that a version stays: by a write over it, a flush, a merge, a move. So what no
//! job has looked at yet is not noted, although pins may come to hold it back; and what is noted, they do. Notes are in
//! memory only: a job makes new ones for what it writes, and after a restart there are no pins.
use crate::ids::Lsn;
use crate::mutants;
use std::collections::BTreeMap;

/// Most notes of one stretch of keys, or of a memtable. They are of few kinds unless there are many pins.
const NOTES_MAX: usize = 64;
/// Most stretches of keys that one table is told apart in.
const STRETCHES_MAX: usize = 32;

/// The pins that hold something back: some of those from `oldest` to `newest`, and none besides. By LSN, not by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holders {
    pub oldest: Lsn,
    pub newest: Lsn,
}

impl Holders {
    /// Whether a pin at `lsn` is one of them.
    #[must_use]
    pub fn include(self, lsn: Lsn) -> bool {
        self.oldest <= lsn && lsn <= self.newest
    }
}

/// Bytes of keys and values, by who holds them back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    by: BTreeMap<Holders, u64>,
    /// All that came to be noted, together.
    bytes: u64,
}

impl Held {
    /// Notes that `holders` hold back `bytes`. Where there are too many notes it is noted for fewer of them, or not at all:
    /// never for others.
    pub fn note(&mut self, holders: Holders, bytes: u64) {
        if mutants::on("pins-bytes-never-counted") {
            return;
        }
        let full = self.by.len() >= NOTES_MAX;
        let within = match self.by.contains_key(&holders) || !full {
            true => Some(holders),
            false => self.by.range(holders..).map(|(h, _)| *h).find(|within| within.newest <= holders.newest),
        };
        if let Some(within) = within {
            *self.by.entry(within).or_default() += bytes;
            self.bytes += bytes;
        }
    }

    /// Forgets what none of the pins of now holds back.
    pub fn retain(&mut self, is_held: impl Fn(Holders) -> bool) {
        self.by.retain(|holders, _| is_held(*holders));
        self.bytes = self.by.values().sum();
    }

    /// All notes.
    pub fn iter(&self) -> impl Iterator<Item = (Holders, u64)> {
        self.by.iter().map(|(holders, bytes)| (*holders, *bytes))
    }
}

/// The same of a table, by stretches of keys: of a table of which the lower part has moved away the rest still counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldInTable {
    /// By first key.
    stretches: Vec<(Vec<u8>, Held)>,
    /// Bytes that stretches aim at: as few as that there are not too many of them.
    aim: u64,
}

impl HeldInTable {
    /// As [`Held::note`], of a version of `key`, which is not in front of any noted before.
    pub fn note(&mut self, key: &[u8], holders: Holders, bytes: u64) {
        if let Some((first, last)) = self.stretches.last_mut()
            && (last.bytes + bytes <= self.aim || first == key)
        {
            return last.note(holders, bytes);
        }
        let mut held = Held::default();
        held.note(holders, bytes);
        self.stretches.push((key.to_vec(), held));
        while self.stretches.len() > STRETCHES_MAX {
            self.aim = 1 + 2 * self.aim;
            let stretches = std::mem::take(&mut self.stretches);
            stretches.into_iter().for_each(|(first, held)| self.put(first, held));
        }
    }

    /// Adds what is held back from the key `first` on to the last stretch, or as another one.
    fn put(&mut self, first: Vec<u8>, held: Held) {
        match self.stretches.last_mut() {
            Some((_, last)) if last.bytes + held.bytes <= self.aim => {
                held.iter().for_each(|(holders, bytes)| last.note(holders, bytes));
            }
            _ => self.stretches.push((first, held)),
        }
    }

    /// Whether nothing is noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// The notes of keys from `lower` on; of the stretch that it falls into, none.
    pub fn from<'a>(&'a self, lower: &[u8]) -> impl Iterator<Item = (Holders, u64)> + use<'a> {
        let at = self.stretches.partition_point(|(first, _)| &first[..] < lower);
        self.stretches[at..].iter().flat_map(|(_, held)| held.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(oldest: u64, newest: u64) -> Holders {
        Holders { oldest: Lsn::from_raw(oldest), newest: Lsn::from_raw(newest) }
    }

    #[test]
    fn what_does_not_fit_is_noted_for_fewer_holders_or_not_at_all() {
        let mut held = Held::default();
        let even = || (0..NOTES_MAX as u64).map(|n| 2 * n);
        even().for_each(|n| held.note(between(n, n), 1));
        held.note(between(4, 4), 10);
        held.note(between(5, 7), 100);
        held.note(between(5, 5), 1000);
        let of = |n| held.iter().find(|(holders, _)| *holders == between(n, n)).map(|(_, bytes)| bytes);
        assert_eq!((of(4), of(6), of(8), of(5)), (Some(11), Some(101), Some(1), None));
        assert_eq!(held.iter().count(), NOTES_MAX);
        assert_eq!(held.bytes, NOTES_MAX as u64 + 110);
        held.retain(|holders| holders.include(Lsn::from_raw(4)));
        assert_eq!(held.iter().collect::<Vec<_>>(), [(between(4, 4), 11)]);
    }

    #[test]
    fn of_a_table_the_rest_still_counts_once_the_lower_part_has_moved_away() {
        let mut held = HeldInTable::default();
        let key = |n: u64| format!("{n:06}").into_bytes();
        let sum = |held: &HeldInTable, from| held.from(&key(from)).map(|(_, bytes)| bytes).sum::<u64>();
        let count = 10_000;
        for n in 0..count {
            // Two versions of each key.
            held.note(&key(n), between(1, 3), 50);
            held.note(&key(n), between(2, 2), 50);
            assert!(held.stretches.len() <= STRETCHES_MAX);
        }
        assert_eq!(sum(&held, 0), 100 * count);
        for from in (0..count).step_by(37) {
            let (there, counted) = (100 * (count - from), sum(&held, from));
            assert!(counted <= there, "never more than there is");
            assert!(there - counted <= 100 * count / 8, "{counted} of {there} from {from} on");
        }
        assert_eq!(sum(&held, count), 0);
    }
}
