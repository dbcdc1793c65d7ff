//! What the control thread does with the interpreter: stacks, interrupting a
//! request, the heartbeat. And the last look at a connection that an orphaned
//! worker gives up.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::socket::{MsgFlags, Shutdown, shutdown};
use pyo3::prelude::*;
use pyo3::types::PyType;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::text::cut;
use wsgid_protocol::{Failure, Kind};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::output::ResponseOutput;
use crate::scheduler::Finished;
use crate::worker::Worker;
use crate::{log, sys};

/// Stacks are cut to this length in `Dumped`.
const DUMP_MAX: usize = 60_000;

/// What needs the interpreter.
pub(crate) enum InterpreterJob {
    Dump,
    Interrupt {
        connection: u64,
    },
    /// Show where this request is, and interrupt it if that is wanted.
    Overtime {
        exchange: Arc<Exchange>,
        ident: u64,
        interrupt: bool,
    },
    /// Say that the interpreter lock can be taken.
    Heartbeat,
}

pub(crate) fn carry_out(py: Python<'_>, worker: &Worker, job: &InterpreterJob) {
    match job {
        InterpreterJob::Heartbeat => worker.control.send(&FromWorker::Heartbeat),
        InterpreterJob::Dump => {
            let text = stacks(py, worker, None);
            log::process(&text);
            let text = cut(&text, DUMP_MAX).to_owned();
            worker.control.send(&FromWorker::Dumped { text });
        }
        InterpreterJob::Interrupt { connection } => {
            for (slot, exchange) in worker.scheduler.serving() {
                if exchange.connection == *connection {
                    interrupt(py, worker, &exchange, slot.ident.load(Ordering::Relaxed));
                }
            }
        }
        InterpreterJob::Overtime {
            exchange,
            ident,
            interrupt: wanted,
        } => {
            let seconds = exchange.started.elapsed().as_secs();
            let what = exchange.label.what();
            log::process(&format!(
                "request `{what}` has been running for {seconds} s, which is above request-timeout"
            ));
            log::process(&stacks(py, worker, Some(*ident)));
            if *wanted {
                interrupt(py, worker, exchange, *ident);
            }
        }
    }
}

/// Raises `mod_wsgi.RequestTimeout` in the thread that serves the request.
fn interrupt(py: Python<'_>, worker: &Worker, exchange: &Arc<Exchange>, ident: u64) {
    // Between this look and the end nobody else is attached, so that the thread
    // cannot have gone on to another request.
    let is_serving = worker.scheduler.serving().any(|(slot, now)| {
        slot.ident.load(Ordering::Relaxed) == ident && Arc::ptr_eq(&now, exchange)
    });
    if is_serving && let Some(class) = timeout_class(py, worker) {
        exchange.interrupted.store(true, Ordering::Relaxed);
        sys::raise_in_thread(py, ident, Some(&class));
    }
}

fn timeout_class<'py>(py: Python<'py>, worker: &Worker) -> Option<Bound<'py, PyType>> {
    let runtime = worker.runtime.get()?.module.bind(py);
    runtime.getattr("RequestTimeout").ok()?.cast_into().ok()
}

/// The stacks of all threads, or of one.
fn stacks(py: Python<'_>, worker: &Worker, ident: Option<u64>) -> String {
    let Some(runtime) = worker.runtime.get() else {
        return String::new();
    };
    let text = runtime
        .module
        .bind(py)
        .call_method1("stacks", (ident,))
        .and_then(|text| text.extract());
    text.unwrap_or_else(|error| format!("the stacks cannot be shown: {error}"))
}

/// PROTOCOL.md §5: without a supervisor an idle connection is closed so that
/// the module's next send fails, and a request that slipped in is refused as
/// one that may be repeated.
pub(crate) fn leave_connection(worker: &Worker, connection: Arc<Connection>) {
    let _ = shutdown(connection.as_fd().as_raw_fd(), Shutdown::Read);
    let mut reader = FrameReader::new(0);
    while matches!(reader.fill(connection.as_fd(), MsgFlags::MSG_DONTWAIT), Ok(count) if count > 0)
    {
        while let Ok(Some(frame)) = reader.next_buffered() {
            if frame.head.kind == Kind::Request && connection.owns(frame.head.id) {
                // The peer may have gone; then there is nobody to tell.
                ResponseOutput::refuse(
                    &connection,
                    frame.head.id,
                    Failure::NotStarted,
                    "the worker has lost its supervisor",
                    true,
                );
            }
        }
    }
    worker.hand_back(Finished::Closed(connection));
}
