//! What the control thread does with the interpreter: stacks, of all threads or of
//! requests, interrupting a request, the heartbeat. And the last look at a connection that an orphaned
//! worker gives up.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::socket::{MsgFlags, Shutdown, shutdown};
use pyo3::prelude::*;
use pyo3::types::PyType;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::in_flight::{RequestInFlight, WorkerRequests};
use wsgid_protocol::text::cut;
use wsgid_protocol::{Failure, Kind};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::output::ResponseOutput;
use crate::scheduler::Finished;
use crate::worker::Worker;
use crate::{log, report, sys};

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
    /// Tell of the requests with their stacks.
    Requests,
    /// Show where this request is, if it still runs.
    Slow {
        exchange: Arc<Exchange>,
        ident: u64,
    },
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
        InterpreterJob::Requests => {
            let mut told = requests_with_stacks(py, worker);
            told.bound(DUMP_MAX);
            worker.control.send(&FromWorker::Requests(told));
        }
        InterpreterJob::Slow { exchange, ident } => {
            if is_serving(worker, exchange, *ident) {
                log::process(&stacks(py, worker, Some(*ident)));
            }
        }
    }
}

/// A stack is only told for a request that its thread still had when it was looked at.
fn requests_with_stacks(py: Python<'_>, worker: &Worker) -> WorkerRequests {
    let mut told = report::requests(worker);
    told.stacks = true;
    let of = |request: &RequestInFlight| {
        let slot = worker.scheduler.slots.get(request.thread as usize - 1)?;
        let ident = slot.ident.load(Ordering::Relaxed);
        Some((ident, slot.begun.load(Ordering::Relaxed)))
    };
    let before: Vec<_> = told.running.iter().map(of).collect();
    let idents: Vec<u64> = before.iter().flatten().map(|(ident, _)| *ident).collect();
    let mut found: HashMap<u64, String> = worker
        .runtime
        .get()
        .and_then(|runtime| {
            let module = runtime.module.bind(py);
            let found = module.call_method1("stacks_of", (idents,)).ok()?;
            found.extract().ok()
        })
        .unwrap_or_default();
    for (request, before) in told.running.iter_mut().zip(before) {
        if let Some((ident, _)) = before.filter(|_| of(request) == before) {
            request.stack = found.remove(&ident);
        }
    }
    told
}

/// Raises `mod_wsgi.RequestTimeout` in the thread that serves the request.
fn interrupt(py: Python<'_>, worker: &Worker, exchange: &Arc<Exchange>, ident: u64) {
    // Between this look and the end nobody else is attached, so that the thread
    // cannot have gone on to another request.
    if is_serving(worker, exchange, ident)
        && let Some(class) = timeout_class(py, worker)
    {
        exchange.interrupted.store(true, Ordering::Relaxed);
        sys::raise_in_thread(py, ident, Some(&class));
    }
}

fn is_serving(worker: &Worker, exchange: &Arc<Exchange>, ident: u64) -> bool {
    worker.scheduler.serving().any(|(slot, now)| {
        slot.ident.load(Ordering::Relaxed) == ident && Arc::ptr_eq(&now, exchange)
    })
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
