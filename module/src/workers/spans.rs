//! This child's connection to the supervisor for spans (PROTOCOL.md §4, `wsgid:spans`). It is made with
//! the first span, and again when the supervisor was replaced. Nothing is ever waited for: what the
//! socket does not take is lost, and the next span says how many were. Called by `request/trace.rs`;
//! knows nothing of requests.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use wsgid_protocol::refusal::Refusal;
use wsgid_protocol::request::{Hello, VERSIONS};
use wsgid_protocol::span::{Span, SpanMessage};
use wsgid_protocol::{FrameHead, Kind, names, payload};

use crate::workers::absence;
use crate::workers::child;
use crate::workers::plan::ServingPlan;

struct SpanSocket {
    socket: Option<OwnedFd>,
    /// Since the last one that was told.
    lost: u64,
}

static SOCKET: Mutex<SpanSocket> = Mutex::new(SpanSocket {
    socket: None,
    lost: 0,
});

/// Tells the supervisor, if it listens.
pub(crate) fn tell(span: Span) {
    let Some(child) = child::get() else { return };
    let mut own = SOCKET.lock().unwrap_or_else(PoisonError::into_inner);
    let span = Span {
        lost: own.lost,
        ..span
    };
    if own.send(&child.plan, span) {
        own.lost = 0;
    } else {
        own.lost = own.lost.saturating_add(1);
    }
}

impl SpanSocket {
    fn send(&mut self, plan: &ServingPlan, span: Span) -> bool {
        let mut frame = Vec::with_capacity(512);
        let head = FrameHead::new(Kind::Span, 0, 0);
        let message = SpanMessage::Ended(span);
        if payload::encode_frame_into(head, &message, &mut frame).is_err() {
            return false;
        }
        if let Some(socket) = &self.socket {
            match send_whole(socket, &frame) {
                Ok(()) => return true,
                Err(Errno::EAGAIN) => return false,
                // The supervisor is another one by now.
                Err(_) => self.socket = None,
            }
        }
        let Ok(socket) = open(plan, &frame) else {
            return false;
        };
        self.socket = Some(socket);
        true
    }
}

/// All of it, or an error; after any but EAGAIN the socket is of no use.
fn send_whole(socket: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(socket.as_raw_fd(), bytes, flags) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        // What is behind would be taken for the rest of this.
        Ok(_) => Err(Errno::EPIPE),
        Err(errno) => Err(errno),
    }
}

/// A new connection, on which HELLO and this have been sent.
fn open(plan: &ServingPlan, frame: &[u8]) -> io::Result<OwnedFd> {
    let path = plan.socket.as_deref().filter(|_| !absence::is_told());
    let path = path.ok_or(io::ErrorKind::NotFound)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Nothing is received here.
    let _ = Refusal::on(socket.as_fd());
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let hello = Hello {
        version_min: VERSIONS.0,
        version_max: VERSIONS.1,
        group: names::SPANS.to_owned(),
        pid: child::pid(),
        generation: plan.generation,
        secret: plan.secret,
        ..Hello::default()
    };
    let mut bytes = Vec::with_capacity(1024);
    let head = FrameHead::new(Kind::Hello, 0, 0);
    payload::encode_frame_into(head, &hello, &mut bytes).map_err(io::Error::other)?;
    bytes.extend_from_slice(frame);
    send_whole(&socket, &bytes)?;
    Ok(socket)
}
