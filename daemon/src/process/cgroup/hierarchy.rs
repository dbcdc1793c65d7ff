//! Where control groups may be made: the supervisor's own place in each
//! hierarchy, version 2 or 1, if it was left to it. Reads `/proc/self` and tries
//! nothing; `base` makes what is found ready for use.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::sys;

/// What can be bounded or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Cpu,
    /// Processor time, where `Cpu` does not count it (version 1).
    Cpuacct,
    Memory,
    Pids,
}

const CONTROLLERS: [(Controller, &str); 4] = [
    (Controller::Cpu, "cpu"),
    (Controller::Cpuacct, "cpuacct"),
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
];

impl Controller {
    pub(super) fn name(self) -> &'static str {
        CONTROLLERS
            .iter()
            .find(|(one, _)| *one == self)
            .map_or("", |(_, name)| name)
    }

    /// Those whose names are among others.
    fn among(is_there: impl Fn(&str) -> bool) -> Vec<Self> {
        let there = CONTROLLERS.iter().filter(|(_, name)| is_there(name));
        there.map(|(one, _)| *one).collect()
    }
}

/// One hierarchy: a directory below which groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Version 2, which has all controllers in one tree.
    pub(super) unified: bool,
    pub(super) directory: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

/// What to do about it, for the log and the status.
pub(super) const CURE: &str = "under systemd, give the unit `Delegate=cpu memory pids`";

/// All hierarchies, or why there are none.
pub(super) fn find() -> Result<Vec<Hierarchy>, String> {
    let found = parse(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
    let systemd = Path::new("/run/systemd/system").exists();
    let found = choose(found, systemd, &is_delegated, &controllers_in)?;
    for Hierarchy { directory, .. } in &found {
        access(directory, AccessFlags::W_OK).map_err(|errno| {
            let directory = directory.display();
            format!("`{directory}` cannot be written: {errno}; {CURE}")
        })?;
    }
    Ok(found)
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("failed to read `{path}`: {error}"))
}

fn controllers_in(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default()
}

/// systemd marks what it leaves to a service.
fn is_delegated(directory: &Path) -> bool {
    ["trusted.delegate", "user.delegate"]
        .iter()
        .any(|name| sys::attribute(directory, name).as_deref() == Some(b"1"))
}

/// The own directory in every mounted hierarchy of interest. Version 2 has no
/// controllers yet: its files say which.
fn parse(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let mut out = Vec::new();
    for line in own.lines() {
        let Some((names, path)) = line
            .split_once(':')
            .and_then(|(_, rest)| rest.split_once(':'))
        else {
            continue;
        };
        let controllers = Controller::among(|name| names.split(',').any(|one| one == name));
        let unified = names.is_empty();
        if !unified && controllers.is_empty() {
            continue;
        }
        if let Some(directory) = mounts
            .lines()
            .find_map(|mount| directory_in(mount, names, path))
        {
            out.push(Hierarchy {
                unified,
                directory,
                controllers,
            });
        }
    }
    out
}

/// Where `path` is, if this line of `mountinfo` mounts the hierarchy of `names`.
fn directory_in(mount: &str, names: &str, path: &str) -> Option<PathBuf> {
    let (front, back) = mount.split_once(" - ")?;
    let mut back = back.split(' ');
    let kind = back.next()?;
    let options = back.nth(1)?;
    let fits = if names.is_empty() {
        kind == "cgroup2"
    } else {
        kind == "cgroup"
            && names
                .split(',')
                .all(|name| options.split(',').any(|option| option == name))
    };
    let mut front = front.split(' ').skip(3);
    let root = front.next()?;
    let point = front.next()?;
    // In a container the mount may begin at the container's own place.
    let below = Path::new(path).strip_prefix(root).ok()?;
    fits.then(|| Path::new(point).join(below))
}

/// Version 2 if it has controllers, version 1 otherwise; where systemd keeps
/// the tree, only what it has left to the service.
fn choose(
    found: Vec<Hierarchy>,
    systemd: bool,
    delegated: &dyn Fn(&Path) -> bool,
    controllers: &dyn Fn(&Path) -> String,
) -> Result<Vec<Hierarchy>, String> {
    let left_to_us = |directory: &Path| !systemd || delegated(directory);
    let (unified, mut usable): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.unified);
    for mut one in unified {
        // With `DelegateSubgroup=` the service itself runs one level below.
        if !left_to_us(&one.directory) && one.directory.parent().is_some_and(delegated) {
            one.directory.pop();
        }
        let text = controllers(&one.directory);
        one.controllers = Controller::among(|name| text.split_whitespace().any(|one| one == name));
        if one.controllers.is_empty() {
            continue;
        }
        usable = vec![one];
        break;
    }
    if usable.is_empty() {
        return Err(format!(
            "no hierarchy with cpu, memory or pids is mounted; {CURE}"
        ));
    }
    match usable.iter().find(|one| !left_to_us(&one.directory)) {
        Some(one) => Err(format!(
            "`{}` belongs to systemd; {CURE}",
            one.directory.display()
        )),
        None => Ok(usable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &str =
        "8:pids:/\n4:memory:/box/7\n3:cpuset:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
    const LEGACY_MOUNTS: &str = "\
        25 20 0:5 / /proc rw shared:1 - proc proc rw\n\
        30 20 0:21 / /sys/fs/cgroup/cpu rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
        31 20 0:22 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        32 20 0:23 / /sys/fs/cgroup/pids rw - cgroup none rw,pids\n\
        33 20 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_one_has_a_directory_for_each_controller() {
        let found = choose(parse(LEGACY, LEGACY_MOUNTS), false, &|_| false, &|_| {
            String::new()
        })
        .unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.directory.to_str().unwrap(), &*one.controllers))
            .collect();
        assert_eq!(
            found,
            [
                ("/sys/fs/cgroup/pids/", &[Controller::Pids][..]),
                ("/sys/fs/cgroup/memory/7", &[Controller::Memory]),
                (
                    "/sys/fs/cgroup/cpu/",
                    &[Controller::Cpu, Controller::Cpuacct]
                ),
            ]
        );
    }

    #[test]
    fn systemd_has_to_leave_it_to_the_service() {
        let own = "0::/system.slice/apache2.service\n";
        let mounts = "30 20 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let all = |_: &Path| "cpuset cpu io memory pids\n".to_owned();
        let why = choose(parse(own, mounts), true, &|_| false, &all).unwrap_err();
        assert!(
            why.contains("apache2.service") && why.contains("Delegate="),
            "{why}"
        );
        let found = choose(parse(own, mounts), true, &|_| true, &all).unwrap();
        assert_eq!(
            found[0].controllers,
            [Controller::Cpu, Controller::Memory, Controller::Pids]
        );
        let own = "0::/system.slice/apache2.service/main\n";
        let found = choose(
            parse(own, mounts),
            true,
            &|dir| dir.ends_with("apache2.service"),
            &all,
        )
        .unwrap();
        assert_eq!(
            found[0].directory,
            Path::new("/sys/fs/cgroup/system.slice/apache2.service")
        );
    }
}
