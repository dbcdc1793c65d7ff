//! What comes off the connection while a request is served: its body, inline or pulled with
//! WANT, and what LOOKUP has asked for. Called by `input` and `auth`; it knows frames and the
//! socket, and nothing of Python.
//! Everything here may wait, so the caller is detached.

use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use wsgid_protocol::head::FLAG_END;
use wsgid_protocol::limits::{HEAD_LEN, MAX_BODY_LEN};
use wsgid_protocol::request::BodyError;
use wsgid_protocol::{FrameHead, Kind};

use crate::connection::Connection;
use crate::lock;
use crate::output::{OutputError, ResponseOutput};

/// What one WANT asks for: one BODY frame can answer it, so that none is on its
/// way any more when the application stops reading.
const WINDOW: u64 = MAX_BODY_LEN as u64;

/// Bytes read ahead for small reads and for lines.
const AHEAD: usize = 64 * 1024;

/// Why the body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailure {
    #[error("{}", .0.text())]
    Broken(BodyError),
    /// The connection broke, which is how a client that has gone looks too.
    #[error("connection to httpd ended before the end of the request body")]
    Lost,
    #[error("httpd sent a frame that was not asked for")]
    Protocol,
    /// The request has ended; somebody kept its `wsgi.input`.
    #[error("the request has ended")]
    Ended,
}

/// The rest of a request body.
#[derive(Default)]
pub(crate) struct Body {
    connection: Option<Arc<Connection>>,
    id: u64,
    /// Received and not read.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of the current BODY frame that are still in the socket.
    frame_left: usize,
    /// Whether no frame follows.
    last: bool,
    /// Whether a WANT has not been answered with a single byte, or a LOOKUP not as a whole.
    asked: bool,
    /// Whether a WANT was ever answered: more of its answer may be waiting.
    answered: bool,
    failed: Option<BodyError>,
    lost: bool,
}

impl Body {
    /// A body that is completely here, or none.
    pub(crate) fn complete(bytes: Vec<u8>) -> Self {
        Self {
            buffer: bytes,
            last: true,
            ..Self::default()
        }
    }

    /// A body that is pulled from the connection.
    pub(crate) fn pulled(connection: Arc<Connection>, id: u64, buffer: Vec<u8>) -> Self {
        Self {
            connection: Some(connection),
            id,
            buffer,
            ..Self::default()
        }
    }

    /// No body, from a module that answers LOOKUPs.
    pub(crate) fn looking_up(connection: Arc<Connection>, id: u64, buffer: Vec<u8>) -> Self {
        Self {
            connection: Some(connection),
            id,
            ..Self::complete(buffer)
        }
    }

