//! A control group of the kernel for each process group, so that the processes
//! of one site, whatever they fork, are bounded together and share the
//! processors as one. The supervisor makes them for its workers and removes
//! them; it never touches one that is not its own. Without permission there are
//! none, and everything else works as ever.

mod base;
mod hierarchy;
mod made;
mod moving;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::keeper::Keeper;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::status::ControlGroupStatus;
use wsgid_protocol::user_limits::UserLimits;

use base::Base;
use hierarchy::Controller;
use made::{Made, Place, bounds};
pub(crate) use moving::Move;
use users::UserCgroups;

/// How long processes of a supervisor that died may finish what they do.
const ABANDONED_PATIENCE: Duration = Duration::from_secs(60);
/// How long the end waits for killed processes to go.
const END: Duration = Duration::from_millis(500);

/// Whose bound on memory made the kernel kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    /// The process group's.
    Group,
    /// That of all groups of its user.
    User,
}

/// Why a process in the place of this one can make none; changes nothing.
pub(crate) fn impossible_here() -> Option<String> {
    hierarchy::find().err()
}

#[derive(Debug)]
pub(crate) struct Cgroups {
    base: Option<Base>,
    problem: Option<String>,
    /// Whether the log has it.
    is_problem_said: bool,
    keeper: Keeper,
    groups: BTreeMap<String, Made>,
    users: UserCgroups,
    /// Those that are to go as soon as they are empty, and when whatever is in
    /// them is killed, if at all.
    leaving: BTreeMap<String, Option<Instant>>,
}

impl Cgroups {
    /// Looks where they may be made.
    pub(crate) fn find() -> Self {
        let (base, problem) = match hierarchy::find().and_then(Base::prepare) {
            Ok((base, problem)) => (Some(base), problem),
            Err(why) => (None, Some(why)),
        };
        let until = Instant::now() + ABANDONED_PATIENCE;
        let abandoned = base
            .as_ref()
            .map(|base| base.made_by(|keeper| !keeper.lives()));
        let abandoned = abandoned.unwrap_or_default().into_iter();
        Self {
            base,
            problem,
            is_problem_said: false,
            keeper: Keeper::this(),
            groups: BTreeMap::new(),
            users: UserCgroups::default(),
            leaving: abandoned.map(|one| (one, Some(until))).collect(),
        }
    }

    /// Why they are not all there.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Sites of several users are here, which should be kept apart: says once why they
    /// are not.
    pub(crate) fn say_problem(&mut self) {
        if let Some(why) = self.problem.as_ref().filter(|_| !self.is_problem_said) {
            tracing::info!(
                "sites of several users share the machine without control groups, or without all of them: {why}"
            );
            self.is_problem_said = true;
        }
    }

    /// What a group is to have and cannot get.
    pub(crate) fn cannot(&self, config: &GroupConfig) -> Option<String> {
        self.cannot_bound(bounds_of(config))
    }

    /// The same of a user.
    pub(crate) fn cannot_limit(&self, limits: &UserLimits) -> Option<String> {
        self.cannot_bound((limits.cpu_weight, limits.memory_max, limits.tasks_max))
    }

    fn cannot_bound(&self, (cpu_weight, memory_max, tasks_max): (u32, u64, u32)) -> Option<String> {
        let mut missing = Vec::new();
        for (option, is_wanted, controller) in [
            ("cpu-weight", cpu_weight > 0, Controller::Cpu),
            ("memory-max", memory_max > 0, Controller::Memory),
            ("tasks-max", tasks_max > 0, Controller::Pids),
        ] {
            if is_wanted && !self.base.as_ref().is_some_and(|base| base.has(controller)) {
                missing.push(option);
            }
        }
        let why = self.problem.as_deref().unwrap_or_default();
        let missing = (!missing.is_empty()).then(|| missing.join(" and "))?;
        Some(format!("{missing} has no effect: {why}"))
    }

