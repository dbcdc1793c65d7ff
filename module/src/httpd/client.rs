//! The client's socket: has it gone while a worker computes?

#![expect(unsafe_code, reason = "asks httpd for the descriptor of a connection")]

use std::os::fd::BorrowedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::apr::foreign::Foreign;
use crate::httpd::request::Request;
use crate::sys;

type ClientSocket<'r> = Foreign<'r, sys::apr_socket_t>;

impl<'r> Request<'r> {
    /// The client's socket on HTTP/1. Streams of HTTP/2 have none: theirs is a
    /// stand-in that always looks closed; there `aborted` tells.
    fn client_socket(self) -> Option<ClientSocket<'r>> {
        if self.is_secondary() {
            return None;
        }
        // SAFETY: the connection outlives the request.
        let socket = unsafe { sys::ap_get_conn_socket(self.get().connection) };
        // SAFETY: null, or open while the connection is served by this thread.
        unsafe { Foreign::optional(socket) }
    }

    fn client_fd(self) -> Option<BorrowedFd<'r>> {
        let socket = self.client_socket()?.as_raw();
        let mut fd = -1;
        // SAFETY: the client's socket.
        let status = unsafe { sys::apr_os_sock_get(&raw mut fd, socket) };
        // SAFETY: open while the connection is served by this thread.
        (status == 0 && fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// How long writes to the client may wait from now on, in microseconds;
    /// returns what held before. Streams of HTTP/2 have no socket of their own.
    pub(crate) fn swap_client_timeout(self, micros: i64) -> Option<i64> {
        let socket = self.client_socket()?.as_raw();
        let mut before = 0;
        // SAFETY: the client's socket.
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
        let mut gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        if !self.is_last_of_connection() {
            gone |= PollFlags::from_bits_retain(libc::POLLRDHUP);
        }
        let mut polled = [PollFd::new(fd, gone)];
        // Nothing else was asked for; `revents` knows no POLLRDHUP and would give nothing.
        matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
    }

    /// Has the kernel reset the client's connection when httpd closes it.
    pub(crate) fn reset_client(self) {
        if let Some(fd) = self.client_fd() {
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
        let header = self.headers_in().get(c"Connection").unwrap_or_default();
        let mut parts = header.to_bytes().windows(5);
        self.protocol_number() < 1001 || parts.any(|part| part.eq_ignore_ascii_case(b"close"))
    }
}
