//! The directories below which groups are made, ready for use, and the few
//! files in them that are written and read: one vocabulary for version 1 and 2
//! of the kernel's interface. Used by `Cgroups`; knows nothing of sites.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wsgid_protocol::status::ControlGroupStatus;

use super::hierarchy::{Controller, Hierarchy};
use crate::process::keeper::Keeper;
use crate::process::procfs::numbers_in;
use crate::sys;

/// Where everything that belongs to no site is moved in version 2, which has no
/// processes beside groups.
const MAIN: &str = "wsgid.main";
/// What httpd and the supervisor weigh there against one site: all need them.
const MAIN_WEIGHT: u32 = 1000;
/// How often processes that were just forked are looked for.
const MOVES: usize = 10;
/// Bytes of the list of processes that are read where each is killed by itself,
/// which is several hundred of them.
const KILL_BYTES: u64 = 4096;
/// A weight that nothing was said about.
const WEIGHT: u32 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) cpu_weight: u32,
    /// Bytes; 0 is no limit.
    pub(super) memory_max: u64,
    /// 0 is no limit.
    pub(super) tasks_max: u32,
}

#[derive(Debug)]
pub(super) struct Base {
    hierarchies: Vec<Hierarchy>,
}

impl Base {
    /// Makes the hierarchies ready. The text is what cannot be had.
    pub(super) fn prepare(hierarchies: Vec<Hierarchy>) -> Result<(Self, Option<String>), String> {
        for one in hierarchies.iter().filter(|one| one.unified) {
            enable(one).map_err(|error| {
                let directory = one.directory.display();
                format!("the controllers of `{directory}` cannot be used: {error}")
            })?;
        }
        let base = Self { hierarchies };
        let wanted = [Controller::Cpu, Controller::Memory, Controller::Pids].into_iter();
        let missing = wanted.filter(|controller| !base.has(*controller));
        let missing: Vec<&str> = missing.map(Controller::name).collect();
        let problem =
            (!missing.is_empty()).then(|| format!("no controller for {}", missing.join(", ")));
        Ok((base, problem))
    }

    fn hierarchy(&self, controller: Controller) -> Option<&Hierarchy> {
        let mut hierarchies = self.hierarchies.iter();
        hierarchies.find(|one| one.controllers.contains(&controller))
    }

    pub(super) fn has(&self, controller: Controller) -> bool {
        self.hierarchy(controller).is_some()
    }

    /// Makes a group in every hierarchy; it may be there already.
    pub(super) fn make(&self, name: &str) -> io::Result<()> {
        for one in &self.hierarchies {
            make_directory(&one.directory.join(name))?;
        }
        Ok(())
    }

    /// Makes a group whose processes are in groups below it.
    pub(super) fn make_parent(&self, name: &str) -> io::Result<()> {
        self.make(name)?;
        for one in self.hierarchies.iter().filter(|one| one.unified) {
            switch_on(&one.directory.join(name), &one.controllers)?;
        }
        Ok(())
    }

    /// The files into which a process writes `0` to be in it, with what it forks
    /// from then on. It must have one thread. By itself and not by another:
    /// version 1 then moves it without the kernel's lock on all forks and ends
    /// of processes, which waits for the slowest of them.
    pub(super) fn entrances(&self, name: &str) -> Vec<PathBuf> {
        let mut entrances = Vec::new();
        for one in &self.hierarchies {
            let file = if one.unified { "cgroup.procs" } else { "tasks" };
            entrances.push(one.directory.join(name).join(file));
        }
        entrances
    }

    /// The list of the processes that are in it.
    pub(super) fn members(&self, name: &str) -> Option<PathBuf> {
        let one = self.hierarchies.first()?;
        Some(one.directory.join(name).join("cgroup.procs"))
    }

