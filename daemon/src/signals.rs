//! What the supervisor is told by signals: SIGTERM and SIGINT end it, SIGHUP reads the
//! files again. They are blocked for the whole process and read from a descriptor, so one
//! that comes while `wsgid reexec` changes the program stays pending over exec, and the
//! next program reads it. Called by `supervisor/start.rs` and by the supervisor's loop;
//! the launcher gives workers an empty mask again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    End,
    Reload,
}

pub(crate) struct Signals(SignalFd, AsyncFd<OwnedFd>);

fn ours() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Keeps them for whoever reads. Before there is another thread: each inherits it.
pub(crate) fn block() -> io::Result<()> {
    Ok(ours().thread_block()?)
}

/// Nothing is blocked in this process and what it executes.
pub(crate) fn unblock_all() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

impl Signals {
    pub(crate) fn open() -> io::Result<Self> {
        let fd = SignalFd::with_flags(&ours(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let poll = sys::poll_reads(fd.as_fd().try_clone_to_owned()?)?;
        Ok(Self(fd, poll))
    }

    /// The next one. Safe to give up while it waits.
    pub(crate) async fn next(&self) -> Asks {
        let read = |_: &OwnedFd| self.0.read_signal()?.ok_or_else(|| Errno::EAGAIN.into());
        loop {
            match self.1.async_io(Interest::READABLE, read).await {
                Ok(info) if info.ssi_signo == Signal::SIGHUP as u32 => return Asks::Reload,
                Ok(_) => return Asks::End,
                Err(error) => {
                    log_line!(SIGNAL_NOT_READ, "failed to read a signal: {error}");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// In a thread of its own, whose mask nobody else has.
    #[test]
    fn a_signal_that_came_before_anybody_listened_is_read() {
        let read = std::thread::spawn(|| {
            block().unwrap();
            nix::sys::signal::raise(Signal::SIGHUP).unwrap();
            nix::sys::signal::raise(Signal::SIGTERM).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let signals = Signals::open().unwrap();
                let one = || tokio::time::timeout(Duration::from_secs(5), signals.next());
                [one().await.unwrap(), one().await.unwrap()]
            })
        });
        assert_eq!(read.join().unwrap(), [Asks::Reload, Asks::End]);
    }
}
