//! What happens a few hundred times a second while requests run: blocks that
//! the application yielded leave, a parked thread is promoted where the serving
//! ones are stuck, and connections nobody has time for are given back. Called
//! by the control thread, detached; never waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::control::FromWorker;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::placement::{Placement, QueueState, USUAL_STANDS};
use crate::report::report;
use crate::thread_slot::ThreadSlot;
use crate::worker::Worker;
use crate::{queue_limits, sys};

/// Time between two ticks while requests run.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// The ticker goes on for this long after the last request.
const AWAKE: Duration = Duration::from_millis(100);

/// A request that computes is not disturbed by a second thread before this, or
/// before it has taken much longer than usual.
const PATIENCE_COMPUTING: Duration = Duration::from_millis(10);

/// The same time where requests are short: it is never less.
const PATIENCE_COMPUTING_MIN: Duration = Duration::from_millis(4);

/// A request that computes next to nothing in this time sleeps.
const SLEEPS_AFTER: Duration = Duration::from_millis(5);

/// So long after two requests that slept, threads are woken before the next
/// request is served, not when it turns out to sleep too.
const SLEEPING_KEPT: Duration = Duration::from_secs(1);

/// While all threads are busy, the queue is counted so often at least.
const BACKLOG_LOOK: Duration = Duration::from_millis(100);

/// What was seen of one thread at the last tick.
#[derive(Clone, Copy, Default)]
struct ThreadObservation {
    begun: u64,
    cpu_ns: Option<u64>,
    since: Option<Instant>,
    /// CPU time at the first look.
    began_ns: Option<u64>,
    /// This request was counted among those that sleep.
    counted: bool,
}

pub(crate) struct Ticker {
    seen: Vec<ThreadObservation>,
    last: Instant,
    last_active: Instant,
    placement: Placement,
    /// Connections were given back after the last time that a thread was free.
    released: bool,
    /// When a request ended last, as far as looks tell.
    ended: LastCompletion,
    sleeping: SleepingRequests,
    counted: Instant,
}

struct LastCompletion {
    count: u64,
    at: Instant,
    /// CPU time of the process by then.
    cpu_ns: u64,
}

/// Requests that were seen to sleep.
#[derive(Default)]
struct SleepingRequests {
    last: Option<Instant>,
    /// Two within a second: more will come.
    until: Option<Instant>,
}

