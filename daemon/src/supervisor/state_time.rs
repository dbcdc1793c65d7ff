//! Since when a pool or process group is as it is: what the status says, and what
//! crosses `wsgid reexec`. Kept by `condition`. Decides nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wsgid_protocol::status::GroupState;

/// A state, and when it was first seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StateTime {
    state: GroupState,
    at: u64,
}

impl StateTime {
    /// Notes how it is now; gives since when it has been so.
    pub(super) fn note(&mut self, state: GroupState, now: SystemTime) -> u64 {
        if self.state != state || self.at == 0 {
            *self = Self {
                state,
                at: seconds(now),
            };
        }
        self.at
    }

    /// When what was noted last began.
    pub(super) fn at(&self) -> Option<u64> {
        (self.at > 0).then_some(self.at)
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
