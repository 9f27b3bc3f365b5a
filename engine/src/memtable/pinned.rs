//! What of a memtable is kept for pins alone: versions that were overwritten under them; see [`crate::held`].
//!
//! What range deletes hide here is noted once it is flushed.
use super::Memtable;
use crate::held::{Held, Holders};
use crate::ids::Lsn;
use std::collections::VecDeque;

/// Bytes of versions that were overwritten while pins saw them.
#[derive(Debug, Default)]
pub(super) struct Overwritten {
    held: Held,
    /// Where the commit that overwrote it, the first in here, is not durable yet: a fence would still read it. Ascending.
    open: VecDeque<(Lsn, Holders, u64)>,
}

impl Overwritten {
    fn note(&mut self, by: Lsn, holders: Holders, bytes: u64) {
        match self.open.back_mut() {
            Some((last, same, sum)) if (*last, *same) == (by, holders) => *sum += bytes,
            _ => self.open.push_back((by, holders, bytes)),
        }
    }

    /// Every commit up to `durable` survives a power cut.
    pub(super) fn settle(&mut self, durable: Lsn) {
        while let Some((_, holders, bytes)) = self.open.pop_front_if(|(by, ..)| *by <= durable) {
            self.held.note(holders, bytes);
        }
    }
}

impl Memtable {
    /// The commit begun last overwrote what a commit at `old` had written of `key`, with a value of so many bytes.
    pub(super) fn overwritten(&mut self, key: &[u8], old: Lsn, value: usize) {
        let hidden = self.spans.next_above(key, old);
        let upto = hidden.map_or(self.last, |hidden| hidden.min(self.last));
        if upto <= old {
            return;
        }
        let mut within = self.pins.range(old..upto).map(|(pin, _)| *pin);
        if let Some(oldest) = within.next() {
            let newest = within.next_back().unwrap_or(oldest);
            self.overwritten.note(self.last, Holders { oldest, newest }, (key.len() + value) as u64);
        }
    }

    /// Forgets what was held by pins that are gone.
    pub(super) fn forget_overwritten(&mut self) {
        let mut held = std::mem::take(&mut self.overwritten.held);
        held.retain(|holders| self.is_held(holders));
        self.overwritten.held = held;
    }

    /// Whether some of these holders are there.
    #[must_use]
    pub fn is_held(&self, by: Holders) -> bool {
        self.pins.range(by.oldest..=by.newest).next().is_some()
    }

    /// Bytes of keys and values kept for pins alone, as far as is known once all up to `durable` survives a power cut.
    pub fn held(&self, durable: Lsn) -> impl Iterator<Item = (Holders, u64)> {
        let open = self.overwritten.open.iter().take_while(move |(by, ..)| *by <= durable);
        self.overwritten.held.iter().chain(open.map(|(_, holders, bytes)| (*holders, *bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(n: u64) -> Lsn {
        Lsn::from_raw(n)
    }

    fn put(m: &mut Memtable, n: u64, key: &str, value: &str) {
        m.begin(lsn(n));
        m.apply(key.as_bytes(), Some(value.as_bytes()), crate::ids::Priority::default());
    }

    fn held(m: &Memtable, durable: u64) -> Vec<(u64, u64, u64)> {
        let alive = m.held(lsn(durable)).filter(|(holders, _)| m.is_held(*holders));
        alive.map(|(h, bytes)| (h.oldest.raw(), h.newest.raw(), bytes)).collect()
    }

    #[test]
    fn what_was_overwritten_under_pins_is_theirs_once_that_is_durable() {
        let mut m = Memtable::new();
        put(&mut m, 1, "k", "aaa");
        put(&mut m, 2, "l", "b");
        m.pin(lsn(1));
        m.pin(lsn(2));
        put(&mut m, 3, "k", "c");
        put(&mut m, 4, "l", "d");
        put(&mut m, 5, "l", "e");
        assert_eq!(held(&m, 2), []);
        m.set_durable(lsn(3));
        assert_eq!(held(&m, 3), [(1, 2, 4)]);
        assert_eq!(held(&m, 4), [(1, 2, 4), (2, 2, 2)], "as of a sealed one");
        m.set_durable(lsn(5));
        assert_eq!(held(&m, 5), [(1, 2, 4), (2, 2, 2)], "no pin saw what commit 4 wrote");
        m.unpin(lsn(2));
        assert_eq!(held(&m, 5), [(1, 2, 4)]);
        m.unpin(lsn(1));
        assert_eq!(held(&m, 5), []);
        assert_eq!(m.overwritten.held.iter().count(), 0, "nothing is kept of notes that say nothing");
    }

    #[test]
    fn pins_behind_a_range_delete_do_not_hold_what_it_hid() {
        let mut m = Memtable::new();
        put(&mut m, 1, "k", "aaa");
        m.pin(lsn(1));
        m.begin(lsn(2));
        m.apply_range(b"a", None);
        m.pin(lsn(2));
        put(&mut m, 3, "k", "b");
        m.set_durable(lsn(3));
        assert_eq!(held(&m, 3), [(1, 1, 4)]);
        m.unpin(lsn(1));
        assert_eq!(held(&m, 3), []);
    }
}
