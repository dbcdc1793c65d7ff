//! The worker's part of placement: when a connection that waits here for a thread
//! is given back, so that the supervisor places it elsewhere. Pure, and asked by
//! `ticker` while all threads are serving; its numbers stand with those of the
//! supervisor's part in `protocol/src/limits.rs`. Knows no connection and no clock.

use std::time::{Duration, Instant};

use wsgid_protocol::limits::{ALL_BUSY_FOR, RELEASE_AFTER, RELEASE_AFTER_MAX};

/// A queue stands if no request has ended for so many times as long as a request
/// usually takes.
pub(crate) const USUAL_STANDS: u32 = 4;

/// A connection waits in a queue that moves for so many times as long as the time
/// after which a queue stands.
const USUAL_MOVES: u32 = 8;

/// What is known of the queue of this worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueState {
    /// How long a request usually takes.
    pub(crate) usual: Duration,
    /// How long ago a request ended last.
    pub(crate) since_end: Duration,
    /// CPU time that the process has used since.
    pub(crate) computed: Duration,
}

pub(crate) struct Placement {
    /// How long a connection may wait in a queue that stands.
    patience: Duration,
    /// When a connection came in while no thread was free.
    crowded: Option<Instant>,
}

impl Placement {
    pub(crate) const fn new() -> Self {
        Self {
            patience: RELEASE_AFTER,
            crowded: None,
        }
    }

    /// A connection was assigned to this worker although it has no thread free:
    /// probably no other worker has.
    pub(crate) const fn note_crowded(&mut self, now: Instant) {
        self.crowded = Some(now);
    }

    /// How long a connection may wait here. A queue that moves is as good as any
    /// other worker's; one that stands waits behind requests that take longer than
    /// usual. `any_runs` says whether a serving thread is on a processor, or ready
    /// to run: then the machine is busy, and another worker would be no faster.
    pub(crate) fn patience(
        &mut self,
        now: Instant,
        queue: QueueState,
        any_runs: impl FnOnce() -> bool,
    ) -> Duration {
        let is_crowded = self
            .crowded
            .is_some_and(|since| now.saturating_duration_since(since) < ALL_BUSY_FOR);
        if !is_crowded {
            self.patience = RELEASE_AFTER;
        }
        let usual = queue.usual * USUAL_STANDS;
        let patience = self.patience.max(usual);
        let stands = queue.computed >= patience || (queue.since_end >= patience && !any_runs());
        if stands {
            self.patience
        } else {
            RELEASE_AFTER_MAX.max(usual * USUAL_MOVES)
        }
    }

    /// Connections were given back. Where all workers are busy, handing requests
    /// around costs more than waiting: patience doubles each time. That a thread
    /// was free in between proves nothing: under load one is between any two
    /// requests.
    pub(crate) fn note_given_back(&mut self) {
        self.patience = (self.patience * 2).min(RELEASE_AFTER_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A queue of short requests, none of which has ended for this long.
    fn queue(since_end: Duration, computed: Duration) -> QueueState {
        QueueState {
            usual: MS / 10,
            since_end,
            computed,
        }
    }

    #[test]
    fn a_queue_that_moves_is_left_alone() {
        let mut placement = Placement::new();
        let now = Instant::now();
        let moving = queue(MS, MS);
        assert_eq!(placement.patience(now, moving, || false), RELEASE_AFTER_MAX);
        let long = QueueState {
            usual: MS * 10,
            ..moving
        };
        assert_eq!(placement.patience(now, long, || false), MS * 320);
    }

    #[test]
    fn a_queue_stands_where_a_request_computes_or_all_sleep() {
        let mut placement = Placement::new();
        let now = Instant::now();
        let computing = queue(MS * 5, MS * 5);
        assert_eq!(placement.patience(now, computing, || true), RELEASE_AFTER);
        let sleeping = queue(MS * 5, Duration::ZERO);
        assert_eq!(placement.patience(now, sleeping, || false), RELEASE_AFTER);
        assert_eq!(
            placement.patience(now, sleeping, || true),
            RELEASE_AFTER_MAX,
            "it waits for a processor"
        );
        let usually_longer = QueueState {
            usual: MS * 2,
            ..computing
        };
        assert_eq!(
            placement.patience(now, usually_longer, || false),
            RELEASE_AFTER_MAX
        );
    }

    #[test]
    fn patience_grows_only_while_all_workers_are_busy() {
        let mut placement = Placement::new();
        let start = Instant::now();
        let stands = queue(MS * 500, MS * 500);
        placement.note_given_back();
        assert_eq!(placement.patience(start, stands, || true), RELEASE_AFTER);
        placement.note_crowded(start);
        let mut seen = Vec::new();
        for _ in 0..6 {
            placement.note_given_back();
            seen.push(placement.patience(start, stands, || true));
        }
        assert_eq!(seen, [10, 20, 40, 80, 120, 120].map(|count| MS * count));
        let later = start + ALL_BUSY_FOR;
        assert_eq!(placement.patience(later - MS, stands, || true), MS * 120);
        assert_eq!(placement.patience(later, stands, || true), RELEASE_AFTER);
    }
}
