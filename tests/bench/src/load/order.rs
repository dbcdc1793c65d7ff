//! What the generator is asked to do, and what came of it.

use std::net::SocketAddr;
use std::time::Duration;

/// How requests are released.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Closed,
    /// So many a second, at random (exponential) distances.
    Open {
        rate: f64,
    },
}

/// What the generator is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Nanoseconds of each right answer, for the common and for the rare kind of request.
    pub(crate) latencies: [Vec<u64>; 2],
    /// Right answers within the time.
    pub(crate) in_time: u64,
    /// All answers, also those that came after the time was over.
    pub(crate) answers: u64,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) length: Duration,
}

impl Outcome {
    pub(crate) fn fail(&mut self, cause: &anyhow::Error) {
        self.failures += 1;
        self.first_failure
            .get_or_insert_with(|| format!("{cause:#}"));
    }
}
