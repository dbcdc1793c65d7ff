//! One call of the application: environ, call, iteration, `close()`, and what
//! becomes of an exception. Called by `serve`; the answer goes to the output.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use wsgid_protocol::Failure;
use wsgid_protocol::failure::level;
use wsgid_protocol::limits::MAX_ANSWER_LEN;
use wsgid_protocol::payload::encode;

use crate::auth::Auth;
use crate::call_facts::CallFacts;
use crate::exchange::{Exchange, Verdict};
use crate::input::Input;
use crate::output::HeadStage;
use crate::script_call::ScriptFunction;
use crate::start_response::StartResponse;
use crate::stream::TextStream;
use crate::worker::{Runtime, Worker};
use crate::{environ, events, file_wrapper, fork, lock, log, panics, response, script};

pub(crate) fn serve(
    py: Python<'_>,
    worker: &Worker,
    exchange: &Arc<Exchange>,
    facts: &CallFacts,
    environ: &Bound<'_, PyDict>,
) -> Verdict {
    let verdict = panics::raised(|| attempt(py, worker, exchange, facts, environ));
    fork::end_child(py, verdict.as_ref().err());
    let verdict = verdict.unwrap_or_else(|error| failed(py, worker, exchange, facts, &error));
    let told = panics::raised(|| events::request_finished(worker, exchange, environ, &verdict));
    published(py, told);
    verdict
}

/// The failure of a listener is no failure of the request.
fn published(py: Python<'_>, told: PyResult<()>) {
    if let Err(error) = told {
        log::exception(py, "exception while publishing an event", &error);
    }
}

fn attempt<'py>(
    py: Python<'py>,
    worker: &Worker,
    exchange: &Arc<Exchange>,
    facts: &CallFacts,
    environ: &Bound<'py, PyDict>,
) -> PyResult<Verdict> {
    let runtime = worker.prepared()?;
    let errors = Bound::new(py, TextStream::of_request(Arc::clone(exchange)))?;
    let loaded = worker
        .scripts
        .get(py, runtime.module.bind(py), &worker.spec.group, facts);
    if let Some(callable) = loaded.called {
        worker.called(&facts.script, callable);
    }
    if let Some(renewal) = loaded.renewal {
        worker.renew(&facts.script, renewal);
    }
    if loaded.first {
        worker.loaded(&facts.script);
    }
    if let Some(stamp) = loaded.stamp {
        worker.stamped(&facts.script, stamp);
    }
    if let Some(on) = loaded.reloading {
        worker.reloading(&facts.script, on);
    }
    // With `reload-wait` it was asked before the request was taken.
    if let Some(asks) = loaded.asks.filter(|_| !worker.waits_for_reload())
        && script::wants_reload(&asks, environ.get_item(intern!(py, "SCRIPT_FILENAME"))?)
    {
        worker.recycle_as_asked();
    }
    let application = match loaded.callable {
        Ok(application) => application,
        Err(error) => {
            log::lines(py, level::ERROR, &error.traceback);
            return Ok(Verdict::failed(error.failure, error.text));
        }
    };
    environ.set_item(
        intern!(py, "wsgi.input"),
        Bound::new(py, Input::new(Arc::clone(exchange)))?,
    )?;
    environ.set_item(intern!(py, "wsgi.errors"), &errors)?;
    environ.set_item(intern!(py, "mod_wsgi.application_start"), environ::now())?;
    let verdict = panics::raised(|| match &facts.function {
        Some(function) => {
            if facts.is_about_access {
                Auth::offer(py, exchange, environ)?;
            }
            call_function(py, exchange, function, &application, environ)
        }
        None => call(py, worker, exchange, application, environ),
    });
    errors.get().finish(py);
    for stream in &runtime.streams {
        stream.get().finish(py);
    }
    verdict
}

