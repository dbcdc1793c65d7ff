//! `wsgi.early_hints(headers)`: a 103 response before the application has made
//! up its mind. In the environ only where the client can take it. One object
//! serves all requests: it speaks for the request of the calling thread.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::output::HeadStage;
use crate::start_response::write_headers;
use crate::{lock, log, response};

#[pyclass(frozen, module = "mod_wsgi", name = "EarlyHints")]
pub(crate) struct EarlyHints;

#[pymethods]
impl EarlyHints {
    #[pyo3(signature = (headers, /))]
    fn __call__(&self, py: Python<'_>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut payload = Vec::new();
        write_headers(&mut payload, 103, b"Early Hints", headers)?;
        let exchange = log::current().ok_or_else(|| {
            PyRuntimeError::new_err("wsgi.early_hints called by a thread that serves no request")
        })?;
        let mut guard = lock::attached(py, &exchange.output);
        let output = &mut *guard;
        if output.stage == HeadStage::Sent {
            return Err(PyRuntimeError::new_err(
                "early hints came after the response head was sent",
            ));
        }
        py.detach(|| output.interim(&payload))
            .map_err(|error| response::failed(&error))
    }
}
