//! How a child that the application forked (multiprocessing, a daemon of its own) ends
//! when it comes back to our code: like a Python program, never as a second worker. The
//! descriptors are the affair of `fork_hooks`.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::{log, sys};

/// Code of the application has returned, or has raised this. If it was in a
/// child that it forked, that child has nothing to return to: it ends as a
/// program of Python's would, but what the worker has registered with `atexit`
/// is the worker's.
pub(crate) fn end_child(py: Python<'_>, error: Option<&PyErr>) {
    if !log::is_forked() {
        return;
    }
    let code = error.map_or(0, |error| exit_code(py, error));
    for name in ["stdout", "stderr"] {
        let _ = py
            .import("sys")
            .and_then(|sys| sys.getattr(name)?.call_method0("flush"));
    }
    sys::exit_now(code);
}

fn exit_code(py: Python<'_>, error: &PyErr) -> i32 {
    let asked = error
        .is_instance_of::<PySystemExit>(py)
        .then(|| error.value(py).getattr("code").ok())
        .flatten();
    match asked {
        Some(code) if code.is_none() => 0,
        // As the kernel does: the low byte counts.
        Some(code) if code.is_instance_of::<PyInt>() => code
            .extract::<i64>()
            .map_or(255, |code| (code & 0xff) as i32),
        Some(text) => {
            log::process(&text.to_string());
            1
        }
        None => {
            log::exception(
                py,
                "exception in a process that the application forked",
                error,
            );
            1
        }
    }
}
