//! Panics of this crate's own code: where they stop, and what is left of them.
//! A panic in a request ends that request (`serve`, `application`); one in a
//! thread without which the process cannot work ends the process (`core`). Also
//! PyO3 panics again where a panic of ours comes back through Python.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::log;

/// Does the work; the text of its panic if it panics.
///
/// What the work had borrowed is seen as the panic left it: the caller throws
/// away or puts right what could be half done. Locks do not poison (`lock`).
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| text(&*payload))
}

/// Does the work; its panic becomes an exception like any other.
pub(crate) fn raised<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    contained(work).unwrap_or_else(|text| {
        let text = format!("panic in the worker: {text}");
        Err(PyRuntimeError::new_err(text))
    })
}

/// Does the work of a thread that the process cannot do without. If it panics
/// or comes to an end, so does the process, in a way that nobody overlooks: the
/// signal shows in the log, and the stacks of all threads before it.
pub(crate) fn vital(thread: &str, work: impl FnOnce()) -> ! {
    let why = match contained(work) {
        Ok(()) => "it returned".to_owned(),
        Err(text) => format!("panic: {text}"),
    };
    log::process(&format!(
        "the {thread} thread cannot go on, so neither can this worker: {why}"
    ));
    std::process::abort()
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