    /// Asks httpd for the variable of mod_ssl with this name; `None` if there is none, or the
    /// module is of a release that does not answer.
    pub(crate) fn look_up(
        &mut self,
        name: &[u8],
        output: &Mutex<ResponseOutput>,
    ) -> Result<Option<Vec<u8>>, BodyFailure> {
        if self.lost {
            return Err(BodyFailure::Lost);
        }
        if self.connection.is_none() {
            return if self.last {
                Ok(None)
            } else {
                Err(BodyFailure::Ended)
            };
        }
        self.ask(output, |output| output.look_up(name))?;
        let head = self.receive_head()?;
        if head.kind != Kind::Variable || head.id != self.id {
            return Err(if head.kind == Kind::Cancel {
                self.lose()
            } else {
                self.break_off()
            });
        }
        let mut value = vec![0; head.len as usize];
        let mut have = 0;
        while have < value.len() {
            have += self.receive_some(&mut value[have..])?;
        }
        self.asked = false;
        Ok((head.code == 1).then_some(value))
    }

    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.buffer.len().min(self.start.saturating_add(count));
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.last && self.frame_left == 0
    }

    /// Whether the client went away while the body was read.
    pub(crate) fn client_gone(&self) -> bool {
        let gone = Some(BodyError::ClientGone);
        self.lost || self.failed == gone || self.failed == Some(BodyError::Timeout)
    }

    /// Whether a part of a BODY frame is still in the socket.
    pub(crate) fn is_halfway(&self) -> bool {
        self.frame_left > 0
    }

    /// Takes the rest of the current frame off the socket, unread. httpd has it
    /// in full and is sending it.
    pub(crate) fn skip(&mut self) {
        let mut space = [0; 16 * 1024];
        while self.frame_left > 0 {
            let len = self.frame_left.min(space.len());
            if self.receive(&mut space[..len]).is_err() {
                return;
            }
        }
    }

    /// The request has ended. Returns the buffer's memory, and whether nothing
    /// of this body can come any more.
    pub(crate) fn finish(&mut self) -> (Vec<u8>, bool) {
        let clean = !self.asked && self.frame_left == 0 && !self.lost;
        self.connection = None;
        self.last = false;
        self.start = 0;
        (std::mem::take(&mut self.buffer), clean)
    }

    /// Receives more into the buffer. False at the end of the body.
    pub(crate) fn fill(&mut self, output: &Mutex<ResponseOutput>) -> Result<bool, BodyFailure> {
        let left = self.next_frame(output)?;
        if left == 0 {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let at = self.buffer.len();
        self.buffer.resize(at + left.min(AHEAD), 0);
        let mut buffer = std::mem::take(&mut self.buffer);
        let got = self.receive(&mut buffer[at..]);
        buffer.truncate(at + *got.as_ref().unwrap_or(&0));
        self.buffer = buffer;
        got.map(|_| true)
    }

    /// Receives straight into `space`, of which some must be left. 0 at the end
    /// of the body.
    pub(crate) fn read_into(
        &mut self,
        space: &mut [u8],
        output: &Mutex<ResponseOutput>,
    ) -> Result<usize, BodyFailure> {
        let left = self.next_frame(output)?;
        if left == 0 {
            return Ok(0);
        }
        let len = left.min(space.len());
        self.receive(&mut space[..len])
    }

    /// Bytes left in the current frame, waiting for one where there is none.
    fn next_frame(&mut self, output: &Mutex<ResponseOutput>) -> Result<usize, BodyFailure> {
        loop {
            if self.frame_left > 0 {
                return Ok(self.frame_left);
            }
            if let Some(error) = self.failed {
                return Err(BodyFailure::Broken(error));
            }
            if self.lost {
                return Err(BodyFailure::Lost);
            }
            if self.last {
                return Ok(0);
            }
            if self.connection.is_none() {
                return Err(BodyFailure::Ended);
            }
            let head = match self.waiting_head()? {
                Some(head) => head,
                None => {
                    self.ask(output, |output| output.want(WINDOW))?;
                    self.receive_head()?
                }
            };
            self.take_head(head)?;
        }
    }

    /// The next head if more of an answer is here already: it needs no WANT.
    fn waiting_head(&mut self) -> Result<Option<FrameHead>, BodyFailure> {
        if self.asked {
            return self.receive_head().map(Some);
        }
        let Some(connection) = self.connection.as_ref().filter(|_| self.answered) else {
            return Ok(None);
        };
        let mut byte = [0];
        match connection.peek(&mut byte) {
            Ok(0) => Err(self.lose()),
            Ok(_) => self.receive_head().map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Sends what httpd is to answer.
    fn ask(
        &mut self,
        output: &Mutex<ResponseOutput>,
        send: impl FnOnce(&mut ResponseOutput) -> Result<(), OutputError>,
    ) -> Result<(), BodyFailure> {
        self.asked = true;
        send(&mut lock::detached(output)).map_err(|error| match error {
            OutputError::Ended => BodyFailure::Ended,
            OutputError::Gone(_) => self.lose(),
        })
    }

    fn receive_head(&mut self) -> Result<FrameHead, BodyFailure> {
        let mut bytes = [0; HEAD_LEN];
        let mut have = 0;
        while have < HEAD_LEN {
            have += self.receive_some(&mut bytes[have..])?;
        }
        FrameHead::parse(&bytes).map_err(|_| self.break_off())
    }

    fn take_head(&mut self, head: FrameHead) -> Result<(), BodyFailure> {
        self.asked = false;
        self.answered = true;
        match head.kind {
            Kind::Body if head.id == self.id => {
                self.frame_left = head.len as usize;
                self.last = head.has(FLAG_END);
                Ok(())
            }
            Kind::BodyError if head.id == self.id && head.len == 0 => {
                self.failed = Some(BodyError::from_code(head.code));
                Ok(())
            }
            Kind::Cancel if head.len == 0 => Err(self.lose()),
            _ => Err(self.break_off()),
        }
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<usize, BodyFailure> {
        let count = self.receive_some(space)?;
        self.frame_left = self.frame_left.saturating_sub(count);
        Ok(count)
    }

    /// At least one byte.
    fn receive_some(&mut self, space: &mut [u8]) -> Result<usize, BodyFailure> {
        let Some(connection) = &self.connection else {
            return Err(BodyFailure::Ended);
        };
        loop {
            match connection.recv(space, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return Err(self.lose()),
                Ok(count) => return Ok(count),
            }
        }
    }

    fn lose(&mut self) -> BodyFailure {
        self.lost = true;
        self.frame_left = 0;
        BodyFailure::Lost
    }

    fn break_off(&mut self) -> BodyFailure {
        self.lose();
        BodyFailure::Protocol
    }
}
