//! The answer of one request: frames are collected in a buffer and leave
//! together. Called by `response`, `start_response`, `log`, `body` (WANT, LOOKUP)
//! and the ticker; it knows frames and the socket, and nothing of Python.
//!
//! A block that the application yields is not sent at once: it stays until the
//! buffer is full, the request ends, or the ticker (another thread, about every
//! two milliseconds) sends it. So a block never waits for the application to
//! make the next one, as PEP 3333 demands, and small blocks share a send.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use wsgid_protocol::blocking::send_all;
use wsgid_protocol::head::{FLAG_CLOSE, FLAG_FLUSH};
use wsgid_protocol::limits::{HEAD_LEN, MAX_BODY_LEN, MAX_FAIL_LEN, MAX_LOG_LEN};
use wsgid_protocol::payload::{PayloadError, encode_into};
use wsgid_protocol::response::{EndReport, FilePart};
use wsgid_protocol::text::cut;
use wsgid_protocol::{Failure, FrameHead, Kind};

use crate::connection::Connection;
use crate::sys;

/// Blocks up to this length are copied into the buffer; longer ones are sent
/// from where they are.
const COPY_MAX: usize = 16 * 1024;

/// Bytes in the buffer at which it is sent.
const FULL: usize = 64 * 1024;

/// While an application yields empty blocks alone, the peer is not looked at more often.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes in the buffer at which it takes no more of the log: httpd is far behind,
/// perhaps because a slow client holds its thread up.
const LOG_FULL: usize = 4 << 20;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The request has ended; somebody kept an object of it.
    #[error("the request has ended")]
    Ended,
    /// The connection broke: the client or httpd has gone.
    #[error("the client has gone")]
    Gone(#[source] io::Error),
}

/// The response head that `start_response` was given, encoded.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) payload: Vec<u8>,
    pub(crate) status: u16,
    /// The `Content-Length` that the application announced.
    pub(crate) length: Option<u64>,
}

/// Where the response head is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HeadStage {
    /// `start_response` was not called.
    #[default]
    Waiting,
    /// It was; the head can still be replaced.
    Started,
    /// The head is on its way.
    Sent,
}

#[derive(Default)]
pub(crate) struct ResponseOutput {
    connection: Option<Arc<Connection>>,
    id: u64,
    buffer: Vec<u8>,
    /// Where in the buffer a DATA frame begins that can still grow.
    open: Option<usize>,
    pub(crate) head: Head,
    pub(crate) stage: HeadStage,
    /// Body bytes accepted so far.
    pub(crate) body_len: u64,
    /// Whether httpd may hold body bytes back that the application yielded.
    unflushed: bool,
    /// Whether the ticker has seen the buffer filled as it is.
    pub(crate) seen: bool,
    broken: bool,
    /// When it was last looked whether somebody still waits for the answer, while nothing
    /// but empty blocks came.
    looked: Option<Instant>,
}

