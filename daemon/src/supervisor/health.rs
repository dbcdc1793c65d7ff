//! The look at all workers once a second: those that cannot be reached, those whose
//! interpreter is locked, and those without requests.

use std::time::{Duration, Instant};

use wsgid_protocol::{Failure, GroupConfig, status::EndReason};

use super::{Supervisor, pools::PoolEntry, workers::WorkerRecord};
use wsgid_policy::{ids::WorkerId, pool::Event};

/// How long a worker may live on without its control socket.
const BROKEN_PATIENCE: Duration = Duration::from_secs(1);
/// After how long without requests a worker goes of a group that shrinks because it
/// has a range of processes.
const SHRINK_AFTER: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Once a second.
    pub(super) fn look_around(&mut self) {
        let now = Instant::now();
        for (id, worker) in &mut *self.workers {
            let record = &mut worker.record;
            let entry = self.pools.get(&record.pool);
            if is_past(record.broken, BROKEN_PATIENCE, now) {
                say_broken(record, entry);
                if record.ended_for.is_none() {
                    record.ended_by.get_or_insert(EndReason::ControlLost);
                }
                self.todo.push_back((record.pool, Event::Lost(*id)));
                continue;
            }
            let working = entry.filter(|entry| entry.machine.works(*id));
            if let Some(entry) = working
                && let Some(config) = self.groups.config(&entry.group)
                && let Some(event) = health(*id, record, entry, config, now)
            {
                self.todo.push_back((entry.id, event));
            }
        }
        self.note_demands();
        self.settle();
        self.note_conditions();
    }
}

fn is_past(since: Option<Instant>, limit: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.duration_since(since) > limit)
}

fn say_broken(record: &WorkerRecord, entry: Option<&PoolEntry>) {
    if record.ended_for.is_none() {
        log_line!(
            WORKER_SILENT,
            "{}: worker {} is ended: it has closed its control socket (descriptor 3), or does not read it",
            entry.map(PoolEntry::name).unwrap_or_default(),
            record.pid
        );
    }
}

/// What is to be done about a worker that works.
fn health(
    id: WorkerId,
    record: &mut WorkerRecord,
    entry: &PoolEntry,
    config: &GroupConfig,
    now: Instant,
) -> Option<Event> {
    let timeout = config.deadlock_timeout;
    if !timeout.is_zero() && is_past(record.heartbeat, timeout, now) {
        record.ended_for = Some(Failure::Deadlock.code());
        record.ended_by.get_or_insert(EndReason::Deadlock);
        let silent = record.heartbeat.map(|at| now.duration_since(at));
        log_line!(
            INTERPRETER_LOCKED,
            "{}: worker {}: the interpreter has been locked for {:.0} s (deadlock-timeout)",
            entry.name(),
            record.pid,
            silent.unwrap_or_default().as_secs_f64()
        );
        return Some(Event::Locked(id));
    }
    // Workers report by themselves when they turn busy or idle, so that nobody
    // has to be woken here.
    let limit = idle_limit(config).filter(|_| entry.machine.accepts(id))?;
    let is_idle = record.report.in_flight == 0 && now.duration_since(record.active_at) >= limit;
    is_idle.then_some(Event::Idle(id))
}

/// After how long without requests a worker may be stopped, if at all.
fn idle_limit(config: &GroupConfig) -> Option<Duration> {
    if config.threads == 0 {
        // No request would ever start it again.
        None
    } else if config.idle_stop.is_zero() {
        config.processes_max.map(|_| SHRINK_AFTER)
    } else {
        Some(config.idle_stop)
    }
}
