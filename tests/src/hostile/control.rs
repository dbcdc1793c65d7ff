//! The hostile worker's end of the socket to the supervisor.

use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::MsgFlags;
use wsgid_protocol::blocking::send_all;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::{FrameHead, Kind};

use super::bytes::{encoded, whole};

pub(super) struct Control {
    socket: UnixStream,
    /// One message at a time, also from several threads.
    turn: Mutex<()>,
}

impl Control {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            turn: Mutex::new(()),
        }
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    pub(super) fn say(&self, message: &FromWorker) -> io::Result<()> {
        self.raw(&framed(message))
    }

    pub(super) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.socket).write_all(bytes)
    }

    pub(super) fn raw_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        send_all(
            self.socket.as_fd(),
            &mut [IoSlice::new(bytes)],
            fds,
            MsgFlags::empty(),
        )
        .map(drop)
    }
}

pub(super) fn framed(message: &FromWorker) -> Vec<u8> {
    whole(FrameHead::new(Kind::Control, 0, 0), &encoded(message))
}
