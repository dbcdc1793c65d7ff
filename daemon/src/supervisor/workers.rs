//! The workers as the supervisor has them: what it knows of each process, and the
//! handle of its task. Used by all flows. Knows nothing of pools and connections
//! but their numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use wsgid_protocol::control::{ToWorker, WorkerReport};
use wsgid_protocol::status::EndReason;
use wsgid_protocol::{Failure, text};

use super::in_flight::ToldRequests;
use crate::process::worker_task::Handle;
use wsgid_policy::ids::{ConnectionId, Owner, PoolId, WorkerId};
use wsgid_policy::instant;
use wsgid_policy::watching::Stamps;

/// Scripts of one worker that failed to load.
const FAILED_MAX: usize = 64;
/// Bytes of their names and tracebacks together.
pub(super) const FAILED_LEN_MAX: usize = 32 * 1024;

/// What is known of a worker; crosses `wsgid reexec`.
#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    #[serde(default)]
    pub(super) pid: u32,
    #[serde(default)]
    pub(super) pool: PoolId,
    #[serde(default)]
    pub(super) slot: u32,
    #[serde(default)]
    pub(super) generation: u64,
    #[serde(default)]
    pub(super) owner: Owner,
    #[serde(with = "instant", default = "instant::now")]
    pub(super) started: Instant,
    #[serde(default)]
    pub(super) python: Option<(u32, u32, u32)>,
    /// Since when its control socket has been closed.
    #[serde(with = "instant", default)]
    pub(super) broken: Option<Instant>,
    #[serde(with = "instant", default)]
    pub(super) heartbeat: Option<Instant>,
    /// When the number of requests it reported last changed.
    #[serde(with = "instant", default = "instant::now")]
    pub(super) active_at: Instant,
    #[serde(default)]
    pub(super) report: WorkerReport,
    /// How much of its processor time is in the totals of its group.
    #[serde(default)]
    pub(super) counted_cpu_us: u64,
    /// The code of the failure for which the supervisor ended it, if it did.
    #[serde(default)]
    pub(super) ended_for: Option<u16>,
    /// Why the supervisor ended it, where that was not what somebody asked for.
    #[serde(default)]
    pub(super) ended_by: Option<EndReason>,
    /// What its threads were doing when it was to end and did not.
    #[serde(default)]
    pub(super) stacks: Option<String>,
    /// It said that a request takes too long and cannot be stopped.
    #[serde(default)]
    pub(super) overtime: bool,
    #[serde(default)]
    pub(super) failed: BTreeMap<PathBuf, String>,
    /// What it has loaded.
    #[serde(default)]
    pub(super) stamps: Stamps,
}

pub(super) struct WorkerEntry {
    pub(super) record: WorkerRecord,
    pub(super) handle: Handle,
    pub(super) connections: BTreeSet<ConnectionId>,
    /// When it last gave a request back because it had no thread for it.
    pub(super) gave_back: Option<Instant>,
    /// Since when it has owed an answer.
    pub(super) silent: Option<Instant>,
    /// Who waits for its stacks.
    pub(super) dumps: Vec<Sender<(u32, String)>>,
    pub(super) requests: ToldRequests,
}

impl WorkerEntry {
    pub(super) const fn new(record: WorkerRecord, handle: Handle) -> Self {
        Self {
            record,
            handle,
            connections: BTreeSet::new(),
            gave_back: None,
            silent: None,
            dumps: Vec::new(),
            requests: ToldRequests::new(),
        }
    }

    /// Nothing reaches the worker any more.
    pub(super) fn note_broken(&mut self) {
        self.record.broken.get_or_insert_with(Instant::now);
    }

    pub(super) fn note_report(&mut self, mut report: WorkerReport, now: Instant) {
        let before = &self.record.report;
        report.memory = report.memory.or(before.memory);
        report.cpu_us = report.cpu_us.or(before.cpu_us);
        if report.requests != self.record.report.requests || report.in_flight > 0 {
            self.record.active_at = now;
        }
        if report.running.is_empty() {
            self.requests.forget();
        }
        self.gave_back = None;
        self.silent = None;
        self.record.report = report;
    }
}

#[derive(Default)]
pub(super) struct Workers(BTreeMap<WorkerId, WorkerEntry>);

impl Deref for Workers {
    type Target = BTreeMap<WorkerId, WorkerEntry>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Workers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Workers {
    pub(super) fn has_process(&self, pid: u32) -> bool {
        self.values().any(|worker| worker.record.pid == pid)
    }

    pub(super) fn tell(&self, id: WorkerId, message: ToWorker) {
        if let Some(worker) = self.get(&id) {
            worker.handle.send(message);
        }
    }

    pub(super) fn signal(&self, id: WorkerId, signal: Signal) {
        if let Some(worker) = self.get(&id) {
            worker.handle.signal(signal);
        }
    }

    /// Notes that the supervisor ends a worker because of something; the first reason stays.
    pub(super) fn note_ended_by(&mut self, id: WorkerId, reason: EndReason) {
        if let Some(worker) = self.get_mut(&id) {
            worker.record.ended_by.get_or_insert(reason);
        }
    }

    /// A worker that was told to end has not done so.
    pub(super) fn note_unwilling(&mut self, id: WorkerId) {
        // One that was never ready had nothing to finish.
        let was_ready = |worker: &WorkerEntry| worker.record.python.is_some();
        if self.get(&id).is_some_and(was_ready) {
            self.note_ended_by(id, EndReason::ShutdownTimeout);
        }
    }

    /// Notes that the supervisor ends a worker; the first reason stays. A worker that did
    /// not get rid of a request that takes too long ends for that.
    pub(super) fn note_stopped(&mut self, id: WorkerId) {
        if let Some(WorkerEntry { record, .. }) = self.get_mut(&id) {
            let failure = if record.overtime {
                Failure::RequestTimeout
            } else {
                Failure::WorkerStopped
            };
            record.ended_for.get_or_insert(failure.code());
        }
    }
}

/// Scripts that failed to load and their tracebacks, which a tenant may have
/// made up: kept, but not without bound.
pub(super) fn believable(failed: Vec<(PathBuf, String)>) -> BTreeMap<PathBuf, String> {
    let mut room = FAILED_LEN_MAX;
    let mut kept = BTreeMap::new();
    for (path, text) in failed.into_iter().take(FAILED_MAX) {
        let Some(rest) = room.checked_sub(path.as_os_str().len()) else {
            break;
        };
        let text = cut(text, rest);
        room = rest - text.len();
        kept.insert(path, text);
    }
    kept
}

/// So many bytes of a text at most.
pub(super) fn cut(mut text: String, most: usize) -> String {
    text.truncate(text::cut(&text, most).len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_scripts_is_bounded() {
        let said = |count: usize, text: &str| {
            let named =
                (0..count).map(|number| (PathBuf::from(format!("/srv/{number}")), text.to_owned()));
            believable(named.collect())
        };
        assert_eq!(
            said(2, "why").into_values().collect::<Vec<_>>(),
            ["why", "why"]
        );
        assert_eq!(said(1000, "").len(), FAILED_MAX);
        let long = said(10, &"\u{e9}".repeat(5000));
        let len = |(path, text): (&PathBuf, &String)| path.as_os_str().len() + text.len();
        assert!(long.len() > 1 && long.iter().map(len).sum::<usize>() <= FAILED_LEN_MAX);
        assert!(
            believable(vec![("x".repeat(FAILED_LEN_MAX + 1).into(), String::new())]).is_empty()
        );
    }
}
