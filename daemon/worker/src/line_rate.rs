//! How often something is said that a client can bring about: so many lines in a row, and
//! so many a second after that. Pure: the time is an argument. Asked by `scripts.rs` for
//! those that it refuses; what a site itself writes is bounded elsewhere.

use std::time::Instant;

/// How many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineLimits {
    /// In a row.
    pub(crate) burst: u32,
    /// A second after that.
    pub(crate) per_second: u32,
}

/// A bucket of tokens, one for each line.
#[derive(Debug)]
pub(crate) struct LineRate {
    limits: LineLimits,
    tokens: f64,
    at: Instant,
    dropped: u64,
}

impl LineRate {
    /// With all tokens.
    pub(crate) fn new(limits: LineLimits, now: Instant) -> Self {
        Self {
            limits,
            tokens: f64::from(limits.burst),
            at: now,
            dropped: 0,
        }
    }

    /// Whether this record of so many lines may be written; else they count as
    /// dropped. A record is not torn: its lines may be more than there are tokens.
    pub(crate) fn allows(&mut self, lines: usize, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.at).as_secs_f64()
            * f64::from(self.limits.per_second);
        self.tokens = (self.tokens + refill).min(f64::from(self.limits.burst));
        self.at = now;
        if self.tokens < 1.0 {
            self.dropped += lines as u64;
            return false;
        }
        self.tokens -= lines as f64;
        true
    }

    /// What to say about them, if there are any; `by` says who wrote them.
    pub(crate) fn account(&mut self, by: &str) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| {
            format!(
                "({dropped} lines dropped: more than {} lines per second{by})",
                self.limits.per_second
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_refills() {
        let start = Instant::now();
        let limits = LineLimits {
            burst: 2000,
            per_second: 200,
        };
        let mut rate = LineRate::new(limits, start);
        assert_eq!((0..5000).filter(|_| rate.allows(1, start)).count(), 2000);
        assert!(rate.account(" about it").is_some_and(|text| {
            text == "(3000 lines dropped: more than 200 lines per second about it)"
        }));
        assert_eq!(rate.account(""), None);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..5000).filter(|_| rate.allows(1, later)).count(), 400);
        assert!(
            !rate.allows(1, start),
            "a clock that goes back gives nothing"
        );
    }

    #[test]
    fn a_record_is_written_whole_and_paid_for() {
        let start = Instant::now();
        let mut rate = LineRate::new(
            LineLimits {
                burst: 2,
                per_second: 1,
            },
            start,
        );
        assert!(rate.allows(5, start) && !rate.allows(1, start));
        assert!(
            !rate.allows(1, start + Duration::from_secs(3)),
            "three lines are owed"
        );
        assert!(rate.allows(1, start + Duration::from_secs(4)));
    }
}
