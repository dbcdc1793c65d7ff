//! The text streams that applications write to: `wsgi.errors` of a request, and
//! `sys.stdout` and `sys.stderr` of the process. Their lines become log records;
//! `log` decides where a record goes. They have the methods of Python's own text
//! streams, so that code which reconfigures or wraps those finds what it needs.

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use pyo3::exceptions::{PyAttributeError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyDict, PyString, PyTuple};

use wsgid_protocol::failure::level;

use crate::exchange::Exchange;
use crate::{lock, log};

/// A line grows to this length before it is written without its end.
const LINE_MAX: usize = 8 * 1024;

/// Whose lines these are.
enum StreamOwner {
    /// This request's, whichever thread writes them: `wsgi.errors`.
    Request(Arc<Exchange>),
    /// The process's; those of a thread that serves a request belong to that.
    Process,
}

/// A text stream whose lines become log records.
#[pyclass(frozen, module = "mod_wsgi", name = "Stream")]
pub(crate) struct TextStream {
    owner: StreamOwner,
    name: &'static str,
    /// Set by WSGIRestrictStdout: every write raises.
    restricted: bool,
    /// What each thread has written without a line end: bytes, for a character may come
    /// in parts through the stream for bytes.
    partial: Mutex<Vec<(ThreadId, Vec<u8>)>>,
}

impl TextStream {
    pub(crate) fn of_request(exchange: Arc<Exchange>) -> Self {
        Self::new(StreamOwner::Request(exchange), "<wsgi.errors>", false)
    }

    /// `sys.stdout`, or else `sys.stderr`.
    pub(crate) fn of_process(stdout: bool, restricted: bool) -> Self {
        Self::new(
            StreamOwner::Process,
            if stdout { "<stdout>" } else { "<stderr>" },
            restricted,
        )
    }

    const fn new(owner: StreamOwner, name: &'static str, restricted: bool) -> Self {
        Self {
            owner,
            name,
            restricted,
            partial: Mutex::new(Vec::new()),
        }
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.restricted {
            let name = self.name.trim_matches(['<', '>']);
            return Err(PyOSError::new_err(format!(
                "sys.{name} access is restricted by mod_wsgi (WSGIRestrictStdout)"
            )));
        }
        match &self.owner {
            StreamOwner::Request(exchange) if lock::attached(py, &exchange.output).has_ended() => {
                Err(PyRuntimeError::new_err(
                    "wsgi.errors used after its request has ended",
                ))
            }
            _ => Ok(()),
        }
    }

    fn put(&self, py: Python<'_>, text: &[u8]) -> PyResult<()> {
        self.check(py)?;
        if let Some(lines) = self.gather(text) {
            self.log(py, &lines);
        }
        Ok(())
    }

    fn log(&self, py: Python<'_>, lines: &[u8]) {
        let lines = String::from_utf8_lossy(lines);
        match &self.owner {
            StreamOwner::Request(exchange) => {
                log::exchange_lines(py, exchange, level::ERROR, &lines)
            }
            StreamOwner::Process => log::lines(py, level::ERROR, &lines),
        }
    }

    /// Adds text to the calling thread's line. Returns what is to be written.
    fn gather(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut partial = lock::detached(&self.partial);
        let mut line = take_own_line(&mut partial).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let (whole, rest) = text.split_at(end.map_or(0, |at| at + 1));
        if whole.is_empty() {
            line.extend_from_slice(rest);
            if line.len() > LINE_MAX {
                return Some(line);
            }
            if !line.is_empty() {
                partial.push((std::thread::current().id(), line));
            }
            return None;
        }
        line.extend_from_slice(whole);
        if !rest.is_empty() {
            partial.push((std::thread::current().id(), rest.to_vec()));
        }
        Some(line)
    }

    /// Writes what the calling thread has written without a line end.
    fn write_partial(&self, py: Python<'_>) {
        let line = take_own_line(&mut lock::detached(&self.partial));
        if let Some(line) = line {
            self.log(py, &line);
        }
    }

    /// The request of the calling thread is about to end: writes what has no
    /// line end yet.
    pub(crate) fn finish(&self, py: Python<'_>) {
        match &self.owner {
            StreamOwner::Process => self.write_partial(py),
            StreamOwner::Request(_) => {
                let rest = std::mem::take(&mut *lock::detached(&self.partial));
                for (_, line) in rest {
                    self.log(py, &line);
                }
            }
        }
    }
}

#[pymethods]
#[expect(non_upper_case_globals, reason = "the names are Python's")]
impl TextStream {
    #[classattr]
    const closed: bool = false;
    #[classattr]
    const encoding: &'static str = "utf-8";
    #[classattr]
    const errors: &'static str = "backslashreplace";
    #[classattr]
    const newlines: Option<()> = None;
    #[classattr]
    const line_buffering: bool = true;
    #[classattr]
    const write_through: bool = true;
    #[classattr]
    const mode: &'static str = "w";

