//! One request and its answer. Shared by the thread that serves it, the Python
//! objects the application got (`wsgi.input`, `wsgi.errors`, `start_response`),
//! and the ticker. When the request has ended, `output` and `body` have let go
//! of the connection, and whatever the application kept raises.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use crate::body::Body;
use crate::output::Output;

/// One request and its answer.
pub(crate) struct Exchange {
    /// The supervisor's number of the connection.
    pub(crate) connection: u64,
    /// Method and path, cut; for `Query` and the log.
    pub(crate) what: String,
    /// When the worker took it.
    pub(crate) started: Instant,
    /// Whether it is a HEAD request.
    pub(crate) head_only: bool,
    /// Whether a file may leave as a FILE frame.
    pub(crate) file_frames: bool,
    /// Whether the request counts against `inactivity-timeout`.
    pub(crate) counts_as_activity: bool,
    /// Whether its time has run out: set by the timers.
    pub(crate) timed_out: AtomicBool,
    /// Microseconds spent in the application.
    pub(crate) application_us: AtomicU64,
    /// The answer.
    pub(crate) output: Mutex<Output>,
    /// The request body.
    pub(crate) body: Mutex<Body>,
}
