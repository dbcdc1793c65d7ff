//! When requests are due and of which kind they are: the same sequence for every peer of a round.

use std::time::{Duration, Instant};

/// A small generator of random numbers (xorshift64*), seeded by the round.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In 0 … 1, never 0.
    fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.next() % 100 < u64::from(percent)
    }
}

/// The due times of an open loop.
#[derive(Debug)]
pub(crate) struct Arrivals {
    random: Random,
    rate: f64,
    next: Instant,
}

impl Arrivals {
    pub(crate) fn new(seed: u64, rate: f64, start: Instant) -> Self {
        let mut arrivals = Self {
            random: Random::new(seed),
            rate,
            next: start,
        };
        arrivals.advance();
        arrivals
    }

    fn advance(&mut self) {
        let distance = -self.random.fraction().ln() / self.rate;
        self.next += Duration::from_secs_f64(distance.min(60.0));
    }

    /// When the next request is due.
    pub(crate) fn peek(&self) -> Instant {
        self.next
    }

    /// Takes the next request if it is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        (due <= now).then(|| {
            self.advance();
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Random};
    use std::time::{Duration, Instant};

    #[test]
    fn the_rate_is_met() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(7, 1000.0, start);
        let end = start + Duration::from_secs(20);
        let count = std::iter::from_fn(|| arrivals.pop(end)).count();
        assert!(
            (19_000..21_000).contains(&count),
            "{count} instead of 20000"
        );
    }

    #[test]
    fn the_share_is_met() {
        let mut random = Random::new(3);
        let count = (0..10_000).filter(|_| random.chance(5)).count();
        assert!((400..600).contains(&count), "{count} instead of 500");
    }
}
