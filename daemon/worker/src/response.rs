//! What the application returned, block by block: Content-Length policing, and
//! how blocks reach the output. `close()` is `serve`'s business.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::exchange::Exchange;
use crate::lock;
use crate::output::{HeadStage, OutputError, ResponseOutput};

/// Sends the iterable. Stops without an error where the client has gone.
pub(crate) fn iterable(
    py: Python<'_>,
    exchange: &Exchange,
    result: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if let Ok(list) = result.cast_exact::<PyList>() {
        // By index: the application may change the list meanwhile.
        let mut at = 0;
        while at < list.len() {
            if !step(py, exchange, &list.get_item(at)?)? {
                return Ok(());
            }
            at += 1;
        }
        return Ok(());
    }
    for item in result.try_iter()? {
        if !step(py, exchange, &item?)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends one block. False if there is no use in a further one.
fn step(py: Python<'_>, exchange: &Exchange, item: &Bound<'_, PyAny>) -> PyResult<bool> {
    let result = block(py, exchange, bytes(item)?);
    if result.is_err() && lock::attached(py, &exchange.output).is_broken() {
        return Ok(false);
    }
    result.map(|()| true)
}

/// The item as bytes, which is all that PEP 3333 allows.
pub(crate) fn bytes<'a, 'py>(item: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    item.cast()
        .map_err(|_| wrong_type("bytes for a block of the response body", item))
}

/// The application gave something else than it was to.
pub(crate) fn wrong_type(expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let name = value.get_type().name();
    let name = name.map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {expected}, got {name}"))
}

/// What `write` got. PEP 3333: its first call sends the head, empty or not.
pub(crate) fn written(
    py: Python<'_>,
    exchange: &Exchange,
    bytes: &Bound<'_, PyBytes>,
) -> PyResult<()> {
    block(py, exchange, bytes)?;
    let mut output = lock::attached(py, &exchange.output);
    if output.has_ended() {
        return Err(failed(&OutputError::Ended));
    }
    output.begin_now();
    drop(output);
    if let Some(meter) = exchange.meter.get().filter(|_| bytes.as_bytes().is_empty()) {
        meter.output.measure(|| ());
    }
    Ok(())
}

/// Sends one block; the head goes with the first that is not empty.
pub(crate) fn block(
    py: Python<'_>,
    exchange: &Exchange,
    block: &Bound<'_, PyBytes>,
) -> PyResult<()> {
    let bytes = block.as_bytes();
    match exchange.meter.get() {
        Some(meter) if !bytes.is_empty() => meter.output.measure(|| send(py, exchange, bytes)),
        _ => send(py, exchange, bytes),
    }
}

fn send(py: Python<'_>, exchange: &Exchange, bytes: &[u8]) -> PyResult<()> {
    let mut guard = lock::attached(py, &exchange.output);
    let output = &mut *guard;
    if output.stage == HeadStage::Waiting && !output.has_ended() {
        return Err(PyRuntimeError::new_err(
            "a block of the response body came before start_response was called",
        ));
    }
    let bytes = allowed(output, bytes);
    let sent = if bytes.is_empty() {
        output.nothing()
    } else if ResponseOutput::is_long(bytes) {
        py.detach(|| output.body(bytes))
    } else {
        gather(py, output, bytes)
    };
    sent.map_err(|error| failed(&error))
}

/// What has gathered is sent once it is enough: at once if the socket takes it, else
/// detached.
fn gather(py: Python<'_>, output: &mut ResponseOutput, bytes: &[u8]) -> Result<(), OutputError> {
    output.body(bytes)?;
    if !output.is_full() || output.try_flush()? {
        return Ok(());
    }
    py.detach(|| output.flush())
}

/// What of the block the announced Content-Length leaves room for.
fn allowed<'a>(output: &ResponseOutput, bytes: &'a [u8]) -> &'a [u8] {
    let Some(length) = output.head.length else {
        return bytes;
    };
    let room = length.saturating_sub(output.body_len);
    usize::try_from(room)
        .ok()
        .and_then(|room| bytes.get(..room))
        .unwrap_or(bytes)
}

/// What the application sees.
pub(crate) fn failed(error: &OutputError) -> PyErr {
    match error {
        OutputError::Ended => PyRuntimeError::new_err("write called after the request has ended"),
        OutputError::Gone(_) => {
            PyOSError::new_err("mod_wsgi response data write error: the client has gone")
        }
    }
}
