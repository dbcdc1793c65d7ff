//! How far the processes of a group are kept apart from all others: values of its
//! options, what a launcher says of what is in force, and where a supervisor keeps what
//! is a group's own. `daemon/src/isolation` does it; here are no calls of the kernel.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A set of restrictions under one name (`isolation=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// User, group and limits only.
    #[default]
    None,
    /// Sites do not reach each other; what the kernel lacks is said and left out.
    Private,
    /// Only what is named is reached; what the kernel lacks is a failed start.
    Strict,
}

impl Isolation {
    /// Reads its name.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "private" => Ok(Self::Private),
            "strict" => Ok(Self::Strict),
            _ => Err(format!("`{name}` is neither none nor private nor strict")),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Private => "private",
            Self::Strict => "strict",
        }
    }
}

/// Ports from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// Most ports that `connect-ports=` may name: each is a rule in the kernel.
const PORTS_MAX: usize = 1024;

impl PortRange {
    /// Reads `443,5432,8000-8010`.
    pub(crate) fn read_list(text: &str) -> Result<Vec<Self>, String> {
        let ranges: Vec<Self> = text
            .split(',')
            .map(|part| Self::read(part.trim()))
            .collect::<Result<_, _>>()?;
        let ports: usize = ranges.iter().map(|range| range.ports().count()).sum();
        if ports > PORTS_MAX {
            return Err(format!(
                "`{text}` is {ports} ports; {PORTS_MAX} are the most"
            ));
        }
        Ok(ranges)
    }

    fn read(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "`{text}` is neither a port from 1 to 65535 nor a range such as 8000-8010"
            )),
        }
    }

    pub(crate) fn list_text(ranges: &[Self]) -> String {
        let texts = ranges.iter().map(|Self { first, last }| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        });
        texts.collect::<Vec<_>>().join(",")
    }

    /// All of them.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

/// Families that `restrict-address-families=` may name, without their `AF_`.
pub const ADDRESS_FAMILIES: [&str; 12] = [
    "unix",
    "inet",
    "inet6",
    "netlink",
    "packet",
    "vsock",
    "alg",
    "can",
    "bluetooth",
    "xdp",
    "tipc",
    "rds",
];

/// What sites have that say nothing else under `strict`.
pub const USUAL_FAMILIES: [&str; 4] = ["unix", "inet", "inet6", "netlink"];

/// Reads names of families, with or without `AF_`, in any case.
pub(crate) fn read_families(text: &str) -> Result<Vec<String>, String> {
    read_known(text, &ADDRESS_FAMILIES, "address family", |name| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("af_").unwrap_or(&name).to_owned()
    })
}

/// System calls that every isolation refuses, and that `allow-system-calls=` may name.
pub const REFUSED_CALLS: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioprio_set",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "prlimit64",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "setns",
    "setpriority",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
];

pub(crate) fn read_calls(text: &str) -> Result<Vec<String>, String> {
    read_known(
        text,
        REFUSED_CALLS,
        "system call that is refused",
        str::to_owned,
    )
}

fn read_known(
    text: &str,
    known: &[&str],
    what: &str,
    plain: impl Fn(&str) -> String,
) -> Result<Vec<String>, String> {
    let names = text.split(',').map(|name| plain(name.trim()));
    names
        .map(|name| {
            if known.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(format!(
                    "`{name}` is no {what}; there are {}",
                    known.join(", ")
                ))
            }
        })
        .collect()
}

/// What a supervisor has made ready for the workers of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationPlaces {
    /// What the group has in the place of `/tmp` and `/var/tmp`: `tmp` and `var-tmp` in it.
    pub temporary: Option<PathBuf>,
    /// What it has in the place of `/dev/shm`.
    pub shared_memory: Option<PathBuf>,
    /// Files and directories of other groups, and the supervisor's sockets.
    pub others: Vec<PathBuf>,
}

/// What the launcher of a worker has put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationReport {
    /// Restrictions, by the name of the option or of what they restrict.
    pub in_force: Vec<String>,
    /// What was wanted and could not be had, each with the reason.
    pub missing: Vec<String>,
}

/// How a group is kept apart, as its status says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationStatus {
    /// `isolation=`.
    pub preset: Isolation,
    /// Restrictions that are in force in the workers that were started last.
    pub in_force: Vec<String>,
    /// What was wanted and could not be had, each with the reason.
    pub missing: Vec<String>,
}

impl IsolationStatus {
    /// For people, in one line.
    pub fn in_words(&self) -> String {
        let mut words = format!("isolation {}", self.preset.name());
        if self.in_force.is_empty() && self.missing.is_empty() {
            words.push_str(", no worker was started yet");
            return words;
        }
        words.push_str(": ");
        words.push_str(&self.in_force.join(", "));
        for missing in &self.missing {
            words.push_str("; missing: ");
            words.push_str(missing);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_single_ones_and_ranges() {
        let read = PortRange::read_list("443, 8000-8010").unwrap();
        assert_eq!(PortRange::list_text(&read), "443,8000-8010");
        assert_eq!(read.iter().flat_map(|range| range.ports()).count(), 12);
        for text in ["", "0", "65536", "9-8", "http", "1-65535"] {
            assert!(PortRange::read_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn families_have_the_names_of_the_kernel_and_of_systemd() {
        assert_eq!(
            read_families("AF_UNIX, inet6").unwrap(),
            ["unix".to_owned(), "inet6".to_owned()]
        );
        assert!(
            read_families("unix,internet")
                .unwrap_err()
                .contains("internet")
        );
    }
}
