//! `reload-wait`: whether requests wait for the generation that was begun because files
//! changed, and until when. Called by `supervisor/reloading.rs` after each event of a pool.

use std::time::{Duration, Instant};

/// A reload that follows another within this time belongs to it: who changes files all
/// the time keeps nobody waiting for longer than once.
const CALM: Duration = Duration::from_secs(1);

/// The wait of one pool.
#[derive(Debug, Default)]
pub struct ReloadWait {
    reloads: bool,
    waits: bool,
    until: Option<Instant>,
    ended: Option<Instant>,
}

impl ReloadWait {
    /// Whether requests wait now.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.waits
    }

    /// When `update` has to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.waits)
    }

    /// Whether a generation is being `reloaded` beside the one that serves, and the time
    /// that the group's requests wait for it. Returns what the workers that serve are to
    /// be told: for how long they give requests back unbegun.
    pub fn update(&mut self, reloads: bool, wait: Duration, now: Instant) -> Option<Duration> {
        if reloads && !self.reloads {
            let follows = self.ended.is_some_and(|at| now < at + CALM);
            self.until = self.until.filter(|_| follows).or(now.checked_add(wait));
        }
        if self.reloads && !reloads {
            self.ended = Some(now);
        }
        self.reloads = reloads;
        let left = self
            .until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let waits = reloads && !wait.is_zero() && !left.is_zero();
        if waits == self.waits {
            return None;
        }
        self.waits = waits;
        Some(if waits { left } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WAIT: Duration = Duration::from_secs(10);

    #[test]
    fn requests_wait_until_the_generation_serves() {
        let begin = Instant::now();
        let mut wait = ReloadWait::default();
        assert_eq!(wait.update(false, WAIT, begin), None);
        assert_eq!(wait.update(true, WAIT, begin), Some(WAIT));
        assert!(wait.waits());
        assert_eq!(wait.deadline(), Some(begin + WAIT));
        assert_eq!(wait.update(true, WAIT, begin + SECOND), None);
        let ended = wait.update(false, WAIT, begin + 2 * SECOND);
        assert_eq!((ended, wait.waits()), (Some(Duration::ZERO), false));
        assert_eq!(wait.deadline(), None);
    }

    #[test]
    fn they_wait_no_longer_than_the_group_says() {
        let begin = Instant::now();
        let mut wait = ReloadWait::default();
        wait.update(true, WAIT, begin);
        let over = wait.update(true, WAIT, begin + WAIT);
        assert_eq!((over, wait.waits()), (Some(Duration::ZERO), false));
        assert_eq!(wait.update(true, WAIT, begin + 2 * WAIT), None);
        assert!(!wait.waits());
    }

    #[test]
    fn changes_without_end_are_one_wait() {
        let begin = Instant::now();
        let mut wait = ReloadWait::default();
        let half = SECOND / 2;
        let mut waited = Duration::ZERO;
        for step in 0..40 {
            let now = begin + half * step;
            wait.update(step % 2 == 0, WAIT, now);
            if wait.waits() {
                waited += half;
            }
        }
        assert!(waited <= WAIT, "{waited:?}");
        // After a calm moment it counts anew.
        let later = begin + 100 * SECOND;
        wait.update(false, WAIT, later);
        assert_eq!(wait.update(true, WAIT, later + 2 * SECOND), Some(WAIT));
    }

    #[test]
    fn without_the_option_nobody_waits() {
        let mut wait = ReloadWait::default();
        let now = Instant::now();
        assert_eq!(wait.update(true, Duration::ZERO, now), None);
        assert!(!wait.waits());
    }
}
