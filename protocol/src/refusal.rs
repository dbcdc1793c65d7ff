//! Sockets on which no descriptor is due. A descriptor that a stranger sends is
//! closed by whoever receives it or closes the socket, and some closes sleep: a
//! TCP connection that lingers, a file of a FUSE daemon that does not answer.
//! Linux 6.16 and later refuse to let one be sent (`SO_PASSRIGHTS`); on older
//! kernels the receiver looks before it takes anything. What lies in a socket
//! then is closed by `disposal`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use crate::fds;

/// Set for tests, in the environment of httpd or the supervisor: they behave as
/// on a kernel without `SO_PASSRIGHTS`.
pub const WITHOUT_PASSRIGHTS: &str = "WSGID_TEST_WITHOUT_PASSRIGHTS";

/// A peer sent descriptors where none is due.
#[derive(Debug, thiserror::Error)]
#[error("descriptors came where none is due")]
pub struct Unwanted;

/// How descriptors are refused on a socket.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    enforced: bool,
}

impl Refusal {
    /// Refuses descriptors on this socket, and on those that it accepts.
    pub fn on(socket: BorrowedFd<'_>) -> Self {
        let enforced = !is_left_out() && fds::refuse(socket).is_ok();
        if !enforced {
            take_urgent_bytes_in_line(socket);
        }
        Self { enforced }
    }

    /// Whether the kernel does it: then none can lie in the socket, as long as
    /// nobody else has had it.
    pub const fn is_enforced(self) -> bool {
        self.enforced
    }

    /// Receives bytes. [`Unwanted`] inside of `InvalidData` if descriptors are with
    /// them: all stays in the socket, which goes to `disposal`.
    pub fn recv(
        self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        flags: MsgFlags,
    ) -> io::Result<usize> {
        if self.enforced {
            return Ok(recv(socket.as_raw_fd(), buffer, flags)?);
        }
        let count = match fds::peek(socket, buffer, flags)? {
            (_, true) => return Err(io::Error::new(io::ErrorKind::InvalidData, Unwanted)),
            (count, false) => count,
        };
        // What was seen and no more: descriptors may have come behind it.
        let seen = buffer.get_mut(..count).unwrap_or_default();
        Ok(recv(socket.as_raw_fd(), seen, flags)?)
    }
}

/// Whether this is what [`Refusal::recv`] says of descriptors.
pub fn is_unwanted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unwanted>())
}

/// An urgent byte (`MSG_OOB`) is skipped by ordinary receives, and descriptors
/// with it are closed on the way, unseen. In line it is a byte like others.
pub fn take_urgent_bytes_in_line(socket: BorrowedFd<'_>) {
    // A kernel without urgent bytes on Unix sockets takes the option as well.
    let _ = setsockopt(&socket, sockopt::OobInline, &true);
}

fn is_left_out() -> bool {
    static LEFT_OUT: OnceLock<bool> = OnceLock::new();
    *LEFT_OUT.get_or_init(|| std::env::var_os(WITHOUT_PASSRIGHTS).is_some())
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::fds::send_with_fds;

    const LOOKING: Refusal = Refusal { enforced: false };

    #[test]
    fn where_the_kernel_can_it_refuses_the_sender() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let refusal = Refusal::on(ours.as_fd());
        for flags in [MsgFlags::empty(), MsgFlags::MSG_OOB] {
            let sent = send_with_fds(
                theirs.as_fd(),
                &[IoSlice::new(b"x")],
                &[theirs.as_fd()],
                flags,
            );
            assert_eq!(sent.is_err(), refusal.is_enforced(), "{sent:?}");
        }
        send_with_fds(
            ours.as_fd(),
            &[IoSlice::new(b"x")],
            &[ours.as_fd()],
            MsgFlags::empty(),
        )
        .unwrap();
    }

    #[test]
    fn on_another_kernel_what_has_descriptors_stays_in_the_socket() {
        for flags in [MsgFlags::empty(), MsgFlags::MSG_OOB] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            take_urgent_bytes_in_line(ours.as_fd());
            theirs.write_all(b"plain").unwrap();
            let mut buffer = [0; 100];
            assert_eq!(
                LOOKING
                    .recv(ours.as_fd(), &mut buffer, MsgFlags::empty())
                    .unwrap(),
                5
            );
            send_with_fds(
                theirs.as_fd(),
                &[IoSlice::new(b"x")],
                &[theirs.as_fd()],
                flags,
            )
            .unwrap();
            for _ in 0..2 {
                let error = LOOKING
                    .recv(ours.as_fd(), &mut buffer, MsgFlags::empty())
                    .unwrap_err();
                assert!(is_unwanted(&error), "{error}");
            }
            assert_eq!(fds::unread(ours.as_fd()).unwrap(), 1);
        }
    }

    #[test]
    fn the_end_and_an_empty_socket_are_seen_as_ever() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut buffer = [0; 10];
        let error = LOOKING
            .recv(ours.as_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert_eq!(
            LOOKING
                .recv(ours.as_fd(), &mut buffer, MsgFlags::empty())
                .unwrap(),
            0
        );
    }
}
