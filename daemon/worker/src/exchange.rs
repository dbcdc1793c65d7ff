//! One request and its answer. Shared by the thread that serves it, the Python
//! objects the application got (`wsgi.input`, `wsgi.errors`, `start_response`),
//! and the ticker. When the request has ended, `output` and `body` have let go
//! of the connection, and whatever the application kept raises.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgid_protocol::Failure;

use crate::body::Body;
use crate::call_facts::CallFacts;
use crate::label::Label;
use crate::meter::Meter;
use crate::output::ResponseOutput;

pub(crate) struct Exchange {
    /// The thread that serves it, from 0.
    pub(crate) slot: usize,
    /// The supervisor's number of the connection.
    pub(crate) connection: u64,
    pub(crate) label: Label,
    /// When the worker took it.
    pub(crate) started: Instant,
    /// For how long it had waited for that, in microseconds.
    pub(crate) queue_us: u64,
    pub(crate) head_only: bool,
    /// Whether a file may leave as a FILE frame.
    pub(crate) file_frames: bool,
    /// Whether the request counts against `inactivity-timeout`.
    pub(crate) counts_as_activity: bool,
    /// When its time was found to be up.
    pub(crate) overtime: OnceLock<Instant>,
    /// Whether an exception was raised in its thread because of that. Written
    /// and read by attached threads only.
    pub(crate) interrupted: AtomicBool,
    /// The worker panicked while it served: the connection is not used again.
    pub(crate) abandoned: AtomicBool,
    /// Requests that still ran when this one had ended; also says that it was
    /// counted out.
    pub(crate) in_flight: OnceLock<u32>,
    pub(crate) application_us: AtomicU64,
    pub(crate) output: Mutex<ResponseOutput>,
    pub(crate) body: Mutex<Body>,
    /// Publishes events, where somebody listens: set once the script is loaded.
    pub(crate) publish: OnceLock<Py<PyAny>>,
    /// Its measures, where somebody wants to know: set at the same time.
    pub(crate) meter: OnceLock<Meter>,
    data: OnceLock<Py<PyDict>>,
}

impl Exchange {
    pub(crate) fn new(
        slot: usize,
        connection: u64,
        label: Label,
        facts: &CallFacts,
        output: ResponseOutput,
        body: Body,
    ) -> Self {
        Self {
            slot,
            connection,
            label,
            started: Instant::now(),
            queue_us: facts.queue_us,
            head_only: facts.head_only,
            file_frames: facts.options.file_frames,
            counts_as_activity: !facts.options.ignore_activity,
            overtime: OnceLock::new(),
            interrupted: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            in_flight: OnceLock::new(),
            application_us: AtomicU64::new(0),
            output: Mutex::new(output),
            body: Mutex::new(body),
            publish: OnceLock::new(),
            meter: OnceLock::new(),
            data: OnceLock::new(),
        }
    }

    /// The dictionary that belongs to this request; made when asked for.
    pub(crate) fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if let Some(data) = self.data.get() {
            return Ok(data.bind(py).clone());
        }
        // Making a dictionary may run finalizers, which may ask for it too: the
        // first one that is set stays.
        let made = PyDict::new(py).unbind();
        let _ = self.data.set(made.clone_ref(py));
        Ok(self.data.get().unwrap_or(&made).bind(py).clone())
    }
}

/// How a request ends: decided by `application`, told to the client by `serve` and to
/// listeners by `events`.
pub(crate) enum Verdict {
    /// The answer is in the output, complete.
    Complete,
    /// It failed; `text` is for the log.
    Failed { failure: Failure, text: String },
}

impl Verdict {
    pub(crate) fn failed(failure: Failure, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Failed { failure, text }
    }
}