    /// For processes that others put there: the file of the group, and that of
    /// the place where no site is, in every hierarchy.
    pub(super) fn doors(&self, name: &str) -> Vec<(PathBuf, PathBuf)> {
        let mut doors = Vec::new();
        for one in &self.hierarchies {
            let main = Some(one.directory.join(MAIN)).filter(|main| one.unified && main.is_dir());
            let home = main.unwrap_or_else(|| one.directory.clone());
            let there = one.directory.join(name);
            doors.push((there.join("cgroup.procs"), home.join("cgroup.procs")));
        }
        doors
    }

    /// Writes all bounds, also where one is refused; the error is the first. It no longer
    /// gives way to others: to one that does the kernel gives no weight.
    pub(super) fn bound(&self, name: &str, bounds: Bounds) -> io::Result<()> {
        let of = |controller| self.directory_of(controller, name);
        let weight = of(Controller::Cpu).map_or(Ok(()), |(directory, unified)| {
            // Older kernels have no such file, and nothing that gives way.
            let _ = write(&directory, "cpu.idle", 0);
            write_weight(&directory, unified, bounds.cpu_weight)
        });
        let memory = of(Controller::Memory).map_or(Ok(()), |(directory, unified)| {
            let (file, none) = if unified {
                ("memory.max", "max")
            } else {
                ("memory.limit_in_bytes", "-1")
            };
            write(&directory, file, limit(bounds.memory_max, none))
        });
        let tasks = of(Controller::Pids).map_or(Ok(()), |(directory, _)| {
            let most = limit(bounds.tasks_max.into(), "max");
            write(&directory, "pids.max", most)
        });
        weight.and(memory).and(tasks)
    }

    /// Runs only where no other wants to, or as its weight says.
    pub(super) fn set_idle(&self, name: &str, idle: bool, weight: u32) -> io::Result<()> {
        let Some((directory, unified)) = self.directory_of(Controller::Cpu, name) else {
            return Ok(());
        };
        write(&directory, "cpu.idle", u8::from(idle))?;
        if idle {
            return Ok(());
        }
        write_weight(&directory, unified, weight)
    }

    pub(super) fn cpu_time(&self, name: &str) -> Option<Duration> {
        if let Some((directory, false)) = self.directory_of(Controller::Cpuacct, name) {
            return number(&directory.join("cpuacct.usage")).map(Duration::from_nanos);
        }
        let (directory, _) = self.directory_of(Controller::Cpu, name)?;
        counter(&directory.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
    }

    pub(super) fn memory(&self, name: &str) -> Option<u64> {
        let (directory, unified) = self.directory_of(Controller::Memory, name)?;
        let file = if unified {
            "memory.current"
        } else {
            "memory.usage_in_bytes"
        };
        number(&directory.join(file))
    }

    pub(super) fn tasks(&self, name: &str) -> Option<u64> {
        let (directory, _) = self.directory_of(Controller::Pids, name)?;
        number(&directory.join("pids.current"))
    }

    /// How often the kernel has killed in it because it had no memory left.
    pub(super) fn memory_kills(&self, name: &str) -> Option<u64> {
        let (directory, unified) = self.directory_of(Controller::Memory, name)?;
        let file = if unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        counter(&directory.join(file), "oom_kill")
    }

    /// How often its own bound on memory, not one above it, was in the way.
    pub(super) fn memory_refusals(&self, name: &str) -> Option<u64> {
        let (directory, unified) = self.directory_of(Controller::Memory, name)?;
        if unified {
            counter(&directory.join("memory.events"), "oom")
        } else {
            number(&directory.join("memory.failcnt"))
        }
    }

    /// What it uses. `kills`: processes that were killed for memory.
    pub(super) fn status(&self, name: &str, weight: u32, kills: Option<u64>) -> ControlGroupStatus {
        let path = self.path(name);
        let cpu_time = self.cpu_time(name);
        ControlGroupStatus {
            path: path.map(|path| path.to_string_lossy().into_owned()),
            cpu_weight: weight,
            cpu_ms: cpu_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            memory: self.memory(name),
            tasks: self.tasks(name),
            memory_kills: kills,
        }
    }

    fn directory_of(&self, controller: Controller, name: &str) -> Option<(PathBuf, bool)> {
        self.hierarchy(controller)
            .map(|one| (one.directory.join(name), one.unified))
    }

    /// Where it is, for people.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.hierarchies.first().map(|one| one.directory.join(name))
    }

