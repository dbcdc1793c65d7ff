//! The end of workers: what it was, in words and as a failure, and what becomes
//! of the connections they had. Called by `messages` when one was reaped.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Instant, SystemTime};

use nix::sys::signal::Signal;
use wsgid_protocol::Failure;

use super::pools::{Cause, PoolEntry};
use super::worker_end::{EndFacts, WorkerEnd};
use super::workers::{WorkerEntry, WorkerRecord};
use super::{Supervisor, resources::OutOfMemory};
use crate::connection::{connections::RequestConnection, queue_front::QueueFront};
use crate::exit_code::launcher;
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
        let end = self.end_of(id, &worker, status, out_of_memory);
        end.say();
        let text = end.text.clone();
        let was_never_ready = record.python.is_none();
        let is_crash = record.ended_for.is_none() && !status.success();
        if let Some(entry) = self.pools.get_mut(&record.pool) {
            if was_never_ready && !entry.serves() {
                // A script that ended the worker is to end only its own requests.
                entry.scripts.clear();
            }
            let stacks = record.stacks.clone().filter(|_| end.is_for_time());
            entry.note_end(Cause {
                at: SystemTime::now(),
                text: end.text,
                reason: end.reason,
                served: !was_never_ready,
                stacks,
            });
            if is_crash {
                self.resources.fairness.crashed(&entry.group, now);
            }
        }
        self.count_end(id, record, end.reason);
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

    /// Why a worker ended, and how, in words.
    fn end_of(
        &self,
        id: WorkerId,
        worker: &WorkerEntry,
        status: ExitStatus,
        out_of_memory: Option<OutOfMemory>,
    ) -> WorkerEnd {
        let record = &worker.record;
        let entry = self.pools.get(&record.pool);
        let was_asked = record.ended_for.is_some()
            || entry.is_none_or(|entry| entry.machine.is_ending(id)) && status.success();
        let definition = entry.map(|entry| entry.machine.definition());
        let identity = definition.and_then(|definition| definition.identity.as_ref().ok());
        let facts = EndFacts {
            ended_by: record.ended_by,
            out_of_memory,
            user: identity.map_or_else(String::new, |identity| identity.user.clone()),
            is_overtime: record.overtime && (was_asked || status.success()),
            was_asked,
            was_ready: record.python.is_some(),
            unfinished: self.unfinished(worker),
        };
        let reason = facts.reason(status);
        let config = entry.map(|entry| &entry.machine.definition().config);
        let how = facts.how(reason, status, config);
        let text = format!(
            "{}: worker {} (slot {}) {how} after {:.1} s",
            entry.map(PoolEntry::name).unwrap_or_default(),
            record.pid,
            record.slot,
            record.started.elapsed().as_secs_f64()
        );
        WorkerEnd { reason, text }
    }

    /// How many requests a worker had begun.
    fn unfinished(&self, worker: &WorkerEntry) -> usize {
        let fronts = worker.connections.iter();
        let fronts = fronts.filter_map(|id| self.connections.get(*id));
        let begun = |front| matches!(front, QueueFront::Nothing | QueueFront::Other);
        fronts.filter(|one| begun(one.front())).count()
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
