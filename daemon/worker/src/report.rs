//! What the supervisor may know of this worker: sent by `monitor` and `ticker`.

use std::sync::atomic::Ordering;

use wsgid_protocol::control::{RunningRequest, WorkerReport};

use crate::meter::micros;
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
    }
}
