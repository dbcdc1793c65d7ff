//! How much one request may write to the error log: lines in a row, and lines
//! a second after that, as for what a process prints. Pure: the time is an
//! argument. Asked by `following` for each LOG frame.

use std::time::{Duration, Instant};

/// Lines in a row.
const BURST: f64 = 2000.0;
/// Lines a second after that.
const PER_SECOND: f64 = 200.0;
/// How often it is said that lines were left out.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// The lines of one request.
pub(crate) struct LogRate {
    tokens: f64,
    at: Instant,
    dropped: u64,
    said: Instant,
}

impl LogRate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now, dropped: 0, said: now }
    }

    /// Whether this record of so many lines may be written.
    pub(crate) fn allows(&mut self, lines: usize, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.tokens, self.at) = ((self.tokens + refill).min(BURST), now);
        if self.tokens < 1.0 {
            self.dropped += lines as u64;
            return false;
        }
        self.tokens -= lines as f64;
        true
    }

    /// What to say about the lines that were left out, now and then; `last` is
    /// the end of the request.
    pub(crate) fn account(&mut self, now: Instant, last: bool) -> Option<String> {
        if self.dropped == 0 || (!last && now.saturating_duration_since(self.said) < SAY_EVERY) {
            return None;
        }
        self.said = now;
        let dropped = std::mem::take(&mut self.dropped);
        Some(format!("({dropped} lines dropped: more than {PER_SECOND} lines per second in one request)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let mut rate = LogRate::new(start);
        assert_eq!((0..5000).filter(|_| rate.allows(1, start)).count(), 2000);
        assert_eq!(rate.account(start, false), None, "not all the time");
        let later = start + Duration::from_secs(2);
        assert!(rate.account(later, false).is_some_and(|text| text.contains("3000 lines dropped")));
        assert_eq!((0..5000).filter(|_| rate.allows(1, later)).count(), 400);
        assert!(rate.account(later, true).is_some_and(|text| text.contains("4600 lines")));
        assert_eq!(rate.account(later, true), None);
    }
}
