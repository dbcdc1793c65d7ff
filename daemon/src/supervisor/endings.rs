//! The end of workers: what it was, in words and as a failure, and what becomes
//! of the connections they had. Called by `messages` when one was reaped.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Instant, SystemTime};

use nix::sys::signal::Signal;
use wsgid_protocol::{Failure, status::EndReason};

use super::pools::{Cause, PoolEntry};
use super::since::seconds;
use super::{Supervisor, resources::OutOfMemory, workers::WorkerRecord};
use crate::connection::{connections::RequestConnection, queue_front::QueueFront};
use crate::exit_code::{self, launcher};
use wsgid_policy::ids::{ConnectionId, WorkerId};
use wsgid_policy::pool::Event;

impl Supervisor {
    /// Tells why a worker has ended, and answers its requests.
    pub(super) fn exited(&mut self, id: WorkerId, status: ExitStatus) {
        let now = Instant::now();
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        let record = &worker.record;
        self.spawns.done(id);
        self.operators.ended(id);
        let out_of_memory = self.killed_for_memory(record, status);
        let failure = self.failure_of(id, record, status, out_of_memory);
        let text = self.exit_cause(record, status, out_of_memory);
        let asked = record.ended_for.is_some() || status.code() == Some(i32::from(exit_code::OK));
        if asked {
            tracing::debug!("{text}");
        } else {
            log_line!(WORKER_ENDED, "{text}");
        }
        let was_never_ready = record.python.is_none();
        if let Some(entry) = self.pools.get_mut(&record.pool) {
            if was_never_ready && !entry.serves() {
                // A script that ended the worker is to end only its own requests.
                entry.scripts.clear();
            }
            entry.note_end(Cause {
                at: seconds(SystemTime::now()),
                text: text.clone(),
                reason: if asked {
                    EndReason::Asked
                } else {
                    EndReason::Exited
                },
                served: !was_never_ready,
                stacks: None,
            });
            if !asked {
                self.resources.fairness.crashed(&entry.group, now);
            }
        }
        self.count_end(id, record, status, failure);
        let hopeless = was_never_ready && status.code().and_then(launcher::text).is_some();
        self.pool_event(record.pool, Event::Exited(id, text.clone(), hopeless));
        for connection in worker.connections {
            self.orphaned(connection, failure, &text, now);
        }
    }

    /// PROTOCOL.md §5: what becomes of a connection whose worker died.
    fn orphaned(&mut self, id: ConnectionId, failure: Failure, text: &str, now: Instant) {
        match self.connections.get(id).map(RequestConnection::front) {
            None => {}
            Some(QueueFront::Request) => self.hold_and_place(id, true, now),
            Some(_) => {
                if let Some(connection) = self.retire(id) {
                    connection.fail(failure, text);
                }
            }
        }
    }

    /// How a worker ended, as a failure.
    fn failure_of(
        &self,
        id: WorkerId,
        record: &WorkerRecord,
        status: ExitStatus,
        out_of_memory: Option<OutOfMemory>,
    ) -> Failure {
        let entry = self.pools.get(&record.pool);
        if let Some(failure) = record.ended_for.and_then(Failure::from_code) {
            failure
        } else if status.signal().is_some() {
            out_of_memory.map_or(Failure::WorkerSignalled, |_| Failure::OutOfMemory)
        } else if record.overtime && status.success() {
            Failure::RequestTimeout
        } else if status.success() && entry.is_some_and(|entry| entry.machine.drains(id)) {
            // The worker was asked to finish, and has given up what could not.
            Failure::WorkerStopped
        } else {
            Failure::WorkerExited
        }
    }

    /// How a worker ended, in words.
    fn exit_cause(
        &self,
        record: &WorkerRecord,
        status: ExitStatus,
        out_of_memory: Option<OutOfMemory>,
    ) -> String {
        let entry = self.pools.get(&record.pool);
        let how = match (out_of_memory, status.signal()) {
            (Some(OutOfMemory::Group), _) => {
                "was ended by SIGKILL because its process group has used up its memory-max"
                    .to_owned()
            }
            (Some(OutOfMemory::Machine), _) => {
                "was ended by SIGKILL because memory ran out".to_owned()
            }
            (None, Some(signal)) => {
                let is_short = entry.is_some_and(|entry| started_short_of_memory(record, entry));
                signalled(signal, status.core_dumped(), is_short)
            }
            (None, None) => exited(record, status.code().unwrap_or_default()),
        };
        let asked = if record.ended_for.is_some() {
            " as asked"
        } else {
            ""
        };
        format!(
            "{}: worker {} (slot {}) {how}{asked} after {:.1} s",
            entry.map(PoolEntry::name).unwrap_or_default(),
            record.pid,
            record.slot,
            record.started.elapsed().as_secs_f64()
        )
    }

    /// Whether a SIGKILL came that nobody here sent, and the kernel has killed for
    /// memory.
    fn killed_for_memory(
        &mut self,
        record: &WorkerRecord,
        status: ExitStatus,
    ) -> Option<OutOfMemory> {
        if status.signal() != Some(Signal::SIGKILL as i32) || record.ended_for.is_some() {
            return None;
        }
        let group = self.pools.group_of(record.pool).unwrap_or_default();
        self.resources.out_of_memory(group)
    }
}

fn signalled(number: i32, has_dumped: bool, is_short_of_memory: bool) -> String {
    let signal = Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
    let core = if has_dumped { " (core dumped)" } else { "" };
    let hint = if is_short_of_memory {
        " before it was ready (memory-limit= or virtual-memory-limit= may be too low)"
    } else {
        ""
    };
    format!("was ended by {signal}{core}{hint}")
}

fn exited(record: &WorkerRecord, code: i32) -> String {
    match launcher::text(code).filter(|_| record.python.is_none()) {
        Some(why) => {
            format!("did not start: {why} (exit code {code}; its own words are in the log)")
        }
        None if code == 0 && record.overtime => {
            "has ended, because a request ran longer than request-timeout and did not stop"
                .to_owned()
        }
        None => format!("exited with code {code}"),
    }
}

/// Whether a worker had not come so far as to serve, with a limit on its memory.
/// Python does not always live to say that it has too little.
fn started_short_of_memory(record: &WorkerRecord, entry: &PoolEntry) -> bool {
    let config = &entry.machine.definition().config;
    record.python.is_none() && (config.memory_limit > 0 || config.virtual_memory_limit > 0)
}
