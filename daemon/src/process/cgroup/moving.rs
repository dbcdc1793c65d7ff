//! Moves processes that run already into a control group, with all that they
//! have forked, or all from one into another. Each write may have to wait for every fork on the machine that
//! is under way, so this has a thread of its own; made by `Cgroups`, used by the
//! supervisor for groups that turn out to need a control group.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::process::procfs::{Relative, family, numbers_in, relative_of, start_of};

/// What was forked while others were moved is found by looking again.
const PASSES: usize = 3;
/// More than so many descendants of one worker are not looked for.
const MOST: usize = 1000;
/// Bytes of the list of those that were together before.
const LIST_BYTES: u64 = 32 << 10;

/// Where to, and where from, in every hierarchy: files that take a number.
#[derive(Debug)]
pub(crate) struct Move {
    doors: Vec<(PathBuf, PathBuf)>,
    /// The list of those that were together before and come along, whoever they are.
    before: Option<PathBuf>,
}

impl Move {
    pub(super) fn new(doors: Vec<(PathBuf, PathBuf)>, before: Option<PathBuf>) -> Self {
        Self { doors, before }
    }

    /// Begins. The processes must be children that nobody else waits for, so that
    /// their numbers stay theirs.
    pub(crate) fn start(self, roots: Vec<u32>) {
        let named = thread::Builder::new().name("mover".to_owned());
        if let Err(error) = named.spawn(move || self.run(&roots)) {
            log_line!(
                NOT_MOVED,
                "workers stay outside their control group: failed to start a thread: {error}"
            );
        }
    }

    fn run(&self, roots: &[u32]) {
        let mut done = BTreeSet::new();
        for _ in 0..PASSES {
            let all = roots.iter().flat_map(|root| family(*root, MOST));
            let before = self.before.iter().flat_map(|list| members(list));
            let new: Vec<Relative> = all
                .chain(before)
                .filter(|one| done.insert((one.pid, one.start)))
                .collect();
            if new.is_empty() {
                return;
            }
            for one in new {
                self.take(one);
            }
        }
    }

    fn take(&self, one: Relative) {
        for (there, _) in &self.doors {
            if let Err(error) = put(there, one.pid) {
                tracing::trace!(
                    "process {} does not enter `{}`: {error}",
                    one.pid,
                    there.display()
                );
            }
        }
        // The number of one that has ended meanwhile may be anybody's by now.
        if start_of(one.pid).is_some_and(|start| start != one.start) {
            for (_, home) in &self.doors {
                let _ = put(home, one.pid);
            }
        }
    }
}

/// Who is in a control group. Only those that still are when it is known who they are: a
/// number may have become another process's.
fn members(list: &Path) -> Vec<Relative> {
    let seen = numbers_in(list, LIST_BYTES).into_iter();
    let known: Vec<Relative> = seen.filter_map(relative_of).collect();
    let still: BTreeSet<u32> = numbers_in(list, LIST_BYTES).into_iter().collect();
    let known = known.into_iter();
    known.filter(|one| still.contains(&one.pid)).collect()
}

fn put(file: &Path, pid: u32) -> std::io::Result<()> {
    fs::write(file, pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory stands in for the kernel's: what is written is seen.
    #[test]
    fn whoever_got_the_number_meanwhile_goes_back() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| place.path().join(name);
        let moving = Move::new(vec![(file("there"), file("home"))], None);
        let me = family(std::process::id(), 1)[0];
        moving.take(me);
        assert_eq!(
            fs::read_to_string(file("there")).unwrap(),
            me.pid.to_string()
        );
        assert!(!file("home").exists());
        fs::write(file("list"), format!("{}\n4194999\n", me.pid)).unwrap();
        assert!(
            members(&file("list"))
                .iter()
                .map(|one| one.pid)
                .eq([me.pid])
        );
        moving.take(Relative {
            start: me.start + 1,
            ..me
        });
        assert_eq!(
            fs::read_to_string(file("home")).unwrap(),
            me.pid.to_string()
        );
    }
}
