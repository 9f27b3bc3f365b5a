//! The rate of work in the background: merges, moves and promotions of all spaces together.
//!
//! Their bytes, read and written, go through one line in which each job asks for a chunk at a time and waits for its turn.
//! So jobs of many spaces take turns chunk by chunk, whatever they hold in all, and none can get ahead. Flushes do not
//! stand in it: they are what frees memory and log for writers. Nor does a space that is being closed or deleted wait.
use crate::sync::Mutex;
use std::time::Duration;

/// Bytes a second that all jobs together move at most.
#[derive(Debug)]
pub(crate) struct Rate {
    /// 0 is no limit.
    per_second: u64,
    /// When all that was asked for so far has gone through, on the environment's clock.
    free_at: Mutex<Duration>,
}

/// Less is not waited for: timers are not finer, and on a clock of whole microseconds a wait of nanoseconds would not end.
pub(crate) const WAIT_MIN: Duration = Duration::from_millis(1);
/// Longest wait in one piece: who waits looks about in between for whether it still has to.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(100);

impl Rate {
    pub(crate) fn new(per_second: u64) -> Rate {
        Rate { per_second, free_at: Mutex::new(Duration::ZERO) }
    }

    /// Takes a place in the line for `bytes`, now: until when it has to wait before it moves them, if at all.
    pub(crate) fn turn(&self, now: Duration, bytes: u64) -> Option<Duration> {
        if self.per_second == 0 {
            return None;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut free_at = self.free_at.lock();
        // What was not used is not saved up.
        let turn = (*free_at).max(now);
        *free_at = turn.saturating_add(takes);
        Some(turn).filter(|turn| *turn > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn whoever_asks_waits_for_all_that_was_asked_for_before() {
        let rate = Rate::new(1000);
        assert_eq!(rate.turn(ms(500), 100), None, "nobody is in front");
        assert_eq!(rate.turn(ms(500), 100), Some(ms(600)));
        assert_eq!(rate.turn(ms(550), 1), Some(ms(700)));
        assert_eq!(rate.turn(ms(701), 50), None);
        assert_eq!(rate.turn(ms(9_000), 50), None, "what was not used is not saved up");
        assert_eq!(rate.turn(ms(9_000), 1), Some(ms(9_050)));
    }

    #[test]
    fn without_a_limit_nobody_waits_and_a_tiny_one_does_not_overflow() {
        let rate = Rate::new(0);
        assert!((0..10).all(|_| rate.turn(ms(1), u64::MAX).is_none()));
        let rate = Rate::new(1);
        assert_eq!(rate.turn(ms(1), u64::MAX), None);
        assert!(rate.turn(ms(1), u64::MAX).is_some_and(|turn| turn > ms(1 << 40)));
        assert!(rate.turn(ms(1), u64::MAX).is_some());
    }
}
