//! Whom a worker becomes, in its specification: found by the supervisor, taken on by the
//! launcher. Pure data; that there is such a user is not looked up here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who a worker becomes. Resolved by the supervisor before it starts one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids, without the primary one.
    pub groups: Vec<u32>,
    /// User name, for `USER` and `LOGNAME`.
    pub user: String,
    /// Home directory, for `HOME`.
    pub home: PathBuf,
    /// Login shell, for `SHELL`; empty if there is none.
    pub shell: PathBuf,
    /// Whether the supervisor is root, so that the launcher must change to it.
    pub change: bool,
}

/// An identity that nobody named is that of no user: no process can become it.
impl Default for Identity {
    fn default() -> Self {
        Self {
            uid: u32::MAX,
            gid: u32::MAX,
            groups: Vec::new(),
            user: String::new(),
            home: PathBuf::new(),
            shell: PathBuf::new(),
            change: true,
        }
    }
}
