//! A control group of the kernel for each process group, so that the processes
//! of one site, whatever they fork, are bounded together and share the
//! processors as one. The supervisor makes them for its workers and removes
//! them; it never touches one that is not its own. Without permission there are
//! none, and everything else works as ever.

mod base;
mod hierarchy;
mod moving;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::process::keeper::Keeper;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::status::ControlGroupStatus;

use base::{Base, Bounds};
use hierarchy::Controller;
pub(crate) use moving::Move;

/// How long processes of a supervisor that died may finish what they do.
const ABANDONED_PATIENCE: Duration = Duration::from_secs(60);
/// How long the end waits for killed processes to go.
const END: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Made {
    directory: String,
    bounds: Bounds,
    memory_kills: u64,
    idle: bool,
}

impl Made {
    fn new(base: &Base, directory: String, bounds: Bounds) -> Self {
        Self {
            memory_kills: base.memory_kills(&directory).unwrap_or_default(),
            directory,
            bounds,
            idle: false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Cgroups {
    base: Option<Base>,
    problem: Option<String>,
    /// Whether the log has it.
    is_problem_said: bool,
    keeper: Keeper,
    groups: BTreeMap<String, Made>,
    /// Those that are to go as soon as they are empty, and when whatever is in
    /// them is killed.
    leaving: BTreeMap<String, Instant>,
}

impl Cgroups {
    /// Looks where they may be made.
    pub(crate) fn find() -> Self {
        let (base, problem) = match hierarchy::find().and_then(Base::prepare) {
            Ok((base, problem)) => (Some(base), problem),
            Err(why) => (None, Some(why)),
        };
        let until = Instant::now() + ABANDONED_PATIENCE;
        let abandoned = base.as_ref().map(Base::abandoned).unwrap_or_default();
        Self {
            base,
            problem,
            is_problem_said: false,
            keeper: Keeper::this(),
            groups: BTreeMap::new(),
            leaving: abandoned.into_iter().map(|one| (one, until)).collect(),
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
        let mut missing = Vec::new();
        for (option, is_wanted, controller) in [
            ("cpu-weight=", config.cpu_weight > 0, Controller::Cpu),
            ("memory-max=", config.memory_max > 0, Controller::Memory),
            ("tasks-max=", config.tasks_max > 0, Controller::Pids),
        ] {
            if is_wanted && !self.base.as_ref().is_some_and(|base| base.has(controller)) {
                missing.push(option);
            }
        }
        let why = self.problem.as_deref().unwrap_or_default();
        (!missing.is_empty()).then(|| format!("{} has no effect: {why}", missing.join(" and ")))
    }

    /// Where a launcher enters the control group of its process group, which is
    /// made if it is not there; nowhere if it is to have none. Sites of one user
    /// (not `several`) are kept apart only where an option asks for it: processes
    /// in a control group of their own are woken at a price (docs/performance.md).
    pub(crate) fn entrances(
        &mut self,
        config: &GroupConfig,
        several: bool,
    ) -> Result<Vec<PathBuf>, String> {
        if !several && !config.is_bounded() && !self.groups.contains_key(&config.name) {
            return Ok(Vec::new());
        }
        self.make(config)?;
        let entrances = self.in_base(&config.name, Base::entrances);
        Ok(entrances.unwrap_or_default())
    }

    /// How processes of a group that has no control group yet come into one;
    /// nothing if it has one, or there are none.
    pub(crate) fn contain(&mut self, config: &GroupConfig) -> Result<Option<Move>, String> {
        if self.groups.contains_key(&config.name) {
            return Ok(None);
        }
        self.make(config)?;
        let doors = self.in_base(&config.name, Base::doors);
        Ok(doors.map(Move::new))
    }

    fn in_base<T>(&self, group: &str, what: impl FnOnce(&Base, &str) -> T) -> Option<T> {
        let base = self.base.as_ref()?;
        let made = self.groups.get(group)?;
        Some(what(base, &made.directory))
    }

    fn make(&mut self, config: &GroupConfig) -> Result<(), String> {
        let Some(base) = &self.base else {
            return Ok(());
        };
        if self.groups.contains_key(&config.name) {
            return Ok(());
        }
        let directory = self.keeper.directory(&config.name);
        let bounds = bounds(config);
        self.leaving.remove(&directory);
        base.make(&directory)
            .and_then(|()| base.bound(&directory, bounds))
            .map_err(|error| format!("failed to make the control group: {error}"))?;
        let made = Made::new(base, directory, bounds);
        self.groups.insert(config.name.clone(), made);
        Ok(())
    }

    /// Takes up the groups that the program before has made.
    pub(crate) fn adopt(&mut self, config: &GroupConfig) {
        let Some(base) = &self.base else { return };
        let directory = self.keeper.directory(&config.name);
        if base.path(&directory).is_some_and(|path| path.is_dir()) {
            let made = Made::new(base, directory, bounds(config));
            let _ = base.set_idle(&made.directory, false, made.bounds.cpu_weight);
            self.groups.insert(config.name.clone(), made);
        }
    }

    /// Changed bounds are in force at once.
    pub(crate) fn bound(&mut self, config: &GroupConfig) -> Result<(), String> {
        let (Some(base), Some(made)) = (&self.base, self.groups.get_mut(&config.name)) else {
            return Ok(());
        };
        let wanted = bounds(config);
        if made.bounds == wanted {
            return Ok(());
        }
        if made.idle {
            let _ = base.set_idle(&made.directory, false, wanted.cpu_weight);
            made.idle = false;
        }
        made.bounds = wanted;
        base.bound(&made.directory, wanted)
            .map_err(|error| format!("failed to change the control group: {error}"))
    }

    /// Whether the kernel has killed in this group, since the last time, because
    /// of `memory-max`.
    pub(crate) fn has_killed_for_memory(&mut self, group: &str) -> bool {
        let (Some(base), Some(made)) = (&self.base, self.groups.get_mut(group)) else {
            return false;
        };
        let now = base.memory_kills(&made.directory).unwrap_or_default();
        made.bounds.memory_max > 0 && now > std::mem::replace(&mut made.memory_kills, now)
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
    }

    /// The last worker of a group has ended. `all`: what it has left behind ends
    /// too; otherwise the control group stays as long as something is in it.
    pub(crate) fn leave(&mut self, group: &str, all: bool) {
        let (Some(base), Some(made)) = (&self.base, self.groups.get(group)) else {
            return;
        };
        if base.remove(&made.directory) {
            self.groups.remove(group);
        } else if all {
            tracing::info!(
                "process group `{group}`: processes that its workers have left behind are killed"
            );
            base.kill(&made.directory);
            self.leaving.insert(made.directory.clone(), Instant::now());
            self.groups.remove(group);
        }
    }

    /// Now and then: what was to go is tried again.
    pub(crate) fn tidy(&mut self, now: Instant) {
        let Some(base) = &self.base else { return };
        self.leaving.retain(|directory, until| {
            if base.remove(directory) {
                return false;
            }
            if *until <= now {
                base.kill(directory);
            }
            true
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
        while !self.leaving.is_empty() && Instant::now() < until {
            self.tidy(Instant::now());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// For `wsgid status`.
    pub(crate) fn status(&self, group: &str) -> Option<ControlGroupStatus> {
        let base = self.base.as_ref()?;
        let Made {
            directory, bounds, ..
        } = self.groups.get(group)?;
        let path = base.path(directory);
        let cpu_time = base.cpu_time(directory);
        Some(ControlGroupStatus {
            path: path.map(|path| path.to_string_lossy().into_owned()),
            cpu_weight: bounds.cpu_weight,
            cpu_ms: cpu_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            memory: base.memory(directory),
            tasks: base.tasks(directory),
            memory_kills: base.memory_kills(directory),
        })
    }
}

/// What the options say. Where groups share as one, a nice value counts only
/// inside: `cpu-priority` becomes the weight that the kernel gives to it.
fn bounds(config: &GroupConfig) -> Bounds {
    let cpu_weight = match config.cpu_weight {
        0 => {
            // Each step is a quarter more; 0 is 100.
            let nice = config.cpu_priority.unwrap_or(0);
            (100.0 * 1.25_f64.powi(-nice)).round().clamp(1.0, 10_000.0) as u32
        }
        weight => weight,
    };
    Bounds {
        cpu_weight,
        memory_max: config.memory_max,
        tasks_max: config.tasks_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nice_value_is_a_weight() {
        let weight = |option: &str, value: &str| {
            let mut config = GroupConfig::new("g", "test");
            config.set(option, value).unwrap();
            bounds(&config).cpu_weight
        };
        assert_eq!(weight("cpu-priority", "0"), 100);
        assert_eq!(weight("cpu-priority", "19"), 1);
        assert_eq!(weight("cpu-priority", "10"), 11);
        assert_eq!(weight("cpu-priority", "-20"), 8674);
        assert_eq!(weight("cpu-weight", "7"), 7);
    }
}
