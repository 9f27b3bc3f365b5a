//! Ranges of keys, with bounds that are short whatever the keys are.
//!
//! A key may have 64 KiB and a manifest names thousands of ranges, so bounds are cut to [`BOUND_MAX`] bytes: a lower one
//! is rounded down, an upper one up. A range may therefore be wider than the keys it was made of. Nothing relies on it
//! being tight: a range too wide costs a look into a table or a table more in a merge, never an answer. What is relied
//! on is that ranges of one sorted run stay disjoint. For that a run may be cut only where [`KeyRange::may_cut`] says
//! so: between keys whose first [`BOUND_MAX`] bytes differ. Keys that agree in these bytes stay together.
//!
//! Why that is enough: let `a < b` be neighbours and `p` and `q` their first [`BOUND_MAX`] bytes, with `p < q`. The upper
//! bound over `a` is at most the lower bound `q` under `b`: if `a` is short its upper bound is `a` and a zero, the very
//! next key; if not, `q` is greater than `p` at some byte which in `p` is below 255, and rounding up raises the *last*
//! such byte of `p`.
use super::Key;
use crate::limits::BOUND_MAX;

/// All keys from a lower bound on, up to and without an upper one. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRange {
    lower: Key,
    upper: Option<Key>,
}

impl KeyRange {
    /// Every key from `lower` on and below `upper`; without `upper` to the end. `None` if a bound is longer than
    /// [`BOUND_MAX`] bytes or no key could lie between them.
    #[must_use]
    pub fn new(lower: &[u8], upper: Option<&[u8]>) -> Option<KeyRange> {
        let short = lower.len() <= BOUND_MAX && upper.is_none_or(|u| u.len() <= BOUND_MAX);
        let some = upper.is_none_or(|u| lower < u);
        (short && some).then(|| KeyRange { lower: lower.into(), upper: upper.map(Key::from) })
    }

    /// All keys.
    #[must_use]
    pub fn all() -> KeyRange {
        KeyRange { lower: Key::default(), upper: None }
    }

    /// A range that holds `first`, `last` and all keys between them.
    ///
    /// # Panics
    /// When `last` is lower than `first`.
    #[must_use]
    pub fn covering(first: &[u8], last: &[u8]) -> KeyRange {
        assert!(first <= last, "the first key is not above the last one");
        let upper =
            if last.len() < BOUND_MAX { Some(Key::from(&[last, &[0]].concat()[..])) } else { round_up(last) };
        KeyRange { lower: KeyRange::lower_bound(first).into(), upper }
    }

    /// A range that holds all keys from `from` on and below `to`; without `to` to the end.
    ///
    /// # Panics
    /// When no key lies between them.
    #[must_use]
    pub fn covering_between(from: &[u8], to: Option<&[u8]>) -> KeyRange {
        assert!(to.is_none_or(|to| from < to), "some key lies between the bounds");
        let upper = match to {
            Some(to) if to.len() > BOUND_MAX => round_up(to),
            to => to.map(Key::from),
        };
        KeyRange { lower: KeyRange::lower_bound(from).into(), upper }
    }

    /// The bound under `key`: its first bytes.
    #[must_use]
    pub fn lower_bound(key: &[u8]) -> &[u8] {
        &key[..key.len().min(BOUND_MAX)]
    }

    /// Whether a sorted run may be cut between the neighbouring keys `a < b`; see the module's doc.
    #[must_use]
    pub fn may_cut(a: &[u8], b: &[u8]) -> bool {
        KeyRange::lower_bound(a) < KeyRange::lower_bound(b)
    }

    /// No key is lower than this.
    #[must_use]
    pub fn lower(&self) -> &[u8] {
        &self.lower
    }

    /// Every key is lower than this; `None` is the end of all keys.
    #[must_use]
    pub fn upper(&self) -> Option<&[u8]> {
        self.upper.as_deref()
    }

