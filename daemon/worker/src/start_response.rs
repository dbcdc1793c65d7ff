//! `start_response` and the `write` it returns: checks what PEP 3333 says about
//! status and headers, and keeps the head until the first byte of the body.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
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
        match (output.stage, exc_info) {
            (Stage::Sent, Some(error)) => return Err(error),
            (Stage::Sent, None) => return Err(PyRuntimeError::new_err("headers have been sent already")),
            _ => {}
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
        response::block(py, &self.exchange, response::bytes(block)?)
    }
}

struct Status {
    code: u16,
    reason: Vec<u8>,
}

/// `(type, value, traceback)`; the exception to raise if the head has gone.
fn exception_info(info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let info = info.cast::<PyTuple>().map_err(|_| PyTypeError::new_err("exception info must be a tuple or None"))?;
    if info.len() != 3 {
        return Err(PyValueError::new_err("exception info must be a tuple of type, value and traceback"));
    }
    let value = info.get_item(1)?;
    if value.is_none() {
        return Ok(PyErr::from_value(info.get_item(0)?));
    }
    Ok(PyErr::from_value(value))
}

/// Three digits, and optionally a space and the reason.
fn read_status(status: &Bound<'_, PyAny>) -> PyResult<Status> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str for the status, got {}", type_name(status))))?;
    let bytes = latin1(text, "status")?;
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
        .and_then(|name| latin1(name, "header name"))?;
    let value = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str for a header value, got {}", type_name(&value))))
        .and_then(|value| latin1(value, "header value"))?;
    if name.is_empty() || !name.iter().copied().all(is_token) {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(PyValueError::new_err(format!("`{}` is not a header name", name.escape_debug())));
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(PyValueError::new_err(format!("the value of header `{name}` contains a line end or a NUL")));
    }
    Ok((name, value))
}

/// RFC 9110 §5.6.2, except that bytes above ASCII are let through as mod_wsgi
/// does; httpd decides about them.
fn is_token(byte: u8) -> bool {
    !byte.is_ascii_control() && !b" ()<>@,;:\\\"/[]?={}".contains(&byte)
}

fn content_length(fields: &Fields) -> PyResult<Option<u64>> {
    let Some((_, value)) = fields.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(b"content-length")) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value).unwrap_or_default().trim();
    let length = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    length.map(Some).ok_or_else(|| PyValueError::new_err(format!("Content-Length `{text}` is not a length")))
}

/// PEP 3333: native strings hold bytes as latin-1.
fn latin1(text: &Bound<'_, PyString>, what: &str) -> PyResult<Vec<u8>> {
    let utf8 = text.to_cow()?;
    if utf8.is_ascii() {
        return Ok(utf8.into_owned().into_bytes());
    }
    let bytes: Result<Vec<u8>, _> = utf8.chars().map(u8::try_from).collect();
    bytes.map_err(|_| PyValueError::new_err(format!("the {what} contains a character outside of latin-1")))
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}
