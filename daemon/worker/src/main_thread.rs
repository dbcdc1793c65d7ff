//! The main thread of a worker or preloader while it waits: Python runs signal handlers
//! in it, those of the application too. What one of them raises belongs to nobody: it is
//! logged, and neither the process nor a request ends of it. Called by `core`.

use std::os::fd::BorrowedFd;

use pyo3::prelude::*;

use crate::log;

/// Waits until a signal or this worker itself wakes the main thread; `wake` is the read
/// end of its pipe. Returns when all handlers have run.
pub(crate) fn wait(py: Python<'_>, wake: BorrowedFd<'_>) {
    // How often it was woken does not matter. A signal may also end the wait itself.
    let _ = py.detach(|| nix::unistd::read(wake, &mut [0; 64]));
    while let Err(error) = py.check_signals() {
        let what = "exception in a signal handler of the application; the worker goes on";
        log::exception(py, what, &error);
    }
}