    /// Whether `key` lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.lower() <= key && !self.ends_by(key)
    }

    /// Whether all of its keys are lower than `bound`.
    #[must_use]
    pub fn ends_by(&self, bound: &[u8]) -> bool {
        self.upper().is_some_and(|u| u <= bound)
    }

    /// Whether some key could lie in both.
    #[must_use]
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        !self.ends_by(other.lower()) && !other.ends_by(self.lower())
    }

    /// Whether every key of `other` lies in it.
    #[must_use]
    pub fn covers(&self, other: &KeyRange) -> bool {
        let ends_later = match (self.upper(), other.upper()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(a), Some(b)) => b <= a,
        };
        self.lower <= other.lower && ends_later
    }

    /// The least range that covers both.
    #[must_use]
    pub fn union(&self, other: &KeyRange) -> KeyRange {
        let upper = match (&self.upper, &other.upper) {
            (Some(a), Some(b)) => Some(a.max(b).clone()),
            _ => None,
        };
        KeyRange { lower: self.lower.clone().min(other.lower.clone()), upper }
    }

    /// What of it lies in both.
    #[must_use]
    pub fn intersection(&self, other: &KeyRange) -> Option<KeyRange> {
        self.overlaps(other).then(|| KeyRange {
            lower: self.lower.clone().max(other.lower.clone()),
            upper: match (&self.upper, &other.upper) {
                (Some(a), Some(b)) => Some(a.min(b).clone()),
                (a, b) => a.as_ref().or(b.as_ref()).cloned(),
            },
        })
    }

    /// What of it is not lower than `bound`.
    #[must_use]
    pub fn starting_at(&self, bound: &[u8]) -> Option<KeyRange> {
        let lower = self.lower().max(bound);
        KeyRange::new(lower, self.upper())
    }

    /// What of it is lower than `bound`.
    #[must_use]
    pub fn ending_at(&self, bound: &[u8]) -> Option<KeyRange> {
        let upper = self.upper().map_or(bound, |u| u.min(bound));
        KeyRange::new(self.lower(), Some(upper))
    }
}

/// The least bound above everything that begins with the first [`BOUND_MAX`] bytes of `key`; `None` if that is the end.
fn round_up(key: &[u8]) -> Option<Key> {
    let mut bound = KeyRange::lower_bound(key).to_vec();
    while bound.last() == Some(&u8::MAX) {
        bound.pop();
    }
    *bound.last_mut()? += 1;
    Some(Key::from(&bound[..]))
}

impl std::fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.upper {
            Some(upper) => write!(f, "{:?}..{upper:?}", self.lower),
            None => write!(f, "{:?}..", self.lower),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys around the length at which bounds are cut, of few different bytes, the highest among them.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let fill = prop::sample::select(vec![0u8, 7, 254, 255]);
        let tail = prop::collection::vec(prop::sample::select(vec![0u8, 1, 254, 255]), 0..4);
        (fill, prop::sample::select(vec![0usize, 1, BOUND_MAX - 2, BOUND_MAX - 1, BOUND_MAX]), tail)
            .prop_map(|(fill, len, tail)| [vec![fill; len], tail].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn a_range_holds_what_it_was_made_of_and_cuts_keep_ranges_disjoint(mut keys in prop::collection::vec(key(), 2..6)) {
            keys.sort();
            keys.dedup();
            let range = KeyRange::covering(&keys[0], &keys[keys.len() - 1]);
            prop_assert!(keys.iter().all(|k| range.contains(k)));
            prop_assert_eq!(KeyRange::new(range.lower(), range.upper()), Some(range.clone()));
            for pair in keys.windows(2) {
                let (a, b) = (KeyRange::covering(&keys[0], &pair[0]), KeyRange::covering(&pair[1], &pair[1]));
                prop_assert_eq!(!a.overlaps(&b), KeyRange::may_cut(&pair[0], &pair[1]));
                prop_assert!(range.covers(&a) && range.covers(&b));
                prop_assert_eq!(a.union(&b).contains(&pair[0]), true);
            }
        }

        #[test]
        fn parts_of_ranges_hold_the_keys_of_both(a in key(), b in key(), c in key(), d in key(), probe in key()) {
            let range = |x: &[u8], y: &[u8]| KeyRange::covering(x.min(y), x.max(y));
            let (x, y) = (range(&a, &b), range(&c, &d));
            let both = x.contains(&probe) && y.contains(&probe);
            prop_assert_eq!(x.intersection(&y).is_some_and(|i| i.contains(&probe)), both);
            prop_assert_eq!(x.intersection(&y).is_some(), x.overlaps(&y));
            let at = KeyRange::lower_bound(&d);
            let (below, above) = (x.ending_at(at), x.starting_at(at));
            prop_assert_eq!(below.is_some_and(|r| r.contains(&probe)), x.contains(&probe) && probe[..] < *at);
            prop_assert_eq!(above.is_some_and(|r| r.contains(&probe)), x.contains(&probe) && probe[..] >= *at);
        }
    }
}
