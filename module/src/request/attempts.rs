//! Sends a request until it is answered: takes a connection, sends, has `frames.rs`
//! follow the frames until END or FAIL, and sends again elsewhere when it is certain
//! that no worker has begun (PROTOCOL.md §4). Called by `handler.rs` and `script_call.rs`.

use std::time::Duration;

use wsgid_protocol::Failure;
use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::response::EndReport;

use crate::httpd::log;
use crate::log_ids::LogLine;
use crate::request::exchange::{Attempt, Ending, ExchangeError, RequestExchange, Stop, not_taken};
use crate::request::frames::{FrameHandler, Frames};
use crate::workers::connection::{Wait, WorkerConnection, was_not_taken};
use crate::workers::pool::PoolOf;
use crate::workers::thread_reserve::HeldThread;

/// A request that is counted in the pool of its connection until it is dropped.
struct RequestLease<'e> {
    pool: &'e PoolOf<'e>,
    /// Whose connection was taken; 0 of a new one.
    worker: u32,
}

impl RequestLease<'_> {
    fn give_back(self, connection: WorkerConnection) {
        let pool = self.pool;
        drop(self);
        pool.give_back(connection);
    }
}

impl Drop for RequestLease<'_> {
    fn drop(&mut self) {
        self.pool.end(self.worker);
    }
}

/// How often a request is tried; each try may meet a worker that is just
/// leaving. Idle connections that turn out to be stale do not count: they are
/// used up.
const TRIES_MAX: u32 = 6;

impl<'r> RequestExchange<'_, 'r> {
    /// Carries it out. After `Ok` the answer is complete; what the worker said of it.
    pub(crate) fn run(
        &self,
        handler: &mut dyn FrameHandler<'r>,
    ) -> Result<EndReport, ExchangeError> {
        let held = self.hold_thread()?;
        let _alone = self.child.reserve.count_alone(self.group.key);
        self.r.note_thread(true);
        let outcome = self.try_until_done(&mut Frames::new(self, held.as_ref()), handler);
        self.r.note_thread(false);
        if outcome.is_ok() && handler.leaves_later() {
            // httpd's thread goes on sending after we have returned.
            self.r.pool().drop_at_end(held);
        }
        outcome
    }

    /// Counts the thread of httpd, if it may be spent on this. Where a request around this one has
    /// it already it is counted, and waiting for others would hold it for nothing.
    fn hold_thread(&self) -> Result<Option<HeldThread>, ExchangeError> {
        if self.r.runs_inside_another() {
            return Ok(None);
        }
        self.child.reserve.admit(self.group.into()).map_err(|full| {
            self.r.free_thread();
            ExchangeError::Failed(Failure::QueueFull, full.to_string())
        })
    }

    fn try_until_done(
        &self,
        frames: &mut Frames<'_, 'r>,
        handler: &mut dyn FrameHandler<'r>,
    ) -> Result<EndReport, ExchangeError> {
        let pool = self
            .child
            .pools
            .of(&self.group.name, &self.application_group.name);
        let mut tries = 0;
        loop {
            let idle = pool.take();
            let is_fresh = idle.is_none();
            let running = RequestLease {
                pool: &pool,
                worker: idle.as_ref().map_or(0, WorkerConnection::worker),
            };
            let connection = match idle {
                Some(connection) => connection,
                None => self.open()?,
            };
            let again = match self.attempt(running, connection, frames, handler) {
                Attempt::Done(report) => return Ok(report),
                Attempt::Over(trouble) => return Err(trouble),
                Attempt::Again(again) => again,
            };
            if is_fresh || again.answered {
                tries += 1;
            }
            if tries >= TRIES_MAX {
                return Err(ExchangeError::Failed(again.failure, again.text));
            }
            log::request(self.r, LogLine::DEBUG, || {
                format!("sent again, no worker has begun it: {}", again.text)
            });
            if tries > 1 {
                std::thread::sleep(Duration::from_millis(5 << tries));
            }
        }
    }

    fn open(&self) -> Result<WorkerConnection, ExchangeError> {
        let plan = &self.child.plan;
        WorkerConnection::open(plan, self.group, self.application_group, &mut self.watch()).map_err(
            |wait| match wait {
                Wait::Interrupted(interruption) => interruption.into(),
                Wait::Io(error) => {
                    let socket = plan.socket.as_deref().unwrap_or("-");
                    ExchangeError::Failed(Failure::Unreachable, format!("`{socket}`: {error}"))
                }
            },
        )
    }

    fn attempt(
        &self,
        running: RequestLease<'_>,
        mut connection: WorkerConnection,
        frames: &mut Frames<'_, 'r>,
        handler: &mut dyn FrameHandler<'r>,
    ) -> Attempt {
        let flags = if handler.has_body() { 0 } else { FLAG_END };
        let code = handler.request_code();
        match connection.send_request(self.head, flags, code, handler.inline(), &mut self.watch()) {
            Ok(()) => {}
            Err(Wait::Io(error)) if was_not_taken(&error) => return not_taken(&error),
            Err(wait) => return Attempt::Over(wait.into()),
        }
        match frames.follow(handler, &mut connection) {
            Ok(Ending { reuse, report }) => {
                if reuse {
                    connection.note(&report);
                    running.give_back(connection);
                }
                Attempt::Done(report)
            }
            Err(Stop { attempt, reuse }) => {
                if reuse {
                    running.give_back(connection);
                } else if matches!(attempt, Attempt::Over(_)) {
                    // The worker need not go on for nobody.
                    connection.cancel();
                }
                attempt
            }
        }
    }
}
