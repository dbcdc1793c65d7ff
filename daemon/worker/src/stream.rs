//! The text streams that applications write to: `wsgi.errors` of a request, and
//! `sys.stdout` and `sys.stderr` of the process. Their lines become log records;
//! `log` decides where a record goes. They have the methods of Python's own text
//! streams, so that code which reconfigures or wraps those finds what it needs.

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use pyo3::exceptions::{PyAttributeError, PyOSError, PyRuntimeError, PyTypeError};
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
    /// What each thread has written without a line end.
    partial: Mutex<Vec<(ThreadId, String)>>,
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

    fn put(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        self.check(py)?;
        if let Some(lines) = self.gather(text) {
            self.log(py, &lines);
        }
        Ok(())
    }

    fn log(&self, py: Python<'_>, lines: &str) {
        match &self.owner {
            StreamOwner::Request(exchange) => {
                log::exchange_lines(py, exchange, level::ERROR, lines)
            }
            StreamOwner::Process => log::lines(py, level::ERROR, lines),
        }
    }

    /// Adds text to the calling thread's line. Returns what is to be written.
    fn gather(&self, text: &str) -> Option<String> {
        let mut partial = lock::detached(&self.partial);
        let mut line = take_own_line(&mut partial).unwrap_or_default();
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        let (whole, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if whole.is_empty() {
            line.push_str(rest);
            if line.len() > LINE_MAX {
                return Some(line);
            }
            if !line.is_empty() {
                partial.push((std::thread::current().id(), line));
            }
            return None;
        }
        line.push_str(whole);
        if !rest.is_empty() {
            partial.push((std::thread::current().id(), rest.to_owned()));
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
    const write_through: bool = false;
    #[classattr]
    const mode: &'static str = "w";

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
        if !self.restricted {
            self.check(py)?;
            self.write_partial(py);
        }
        Ok(())
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

    #[pyo3(signature = (*_args))]
    fn read(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(unsupported(py, "read"))
    }

    #[pyo3(signature = (*_args))]
    fn readline(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(unsupported(py, "readline"))
    }

    #[pyo3(signature = (*_args))]
    fn readlines(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
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

    #[pyo3(signature = (*_args))]
    fn seek(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(unsupported(py, "seek"))
    }

    #[pyo3(signature = (*_args))]
    fn truncate(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
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
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.flush(py)
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

/// What a stream for bytes has from its text stream.
const OF_TEXT: [&str; 9] = [
    "flush", "close", "closed", "fileno", "isatty", "name", "readable", "seekable", "writable",
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

    fn write(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<usize> {
        if bytes.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "a bytes-like object is required, not 'str'",
            ));
        }
        let builtins = py.import("builtins")?;
        let view = builtins.call_method1("memoryview", (bytes,))?;
        let bytes = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        let text = String::from_utf8_lossy(bytes.as_bytes());
        self.text.get().put(py, &text)?;
        bytes.len()
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
fn take_own_line(partial: &mut Vec<(ThreadId, String)>) -> Option<String> {
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
