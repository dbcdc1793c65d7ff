//! A worker that misbehaves: what a tenant could run in the place of ours.
//!
//! `src/bin/hostile_worker.rs` is the program; a site gets it by naming a
//! directory as `python-home` whose `bin/python` is that program. The path of a
//! request names the misbehaviour ([`cases`]); the suites go through the table.

mod answer;
pub mod cases;
pub mod child;
mod control;
mod exchange;
mod files;
mod frames;
mod heads;
pub mod questions;
mod sleepers;
mod supervisor;
mod worker;

use std::io;

use exchange::Exchange;
pub use sleepers::FUSE_FILE;
pub use worker::{Start, run};

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
    act: fn(&mut Exchange) -> io::Result<()>,
}

impl Case {
    const fn new(
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

    const fn upload(mut self, len: u64) -> Self {
        self.upload = len;
        self
    }
}
