//! How long the requests that are held for a pool may wait: by its group's
//! definition, by their place in the queue, and by whether any worker is ready.
//! Pure; asked by `placing`.

use std::time::Duration;

use wsgid_protocol::{Failure, GroupConfig};

pub(super) struct HoldLimits {
    pub(super) backlog: usize,
    inside: Option<(Duration, Failure)>,
    /// mod_wsgi: who finds the backlog full tries to connect for so long.
    outside: Duration,
}

impl HoldLimits {
    pub(super) fn new(config: &GroupConfig, is_ready: bool) -> Self {
        let queue = Some((config.queue_timeout, Failure::QueueTimeout));
        let startup = (!is_ready).then_some((config.startup_timeout, Failure::StartupTimeout));
        let limits = queue.into_iter().chain(startup);
        Self {
            backlog: config.listen_backlog as usize,
            inside: limits
                .filter(|(limit, _)| !limit.is_zero())
                .min_by_key(|(limit, _)| *limit),
            outside: config.connect_timeout,
        }
    }

    /// The limit for the request at this place of the queue, from 0, and the answer to
    /// it then.
    pub(super) fn limit(&self, place: usize) -> Option<(Duration, Failure)> {
        if place < self.backlog {
            self.inside
        } else {
            Some((self.outside, Failure::QueueFull))
        }
    }
}
