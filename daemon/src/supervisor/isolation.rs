//! The supervisor's part in keeping sites apart: what belongs to others when definitions
//! change and when a worker starts, the directories of each group's own, and what the
//! launchers say is in force. The restrictions themselves are `crate::isolation`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::isolation::{IsolationPlaces, IsolationReport, IsolationStatus};

use super::Supervisor;
use super::groups::ProcessGroup;
use crate::isolation::neighbours::{far_from, paths_of_others};
use crate::isolation::temporary::TemporaryDirectories;
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::ids::WorkerId;

/// Restrictions that a report may name, and bytes of each text: it comes by the socket
/// that is the site's a moment later.
const PARTS_MAX: usize = 32;
const TEXT_MAX: usize = 512;

/// What isolated groups need.
pub(super) struct IsolatedGroups {
    pub(super) directories: TemporaryDirectories,
    /// Sockets that commands and requests come by.
    sockets: Vec<PathBuf>,
    /// Processes whose launcher has not said yet what is in force, and their groups.
    awaited: BTreeMap<WorkerId, String>,
}

impl IsolatedGroups {
    pub(super) fn new(sockets: Vec<PathBuf>) -> Self {
        Self {
            directories: TemporaryDirectories::new(),
            sockets,
            awaited: BTreeMap::new(),
        }
    }
}

/// Names in each isolated definition what sites of the same user have that isolation
/// would not hide by itself: its workers are replaced when that changes.
pub(super) fn keep_apart(groups: &mut [GroupConfig]) {
    let isolated = |config: &GroupConfig| config.is_isolated();
    let found: Vec<Vec<PathBuf>> = groups
        .iter()
        .map(|config| {
            let same_user = groups.iter().filter(|other| other.user == config.user);
            if isolated(config) {
                far_from(config, same_user)
            } else {
                Vec::new()
            }
        })
        .collect();
    for (config, apart_from) in groups.iter_mut().zip(found) {
        config.apart_from = apart_from;
    }
}

impl Supervisor {
    /// What is ready for a worker that starts now.
    pub(super) fn isolation_places(
        &mut self,
        id: WorkerId,
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
        self.isolation.awaited.insert(id, config.name.clone());
        Ok(places)
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

fn bounded(report: &IsolationReport) -> IsolationReport {
    let bound = |texts: &[String]| {
        let texts = texts.iter().take(PARTS_MAX);
        texts
            .map(|text| super::workers::cut(text.clone(), TEXT_MAX))
            .collect()
    };
    IsolationReport {
        in_force: bound(&report.in_force),
        missing: bound(&report.missing),
    }
}

/// What the status of a group says.
pub(super) fn status(group: &ProcessGroup) -> Option<IsolationStatus> {
    let config = &group.definition.config;
    config.is_isolated().then(|| IsolationStatus {
        preset: config.isolation,
        in_force: group.isolation.in_force.clone(),
        missing: group.isolation.missing.clone(),
    })
}
