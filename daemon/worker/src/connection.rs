//! A request connection that the supervisor assigned to this worker.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

/// A connection to an httpd child. Whoever holds the last reference closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The supervisor's number for it.
    pub(crate) number: u64,
    /// The upper 32 bits of every request id on it.
    pub(crate) nonce: u32,
    socket: OwnedFd,
}

impl Connection {
    pub(crate) fn new(number: u64, nonce: u32, socket: OwnedFd) -> Self {
        Self {
            number,
            nonce,
            socket,
        }
    }

    /// Whether a frame with this id may be on this connection.
    pub(crate) fn owns(&self, id: u64) -> bool {
        id >> 32 == u64::from(self.nonce)
    }

    /// Receives what is here, and leaves it in the socket.
    pub(crate) fn peek(&self, space: &mut [u8]) -> nix::Result<usize> {
        self.recv(space, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
    }

    pub(crate) fn recv(&self, space: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
        recv(self.socket.as_raw_fd(), space, flags)
    }

    /// Whether the other side has closed it; what it has sent before stays where it is.
    pub(crate) fn is_given_up(&self) -> bool {
        let asked = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let mut polled = [PollFd::new(self.as_fd(), asked)];
        matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
    }

    /// Ends the connection for both sides, whoever else holds a copy.
    pub(crate) fn shut_down(&self) {
        // It may be gone already; then there is nothing left to end.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
