//! Sends and receives descriptors beside bytes (SCM_RIGHTS).
//!
//! The only file of this crate that needs unsafe code: a received number
//! becomes an `OwnedFd`. A peer that sends more descriptors than were agreed
//! loses them all: every one that arrived is closed and the receive fails. The
//! control data is walked here because a library that refuses truncated control
//! data as a whole leaks the descriptors in front of the cut.
#![expect(unsafe_code, reason = "a number received through SCM_RIGHTS becomes an OwnedFd")]

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

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
    /// Words, because control data is aligned to them.
    space: Vec<usize>,
    max: usize,
}

impl DescriptorRoom {
    /// Room for up to `max` descriptors in one receive.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.min(MAX_DESCRIPTORS);
        let data = u32::try_from(max * size_of::<RawFd>()).expect("the limit is far below 4 GiB");
        // SAFETY: CMSG_SPACE computes with numbers only.
        let bytes = unsafe { libc::CMSG_SPACE(data) } as usize;
        Self { space: vec![0; bytes.div_ceil(size_of::<usize>())], max }
    }

    /// The most descriptors that one receive may bring.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }
}

/// Receives bytes into `buffer` and descriptors into `fds`. Returns how many
/// bytes came; 0 is the end.
///
/// # Errors
/// As `recvmsg(2)`; also if more descriptors came than there is room for, or
/// the process may not have so many. Bytes of that receive are lost then: the
/// connection cannot be used any more.
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: &mut DescriptorRoom,
    fds: &mut Vec<OwnedFd>,
    flags: MsgFlags,
) -> io::Result<usize> {
    let (count, got, cut) = recv_once(socket, buffer, room, flags)?;
    if cut || got.len() > room.max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than were agreed, or than fit"));
    }
    fds.extend(got);
    Ok(count)
}

/// Receives bytes, and at most one descriptor with them, from a peer that is
/// trusted to send no more. `Some(None)`: there was one, and this process may
/// not have any more; the bytes are whole.
///
/// # Errors
/// As `recvmsg(2)`; also if more than one came.
pub fn recv_with_fd(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: &mut DescriptorRoom,
    flags: MsgFlags,
) -> io::Result<(usize, Option<Option<OwnedFd>>)> {
    let (count, mut got, cut) = recv_once(socket, buffer, room, flags)?;
    match (got.pop(), cut) {
        (None, false) => Ok((count, None)),
        (None, true) => Ok((count, Some(None))),
        (Some(fd), false) if got.is_empty() => Ok((count, Some(Some(fd)))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more than one descriptor")),
    }
}

/// Bytes, descriptors, and whether the kernel left some out.
fn recv_once(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: &mut DescriptorRoom,
    flags: MsgFlags,
) -> io::Result<(usize, Vec<OwnedFd>, bool)> {
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero is a valid msghdr, one without address, data and control.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = room.space.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(room.space.as_slice());
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    // SAFETY: the header points to one slice over `buffer` and to `room.space`,
    // both borrowed mutably for this call, with their true lengths.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags.bits()) };
    // Negative exactly on failure.
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;

    let got = take_descriptors(&header);
    Ok((count, got, header.msg_flags & libc::MSG_CTRUNC != 0))
}

/// Takes every descriptor that the kernel installed, also where it had to stop
/// in the middle.
fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut got = Vec::new();
    // SAFETY: the kernel has filled in the header's control data and its length.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: not null, so it points to a whole head inside the control data.
    while let Some(message) = unsafe { control.as_ref() } {
        if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN computes with numbers only.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = message.cmsg_len.saturating_sub(head) / size_of::<RawFd>();
            // SAFETY: `control` points to a whole head; its data follows it.
            let data = unsafe { libc::CMSG_DATA(control) }.cast::<RawFd>();
            for index in 0..count {
                // SAFETY: `cmsg_len` says that so many numbers follow the head.
                let place = unsafe { data.add(index) };
                // SAFETY: the place is inside the control data, see above.
                let number = unsafe { place.read_unaligned() };
                // SAFETY: the kernel has just installed this descriptor for us;
                // nobody else knows its number.
                got.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: `control` came from this header, which has not changed since.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    got
}
