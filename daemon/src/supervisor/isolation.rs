//! The supervisor's part in keeping sites apart: what belongs to others when definitions
//! change and when a worker starts, the directories of each group's own, and what the
//! launchers say is in force. The restrictions themselves are `crate::isolation`'s.

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::isolation::IsolationPlaces;

use super::Supervisor;
use super::isolated_groups::bounded;
use crate::isolation::neighbours::paths_of_others;
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::ids::WorkerId;

impl Supervisor {
    /// What is ready for a worker that starts now.
    pub(super) fn isolation_places(
        &mut self,
        config: &GroupConfig,
    ) -> Result<IsolationPlaces, String> {
        if !config.is_isolated() {
            return Ok(IsolationPlaces::default());
        }
        let made = self.isolation.directories.of(&config.name);
        let mut places =
            made.map_err(|error| format!("no temporary directory of its own: {error}"))?;
        let all = self.groups.values().map(|group| &group.definition.config);
        places.others = paths_of_others(config, all);
        let sockets = self.isolation.sockets.iter().chain(&self.access.socket);
        places.others.extend(sockets.cloned());
        let files = self.source.iter().map(|source| source.path().to_path_buf());
        places.others.extend(files);
        Ok(places)
    }

    /// Its launcher has started, and is to say what is in force.
    pub(super) fn await_isolation(&mut self, id: WorkerId, config: &GroupConfig) {
        if config.is_isolated() {
            self.isolation.awaited.insert(id, config.name.clone());
        }
    }

    /// Something came from a worker or preloader: its first word is its launcher's.
    pub(super) fn note_isolation(&mut self, id: WorkerId, event: &WorkerEvent) {
        let (WorkerEvent::Says(_) | WorkerEvent::Exited(_)) = event else {
            return;
        };
        let group = self.isolation.awaited.remove(&id);
        let WorkerEvent::Says(FromWorker::Isolated(report)) = event else {
            return;
        };
        let Some(group) = group.and_then(|name| self.groups.get_mut(&name)) else {
            return;
        };
        let report = bounded(report);
        if !report.missing.is_empty() && report.missing != group.isolation.missing {
            log_line!(
                ISOLATION_INCOMPLETE,
                "process group `{}` ({}) is not isolated as isolation={} says: {}",
                group.definition.config.name,
                group.definition.config.origin,
                group.definition.config.isolation.name(),
                report.missing.join("; ")
            );
        }
        group.isolation = report;
    }
}
