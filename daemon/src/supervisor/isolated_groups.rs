//! What isolated groups need of the supervisor: directories of their own, and what their
//! launchers say is in force. `isolation` does what needs the whole supervisor.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::{IsolationReport, IsolationStatus};

use super::groups::ProcessGroup;
use super::workers::cut;
use crate::isolation::neighbours::far_from;
use crate::isolation::temporary::TemporaryDirectories;
use wsgid_policy::ids::WorkerId;

/// Restrictions that a report may name, and bytes of each text: it comes by the socket
/// that is the site's a moment later.
const PARTS_MAX: usize = 32;
const TEXT_MAX: usize = 512;

/// What isolated groups need.
pub(super) struct IsolatedGroups {
    pub(super) directories: TemporaryDirectories,
    /// Sockets that commands and requests come by.
    pub(super) sockets: Vec<PathBuf>,
    /// Processes whose launcher has not said yet what is in force, and their groups.
    pub(super) awaited: BTreeMap<WorkerId, String>,
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

pub(super) fn bounded(report: &IsolationReport) -> IsolationReport {
    let bound = |texts: &[String]| {
        let texts = texts.iter().take(PARTS_MAX);
        texts.map(|text| cut(text.clone(), TEXT_MAX)).collect()
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
