//! Frames over a socket for code that may block: the httpd module and the
//! worker. The reader keeps what it has received and hands out one frame at a
//! time; the writer sends whole frames, several in one system call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv};

use crate::fds::{DescriptorRoom, recv_with_fds, send_with_fds};
use crate::head::{FrameHead, HeadError};
use crate::limits::{HEAD_LEN, MAX_BODY_LEN};
use crate::refusal::Refusal;

/// Bytes a reader asks for at once unless a frame needs more.
const CHUNK: usize = 64 * 1024;

/// What a reader's buffer may keep while it is empty: one BODY or DATA frame.
/// More was needed for a single message and goes back.
const KEEP: usize = HEAD_LEN + MAX_BODY_LEN as usize;

/// Slices the kernel takes at once (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

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
    /// Received and not taken, in their order. `None` is one that this process could
    /// not have.
    fds: VecDeque<Option<OwnedFd>>,
    room: Option<DescriptorRoom>,
    /// Frames go on where this process may have no more descriptors.
    goes_on_without: bool,
    /// For a reader that takes no descriptor, from a peer that may send some.
    refusal: Option<Refusal>,
    chunk: usize,
}

impl FrameReader {
    /// A reader that accepts up to `descriptors` descriptors with one receive.
    /// With 0 the kernel discards whatever a peer sends.
    pub fn new(descriptors: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            fds: VecDeque::new(),
            room: (descriptors > 0).then(|| DescriptorRoom::new(descriptors)),
            goes_on_without: false,
            refusal: None,
            chunk: CHUNK,
        }
    }

    /// The same reader, of a peer that is trusted to send at most one descriptor
    /// with a frame: where this process may have no more of them, the frames go
    /// on, and [`Self::take_fd`] says that one is missing.
    #[must_use]
    pub fn going_on_without_fds(mut self) -> Self {
        self.room = Some(DescriptorRoom::new(1));
        self.goes_on_without = true;
        self
    }

    /// The same reader, asking for no more than this at once unless a frame needs
    /// it: where there are many readers and most frames are short.
    #[must_use]
    pub const fn with_chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk;
        self
    }

    /// Whether no received byte is waiting to be parsed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether [`Self::next`] would return without receiving.
    pub fn has_frame(&self) -> bool {
        !matches!(self.parse(), Ok(None))
    }

    /// The next frame if it is complete in the buffer.
    pub fn next_buffered(&mut self) -> Result<Option<Frame<'_>>, HeadError> {
        match self.parse()? {
            Some(head) => Ok(Some(self.take(head))),
            None => Ok(None),
        }
    }

    /// The next frame, receiving as often as needed.
    pub fn next(&mut self, socket: BorrowedFd<'_>) -> Result<Frame<'_>, ReadError> {
        let head = loop {
            if let Some(head) = self.parse()? {
                break head;
            }
            if self.fill(socket, MsgFlags::empty())? == 0 {
                return Err(if self.is_empty() {
                    ReadError::Closed
                } else {
                    ReadError::Truncated
                });
            }
        };
        Ok(self.take(head))
    }

    /// Receives once; an interrupted call is repeated. Returns how many bytes came; 0 is
    /// the end. Take what is complete with [`Self::next_buffered`] first. Bytes of a
    /// receive that brought descriptors nobody agreed to are lost: it is an error, and
    /// the connection cannot be used any more.
    pub fn fill(&mut self, socket: BorrowedFd<'_>, flags: MsgFlags) -> io::Result<usize> {
        self.make_room();
        loop {
            match self.receive(socket, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, flags: MsgFlags) -> io::Result<usize> {
        let space = &mut self.buffer[self.end..];
        let count = match (&mut self.room, self.refusal) {
            (Some(room), _) => {
                let received = recv_with_fds(socket, space, room, flags)?;
                let is_too_much = received.fds.len() > room.max();
                let is_lost = self.goes_on_without && received.is_cut && received.fds.is_empty();
                self.fds.extend(received.fds.into_iter().map(Some));
                if is_lost {
                    self.fds.push_back(None);
                } else if is_too_much || received.is_cut {
                    return Err(unwanted("more descriptors than were agreed, or than fit"));
                }
                received.count
            }
            (None, Some(refusal)) => refusal.recv(socket, space, flags)?,
            (None, None) => recv(socket.as_raw_fd(), space, flags)?,
        };
        self.end += count;
        // Those of a frame that is not complete yet and those of the next one, which
        // the kernel may hand over with the former's end.
        let fds_max = 2 * self.room.as_ref().map_or(0, DescriptorRoom::max);
        if self.fds.len() > fds_max && !self.goes_on_without {
            return Err(unwanted("descriptors that no frame asked for"));
        }
        Ok(count)
    }

    /// The oldest descriptor that was received and not taken yet; `None` also where
    /// this process could not have it.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front().flatten()
    }

    /// All received descriptors that nobody has taken, also those with which a
    /// peer has broken the protocol: for a reader whose owner must not wait for
    /// them to be closed.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        self.fds.drain(..).flatten().collect()
    }

    /// From now on no descriptor is received: what has one is an error, and
    /// stays in the socket.
    pub fn refuse_descriptors(&mut self, refusal: Refusal) {
        self.room = None;
        self.refusal = Some(refusal);
    }

    /// How many received descriptors nobody has taken yet. Where no frame is
    /// due any more, more than none is a breach of the protocol.
    pub fn waiting_fds(&self) -> usize {
        self.fds.len()
    }

    /// Forgets everything received, also descriptors, and gives memory back.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.fds.clear();
        self.shrink();
    }

    /// Overwrites what the frames that were taken held, for one of them had a
    /// password in it.
    pub fn wipe_taken(&mut self) {
        self.buffer[..self.start].fill(0);
        // What a frame that came in pieces left behind the last byte.
        self.buffer[self.end..].fill(0);
        // Keeps the compiler from leaving the lines above out.
        std::hint::black_box(&self.buffer);
    }

    /// Gives back what a long frame needed, if nothing is in the buffer: for a
    /// connection that will be idle, of which a process may have hundreds. What
    /// an ordinary response needs stays.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.buffer.len() > self.chunk {
            self.buffer = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }

    /// The head at the front of the buffer, if sixteen bytes are there.
    fn front(&self) -> Result<Option<FrameHead>, HeadError> {
        let Some(bytes) = self.buffer[self.start..self.end].first_chunk::<HEAD_LEN>() else {
            return Ok(None);
        };
        FrameHead::parse(bytes).map(Some)
    }

    /// The head of the frame at the front of the buffer, if that is complete.
    fn parse(&self) -> Result<Option<FrameHead>, HeadError> {
        let received = self.end - self.start;
        let head = self.front()?;
        Ok(head.filter(|head| received - HEAD_LEN >= head.len as usize))
    }

    fn take(&mut self, head: FrameHead) -> Frame<'_> {
        let payload = self.start + HEAD_LEN;
        self.start = payload + head.len as usize;
        Frame {
            head,
            payload: &self.buffer[payload..self.start],
        }
    }

    /// Makes room for at least the rest of the frame at the front.
    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > KEEP {
                self.buffer = Vec::new();
            }
        }
        // A malformed head is refused by `parse`; here it needs no room.
        let frame = self
            .front()
            .ok()
            .flatten()
            .map_or(0, |head| HEAD_LEN + head.len as usize);
        let wanted = frame.max(self.chunk);
        if self.start + wanted > self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.is_empty() {
            // Fresh zero pages are not touched before bytes arrive in them.
            self.buffer = vec![0; wanted];
        } else if self.end == self.buffer.len() || wanted > self.buffer.len() {
            self.buffer.resize(wanted.max(self.end + self.chunk), 0);
        }
    }
}

