//! How many requests of a group end in a second: counted in windows of one second,
//! in shared memory, by all children. `thread_reserve.rs` has the memory, notes each end, and
//! asks. After a pause it is counted anew, so that a worker that starts again does
//! not look slow. Knows nothing of limits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Length of a window. A group that has ended nothing for this long pauses.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
const WINDOW_MS: u32 = 1000;

/// Numbers for each group: when the present window began, how many have ended in it,
/// in the one before, and in the one before that.
pub(crate) const WORDS: usize = 4;

/// Counts one request that has ended; `paused`: it is the first after a pause. Of two
/// that children count at the same moment, one may be lost.
pub(crate) fn note(words: &[AtomicU32; WORDS], paused: bool, now: u32) {
    let [start, count, before, earlier] = words;
    let began = start.load(Ordering::Relaxed);
    let passed = elapsed(began, now);
    let is_new = (paused && began != now) || passed >= 2 * WINDOW_MS;
    let next = if is_new {
        now
    } else {
        began.wrapping_add(WINDOW_MS)
    };
    let is_over = is_new || passed >= WINDOW_MS;
    if !is_over
        || start
            .compare_exchange(began, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
    {
        count.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let last = count.swap(1, Ordering::Relaxed);
    let (last, second) = if is_new {
        (0, 0)
    } else {
        (last, before.load(Ordering::Relaxed))
    };
    before.store(last, Ordering::Relaxed);
    earlier.store(second, Ordering::Relaxed);
}

/// How many ended in the best of the last three windows: a short gap in one of them
/// does not make a group slow. `None` until one whole window has been counted.
pub(crate) fn per_second(words: &[AtomicU32; WORDS], now: u32) -> Option<u32> {
    let [start, count, before, earlier] = words.each_ref().map(|cell| cell.load(Ordering::Relaxed));
    let passed = elapsed(start, now);
    let is_known = passed < 2 * WINDOW_MS && (before > 0 || passed >= WINDOW_MS);
    is_known.then_some(count.max(before).max(earlier))
}

/// Milliseconds since a window began. Children note times of their own, so it may be
/// a little ahead; what seems far ahead is weeks old.
fn elapsed(from: u32, to: u32) -> u32 {
    let passed = to.wrapping_sub(from);
    if passed > u32::MAX - WINDOW_MS {
        0
    } else {
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU32; WORDS] {
        Default::default()
    }

    /// One end each so many milliseconds, from one time to another.
    fn ends(words: &[AtomicU32; WORDS], from: u32, to: u32, each: usize) {
        (from..to)
            .step_by(each)
            .for_each(|now| note(words, false, now));
    }

    #[test]
    fn the_pace_is_known_after_one_second() {
        let words = words();
        assert_eq!(per_second(&words, 50_000), None);
        ends(&words, 50_000, 50_990, 20);
        assert_eq!(per_second(&words, 50_990), None);
        ends(&words, 51_000, 51_500, 20);
        assert_eq!(per_second(&words, 51_500), Some(50));
        assert_eq!(per_second(&words, 53_100), None, "too long ago");
    }

    #[test]
    fn a_group_that_becomes_slow_is_known_as_such_after_three() {
        let words = words();
        ends(&words, 50_000, 52_000, 10);
        ends(&words, 52_000, 53_900, 500);
        assert_eq!(per_second(&words, 53_900), Some(100));
        ends(&words, 54_000, 54_900, 500);
        assert_eq!(per_second(&words, 54_900), Some(2));
    }

    #[test]
    fn a_gap_of_less_than_a_second_does_not_make_a_group_slow() {
        for gap in (0..1000).step_by(50) {
            let words = words();
            ends(&words, 50_000, 53_000 + gap, 10);
            for now in (53_950 + gap..58_000).step_by(10) {
                note(&words, false, now);
                assert!(
                    per_second(&words, now).is_some_and(|pace| pace >= 50),
                    "{gap} {now}"
                );
            }
        }
    }

    #[test]
    fn after_a_pause_it_is_counted_anew() {
        let words = words();
        ends(&words, 50_000, 52_100, 20);
        note(&words, true, 53_200);
        assert_eq!(per_second(&words, 53_900), None);
        // Another child that had seen the pause too.
        note(&words, true, 53_200);
        ends(&words, 53_210, 54_200, 10);
        assert_eq!(per_second(&words, 54_200), Some(101));
    }

    #[test]
    fn times_wrap_may_be_ahead_and_may_be_weeks_old() {
        assert_eq!((elapsed(u32::MAX, 9), elapsed(10, 9)), (10, 0));
        assert!(elapsed(0, 1 << 31) >= 2 * WINDOW_MS && elapsed(0, 3 << 30) >= 2 * WINDOW_MS);
    }
}
