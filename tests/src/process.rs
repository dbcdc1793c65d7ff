//! Processes seen from outside: `/proc` and signals.
//!
//! A process is known by pid *and* start time, so that a number used again is
//! never taken for the old process.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{self, Signal};

/// Clock ticks a second; the kernel shows times in this unit on all machines
/// that run Debian.
const TICKS: u64 = 100;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid {
    /// Its number.
    pub number: i32,
    start: u64,
}

/// Who a process is to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// The same for gid.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether `no_new_privs` is set.
    pub no_new_privs: bool,
    /// Effective capabilities.
    pub capabilities: u64,
}

impl Pid {
    /// The process that has this number now.
    #[must_use]
    pub fn current(number: i32) -> Option<Self> {
        let start = stat(number)?.get(19)?.parse().ok()?;
        Some(Self { number, start })
    }

    /// Whether it still runs. One that has ended and was not waited for does not.
    #[must_use]
    pub fn alive(self) -> bool {
        Self::current(self.number) == Some(self)
            && stat(self.number).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If that is not allowed. A process that has gone is no error.
    pub fn signal(self, signal: Signal) {
        if self.alive() {
            match signal::kill(nix::unistd::Pid::from_raw(self.number), signal) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => panic!("failed to send {signal} to {}: {error}", self.number),
            }
        }
    }

    /// Sends SIGKILL.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    /// How long ago it was started.
    #[must_use]
    pub fn age(self) -> Duration {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let up = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(0.0);
        Duration::from_secs_f64((up - self.start as f64 / TICKS as f64).max(0.0))
    }

    /// CPU time so far, of all its threads.
    #[must_use]
    pub fn cpu_time(self) -> Duration {
        let ticks = |fields: Vec<String>| -> Option<u64> {
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        Duration::from_millis(stat(self.number).and_then(ticks).unwrap_or(0) * (1000 / TICKS))
    }

    /// Its arguments, with spaces between them.
    #[must_use]
    pub fn command_line(self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.number)).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .replace('\0', " ")
            .trim_end()
            .to_owned()
    }

    /// Its open descriptors and what they are.
    #[must_use]
    pub fn descriptors(self) -> HashMap<i32, String> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.number)) else {
            return HashMap::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.parse().ok()?;
                Some((
                    number,
                    fs::read_link(entry.path())
                        .ok()?
                        .to_string_lossy()
                        .into_owned(),
                ))
            })
            .collect()
    }

    /// The environment it was started with.
    #[must_use]
    pub fn environment(self) -> HashMap<String, String> {
        let bytes = fs::read(format!("/proc/{}/environ", self.number)).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident(self) -> u64 {
        self.status("VmRSS")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }

    /// Number of threads.
    #[must_use]
    pub fn threads(self) -> usize {
        self.status("Threads")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Users, groups and privileges.
    #[must_use]
    pub fn identity(self) -> Option<Identity> {
        Some(Identity {
            uids: numbers(&self.status("Uid")?).try_into().ok()?,
            gids: numbers(&self.status("Gid")?).try_into().ok()?,
            groups: numbers(&self.status("Groups")?),
            no_new_privs: self.status("NoNewPrivs")? == "1",
            capabilities: u64::from_str_radix(&self.status("CapEff")?, 16).ok()?,
        })
    }

    /// Its children.
    #[must_use]
    pub fn children(self) -> Vec<Self> {
        all()
            .into_iter()
            .filter(|(_, parent)| *parent == self.number)
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Its children, theirs, and so on.
    #[must_use]
    pub fn descendants(self) -> Vec<Self> {
        let all = all();
        let mut found = vec![self];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(
                all.iter()
                    .filter(|(_, of)| *of == parent.number)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        found.remove(0);
        found
    }

    fn status(self, name: &str) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.number)).ok()?;
        text.lines().find_map(|line| {
            Some(
                line.strip_prefix(name)?
                    .strip_prefix(':')?
                    .trim()
                    .to_owned(),
            )
        })
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The fields of `/proc/<pid>/stat` after the name, which may hold anything:
/// state is 0, ppid 1, utime 11, stime 12, starttime 19.
fn stat(number: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// All processes with their parents.
fn all() -> Vec<(Pid, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let fields = stat(number)?;
            Some((
                Pid {
                    number,
                    start: fields.get(19)?.parse().ok()?,
                },
                fields.get(1)?.parse().ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_and_its_end_is_seen() {
        let me = Pid::current(i32::try_from(std::process::id()).expect("a pid fits"))
            .expect("this process runs");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is installed");
        let pid =
            Pid::current(i32::try_from(child.id()).expect("a pid fits")).expect("the child runs");
        assert!(me.descendants().contains(&pid));
        assert!(pid.alive());
        pid.kill();
        child.wait().expect("the child can be waited for");
        assert!(!pid.alive());
    }
}
