//! Where text goes: to the virtual host's error log while a request is served
//! (LOG frames of that request), to the process's standard error otherwise, or to both.
//! Called by `stream`, `LogHandler`, and wherever an exception is reported.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use wsgid_protocol::failure::level;
use wsgid_protocol::request_line;

use crate::exchange::Exchange;
use crate::lock;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

/// Set in a process that the application forked: requests are not its business. One that
/// was forked to be a worker takes it back.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether what belongs to a request goes to the process's standard error too
/// (`request-log=On`).
static COPIED: AtomicBool = AtomicBool::new(false);

pub(crate) fn copy_requests(on: bool) {
    COPIED.store(on, Ordering::Relaxed);
}

/// The calling thread serves this request from now on, or none.
pub(crate) fn set_current(exchange: Option<Arc<Exchange>>) {
    drop(CURRENT.replace(exchange));
}

pub(crate) fn current() -> Option<Arc<Exchange>> {
    if is_forked() {
        return None;
    }
    CURRENT.with_borrow(Clone::clone)
}

pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

pub(crate) fn set_forked(is_forked: bool) {
    FORKED.store(is_forked, Ordering::Relaxed);
}

/// Writes each line as a record of the calling thread's request, or to standard
/// error.
pub(crate) fn lines(py: Python<'_>, level: u16, text: &str) {
    match current() {
        Some(exchange) => exchange_lines(py, &exchange, level, text),
        // The pipe may be full; that must not hold up the interpreter.
        None => py.detach(|| process(text)),
    }
}

pub(crate) fn exchange_lines(py: Python<'_>, exchange: &Exchange, level: u16, text: &str) {
    let is_copied = COPIED.load(Ordering::Relaxed);
    let others: Vec<&str> = {
        let mut output = lock::attached(py, &exchange.output);
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .filter(|line| !output.log(level, line.as_bytes()) || is_copied)
            .collect()
    };
    if !others.is_empty() {
        let id = exchange.label.request_id();
        let others: Vec<String> = others
            .into_iter()
            .map(|line| request_line::marked(&id, line))
            .collect();
        py.detach(|| process(&others.join("\n")));
    }
}

/// Writes to the process's standard error, a pipe to the supervisor. What it
/// does not take is lost: there is nowhere else to say so.
pub(crate) fn process(text: &str) {
    let mut line = String::with_capacity(text.len() + 1);
    line.push_str(text);
    if !text.ends_with('\n') {
        line.push('\n');
    }
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Reports an exception with its traceback; `what` says in a line where it
/// came from.
pub(crate) fn exception(py: Python<'_>, what: &str, error: &PyErr) {
    lines(py, level::ERROR, what);
    lines(py, level::ERROR, &traceback(py, error));
}

/// The traceback as Python prints it. What is raised while it is made is not lost: in the
/// main thread that may be another signal handler's.
pub(crate) fn traceback(py: Python<'_>, error: &PyErr) -> String {
    formatted(py, error).unwrap_or_else(|other| format!("{error}\n(without traceback: {other})"))
}

fn formatted(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let lines = py.import("traceback")?.call_method1(
        "format_exception",
        (error.get_type(py), error.value(py), error.traceback(py)),
    )?;
    let text = pyo3::types::PyString::new(py, "").call_method1("join", (lines,))?;
    Ok(text.str()?.to_string_lossy().into_owned())
}
