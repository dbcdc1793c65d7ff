//! How much one request may write to the error log, and how often it is said
//! that lines were left out. Pure: the time is an argument. Asked by the worker,
//! so that httpd has nothing to do with a flood, and by the module, which trusts
//! no worker.

use std::time::{Duration, Instant};

use crate::line_rate::{LineLimits, LineRate};

/// How often it is said that lines were left out.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What the module lets pass: a little more than a worker, whose clock is
/// another one, so that lines are left out in one place.
const FROM_WORKER: LineLimits = LineLimits {
    burst: 2500,
    per_second: 250,
};

/// The lines of one request.
#[derive(Debug)]
pub struct LogRate {
    rate: LineRate,
    said: Instant,
}

impl LogRate {
    /// For the worker.
    pub fn new(now: Instant) -> Self {
        Self::of(LineLimits::default(), now)
    }

    /// For the module.
    pub fn from_worker(now: Instant) -> Self {
        Self::of(FROM_WORKER, now)
    }

    fn of(limits: LineLimits, now: Instant) -> Self {
        Self {
            rate: LineRate::new(limits, now),
            said: now,
        }
    }

    /// Whether this record of so many lines may be written.
    pub fn allows(&mut self, lines: usize, now: Instant) -> bool {
        self.rate.allows(lines, now)
    }

    /// What to say about the lines that were left out, now and then; `last` is
    /// the end of the request.
    pub fn account(&mut self, now: Instant, last: bool) -> Option<String> {
        if self.rate.dropped() == 0
            || (!last && now.saturating_duration_since(self.said) < SAY_EVERY)
        {
            return None;
        }
        self.said = now;
        self.rate.account(" in one request")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_now_and_then_and_at_the_end() {
        let start = Instant::now();
        let mut rate = LogRate::new(start);
        assert_eq!((0..5000).filter(|_| rate.allows(1, start)).count(), 2000);
        assert_eq!(rate.account(start, false), None, "not all the time");
        let later = start + Duration::from_secs(2);
        assert!(
            rate.account(later, false)
                .is_some_and(|text| text.contains("3000 lines dropped"))
        );
        assert_eq!((0..5000).filter(|_| rate.allows(1, later)).count(), 400);
        assert!(
            rate.account(later, true)
                .is_some_and(|text| text.contains("4600 lines"))
        );
        assert_eq!(rate.account(later, true), None);
    }
}
