//! What users may have together (`[user.NAME]`): how many of their process groups are put in
//! force, how many workers each pool may have (decided by `wsgid_policy::user_share`), and the
//! bounds of their control groups. Called when a configuration is applied, and after events of
//! pools. Where no user has a limit nothing is done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wsgid_protocol::status::UserStatus;
use wsgid_protocol::user_limits::UserLimits;
use wsgid_protocol::{GroupConfig, names, text};

use super::{Supervisor, pools::PoolEntry};
use crate::channel::operator::may_everything;
use crate::process::identity::{self, DefaultAccount};
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::{Allowance, Event, Phase};
use wsgid_policy::user_share::{Claim, share};

/// A worker without requests for this long may give way to one of another group.
const IDLE_FOR: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Puts limits in force, before groups are defined. Returns what is wrong with them.
    pub(super) fn limit_users(&mut self, users: Vec<UserLimits>) -> Vec<String> {
        let (limits, problems) = self.users.by_number(users, identity::uid_of);
        for one in limits.values() {
            if let Some(what) = self.resources.groups.cannot_limit(one) {
                log_line!(USER_WITHOUT_LIMIT, "[user.{}]: {what}", one.user);
            }
        }
        self.take_limits(limits);
        problems
    }

    /// Goes on with the limits of the program before.
    pub(super) fn take_limits(&mut self, limits: BTreeMap<u32, UserLimits>) {
        for why in self.resources.groups.limit_users(limits.clone()) {
            log_line!(USER_LIMIT_NOT_SET, "{why}");
        }
        self.users.limits = limits;
    }

    /// Takes out the groups that are one too many for their user. Those in force stay; of the
    /// new ones the first are taken, in the order of the files.
    pub(super) fn within_sites(
        &self,
        new: Vec<GroupConfig>,
        default: DefaultAccount,
    ) -> (Vec<GroupConfig>, Vec<String>) {
        if self.users.limits.values().all(|limits| limits.sites == 0) {
            return (new, Vec::new());
        }
        let users: BTreeMap<String, u32> = new
            .iter()
            .filter(|config| !names::is_reserved(&config.name))
            .filter_map(|config| {
                let user = identity::resolve(config, default).ok()?;
                Some((config.name.clone(), user.uid))
            })
            .collect();
        let stays = |name: &str, uid: u32| users.get(name).is_none_or(|user| *user == uid);
        let mut counts = BTreeMap::<u32, u32>::new();
        for (name, group) in &*self.groups {
            let is_in_force = !group.removed && self.access.is_used(name);
            if let Some(uid) = self.groups.owner(name)
                && is_in_force
                && !names::is_reserved(name)
                && stays(name, uid)
            {
                *counts.entry(uid).or_default() += 1;
            }
        }
        let mut problems = Vec::new();
        let admitted = new.into_iter().filter(|config| {
            let Some(&uid) = users.get(&config.name) else {
                return true;
            };
            let before = self.groups.get(&config.name);
            let is_new = before.is_none_or(|group| group.removed)
                || self.groups.owner(&config.name) != Some(uid);
            let Some(limits) = self.users.limits.get(&uid).filter(|limits| limits.sites > 0) else {
                return true;
            };
            let count = counts.entry(uid).or_default();
            if is_new && *count >= limits.sites {
                problems.push(format!(
                    "process group `{}` ({}) is not put in force: user `{}` has {} already, and [user.{}] allows sites = {}",
                    config.name,
                    config.origin,
                    limits.user,
                    text::count(*count as usize, "process group"),
                    limits.user,
                    limits.sites
                ));
                return false;
            }
            *count += u32::from(is_new);
            true
        });
        let admitted = admitted.collect();
        (admitted, problems)
    }

    /// The limits or the users of groups may have changed: no pool starts more than it may
    /// before it is known what that is.
    pub(super) fn limit_pools(&mut self) {
        for (id, entry) in &*self.pools {
            let owner = self.groups.owner(&entry.group);
            let limited = owner.filter(|uid| self.users.processes(*uid).is_some());
            let allowed = entry.machine.allowance();
            if limited.is_some() != allowed.is_some() {
                let live = entry.machine.demand(Instant::now()).live;
                let allowed = limited.map(|_| Allowance { live, starts: 0 });
                self.todo.push_back((*id, Event::Allow(allowed)));
            }
            self.users.changed.extend(limited);
        }
    }

    /// A new pool starts nothing before it is known what it may have.
    pub(super) fn limit_pool(&mut self, pool: PoolId, group: &str) {
        let owner = self.groups.owner(group);
        if owner.is_some_and(|uid| self.users.processes(uid).is_some()) {
            let nothing = Event::Allow(Some(Allowance::default()));
            self.todo.push_back((pool, nothing));
        }
    }

    /// Something has happened in a pool: what its user's pools may have is looked at again.
    pub(super) fn note_demand(&mut self, pool: PoolId) {
        if self.users.limits.is_empty() {
            return;
        }
        let owner = self.pools.group_of(pool);
        let owner = owner.and_then(|group| self.groups.owner(group));
        let limited = owner.filter(|uid| self.users.processes(*uid).is_some());
        self.users.changed.extend(limited);
    }

    /// Once a second: who has nothing to do by now.
    pub(super) fn note_demands(&mut self) {
        let all = self.users.limits.iter();
        let sharing = all.filter(|(_, limits)| limits.processes > 0);
        self.users.changed.extend(sharing.map(|(uid, _)| *uid));
    }

    /// Tells the pools of users with limits what they may have. Returns whether that was news.
    pub(super) fn share_processes(&mut self) -> bool {
        let changed = std::mem::take(&mut self.users.changed);
        if changed.is_empty() {
            return !self.todo.is_empty();
        }
        let now = Instant::now();
        // All users in one pass: there may be many, and many pools.
        let mut claims = BTreeMap::<u32, Vec<Claim>>::new();
        let mut in_use = BTreeMap::<u32, usize>::new();
        for entry in self.pools.values() {
            let owner = self.groups.owner(&entry.group);
            if let Some(uid) = owner.filter(|uid| changed.contains(uid)) {
                *in_use.entry(uid).or_default() += processes_in(entry);
                claims.entry(uid).or_default().push(Claim {
                    pool: entry.id,
                    demand: entry.machine.demand(now),
                    idle: self.idle_workers(entry, now),
                });
            }
        }
        self.users.in_use.extend(in_use);
        for (uid, claims) in claims {
            let Some(most) = self.users.processes(uid) else {
                continue;
            };
            for (pool, allowed) in share(most, &claims) {
                let machine = self.pools.get(&pool).map(|entry| &entry.machine);
                let is_news = machine.is_some_and(|machine| {
                    machine.allowance() != Some(allowed) || machine.is_stuck(now)
                });
                if is_news {
                    self.todo.push_back((pool, Event::Allow(Some(allowed))));
                }
            }
        }
        !self.todo.is_empty()
    }

    fn idle_workers(&self, entry: &PoolEntry, now: Instant) -> usize {
        if entry.machine.definition().config.threads == 0 {
            // Services work without requests.
            return 0;
        }
        let is_idle = |id: &WorkerId| {
            self.workers.get(id).is_some_and(|worker| {
                let record = &worker.record;
                record.report.in_flight == 0 && now.duration_since(record.active_at) >= IDLE_FOR
            })
        };
        entry.machine.accepting().filter(is_idle).count()
    }

    /// Why a pool has fewer workers than it would, if its user's limit is the reason.
    pub(super) fn shortage(&self, entry: &PoolEntry, now: Instant) -> Option<String> {
        if !entry.machine.is_short(now) {
            return None;
        }
        let uid = self.groups.owner(&entry.group)?;
        let limits = self.users.limits.get(&uid)?;
        Some(format!(
            "no more workers are started for it: user `{}` has {} of {} processes that [user.{}] allows",
            limits.user,
            self.users
                .in_use
                .get(&uid)
                .copied()
                .unwrap_or_else(|| self.processes_of(uid)),
            limits.processes,
            limits.user
        ))
    }

    /// Worker processes of a user whose processes were not shared yet.
    fn processes_of(&self, uid: u32) -> usize {
        let pools = self.pools.values();
        let its = pools.filter(|entry| self.groups.owner(&entry.group) == Some(uid));
        its.map(processes_in).sum()
    }

    /// The users that have limits, as far as the asker may see them.
    pub(super) fn users_status(&self, asker: u32) -> Vec<UserStatus> {
        if self.users.limits.is_empty() {
            return Vec::new();
        }
        let mut processes = BTreeMap::<u32, usize>::new();
        for entry in self.pools.values() {
            if let Some(uid) = self.groups.owner(&entry.group) {
                *processes.entry(uid).or_default() += processes_in(entry);
            }
        }
        let mut sites = BTreeMap::<u32, u64>::new();
        for (name, group) in &*self.groups {
            if let Some(uid) = self.groups.owner(name)
                && !group.removed
                && !names::is_reserved(name)
            {
                *sites.entry(uid).or_default() += 1;
            }
        }
        let cgroups = &self.resources.groups;
        let visible = self.users.limits.iter();
        let visible = visible.filter(|(uid, _)| may_everything(asker) || **uid == asker);
        visible
            .map(|(uid, limits)| UserStatus {
                user: limits.user.clone(),
                uid: *uid,
                processes: processes.get(uid).copied().unwrap_or_default() as u64,
                sites: sites.get(uid).copied().unwrap_or_default(),
                limits: limits.clone(),
                control_group: cgroups.status_of_user(*uid),
                problem: cgroups
                    .cannot_limit(limits)
                    .or_else(|| cgroups.problem_of_user(*uid)),
            })
            .collect()
    }
}

/// Worker processes of a pool, those that end included.
fn processes_in(entry: &PoolEntry) -> usize {
    let members = entry.machine.members();
    members
        .filter(|(_, member)| member.phase != Phase::Queued)
        .count()
}
