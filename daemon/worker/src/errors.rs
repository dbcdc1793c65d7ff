//! `wsgi.errors`: a text stream whose lines become log records of its request.

use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use wsgid_protocol::failure::level;

use crate::exchange::Exchange;
use crate::lock;
use crate::log;

/// A line grows to this length before it is written without its end.
const LINE_MAX: usize = 8 * 1024;

/// `wsgi.errors` of one request.
#[pyclass(frozen, module = "mod_wsgi", name = "Errors")]
pub(crate) struct Errors {
    exchange: Arc<Exchange>,
    partial: Mutex<String>,
}

impl Errors {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, partial: Mutex::default() }
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if lock::attached(py, &self.exchange.output).has_ended() {
            return Err(PyRuntimeError::new_err("wsgi.errors used after its request has ended"));
        }
        Ok(())
    }

    fn put(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.check(py)?;
        let whole = gather(&mut lock::detached(&self.partial), text);
        if let Some(whole) = whole {
            log::exchange_lines(py, &self.exchange, level::ERROR, &whole);
        }
        Ok(())
    }

    /// Writes what has no line end yet: the request is about to end.
    pub(crate) fn finish(&self, py: Python<'_>) {
        let rest = std::mem::take(&mut *lock::detached(&self.partial));
        if !rest.is_empty() {
            log::exchange_lines(py, &self.exchange, level::ERROR, &rest);
        }
    }
}

#[pymethods]
impl Errors {
    fn write(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        self.put(py, &readable(text)?)?;
        text.len()
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.put(py, &readable(line?.cast::<PyString>()?)?)?;
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.check(py)?;
        self.finish(py);
        Ok(())
    }

    fn close(&self) {}

    fn isatty(&self) -> bool {
        false
    }

    fn readable(&self) -> bool {
        false
    }

    fn writable(&self) -> bool {
        true
    }

    fn seekable(&self) -> bool {
        false
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }

    #[getter]
    fn encoding(&self) -> &'static str {
        "utf-8"
    }

    #[getter]
    fn errors(&self) -> &'static str {
        "backslashreplace"
    }

    #[getter]
    fn line_buffering(&self) -> bool {
        true
    }

    #[getter]
    fn name(&self) -> &'static str {
        "<wsgi.errors>"
    }

    #[getter]
    fn mode(&self) -> &'static str {
        "w"
    }

    #[getter]
    fn buffer(slf: Py<Self>) -> ErrorsBuffer {
        ErrorsBuffer { text: slf.into_any() }
    }
}

/// `wsgi.errors.buffer`: the same stream for bytes.
#[pyclass(frozen, module = "mod_wsgi", name = "ErrorsBuffer")]
pub(crate) struct ErrorsBuffer {
    text: Py<PyAny>,
}

impl ErrorsBuffer {
    pub(crate) fn new(text: Py<PyAny>) -> Self {
        Self { text }
    }
}

#[pymethods]
impl ErrorsBuffer {
    fn write(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bytes = py.get_type::<PyBytes>().call1((bytes,))?.cast_into::<PyBytes>()?;
        let text = String::from_utf8_lossy(bytes.as_bytes());
        self.text.bind(py).call_method1("write", (text,))?;
        bytes.len()
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.text.bind(py).call_method0("flush").map(drop)
    }

    fn writable(&self) -> bool {
        true
    }

    fn close(&self) {}
}

/// Adds text to a line that is not complete. Returns the complete lines.
pub(crate) fn gather(partial: &mut String, text: &str) -> Option<String> {
    let end = text.rfind('\n').map(|at| at + 1);
    if let Some((whole, rest)) = end.and_then(|end| text.split_at_checked(end)) {
        let mut lines = std::mem::take(partial);
        lines.push_str(whole);
        partial.push_str(rest);
        return Some(lines);
    }
    partial.push_str(text);
    (partial.len() > LINE_MAX).then(|| std::mem::take(partial))
}

/// The text as UTF-8; lone surrogates are escaped.
pub(crate) fn readable(text: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(text) = text.to_cow() {
        return Ok(text.into_owned());
    }
    let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?.cast_into::<PyBytes>()?;
    Ok(String::from_utf8_lossy(bytes.as_bytes()).into_owned())
}
