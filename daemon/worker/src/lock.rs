//! How the worker takes its locks. A panic in one request must not poison the
//! process for the others, so a poisoned lock is taken as it is.
//!
//! The rule that keeps the interpreter lock and these locks apart: a thread
//! that is attached to the interpreter never waits for a lock whose holder may
//! attach meanwhile (`attached` detaches first).

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::Python;
use pyo3::sync::MutexExt;

/// Takes a lock that is only ever held for a few instructions, or one of the
/// others while detached.
pub(crate) fn detached<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a lock whose holder may be waiting for a peer or the interpreter.
pub(crate) fn attached<'a, T>(py: Python<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    mutex
        .lock_py_attached(py)
        .unwrap_or_else(PoisonError::into_inner)
}
