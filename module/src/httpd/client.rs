//! The client's socket: has it gone while a worker computes?

#![expect(unsafe_code, reason = "asks httpd for the descriptor of a connection")]

use std::os::fd::{BorrowedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::httpd::request::Request;
use crate::sys;

impl Request<'_> {
    /// The client's socket on HTTP/1. Streams of HTTP/2 have none: theirs is a
    /// stand-in that always looks closed; there `aborted` tells.
    fn client_fd(self) -> Option<RawFd> {
        if self.is_secondary() {
            return None;
        }
        // SAFETY: the request is alive.
        let connection = unsafe { (*self.as_raw()).connection };
        // SAFETY: the connection outlives the request.
        let socket = unsafe { sys::ap_get_conn_socket(connection) };
        if socket.is_null() {
            return None;
        }
        let mut fd = -1;
        // SAFETY: the connection's socket is open while it is served.
        let status = unsafe { sys::apr_os_sock_get(&raw mut fd, socket) };
        (status == 0 && fd >= 0).then_some(fd)
    }

    /// How long writes to the client may wait from now on, in microseconds;
    /// returns what held before. Streams of HTTP/2 have no socket of their own.
    pub(crate) fn swap_client_timeout(self, micros: i64) -> Option<i64> {
        self.client_fd()?;
        // SAFETY: the request is alive.
        let connection = unsafe { (*self.as_raw()).connection };
        // SAFETY: the connection outlives the request.
        let socket = unsafe { sys::ap_get_conn_socket(connection) };
        let mut before = 0;
        // SAFETY: the connection's socket, which `client_fd` has found to be there.
        let known = unsafe { sys::apr_socket_timeout_get(socket, &raw mut before) } == 0;
        // SAFETY: as above.
        (known && unsafe { sys::apr_socket_timeout_set(socket, micros) } == 0).then_some(before)
    }

    /// Whether the client is known to have gone. A client that closed its
    /// sending side looks like one that closed all; it may do that and still
    /// read if it said that this is its last request.
    pub(crate) fn client_has_gone(self) -> bool {
        if self.aborted() {
            return true;
        }
        let Some(fd) = self.client_fd() else {
            return false;
        };
        // SAFETY: open while the connection is served by this thread.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let mut gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        if !self.is_last_of_connection() {
            gone |= PollFlags::from_bits_retain(libc::POLLRDHUP);
        }
        let mut polled = [PollFd::new(fd, gone)];
        match poll(&mut polled, PollTimeout::ZERO) {
            // Nothing else was asked for; `revents` knows no POLLRDHUP and would
            // give nothing.
            Ok(1..) => true,
            _ => false,
        }
    }

    /// Has the kernel reset the client's connection when httpd closes it.
    pub(crate) fn reset_client(self) {
        if let Some(fd) = self.client_fd() {
            // SAFETY: open while the connection is served by this thread.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let now = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            // If it cannot be set, the client sees an ordinary end.
            let _ = setsockopt(&fd, sockopt::Linger, &now);
        }
        self.abandon();
    }

    fn is_last_of_connection(self) -> bool {
        let close = |value: &std::ffi::CStr| {
            value
                .to_bytes()
                .to_ascii_lowercase()
                .windows(5)
                .any(|part| part == b"close")
        };
        self.protocol_number() < 1001 || self.headers_in().get(c"Connection").is_some_and(close)
    }
}
