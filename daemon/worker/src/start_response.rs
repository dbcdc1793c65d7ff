//! `start_response` and the `write` it returns: checks what PEP 3333 says about
//! status and headers, and keeps the head until the first byte of the body.

use std::cell::Cell;
use std::sync::Arc;

use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use wsgid_protocol::limits::{MAX_RESPONSE_FIELDS, MAX_RESPONSE_LEN};
use wsgid_protocol::response::HeadWriter;
use wsgid_protocol::token::is_token;

use crate::exchange::Exchange;
use crate::output::{Head, HeadStage};
use crate::response::wrong_type;
use crate::{events, lock, response, sys};

/// Memory above this is not kept for the next head.
const SCRATCH_MAX: usize = 16 * 1024;

thread_local! {
    /// Where a head is written before it is known to be good.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

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
        let mut head = Head {
            payload: SCRATCH.take(),
            ..Head::default()
        };
        head.payload.clear();
        let accepted = write_head(&mut head, status, headers).and_then(|()| {
            let mut output = lock::attached(py, &self.exchange.output);
            if output.has_ended() {
                return Err(PyRuntimeError::new_err(
                    "start_response called after the request has ended",
                ));
            }
            if output.stage == HeadStage::Sent {
                // Making the exception runs Python.
                drop(output);
                return Err(match exc_info {
                    Some(info) => exception(info),
                    None => PyRuntimeError::new_err("headers have been sent already"),
                });
            }
            std::mem::swap(&mut output.head, &mut head);
            output.stage = HeadStage::Started;
            Ok(())
        });
        if head.payload.capacity() <= SCRATCH_MAX {
            SCRATCH.set(head.payload);
        }
        accepted?;
        Ok(Write {
            exchange: Arc::clone(&self.exchange),
        })
    }
}

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

/// `sys.exc_info()`; looked into only if it has to be raised.
fn exception_info<'a, 'py>(info: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyTuple>> {
    info.cast::<PyTuple>()
        .map_err(|_| PyRuntimeError::new_err("exception info must be a tuple or None"))
}

/// The head has gone: what is to be raised instead of replacing it.
fn exception(info: &Bound<'_, PyTuple>) -> PyErr {
    let Ok((class, value, traceback)) =
        info.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()
    else {
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

/// Checks status and headers, and writes them to a head whose payload is empty.
fn write_head(
    head: &mut Head,
    status: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| wrong_type("a str for the status", status))?;
    let bytes = sys::latin1(text)?;
    let (status, reason) = read_status(text, bytes.as_bytes())?;
    head.status = status;
    head.length = write_headers(&mut head.payload, status, reason, headers)?;
    Ok(())
}

/// Three digits, and optionally a space and the reason.
fn read_status<'a>(text: &Bound<'_, PyString>, bytes: &'a [u8]) -> PyResult<(u16, &'a [u8])> {
    let (digits, rest) = bytes.split_at_checked(3).ok_or_else(|| bad_status(text))?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ')) {
        return Err(bad_status(text));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        let text = "the status contains a control character";
        return Err(PyValueError::new_err(text));
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(200..=599).contains(&code) {
        let text = format!("status code {code} cannot end a request; expected 200 to 599");
        return Err(PyValueError::new_err(text));
    }
    Ok((code, rest.get(1..).unwrap_or(&[])))
}

fn bad_status(status: &Bound<'_, PyString>) -> PyErr {
    PyValueError::new_err(format!(
        "the status `{status}` is not three digits, a space and a reason"
    ))
}

/// Checks headers, and writes them with a status to `out` as an encoded
/// `ResponseHead`. Returns the one length of the body, if it is announced.
pub(crate) fn write_headers(
    out: &mut Vec<u8>,
    status: u16,
    reason: &[u8],
    headers: &Bound<'_, PyAny>,
) -> PyResult<Option<u64>> {
    let list = headers
        .cast::<PyList>()
        .map_err(|_| wrong_type("a list of headers", headers))?;
    let count = list.len();
    if count > MAX_RESPONSE_FIELDS {
        let text = format!("{count} headers are above the limit of {MAX_RESPONSE_FIELDS}");
        return Err(PyValueError::new_err(text));
    }
    let mut length = None;
    let mut writer = HeadWriter::new(out, status, reason, count);
    for at in 0..count {
        write_field(&mut writer, &list.get_item(at)?, &mut length)?;
    }
    if out.len() > MAX_RESPONSE_LEN as usize {
        let text = format!(
            "response headers of {} bytes are above the limit of {MAX_RESPONSE_LEN}",
            out.len()
        );
        return Err(PyValueError::new_err(text));
    }
    Ok(length)
}

fn write_field(
    writer: &mut HeadWriter<'_>,
    item: &Bound<'_, PyAny>,
    length: &mut Option<u64>,
) -> PyResult<()> {
    let pair = item
        .cast::<PyTuple>()
        .map_err(|_| wrong_type("a tuple for each header", item))?;
    if pair.len() != 2 {
        let count = pair.len();
        let text = format!("a header is a tuple of name and value, got {count} items");
        return Err(PyValueError::new_err(text));
    }
    let name = native_string(&*pair.get_borrowed_item(0)?, "a str for a header name")?;
    let name = name.as_bytes();
    let value = native_string(&*pair.get_borrowed_item(1)?, "a str for a header value")?;
    let value = value.as_bytes();
    if name.is_empty() || !name.iter().copied().all(is_token) {
        let name = String::from_utf8_lossy(name);
        let text = format!("`{}` is not a header name", name.escape_debug());
        return Err(PyValueError::new_err(text));
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let name = String::from_utf8_lossy(name);
        let text = format!("the value of header `{name}` contains a line end or a NUL");
        return Err(PyValueError::new_err(text));
    }
    // RFC 9110 §5.5: space in front is no part of a value.
    let spaces = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let value = &value[spaces.count()..];
    if name.eq_ignore_ascii_case(b"content-length") {
        read_length(value, length)?;
    }
    writer.field(name, value);
    Ok(())
}

/// A part of a header as bytes.
#[inline]
fn native_string<'py>(part: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
    let text = part
        .cast::<PyString>()
        .map_err(|_| wrong_type(what, part))?;
    sys::latin1(text)
}

/// The one length of the body. What httpd would refuse is refused here, where
/// the application can be named.
fn read_length(value: &[u8], length: &mut Option<u64>) -> PyResult<()> {
    let number = decimal(value).ok_or_else(|| {
        let value = value.escape_ascii();
        PyValueError::new_err(format!("Content-Length `{value}` is not a length"))
    })?;
    if length.is_some_and(|known| known != number) {
        let text = "two headers give different values of Content-Length";
        return Err(PyValueError::new_err(text));
    }
    *length = Some(number);
    Ok(())
}

/// A number of digits alone that httpd's signed lengths can hold.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(number.unsigned_abs())
}
