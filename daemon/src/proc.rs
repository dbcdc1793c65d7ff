//! What /proc says of the relations between processes. Asked by `birth` about a
//! forked worker, by `express/foreground` about what httpd left behind and by
//! `cgroup` whether a supervisor still lives. It does not know why anybody asks.

use std::fs;

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

/// Our children, adopted ones too.
pub(crate) fn children() -> Vec<u32> {
    let me = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| parent_of(*pid) == Some(me)).collect()
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
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(parent_of(child.id()), Some(std::process::id()));
        assert!(children().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&child.id()));
        assert_eq!(parent_of(u32::MAX), None);
    }

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        assert_eq!(parent("12 (sh) S 34 12"), Some(34));
        assert_eq!(parent("12 (a) S 1) b ( 5) R 34 12"), Some(34));
        assert_eq!(parent("12 (cut"), None);
    }
}
