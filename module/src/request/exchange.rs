//! One request and its answer over a connection: takes a connection, sends,
//! has `frames.rs` follow the frames until END or FAIL, and sends again
//! elsewhere when it is certain that no worker has begun (PROTOCOL.md §4).

use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::response::EndReport;

use crate::configuration::groups::Group;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::request::body::BodyTrouble;
use crate::request::frames::{Conversation, Frames};
use crate::request::target::ApplicationGroup;
use crate::workers::child::{self, Child};
use crate::workers::connection::{Connection, Patience, Wait, was_not_taken};
use crate::workers::group_log;
use crate::workers::pool::{PoolOf, Pooled};

/// Why a request did not end well.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A row of the failure table, and a text for the log.
    Failed(Failure, String),
    /// Nobody is there to be answered.
    ClientGone,
    /// httpd's output filters refused or replaced the response.
    Filter,
    /// The request's body broke.
    Body(BodyTrouble),
}

/// Why a wait ended: what a tick found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interruption {
    Timeout,
    ClientGone,
    Stopping,
}

/// What is asked of whom.
pub(crate) struct Exchange<'e, 'r> {
    pub(crate) r: Request<'r>,
    pub(crate) child: &'static Child,
    pub(crate) group: &'e Group,
    pub(crate) application_group: &'e ApplicationGroup,
    /// The encoded head.
    pub(crate) head: &'e [u8],
    /// Time without a byte from the worker.
    pub(crate) timeout: Duration,
    /// When it must be over, whatever comes.
    pub(crate) deadline: Option<Instant>,
}

/// Ticks of waits for this request.
pub(crate) struct Watch<'r> {
    pub(crate) r: Request<'r>,
    pub(crate) timeout: Duration,
    /// See [`Exchange`].
    pub(crate) deadline: Option<Instant>,
    /// Whether there is still a client to look after.
    pub(crate) client: bool,
}

impl Patience for Watch<'_> {
    type Interruption = Interruption;

    fn tick(&mut self, waited: Duration) -> Result<(), Interruption> {
        if child::is_stopping() {
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
    /// No worker has begun it: it may be sent again.
    Again {
        failure: Failure,
        text: String,
        /// It was a worker that said so.
        answered: bool,
    },
    /// It is over.
    Over(Trouble),
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        Self::Over(trouble)
    }
}

/// A connection in use, counted in its pool until it is dropped.
struct Lease<'e> {
    connection: Option<Connection>,
    pool: &'e PoolOf<'e>,
    worker: u32,
}

impl Lease<'_> {
    fn give_back(mut self, report: Option<&EndReport>) {
        if let Some(mut connection) = self.connection.take() {
            if let Some(report) = report {
                connection.note(report);
            }
            self.pool.give_back(self.worker, connection);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            self.pool.end(self.worker);
        }
    }
}

/// How often a request is tried; each try may meet a worker that is just
/// leaving. Idle connections that turn out to be stale do not count: they are
/// used up.
const TRIES_MAX: u32 = 6;

