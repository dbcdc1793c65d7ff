//! Events that applications subscribe to with `mod_wsgi.subscribe_events`. A
//! request pays for them only where somebody listens.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::exchange::Exchange;
use crate::worker::Runtime;
use crate::{environ, lock};

/// Finds out whether somebody listens to this request.
pub(crate) fn listen(py: Python<'_>, runtime: &Runtime, exchange: &Exchange) {
    if !runtime.event_callbacks.bind(py).is_empty() {
        let _ = exchange.publish.set(runtime.publish.clone_ref(py));
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
    let names = [
        ("thread_id", "mod_wsgi.thread_id"),
        ("server_pid", "mod_wsgi.server_pid"),
        ("request_start", "mod_wsgi.request_start"),
        ("queue_start", "mod_wsgi.queue_start"),
        ("daemon_start", "mod_wsgi.daemon_start"),
        ("application_start", "mod_wsgi.application_start"),
        ("callable_object", "mod_wsgi.callable_object"),
    ];
    for (name, key) in names {
        payload.set_item(name, environ.get_item(key)?)?;
    }
    payload.set_item("application_object", &application)?;
    payload.set_item("request_environ", environ)?;
    let payload = publish(exchange, "request_started", payload)?;
    Ok(payload.get_item("application_object")?.unwrap_or(application))
}

/// `start_response` was called.
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

/// An exception left the application.
pub(crate) fn request_exception(py: Python<'_>, exchange: &Exchange, error: &PyErr) -> PyResult<()> {
    if exchange.publish.get().is_none() {
        return Ok(());
    }
    let payload = PyDict::new(py);
    let info = (error.get_type(py), error.value(py), error.traceback(py));
    payload.set_item("exception_info", info)?;
    publish(exchange, "request_exception", payload).map(drop)
}

/// The request has been served.
pub(crate) fn request_finished(exchange: &Exchange, environ: &Bound<'_, PyDict>) -> PyResult<()> {
    if exchange.publish.get().is_none() {
        return Ok(());
    }
    let py = environ.py();
    let payload = PyDict::new(py);
    let (status, length) = {
        let output = lock::attached(py, &exchange.output);
        (output.head.status, output.body_len)
    };
    let finish = environ::now();
    let start: f64 = match environ.get_item(intern!(py, "mod_wsgi.application_start"))? {
        Some(start) => start.extract().unwrap_or(finish),
        None => finish,
    };
    payload.set_item("thread_id", environ.get_item("mod_wsgi.thread_id")?)?;
    payload.set_item("server_pid", environ.get_item("mod_wsgi.server_pid")?)?;
    payload.set_item("status", status)?;
    payload.set_item("output_length", length)?;
    payload.set_item("application_start", start)?;
    payload.set_item("application_finish", finish)?;
    payload.set_item("application_time", finish - start)?;
    publish(exchange, "request_finished", payload).map(drop)
}

fn publish<'py>(exchange: &Exchange, name: &str, payload: Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let py = payload.py();
    let Some(publish) = exchange.publish.get() else { return Ok(payload) };
    payload.set_item("request_id", &exchange.request_id)?;
    payload.set_item("request_data", exchange.data(py)?)?;
    publish.bind(py).call1(PyTuple::new(py, [name.into_pyobject(py)?.into_any(), payload.clone().into_any()])?)?;
    Ok(payload)
}
