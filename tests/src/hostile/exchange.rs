//! One request in the hands of the hostile worker: what it needs to break any
//! rule, frame by frame.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::MsgFlags;
use serde_bytes::Bytes;
use wsgid_protocol::blocking::send_all;
use wsgid_protocol::response::{EndReport, FilePart, ResponseHead};
use wsgid_protocol::{Failure, FrameHead, Kind};

use super::bytes::{encoded, whole};
use super::control::Control;

/// Name and value.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

pub(super) const TEXT: Field<'static> = (b"Content-Type", b"text/plain");

pub(super) struct Exchange {
    /// The connection to the module.
    pub(super) socket: UnixStream,
    /// The id of the request.
    pub(super) id: u64,
    /// The supervisor's number of the connection.
    pub(super) connection: u64,
    /// The socket to the supervisor.
    pub(super) control: Arc<Control>,
    /// Do not wait for another request on this connection.
    pub(super) hang_up: bool,
}

impl Exchange {
    pub(super) fn head(&self, kind: Kind) -> FrameHead {
        FrameHead::new(kind, self.id, 0)
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// A frame with any payload, also one that is too long for its kind.
    pub(super) fn frame(&mut self, head: FrameHead, payload: &[u8]) -> io::Result<()> {
        let bytes = whole(head, payload);
        self.raw(&bytes)
    }

    /// A frame with descriptors beside it.
    pub(super) fn frame_with(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = whole(head, payload);
        send_all(
            self.socket.as_fd(),
            &mut [IoSlice::new(&bytes)],
            fds,
            MsgFlags::empty(),
        )
        .map(drop)
    }

    pub(super) fn response(&mut self, status: u16, fields: &[Field<'_>]) -> io::Result<()> {
        let payload = response(status, b"", fields);
        self.frame(self.head(Kind::Response), &payload)
    }

    /// A head that nobody can object to.
    pub(super) fn ok(&mut self) -> io::Result<()> {
        self.response(200, &[TEXT])
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(self.head(Kind::Data), bytes)
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.frame(self.head(Kind::End), &self.report())
    }

    /// What END says.
    pub(super) fn report(&self) -> Vec<u8> {
        encoded(&EndReport {
            worker: std::process::id(),
            in_flight: 0,
            request_us: 1,
            application_us: 1,
            queue_us: 1,
        })
    }

    /// A whole response with this body.
    pub(super) fn answer(&mut self, body: &[u8]) -> io::Result<()> {
        self.ok()?;
        self.data(body)?;
        self.end()
    }

    pub(super) fn fail(&mut self, code: u16, text: &[u8]) -> io::Result<()> {
        self.frame(self.head(Kind::Fail).with_code(code), text)
    }

    pub(super) fn fail_with(&mut self, failure: Failure) -> io::Result<()> {
        self.fail(failure.code(), b"the hostile worker says so")
    }

    pub(super) fn file(&mut self, part: FilePart, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.frame_with(self.head(Kind::File).with_code(1), &encoded(&part), fds)
    }

    pub(super) fn log(&mut self, level: u16, text: &[u8]) -> io::Result<()> {
        self.frame(self.head(Kind::Log).with_code(level), text)
    }

    /// Does nothing until the module closes the connection.
    pub(super) fn stall(&mut self) -> io::Result<()> {
        self.hang_up = true;
        let mut sink = [0; 64 * 1024];
        while self.socket.read(&mut sink)? > 0 {}
        Ok(())
    }

    /// Closes the connection, with unread bytes if there are any.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.hang_up = true;
        Ok(())
    }

    /// Ends the whole process as a crash would.
    pub(super) fn die(&mut self) -> io::Result<()> {
        kill(nix::unistd::Pid::this(), Signal::SIGKILL)?;
        self.stall()
    }

    /// Lets the peer act first; what follows must not arrive in one piece.
    pub(super) fn pause(&self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn response(status: u16, reason: &[u8], fields: &[Field<'_>]) -> Vec<u8> {
    let headers = fields
        .iter()
        .map(|(name, value)| (Bytes::new(name), Bytes::new(value)))
        .collect();
    encoded(&ResponseHead {
        status,
        reason: Bytes::new(reason),
        headers,
    })
}
