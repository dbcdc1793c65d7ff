//! A process group as it is in force: its configuration, and who its workers
//! become. Made when a configuration is applied; a pool keeps one per
//! generation, so that an old generation is restarted as it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::{Identity, ServerFacts};

/// Why it is not known who a group's workers become. Kept over `wsgid reexec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum IdentityError {
    /// Of `user=`.
    #[error("user `{0}` does not exist; create it or correct user=")]
    NoUser(String),
    /// Of `group=` or `supplementary-groups=`.
    #[error("group `{0}` does not exist; create it or correct group= or supplementary-groups=")]
    NoGroup(String),
    /// Workers never run as root.
    #[error(
        "user `{user}` (uid {uid}, gid {gid}) is root or in root's group; workers never run as root: set user= and group="
    )]
    Root {
        /// Its name.
        user: String,
        /// Its number.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// httpd has none either.
    #[error(
        "there is no user to run as: httpd's directive User or Group is missing; add both, or set user="
    )]
    Nobody,
    /// The system failed.
    #[error("`{what}` cannot be looked up: {errno}")]
    Lookup {
        /// A name, or a number.
        what: String,
        /// The system's reason.
        errno: String,
    },
    /// The configuration is of another release.
    #[error("{0}")]
    NotUnderstood(String),
    /// The program before did not write it.
    #[error("the supervisor before this one did not say who its workers become; reload httpd")]
    NotKept,
}

/// A definition. It does not change; a changed one is another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// The configuration.
    pub config: GroupConfig,
    /// Who its workers become, or why that is not known.
    pub identity: Result<Identity, IdentityError>,
    /// What the workers are told about the server.
    pub server: ServerFacts,
    /// The uid of httpd's children.
    pub httpd_uid: u32,
}

/// What stands for a definition that the program before did not write.
impl Default for Definition {
    fn default() -> Self {
        Self {
            config: GroupConfig::default(),
            identity: Err(IdentityError::NotKept),
            server: ServerFacts::default(),
            httpd_uid: u32::MAX,
        }
    }
}

impl Definition {
    /// Whether nobody defined it.
    pub fn is_missing(&self) -> bool {
        self.config.name.is_empty()
    }

    /// Whether workers of `self` may go on serving under `other`: everything
    /// that a worker was started with is the same.
    pub fn same_workers(&self, other: &Self) -> bool {
        self.identity == other.identity && self.config.same_workers(&other.config)
    }

    /// How long a worker may take to finish its requests when it is replaced.
    pub fn drain_timeout(&self, evicted: bool) -> Duration {
        if evicted && !self.config.eviction_timeout.is_zero() {
            self.config.eviction_timeout
        } else {
            self.config.graceful_timeout
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, value: &str) -> Definition {
        let mut config = GroupConfig::new("site", "a:1");
        config.set(name, value).unwrap();
        Definition {
            config,
            identity: Err(IdentityError::Nobody),
            server: ServerFacts::default(),
            httpd_uid: 33,
        }
    }

    #[test]
    fn only_what_a_worker_sees_replaces_it() {
        let old = definition("threads", "5");
        let mut moved = definition("threads", "5");
        moved.config.origin = "b:2".into();
        moved.config.restart_burst = 7;
        moved.config.runs.add_file("/srv/site/new.py");
        assert!(old.same_workers(&moved));
        // A worker refuses what waits in it beyond its part of the backlog.
        for (name, value) in [
            ("threads", "6"),
            ("listen-backlog", "7"),
            ("connect-timeout", "7"),
        ] {
            assert!(
                !definition("threads", "5").same_workers(&definition(name, value)),
                "{name}"
            );
        }
    }
}
