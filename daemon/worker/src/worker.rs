//! The state of one worker process that all of its threads share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use wsgid_protocol::control::{FromWorker, RecycleReason, WorkerSpec};

use crate::connection::Connection;
use crate::control::Control;
use crate::errors::Stream;
use crate::exchange::Exchange;
use crate::scheduler::{Finished, Scheduler};
use crate::script::Scripts;
use crate::stats::Stats;

/// What Python prepared.
pub(crate) struct Runtime {
    /// `runtime.py`.
    pub(crate) module: Py<PyModule>,
    /// The environ that each request's is a copy of.
    pub(crate) template: Py<PyDict>,
    /// `mod_wsgi.FileWrapper`.
    pub(crate) file_wrapper: Py<PyAny>,
    /// `sys.stdout` and `sys.stderr`.
    pub(crate) streams: [Py<Stream>; 2],
}

/// One worker process.
pub(crate) struct Worker {
    pub(crate) spec: WorkerSpec,
    pub(crate) scheduler: Scheduler,
    pub(crate) control: Control,
    pub(crate) scripts: Scripts,
    pub(crate) stats: Stats,
    pub(crate) runtime: OnceLock<Runtime>,
    pub(crate) started: Instant,
    /// Takes no further request.
    pub(crate) draining: AtomicBool,
    /// The supervisor has gone: connections are closed after their request.
    pub(crate) orphaned: AtomicBool,
    /// The main thread is to end the process.
    pub(crate) leaving: AtomicBool,
    /// Bits of the reasons that were sent.
    recycled: AtomicU64,
}

impl Worker {
    pub(crate) fn new(spec: WorkerSpec, control: Control, eager: bool) -> io::Result<Arc<Self>> {
        let threads = spec.group.threads as usize;
        Ok(Arc::new(Self {
            scheduler: Scheduler::new(threads, eager)?,
            control,
            scripts: Scripts::default(),
            stats: Stats::default(),
            runtime: OnceLock::new(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            recycled: AtomicU64::new(0),
            spec,
        }))
    }

    /// Asks to be replaced, once for each reason.
    pub(crate) fn recycle(&self, reason: RecycleReason) {
        let bit = 1 << reason as u64;
        if self.recycled.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.control.send(&FromWorker::Recycle(reason));
        }
    }

    /// Asks again although it has asked already.
    pub(crate) fn recycle_again(&self, reason: RecycleReason) {
        self.recycled.fetch_and(!(1 << reason as u64), Ordering::Relaxed);
        self.recycle(reason);
    }

    /// A request has ended: is it time for another process?
    pub(crate) fn request_done(&self, _exchange: &Exchange) {}

    /// A connection left this worker, or not.
    pub(crate) fn hand_back(&self, finished: Finished) {
        match finished {
            Finished::Kept => return,
            Finished::Closed(connection) => {
                connection.shut_down();
                self.close(connection, |connection| FromWorker::Closed { connection });
            }
            Finished::Released(connection) => {
                self.close(connection, |connection| FromWorker::Release { connection });
            }
        }
        self.leave_if_done();
    }

    /// Closes our copy, then says so.
    fn close(&self, connection: Arc<Connection>, message: impl FnOnce(u64) -> FromWorker) {
        let number = connection.number;
        drop(connection);
        self.control.send(&message(number));
    }

    /// Ends the process once nothing is left to do.
    pub(crate) fn leave_if_done(&self) {
        if self.draining.load(Ordering::Acquire) && self.scheduler.pressure().connections == 0 {
            self.leave();
        }
    }

    /// Makes the main thread end the process.
    pub(crate) fn leave(&self) {
        if !self.leaving.swap(true, Ordering::AcqRel) {
            self.control.wake_main();
        }
    }
}
