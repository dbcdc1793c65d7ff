//! Counters of one worker, for `Report` and the timers. Written once per request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::meter::micros;

/// Powers of two of microseconds that are told apart: up to about an hour.
const BUCKETS: usize = 32;

#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) requests: AtomicU64,
    pub(crate) in_flight: AtomicU32,
    /// Most requests that ran at the same time.
    pub(crate) in_flight_max: AtomicU32,
    /// Microseconds spent in requests.
    pub(crate) busy_us: AtomicU64,
    histogram: [AtomicU64; BUCKETS],
}

impl Stats {
    /// A request begins. Ordered against the ticker that falls asleep.
    pub(crate) fn begin(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        if now > self.in_flight_max.load(Ordering::Relaxed) {
            self.in_flight_max.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// A request has ended. Returns how many still run.
    pub(crate) fn end(&self, took: Duration) -> u32 {
        let micros = micros(took);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        if let Some(count) = self.histogram.get(bucket.min(BUCKETS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.busy_us.fetch_add(micros, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        before.saturating_sub(1)
    }

    pub(crate) fn histogram(&self) -> Vec<u64> {
        let counts = self.histogram.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}
