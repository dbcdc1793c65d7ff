//! Sends and receives descriptors beside bytes (SCM_RIGHTS).
//!
//! The only file of this crate that needs unsafe code: a received number
//! becomes an `OwnedFd`. There is always room for as many as one message can
//! bring, for what does not fit is closed by the kernel in the receiver, which
//! may sleep. All descriptors that came are the caller's to close, who may use `disposal`.
//! The control data is walked here because a library that refuses truncated
//! control data as a whole leaks the descriptors in front of the cut.
#![expect(
    unsafe_code,
    reason = "a number received through SCM_RIGHTS becomes an OwnedFd"
)]

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::limits::MAX_DESCRIPTORS;

/// The most descriptors that the kernel lets one message have (`SCM_MAX_FD`).
const MESSAGE_MAX: usize = 253;
/// Whether a socket takes descriptors. Linux 6.16; the C library does not know it.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Sends the slices, and the descriptors with their first byte; never SIGPIPE. Returns
/// how many bytes went.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> io::Result<usize> {
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    Ok(sendmsg::<()>(
        socket.as_raw_fd(),
        slices,
        control,
        flags,
        None,
    )?)
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
    /// Up to `max` descriptors in one receive are agreed; there is room for all
    /// that a peer can send.
    pub fn new(max: usize) -> Self {
        let max = max.min(MAX_DESCRIPTORS);
        let data =
            u32::try_from(MESSAGE_MAX * size_of::<RawFd>()).expect("the limit is far below 4 GiB");
        // SAFETY: CMSG_SPACE computes with numbers only.
        let bytes = unsafe { libc::CMSG_SPACE(data) } as usize;
        Self {
            space: vec![0; bytes.div_ceil(size_of::<usize>())],
            max,
        }
    }

    /// The most descriptors that one receive should bring.
    pub const fn max(&self) -> usize {
        self.max
    }
}

/// What one receive has brought.
#[derive(Debug)]
pub struct ReceivedBytes {
    /// How many bytes; 0 is the end.
    pub count: usize,
    /// Descriptors, perhaps more than were agreed.
    pub fds: Vec<OwnedFd>,
    /// Whether the kernel left descriptors out: the process may have no more.
    pub is_cut: bool,
}

/// Receives bytes into `buffer`, and the descriptors that are with them.
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    room: &mut DescriptorRoom,
    flags: MsgFlags,
) -> io::Result<ReceivedBytes> {
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let (count, header) = receive(socket, buffer, &mut room.space, flags)?;
    Ok(ReceivedBytes {
        count,
        fds: take_descriptors(&header),
        is_cut: header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Looks at what a receive would bring and takes nothing. Returns how many bytes,
/// and whether descriptors are with them. Where credentials come with each
/// message, they are taken for descriptors.
pub fn peek(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, bool)> {
    let (count, header) = receive(socket, buffer, &mut [], flags | MsgFlags::MSG_PEEK)?;
    Ok((count, header.msg_flags & libc::MSG_CTRUNC != 0))
}

/// `recvmsg(2)`: how many bytes came, and the header as the kernel left it, over
/// `control`.
fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [usize],
    flags: MsgFlags,
) -> io::Result<(usize, libc::msghdr)> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zero is a valid msghdr, one without address, data and control.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(control);
    // SAFETY: the header points to one slice over `buffer` and to `control`, both
    // borrowed mutably for this call, with their true lengths.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags.bits()) };
    // Negative exactly on failure.
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    header.msg_iov = std::ptr::null_mut();
    Ok((count, header))
}

/// Has the kernel refuse to let anybody send descriptors to this Unix socket.
pub(crate) fn refuse(socket: BorrowedFd<'_>) -> io::Result<()> {
    let no: libc::c_int = 0;
    let len = libc::socklen_t::try_from(size_of_val(&no)).map_err(io::Error::other)?;
    let number = socket.as_raw_fd();
    let value = (&raw const no).cast();
    // SAFETY: the pointer and the length are those of a number that lives for the call.
    let done = unsafe { libc::setsockopt(number, libc::SOL_SOCKET, SO_PASSRIGHTS, value, len) };
    Ok(Errno::result(done).map(drop)?)
}

/// How many bytes lie unread in a socket.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one number, which lives for the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    Errno::result(done)?;
    usize::try_from(count).map_err(io::Error::other)
}

/// Gives the calling thread a descriptor table of its own, in which only these
/// are open. Whatever else runs in this thread later finds no descriptor of the
/// process: it is about to end. Fails before Linux 5.9, which has no `close_range(2)`.
pub(crate) fn own_table(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter_map(|number| u32::try_from(*number).ok())
        .collect();
    keep.sort_unstable();
    let behind = keep.last().map_or(0, |last| last + 1);
    // Descriptors behind the last one that is kept are not even copied.
    close_range(behind, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    let mut first = 0;
    for number in keep {
        if number > first {
            close_range(first, number - 1, 0)?;
        }
        first = number + 1;
    }
    Ok(())
}

/// By [`own_table`] alone, which has a table that no `OwnedFd` means.
fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    let [first, last, flags] = [first, last, flags].map(i64::from);
    // SAFETY: the descriptors of the process are not touched: the first call of
    // a thread unshares the table before it closes anything.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Ok(Errno::result(done).map(drop)?)
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
