//! One keep-alive connection to httpd: sends a request, takes the answer, never blocks.
//! Used by the two loops; knows nothing of when a request is due.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{MsgFlags, recv};

use super::response::Response;
use crate::workload::Ask;

/// Body bytes are thrown away in pieces of at most this length.
const SKIP_LEN: usize = 1024 * 1024;
const UPLOAD: &[u8] = &[b'u'; 256 * 1024];

/// A request as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Prepared {
    head: Vec<u8>,
    ask: Ask,
}

impl Prepared {
    pub(crate) fn new(ask: Ask) -> Self {
        let agent = "User-Agent: wsgid-bench/1\r\nAccept: text/html,application/json;q=0.9,*/*;q=0.8\r\nAccept-Encoding: identity\r\n";
        let head = match ask.upload_len {
            0 => format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\n{agent}\r\n",
                ask.path
            ),
            len => format!(
                "POST {} HTTP/1.1\r\nHost: localhost\r\n{agent}Content-Type: application/octet-stream\r\nContent-Length: {len}\r\n\r\n",
                ask.path
            ),
        };
        let mut head = head.into_bytes();
        // A small body leaves with its head, as clients do it.
        if ask.upload_len <= UPLOAD.len() as u64 {
            head.extend_from_slice(UPLOAD.get(..ask.upload_len as usize).unwrap_or_default());
        }
        Self { head, ask }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing; a request can be sent.
    Idle,
    /// Until bytes arrive.
    Read,
    /// Until bytes can be sent (an early answer may arrive as well).
    Write,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) step: Step,
    /// When the request was due.
    pub(crate) due: Instant,
    /// Which of the prepared requests is in flight.
    pub(crate) kind: usize,
    sent_len: u64,
    response: Response,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let response = Response::new();
        Ok(Self {
            stream,
            step: Step::Idle,
            due: Instant::now(),
            kind: 0,
            sent_len: 0,
            response,
        })
    }

    /// Sends a request, as far as the socket takes it.
    pub(crate) fn start(&mut self, kind: usize, request: &Prepared, due: Instant) -> Result<()> {
        self.kind = kind;
        self.due = due;
        self.sent_len = 0;
        self.response.reset();
        self.write(request)
    }

    /// Goes on sending.
    pub(crate) fn write(&mut self, request: &Prepared) -> Result<()> {
        let head_len = request.head.len() as u64;
        let all = head_len + extra_len(&request.ask);
        while self.sent_len < all {
            let bytes = if self.sent_len < head_len {
                request
                    .head
                    .get(self.sent_len as usize..)
                    .unwrap_or_default()
            } else {
                let left = (all - self.sent_len).min(UPLOAD.len() as u64);
                UPLOAD.get(..left as usize).unwrap_or_default()
            };
            match self.stream.write(bytes) {
                Ok(0) => bail!("connection takes no more bytes"),
                Ok(count) => self.sent_len += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.step = Step::Write;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("failed to send"),
            }
        }
        self.step = Step::Read;
        Ok(())
    }

    /// Takes what has arrived. True: the response is complete and right.
    pub(crate) fn read(&mut self, buffer: &mut [u8], request: &Prepared) -> Result<bool> {
        loop {
            let skippable = self.response.skippable();
            if skippable > 0 {
                if !self.discard(buffer, skippable)? {
                    return Ok(false);
                }
            } else {
                match self.stream.read(buffer) {
                    Ok(0) => bail!("connection closed in the middle of a response"),
                    Ok(count) => self
                        .response
                        .feed(buffer.get(..count).unwrap_or_default())?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error).context("failed to receive"),
                }
            }
            if self.response.is_done() {
                self.check(request)?;
                self.step = Step::Idle;
                return Ok(true);
            }
        }
    }

    /// Lets the kernel throw body bytes away (tcp(7), MSG_TRUNC): the generator must stay cheap.
    fn discard(&mut self, buffer: &mut [u8], skippable: u64) -> Result<bool> {
        let most = skippable.min(SKIP_LEN.min(buffer.len()) as u64) as usize;
        let part = buffer.get_mut(..most).unwrap_or_default();
        match recv(self.stream.as_raw_fd(), part, MsgFlags::MSG_TRUNC) {
            Ok(0) => bail!("connection closed in the middle of a body"),
            Ok(count) => self.response.skip(count as u64),
            Err(nix::errno::Errno::EAGAIN) => return Ok(false),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("failed to receive"),
        }
        Ok(true)
    }

    fn check(&self, request: &Prepared) -> Result<()> {
        if self.response.status != 200 {
            bail!("status {}", self.response.status);
        }
        match request.ask.answer_len {
            Some(expected) if expected != self.response.body_len => {
                bail!(
                    "body of {} bytes instead of {expected}",
                    self.response.body_len
                )
            }
            _ => Ok(()),
        }
    }

    /// The server said that it closes the connection after this response.
    pub(crate) fn is_spent(&self) -> bool {
        self.response.closes
    }
}

/// Body bytes that are not part of the prepared head.
fn extra_len(ask: &Ask) -> u64 {
    if ask.upload_len <= UPLOAD.len() as u64 {
        0
    } else {
        ask.upload_len
    }
}
