//! One request and its answer over a connection: what is asked of whom, what its waits
//! look at, and how it may end. `attempts.rs` carries it out, `frames.rs` follows the
//! frames.

use std::fmt::Display;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::response::EndReport;

use crate::configuration::groups::{ApplicationGroup, GroupView};
use crate::httpd::request::Request;
use crate::request::body::BodyFault;
use crate::workers::child::Child;
use crate::workers::connection::{Wait, WaitPolicy};
use crate::workers::{group_log, stopping};

/// Why a request did not end well.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// A row of the failure table, and a text for the log.
    Failed(Failure, String),
    /// The client has gone.
    ClientGone,
    /// httpd's output filters refused or replaced the response.
    Filter,
    /// The request's body broke.
    Body(BodyFault),
}

impl ExchangeError {
    /// The status of the answer while nothing has left; `None` where httpd has one.
    pub(crate) fn status(&self) -> Option<i32> {
        match self {
            Self::Failed(failure, _) => Some(failure.row().status.into()),
            Self::ClientGone => Some(Failure::ClientGone.row().status.into()),
            Self::Filter => None,
            Self::Body(fault) => Some(fault.status),
        }
    }
}

/// Why a wait ended: what a tick found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interruption {
    Timeout,
    ClientGone,
    Stopping,
}

impl From<Interruption> for ExchangeError {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Timeout => {
                Self::Failed(Failure::ResponseTimeout, "the time is over".to_owned())
            }
            Interruption::ClientGone => Self::ClientGone,
            Interruption::Stopping => Self::Failed(
                Failure::HttpdStopping,
                "the request was given up".to_owned(),
            ),
        }
    }
}

impl From<Wait<Interruption>> for ExchangeError {
    fn from(wait: Wait<Interruption>) -> Self {
        match wait {
            Wait::Interrupted(interruption) => interruption.into(),
            Wait::Io(error) => Self::Failed(Failure::WorkerLost, error.to_string()),
        }
    }
}

/// One request: what is asked, of which group, and for how long.
pub(crate) struct RequestExchange<'e, 'r> {
    pub(crate) r: Request<'r>,
    pub(crate) child: &'static Child,
    pub(crate) group: &'e GroupView,
    pub(crate) application_group: &'e ApplicationGroup,
    /// The encoded head.
    pub(crate) head: &'e [u8],
    /// Time without a byte from the worker.
    pub(crate) timeout: Duration,
    /// When the request must be over, whatever comes.
    pub(crate) deadline: Option<Instant>,
}

impl<'r> RequestExchange<'_, 'r> {
    /// A record of the worker's for the error log.
    pub(crate) fn log(&self, level: u16, record: &[u8]) {
        group_log::write(self.r, self.group, level, record);
    }

    pub(crate) fn watch(&self) -> RequestWatch<'r> {
        RequestWatch {
            r: self.r,
            timeout: self.timeout,
            deadline: self.deadline,
            client: true,
        }
    }
}

/// Ticks of waits for this request.
pub(crate) struct RequestWatch<'r> {
    pub(crate) r: Request<'r>,
    pub(crate) timeout: Duration,
    /// See [`RequestExchange`].
    pub(crate) deadline: Option<Instant>,
    /// Whether there is still a client to look after.
    pub(crate) client: bool,
}

impl WaitPolicy for RequestWatch<'_> {
    type Interruption = Interruption;

    fn tick(&mut self, waited: Duration) -> Result<(), Interruption> {
        if stopping::is_stopping() {
            return Err(Interruption::Stopping);
        }
        if self.client && self.r.client_has_gone() {
            return Err(Interruption::ClientGone);
        }
        let is_late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if is_late || (!self.timeout.is_zero() && waited >= self.timeout) {
            return Err(Interruption::Timeout);
        }
        Ok(())
    }
}

/// How one attempt ended.
pub(crate) enum Attempt {
    /// The answer is complete.
    Done(EndReport),
    /// No worker has begun the request: it may be sent again.
    Again(UnbegunRequest),
    /// The request has failed.
    Over(ExchangeError),
}

/// Why no worker has begun a request.
pub(crate) struct UnbegunRequest {
    pub(crate) failure: Failure,
    pub(crate) text: String,
    /// Whether a worker said so.
    pub(crate) answered: bool,
}

/// How a request that was answered leaves its connection.
pub(crate) struct Ending {
    pub(crate) reuse: bool,
    /// What the worker said of itself.
    pub(crate) report: EndReport,
}

/// How a request that was not answered leaves its connection.
pub(crate) struct Stop {
    pub(crate) attempt: Attempt,
    pub(crate) reuse: bool,
}

impl<E: Into<ExchangeError>> From<E> for Stop {
    fn from(trouble: E) -> Self {
        Self {
            attempt: Attempt::Over(trouble.into()),
            reuse: false,
        }
    }
}

pub(crate) fn protocol(error: impl Display) -> ExchangeError {
    ExchangeError::Failed(Failure::Protocol, error.to_string())
}

/// The connection ended before a worker took the request.
pub(crate) fn not_taken(error: &std::io::Error) -> Attempt {
    Attempt::Again(UnbegunRequest {
        failure: Failure::WorkerLost,
        text: error.to_string(),
        answered: false,
    })
}