    /// Why not all that bounds a user is in force.
    pub(crate) fn problem_of_user(&self, uid: u32) -> Option<String> {
        self.users.problem(uid).map(str::to_owned)
    }

    /// What users may have from now on. Returns what could not be changed.
    pub(crate) fn limit_users(&mut self, limits: BTreeMap<u32, UserLimits>) -> Vec<String> {
        self.users.limit(self.base.as_ref(), self.keeper, limits)
    }

    /// Whether groups of this user are bounded together.
    pub(crate) fn bounds_user(&self, uid: u32) -> bool {
        self.users.wants(uid)
    }

    /// Where a launcher enters the control group of its process group, which is
    /// made if it is not there; nowhere if it is to have none. Sites of one user
    /// (not `several`) are kept apart only where an option asks for it: processes
    /// in a control group of their own are woken at a price (docs/performance.md).
    /// `owner`: the group's user.
    pub(crate) fn entrances(
        &mut self,
        config: &GroupConfig,
        owner: Option<u32>,
        several: bool,
    ) -> Result<Vec<PathBuf>, String> {
        let is_bounded = config.is_bounded() || owner.is_some_and(|uid| self.users.wants(uid));
        if !several && !is_bounded && !self.groups.contains_key(&config.name) {
            return Ok(Vec::new());
        }
        self.make(config, owner)?;
        let entrances = self.in_base(&config.name, Base::entrances);
        Ok(entrances.unwrap_or_default())
    }

    /// How processes of a group that has no control group yet, or one in the wrong place,
    /// come into one; nothing if it has one, or there are none.
    pub(crate) fn contain(
        &mut self,
        config: &GroupConfig,
        owner: Option<u32>,
    ) -> Result<Option<Move>, String> {
        let before = self.groups.get(&config.name);
        let before = before.map(|made| (made.directory.clone(), made.owner));
        if before.is_some() && !self.is_misplaced(&config.name, owner) {
            return Ok(None);
        }
        self.make(config, owner)?;
        if before.as_ref().is_some_and(|(_, before)| *before != owner) {
            // Who runs as another user stays outside, and finishes there.
            return Ok(None);
        }
        let list = before.and_then(|(directory, _)| self.base.as_ref()?.members(&directory));
        let doors = self.in_base(&config.name, Base::doors);
        Ok(doors.map(|doors| Move::new(doors, list)))
    }

    /// Whether a group that has a control group should have it elsewhere: in that of its
    /// user, or not in that of another. Where its user's bounds are taken back it stays.
    fn is_misplaced(&self, group: &str, owner: Option<u32>) -> bool {
        self.groups.get(group).is_some_and(|made| {
            let wanted = owner.filter(|uid| self.users.wants(*uid));
            match made.parent {
                None => wanted.is_some(),
                Some(parent) => owner.is_some_and(|uid| uid != parent),
            }
        })
    }

    fn in_base<T>(&self, group: &str, what: impl FnOnce(&Base, &str) -> T) -> Option<T> {
        let base = self.base.as_ref()?;
        let made = self.groups.get(group)?;
        Some(what(base, &made.directory))
    }