impl SleepingRequests {
    fn note(&mut self, now: Instant) {
        let again = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SLEEPING_KEPT);
        self.last = Some(now);
        if again {
            self.until = now.checked_add(SLEEPING_KEPT);
        }
    }

    fn are_about(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Ticker {
    pub(crate) fn new(threads: usize, now: Instant) -> Self {
        Self {
            seen: vec![ThreadObservation::default(); threads],
            last: now,
            last_active: now,
            placement: Placement::new(),
            released: false,
            ended: LastCompletion {
                count: 0,
                at: now,
                cpu_ns: 0,
            },
            sleeping: SleepingRequests::default(),
            counted: now,
        }
    }

    /// Looks at all threads. Returns whether to tick on.
    pub(crate) fn tick(&mut self, worker: &Worker, now: Instant) -> bool {
        let mut stuck = false;
        let mut serving = false;
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        let usual = worker.scheduler.load_profile.usual();
        let computing = (usual * USUAL_STANDS).clamp(PATIENCE_COMPUTING_MIN, PATIENCE_COMPUTING);
        for (slot, seen) in worker.scheduler.slots.iter().zip(&mut self.seen) {
            let Some(exchange) = slot.serving() else {
                *seen = ThreadObservation::default();
                continue;
            };
            serving = true;
            push_output(&exchange);
            stuck |= seen.is_stuck(slot, passed, now, computing);
            if seen.sleeps(now) {
                self.sleeping.note(now);
            }
        }
        let count = worker.stats.requests.load(Ordering::Relaxed);
        if count != self.ended.count {
            self.ended = LastCompletion {
                count,
                at: now,
                cpu_ns: sys::process_cpu_ns(),
            };
        }
        worker
            .scheduler
            .load_profile
            .note_sleeping(self.sleeping.are_about(now));
        if serving {
            self.last_active = now;
            let pressure = worker.scheduler.pressure();
            if !pressure.is_full() {
                if stuck {
                    worker.scheduler.promote();
                }
            } else {
                self.release(worker, now);
                refuse_late(worker, now);
                self.refuse_beyond(worker, now);
            }
        }
        if self.released && worker.scheduler.pressure().leader {
            // The supervisor may be holding requests for the first who is free.
            self.released = false;
            worker.control.send(&FromWorker::Report(report(worker)));
        }
        now.saturating_duration_since(self.last_active) < AWAKE
    }

    /// A connection was assigned to this worker although it has no thread free:
    /// probably no other worker has.
    pub(crate) fn note_crowded(&mut self, now: Instant) {
        self.placement.note_crowded(now);
    }

    /// `listen-backlog`: a request that finds the queue full waits for a place for as
    /// long as `connect-timeout`, as a connect to mod_wsgi does.
    fn refuse_beyond(&mut self, worker: &Worker, now: Instant) {
        let timeout = worker.spec.group.connect_timeout;
        if now.saturating_duration_since(self.counted) < (timeout / 10).min(BACKLOG_LOOK) {
            return;
        }
        self.counted = now;
        let places = queue_limits::places(&worker.spec.group);
        let waiting = worker.scheduler.behind(places);
        if waiting.is_empty() {
            return;
        }
        let text = format!(
            "all threads are busy, {places} requests wait already (listen-backlog), and none of these places became free within {} s (connect-timeout)",
            timeout.as_secs_f64()
        );
        for connection in waiting {
            if queue_limits::waits_longer(&connection, timeout)
                && worker.scheduler.take_waiting(&connection)
            {
                refuse(worker, connection, Failure::QueueFull, &text);
            }
        }
    }

    /// Another worker may have time for what waits here.
    fn release(&mut self, worker: &Worker, now: Instant) {
        if worker.spec.group.processes_limit() < 2 {
            return;
        }
        let queue = QueueState {
            usual: worker.scheduler.load_profile.usual(),
            since_end: now.saturating_duration_since(self.ended.at),
            computed: Duration::from_nanos(sys::process_cpu_ns().saturating_sub(self.ended.cpu_ns)),
        };
        let patience = self.placement.patience(now, queue, || any_runs(worker));
        let Some(limit) = now.checked_sub(patience) else {
            return;
        };
        let overdue = worker.scheduler.overdue(limit);
        if overdue.is_empty() {
            return;
        }
        self.placement.note_given_back();
        self.released = true;
        for connection in overdue {
            worker.hand_back(worker.scheduler.release(connection));
        }
    }
}

/// Whether a thread that serves has the processor, or waits for it.
fn any_runs(worker: &Worker) -> bool {
    let mut serving = worker.scheduler.serving();
    serving.any(|(slot, _)| sys::thread_runs(slot.thread.load(Ordering::Relaxed)))
}

/// Refuses requests that have waited longer than `queue-timeout`; no thread is free.
fn refuse_late(worker: &Worker, now: Instant) {
    let timeout = worker.spec.group.queue_timeout;
    let Some(limit) = now.checked_sub(timeout).filter(|_| !timeout.is_zero()) else {
        return;
    };
    let text = queue_limits::text(timeout);
    for connection in worker.scheduler.overdue(limit) {
        refuse(worker, connection, Failure::QueueTimeout, &text);
    }
}

/// Refuses the request of a connection that was taken out of the queue. One that is
/// not here as a whole yet waits on.
fn refuse(worker: &Worker, connection: Arc<Connection>, failure: Failure, text: &str) {
    let finished = match queue_limits::refuse(&connection, failure, text) {
        Some(outcome) => worker.scheduler.give_back(connection, outcome),
        None => worker.scheduler.requeue(connection),
    };
    worker.hand_back(finished);
}

impl ThreadObservation {
    /// Whether a thread has been with one request for so long that another
    /// should take over: at once if it waits, later if it computes.
    fn is_stuck(
        &mut self,
        slot: &ThreadSlot,
        passed: Duration,
        now: Instant,
        computing: Duration,
    ) -> bool {
        let begun = slot.begun.load(Ordering::Relaxed);
        let cpu_ns = sys::thread_cpu_ns(slot.thread.load(Ordering::Relaxed));
        if begun != self.begun || self.since.is_none() {
            *self = Self {
                begun,
                cpu_ns,
                since: Some(now),
                began_ns: cpu_ns,
                counted: false,
            };
            return false;
        }
        let used = ns_between(self.cpu_ns, cpu_ns);
        self.cpu_ns = cpu_ns;
        let waits = u128::from(used) * 2 < passed.as_nanos();
        let since = self.since.unwrap_or(now);
        waits || now.saturating_duration_since(since) >= computing
    }

    /// Whether this request has just turned out to sleep: seen for some time in
    /// which it computed next to nothing.
    fn sleeps(&mut self, now: Instant) -> bool {
        let Some(since) = self.since.filter(|_| !self.counted) else {
            return false;
        };
        let seen = now.saturating_duration_since(since);
        if seen < SLEEPS_AFTER {
            return false;
        }
        self.counted = true;
        let used = ns_between(self.began_ns, self.cpu_ns);
        u128::from(used) * 10 < seen.as_nanos()
    }
}

fn ns_between(from: Option<u64>, to: Option<u64>) -> u64 {
    to.zip(from).map_or(0, |(to, from)| to.saturating_sub(from))
}

/// Sends what has been lying in the buffer since the last tick.
fn push_output(exchange: &Arc<Exchange>) {
    let Ok(mut output) = exchange.output.try_lock() else {
        return;
    };
    if !output.has_news() {
        return;
    }
    if output.seen {
        // A broken connection shows to the thread that serves it.
        let _ = output.push();
    } else {
        output.seen = true;
    }
}
