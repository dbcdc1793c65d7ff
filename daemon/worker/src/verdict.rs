//! How serving a request ended: decided by `application`, told to the client by
//! `serve` and to listeners by `events`. Knows neither Python nor the connection.

use wsgid_protocol::Failure;

/// How a request ends.
pub(crate) enum Verdict {
    /// The answer is in the output, complete.
    Complete,
    /// It failed; `text` is for the log.
    Failed { failure: Failure, text: String },
}
