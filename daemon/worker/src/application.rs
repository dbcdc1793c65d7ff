//! One call of the application: environ, call, iteration, `close()`, and what
//! becomes of an exception. Called by `serve`; the answer goes to the output.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use wsgid_protocol::Failure;
use wsgid_protocol::failure::level;
use wsgid_protocol::request::{Call, RequestHead, RequestOptions};

use crate::environ::{self, Variables};
use crate::errors::Errors;
use crate::exchange::Exchange;
use crate::input::Input;
use crate::output::Stage;
use crate::script::summary;
use crate::start_response::StartResponse;
use crate::worker::{Runtime, Worker};
use crate::{lock, log, response};

/// How a request ends.
pub(crate) enum Verdict {
    /// The answer is in the output, complete.
    Complete,
    /// It failed; `text` is for the log.
    Failed { failure: Failure, text: String },
}

/// What is needed of a request head once its environ is built.
pub(crate) struct Facts {
    pub(crate) script: Vec<u8>,
    pub(crate) callable: Vec<u8>,
    pub(crate) options: RequestOptions,
    pub(crate) head_only: bool,
    /// Method and path, cut to a sensible length.
    pub(crate) what: String,
}

impl Facts {
    pub(crate) fn new(head: &RequestHead<'_>) -> Self {
        let find =
            |name: &[u8]| head.environ.iter().rfind(|(key, _)| key.as_ref() == name).map(|(_, value)| value.as_ref());
        let method = find(b"REQUEST_METHOD").unwrap_or_default();
        let mut what = String::with_capacity(64);
        for part in [method, b" ", find(b"SCRIPT_NAME").unwrap_or_default(), find(b"PATH_INFO").unwrap_or_default()] {
            what.extend(
                part.iter()
                    .take(200)
                    .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' }),
            );
        }
        let callable: &[u8] = if head.call == Call::Handler { b"handle_request" } else { head.callable };
        Self {
            script: head.script.to_vec(),
            callable: callable.to_vec(),
            options: head.options,
            head_only: method == b"HEAD",
            what,
        }
    }
}

/// The environ of a request, except what needs the exchange.
pub(crate) fn environ<'py>(
    py: Python<'py>,
    worker: &Worker,
    slot: usize,
    head: &RequestHead<'_>,
    variables: &mut Variables,
) -> PyResult<Bound<'py, PyDict>> {
    let runtime = runtime(worker)?;
    let environ = runtime.template.bind(py).copy()?;
    variables.fill(py, head, &environ)?;
    environ.set_item(intern!(py, "mod_wsgi.thread_id"), slot + 1)?;
    environ.set_item(intern!(py, "mod_wsgi.request_start"), environ::seconds(head.request_start_us))?;
    environ.set_item(intern!(py, "mod_wsgi.queue_start"), environ::seconds(head.queue_start_us))?;
    environ.set_item(intern!(py, "mod_wsgi.daemon_start"), environ::now())?;
    environ.set_item(intern!(py, "mod_wsgi.callable_object"), environ::latin1(py, head.callable))?;
    Ok(environ)
}

/// Serves a request.
pub(crate) fn serve(
    py: Python<'_>,
    worker: &Worker,
    exchange: &Arc<Exchange>,
    facts: &Facts,
    environ: &Bound<'_, PyDict>,
) -> Verdict {
    let began = Instant::now();
    let verdict = match attempt(py, worker, exchange, facts, environ) {
        Ok(verdict) => verdict,
        Err(error) => failed(py, exchange, facts, &error),
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    exchange.application_us.store(micros, Ordering::Relaxed);
    verdict
}

fn attempt(
    py: Python<'_>,
    worker: &Worker,
    exchange: &Arc<Exchange>,
    facts: &Facts,
    environ: &Bound<'_, PyDict>,
) -> PyResult<Verdict> {
    let runtime = runtime(worker)?;
    let errors = Bound::new(py, Errors::new(Arc::clone(exchange)))?;
    let loaded =
        worker.scripts.get(py, runtime.module.bind(py), &facts.script, &facts.callable, facts.options.script_reloading);
    if let Some(reason) = loaded.recycle {
        worker.recycle(reason);
    }
    let application = match loaded.callable {
        Ok(application) => application,
        Err(error) => {
            log::lines(py, level::ERROR, &error.traceback);
            return Ok(Verdict::Failed { failure: error.failure, text: error.text });
        }
    };
    environ.set_item(intern!(py, "wsgi.input"), Bound::new(py, Input::new(Arc::clone(exchange)))?)?;
    environ.set_item(intern!(py, "wsgi.errors"), &errors)?;
    environ.set_item(intern!(py, "mod_wsgi.application_start"), environ::now())?;
    let verdict = call(py, exchange, &application, environ);
    errors.get().finish(py);
    for stream in &runtime.streams {
        stream.get().finish(py);
    }
    verdict
}

fn call(
    py: Python<'_>,
    exchange: &Arc<Exchange>,
    application: &Bound<'_, PyAny>,
    environ: &Bound<'_, PyDict>,
) -> PyResult<Verdict> {
    let start = Bound::new(py, StartResponse::new(Arc::clone(exchange)))?;
    let result = application.call1((environ, start))?;
    let sent = response::iterable(py, exchange, &result);
    let closed = close(py, &result);
    sent?;
    if let Err(error) = closed {
        // The answer is complete; what close() broke is not the client's concern.
        log::exception(py, "exception in close() of the response", &error);
    }
    complete(py, exchange)
}

/// PEP 3333: `close()` is called exactly once, whatever happened.
fn close(py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt(intern!(py, "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// The application is done: is its answer complete?
fn complete(py: Python<'_>, exchange: &Exchange) -> PyResult<Verdict> {
    let output = lock::attached(py, &exchange.output);
    if output.stage == Stage::Waiting {
        return Err(PyRuntimeError::new_err("the application returned without calling start_response"));
    }
    let bodiless = exchange.head_only || matches!(output.head.status, 204 | 304);
    match output.head.length {
        Some(length) if output.body_len < length && !bodiless && !output.is_broken() => {
            let text = format!("{}: Content-Length is {length}, the body has {} bytes", exchange.what, output.body_len);
            Ok(Verdict::Failed { failure: Failure::ResponseShort, text })
        }
        _ => Ok(Verdict::Complete),
    }
}

/// What becomes of an exception.
fn failed(py: Python<'_>, exchange: &Exchange, facts: &Facts, error: &PyErr) -> Verdict {
    let script = String::from_utf8_lossy(&facts.script);
    if exchange.timed_out.load(Ordering::Relaxed) {
        log::exception(py, &format!("request interrupted after its time ran out, script `{script}`"), error);
        return Verdict::Failed { failure: Failure::RequestTimeout, text: exchange.what.clone() };
    }
    if error.is_instance_of::<PyOSError>(py) && lock::attached(py, &exchange.body).client_gone() {
        return Verdict::Failed { failure: Failure::ClientGone, text: exchange.what.clone() };
    }
    let what = if error.is_instance_of::<PySystemExit>(py) {
        format!("SystemExit from the application ends only the request, script `{script}`")
    } else {
        format!("exception while serving a request, script `{script}`")
    };
    log::exception(py, &what, error);
    Verdict::Failed { failure: Failure::ApplicationError, text: summary(py, error) }
}

fn runtime(worker: &Worker) -> PyResult<&Runtime> {
    worker.runtime.get().ok_or_else(|| PyRuntimeError::new_err("the worker is not ready"))
}
