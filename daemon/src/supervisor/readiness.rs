//! Which groups are ready, for the probes that httpd's children answer: the supervisor says so
//! in a file (`ready_file`). Called by the loop.

use std::time::Instant;

use wsgid_policy::pool::Mode;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::readiness::{GroupReadiness, ServerReadiness};

use super::{Supervisor, groups::ProcessGroup, pools::PoolEntry};

impl Supervisor {
    /// When something may have changed.
    pub(super) fn write_readiness(&mut self, now: Instant) {
        if self.ready_file.due.is_some_and(|at| at <= now) {
            self.ready_file.due = None;
            if self.access.newest().is_none() {
                // Nothing is configured yet: that none is missing means nothing.
                return;
            }
            let readiness = self.readiness();
            self.ready_file.write(&readiness, self.access.allowed.get());
        }
    }

    /// Once a second.
    pub(super) fn touch_readiness(&mut self, now: Instant) {
        self.ready_file.touch(now);
    }

    fn readiness(&self) -> ServerReadiness {
        let groups = self.groups.iter().filter(|(_, group)| {
            // A service takes no requests.
            !group.removed && group.definition.config.threads > 0
        });
        ServerReadiness {
            draining: self.lifetime.drains || self.lifetime.is_leaving,
            groups: groups
                .map(|(name, group)| (name.clone(), self.group_readiness(group)))
                .collect(),
        }
    }

    fn group_readiness(&self, group: &ProcessGroup) -> GroupReadiness {
        let pools = group.pools.values().filter_map(|pool| self.pools.get(pool));
        let serving = pools.clone().map(|pool| pool.machine.accepting().count());
        let serving = u32::try_from(serving.sum::<usize>()).unwrap_or(u32::MAX);
        let why = match &group.definition.identity {
            _ if group.stopped => Some("an operator has stopped it".to_owned()),
            _ if group.drains => Some("an operator drains it".to_owned()),
            Err(why) => Some(why.to_string()),
            // A client may make as many of those as it likes.
            Ok(_) => pools
                .filter(|pool| !pool.from_request)
                .find_map(|pool| self.what_is_missing(pool)),
        };
        GroupReadiness {
            ready: why.is_none(),
            taken_out: group.stopped || group.drains,
            capacity: serving.saturating_mul(group.definition.config.threads),
            why,
        }
    }

    /// Why requests for this pool would not be answered by the application; nothing, if
    /// they would.
    fn what_is_missing(&self, pool: &PoolEntry) -> Option<String> {
        let machine = &pool.machine;
        match machine.mode() {
            Mode::Failed { cause, .. } => return Some(cause.clone()),
            Mode::Running if machine.is_idle() && pool.refusing.is_none() => return None,
            Mode::Running => {}
            Mode::Stopped | Mode::Leaving { .. } => return None,
        }
        let mut broken = None;
        for id in machine.accepting() {
            let failed = self.workers.get(&id).map(|worker| &worker.record.failed);
            broken = Some(failed.and_then(|failed| failed.keys().next())?);
        }
        Some(match broken {
            Some(script) => {
                let script = escaped(script.as_os_str().as_encoded_bytes());
                format!("`{script}` failed to load")
            }
            None if machine.is_failing() => {
                let problem = machine.last_problem();
                format!("it does not start: {}", problem.unwrap_or("see the log"))
            }
            None => "it starts".to_owned(),
        })
    }
}
