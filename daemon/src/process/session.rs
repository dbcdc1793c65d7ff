//! What a new worker belongs to: a process group of its own, no terminal, and
//! the session it was started in. Called by the launcher.
//!
//! The kernel may share out the processors by session (`autogroup`). A worker in
//! a session of its own is woken against httpd at a price: a third of the
//! requests per second (docs/performance.md). So a session is not made for what
//! a process group and no terminal do as well.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::unistd::{Pid, setpgid, setsid};

use crate::sys;

/// `own`: the session too.
pub(crate) fn enter(own: bool) -> io::Result<()> {
    if own || !leave_terminal()? {
        setsid()?;
    } else {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    }
    Ok(())
}

/// Whether there is no controlling terminal any more. Only a session's leader
/// can get another.
fn leave_terminal() -> io::Result<bool> {
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => sys::give_up_terminal(terminal.as_fd()).map(|()| true),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(true),
        // Without the device nobody can tell.
        Err(_) => Ok(false),
    }
}
