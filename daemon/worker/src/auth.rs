//! `mod_ssl.is_https` and `mod_ssl.var_lookup`: what scripts that decide about a client may ask
//! httpd meanwhile. Offered by `application`; `body` asks.

use std::sync::Arc;

use pyo3::exceptions::{PyConnectionAbortedError, PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use wsgid_protocol::limits::MAX_LOOKUP_LEN;

use crate::body::BodyFailure;
use crate::exchange::Exchange;
use crate::lock;
use crate::strings::latin1;

/// Its methods have the names that mod_wsgi gives them.
#[pyclass(frozen, module = "mod_wsgi", name = "Auth")]
pub(crate) struct Auth {
    exchange: Arc<Exchange>,
}

impl Auth {
    /// Puts both into the environ of a call.
    pub(crate) fn offer(
        py: Python<'_>,
        exchange: &Arc<Exchange>,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let exchange = Arc::clone(exchange);
        let auth = Bound::new(py, Self { exchange })?;
        for (key, method) in [
            (intern!(py, "mod_ssl.is_https"), intern!(py, "ssl_is_https")),
            (
                intern!(py, "mod_ssl.var_lookup"),
                intern!(py, "ssl_var_lookup"),
            ),
        ] {
            environ.set_item(key, auth.getattr(method)?)?;
        }
        Ok(())
    }

    fn look_up(&self, py: Python<'_>, name: &[u8]) -> PyResult<Option<Vec<u8>>> {
        let exchange = &*self.exchange;
        if lock::attached(py, &exchange.output).has_ended() {
            return Err(expired());
        }
        let mut guard = lock::attached(py, &exchange.body);
        let body = &mut *guard;
        py.detach(|| body.look_up(name, &exchange.output))
            .map_err(|failure| match failure {
                BodyFailure::Ended => expired(),
                _ => PyConnectionAbortedError::new_err(
                    "mod_ssl cannot be asked: the connection to httpd has ended",
                ),
            })
    }
}

#[pymethods]
impl Auth {
    /// 1 if the client's connection is encrypted by mod_ssl, else 0.
    fn ssl_is_https(&self, py: Python<'_>) -> PyResult<u8> {
        let https = self.look_up(py, b"HTTPS")?;
        Ok(u8::from(https.as_deref() == Some(b"on")))
    }

    /// The value of a variable, empty if the name means nothing; `None` without mod_ssl.
    #[pyo3(signature = (name, /))]
    fn ssl_var_lookup<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let value = self.look_up(py, known(&bytes(name)?))?;
        Ok(value.map(|value| latin1(py, &value)))
    }
}

fn expired() -> PyErr {
    PyRuntimeError::new_err("request object has expired")
}

/// The part of a name that C sees. No name is too long to be asked for, but those mean nothing.
fn known(name: &[u8]) -> &[u8] {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.len() > MAX_LOOKUP_LEN as usize {
        return b"";
    }
    name
}

/// `bytes`, or a `str` of latin-1 characters.
fn bytes(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = name.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let refused =
        |what: &str| PyTypeError::new_err(format!("a variable's name is str or bytes, and {what}"));
    let Ok(text) = name.cast::<PyString>() else {
        let kind = name.get_type().name()?;
        return Err(refused(&format!("this one is {kind}")));
    };
    // What is no Unicode, a lone surrogate, is no latin-1 either.
    let characters = text
        .to_cow()
        .map_err(|_| refused("this one is not latin-1"))?;
    let bytes: Result<Vec<u8>, _> = characters.chars().map(u8::try_from).collect();
    bytes.map_err(|_| refused("this one is not latin-1"))
}