    /// Kills what is in it. The kernel takes a while.
    pub(super) fn kill(&self, name: &str) {
        // A fork bomb is not to win the race.
        if let Some((directory, _)) = self.directory_of(Controller::Pids, name) {
            let _ = write(&directory, "pids.max", 0);
        }
        for directory in self.hierarchies.iter().map(|one| one.directory.join(name)) {
            if fs::write(directory.join("cgroup.kill"), "1").is_err() {
                kill_each(&directory);
            }
        }
    }

    /// Removes it. `false`: something is still in it.
    pub(super) fn remove(&self, name: &str) -> bool {
        let mut is_gone = true;
        for one in &self.hierarchies {
            if let Err(error) = fs::remove_dir(one.directory.join(name)) {
                is_gone &= error.kind() == io::ErrorKind::NotFound;
            }
        }
        is_gone
    }

    /// Groups that supervisors have made, those in a user's too.
    pub(super) fn made_by(&self, is_wanted: impl Fn(Keeper) -> bool) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for one in &self.hierarchies {
            for name in made_in(&one.directory, &is_wanted) {
                let below = made_in(&one.directory.join(&name), &is_wanted);
                out.extend(below.into_iter().map(|group| format!("{name}/{group}")));
                out.insert(name);
            }
        }
        out
    }
}

fn write_weight(directory: &Path, unified: bool, weight: u32) -> io::Result<()> {
    if unified {
        write(directory, "cpu.weight", weight)
    } else {
        write(directory, "cpu.shares", shares(weight))
    }
}

fn limit(most: u64, none: &str) -> String {
    if most == 0 {
        none.to_owned()
    } else {
        most.to_string()
    }
}

/// Version 1 counts 1024 where version 2 counts 100.
fn shares(weight: u32) -> u32 {
    (weight.saturating_mul(1024) / WEIGHT).max(2)
}

/// Has the groups below get the controllers.
fn enable(one: &Hierarchy) -> io::Result<()> {
    let on = || switch_on(&one.directory, &one.controllers);
    match on() {
        // Processes and groups do not go together in one directory.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
        other => return other,
    }
    let main = one.directory.join(MAIN);
    make_directory(&main)?;
    for _ in 0..MOVES {
        for pid in numbers_in(&one.directory.join("cgroup.procs"), u64::MAX) {
            // One that has ended is no matter; what stays is seen below.
            let _ = fs::write(main.join("cgroup.procs"), pid.to_string());
        }
        if on().is_ok() {
            return write(&main, "cpu.weight", MAIN_WEIGHT);
        }
    }
    on()
}

fn switch_on(directory: &Path, controllers: &[Controller]) -> io::Result<()> {
    let wanted = controllers.iter().map(|one| format!("+{}", one.name()));
    let wanted: Vec<String> = wanted.collect();
    write(directory, "cgroup.subtree_control", wanted.join(" "))
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The first of a site's processes: it decides how many there are.
fn first_members(directory: &Path) -> BTreeSet<u32> {
    let file = directory.join("cgroup.procs");
    numbers_in(&file, KILL_BYTES).into_iter().collect()
}

/// By descriptor, and only who is there after it was opened: a number may have
/// become another process's. Not all at once: `tidy` comes again.
fn kill_each(directory: &Path) {
    let opened: Vec<(u32, OwnedFd)> = first_members(directory)
        .into_iter()
        .filter_map(|pid| Some((pid, sys::pidfd(pid).ok()?)))
        .collect();
    let still = first_members(directory);
    for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
        let _ = sys::kill_at(pidfd.as_fd());
    }
}