    fn make(&mut self, config: &GroupConfig, owner: Option<u32>) -> Result<(), String> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        let failed = |error| format!("failed to make the control group: {error}");
        if self.groups.contains_key(&config.name) {
            if !self.is_misplaced(&config.name, owner) {
                if let Some(made) = self.groups.get_mut(&config.name) {
                    made.owner = owner;
                }
                return Ok(());
            }
            if let Some(made) = self.groups.remove(&config.name) {
                self.leaving.insert(made.directory, None);
            }
        }
        let parent = owner.filter(|uid| self.users.wants(*uid));
        if let Some(uid) = parent {
            self.users.make(base, self.keeper, uid).map_err(failed)?;
        }
        let place = Place::new(self.keeper, &config.name, owner, parent);
        let bounds = bounds(config);
        self.leaving.remove(&place.directory);
        base.make(&place.directory)
            .and_then(|()| base.bound(&place.directory, bounds))
            .map_err(failed)?;
        let made = Made::new(base, place, bounds);
        self.groups.insert(config.name.clone(), made);
        self.settle_idle(parent);
        Ok(())
    }

    /// Takes up the groups that the program before has made.
    pub(crate) fn adopt(&mut self, config: &GroupConfig, owner: Option<u32>) {
        let Some(base) = &self.base else { return };
        for parent in [owner, None] {
            let place = Place::new(self.keeper, &config.name, owner, parent);
            if base
                .path(&place.directory)
                .is_some_and(|path| path.is_dir())
            {
                if let Some(uid) = parent {
                    self.users.adopt(base, self.keeper, uid);
                }
                let mut made = Made::new(base, place, bounds(config));
                made.are_bounds_set = base.bound(&made.directory, made.bounds).is_ok();
                self.groups.insert(config.name.clone(), made);
                return;
            }
        }
    }

    /// The rest of what the program before has made: it goes when it is empty.
    pub(crate) fn adopt_rest(&mut self) {
        let Some(base) = &self.base else { return };
        for directory in base.made_by(|keeper| keeper == self.keeper) {
            if let Some(uid) = Keeper::user_of(&directory) {
                self.users.adopt(base, self.keeper, uid);
            } else if self.groups.values().all(|made| made.directory != directory) {
                self.leaving.insert(directory, None);
            }
        }
    }

    /// Changed bounds are in force at once.
    pub(crate) fn bound(&mut self, config: &GroupConfig) -> Result<(), String> {
        let (Some(base), Some(made)) = (&self.base, self.groups.get_mut(&config.name)) else {
            return Ok(());
        };
        let wanted = bounds(config);
        if made.bounds == wanted && made.are_bounds_set {
            return Ok(());
        }
        let set = base.bound(&made.directory, wanted);
        made.bounds = wanted;
        made.are_bounds_set = set.is_ok();
        made.idle = false;
        set.map_err(|error| format!("failed to change the control group: {error}"))
    }

    /// Whether the kernel has killed in this group, since the last time, because
    /// of a `memory-max`, and of whose.
    pub(crate) fn has_killed_for_memory(&mut self, group: &str) -> Option<MemoryBound> {
        let (base, made) = (self.base.as_ref()?, self.groups.get_mut(group)?);
        let kills = base.memory_kills(&made.directory).unwrap_or_default();
        let refusals = base.memory_refusals(&made.directory).unwrap_or_default();
        let has_killed = kills > std::mem::replace(&mut made.memory_kills, kills);
        let was_in_the_way = refusals > std::mem::replace(&mut made.memory_refusals, refusals);
        let users = made.parent.is_some_and(|uid| self.users.bounds_memory(uid));
        let own = made.bounds.memory_max > 0;
        match has_killed {
            true if own && (was_in_the_way || !users) => Some(MemoryBound::Group),
            true if users => Some(MemoryBound::User),
            _ => None,
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    pub(crate) fn are_possible(&self) -> bool {
        self.base.is_some()
    }

    /// Whether the kernel counts the processor time of a group, as `used` reads it.
    pub(crate) fn counts(&self, group: &str) -> bool {
        let can = |base: &Base, _: &str| base.has(Controller::Cpuacct) || base.has(Controller::Cpu);
        self.in_base(group, can).unwrap_or(false)
    }

    /// Processor time so far of a group that has a control group.
    pub(crate) fn used(&self, group: &str) -> Option<Duration> {
        self.in_base(group, Base::cpu_time)?
    }

    /// Whether it runs only where no other wants to.
    pub(crate) fn set_idle(&mut self, group: &str, idle: bool) {
        let (Some(base), Some(made)) = (&self.base, self.groups.get_mut(group)) else {
            return;
        };
        if made.idle != idle {
            match base.set_idle(&made.directory, idle, made.bounds.cpu_weight) {
                Ok(()) => made.idle = idle,
                Err(error) => tracing::trace!("process group `{group}`: {error}"),
            }
        }
        let parent = made.parent;
        self.settle_idle(parent);
    }

    /// A user gives way to others when all of its groups do: inside, each does by itself.
    fn settle_idle(&mut self, parent: Option<u32>) {
        let (Some(base), Some(uid)) = (&self.base, parent) else {
            return;
        };
        let mut groups = self.groups.values();
        let idle = groups.all(|made| made.parent != parent || made.idle);
        self.users.set_idle(base, self.keeper, uid, idle);
    }

    /// The last worker of a group has ended. `all`: what it has left behind ends
    /// too; otherwise the control group stays as long as something is in it.
    pub(crate) fn leave(&mut self, group: &str, all: bool) {
        let (Some(base), Some(made)) = (&self.base, self.groups.get(group)) else {
            return;
        };
        let kills = base.memory_kills(&made.directory).unwrap_or_default();
        if !base.remove(&made.directory) {
            if !all {
                return;
            }
            tracing::info!(
                "process group `{group}`: processes that its workers have left behind are killed"
            );
            base.kill(&made.directory);
            self.leaving
                .insert(made.directory.clone(), Some(Instant::now()));
        }
        if all {
            // Where it was before, too.
            let own = self.keeper.directory(group);
            let others = self.leaving.iter_mut();
            others
                .filter(|(directory, _)| directory.rsplit('/').next() == Some(own.as_str()))
                .for_each(|(_, until)| *until = Some(Instant::now()));
        }
        if let Some(uid) = made.parent {
            self.users.left(uid, kills);
        }
        self.groups.remove(group);
    }

    /// Now and then: what was to go is tried again.
    pub(crate) fn tidy(&mut self, now: Instant) {
        let Some(base) = &self.base else { return };
        self.leaving.retain(|directory, until| {
            if base.remove(directory) {
                return false;
            }
            if until.is_some_and(|until| until <= now) {
                base.kill(directory);
            }
            true
        });
        let groups = &self.groups;
        self.users.tidy(base, self.keeper, |uid| {
            groups.values().any(|made| made.parent == Some(uid))
        });
    }

    /// The supervisor ends: nothing of any site stays.
    pub(crate) fn end(&mut self) {
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.leave(&group, true);
        }
        let until = Instant::now() + END;
        // Those of another supervisor are left to its successor.
        let mine = self.keeper.directory("");
        self.leaving
            .retain(|directory, _| directory.starts_with(&mine));
        for until in self.leaving.values_mut() {
            *until = Some(Instant::now());
        }
        while !(self.leaving.is_empty() && self.users.is_empty()) && Instant::now() < until {
            self.tidy(Instant::now());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// For `wsgid status`.
    pub(crate) fn status(&self, group: &str) -> Option<ControlGroupStatus> {
        let base = self.base.as_ref()?;
        let made = self.groups.get(group)?;
        let kills = base.memory_kills(&made.directory);
        Some(base.status(&made.directory, made.bounds.cpu_weight, kills))
    }

    /// The same of a user.
    pub(crate) fn status_of_user(&self, uid: u32) -> Option<ControlGroupStatus> {
        let base = self.base.as_ref()?;
        let groups = self.groups.values();
        let its = groups.filter(|made| made.parent == Some(uid));
        let kills = its.filter_map(|made| base.memory_kills(&made.directory));
        let kills = kills.fold(0, u64::saturating_add);
        self.users.status(base, self.keeper, uid, kills)
    }
}

/// Weight, memory and tasks, as options name them.
const fn bounds_of(config: &GroupConfig) -> (u32, u64, u32) {
    (config.cpu_weight, config.memory_max, config.tasks_max)
}
