//! The supervisor's numbers for what it keeps, and whose a connection is. They
//! are good for as long as the supervisor lives, also across `wsgid reexec`.

use serde::{Deserialize, Serialize};

/// A worker.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WorkerId(pub u64);

/// A connection for requests.
pub type ConnectionId = u64;

/// A pool.
pub type PoolId = u32;

/// The identity of the process that has had a connection. A child that it
/// forked may have kept the descriptor for ever, so no other identity may ever
/// serve what comes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Nobody: an owner that no worker shares its connections with.
impl Default for Owner {
    fn default() -> Self {
        Self {
            uid: u32::MAX,
            gid: u32::MAX,
        }
    }
}
