//! `sys.stdout` and `sys.stderr` of the process: text streams whose lines become
//! log records. `log` decides where a record goes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread::ThreadId;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use wsgid_protocol::failure::level;

use crate::errors::{ErrorsBuffer, gather, readable};
use crate::{lock, log};

/// `sys.stdout` or `sys.stderr`: lines of a thread that serves a request belong
/// to that request.
#[pyclass(frozen, module = "mod_wsgi", name = "Stream")]
pub(crate) struct Stream {
    name: &'static str,
    /// Set by WSGIRestrictStdout: every use raises.
    restricted: bool,
    partial: Mutex<HashMap<ThreadId, String>>,
}

impl Stream {
    pub(crate) fn new(name: &'static str, restricted: bool) -> Self {
        Self { name, restricted, partial: Mutex::default() }
    }

    fn put(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        if self.restricted {
            return Err(PyOSError::new_err(format!(
                "{} access is restricted by mod_wsgi (WSGIRestrictStdout)",
                self.name
            )));
        }
        let whole = {
            let mut partial = lock::detached(&self.partial);
            let line = partial.entry(std::thread::current().id()).or_default();
            let whole = gather(line, text);
            if line.is_empty() {
                partial.remove(&std::thread::current().id());
            }
            whole
        };
        if let Some(whole) = whole {
            log::lines(py, level::ERROR, &whole);
        }
        Ok(())
    }

    /// Writes what the calling thread has written without a line end.
    pub(crate) fn finish(&self, py: Python<'_>) {
        let rest = lock::detached(&self.partial).remove(&std::thread::current().id());
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            log::lines(py, level::ERROR, &rest);
        }
    }
}

#[pymethods]
impl Stream {
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

    fn flush(&self, py: Python<'_>) {
        self.finish(py);
    }

    fn fileno(&self) -> i32 {
        if self.name == "sys.stdout" { 1 } else { 2 }
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
        self.name
    }

    #[getter]
    fn mode(&self) -> &'static str {
        "w"
    }

    #[getter]
    fn buffer(slf: Py<Self>) -> ErrorsBuffer {
        ErrorsBuffer::new(slf.into_any())
    }
}
