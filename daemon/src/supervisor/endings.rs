//! The end of workers: what it was, in words and as a failure, and what becomes
//! of the connections they had. Called by `workers` when one was reaped.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

use nix::sys::signal::Signal;
use wsgid_protocol::Failure;

use super::{PoolEntry, Supervisor, WorkerEntry};
use crate::connection::connections::Connection;
use crate::connection::queue_front::QueueFront;
use crate::exit_code::launcher;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::pool::Event;

/// Who had no memory left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// The process group, of what `memory-max` gives it.
    Group,
    Machine,
}

impl Supervisor {
    /// It has ended: why is told, and its requests get their answers.
    pub(super) fn exited(&mut self, id: WorkerId, status: ExitStatus) {
        let now = Instant::now();
        let Some(entry) = self.workers.remove(&id) else {
            return;
        };
        self.spawns.done(id);
        self.reported(id);
        let out_of_memory = self.killed_for_memory(&entry, status);
        let (failure, text) = self.obituary(id, &entry, status, out_of_memory);
        let asked =
            entry.ended_for.is_some() || status.code() == Some(i32::from(crate::exit_code::OK));
        match asked {
            true => tracing::debug!("{text}"),
            false => tracing::error!("{text}"),
        }
        if entry.python.is_none() && !self.pools.get(&entry.pool).is_some_and(PoolEntry::serves) {
            // If one of them is what ended it, it is to end only its requests.
            self.pools
                .get_mut(&entry.pool)
                .into_iter()
                .for_each(|pool| pool.scripts.clear());
        }
        let hopeless = entry.python.is_none()
            && status
                .code()
                .is_some_and(|code| launcher::text(code).is_some());
        if !asked {
            self.note_cause(entry.pool, &text);
            if let Some(group) = self.pools.get(&entry.pool).map(|pool| pool.group.clone()) {
                self.crashed(&group, now);
            }
        }
        self.todo
            .push_back((entry.pool, Event::Exited(id, text.clone(), hopeless)));
        self.settle();
        for connection in entry.connections {
            self.orphaned(connection, failure, &text, now);
        }
    }

    /// PROTOCOL.md §5: what becomes of a connection whose worker died.
    fn orphaned(&mut self, id: u64, failure: Failure, text: &str, now: Instant) {
        match self.connections.get(id).map(Connection::front) {
            None => {}
            Some(QueueFront::Request) => self.hold_and_place(id, true, now),
            Some(_) => {
                let Some(connection) = self.connections.remove(id) else {
                    return;
                };
                connection.close_for_sending();
                match connection.front() {
                    QueueFront::Request => {
                        connection.fail(Failure::NotStarted, Failure::NotStarted.row().text)
                    }
                    _ => connection.fail(failure, text),
                }
            }
        }
    }

    /// How a worker ended, as a failure and in words.
    fn obituary(
        &self,
        id: WorkerId,
        entry: &WorkerEntry,
        status: ExitStatus,
        out_of_memory: Option<Short>,
    ) -> (Failure, String) {
        let name = self
            .pools
            .get(&entry.pool)
            .map(PoolEntry::name)
            .unwrap_or_default();
        let after = entry.started.elapsed().as_secs_f64();
        let how = match (status.signal(), status.code()) {
            (Some(_), _) if out_of_memory == Some(Short::Group) => {
                "was ended by SIGKILL because its process group has used up its memory-max"
                    .to_owned()
            }
            (Some(_), _) if out_of_memory.is_some() => {
                "was ended by SIGKILL because memory ran out".to_owned()
            }
            (Some(number), _) => {
                let signal = Signal::try_from(number)
                    .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
                let core = if status.core_dumped() {
                    " (core dumped)"
                } else {
                    ""
                };
                let hint = match self.started_short_of_memory(entry) {
                    true => {
                        " before it was ready (memory-limit= or virtual-memory-limit= may be too low)"
                    }
                    false => "",
                };
                format!("was ended by {signal}{core}{hint}")
            }
            (None, code) => {
                let code = code.unwrap_or_default();
                match launcher::text(code).filter(|_| entry.python.is_none()) {
                    None if code == 0 && entry.overtime => {
                        "has ended, because a request ran longer than request-timeout and did not stop".to_owned()
                    }
                    Some(why) => format!("did not start: {why} (exit code {code}; its own words are in the log)"),
                    None => format!("exited with code {code}"),
                }
            }
        };
        let drains = self
            .pools
            .get(&entry.pool)
            .is_some_and(|pool| pool.machine.drains(id));
        let failure = match (entry.ended_for, status.signal()) {
            (Some(failure), _) => failure,
            (None, Some(_)) if out_of_memory.is_some() => Failure::OutOfMemory,
            (None, Some(_)) => Failure::WorkerSignalled,
            (None, None) if entry.overtime && status.success() => Failure::RequestTimeout,
            // It was asked to finish, and has given up what could not.
            (None, None) if drains && status.success() => Failure::WorkerStopped,
            (None, None) => Failure::WorkerExited,
        };
        let asked = if entry.ended_for.is_some() {
            " as asked"
        } else {
            ""
        };
        (
            failure,
            format!(
                "{name}: worker {} (slot {}) {how}{asked} after {after:.1} s",
                entry.handle.pid, entry.slot
            ),
        )
    }

    /// Whether it had not come so far as to serve, with a limit on its memory.
    /// Python does not always live to say that it has too little.
    fn started_short_of_memory(&self, entry: &WorkerEntry) -> bool {
        let config = self
            .pools
            .get(&entry.pool)
            .map(|pool| &pool.machine.definition().config);
        entry.python.is_none()
            && config
                .is_some_and(|config| config.memory_limit > 0 || config.virtual_memory_limit > 0)
    }

    /// A SIGKILL that nobody here sent, together with a count of the kernel
    /// that went up, is the work of the out-of-memory killer.
    fn killed_for_memory(&mut self, entry: &WorkerEntry, status: ExitStatus) -> Option<Short> {
        if status.signal() != Some(Signal::SIGKILL as i32) || entry.ended_for.is_some() {
            return None;
        }
        let before = std::mem::replace(&mut self.oom_kills, oom_kills());
        let group = self
            .pools
            .get(&entry.pool)
            .map(|pool| pool.group.as_str())
            .unwrap_or_default();
        match self.resources.groups.has_killed_for_memory(group) {
            true => Some(Short::Group),
            false => (self.oom_kills > before).then_some(Short::Machine),
        }
    }
}

/// How often the kernel has killed for memory.
pub(super) fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or_default()
}
