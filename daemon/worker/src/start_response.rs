//! `start_response` and the `write` it returns: checks what PEP 3333 says about
//! status and headers, and keeps the head until the first byte of the body.

use std::sync::Arc;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use serde_bytes::Bytes;

use wsgid_protocol::limits::{MAX_RESPONSE_FIELDS, MAX_RESPONSE_LEN};
use wsgid_protocol::payload::encode_into;
use wsgid_protocol::response::ResponseHead;

use crate::exchange::Exchange;
use crate::output::Stage;
use crate::{events, lock, response};

/// `start_response` of one request.
#[pyclass(frozen, module = "mod_wsgi", name = "StartResponse")]
pub(crate) struct StartResponse {
    exchange: Arc<Exchange>,
}

impl StartResponse {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info = None, /))]
    fn __call__(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Write> {
        events::response_started(&self.exchange, status, headers, exc_info)?;
        let exc_info = exc_info.map(exception_info).transpose()?;
        let status = read_status(status)?;
        let fields = read_headers(headers)?;
        let length = content_length(&fields)?;
        let mut output = lock::attached(py, &self.exchange.output);
        if output.has_ended() {
            return Err(PyRuntimeError::new_err("start_response called after the request has ended"));
        }
        if output.stage == Stage::Sent {
            // Making the exception runs Python.
            drop(output);
            return Err(match exc_info {
                Some(info) => exception(info),
                None => PyRuntimeError::new_err("headers have been sent already"),
            });
        }
        let head = ResponseHead {
            status: status.code,
            reason: Bytes::new(&status.reason),
            headers: fields.iter().map(|(name, value)| (Bytes::new(name), Bytes::new(value))).collect(),
        };
        output.head.payload.clear();
        encode_into(&head, &mut output.head.payload).map_err(|error| PyValueError::new_err(error.to_string()))?;
        if output.head.payload.len() > MAX_RESPONSE_LEN as usize {
            let text = format!(
                "response headers of {} bytes are above the limit of {MAX_RESPONSE_LEN}",
                output.head.payload.len()
            );
            return Err(PyValueError::new_err(text));
        }
        output.head.status = status.code;
        output.head.length = length;
        output.stage = Stage::Started;
        Ok(Write { exchange: Arc::clone(&self.exchange) })
    }
}

/// The `write` callable of one request.
#[pyclass(frozen, module = "mod_wsgi", name = "Write")]
pub(crate) struct Write {
    exchange: Arc<Exchange>,
}

#[pymethods]
impl Write {
    #[pyo3(signature = (block, /))]
    fn __call__(&self, py: Python<'_>, block: &Bound<'_, PyAny>) -> PyResult<()> {
        response::written(py, &self.exchange, response::bytes(block)?)
    }
}

struct Status {
    code: u16,
    reason: Vec<u8>,
}

/// `sys.exc_info()`; looked into only if it has to be raised.
fn exception_info<'a, 'py>(info: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyTuple>> {
    info.cast::<PyTuple>().map_err(|_| PyRuntimeError::new_err("exception info must be a tuple or None"))
}

/// The head has gone: what is to be raised instead of replacing it.
fn exception(info: &Bound<'_, PyTuple>) -> PyErr {
    let Ok((class, value, traceback)) = info.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
        return PyTypeError::new_err("exception info must be a tuple of type, value and traceback");
    };
    let error = if value.is_instance_of::<PyBaseException>() {
        Ok(value)
    } else if value.is_none() {
        class.call0()
    } else {
        class.call1((value,))
    };
    match error {
        Ok(error) if error.is_instance_of::<PyBaseException>() => {
            // A traceback that is none stays out; the exception has its own.
            let _ = error.call_method1("with_traceback", (traceback,));
            PyErr::from_value(error)
        }
        Ok(_) => PyTypeError::new_err("exception info holds no exception"),
        Err(error) => error,
    }
}

/// Three digits, and optionally a space and the reason.
fn read_status(status: &Bound<'_, PyAny>) -> PyResult<Status> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str for the status, got {}", type_name(status))))?;
    let bytes = latin1(text)?;
    let (digits, rest) = bytes.split_at_checked(3).ok_or_else(|| bad_status(text))?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ')) {
        return Err(bad_status(text));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(PyValueError::new_err("the status contains a control character"));
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(200..=599).contains(&code) {
        return Err(PyValueError::new_err(format!("status code {code} cannot end a request; expected 200 to 599")));
    }
    let reason = rest.get(1..).unwrap_or(&[]).to_vec();
    Ok(Status { code, reason })
}

fn bad_status(status: &Bound<'_, PyString>) -> PyErr {
    PyValueError::new_err(format!("the status `{status}` is not three digits, a space and a reason"))
}

/// Name and value of each header.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn read_headers(headers: &Bound<'_, PyAny>) -> PyResult<Fields> {
    let list = headers
        .cast::<PyList>()
        .map_err(|_| PyTypeError::new_err(format!("expected a list of headers, got {}", type_name(headers))))?;
    if list.len() > MAX_RESPONSE_FIELDS {
        let text = format!("{} headers are above the limit of {MAX_RESPONSE_FIELDS}", list.len());
        return Err(PyValueError::new_err(text));
    }
    list.iter().map(|item| read_field(&item)).collect()
}

fn read_field(item: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, Vec<u8>)> {
    let pair = item
        .cast::<PyTuple>()
        .map_err(|_| PyTypeError::new_err(format!("expected a tuple for each header, got {}", type_name(item))))?;
    if pair.len() != 2 {
        return Err(PyValueError::new_err(format!("a header is a tuple of name and value, got {} items", pair.len())));
    }
    let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
    let name = name
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str for a header name, got {}", type_name(&name))))
        .and_then(latin1)?;
    let value = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str for a header value, got {}", type_name(&value))))
        .and_then(latin1)?;
    if name.is_empty() || !name.iter().copied().all(is_token) {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(PyValueError::new_err(format!("`{}` is not a header name", name.escape_debug())));
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(PyValueError::new_err(format!("the value of header `{name}` contains a line end or a NUL")));
    }
    // RFC 9110 §5.5: space in front is no part of a value.
    let front = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    Ok((name, value.get(front..).unwrap_or_default().to_vec()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

/// The one length of the body. What httpd would refuse is refused here, where
/// the application can be named.
fn content_length(fields: &Fields) -> PyResult<Option<u64>> {
    let mut length = None;
    for (_, value) in fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length")) {
        let bad = || PyValueError::new_err(format!("Content-Length `{}` is not a length", value.escape_ascii()));
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad());
        }
        let number: i64 = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        let number = number.unsigned_abs();
        if length.is_some_and(|known| known != number) {
            return Err(PyValueError::new_err("two headers give different values of Content-Length"));
        }
        length = Some(number);
    }
    Ok(length)
}

/// PEP 3333: native strings hold bytes as latin-1.
fn latin1(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    if let Ok(utf8) = text.to_cow() {
        if utf8.is_ascii() {
            return Ok(utf8.into_owned().into_bytes());
        }
        let bytes: Result<Vec<u8>, _> = utf8.chars().map(u8::try_from).collect();
        if let Ok(bytes) = bytes {
            return Ok(bytes);
        }
    }
    // Raises the UnicodeEncodeError that says which character it is.
    Ok(text.call_method1("encode", ("latin-1",))?.cast_into::<PyBytes>()?.as_bytes().to_vec())
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}
