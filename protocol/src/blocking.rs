//! Frames over a socket for code that may block: the httpd module and the
//! worker. The reader keeps what it has received and hands out one frame at a
//! time; the writer sends whole frames, several in one system call.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv};

use crate::fds::{DescriptorRoom, recv_with_fds, send_with_fds};
use crate::head::{FrameHead, HeadError};
use crate::limits::HEAD_LEN;

/// Bytes a reader asks for at once unless a frame needs more.
const CHUNK: usize = 64 * 1024;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer broke the protocol.
    #[error("malformed frame head")]
    Head(#[from] HeadError),
    /// The connection ended in the middle of a frame.
    #[error("connection ended in the middle of a frame")]
    Truncated,
    /// The connection ended between two frames.
    #[error("connection ended")]
    Closed,
    /// The operating system refused; `WouldBlock` is a receive timeout.
    #[error("failed to receive")]
    Io(#[from] io::Error),
}

/// One frame; the payload is in the reader's buffer.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its head.
    pub head: FrameHead,
    /// Its payload, `head.len` bytes.
    pub payload: &'a [u8],
}

/// Reads frames from a stream socket.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    fds: Vec<OwnedFd>,
    room: Option<DescriptorRoom>,
}

impl FrameReader {
    /// A reader that accepts up to `descriptors` descriptors with one receive.
    /// With 0 the kernel discards whatever a peer sends.
    #[must_use]
    pub fn new(descriptors: usize) -> Self {
        let room = (descriptors > 0).then(|| DescriptorRoom::new(descriptors));
        Self { buffer: Vec::new(), start: 0, end: 0, fds: Vec::new(), room }
    }

    /// Whether no received byte is waiting to be parsed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next frame if it is complete in the buffer.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn next_buffered(&mut self) -> Result<Option<Frame<'_>>, HeadError> {
        match self.parse()? {
            Some(head) => Ok(Some(self.take(head))),
            None => Ok(None),
        }
    }

    /// The next frame, receiving as often as needed.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next(&mut self, socket: BorrowedFd<'_>) -> Result<Frame<'_>, ReadError> {
        let head = loop {
            if let Some(head) = self.parse()? {
                break head;
            }
            if self.fill(socket, MsgFlags::empty())? == 0 {
                return Err(if self.is_empty() { ReadError::Closed } else { ReadError::Truncated });
            }
        };
        Ok(self.take(head))
    }

    /// Receives once. Returns how many bytes came; 0 is the end.
    ///
    /// # Errors
    /// As `recv(2)`; an interrupted call is repeated.
    pub fn fill(&mut self, socket: BorrowedFd<'_>, flags: MsgFlags) -> io::Result<usize> {
        self.make_room();
        let space = &mut self.buffer[self.end..];
        loop {
            let got = match &mut self.room {
                Some(room) => recv_with_fds(socket, space, room, &mut self.fds, flags),
                None => recv(socket.as_raw_fd(), space, flags).map_err(io::Error::from),
            };
            match got {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The oldest descriptor that was received and not taken yet.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        if self.fds.is_empty() { None } else { Some(self.fds.remove(0)) }
    }

    /// Forgets everything received, also descriptors.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.fds.clear();
    }

    fn parse(&self) -> Result<Option<FrameHead>, HeadError> {
        let unread = &self.buffer[self.start..self.end];
        let Some(bytes) = unread.first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let head = FrameHead::parse(bytes)?;
        Ok((unread.len() - HEAD_LEN >= head.len as usize).then_some(head))
    }

    fn take(&mut self, head: FrameHead) -> Frame<'_> {
        let payload = self.start + HEAD_LEN;
        self.start = payload + head.len as usize;
        Frame { head, payload: &self.buffer[payload..self.start] }
    }

    /// Makes room for at least the rest of the frame at the front.
    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let front = &self.buffer[self.start..self.end];
        let wanted = front
            .first_chunk::<HEAD_LEN>()
            .and_then(|bytes| FrameHead::parse(bytes).ok())
            .map_or(0, |head| HEAD_LEN + head.len as usize);
        let wanted = wanted.max(CHUNK);
        if self.start + wanted > self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() || self.start + wanted > self.buffer.len() {
            let len = (self.start + wanted).max(self.end + 1);
            self.buffer.resize(len, 0);
        }
    }
}

/// Sends every byte of the slices, the descriptors with the first. With
/// `MSG_DONTWAIT` in `flags` it stops where the socket is full.
///
/// Returns how many bytes went; without `MSG_DONTWAIT` that is all of them.
///
/// # Errors
/// As `sendmsg(2)`; a full socket is `WouldBlock` only if nothing went.
pub fn send_all(
    socket: BorrowedFd<'_>,
    slices: &mut [IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> io::Result<usize> {
    let mut left = slices;
    let mut fds = fds;
    let mut sent = 0;
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match send_with_fds(socket, left, fds, flags) {
            Ok(count) => {
                sent += count;
                fds = &[];
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Sends one frame.
///
/// # Errors
/// As [`send_all`].
pub fn send_frame(socket: BorrowedFd<'_>, head: FrameHead, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    debug_assert_eq!(head.len as usize, payload.len(), "the head announces the payload");
    let bytes = head.encode();
    send_all(socket, &mut [IoSlice::new(&bytes), IoSlice::new(payload)], fds, MsgFlags::empty()).map(drop)
}
