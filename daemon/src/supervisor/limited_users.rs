//! The users that have limits, and whose pools have to be looked at again. Kept for `users`;
//! knows nothing of groups and pools.

use std::collections::{BTreeMap, BTreeSet};

use wsgid_protocol::user_limits::UserLimits;

/// The users that have limits, by their numbers.
#[derive(Default)]
pub(super) struct LimitedUsers {
    pub(super) limits: BTreeMap<u32, UserLimits>,
    /// Those whose pools have changed since processes were last shared.
    pub(super) changed: BTreeSet<u32>,
}

impl LimitedUsers {
    pub(super) fn all(&self) -> Vec<(u32, UserLimits)> {
        let all = self.limits.iter();
        all.map(|(uid, limits)| (*uid, limits.clone())).collect()
    }

    /// Whether control groups hold processes of users together.
    pub(super) fn are_any_bounded(&self) -> bool {
        self.limits.values().any(UserLimits::is_bounded)
    }

    /// Most worker processes.
    pub(super) fn processes(&self, uid: u32) -> Option<usize> {
        let limits = self.limits.get(&uid)?;
        (limits.processes > 0).then_some(limits.processes as usize)
    }
}
