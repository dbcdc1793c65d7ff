//! What is at the front of a request connection's receive queue, without taking a
//! byte off the socket (PROTOCOL.md §5: unread bytes are the proof that a request
//! has not begun). Called by `connections`.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::socket::MsgFlags;
use wsgid_protocol::{FrameHead, Kind, fds, limits::HEAD_LEN};

/// What is at the front of a connection's receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueFront {
    /// A whole head of a REQUEST with the right nonce.
    Request,
    Nothing,
    /// Something else, or a part of a head.
    Other,
    /// The module has closed its end.
    Ended,
}

pub(super) fn is_there(fd: BorrowedFd<'_>) -> bool {
    match peek(fd, &mut [0; 1]) {
        Ok(count) => count > 0,
        // There is something, for which `of` says `Ended`.
        Err(error) => error.kind() == io::ErrorKind::InvalidData,
    }
}

/// Bytes that have descriptors with them are no request's: `InvalidData`.
fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    match fds::peek(fd, buffer, MsgFlags::MSG_DONTWAIT)? {
        (_, true) => Err(io::ErrorKind::InvalidData.into()),
        (count, false) => Ok(count),
    }
}

pub(super) fn of(fd: BorrowedFd<'_>, nonce: u32) -> QueueFront {
    let mut bytes = [0; HEAD_LEN];
    match peek(fd, &mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => QueueFront::Nothing,
        Ok(0) | Err(_) => QueueFront::Ended,
        Ok(HEAD_LEN) if request_id(&bytes, nonce).is_some() => QueueFront::Request,
        Ok(_) => QueueFront::Other,
    }
}

/// The number of the request that waits.
pub(super) fn waiting_request(fd: BorrowedFd<'_>, nonce: u32) -> Option<u64> {
    let mut bytes = [0; HEAD_LEN];
    let count = peek(fd, &mut bytes).ok()?;
    request_id(&bytes, nonce).filter(|_| count == HEAD_LEN)
}

fn request_id(head: &[u8; HEAD_LEN], nonce: u32) -> Option<u64> {
    let head = FrameHead::parse(head).ok()?;
    (head.kind == Kind::Request && head.id >> 32 == u64::from(nonce)).then_some(head.id)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_a_whole_request_head_with_the_nonce_is_unread() {
        let (ours, mut module) = UnixStream::pair().unwrap();
        let look = || of(ours.as_fd(), 7);
        assert_eq!(look(), QueueFront::Nothing);
        let head = FrameHead::new(Kind::Request, 7 << 32 | 1, 0).encode();
        module.write_all(&head[..15]).unwrap();
        assert_eq!(look(), QueueFront::Other);
        module.write_all(&head[15..]).unwrap();
        assert_eq!(look(), QueueFront::Request);
        assert_eq!(of(ours.as_fd(), 8), QueueFront::Other);
        assert_eq!(look(), QueueFront::Request, "looking takes nothing");
    }
}
