//! The processes of preloaders, and the spawns that wait for them. What becomes of
//! them is decided by `wsgid_policy::preloaders` and done by `preload`. Knows of pools their
//! numbers alone.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::signal::Signal;
use wsgid_protocol::status::{PreloaderState, PreloaderStatus};
use wsgid_protocol::{control::ToWorker, runs::Runs};

use crate::process::worker_task::Handle;
use wsgid_policy::ids::{Owner, PoolId, WorkerId};
use wsgid_policy::preloaders::{GenerationKey, PreloaderPhase, Preloaders};
use wsgid_policy::spawn_queue::Pending;

/// All about preloaders that is not a decision.
#[derive(Default)]
pub(super) struct PreloaderProcesses {
    pub(super) policy: Preloaders,
    pub(super) running: BTreeMap<WorkerId, PreloaderProcess>,
    /// Spawns that wait for a preloader, or are being forked.
    pub(super) parked: BTreeMap<WorkerId, Pending>,
}

pub(super) struct PreloaderProcess {
    pub(super) key: GenerationKey,
    pub(super) handle: Handle,
    pub(super) owner: Owner,
    pub(super) started: Instant,
    pub(super) ready: bool,
    pub(super) ended: bool,
}

impl PreloaderProcesses {
    /// Tells the preloaders of these pools what their group may run.
    pub(super) fn tell_what_may_run(&self, is_its: impl Fn(PoolId) -> bool, runs: &Runs) {
        for process in self.running.values() {
            if is_its(process.key.0) {
                process.handle.send(ToWorker::Runs(runs.clone()));
            }
        }
    }

    pub(super) fn cancel(&mut self, worker: WorkerId) {
        self.parked.remove(&worker);
        self.policy.cancel(worker);
    }

    /// The pools that have preloaders, and the preloaders' process ids.
    pub(super) fn processes(&self) -> impl Iterator<Item = (PoolId, u32)> {
        let running = self.running.values();
        running.map(|process| (process.key.0, process.handle.pid))
    }

    pub(super) fn process_of(&self, id: WorkerId) -> Option<u32> {
        self.running.get(&id).map(|process| process.handle.pid)
    }

    pub(super) fn has_process(&self, pid: u32) -> bool {
        self.processes().any(|(_, its)| its == pid)
    }

    /// Before another program goes on: it starts preloaders of its own.
    pub(super) fn end_all(&self) {
        for process in self.running.values() {
            process.handle.signal(Signal::SIGKILL);
        }
    }

    pub(super) fn status(&self, key: GenerationKey) -> Option<PreloaderStatus> {
        let (phase, preloader) = self.policy.phase(key)?;
        let state = match phase {
            PreloaderPhase::Loading { .. } => PreloaderState::Loading,
            PreloaderPhase::Ready { .. } => PreloaderState::Ready,
            PreloaderPhase::Resting { .. } => PreloaderState::None,
        };
        let pid = preloader.and_then(|id| self.process_of(id));
        Some(PreloaderStatus { state, pid })
    }
}
