//! Sends and receives descriptors beside bytes (SCM_RIGHTS).
//!
//! The only file of this crate that needs unsafe code: a received number
//! becomes an `OwnedFd`. A peer that sends more descriptors than were agreed
//! loses them all: they are closed and the receive fails.
#![expect(unsafe_code, reason = "a number received through SCM_RIGHTS becomes an OwnedFd")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::limits::MAX_DESCRIPTORS;

/// Sends the slices, and the descriptors with their first byte. Returns how
/// many bytes went.
///
/// # Errors
/// As `sendmsg(2)`; never SIGPIPE.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> io::Result<usize> {
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    if fds.is_empty() {
        return Ok(sendmsg::<()>(socket.as_raw_fd(), slices, &[], flags, None)?);
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    Ok(sendmsg::<()>(socket.as_raw_fd(), slices, &[ControlMessage::ScmRights(&raw)], flags, None)?)
}

/// Room for received descriptors, kept between calls so that a receive does
/// not allocate.
#[derive(Debug)]
pub struct DescriptorRoom {
    space: Vec<u8>,
    max: usize,
}

impl DescriptorRoom {
    /// Room for up to `max` descriptors in one receive.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.min(MAX_DESCRIPTORS);
        let space = if max <= 1 { cmsg_space!([RawFd; 1]) } else { cmsg_space!([RawFd; MAX_DESCRIPTORS]) };
        Self { space, max }
    }
}

/// Receives bytes into `buffer` and descriptors into `fds`. Returns how many
/// bytes came; 0 is the end.
///
/// # Errors
/// As `recvmsg(2)`; also if more descriptors came than there is room for.
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: &mut DescriptorRoom,
    fds: &mut Vec<OwnedFd>,
    flags: MsgFlags,
) -> io::Result<usize> {
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room.space), flags)?;
    let truncated = message.flags.contains(MsgFlags::MSG_CTRUNC);
    let mut got = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just installed this descriptor for us;
                // nobody else knows its number.
                got.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    if truncated || got.len() > room.max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than were agreed"));
    }
    fds.append(&mut got);
    Ok(message.bytes)
}