/// Sends every byte of the slices, the descriptors with the first. With
/// `MSG_DONTWAIT` in `flags` it stops where the socket is full.
///
/// Returns how many bytes went; without `MSG_DONTWAIT` that is all of them. A full
/// socket is the error `WouldBlock`: with `MSG_DONTWAIT` only if nothing went; without
/// it (`SO_SNDTIMEO` has passed) a part may have gone, and the connection cannot be
/// used any more.
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
        match send_with_fds(socket, left.get(..MAX_SLICES).unwrap_or(left), fds, flags) {
            Ok(count) => {
                sent += count;
                fds = &[];
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && flags.contains(MsgFlags::MSG_DONTWAIT)
                    && sent > 0 =>
            {
                return Ok(sent);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Sends one frame as [`send_all`] does; nothing and `InvalidInput` if the head does not
/// fit the payload or the payload is above the limit of its kind.
pub fn send_frame(
    socket: BorrowedFd<'_>,
    head: FrameHead,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    head.check_payload(payload.len())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let bytes = head.encode();
    send_all(
        socket,
        &mut [IoSlice::new(&bytes), IoSlice::new(payload)],
        fds,
        MsgFlags::empty(),
    )
    .map(drop)
}

fn unwanted(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::frame::Kind;

    #[test]
    fn a_reader_of_small_chunks_grows_for_a_long_frame_only() {
        let (left, right) = UnixStream::pair().unwrap();
        let mut reader = FrameReader::new(0).with_chunk(64);
        let long = vec![7; 5000];
        for payload in [&b"short"[..], &long, b"short again"] {
            let head = FrameHead::new(Kind::Data, 1, u32::try_from(payload.len()).unwrap());
            send_frame(left.as_fd(), head, payload, &[]).unwrap();
        }
        assert_eq!(reader.next(right.as_fd()).unwrap().payload, b"short");
        assert!(reader.buffer.len() <= 64);
        assert_eq!(reader.next(right.as_fd()).unwrap().payload, long);
        assert_eq!(reader.next(right.as_fd()).unwrap().payload, b"short again");
        reader.shrink();
        assert!(reader.buffer.is_empty());
    }

    #[test]
    fn what_was_taken_can_be_wiped() {
        let (left, right) = UnixStream::pair().unwrap();
        for text in [&b"a password"[..], b"the next"] {
            let head = FrameHead::new(Kind::Data, 1, u32::try_from(text.len()).unwrap());
            send_frame(left.as_fd(), head, text, &[]).unwrap();
        }
        let mut reader = FrameReader::new(0);
        assert_eq!(reader.next(right.as_fd()).unwrap().payload, b"a password");
        reader.wipe_taken();
        assert!(!reader.buffer.windows(8).any(|bytes| bytes == b"password"));
        assert_eq!(reader.next(right.as_fd()).unwrap().payload, b"the next");
    }
}
