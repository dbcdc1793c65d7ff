//! Control groups as pools and workers come and go, and who gives way to whom.
//! What the kernel's files are called is `cgroup`'s business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::names;

use super::Supervisor;
use crate::process::cgroup::Cgroups;
use crate::process::procfs;
use crate::process::relatives::{UsageReader, UsageSample};
use crate::sys;
use wsgid_policy::fairness::{Fairness, GREEDY, GroupUse};
use wsgid_policy::ids::PoolId;

/// How often the use of processors is looked at: the time for which a site may
/// take what others want.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many workers are looked at in that time; more take longer.
const WORKERS_AT_A_TIME: usize = 100;
/// How soon it is looked again whether a look is over.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The least weight: of those that give way where there are no control groups.
const NICEST: i32 = 19;

/// All about control groups.
pub(super) struct Resources {
    pub(super) groups: Cgroups,
    fairness: Fairness,
    /// Looks at workers that have no control group.
    lookout: UsageReader,
    looked: Instant,
    processors: usize,
    /// As `procfs::up_and_idle` was at the last look; `None` where it speaks of
    /// more processors than we may use.
    idle: Option<(Duration, Duration)>,
    /// Whether we may give a process back the priority that was taken from it.
    may_raise: bool,
}

impl Resources {
    pub(super) fn new() -> Self {
        let processors = sys::processors();
        let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
        let idle = procfs::up_and_idle().filter(|_| online == i64::try_from(processors).ok());
        Self {
            groups: Cgroups::find(),
            fairness: Fairness::default(),
            lookout: UsageReader::default(),
            looked: Instant::now(),
            processors,
            idle,
            may_raise: nix::unistd::geteuid().is_root(),
        }
    }

    /// Whether somebody can be made to give way.
    fn can_do_something(&self) -> bool {
        self.groups.are_possible() || self.may_raise
    }

    /// Whether so much was left of the processors since the last look that nobody
    /// can have taken much.
    fn is_enough(&mut self) -> bool {
        let (Some(before), Some(now)) = (self.idle, procfs::up_and_idle()) else {
            return false;
        };
        self.idle = Some(now);
        let (up, idle) = (
            now.0.saturating_sub(before.0),
            now.1.saturating_sub(before.1),
        );
        idle.as_secs_f64() >= up.as_secs_f64() * self.processors as f64 * (1.0 - GREEDY)
    }
}

