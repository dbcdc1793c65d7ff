//! How far the supervisor's own life has come: whether it ends, is followed by
//! another one, or becomes another program. Asked by all flows, changed by the
//! parent, operators and signals.

use std::time::{Duration, Instant};

use crate::notify;

/// How long httpd may take to read a configuration before it gets another supervisor.
const READING: Duration = Duration::from_secs(30);

pub(super) struct Lifetime {
    pub(super) started: Instant,
    /// It ends as soon as its workers have.
    pub(super) is_leaving: bool,
    /// It ends and another one follows: what no worker has begun is for that one.
    pub(super) is_followed: bool,
    /// It is to become the program that is now on disk.
    pub(super) reexec: bool,
    /// How often it has become another program.
    pub(super) reexecs: u32,
    /// Why it is still the same program.
    pub(super) reexec_problem: Option<String>,
    /// `wsgid drain` was said: it serves on, and is not ready.
    pub(super) drains: bool,
    /// Since when httpd has been reading another configuration.
    pub(super) unconfigured: Option<Instant>,
}

impl Lifetime {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            is_leaving: false,
            is_followed: false,
            reexec: false,
            reexecs: 0,
            reexec_problem: None,
            drains: false,
            unconfigured: None,
        }
    }

    pub(super) fn begin_to_leave(&mut self) {
        if !std::mem::replace(&mut self.is_leaving, true) {
            notify::stopping();
        }
    }

    /// Whether httpd read its configuration again, and nothing in it is for this
    /// supervisor.
    pub(super) fn is_unloaded(&self, now: Instant) -> bool {
        self.unconfigured
            .is_some_and(|since| now >= since + READING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn httpd_may_take_its_time_to_read_a_configuration() {
        let now = Instant::now();
        let mut lifetime = Lifetime::new();
        assert!(!lifetime.is_unloaded(now + READING * 100));
        lifetime.unconfigured = Some(now);
        assert!(!lifetime.is_unloaded(now + READING - Duration::from_millis(1)));
        assert!(lifetime.is_unloaded(now + READING));
    }
}
