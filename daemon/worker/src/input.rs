//! `wsgi.input`. The application reads; `body` brings the bytes. Whatever waits
//! for the client waits detached from the interpreter.

use std::sync::Arc;

use pyo3::exceptions::{
    PyConnectionAbortedError, PyOSError, PyRuntimeError, PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use wsgid_protocol::request::BodyError;

use crate::body::{Body, BodyFailure};
use crate::exchange::Exchange;
use crate::lock;

/// Reads of at least this length go straight into the object that is returned.
const DIRECT_MIN: usize = 64 * 1024;

/// An application may ask for far more than there is, so memory for longer
/// reads is taken as the bytes come.
const DIRECT_MAX: usize = 16 * 1024 * 1024;

#[pyclass(frozen, module = "mod_wsgi", name = "Input")]
pub(crate) struct Input {
    exchange: Arc<Exchange>,
}

impl Input {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }

    /// Works on the body with `work`, which may wait.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Body, &Exchange) -> Result<T, BodyFailure> + Send,
    ) -> PyResult<T> {
        let mut guard = lock::attached(py, &self.exchange.body);
        let body = &mut *guard;
        let exchange = &*self.exchange;
        py.detach(|| work(body, exchange))
            .map_err(|failure| error(&failure))
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if lock::attached(py, &self.exchange.output).has_ended() {
            return Err(error(&BodyFailure::Ended));
        }
        Ok(())
    }

    /// One call of the application, measured where somebody wants to know.
    fn measured<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.exchange.meter.get() {
            Some(meter) => meter.input.measure(work),
            None => work(),
        }
    }

    fn count(&self, bytes: usize) {
        if let Some(meter) = self.exchange.meter.get() {
            meter.input.add_bytes(bytes);
        }
    }

    /// Takes `count` bytes of what has been received.
    fn take<'py>(&self, py: Python<'py>, count: usize) -> Bound<'py, PyBytes> {
        let mut body = lock::attached(py, &self.exchange.body);
        let bytes = PyBytes::new(py, body.buffered().get(..count).unwrap_or(body.buffered()));
        body.consume(count);
        self.count(bytes.as_bytes().len());
        bytes
    }

    fn read_all<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(py, |body, exchange| {
            while body.fill(&exchange.output)? {}
            Ok(())
        })?;
        Ok(self.take(py, usize::MAX))
    }

    fn read_direct<'py>(&self, py: Python<'py>, len: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut have = 0;
        let bytes = PyBytes::new_with(py, len, |space| {
            have = self.with(py, |body, exchange| {
                let ready = body.buffered().len().min(len);
                space[..ready].copy_from_slice(&body.buffered()[..ready]);
                body.consume(ready);
                let mut have = ready;
                while let Some(rest) = space.get_mut(have..).filter(|rest| !rest.is_empty()) {
                    match body.read_into(rest, &exchange.output)? {
                        0 => break,
                        count => have += count,
                    }
                }
                Ok(have)
            })?;
            Ok(())
        })?;
        self.count(have);
        match bytes.as_bytes().get(..have) {
            Some(part) if have < len => Ok(PyBytes::new(py, part)),
            _ => Ok(bytes),
        }
    }

    fn read_up_to<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let Some(len) = length(size)? else {
            return self.read_all(py);
        };
        let complete = {
            let body = lock::attached(py, &self.exchange.body);
            body.buffered().len() >= len || body.is_complete()
        };
        if complete {
            return Ok(self.take(py, len));
        }
        if (DIRECT_MIN..=DIRECT_MAX).contains(&len) {
            return self.read_direct(py, len);
        }
        self.with(py, |body, exchange| {
            while body.buffered().len() < len && body.fill(&exchange.output)? {}
            Ok(())
        })?;
        Ok(self.take(py, len))
    }

    /// One line of at most `most` bytes; empty at the end.
    fn line<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut looked = 0;
        loop {
            let body = lock::attached(py, &self.exchange.body);
            let ready = body.buffered();
            let ready = ready.get(..most).unwrap_or(ready);
            let rest = ready.get(looked..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let found = end
                .map(|at| looked + at + 1)
                .or((ready.len() == most).then_some(most));
            looked = ready.len();
            drop(body);
            if let Some(len) = found {
                return Ok(self.take(py, len));
            }
            if !self.with(py, |body, exchange| body.fill(&exchange.output))? {
                return Ok(self.take(py, looked));
            }
        }
    }
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.check(py)?;
        self.measured(|| self.read_up_to(py, size))
    }

    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.check(py)?;
        let most = length(size)?.unwrap_or(usize::MAX);
        self.measured(|| self.line(py, most))
    }

    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        self.check(py)?;
        let most = length(hint)?.filter(|hint| *hint > 0).unwrap_or(usize::MAX);
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < most {
            let line = self.measured(|| self.line(py, usize::MAX))?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn close(&self) {}

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.check(py)?;
        let line = self.measured(|| self.line(py, usize::MAX))?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}

/// A size as Python's files take it: `None` and negative numbers mean all.
fn length(size: Option<i64>) -> PyResult<Option<usize>> {
    let size = size.filter(|size| *size >= 0).map(usize::try_from);
    size.transpose()
        .map_err(|_| PyValueError::new_err("size is too large"))
}

/// What the application sees. All but the last are kinds of OSError.
fn error(failure: &BodyFailure) -> PyErr {
    let text = format!("mod_wsgi request data read error: {failure}");
    match failure {
        BodyFailure::Broken(BodyError::ClientGone) | BodyFailure::Lost => {
            PyConnectionAbortedError::new_err(text)
        }
        BodyFailure::Broken(BodyError::Timeout) => PyTimeoutError::new_err(text),
        BodyFailure::Broken(_) | BodyFailure::Protocol => PyOSError::new_err(text),
        BodyFailure::Ended => {
            PyRuntimeError::new_err("wsgi.input used after its request has ended")
        }
    }
}
