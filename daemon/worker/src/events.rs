//! Events that applications subscribe to with `mod_wsgi.subscribe_events`. A
//! request pays for them only where somebody listens.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::exchange::{Exchange, Verdict};
use crate::meter::{Cpu, Meter, Traffic};
use crate::metrics::{Sample, seconds};
use crate::output::HeadStage;
use crate::worker::{Runtime, Worker};
use crate::{environ, lock};

/// Finds out whether somebody listens to this request, or wants it measured.
pub(crate) fn listen(py: Python<'_>, worker: &Worker, runtime: &Runtime, exchange: &Exchange) {
    let heard = !runtime.event_callbacks.bind(py).is_empty();
    if heard {
        let _ = exchange.publish.set(runtime.publish.clone_ref(py));
    }
    if heard || worker.metrics.is_recording() {
        let _ = exchange.meter.set(Meter::new());
    }
}

/// The request is about to be served. Returns the application, which a callback
/// may have wrapped.
pub(crate) fn request_started<'py>(
    exchange: &Exchange,
    environ: &Bound<'py, PyDict>,
    application: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = environ.py();
    let payload = PyDict::new(py);
    for name in ["application_start", "callable_object", "thread_id"] {
        payload.set_item(name, environ.get_item(format!("mod_wsgi.{name}"))?)?;
    }
    beginnings(&payload, environ)?;
    // That a request was sent again happens out of a worker's sight.
    payload.set_item("daemon_connects", 1)?;
    payload.set_item("daemon_restarts", 0)?;
    payload.set_item("application_object", &application)?;
    payload.set_item("request_environ", environ)?;
    let payload = publish(exchange, "request_started", payload)?;
    Ok(payload
        .get_item("application_object")?
        .unwrap_or(application))
}

pub(crate) fn response_started(
    exchange: &Exchange,
    status: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
    exception: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    if exchange.publish.get().is_none() {
        return Ok(());
    }
    let payload = PyDict::new(status.py());
    payload.set_item("response_status", status)?;
    payload.set_item("response_headers", headers)?;
    payload.set_item("exception_info", exception)?;
    publish(exchange, "response_started", payload).map(drop)
}

pub(crate) fn request_exception(
    py: Python<'_>,
    exchange: &Exchange,
    error: &PyErr,
) -> PyResult<()> {
    if exchange.publish.get().is_none() {
        return Ok(());
    }
    let payload = PyDict::new(py);
    let info = (error.get_type(py), error.value(py), error.traceback(py));
    payload.set_item("exception_info", info)?;
    publish(exchange, "request_exception", payload).map(drop)
}

/// The request has been served: the listeners are told, and the metrics.
pub(crate) fn request_finished(
    worker: &Worker,
    exchange: &Exchange,
    environ: &Bound<'_, PyDict>,
    verdict: &Verdict,
) -> PyResult<()> {
    let Some(meter) = exchange.meter.get() else {
        return Ok(());
    };
    let py = environ.py();
    let ended = EndedRequest::new(exchange, meter, environ, verdict);
    if worker.metrics.is_recording() {
        worker.metrics.add(&ended.sample(exchange, meter));
    }
    if exchange.publish.get().is_none() {
        return Ok(());
    }
    let payload = PyDict::new(py);
    payload.set_item("thread_id", exchange.slot + 1)?;
    beginnings(&payload, environ)?;
    let [_, _, _, start] = ended.starts;
    payload.set_item("application_finish", ended.finish)?;
    payload.set_item("application_time", ended.finish - start)?;
    payload.set_item("status", ended.status)?;
    let input = meter.input.traffic();
    payload.set_item("input_reads", input.calls)?;
    payload.set_item("input_length", input.bytes)?;
    payload.set_item("input_time", seconds(meter.input.micros()))?;
    payload.set_item("output_writes", meter.output.traffic().calls)?;
    payload.set_item("output_length", ended.length)?;
    payload.set_item("output_time", seconds(meter.output.micros()))?;
    payload.set_item("cpu_user_time", seconds(ended.cpu.user))?;
    payload.set_item("cpu_system_time", seconds(ended.cpu.system))?;
    payload.set_item("cpu_time", seconds(ended.cpu.user + ended.cpu.system))?;
    // Measuring it would take longer than the waiting.
    payload.set_item("gil_wait_time", 0.0)?;
    payload.set_item("gil_wait_count", 0)?;
    publish(exchange, "request_finished", payload).map(drop)
}

/// When the phases of a request began: the names in an event, and behind `mod_wsgi.` in
/// environ.
const STARTS: [&str; 4] = [
    "request_start",
    "queue_start",
    "daemon_start",
    "application_start",
];

/// What events say about the time before the application was called.
fn beginnings(payload: &Bound<'_, PyDict>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
    for name in &STARTS[..3] {
        payload.set_item(name, environ.get_item(format!("mod_wsgi.{name}"))?)?;
    }
    let pid = environ.get_item("mod_wsgi.server_pid")?;
    let pid: Option<u32> = pid.and_then(|pid| pid.extract::<String>().ok()?.parse().ok());
    payload.set_item("server_pid", pid)
}

/// A time in environ, which the application may have changed.
fn time(environ: &Bound<'_, PyDict>, name: &str) -> Option<f64> {
    let time = environ.get_item(format!("mod_wsgi.{name}")).ok()??;
    time.extract().ok()
}

/// A request that has been served, as listeners and metrics see it.
struct EndedRequest {
    status: u16,
    /// Bytes of the response body.
    length: u64,
    cpu: Cpu,
    /// When its phases began, in the order of `STARTS`.
    starts: [f64; STARTS.len()],
    finish: f64,
}

impl EndedRequest {
    fn new(
        exchange: &Exchange,
        meter: &Meter,
        environ: &Bound<'_, PyDict>,
        verdict: &Verdict,
    ) -> Self {
        let output = lock::attached(environ.py(), &exchange.output);
        let status = match verdict {
            Verdict::Failed { failure, .. } if output.stage != HeadStage::Sent => {
                failure.row().status
            }
            _ => output.head.status,
        };
        let length = output.body_len;
        drop(output);
        let finish = environ::now();
        Self {
            status,
            length,
            cpu: meter.cpu(),
            starts: STARTS.map(|name| time(environ, name).unwrap_or(finish)),
            finish,
        }
    }

    fn sample(&self, exchange: &Exchange, meter: &Meter) -> Sample {
        let [request, queue, daemon, application] = self.starts;
        Sample {
            slot: exchange.slot,
            status: self.status,
            phases: [
                micros_between(request, queue),
                micros_between(queue, daemon),
                micros_between(daemon, application),
                micros_between(application, self.finish),
                micros_between(request, self.finish),
                0,
                meter.input.micros(),
                meter.output.micros(),
            ],
            cpu: self.cpu,
            input: meter.input.traffic(),
            output: Traffic {
                bytes: self.length,
                ..meter.output.traffic()
            },
        }
    }
}

fn micros_between(from: f64, to: f64) -> u64 {
    ((to - from).max(0.0) * 1e6) as u64
}

fn publish<'py>(
    exchange: &Exchange,
    name: &str,
    payload: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = payload.py();
    if let Some(publish) = exchange.publish.get() {
        payload.set_item("request_id", exchange.label.request_id())?;
        payload.set_item("request_data", exchange.data(py)?)?;
        publish.call1(py, (name, &payload))?;
    }
    Ok(payload)
}