/// Calls a function of a script that is no application.
fn call_function(
    py: Python<'_>,
    exchange: &Exchange,
    function: &ScriptFunction,
    callable: &Bound<'_, PyAny>,
    environ: &Bound<'_, PyDict>,
) -> PyResult<Verdict> {
    let answer = function.call(callable, environ)?;
    let payload = encode(&answer).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    if payload.len() > MAX_ANSWER_LEN as usize {
        return Err(PyRuntimeError::new_err(format!(
            "the answer has more than {MAX_ANSWER_LEN} bytes"
        )));
    }
    // A broken connection shows at the end of the request.
    let _ = lock::attached(py, &exchange.output).answer(&payload);
    Ok(Verdict::Complete)
}

fn call<'py>(
    py: Python<'py>,
    worker: &Worker,
    exchange: &Arc<Exchange>,
    mut application: Bound<'py, PyAny>,
    environ: &Bound<'py, PyDict>,
) -> PyResult<Verdict> {
    let runtime = worker.prepared()?;
    events::listen(py, worker, runtime, exchange);
    if exchange.publish.get().is_some() {
        application = events::request_started(exchange, environ, application)?;
    }
    let start = Bound::new(py, StartResponse::new(Arc::clone(exchange)))?;
    let result = application.call1((environ, start))?;
    let sent = panics::raised(|| {
        send(py, exchange, runtime, &result).and_then(|()| started(py, exchange))
    });
    if let Err(error) = panics::raised(|| close(py, &result)) {
        // What close() breaks is not the client's concern, and what has failed before
        // is logged all the same.
        log::exception(py, "exception in close() of the response", &error);
    }
    sent?;
    Ok(complete(py, exchange))
}

fn send(
    py: Python<'_>,
    exchange: &Exchange,
    runtime: &Runtime,
    result: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if file_wrapper::send(py, exchange, result, &runtime.file_wrapper)? {
        return Ok(());
    }
    response::iterable(py, exchange, result)
}

/// PEP 3333: `start_response` was called before the iterable has come to its
/// end; `close()` is too late.
fn started(py: Python<'_>, exchange: &Exchange) -> PyResult<()> {
    if lock::attached(py, &exchange.output).stage == HeadStage::Waiting {
        return Err(PyRuntimeError::new_err(
            "the application returned without calling start_response",
        ));
    }
    Ok(())
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
fn complete(py: Python<'_>, exchange: &Exchange) -> Verdict {
    let output = lock::attached(py, &exchange.output);
    let bodiless = exchange.head_only || matches!(output.head.status, 204 | 304);
    match output.head.length {
        Some(length) if output.body_len < length && !bodiless && !output.is_broken() => {
            let text = format!(
                "{}: Content-Length is {length}, the body has {} bytes",
                exchange.label.what(),
                output.body_len
            );
            Verdict::failed(Failure::ResponseShort, text)
        }
        _ => Verdict::Complete,
    }
}

fn failed(
    py: Python<'_>,
    worker: &Worker,
    exchange: &Exchange,
    facts: &CallFacts,
    error: &PyErr,
) -> Verdict {
    let path = String::from_utf8_lossy(&facts.script);
    published(py, events::request_exception(py, exchange, error));
    if exchange.interrupted.load(Ordering::Relaxed) {
        let what = format!("request interrupted after its time ran out, script `{path}`");
        log::exception(py, &what, error);
        return Verdict::failed(Failure::RequestTimeout, exchange.label.what());
    }
    if is_request_timeout(py, worker, error) {
        return Verdict::failed(Failure::ApplicationTimeout, exchange.label.what());
    }
    if error.is_instance_of::<PyOSError>(py) && lock::attached(py, &exchange.body).client_gone() {
        return Verdict::failed(Failure::ClientGone, exchange.label.what());
    }
    let what = if error.is_instance_of::<PySystemExit>(py) {
        format!("SystemExit from the application ends only the request, script `{path}`")
    } else {
        format!("exception while serving a request, script `{path}`")
    };
    log::exception(py, &what, error);
    Verdict::failed(Failure::ApplicationError, script::summary(py, error))
}

/// Whether the application gave up by itself, as it would have been made to.
fn is_request_timeout(py: Python<'_>, worker: &Worker, error: &PyErr) -> bool {
    let class = worker
        .prepared()
        .and_then(|runtime| runtime.module.bind(py).getattr("RequestTimeout"));
    class.is_ok_and(|class| error.is_instance(py, &class))
}