fn made_in(directory: &Path, is_wanted: &impl Fn(Keeper) -> bool) -> Vec<String> {
    let own = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        entry
            .metadata()
            .is_ok_and(|about| about.is_dir() && about.uid() == own)
    });
    ours.filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| Keeper::of(name).is_some_and(is_wanted))
        .collect()
}

fn write(directory: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = directory.join(file);
    fs::write(&path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A line `NAME NUMBER`.
fn counter(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, number) = lines.find(|(known, _)| *known == name)?;
    number.trim().parse().ok()
}

#[cfg(test)]
impl Base {
    /// Directories and files only: what is written, not what the kernel does.
    pub(super) fn unified_in(directory: &Path) -> Self {
        let controllers = vec![Controller::Cpu, Controller::Memory, Controller::Pids];
        Self {
            hierarchies: vec![Hierarchy {
                unified: true,
                directory: directory.to_path_buf(),
                controllers,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_two_is_written_as_it_is_documented() {
        let place = tempfile::tempdir().unwrap();
        let base = Base::unified_in(place.path());
        base.make("g").unwrap();
        base.bound(
            "g",
            Bounds {
                cpu_weight: 250,
                memory_max: 1 << 20,
                tasks_max: 0,
            },
        )
        .unwrap();
        base.set_idle("g", true, 250).unwrap();
        let read = |file: &str| fs::read_to_string(place.path().join("g").join(file)).unwrap();
        assert_eq!(
            ["cpu.weight", "memory.max", "pids.max", "cpu.idle"].map(read),
            ["250", "1048576", "max", "1"]
        );
        fs::write(
            place.path().join("g/cpu.stat"),
            "usage_usec 1500\nuser_usec 1000\n",
        )
        .unwrap();
        fs::write(
            place.path().join("g/memory.events"),
            "oom 4\noom_kill 3\noom_group_kill 0\n",
        )
        .unwrap();
        assert_eq!(base.entrances("g"), [place.path().join("g/cgroup.procs")]);
        assert_eq!(
            (base.cpu_time("g"), base.memory_kills("g")),
            (Some(Duration::from_micros(1500)), Some(3))
        );
    }

    #[test]
    fn weights_are_the_same_in_both_versions() {
        assert_eq!([1, 100, 10_000].map(shares), [10, 1024, 102_400]);
    }

    #[test]
    fn only_what_we_made_is_abandoned() {
        let place = tempfile::tempdir().unwrap();
        let mine = Keeper::this().directory("mine");
        let gone = mine.replace(&format!("-{}-", std::process::id()), "-4194999-");
        for name in [
            &*mine,
            &gone,
            "wsgid-4194999-1-1.elsewhere",
            "wsgid-4194999-1",
            "user.slice",
        ] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        fs::write(place.path().join("wsgid-4194999-1.file"), "").unwrap();
        let below = format!("{gone}/{gone}");
        fs::create_dir(place.path().join(&below)).unwrap();
        let abandoned = Base::unified_in(place.path()).made_by(|keeper| !keeper.lives());
        assert!(abandoned.into_iter().eq([gone, below]));
    }

    #[test]
    fn groups_of_a_user_are_below_it_and_get_the_controllers() {
        let place = tempfile::tempdir().unwrap();
        let base = Base::unified_in(place.path());
        base.make_parent("u").unwrap();
        base.make("u/g").unwrap();
        let on = fs::read_to_string(place.path().join("u/cgroup.subtree_control")).unwrap();
        assert_eq!(on, "+cpu +memory +pids");
        assert_eq!(
            base.entrances("u/g"),
            [place.path().join("u/g/cgroup.procs")]
        );
        fs::write(
            place.path().join("u/g/memory.events"),
            "oom 4\noom_kill 3\n",
        )
        .unwrap();
        assert_eq!(base.memory_refusals("u/g"), Some(4));
    }
}
