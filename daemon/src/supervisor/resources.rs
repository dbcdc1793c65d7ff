//! Control groups as pools and workers come and go, and who gives way to whom.
//! What the kernel's files are called is `cgroup`'s business.

use std::time::{Duration, Instant};

use super::Supervisor;
use crate::cgroup::{Cgroups, Fairness};
use crate::connections::PoolId;

/// How often the use of processors is looked at: the time for which a site may
/// take what others want.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many groups are looked at in that time; more take longer.
const GROUPS_AT_A_TIME: usize = 50;

/// Process groups that nobody configured have names like this.
const OWN_NAMES: &str = "wsgid:";

/// All about control groups.
pub(super) struct Resources {
    pub(super) groups: Cgroups,
    fairness: Fairness,
    looked: Instant,
    processors: usize,
}

impl Resources {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { groups: Cgroups::find(), fairness: Fairness::default(), looked: Instant::now(), processors }
    }

    /// When the next look is due. Nobody can take anything from nobody: with
    /// one group or none there is nothing to look at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let groups = self.groups.len();
        let often = u32::try_from(groups / GROUPS_AT_A_TIME).unwrap_or(u32::MAX).saturating_add(1);
        (groups > 1).then(|| self.looked + LOOK_EVERY * often)
    }

    pub(super) fn look(&mut self, now: Instant) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        self.looked = now;
        for (group, gives_way) in self.fairness.look(now, self.groups.uses(), self.processors) {
            tracing::debug!("process group `{group}` gives way to others: {gives_way}");
            self.groups.set_idle(&group, gives_way);
        }
    }
}

impl Supervisor {
    /// Once a second: control groups whose workers have all ended.
    pub(super) fn tidy_control_groups(&mut self) {
        for name in self.resources.groups.names() {
            if self.has_processes(&name) {
                continue;
            }
            let gone = self.groups.get(&name).is_none_or(|group| group.removed || group.stopped);
            self.resources.groups.leave(&name, gone);
        }
        self.resources.groups.tidy(Instant::now());
    }

    /// Whether sites of more than one user are here. The group of scripts that
    /// name none is always there, used or not, and does not count.
    pub(super) fn has_several_users(&self) -> bool {
        let named = self.groups.iter().filter(|(name, _)| !name.starts_with(OWN_NAMES));
        let mut uids = named.filter_map(|(_, group)| group.definition.identity.as_ref().ok()).map(|user| user.uid);
        uids.next().is_some_and(|first| uids.any(|uid| uid != first))
    }

    /// Whether a worker or preloader of this group is there.
    fn has_processes(&self, name: &str) -> bool {
        let is_of = |pool: &PoolId| self.pools.get(pool).is_some_and(|entry| entry.group == name);
        self.workers.values().any(|worker| is_of(&worker.pool)) || self.preloading.pools().any(|pool| is_of(&pool))
    }
}
