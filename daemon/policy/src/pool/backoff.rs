//! When the next start may be tried after failures, and when to give up for a while.
//! Asked by `filling`, told by `failure`. Pure: the time is an argument, the jitter comes
//! from a seed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::instant;

/// Delay after the second failure in a row; the first restart is immediate.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// No delay is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// No delay is longer after workers that had been ready: a request that kills
/// its worker must not be a way to switch a site off.
const LONGEST_DELAY_READY: Duration = Duration::from_secs(1);

/// Failures of one pool.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Backoff {
    in_a_row: u32,
    #[serde(with = "instant")]
    not_before: Option<Instant>,
    #[serde(with = "instant")]
    recent: VecDeque<Instant>,
    /// For the jitter; never zero.
    seed: u64,
    /// The last start came to nothing.
    failing: bool,
    /// Starts in a row that came to nothing, since the administrator acted.
    failed_starts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            in_a_row: 0,
            not_before: None,
            recent: VecDeque::new(),
            seed: seed | 1,
            failing: false,
            failed_starts: 0,
        }
    }

    /// Counts a failure. Returns whether there are now more than `burst` in
    /// `window`.
    pub(crate) fn failed(&mut self, burst: u32, window: Duration, now: Instant) -> bool {
        self.failing = true;
        self.failed_starts = self.failed_starts.saturating_add(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.not_before = Some(now + self.delay(LONGEST_DELAY));
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) > window)
        {
            self.recent.pop_front();
        }
        let many = self.recent.len() > burst as usize;
        if many {
            // Only the count matters; nothing grows without bound.
            self.recent.pop_front();
        }
        many && !window.is_zero()
    }

    /// A worker that had been ready since then died. That never counts as a
    /// group that cannot start; it keeps starts apart, so that the next one is
    /// only delayed if this worker did not live for as long as the delay.
    pub(crate) fn died(&mut self, ready_since: Instant) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.not_before = Some(ready_since + self.delay(LONGEST_DELAY_READY));
    }

    /// A worker came so far as to be ready.
    pub(crate) fn started(&mut self) {
        self.failing = false;
        self.failed_starts = 0;
    }

    /// Whether the last start came to nothing.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failing
    }

    /// How many starts in a row came to nothing.
    pub(crate) const fn failed_starts(&self) -> u32 {
        self.failed_starts
    }

    /// A worker has proved itself: the next failure is a first one again.
    pub(crate) fn succeeded(&mut self) {
        self.in_a_row = 0;
        self.not_before = None;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.succeeded();
        self.failed_starts = 0;
        self.recent.clear();
    }

    /// How many failures came in a row.
    pub(crate) const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// When the next start may be tried; `None` is now.
    pub(crate) fn wait_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    /// Doubling, and between 3/4 and 5/4 of that by chance, so that groups
    /// that fell together do not rise together.
    fn delay(&mut self, longest: Duration) -> Duration {
        let Some(doublings) = self.in_a_row.checked_sub(2) else {
            return Duration::ZERO;
        };
        let plain = FIRST_DELAY
            .saturating_mul(1 << doublings.min(10))
            .min(longest);
        // xorshift64: any spread will do here.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let quarter = plain / 4;
        plain - quarter + quarter.mul_f64(2.0 * (self.seed % 1000) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_longer() {
        let start = Instant::now();
        let mut backoff = Backoff::new(7);
        let wait = |backoff: &Backoff| {
            backoff
                .wait_until(start)
                .map(|at| at - start)
                .unwrap_or_default()
        };
        backoff.failed(100, Duration::from_secs(60), start);
        assert_eq!(wait(&backoff), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            backoff.failed(100, Duration::from_secs(60), start);
            last = wait(&backoff);
            assert!(last <= LONGEST_DELAY + LONGEST_DELAY / 4);
        }
        assert!(last >= LONGEST_DELAY * 3 / 4);
        backoff.succeeded();
        assert_eq!(wait(&backoff), Duration::ZERO);
    }

    #[test]
    fn who_served_for_a_while_is_replaced_at_once() {
        let start = Instant::now();
        let mut backoff = Backoff::new(7);
        let now = start + Duration::from_secs(2);
        for _ in 0..20 {
            backoff.died(start);
            assert_eq!(backoff.wait_until(now), None);
        }
        backoff.died(now);
        assert!(
            backoff.wait_until(now).is_some(),
            "one that dies as soon as it serves is not started in a loop"
        );
    }

    #[test]
    fn the_burst_counts_within_the_window_only() {
        let start = Instant::now();
        let mut backoff = Backoff::new(7);
        let window = Duration::from_secs(10);
        assert!((0..3).all(|_| !backoff.failed(3, window, start)));
        assert!(backoff.failed(3, window, start));
        backoff.clear();
        assert!((0..20).all(|n| !backoff.failed(3, window, start + Duration::from_secs(5 * n))));
    }
}
