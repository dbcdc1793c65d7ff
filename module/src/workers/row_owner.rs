//! Who owns a row of a table in shared memory: the process whose id stands in the row's
//! cell, until it gives the row back or is found to have gone. Used by `loads` and
//! `thread_table`, whose rows hold different things.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::kill;
use nix::unistd::Pid;

const SWEPT: u32 = u32::MAX;

/// Takes the row for this process, if nobody has it.
pub(super) fn claim(owner: &AtomicU32, pid: u32) -> bool {
    owner.load(Ordering::Relaxed) == 0
        && owner
            .compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
}

/// Frees the row of a process that has gone, once `empty` has emptied it.
pub(super) fn sweep(owner: &AtomicU32, is_gone: impl Fn(u32) -> bool, empty: impl FnOnce()) {
    let pid = owner.load(Ordering::Relaxed);
    let is_stale = pid != 0 && pid != SWEPT && is_gone(pid);
    if is_stale
        && owner
            .compare_exchange(pid, SWEPT, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    {
        empty();
        owner.store(0, Ordering::Release);
    }
}

/// A process of another user counts as alive: it cannot be told.
pub(super) fn is_gone(pid: u32) -> bool {
    i32::try_from(pid)
        .is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_live_are_not_gone() {
        assert!(!is_gone(std::process::id()));
        assert!(!is_gone(1));
    }
}