impl<'r> Exchange<'_, 'r> {
    /// Carries it out. After `Ok` the answer is complete.
    pub(crate) fn run(&self, conversation: &mut dyn Conversation<'r>) -> Result<(), Trouble> {
        let held = self.child.crowd.enter(self.group.holder());
        let held = held.map_err(|(failure, text)| {
            self.r.free_thread();
            Trouble::Failed(failure, text)
        })?;
        let outcome = self.try_until_done(&mut Frames::new(self, held.as_ref()), conversation);
        if outcome.is_ok() && conversation.leaves_later() {
            // httpd's thread goes on sending after we have returned.
            self.r.pool().drop_at_end(held);
        }
        outcome
    }

    fn try_until_done(
        &self,
        frames: &mut Frames<'_, 'r>,
        conversation: &mut dyn Conversation<'r>,
    ) -> Result<(), Trouble> {
        let pool = self
            .child
            .pools
            .of(&self.group.name, &self.application_group.name);
        let mut tries = 0;
        loop {
            let (lease, is_fresh) = self.lease(&pool)?;
            let (failure, text, answered) = match self.attempt(lease, frames, conversation) {
                Attempt::Done => return Ok(()),
                Attempt::Over(trouble) => return Err(trouble),
                Attempt::Again {
                    failure,
                    text,
                    answered,
                } => (failure, text, answered),
            };
            if is_fresh || answered {
                tries += 1;
            }
            if tries >= TRIES_MAX {
                return Err(Trouble::Failed(failure, text));
            }
            log::request(self.r, Level::DEBUG, || {
                format!("sent again, no worker has begun it: {text}")
            });
            if tries > 1 {
                std::thread::sleep(Duration::from_millis(5 << tries));
            }
        }
    }

    /// A record of the worker's for the error log.
    pub(crate) fn log(&self, level: u16, record: &[u8]) {
        group_log::write(self.r, self.group, level, record);
    }

    pub(crate) fn watch(&self) -> Watch<'r> {
        Watch {
            r: self.r,
            timeout: self.timeout,
            deadline: self.deadline,
            client: true,
        }
    }

    /// An idle connection, or a new one.
    fn lease<'p>(&self, pool: &'p PoolOf<'p>) -> Result<(Lease<'p>, bool), Trouble> {
        if let Some(connection) = pool.take() {
            let worker = connection.worker();
            return Ok((
                Lease {
                    connection: Some(connection),
                    pool,
                    worker,
                },
                false,
            ));
        }
        let plan = &self.child.plan;
        let opened = Connection::open(plan, self.group, self.application_group, &mut self.watch());
        let connection = opened.map_err(|wait| match wait {
            Wait::Interrupted(interruption) => interrupted(interruption),
            Wait::Io(error) => {
                let socket = plan.socket.as_deref().unwrap_or("-");
                Trouble::Failed(Failure::Unreachable, format!("`{socket}`: {error}"))
            }
        })?;
        Ok((
            Lease {
                connection: Some(connection),
                pool,
                worker: 0,
            },
            true,
        ))
    }

    fn attempt(
        &self,
        mut lease: Lease<'_>,
        frames: &mut Frames<'_, 'r>,
        conversation: &mut dyn Conversation<'r>,
    ) -> Attempt {
        let Some(connection) = lease.connection.as_mut() else {
            return Attempt::Over(Trouble::Failed(
                Failure::WorkerLost,
                "no connection".to_owned(),
            ));
        };
        let flags = if conversation.has_body() { 0 } else { FLAG_END };
        if let Err(wait) =
            connection.send_request(self.head, flags, conversation.inline(), &mut self.watch())
        {
            return match wait {
                Wait::Io(error) if was_not_taken(&error) => not_taken(&error),
                Wait::Io(error) => lost(&error),
                Wait::Interrupted(interruption) => interrupted(interruption).into(),
            };
        }
        match frames.follow(conversation, connection) {
            Ok(Ending { reuse, report }) => {
                if reuse {
                    lease.give_back(Some(&report));
                }
                Attempt::Done
            }
            Err(Stop {
                attempt,
                reuse: true,
            }) => {
                lease.give_back(None);
                attempt
            }
            Err(Stop {
                attempt,
                reuse: false,
            }) => {
                // The worker need not go on for nobody.
                if matches!(attempt, Attempt::Over(_)) {
                    connection.cancel();
                }
                attempt
            }
        }
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

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self {
            attempt: Attempt::Over(trouble),
            reuse: false,
        }
    }
}

pub(crate) fn protocol(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Failed(Failure::Protocol, error.to_string())
}

pub(crate) fn not_taken(error: &std::io::Error) -> Attempt {
    Attempt::Again {
        failure: Failure::WorkerLost,
        text: error.to_string(),
        answered: false,
    }
}

pub(crate) fn lost(error: &std::io::Error) -> Attempt {
    Attempt::Over(Trouble::Failed(Failure::WorkerLost, error.to_string()))
}

pub(crate) fn lost_stop(error: &std::io::Error) -> Stop {
    Stop {
        attempt: lost(error),
        reuse: false,
    }
}

pub(crate) fn interrupted(interruption: Interruption) -> Trouble {
    match interruption {
        Interruption::Timeout => {
            Trouble::Failed(Failure::ResponseTimeout, "the time is over".to_owned())
        }
        Interruption::ClientGone => Trouble::ClientGone,
        Interruption::Stopping => Trouble::Failed(
            Failure::HttpdStopping,
            "the request was given up".to_owned(),
        ),
    }
}
