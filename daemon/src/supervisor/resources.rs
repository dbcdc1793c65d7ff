//! What process groups share of the machine: their control groups, their part of
//! the processors, and whether the kernel killed for memory. Told by `sharing` what
//! runs. What the kernel's files are called is `cgroup`'s business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use wsgid_protocol::GroupConfig;

use super::groups::ProcessGroups;
use crate::process::cgroup::{Cgroups, MemoryBound};
use crate::process::procfs;
use crate::process::relatives::{UsageReader, UsageSample};
use crate::sys;
use wsgid_policy::fairness::{Fairness, GREEDY, GroupUse};

/// How often the use of processors is looked at: the time for which a site may
/// take what others want.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many workers are looked at in that time; more take longer.
const WORKERS_AT_A_TIME: usize = 100;
/// How soon it is looked again whether a look is over.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The least weight: of those that give way where there are no control groups.
const NICEST: i32 = 19;

pub(super) type Processes = BTreeMap<String, Vec<u32>>;

/// Who had no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfMemory {
    /// The process group, of what `memory-max` gives it.
    Group,
    /// All groups of its user, of what `[user.NAME]` gives them.
    User,
    Machine,
}

/// The machine as far as groups share it.
pub(super) struct Resources {
    pub(super) groups: Cgroups,
    pub(super) fairness: Fairness,
    /// Looks at workers that have no control group.
    lookout: UsageReader,
    looked: Instant,
    processors: usize,
    /// `procfs::up_and_idle` at the last look, unless it speaks of more processors than
    /// we may use.
    idle: Option<(Duration, Duration)>,
    /// Whether we may give a process back the priority that was taken from it.
    may_raise: bool,
    oom_kills: u64,
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
            oom_kills: oom_kills(),
        }
    }

    /// When the next look is due. With one pool or worker nobody takes anything
    /// from another: there is nothing to look at, unless a group is held back
    /// that no longer needs to be.
    pub(super) fn next_look(&self, pools: usize, workers: usize) -> Option<Instant> {
        let several = pools > 1 && workers > 1;
        let held_back = self.fairness.greedy().next().is_some();
        let can_do_something = self.groups.are_possible() || self.may_raise;
        if !((several || held_back) && can_do_something) {
            return None;
        }
        let often = u32::try_from(workers / WORKERS_AT_A_TIME)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let pause = if self.lookout.is_looking() {
            LOOK_AGAIN
        } else {
            LOOK_EVERY * often
        };
        Some(self.looked + pause)
    }

    pub(super) fn look(&mut self, processes: &Processes, groups: &ProcessGroups, now: Instant) {
        self.looked = now;
        if self.lookout.is_looking() {
            if let Some(seen) = self.lookout.seen() {
                self.decide(&seen, processes, groups);
            }
            return;
        }
        if self.is_enough() && !self.fairness.is_at_work() {
            return self.fairness.skip(now);
        }
        // A site decides how much there is to look at, so the loop does not.
        let without: Vec<(String, Vec<u32>)> = processes
            .iter()
            .filter(|(name, _)| !self.groups.counts(name))
            .map(|(name, pids)| (name.clone(), pids.clone()))
            .collect();
        if without.is_empty() {
            let nothing = UsageSample {
                at: now,
                used: BTreeMap::new(),
            };
            self.decide(&nothing, processes, groups);
        } else {
            self.lookout.look(without);
        }
    }

    /// Whether so much was left of the processors since the last look that nobody
    /// can have taken much.
    fn is_enough(&mut self) -> bool {
        let (Some(before), Some(now)) = (self.idle, procfs::up_and_idle()) else {
            return false;
        };
        self.idle = Some(now);
        let up = now.0.saturating_sub(before.0);
        let idle = now.1.saturating_sub(before.1);
        idle.as_secs_f64() >= up.as_secs_f64() * self.processors as f64 * (1.0 - GREEDY)
    }

    /// Who is to give way from now on, by what was used.
    fn decide(&mut self, seen: &UsageSample, processes: &Processes, groups: &ProcessGroups) {
        let uses = self.uses(seen, processes, groups);
        for (group, gives_way) in self.fairness.look(seen.at, uses, self.processors) {
            tracing::trace!("process group `{group}` gives way to others: {gives_way}");
            if gives_way {
                self.contain(&group, processes, groups);
            } else {
                self.set_back(&group, processes, false);
            }
        }
        // All of them: workers were started meanwhile, or bounds have changed.
        let greedy: Vec<String> = self.fairness.greedy().cloned().collect();
        for group in greedy {
            self.set_back(&group, processes, true);
        }
    }

    /// Processor time so far of every group that has workers.
    fn uses(
        &self,
        seen: &UsageSample,
        processes: &Processes,
        groups: &ProcessGroups,
    ) -> Vec<GroupUse> {
        let mut uses = Vec::new();
        for name in processes.keys() {
            let apart = self.groups.used(name);
            let config = groups.config(name);
            if let Some(used) = apart.or_else(|| seen.used.get(name).copied()) {
                uses.push(GroupUse {
                    group: name.clone(),
                    used,
                    exempt: config.is_some_and(|config| self.is_exempt(config)),
                    apart: apart.is_some(),
                });
            }
        }
        uses
    }

    /// With a weight of its own the administrator has decided; so he has with a
    /// priority, if priorities are all there is.
    fn is_exempt(&self, config: &GroupConfig) -> bool {
        config.cpu_weight > 0 || (config.cpu_priority.is_some() && !self.groups.are_possible())
    }

    /// Sets a group behind the others, or lets it be. Without control groups
    /// there are priorities: weaker, for they count for each process and not for
    /// all together, but most services of httpd have no more.
    fn set_back(&mut self, group: &str, processes: &Processes, back: bool) {
        if self.groups.are_possible() {
            self.groups.set_idle(group, back);
        } else {
            let leaders = processes.get(group).cloned().unwrap_or_default();
            let nice = if back { NICEST } else { 0 };
            self.lookout.set_nice(leaders, nice);
        }
    }

    /// A process of a group that gives way does so from its start: by its control group
    /// or, without, by its priority.
    pub(super) fn start_behind(&self, group: &str, pid: u32) {
        if self.fairness.gives_way(group) && !self.groups.are_possible() {
            let _ = sys::set_nice(pid, NICEST);
        }
    }

    /// Before another program goes on, which will see for itself.
    pub(super) fn give_priorities_back(&self, processes: &Processes) {
        if self.groups.are_possible() {
            return;
        }
        for group in self.fairness.greedy() {
            for pid in processes.get(group).into_iter().flatten() {
                if let Err(error) = sys::set_nice_of_group(*pid, 0) {
                    tracing::trace!(
                        "the priority of worker {pid} of process group `{group}` stays: {error}"
                    );
                }
            }
        }
    }

    /// Workers of a group that were started without a control group come into
    /// one; where there are none, they stay as they are.
    pub(super) fn contain(&mut self, name: &str, processes: &Processes, groups: &ProcessGroups) {
        let Some(config) = groups.config(name) else {
            return;
        };
        match self.groups.contain(config, groups.owner(name)) {
            Ok(Some(moving)) => moving.start(processes.get(name).cloned().unwrap_or_default()),
            Ok(None) => {}
            Err(why) => log_line!(NO_CONTROL_GROUP, "process group `{name}`: {why}"),
        }
    }

    /// Leaves control groups whose workers have all ended.
    pub(super) fn tidy(&mut self, processes: &Processes, groups: &ProcessGroups, now: Instant) {
        for name in self.groups.names() {
            // One that is held back is so from the first instruction of its next worker.
            if processes.contains_key(&name) || self.fairness.gives_way(&name) {
                continue;
            }
            let has_gone = groups
                .get(&name)
                .is_none_or(|group| group.removed || group.stopped);
            self.groups.leave(&name, has_gone);
        }
        self.groups.tidy(now);
    }

    /// Whose memory has run out, when a worker got a SIGKILL that nobody here
    /// sent: together with a count of the kernel that went up, that is the work
    /// of the out-of-memory killer.
    pub(super) fn out_of_memory(&mut self, group: &str) -> Option<OutOfMemory> {
        let before = std::mem::replace(&mut self.oom_kills, oom_kills());
        match self.groups.has_killed_for_memory(group) {
            Some(MemoryBound::Group) => Some(OutOfMemory::Group),
            Some(MemoryBound::User) => Some(OutOfMemory::User),
            None => (self.oom_kills > before).then_some(OutOfMemory::Machine),
        }
    }
}

fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or_default()
}
