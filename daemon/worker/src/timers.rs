//! The timers of WSGIDaemonProcess that a worker watches itself: request-,
//! interrupt-, inactivity- and startup-timeout, restart-interval, and the
//! heartbeat for deadlock-timeout. Pure decisions; `monitor` carries them out.

use std::time::{Duration, Instant};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::RecycleReason;

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Take the interpreter lock and say so.
    Heartbeat,
    /// Ask to be replaced.
    Recycle(RecycleReason),
}

/// What becomes of a request that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overtime {
    /// It still has time.
    No,
    /// Its time is up: show its stack, and interrupt it if that is wanted.
    Reached {
        /// Whether to raise an exception in its thread.
        interrupt: bool,
    },
    /// It was interrupted and goes on.
    Stuck,
}

/// Deadlines of one worker.
pub(crate) struct Timers {
    request: Option<Duration>,
    interrupt: Option<Duration>,
    inactivity: Option<Duration>,
    startup: Option<Duration>,
    restart: Option<Instant>,
    heartbeat: Option<Duration>,
    next_heartbeat: Option<Instant>,
}

impl Timers {
    pub(crate) fn new(group: &GroupConfig, started: Instant) -> Self {
        let on = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
        // mod_wsgi's rule: with many threads a slow request harms less.
        let factor = 1.0 + f64::from(group.threads.max(1)).ln();
        let request = on(group.request_timeout).map(|timeout| timeout.mul_f64(factor));
        let heartbeat = on(group.deadlock_timeout).map(|timeout| (timeout / 4).clamp(SECOND / 4, SECOND * 30));
        Self {
            request,
            interrupt: on(group.interrupt_timeout),
            inactivity: on(group.inactivity_timeout),
            startup: on(group.startup_timeout),
            restart: on(group.restart_interval).and_then(|interval| started.checked_add(interval)),
            heartbeat,
            next_heartbeat: heartbeat.map(|_| started),
        }
    }

    /// What is due now. `idle` is since when no request counts as activity.
    pub(crate) fn due(&mut self, now: Instant, idle: Option<Instant>, loading: Option<Instant>) -> Vec<Due> {
        let mut due = Vec::new();
        if self.next_heartbeat.is_some_and(|next| now >= next) {
            self.next_heartbeat = self.heartbeat.map(|interval| now + interval);
            due.push(Due::Heartbeat);
        }
        if self.restart.is_some_and(|at| now >= at) {
            self.restart = None;
            due.push(Due::Recycle(RecycleReason::RestartInterval));
        }
        // Each is said once: whether to act on it is the supervisor's business.
        if passed(self.inactivity, idle, now) {
            self.inactivity = None;
            due.push(Due::Recycle(RecycleReason::Inactivity));
        }
        if passed(self.startup, loading, now) {
            self.startup = None;
            due.push(Due::Recycle(RecycleReason::LoadFailed));
        }
        due
    }

    /// When something is due next, if nothing else happens.
    pub(crate) fn next(&self, idle: Option<Instant>, loading: Option<Instant>) -> Option<Instant> {
        let after = |timeout: Option<Duration>, since: Option<Instant>| since?.checked_add(timeout?);
        [self.next_heartbeat, self.restart, after(self.inactivity, idle), after(self.startup, loading)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks at a request that began and perhaps was interrupted.
    pub(crate) fn overtime(&self, began: Instant, interrupted: Option<Instant>, now: Instant) -> Overtime {
        match interrupted {
            Some(at) if passed(self.interrupt.or(Some(Duration::ZERO)), Some(at), now) => Overtime::Stuck,
            Some(_) => Overtime::No,
            None if passed(self.request, Some(began), now) => Overtime::Reached { interrupt: self.interrupt.is_some() },
            None => Overtime::No,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn passed(timeout: Option<Duration>, since: Option<Instant>, now: Instant) -> bool {
    timeout.zip(since).is_some_and(|(timeout, since)| now.saturating_duration_since(since) >= timeout)
}
