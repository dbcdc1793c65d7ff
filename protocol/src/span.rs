//! What httpd's children tell the supervisor of requests that are traced, as SPAN frames on a
//! connection of their own (PROTOCOL.md §4, `wsgid:spans`). The module makes them, the
//! supervisor sends them on.

use serde::{Deserialize, Serialize};

/// A message about traces. A receiver of another release leaves out what it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpanMessage {
    /// A request has ended.
    Ended(Span),
}

/// A request that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Which trace it belongs to.
    pub trace_id: [u8; 16],
    /// Its own number: the application has it as its parent.
    pub span_id: [u8; 8],
    /// The span of whoever asked, if that was said.
    pub parent: Option<[u8; 8]>,
    /// The process group.
    pub group: String,
    /// The method.
    pub method: String,
    /// Where the application is mounted (`SCRIPT_NAME`).
    pub route: String,
    /// The status of the response.
    pub status: u16,
    /// The failure's name; empty if there was none.
    pub failure: String,
    /// What is known of its cause.
    pub cause: String,
    /// When httpd received the request, microseconds since the epoch.
    pub start_us: u64,
    /// From there until the answer was complete.
    pub took_us: u64,
    /// The part of it before a worker was asked for.
    pub httpd_us: u64,
    /// What the worker said at the end; none if it did not come to that.
    pub by_worker: Option<WorkerTimes>,
    /// The worker's process id; 0 is not known.
    pub worker: u32,
    /// The request's id in httpd's logs (`%L`).
    pub request_id: String,
    /// Spans of this process that could not be told since the one before.
    pub lost: u64,
}

/// How long a request was a worker's affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTimes {
    /// It waited for a thread, in microseconds.
    pub queue_us: u64,
    /// It was in the application, in microseconds.
    pub application_us: u64,
}

/// The longest text in a span; what is longer is cut.
pub const TEXT_MAX: usize = 1024;
