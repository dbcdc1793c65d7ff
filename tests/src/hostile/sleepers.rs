//! Descriptors whose last close sleeps, or that cannot be read, wherever a
//! worker can send some.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use nix::sys::socket::MsgFlags;
use wsgid_protocol::Kind;
use wsgid_protocol::control::FromWorker;
use wsgid_protocol::response::FilePart;

use super::bytes::{encoded, whole};
use super::case::Case;
use super::case::Expect::{Any, NotOk};
use super::control::framed;
use super::exchange::{Exchange, TEXT};
use crate::sleeper::Sleeper;

type Result = io::Result<()>;

const WHOLE: FilePart = FilePart { offset: 0, len: 10 };

/// Names a file of a FUSE file system, if the test has one.
pub const FUSE_FILE: &str = "HOSTILE_FUSE_FILE";

/// A frame with so many of them.
fn frame(exchange: &mut Exchange, kind: Kind, payload: &[u8], count: usize) -> Result {
    let sleepers = (0..count)
        .map(|_| Sleeper::new())
        .collect::<io::Result<Vec<_>>>()?;
    let fds: Vec<_> = sleepers.iter().map(Sleeper::as_fd).collect();
    let code = if kind == Kind::File { 1 } else { 0 };
    let sent = exchange.frame_with(exchange.head(kind).with_code(code), payload, &fds);
    sleepers.into_iter().for_each(Sleeper::leave);
    sent
}

fn file(exchange: &mut Exchange, count: usize) -> Result {
    exchange.response(200, &[TEXT, (b"Content-Length", b"10")])?;
    frame(exchange, Kind::File, &encoded(&WHOLE), count)?;
    exchange.end()
}

/// On the control socket, and a good answer.
fn control(exchange: &mut Exchange, bytes: &[u8], flags: MsgFlags) -> Result {
    // A kernel that refuses it has said so.
    let _ = Sleeper::new()?.send(exchange.control.socket(), bytes, flags);
    exchange.pause();
    exchange.answer(b"body")
}

pub(super) const CASES: &[Case] = &[
    Case::new("sleeper-with-data", NotOk, |e| {
        e.ok()?;
        frame(e, Kind::Data, b"x", 1)?;
        e.end()
    }),
    Case::new("sleepers-with-data", NotOk, |e| {
        e.ok()?;
        frame(e, Kind::Data, b"x", 20)?;
        e.end()
    }),
    Case::new("sleeper-as-the-file", NotOk, |e| file(e, 1)),
    Case::new("sleepers-as-the-file", NotOk, |e| file(e, 3)),
    Case::new("sleeper-with-the-first-frame", NotOk, |e| {
        frame(e, Kind::Log, b"x", 1)?;
        e.answer(b"body")
    }),
    Case::new("sleeper-behind-the-end", Any, |e| {
        e.answer(b"body")?;
        frame(e, Kind::Data, b"x", 1)
    }),
    Case::new("sleeper-with-an-urgent-byte", Any, |e| {
        e.ok()?;
        let _ = Sleeper::new()?.send(&e.socket, b"!", MsgFlags::MSG_OOB);
        e.data(b"body")?;
        e.end()
    }),
    Case::new("sleeper-unread-when-it-is-closed", NotOk, |e| {
        // The first frame is refused; nobody reads the second.
        e.raw(&[0xEE; 16])?;
        Sleeper::new()?.send(&e.socket, b"x", MsgFlags::empty())
    }),
    Case::new("file-of-fuse", Any, |e| {
        let Some(path) = std::env::var_os(FUSE_FILE) else {
            return e.answer(b"no FUSE here");
        };
        let it = File::open(path)?;
        e.response(200, &[TEXT, (b"Content-Length", b"10")])?;
        let sent = e.file(WHOLE, &[it.as_fd()]);
        // Its close asks the file system's program.
        std::thread::spawn(move || drop(it));
        sent?;
        e.end()
    }),
];

pub(super) const CONTROL: &[Case] = &[
    Case::new("control-sleeper-with-a-heartbeat", Any, |e| {
        control(e, &framed(&FromWorker::Heartbeat), MsgFlags::empty())
    }),
    Case::new("control-sleeper-in-half-a-message", Any, |e| {
        let frame = framed(&FromWorker::Dumped {
            text: "x".repeat(1000),
        });
        control(e, &frame[..500], MsgFlags::empty())
    }),
    Case::new("control-sleeper-with-an-urgent-byte", Any, |e| {
        control(e, b"!", MsgFlags::MSG_OOB)
    }),
    Case::new("control-sleeper-behind-garbage", Any, |e| {
        e.control.raw(&[0xEE; 64])?;
        control(e, &whole(e.head(Kind::Control), b""), MsgFlags::empty())
    }),
];