impl ResponseOutput {
    /// An answer on this connection, reusing the memory of an earlier one.
    pub(crate) fn new(
        connection: Arc<Connection>,
        id: u64,
        mut buffer: Vec<u8>,
        mut payload: Vec<u8>,
    ) -> Self {
        buffer.clear();
        payload.clear();
        Self {
            connection: Some(connection),
            id,
            buffer,
            head: Head {
                payload,
                ..Head::default()
            },
            ..Self::default()
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.connection.is_none()
    }

    /// Takes over one block of the body. The head goes first if it has not gone. Only
    /// a long block is sent, and waits for the peer; others stay in the buffer.
    pub(crate) fn body(&mut self, block: &[u8]) -> Result<(), OutputError> {
        self.check()?;
        self.begin_body();
        self.body_len += block.len() as u64;
        self.unflushed = true;
        if block.len() <= COPY_MAX {
            self.append(block);
            return Ok(());
        }
        self.open = None;
        for piece in block.chunks(MAX_BODY_LEN as usize) {
            self.send_piece(piece)?;
        }
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Whether a block of this length is sent from where it is, so that the call
    /// may block.
    pub(crate) fn is_long(block: &[u8]) -> bool {
        block.len() > COPY_MAX
    }

    /// Puts the response head in front, if it is not there.
    pub(crate) fn begin_body(&mut self) {
        if self.stage == HeadStage::Started {
            self.stage = HeadStage::Sent;
            let len = self.head.payload.len();
            self.frame(FrameHead::new(Kind::Response, self.id, len_u32(len)));
            self.buffer.extend_from_slice(&self.head.payload);
        }
    }

    /// The same, and the client is to have it without waiting for a body.
    pub(crate) fn begin_now(&mut self) {
        self.unflushed |= self.stage == HeadStage::Started;
        self.begin_body();
    }

    /// A record for the error log. Never waits: httpd may be busy with the client.
    /// Returns whether it has been taken.
    pub(crate) fn log(&mut self, level: u16, record: &[u8]) -> bool {
        if self.buffer.len() >= LOG_FULL {
            // What is left shows below.
            let _ = self.try_flush();
        }
        if self.check().is_err() || self.buffer.len() >= LOG_FULL {
            return false;
        }
        for piece in record.chunks(MAX_LOG_LEN as usize) {
            self.small(Kind::Log, level, piece);
        }
        true
    }

    pub(crate) fn want(&mut self, count: u64) -> Result<(), OutputError> {
        self.check()?;
        self.small(Kind::Want, 0, &count.to_le_bytes());
        self.flush()
    }

    /// Asks for a variable of mod_ssl.
    pub(crate) fn look_up(&mut self, name: &[u8]) -> Result<(), OutputError> {
        self.check()?;
        self.small(Kind::Lookup, 0, name);
        self.flush()
    }

    /// An interim response; the payload is an encoded `ResponseHead`.
    pub(crate) fn interim(&mut self, payload: &[u8]) -> Result<(), OutputError> {
        self.check()?;
        self.small(Kind::Interim, 0, payload);
        self.flush()
    }

    /// An answer of a script that is no application; the payload is encoded.
    pub(crate) fn answer(&mut self, payload: &[u8]) -> Result<(), OutputError> {
        self.check()?;
        self.small(Kind::Answer, 0, payload);
        Ok(())
    }

    /// A part of a file instead of a body. False if the kernel passes no
    /// descriptor now: too many of this user's are on their way, perhaps by
    /// another process, or httpd takes none from this group. Then nothing has left.
    pub(crate) fn file(
        &mut self,
        part: FilePart,
        file: BorrowedFd<'_>,
    ) -> Result<bool, OutputError> {
        self.check()?;
        self.begin_body();
        let before = self.buffer.len();
        let mut payload = Vec::with_capacity(24);
        encoded(encode_into(&part, &mut payload));
        // The code is the number of descriptors.
        self.small(Kind::File, 1, &payload);
        let slices = &mut [IoSlice::new(&self.buffer)];
        let sent = send_all(self.check()?.as_fd(), slices, &[file], MsgFlags::empty());
        let not_passed = [Errno::ETOOMANYREFS, Errno::EPERM].map(|no| Some(no as i32));
        if matches!(&sent, Err(error) if not_passed.contains(&error.raw_os_error())) {
            self.buffer.truncate(before);
            return Ok(false);
        }
        self.buffer.clear();
        self.body_len += part.len;
        sent.map(|_| true).map_err(|error| self.gone(error))
    }

    /// The answer is complete. With `close` the connection is not used again.
    pub(crate) fn end(&mut self, report: EndReport, close: bool) -> Result<(), OutputError> {
        self.check()?;
        self.begin_body();
        let flags = if close { FLAG_CLOSE } else { 0 };
        let at = self.buffer.len();
        self.frame(FrameHead::new(Kind::End, self.id, 0).with_flags(flags));
        report.encode_into(&mut self.buffer);
        self.set_len(at);
        Ok(())
    }

    /// The request failed; `text` is for the log.
    pub(crate) fn fail(
        &mut self,
        failure: Failure,
        text: &str,
        close: bool,
    ) -> Result<(), OutputError> {
        self.check()?;
        let flags = if close { FLAG_CLOSE } else { 0 };
        let text = cut(text, MAX_FAIL_LEN as usize).as_bytes();
        let head = FrameHead::new(Kind::Fail, self.id, len_u32(text.len()));
        self.frame(head.with_code(failure.code()).with_flags(flags));
        self.buffer.extend_from_slice(text);
        Ok(())
    }

    /// Refuses a request that nobody serves: FAIL is all that its connection gets.
    /// Returns whether it has left as a whole, so that the connection is still good.
    pub(crate) fn refuse(
        connection: &Arc<Connection>,
        id: u64,
        failure: Failure,
        text: &str,
        close: bool,
    ) -> bool {
        let mut output = Self::new(Arc::clone(connection), id, Vec::new(), Vec::new());
        let sent = output
            .fail(failure, text, close)
            .and_then(|()| output.try_flush());
        matches!(sent, Ok(true))
    }

    /// Sends what has gathered; waits for the peer to take it.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        self.send(MsgFlags::empty()).map(drop)
    }

    /// Sends what the socket takes at once. Returns whether that was all.
    pub(crate) fn try_flush(&mut self) -> Result<bool, OutputError> {
        self.send(MsgFlags::MSG_DONTWAIT)
    }

    /// For the ticker: what the application yielded must reach the client while
    /// it works on the next block. Never waits.
    pub(crate) fn push(&mut self) -> Result<(), OutputError> {
        if self.unflushed {
            self.unflushed = false;
            match self.open.and_then(|at| self.buffer.get_mut(at + FLAGS_AT)) {
                Some(flags) => *flags |= FLAG_FLUSH,
                None => self.frame(FrameHead::new(Kind::Data, self.id, 0).with_flags(FLAG_FLUSH)),
            }
        }
        self.try_flush().map(drop)
    }

    /// The application yielded nothing, perhaps for ever: looks once in a while whether
    /// httpd has given the request up, which a send would show. Never waits.
    pub(crate) fn nothing(&mut self) -> Result<(), OutputError> {
        let now = Instant::now();
        let looked = *self.looked.get_or_insert(now);
        let is_given_up = match self.check()? {
            _ if now.saturating_duration_since(looked) < LOOK_INTERVAL => return Ok(()),
            connection => connection.is_given_up(),
        };
        self.looked = Some(now);
        if is_given_up {
            return Err(self.gone(io::ErrorKind::BrokenPipe.into()));
        }
        Ok(())
    }

    /// Whether there is something for `push` to do.
    pub(crate) fn has_news(&self) -> bool {
        self.connection.is_some() && !self.broken && (self.unflushed || !self.buffer.is_empty())
    }

    /// The request has ended: gives the memory back, and whether the connection
    /// is still good.
    pub(crate) fn finish(&mut self) -> (Vec<u8>, Vec<u8>, bool) {
        self.connection = None;
        (
            std::mem::take(&mut self.buffer),
            std::mem::take(&mut self.head.payload),
            !self.broken,
        )
    }

    /// The connection, as long as something can be sent on it.
    fn check(&self) -> Result<&Connection, OutputError> {
        // A request whose process was ended by a signal has failed, also if it could go on.
        sys::wait_if_crashed();
        match &self.connection {
            None => Err(OutputError::Ended),
            Some(_) if self.broken => Err(OutputError::Gone(io::ErrorKind::BrokenPipe.into())),
            Some(connection) => Ok(connection),
        }
    }

    /// Appends a whole frame with a short payload.
    fn small(&mut self, kind: Kind, code: u16, payload: &[u8]) {
        self.frame(FrameHead::new(kind, self.id, len_u32(payload.len())).with_code(code));
        self.buffer.extend_from_slice(payload);
    }

    fn frame(&mut self, head: FrameHead) {
        self.open = None;
        self.seen = false;
        self.buffer.extend_from_slice(&head.encode());
    }

    /// Appends to the open DATA frame, or to a new one.
    fn append(&mut self, block: &[u8]) {
        let len = self.buffer.len();
        let max = HEAD_LEN + MAX_BODY_LEN as usize;
        let open = self.open.filter(|at| len - at + block.len() <= max);
        let at = open.unwrap_or_else(|| {
            self.frame(FrameHead::new(Kind::Data, self.id, 0));
            len
        });
        self.open = Some(at);
        self.seen = false;
        self.buffer.extend_from_slice(block);
        self.set_len(at);
    }

    /// The frame that begins at `at` reaches to the end of the buffer.
    fn set_len(&mut self, at: usize) {
        let len = len_u32(self.buffer.len() - at - HEAD_LEN);
        if let Some(place) = self.buffer.get_mut(at..at + size_of::<u32>()) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// Sends the buffer and one DATA frame whose bytes are not copied.
    fn send_piece(&mut self, piece: &[u8]) -> Result<(), OutputError> {
        let connection = self.check()?;
        let head = FrameHead::new(Kind::Data, self.id, len_u32(piece.len())).encode();
        let slices = &mut [
            IoSlice::new(&self.buffer),
            IoSlice::new(&head),
            IoSlice::new(piece),
        ];
        let sent = send_all(connection.as_fd(), slices, &[], MsgFlags::empty());
        self.buffer.clear();
        sent.map(drop).map_err(|error| self.gone(error))
    }

    fn send(&mut self, flags: MsgFlags) -> Result<bool, OutputError> {
        self.open = None;
        self.seen = false;
        let socket = self.check()?.as_fd().as_raw_fd();
        let mut done = 0;
        let result = loop {
            if done == self.buffer.len() {
                break Ok(true);
            }
            match send(socket, &self.buffer[done..], flags | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break Ok(false),
                Err(errno) => break Err(errno.into()),
            }
        };
        self.buffer.drain(..done);
        result.map_err(|error| self.gone(error))
    }

    fn gone(&mut self, error: io::Error) -> OutputError {
        self.broken = true;
        self.buffer.clear();
        OutputError::Gone(error)
    }
}

const FLAGS_AT: usize = 5;

/// Every payload here is bounded by its kind's limit, far below 4 GiB.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Only a path that is not UTF-8 cannot be encoded, and none is sent from here.
fn encoded(result: Result<(), PayloadError>) {
    debug_assert!(result.is_ok(), "numbers always encode");
}
