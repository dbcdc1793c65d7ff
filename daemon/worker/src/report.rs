//! What the supervisor may know of this worker: sent by `monitor` and `ticker`.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, TryLockError};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use wsgid_protocol::control::{RunningRequest, WorkerReport};
use wsgid_protocol::in_flight::{Activity, RequestInFlight, WorkerRequests};

use crate::exchange::Exchange;
use crate::memory;
use crate::meter::micros;
use crate::sys;
use crate::thread_slot::ThreadSlot;
use crate::worker::Worker;

pub(crate) fn report(worker: &Worker) -> WorkerReport {
    let stats = &worker.stats;
    let serving = worker.scheduler.serving();
    let running = serving.map(|(_, exchange)| RunningRequest {
        connection: exchange.connection,
        what: exchange.label.what(),
        for_us: micros(exchange.started.elapsed()),
    });
    WorkerReport {
        requests: stats.requests.load(Ordering::Relaxed),
        in_flight: stats.in_flight.load(Ordering::Relaxed),
        in_flight_max: stats.in_flight_max.load(Ordering::Relaxed),
        connections: u32::try_from(worker.scheduler.pressure().connections).unwrap_or(u32::MAX),
        busy_us: stats.busy_us.load(Ordering::Relaxed),
        histogram: stats.histogram(),
        running: running.collect(),
        ..WorkerReport::default()
    }
}

/// The requests at this moment, without stacks.
pub(crate) fn requests(worker: &Worker) -> WorkerRequests {
    let serving = worker.scheduler.serving();
    let mut told = WorkerRequests {
        stacks: false,
        queued: u32::try_from(worker.scheduler.behind(0).len()).unwrap_or(u32::MAX),
        running: serving
            .map(|(slot, exchange)| in_flight(slot, &exchange))
            .collect(),
    };
    told.bound(0);
    told
}

fn in_flight(slot: &ThreadSlot, exchange: &Exchange) -> RequestInFlight {
    let (method, path) = exchange.label.method_and_path();
    RequestInFlight {
        thread: u32::try_from(exchange.slot + 1).unwrap_or(u32::MAX),
        id: exchange.label.request_id(),
        method,
        path,
        for_us: micros(exchange.started.elapsed()),
        activity: activity(slot, exchange),
        stack: None,
    }
}

/// What a request's thread does. Whoever waits for the client keeps its lock meanwhile;
/// a thread that runs is not disturbed by a look at its locks.
pub(crate) fn activity(slot: &ThreadSlot, exchange: &Exchange) -> Activity {
    if sys::thread_runs(slot.thread.load(Ordering::Relaxed)) {
        Activity::Computing
    } else if is_locked(&exchange.body) {
        Activity::ReadingBody
    } else if is_locked(&exchange.output) {
        Activity::Writing
    } else {
        Activity::Waiting
    }
}

fn is_locked<T>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}

/// With what costs system calls.
pub(crate) fn whole(worker: &Worker) -> WorkerReport {
    WorkerReport {
        memory: memory::resident(),
        cpu_us: cpu_us(),
        ..report(worker)
    }
}

/// Processor time of this process so far.
fn cpu_us() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).ok()
}
