//! Processes that workers leave behind. With preloaders the supervisor is the
//! parent of every orphan below it (`PR_SET_CHILD_SUBREAPER`), so that forked
//! workers are its children; what sites start in the background becomes its
//! child too, and has to be reaped. Children that somebody waits for are left
//! to them.

use std::time::{Duration, Instant};

use nix::sys::prctl::{get_child_subreaper, set_child_subreaper};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};

/// From now on, and over `wsgid reexec`.
pub(crate) fn adopt_all() {
    if let Err(errno) = set_child_subreaper(true) {
        log_line!(
            NO_SUBREAPER,
            "failed to become the parent of forked workers: {errno}"
        );
    }
}

/// How long reaping may take at a time: sites decide how many there are.
const REAPING: Duration = Duration::from_millis(20);

/// Reaps what has ended and nobody waits for; what is left is for the next time. `is_known` says of a process
/// whether somebody does.
pub(crate) fn reap(is_known: impl Fn(u32) -> bool) {
    if !get_child_subreaper().unwrap_or(false) {
        return;
    }
    let until = Instant::now() + REAPING;
    while Instant::now() < until {
        // A look that reaps nothing. The kernel shows one child at a time: one
        // that is waited for hides the others until the next call.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let Some(pid) = waitid(Id::All, look)
            .ok()
            .as_ref()
            .and_then(WaitStatus::pid)
        else {
            return;
        };
        if u32::try_from(pid.as_raw()).is_ok_and(&is_known) {
            return;
        }
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => tracing::trace!("reaped a process that was left behind: {status:?}"),
            Err(_) => return,
        }
    }
}
