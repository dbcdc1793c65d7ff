//! Which process groups are ready: a file beside `httpd.sock` that the supervisor writes when
//! that changes and touches once a second, and that httpd's children read for
//! `SetHandler wsgid-health`. So a probe asks neither the supervisor nor a worker. What is
//! ready is decided by the supervisor, what a probe is answered by the module.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Name of the file, beside that of the socket of requests.
pub const FILE: &str = "ready.json";

/// How often a supervisor touches the file.
pub const TOUCHED_EVERY: Duration = Duration::from_secs(1);

/// A supervisor that has not touched it for so long does not work.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReadiness {
    /// `wsgid drain` was said, or the supervisor ends: everything serves on, and nothing is ready.
    pub draining: bool,
    /// The process groups that take requests, by name.
    pub groups: BTreeMap<String, GroupReadiness>,
}

/// How far one process group is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupReadiness {
    /// Whether it answers requests.
    pub ready: bool,
    /// Whether an operator has taken it out (`wsgid stop`, `wsgid drain GROUP`): the
    /// server as a whole may be ready without it.
    pub taken_out: bool,
    /// So many requests its workers serve at a time.
    pub capacity: u32,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl ServerReadiness {
    /// The groups that keep the server from being ready, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let groups = self.groups.iter();
        groups
            .filter(|(_, group)| !group.ready && !group.taken_out)
            .map(|(name, group)| (name.as_str(), group.why.as_deref().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_taken_out_is_not_missed() {
        let group = |ready, taken_out| GroupReadiness {
            ready,
            taken_out,
            ..GroupReadiness::default()
        };
        let readiness = ServerReadiness {
            groups: BTreeMap::from([
                ("ready".into(), group(true, false)),
                ("stopped".into(), group(false, true)),
                ("starts".into(), group(false, false)),
            ]),
            ..ServerReadiness::default()
        };
        assert_eq!(readiness.missing().collect::<Vec<_>>(), [("starts", "")]);
    }
}
