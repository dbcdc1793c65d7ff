//! A worker process to wait for: one that this program started, or one that
//! the program before did, which is a child all the same.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use crate::channel::closing::Guarded;
use crate::sys;

/// A worker process that runs already, and the supervisor's ends of its sockets and
/// pipes: one that was just forked, or one that the program before had.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) control: Guarded,
    /// Standard output and standard error.
    pub(crate) pipes: [OwnedFd; 2],
    /// What it has said already.
    pub(crate) inbox: Vec<u8>,
}

pub(crate) enum Process {
    Started(Child),
    Adopted(u32, AsyncFd<OwnedFd>),
    /// The program before has reaped it: its number may be another's by now.
    Ended(ExitStatus),
}

impl Process {
    /// Goes on with a child, or with the end of it that the program before saw.
    pub(crate) fn adopt(pid: u32, ended: Option<ExitStatus>) -> io::Result<Self> {
        match ended {
            Some(status) => Ok(Self::Ended(status)),
            None => Ok(Self::Adopted(pid, sys::poll_reads(sys::pidfd(pid)?)?)),
        }
    }

    /// Whether its number may be another process's.
    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Waits for its end and reaps it.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        match self {
            Self::Started(child) => child.wait().await.unwrap_or_default(),
            Self::Ended(status) => *status,
            Self::Adopted(pid, pidfd) => loop {
                let Ok(mut ready) = pidfd.readable().await else {
                    return ExitStatus::default();
                };
                match sys::reap(*pid) {
                    Ok(Some(status)) => return ExitStatus::from_raw(status),
                    Ok(None) => ready.clear_ready(),
                    Err(_) => return ExitStatus::default(),
                }
            },
        }
    }

    /// Leaves it to whoever goes on with it: nobody may reap it meanwhile.
    pub(crate) fn leave(self) {
        if let Self::Started(child) = self {
            // Dropped, the runtime would wait for it.
            std::mem::forget(child);
        }
    }
}
