//! Moves processes that run already into a control group, with all that they
//! have forked. Each write may have to wait for every fork on the machine that
//! is under way, so this has a thread of its own; made by `Cgroups`, used by the
//! supervisor for groups that turn out to need a control group.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::process::procfs::{Relative, family, start_of};

/// What was forked while others were moved is found by looking again.
const PASSES: usize = 3;
/// More than so many descendants of one worker are not looked for.
const MOST: usize = 1000;

/// Where to, and where from, in every hierarchy: files that take a number.
#[derive(Debug)]
pub(crate) struct Move {
    doors: Vec<(PathBuf, PathBuf)>,
}

impl Move {
    pub(super) fn new(doors: Vec<(PathBuf, PathBuf)>) -> Self {
        Self { doors }
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
            let new: Vec<Relative> = all
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
        let moving = Move::new(vec![(file("there"), file("home"))]);
        let me = family(std::process::id(), 1)[0];
        moving.take(me);
        assert_eq!(
            fs::read_to_string(file("there")).unwrap(),
            me.pid.to_string()
        );
        assert!(!file("home").exists());
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
