//! `wsgi.early_hints(headers)`: a 103 response before the application has made
//! up its mind. In the environ only where the client can take it. One object
//! serves all requests: it speaks for the request of the calling thread.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_bytes::Bytes;

use wsgid_protocol::limits::MAX_RESPONSE_LEN;
use wsgid_protocol::payload::encode;
use wsgid_protocol::response::ResponseHead;

use crate::output::Stage;
use crate::start_response::read_headers;
use crate::{lock, log, response};

/// `wsgi.early_hints`.
#[pyclass(frozen, module = "mod_wsgi", name = "EarlyHints")]
pub(crate) struct EarlyHints;

#[pymethods]
impl EarlyHints {
    #[pyo3(signature = (headers, /))]
    fn __call__(&self, py: Python<'_>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let fields = read_headers(headers)?;
        let head = ResponseHead {
            status: 103,
            reason: Bytes::new(b"Early Hints"),
            headers: fields.iter().map(|(name, value)| (Bytes::new(name), Bytes::new(value))).collect(),
        };
        let payload = encode(&head).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        if payload.len() > MAX_RESPONSE_LEN as usize {
            return Err(PyRuntimeError::new_err("the early hints are too long"));
        }
        let exchange = log::current()
            .ok_or_else(|| PyRuntimeError::new_err("wsgi.early_hints called by a thread that serves no request"))?;
        let mut guard = lock::attached(py, &exchange.output);
        let output = &mut *guard;
        if output.stage == Stage::Sent {
            return Err(PyRuntimeError::new_err("early hints came after the response head was sent"));
        }
        py.detach(|| output.interim(&payload)).map_err(|error| response::failed(&error))
    }
}