impl Supervisor {
    /// When the next look is due. Nobody can take anything from nobody: with
    /// one pool or worker there is nothing to look at, unless one is held back
    /// that no longer needs to be.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let several = self.pools.len() > 1 && self.workers.len() > 1;
        let held_back = self.resources.fairness.greedy().next().is_some();
        let often = u32::try_from(self.workers.len() / WORKERS_AT_A_TIME)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let looks = (several || held_back) && self.resources.can_do_something();
        let pause = if self.resources.lookout.is_looking() {
            LOOK_AGAIN
        } else {
            LOOK_EVERY * often
        };
        looks.then(|| self.resources.looked + pause)
    }

    /// Sees who takes what others want.
    pub(super) fn look_at_use(&mut self, now: Instant) {
        if self.next_look().is_none_or(|at| at > now) {
            return;
        }
        self.resources.looked = now;
        if self.resources.lookout.is_looking() {
            if let Some(seen) = self.resources.lookout.seen() {
                self.decide(&seen);
            }
            return;
        }
        if self.resources.is_enough() && !self.resources.fairness.is_at_work() {
            return self.resources.fairness.skip(now);
        }
        // A site decides how much there is to look at, so the loop does not.
        let without: Vec<(String, Vec<u32>)> = self
            .pids_by_group()
            .into_iter()
            .filter(|(name, _)| self.resources.groups.used(name).is_none())
            .map(|(name, pids)| (name.to_owned(), pids))
            .collect();
        if without.is_empty() {
            self.decide(&UsageSample {
                at: now,
                used: BTreeMap::new(),
            });
        } else {
            self.resources.lookout.look(without);
        }
    }

    /// Who is to give way from now on, by what was used.
    fn decide(&mut self, seen: &UsageSample) {
        let uses = self.uses(seen);
        for (group, gives_way) in
            self.resources
                .fairness
                .look(seen.at, uses, self.resources.processors)
        {
            tracing::debug!("process group `{group}` gives way to others: {gives_way}");
            match gives_way {
                true => self.contain(&group),
                false => self.set_back(&group, false),
            }
        }
        // All of them: workers were started meanwhile, or bounds have changed.
        let greedy: Vec<String> = self.resources.fairness.greedy().cloned().collect();
        greedy.iter().for_each(|group| self.set_back(group, true));
    }

    /// Sets a group behind the others, or lets it be. Without control groups
    /// there are priorities: weaker, for they count for each process and not for
    /// all together, but most services of httpd have no more.
    fn set_back(&mut self, group: &str, back: bool) {
        match self.resources.groups.are_possible() {
            true => self.resources.groups.set_idle(group, back),
            false => {
                let leaders = self.pids_by_group().remove(group).unwrap_or_default();
                self.resources
                    .lookout
                    .set_nice(leaders, if back { NICEST } else { 0 });
            }
        }
    }

    /// A process of a group that is behind the others starts there: as a member of
    /// its control group or, without, by its priority.
    pub(super) fn start_behind(&self, group: &str, pid: u32) {
        if self.gives_way(group) && !self.resources.groups.are_possible() {
            let _ = sys::set_nice(pid, NICEST);
        }
    }

    /// Before another program goes on, which will see for itself.
    pub(super) fn give_priorities_back(&self) {
        if !self.resources.groups.are_possible() {
            self.resources
                .fairness
                .greedy()
                .for_each(|group| self.set_nice(group, 0));
        }
    }

    /// A worker of this group has ended by itself.
    pub(super) fn crashed(&mut self, group: &str, now: Instant) {
        self.resources.fairness.crashed(group, now);
    }

    /// Whether this group runs only, or mostly, when others do not want to.
    pub(super) fn gives_way(&self, group: &str) -> bool {
        self.resources.fairness.gives_way(group)
    }

    fn set_nice(&self, group: &str, nice: i32) {
        for pid in self.pids_by_group().remove(group).unwrap_or_default() {
            if let Err(error) = sys::set_nice_of_group(pid, nice) {
                tracing::debug!(
                    "the priority of worker {pid} of process group `{group}` stays: {error}"
                );
            }
        }
    }

    /// Processor time so far of every group that has workers.
    fn uses(&self, seen: &UsageSample) -> Vec<GroupUse> {
        self.pids_by_group()
            .into_keys()
            .filter_map(|name| {
                let apart = self.resources.groups.used(name);
                let used = apart.or_else(|| seen.used.get(name).copied())?;
                let config = self.groups.get(name).map(|group| &group.definition.config);
                // With a weight of its own the administrator has decided; so he has
                // with a priority, if priorities are all there is.
                let weighed = |config: &GroupConfig| match self.resources.groups.are_possible() {
                    true => config.cpu_weight > 0,
                    false => config.cpu_weight > 0 || config.cpu_priority.is_some(),
                };
                let exempt = config.is_some_and(weighed);
                Some(GroupUse {
                    group: name.to_owned(),
                    used,
                    exempt,
                    apart: apart.is_some(),
                })
            })
            .collect()
    }

    /// Workers and preloaders.
    fn pids_by_group(&self) -> BTreeMap<&str, Vec<u32>> {
        let workers = self
            .workers
            .values()
            .map(|worker| (worker.pool, worker.handle.pid));
        let mut out = BTreeMap::<&str, Vec<u32>>::new();
        for (pool, pid) in workers.chain(self.preloading.processes()) {
            if let Some(entry) = self.pools.get(&pool) {
                out.entry(&entry.group).or_default().push(pid);
            }
        }
        out
    }

    /// Workers of a group that were started without a control group come into
    /// one; where there are none, they stay as they are.
    fn contain(&mut self, name: &str) {
        let Some(definition) = self.groups.get(name).map(|group| group.definition.clone()) else {
            return;
        };
        match self.resources.groups.contain(&definition.config) {
            Ok(Some(moving)) => moving.start(self.pids_by_group().remove(name).unwrap_or_default()),
            Ok(None) => {}
            Err(why) => tracing::error!("process group `{name}`: {why}"),
        }
    }

    /// Sites of several users are kept apart, also those that began when there
    /// was only one.
    pub(super) fn keep_users_apart(&mut self) {
        if self.has_several_users() {
            let names: Vec<String> = self
                .pids_by_group()
                .into_keys()
                .map(str::to_owned)
                .collect();
            names.iter().for_each(|name| self.contain(name));
        }
    }

    /// Once a second: control groups whose workers have all ended.
    pub(super) fn tidy_control_groups(&mut self) {
        for name in self.resources.groups.names() {
            // One that is held back is so from the first instruction of its next worker.
            if self.has_processes(&name) || self.gives_way(&name) {
                continue;
            }
            let gone = self
                .groups
                .get(&name)
                .is_none_or(|group| group.removed || group.stopped);
            self.resources.groups.leave(&name, gone);
        }
        self.resources.groups.tidy(Instant::now());
    }

    /// Whether sites of more than one user are here. The group of scripts that
    /// name none is always there, used or not, and does not count.
    pub(super) fn has_several_users(&self) -> bool {
        let named = self
            .groups
            .iter()
            .filter(|(name, _)| !names::is_reserved(name));
        let mut uids = named
            .filter_map(|(_, group)| group.definition.identity.as_ref().ok())
            .map(|user| user.uid);
        uids.next()
            .is_some_and(|first| uids.any(|uid| uid != first))
    }

    /// Whether a worker or preloader of this group is there.
    fn has_processes(&self, name: &str) -> bool {
        let is_of = |pool: &PoolId| {
            self.pools
                .get(pool)
                .is_some_and(|entry| entry.group == name)
        };
        self.workers.values().any(|worker| is_of(&worker.pool))
            || self.preloading.processes().any(|(pool, _)| is_of(&pool))
    }
}
