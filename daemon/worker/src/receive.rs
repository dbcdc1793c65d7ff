//! Frames that are not here as a whole yet: waiting for the rest in bounds.
//! Called by `serve` and `queue_limits`, detached.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;

use wsgid_protocol::blocking::FrameReader;

/// Why the rest of a frame is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the connection ended")]
    Gone,
    #[error("a frame did not arrive completely")]
    Late,
}

/// Receives until a frame is complete, or malformed. `piece_ms` is how long the
/// next piece may take.
pub(crate) fn receive_frame(
    reader: &mut FrameReader,
    socket: BorrowedFd<'_>,
    piece_ms: u16,
) -> Result<(), ReceiveError> {
    while !reader.has_frame() {
        let mut watched = [PollFd::new(socket, PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::from(piece_ms)) {
            Ok(0) => return Err(ReceiveError::Late),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Err(ReceiveError::Gone),
        }
        match reader.fill(socket, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(ReceiveError::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(ReceiveError::Gone),
        }
    }
    Ok(())
}
