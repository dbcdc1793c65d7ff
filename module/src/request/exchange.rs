//! One request and its answer over a connection: what is asked of whom, what its waits
//! look at, and how it may end. `attempts.rs` carries it out, `frames.rs` follows the
//! frames.

use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::response::EndReport;

use crate::configuration::groups::{ApplicationGroup, GroupView};
use crate::httpd::request::Request;
use crate::request::body::BodyFault;
use crate::workers::child::Child;
use crate::workers::connection::WaitPolicy;
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

/// Why a wait ended: what a tick found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interruption {
    Timeout,
    ClientGone,
    Stopping,
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
    Done,
    /// No worker has begun the request: it may be sent again.
    Again {
        failure: Failure,
        text: String,
        /// Whether a worker said so.
        answered: bool,
    },
    /// The request has failed.
    Over(ExchangeError),
}

impl From<ExchangeError> for Attempt {
    fn from(trouble: ExchangeError) -> Self {
        Self::Over(trouble)
    }
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

impl From<ExchangeError> for Stop {
    fn from(trouble: ExchangeError) -> Self {
        Self {
            attempt: Attempt::Over(trouble),
            reuse: false,
        }
    }
}

pub(crate) fn protocol(error: &dyn std::fmt::Display) -> ExchangeError {
    ExchangeError::Failed(Failure::Protocol, error.to_string())
}

pub(crate) fn not_taken(error: &std::io::Error) -> Attempt {
    Attempt::Again {
        failure: Failure::WorkerLost,
        text: error.to_string(),
        answered: false,
    }
}

pub(crate) fn lost(error: &std::io::Error) -> Attempt {
    Attempt::Over(ExchangeError::Failed(
        Failure::WorkerLost,
        error.to_string(),
    ))
}

pub(crate) fn lost_stop(error: &std::io::Error) -> Stop {
    Stop {
        attempt: lost(error),
        reuse: false,
    }
}

pub(crate) fn interrupted(interruption: Interruption) -> ExchangeError {
    match interruption {
        Interruption::Timeout => {
            ExchangeError::Failed(Failure::ResponseTimeout, "the time is over".to_owned())
        }
        Interruption::ClientGone => ExchangeError::ClientGone,
        Interruption::Stopping => ExchangeError::Failed(
            Failure::HttpdStopping,
            "the request was given up".to_owned(),
        ),
    }
}
