//! What /proc says of the relations between processes, and what they have used. Asked by
//! `forked` about a forked worker, by `express/foreground` about what httpd left behind,
//! by `bounded` about what a program left behind, by `cgroup` whether a supervisor still
//! lives and what is to be moved, by `relatives` about workers and what they forked, by
//! `supervisor/launch` and `supervisor/resources` about this process. It does not know
//! why anybody asks.

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use wsgid_policy::spawn_queue::Doing;

/// A process and its descendants: each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relative {
    pub(crate) pid: u32,
    /// As `start_of` gives it: with the number it means one process for ever.
    pub(crate) start: u64,
    /// Processor time, with that of children it has waited for.
    pub(crate) used: Duration,
}

/// A process with all that come from it, at most so many. What was orphaned is
/// no longer found, and without `CONFIG_PROC_CHILDREN` only the process itself.
pub(crate) fn family(root: u32, most: usize) -> Vec<Relative> {
    let mut found = Vec::new();
    let mut waiting = VecDeque::from([root]);
    while let Some(pid) = waiting.pop_front().filter(|_| found.len() < most) {
        let Some(one) = relative_of(pid) else {
            continue;
        };
        found.push(one);
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for thread in threads {
            waiting.extend(numbers_in(&thread.path().join("children"), u64::MAX));
        }
    }
    found
}

pub(crate) fn relative_of(pid: u32) -> Option<Relative> {
    relative(pid, &stat(pid)?)
}

/// Since the machine was started: the time it has been up, and the time in which
/// its processors had nothing to do, of all processors together.
pub(crate) fn up_and_idle() -> Option<(Duration, Duration)> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let mut words = text
        .split_ascii_whitespace()
        .map(|word| Duration::try_from_secs_f64(word.parse().ok()?).ok());
    Some((words.next()??, words.next()??))
}

/// The parent of a process, if there is such a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    parent(&stat(pid)?)
}

/// When a process was started, in ticks since the machine was; `None` also if it
/// has ended and nobody has waited for it.
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    let stat = stat(pid)?;
    let mut rest = fields(&stat)?;
    let state = rest.next()?;
    // Field 22 of the whole line.
    (state != "Z").then(|| rest.nth(18)?.parse().ok())?
}

pub(crate) fn doing(pid: u32) -> Option<Doing> {
    let stat = stat(pid)?;
    let waits = !matches!(fields(&stat)?.next()?, "R" | "D");
    Some(Doing {
        used: relative(pid, &stat)?.used,
        waits,
    })
}

/// The numbers of processes in a file of the kernel, as far as so many bytes of it
/// hold. A space or a line end is behind each: what was cut off is left out.
pub(crate) fn numbers_in(file: &Path, bytes: u64) -> Vec<u32> {
    let mut text = String::new();
    let read = fs::File::open(file).and_then(|file| file.take(bytes).read_to_string(&mut text));
    let whole = text.rfind(char::is_whitespace).filter(|_| read.is_ok());
    let words = text[..whole.unwrap_or(0)].split_ascii_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Our children, adopted ones too.
pub(crate) fn children() -> Vec<u32> {
    let me = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| parent_of(*pid) == Some(me)).collect()
}

fn relative(pid: u32, stat: &str) -> Option<Relative> {
    let mut rest = fields(stat)?;
    // utime, stime, cutime, cstime are fields 14 to 17 of the whole line, the
    // start is field 22.
    let times = rest.by_ref().skip(11).take(4);
    let ticks: u64 = times.filter_map(|word| word.parse::<u64>().ok()).sum();
    let start = rest.nth(4)?.parse().ok()?;
    let of_a_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let used = Duration::from_millis(ticks.saturating_mul(1000).checked_div(of_a_second)?);
    Some(Relative { pid, start, used })
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// `pid (name) state parent …`, from the state on: the name may hold anything,
/// parentheses too.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

fn parent(stat: &str) -> Option<u32> {
    fields(stat)?.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_and_has_this_parent() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert_eq!(parent_of(child.id()), Some(std::process::id()));
        assert!(children().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&child.id()));
        assert_eq!(parent_of(u32::MAX), None);
    }

    #[test]
    fn a_family_is_found_with_what_it_has_used() {
        let script = "sleep 60 & i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; wait";
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        let found = loop {
            let found = family(child.id(), 10);
            if found.len() == 2 && !found[0].used.is_zero() || std::time::Instant::now() > until {
                break found;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(
            (found[0].pid, Some(found[0].start)),
            (child.id(), start_of(child.id()))
        );
        assert!(
            found[0].used > Duration::ZERO && found[0].used < Duration::from_secs(20),
            "{found:?}"
        );
        assert_eq!(parent_of(found[1].pid), Some(child.id()));
        assert_eq!(family(child.id(), 1).len(), 1);
        for one in found.iter().rev() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(one.pid).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
        assert_eq!(family(child.id(), 10), []);
        let (up, idle) = up_and_idle().unwrap();
        assert!(up > Duration::ZERO && idle > Duration::ZERO);
    }

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        assert_eq!(parent("12 (sh) S 34 12"), Some(34));
        assert_eq!(parent("12 (a) S 1) b ( 5) R 34 12"), Some(34));
        assert_eq!(parent("12 (cut"), None);
    }
}