    fn write(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        self.put(py, readable(text)?.as_bytes())?;
        text.len()
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.put(py, readable(line?.cast::<PyString>()?)?.as_bytes())?;
        }
        Ok(())
    }

    /// Never raises, also when the request has ended: who kept the stream has to be
    /// able to let go of it (`logging.shutdown`).
    fn flush(&self, py: Python<'_>) {
        self.write_partial(py);
    }

    /// Without effect: other code may still write to the stream.
    fn close(&self) {}

    /// The process's streams have the descriptors that lead to the log; a
    /// request's has none.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        match self.owner {
            StreamOwner::Process if self.name == "<stdout>" => Ok(1),
            StreamOwner::Process => Ok(2),
            StreamOwner::Request(_) => Err(unsupported(py, "fileno")),
        }
    }

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

    #[pyo3(signature = (_size = None, /))]
    fn read(&self, py: Python<'_>, _size: Option<i64>) -> PyResult<()> {
        Err(unsupported(py, "read"))
    }

    #[pyo3(signature = (_size = -1, /))]
    fn readline(&self, py: Python<'_>, _size: i64) -> PyResult<()> {
        Err(unsupported(py, "readline"))
    }

    #[pyo3(signature = (_hint = None, /))]
    fn readlines(&self, py: Python<'_>, _hint: Option<i64>) -> PyResult<()> {
        Err(unsupported(py, "readlines"))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<()>> {
        Err(unsupported(py, "read"))
    }

    fn tell(&self, py: Python<'_>) -> PyResult<()> {
        Err(unsupported(py, "tell"))
    }

    #[pyo3(signature = (_cookie, _whence = 0, /))]
    fn seek(&self, py: Python<'_>, _cookie: i64, _whence: i64) -> PyResult<()> {
        Err(unsupported(py, "seek"))
    }

    #[pyo3(signature = (_pos = None, /))]
    fn truncate(&self, py: Python<'_>, _pos: Option<i64>) -> PyResult<()> {
        Err(unsupported(py, "truncate"))
    }

    /// Accepted and without effect: the log is UTF-8, line by line.
    #[pyo3(signature = (**_options))]
    fn reconfigure(&self, _options: Option<&Bound<'_, PyDict>>) {}

    /// The stream for bytes. This one can still be used.
    fn detach(slf: Py<Self>) -> StreamBuffer {
        StreamBuffer { text: slf }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) {
        self.flush(py);
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.name
    }

    #[getter]
    fn buffer(slf: Py<Self>) -> StreamBuffer {
        StreamBuffer { text: slf }
    }
}

/// What a stream for bytes has from its text stream. Encoding and errors are here because
/// mod_wsgi's has them.
const OF_TEXT: [&str; 15] = [
    "flush", "close", "closed", "fileno", "isatty", "name", "readable", "seekable", "writable",
    "read", "tell", "seek", "truncate", "encoding", "errors",
];

/// The same stream for bytes.
#[pyclass(frozen, module = "mod_wsgi", name = "StreamBuffer")]
pub(crate) struct StreamBuffer {
    text: Py<TextStream>,
}

#[pymethods]
#[expect(non_upper_case_globals, reason = "the names are Python's")]
impl StreamBuffer {
    #[classattr]
    const mode: &'static str = "wb";

    /// Takes text too, as mod_wsgi's does. Returns the number of bytes.
    fn write(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<usize> {
        let bytes = as_bytes(bytes)?;
        self.text.get().put(py, bytes.as_bytes())?;
        Ok(bytes.as_bytes().len())
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.text.get().put(py, as_bytes(&line?)?.as_bytes())?;
        }
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) {
        self.text.get().flush(py);
    }

    #[getter]
    fn raw(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// What has nothing to do with bytes is the text stream's.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if OF_TEXT.contains(&name) {
            return self.text.bind(py).getattr(name);
        }
        let text = format!("'mod_wsgi.StreamBuffer' object has no attribute '{name}'");
        Err(PyAttributeError::new_err(text))
    }
}

/// What the calling thread has written without a line end.
fn take_own_line(partial: &mut Vec<(ThreadId, Vec<u8>)>) -> Option<Vec<u8>> {
    if partial.is_empty() {
        return None;
    }
    let thread = std::thread::current().id();
    let at = partial.iter().position(|(owner, _)| *owner == thread)?;
    Some(partial.swap_remove(at).1)
}

/// `io.UnsupportedOperation`, which Python's own streams raise.
fn unsupported(py: Python<'_>, operation: &'static str) -> PyErr {
    py.import("io")
        .and_then(|io| io.call_method1("UnsupportedOperation", (operation,)))
        .map_or_else(|error| error, PyErr::from_value)
}

/// What the stream for bytes was given.
fn as_bytes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let bytes = if value.is_instance_of::<PyString>() {
        value.call_method1("encode", ("utf-8",))?
    } else {
        let builtins = value.py().import("builtins")?;
        let view = builtins.call_method1("memoryview", (value,))?;
        view.call_method0("tobytes")?
    };
    Ok(bytes.cast_into()?)
}

/// The text as UTF-8; lone surrogates are escaped.
fn readable(text: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(text) = text.to_cow() {
        return Ok(text.into_owned());
    }
    let bytes = text
        .call_method1("encode", ("utf-8", "backslashreplace"))?
        .cast_into::<PyBytes>()?;
    Ok(String::from_utf8_lossy(bytes.as_bytes()).into_owned())
}
