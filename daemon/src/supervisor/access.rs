//! Who may connect to the socket of requests: httpd's user with the secret of one
//! of its generations, and the users of `socket-user=`. Asked for every HELLO,
//! told by each configuration. Knows nothing of pools and workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::records::unknown_secret;
use crate::connection::{listener::Allowed, socket_acl};

/// A generation of httpd that has children.
#[derive(Serialize, Deserialize)]
pub(crate) struct HttpdGeneration {
    #[serde(default)]
    pub(super) generation: u64,
    /// `None`: the user of the peer is proof enough (standalone).
    #[serde(default = "unknown_secret")]
    pub(super) secret: Option<[u8; 32]>,
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    /// Its last child has gone before the next one was configured.
    #[serde(default)]
    pub(super) ended: bool,
}

pub(super) struct Access {
    pub(super) allowed: Allowed,
    /// Where the socket of requests is.
    pub(super) socket: Option<PathBuf>,
    pub(super) generations: BTreeMap<u64, HttpdGeneration>,
}

impl Access {
    pub(super) const fn new(allowed: Allowed, socket: Option<PathBuf>) -> Self {
        Self {
            allowed,
            socket,
            generations: BTreeMap::new(),
        }
    }

    /// A generation is configured: the successor of those that have ended.
    pub(super) fn begin(&mut self, generation: HttpdGeneration) {
        self.generations.retain(|_, known| !known.ended);
        self.resume(generation);
    }

    /// Goes on with a generation of the program before.
    pub(super) fn resume(&mut self, generation: HttpdGeneration) {
        self.generations.insert(generation.generation, generation);
    }

    /// No child of this generation is left. Returns whether its groups may go:
    /// httpd that restarts at once (SIGHUP) ends its children before it reads its
    /// configuration, so the newest stays until another one follows. Its groups
    /// are what the next children will find.
    pub(super) fn end(&mut self, generation: u64) -> bool {
        let is_newest = self.newest() == Some(generation);
        if !is_newest {
            self.generations.remove(&generation);
        } else if let Some(known) = self.generations.get_mut(&generation) {
            known.ended = true;
        }
        !is_newest
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.generations.keys().next_back().copied()
    }

    pub(super) fn is_used(&self, group: &str) -> bool {
        let mut generations = self.generations.values();
        generations.any(|known| known.groups.contains(group))
    }

    /// Whether a generation has this secret. Each byte of each is looked at, so
    /// that time tells nothing.
    pub(super) fn secret_is_right(&self, secret: &[u8; 32]) -> bool {
        let is_same = |known: &[u8; 32]| {
            let bytes = known.iter().zip(secret);
            bytes.fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
        };
        self.generations.values().fold(false, |found, known| {
            found | known.secret.as_ref().is_none_or(is_same)
        })
    }

    /// Lets those connect whom `socket-user=` names. Returns what is in the way.
    pub(super) fn set_socket_users(
        &self,
        uids: BTreeSet<u32>,
        is_standalone: bool,
    ) -> Option<String> {
        self.allowed.set_socket_uids(uids.clone());
        // All of httpd is one user otherwise.
        let socket = self.socket.as_ref().filter(|_| geteuid().is_root())?;
        let error = socket_acl::admit(socket, &uids).err()?;
        let cure = match (socket_acl::is_forbidden(&error), is_standalone) {
            (true, true) => {
                "add CAP_FOWNER to CapabilityBoundingSet= of the unit that starts this supervisor"
            }
            (true, false) => {
                "add CAP_FOWNER to CapabilityBoundingSet= of the unit that starts httpd"
            }
            (false, true) => "name another place with `socket` in wsgid.toml",
            (false, false) => "choose another place with WSGISocketPrefix",
        };
        Some(format!(
            "socket-user= has no effect: the access list of `{}` cannot be set: {error}; {cure}",
            socket.display()
        ))
    }
}
