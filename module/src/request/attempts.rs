//! Sends a request until it is answered: takes a connection, sends, has `frames.rs`
//! follow the frames until END or FAIL, and sends again elsewhere when it is certain
//! that no worker has begun (PROTOCOL.md §4). Called by `handler.rs` and `script_call.rs`.

use std::time::Duration;

use wsgid_protocol::Failure;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::response::EndReport;

use crate::httpd::log;
use crate::log_ids::LogLine;
use crate::request::exchange::{
    Attempt, Ending, ExchangeError, RequestExchange, Stop, interrupted, lost, not_taken,
};
use crate::request::frames::{FrameHandler, Frames};
use crate::workers::connection::{Wait, WorkerConnection, was_not_taken};
use crate::workers::pool::PoolOf;

/// A connection in use, counted in its pool until it is dropped.
struct Lease<'e> {
    connection: Option<WorkerConnection>,
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

impl<'r> RequestExchange<'_, 'r> {
    /// Carries it out. After `Ok` the answer is complete.
    pub(crate) fn run(&self, handler: &mut dyn FrameHandler<'r>) -> Result<(), ExchangeError> {
        let held = self.child.reserve.admit(self.group.into());
        let held = held.map_err(|full| {
            self.r.free_thread();
            ExchangeError::Failed(Failure::QueueFull, full.to_string())
        })?;
        let outcome = self.try_until_done(&mut Frames::new(self, held.as_ref()), handler);
        if outcome.is_ok() && handler.leaves_later() {
            // httpd's thread goes on sending after we have returned.
            self.r.pool().drop_at_end(held);
        }
        outcome
    }

    fn try_until_done(
        &self,
        frames: &mut Frames<'_, 'r>,
        handler: &mut dyn FrameHandler<'r>,
    ) -> Result<(), ExchangeError> {
        let pool = self
            .child
            .pools
            .of(&self.group.name, &self.application_group.name);
        let mut tries = 0;
        loop {
            let (lease, is_fresh) = self.lease(&pool)?;
            let (failure, text, answered) = match self.attempt(lease, frames, handler) {
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
                return Err(ExchangeError::Failed(failure, text));
            }
            log::request(self.r, LogLine::DEBUG, || {
                format!("sent again, no worker has begun it: {text}")
            });
            if tries > 1 {
                std::thread::sleep(Duration::from_millis(5 << tries));
            }
        }
    }

    /// An idle connection, or a new one.
    fn lease<'p>(&self, pool: &'p PoolOf<'p>) -> Result<(Lease<'p>, bool), ExchangeError> {
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
        let opened =
            WorkerConnection::open(plan, self.group, self.application_group, &mut self.watch());
        let connection = opened.map_err(|wait| match wait {
            Wait::Interrupted(interruption) => interrupted(interruption),
            Wait::Io(error) => {
                let socket = plan.socket.as_deref().unwrap_or("-");
                ExchangeError::Failed(Failure::Unreachable, format!("`{socket}`: {error}"))
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
        handler: &mut dyn FrameHandler<'r>,
    ) -> Attempt {
        let Some(connection) = lease.connection.as_mut() else {
            return Attempt::Over(ExchangeError::Failed(
                Failure::WorkerLost,
                "no connection".to_owned(),
            ));
        };
        let flags = if handler.has_body() { 0 } else { FLAG_END };
        if let Err(wait) =
            connection.send_request(self.head, flags, handler.inline(), &mut self.watch())
        {
            return match wait {
                Wait::Io(error) if was_not_taken(&error) => not_taken(&error),
                Wait::Io(error) => lost(&error),
                Wait::Interrupted(interruption) => interrupted(interruption).into(),
            };
        }
        match frames.follow(handler, connection) {
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
