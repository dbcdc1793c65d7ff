//! The timers of WSGIDaemonProcess that a worker watches itself: request-,
//! interrupt-, inactivity- and startup-timeout, restart-interval, and the
//! heartbeat for deadlock-timeout. Pure decisions; `monitor` carries them out.

use std::time::{Duration, Instant};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::RecycleReason;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Take the interpreter lock and say so.
    Heartbeat,
    Recycle(RecycleReason),
}

/// What becomes of a request that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overtime {
    No,
    /// Its time is up: show its stack, and interrupt it if that is wanted.
    Reached {
        /// Whether to raise an exception in its thread.
        interrupt: bool,
    },
    /// It was interrupted and goes on.
    Stuck,
}

/// What the timers of a worker count from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Since {
    pub(crate) ready: Option<Instant>,
    /// No request counts as activity.
    pub(crate) idle: Option<Instant>,
    pub(crate) loading: Option<Instant>,
}

/// Deadlines of one worker.
pub(crate) struct Timers {
    request: Option<Duration>,
    interrupt: Option<Duration>,
    inactivity: Option<Duration>,
    startup: Option<Duration>,
    /// Whether a script was found to take longer than that.
    stands: bool,
    restart: Option<Duration>,
    heartbeat: Option<Duration>,
    next_heartbeat: Option<Instant>,
}

impl Timers {
    pub(crate) fn new(group: &GroupConfig, started: Instant) -> Self {
        // mod_wsgi's rule: with many threads a slow request harms less.
        let factor = 1.0 + f64::from(group.threads.max(1)).ln();
        let request = on(group.request_timeout).map(|timeout| timeout.mul_f64(factor));
        let heartbeat =
            on(group.deadlock_timeout).map(|timeout| (timeout / 4).clamp(SECOND / 4, SECOND * 30));
        Self {
            request,
            interrupt: on(group.interrupt_timeout),
            inactivity: on(group.inactivity_timeout),
            startup: on(group.startup_timeout),
            stands: false,
            restart: on(group.restart_interval),
            heartbeat,
            next_heartbeat: heartbeat.map(|_| started),
        }
    }

    pub(crate) fn due(&mut self, now: Instant, since: Since) -> Vec<Due> {
        let mut due = Vec::new();
        if self.next_heartbeat.is_some_and(|next| now >= next) {
            self.next_heartbeat = self.heartbeat.map(|interval| now + interval);
            due.push(Due::Heartbeat);
        }
        // Each is said once: whether to act on it is the supervisor's business.
        if passed(self.restart, since.ready, now) {
            self.restart = None;
            due.push(Due::Recycle(RecycleReason::RestartInterval));
        }
        if passed(self.inactivity, since.idle, now) {
            self.inactivity = None;
            due.push(Due::Recycle(RecycleReason::Inactivity));
        }
        if passed(self.startup, since.loading, now) && !self.stands {
            self.stands = true;
            due.push(Due::Recycle(RecycleReason::LoadFailed));
        }
        due
    }

    /// When something is due next, if nothing else happens.
    pub(crate) fn next(&self, since: Since) -> Option<Instant> {
        let startup = self.startup.filter(|_| !self.stands);
        [
            self.next_heartbeat,
            after(self.restart, since.ready),
            after(self.inactivity, since.idle),
            after(startup, since.loading),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a script is being loaded that has had its time; every request
    /// waits for it.
    pub(crate) fn is_loading_too_long(&self, now: Instant, loading: Option<Instant>) -> bool {
        passed(self.startup, loading, now)
    }

    /// Looks at a request that began and perhaps was interrupted.
    pub(crate) fn overtime(
        &self,
        began: Instant,
        interrupted: Option<Instant>,
        now: Instant,
    ) -> Overtime {
        match interrupted {
            Some(at) if passed(self.interrupt.or(Some(Duration::ZERO)), Some(at), now) => {
                Overtime::Stuck
            }
            Some(_) => Overtime::No,
            None if passed(self.request, Some(began), now) => Overtime::Reached {
                interrupt: self.interrupt.is_some(),
            },
            None => Overtime::No,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A timer, unless it is off.
fn on(timeout: Duration) -> Option<Duration> {
    (!timeout.is_zero()).then_some(timeout)
}

fn after(timeout: Option<Duration>, since: Option<Instant>) -> Option<Instant> {
    since?.checked_add(timeout?)
}

fn passed(timeout: Option<Duration>, since: Option<Instant>, now: Instant) -> bool {
    timeout
        .zip(since)
        .is_some_and(|(timeout, since)| now.saturating_duration_since(since) >= timeout)
}
