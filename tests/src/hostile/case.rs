//! One misbehaviour of the hostile worker, and what a client may see of it. Rows of
//! the tables in `answer`, `files`, `frames`, `heads`, `sleepers` and `supervisor`.

use std::io;

use super::exchange::Exchange;

/// What a client may see of a misbehaviour. Whatever it is, it comes in bounded
/// time, and the server is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A complete 200 with this body: the breach is none, or harmless.
    Complete(&'static str),
    /// No complete response below 500.
    NotOk,
    /// A 504, because nothing came for the whole of `socket-timeout`.
    Timeout,
    /// Anything that is well-formed HTTP, or a broken connection.
    Any,
}

/// One misbehaviour.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Last part of the URL path.
    pub name: &'static str,
    /// What the client may see.
    pub expect: Expect,
    /// Length of the body to send with the request; 0 is a GET.
    pub upload: u64,
    pub(super) act: fn(&mut Exchange) -> io::Result<()>,
}

impl Case {
    pub(super) const fn new(
        name: &'static str,
        expect: Expect,
        act: fn(&mut Exchange) -> io::Result<()>,
    ) -> Self {
        Self {
            name,
            expect,
            upload: 0,
            act,
        }
    }

    pub(super) const fn upload(mut self, len: u64) -> Self {
        self.upload = len;
        self
    }
}
