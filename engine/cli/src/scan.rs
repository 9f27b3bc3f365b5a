//! `scan`: entries of one space in the order of their keys.
use crate::args::{RangeArgs, ScanArgs, SpaceArg};
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{json_line, put_bytes};
use crate::session::with_space;
use crate::settings::Settings;
use bulkhead::Direction;
use serde_json::Map;
use std::io::{BufWriter, Write};
use std::ops::Bound;

/// Prints the entries within the bounds, as of one moment.
pub fn run(settings: &Settings, args: ScanArgs) -> Result<(), Failure> {
    let direction = if args.reverse { Direction::Descending } else { Direction::Ascending };
    let range = bounds(&args.space, args.range)?;
    with_space(settings, args.space.space.as_ref(), |space| {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let Some(range) = range else { return Ok(()) };
        for entry in space.scan(range, direction).take(args.limit.unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            if args.json {
                let mut object = Map::new();
                put_bytes(&mut object, "key", &key);
                if !args.keys_only {
                    put_bytes(&mut object, "value", &value);
                }
                json_line(&mut out, &object)?;
            } else if args.keys_only {
                writeln!(out, "{}", escape(&key))?;
            } else {
                writeln!(out, "{}\t{}", escape(&key), escape(&value))?;
            }
        }
        Ok(out.flush()?)
    })
}

/// Keys from one on, before another.
pub type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that `given` means; `None` if there can be none.
pub fn bounds(space: &SpaceArg, given: RangeArgs) -> Result<Option<Range>, Failure> {
    let bytes = |given: Option<_>| given.map(|g| space.key(g)).transpose();
    let (prefix, from, to) = (bytes(given.prefix)?, bytes(given.from)?, bytes(given.to)?);
    Ok(range(prefix.as_deref().unwrap_or_default(), from, to))
}

/// The keys that begin with `prefix`, from `from` on, before `to`; `None` if there can be none.
fn range(prefix: &[u8], from: Option<Vec<u8>>, to: Option<Vec<u8>>) -> Option<Range> {
    let lower = from.unwrap_or_default().max(prefix.to_vec());
    let upper = match (to, past_prefix(prefix)) {
        (Some(to), Some(past)) => Some(to.min(past)),
        (to, past) => to.or(past),
    };
    if upper.as_ref().is_some_and(|upper| *upper <= lower) {
        return None;
    }
    Some((Bound::Included(lower), upper.map_or(Bound::Unbounded, Bound::Excluded)))
}

/// The first key after all that begin with `prefix`; `None` if there is none after them.
fn past_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&b| b != 0xff)?;
    let mut past = prefix[..=last].to_vec();
    past[last] += 1;
    Some(past)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_prefix_are_intersected() {
        let r = |p: &str, f: Option<&str>, t: Option<&str>| {
            let bytes = |s: &str| s.as_bytes().to_vec();
            range(p.as_bytes(), f.map(bytes), t.map(bytes))
        };
        let is = |lower: &str, upper: Option<&str>| {
            let upper = upper.map_or(Bound::Unbounded, |u| Bound::Excluded(u.as_bytes().to_vec()));
            Some((Bound::Included(lower.as_bytes().to_vec()), upper))
        };
        assert_eq!(r("", None, None), is("", None));
        assert_eq!(r("ab", None, None), is("ab", Some("ac")));
        assert_eq!(r("ab", Some("aa"), Some("ad")), is("ab", Some("ac")));
        assert_eq!(r("ab", Some("abc"), Some("abd")), is("abc", Some("abd")));
        assert_eq!(r("ab", Some("b"), None), None);
        assert_eq!(r("", Some("b"), Some("a")), None);
        assert_eq!(past_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(past_prefix(&[0xff]), None);
    }
}
