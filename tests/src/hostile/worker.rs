//! The life of the hostile worker: it becomes ready as a good one does, takes
//! connections, and does to each request what its path names.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use nix::sys::socket::MsgFlags;
use wsgid_protocol::Kind;
use wsgid_protocol::blocking::{FrameReader, ReadError};
use wsgid_protocol::control::{FromWorker, RunningRequest, ToWorker, WorkerReport};
use wsgid_protocol::in_flight::{RequestInFlight, WorkerRequests};
use wsgid_protocol::payload::decode;
use wsgid_protocol::request::{BodyKind, Call, RequestHead};

use super::control::Control;
use super::exchange::Exchange;
use super::{cases, questions};
use crate::sleeper::Sleeper;

/// How the worker begins: the value of `HOSTILE_START` in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As it should.
    Ready,
    /// It exits at once.
    Exit,
    /// It never becomes ready.
    Hang,
    /// It says what is no message.
    Garbage,
    /// It closes its control socket and stays.
    Close,
    /// It says that it is ready, again and again.
    Flood,
    /// It is ready, and says so again and again, with a hundred times what can be
    /// wrong with its scripts.
    Boast,
}

impl Start {
    /// All but the good one, with their names.
    pub const BAD: [(&'static str, Self); 5] = [
        ("exit", Self::Exit),
        ("hang", Self::Hang),
        ("garbage", Self::Garbage),
        ("close", Self::Close),
        ("flood", Self::Flood),
    ];

    fn of_environment() -> Self {
        let name = std::env::var("HOSTILE_START").unwrap_or_default();
        if name == "boast" {
            return Self::Boast;
        }
        Self::BAD
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(Self::Ready, |(_, start)| *start)
    }
}

/// Serves until the supervisor says stop or goes away.
///
/// # Errors
/// If the control socket breaks.
pub fn run(control: UnixStream) -> io::Result<()> {
    let mut reader = FrameReader::new(3);
    let receiver = control.try_clone()?;
    let control = Arc::new(Control::new(control));
    begin(&control)?;
    loop {
        let message = match receive(&mut reader, &receiver) {
            Ok(message) => message,
            Err(ReadError::Closed) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        match message {
            ToWorker::Spec(_) => become_ready(&control)?,
            ToWorker::Assign { connection, .. } => {
                let Some(fd) = reader.take_fd() else {
                    return Err(io::Error::other("no descriptor came"));
                };
                let control = Arc::clone(&control);
                thread::spawn(move || serve(UnixStream::from(fd), connection, &control));
            }
            ToWorker::Drain | ToWorker::Stop { .. } => return Ok(()),
            ToWorker::Query => control.say(&FromWorker::Report(WorkerReport {
                running: match Start::of_environment() {
                    Start::Boast => vec![RunningRequest::default()],
                    _ => Vec::new(),
                },
                ..WorkerReport::default()
            }))?,
            ToWorker::Dump => control.say(&FromWorker::Dumped {
                text: "nothing to see".to_owned(),
            })?,
            ToWorker::Preload(_) => {
                control.say(&FromWorker::Ready {
                    python: (3, 13, 0),
                    failed: Vec::new(),
                })?;
            }
            ToWorker::Fork { .. } => {
                let fds: Vec<_> = std::iter::from_fn(|| reader.take_fd()).collect();
                if let Some(socket) = fds.into_iter().next().map(UnixStream::from) {
                    let refused = Sleeper::new()?
                        .send(&socket, b"hello", MsgFlags::empty())
                        .is_err();
                    // The child of nobody, then.
                    let _ = refused.then(|| (&socket).write_all(b"hello"));
                }
            }
            ToWorker::Interrupt { .. }
            | ToWorker::Runs(_)
            | ToWorker::Watch { .. }
            | ToWorker::GiveBack { .. } => {}
            ToWorker::Requests { stacks } => {
                control.say(&FromWorker::Requests(boasted_requests(stacks)))?;
            }
        }
    }
}

fn become_ready(control: &Control) -> io::Result<()> {
    let (times, scripts) = if Start::of_environment() == Start::Boast {
        (100, 15)
    } else {
        (1, 0)
    };
    let failed = |number: usize| {
        (
            format!("/srv/{number}.py").into(),
            "\u{1}\n".repeat(8 * 1024),
        )
    };
    let ready = FromWorker::Ready {
        python: (3, 13, 0),
        failed: (0..scripts).map(failed).collect(),
    };
    (0..times).try_for_each(|_| control.say(&ready))
}

/// As many as a message takes, if this one boasts.
fn boasted_requests(stacks: bool) -> WorkerRequests {
    let count = if Start::of_environment() == Start::Boast {
        1000
    } else {
        0
    };
    let request = |number| RequestInFlight {
        thread: number,
        path: "\u{1}\n\"\\".repeat(50),
        for_us: u64::MAX,
        stack: stacks.then(|| "\u{1}\n".to_owned()),
        ..RequestInFlight::default()
    };
    WorkerRequests {
        stacks,
        queued: u32::MAX,
        running: (0..count).map(request).collect(),
    }
}

fn begin(control: &Control) -> io::Result<()> {
    match Start::of_environment() {
        Start::Ready | Start::Boast => Ok(()),
        Start::Exit => std::process::exit(7),
        Start::Hang => forever(),
        Start::Garbage => {
            control.raw(&[0xEE; 4096])?;
            forever()
        }
        Start::Close => {
            control.socket().shutdown(std::net::Shutdown::Both)?;
            forever()
        }
        Start::Flood => loop {
            control.say(&FromWorker::Ready {
                python: (0, 0, 0),
                failed: Vec::new(),
            })?;
        },
    }
}

fn forever() -> ! {
    loop {
        thread::park();
    }
}

fn receive(reader: &mut FrameReader, socket: &UnixStream) -> Result<ToWorker, ReadError> {
    let frame = reader.next(socket.as_fd())?;
    decode(frame.payload).map_err(|error| ReadError::Io(io::Error::other(error)))
}

/// Serves one connection until it ends.
fn serve(socket: UnixStream, connection: u64, control: &Arc<Control>) {
    let Ok(reading) = socket.try_clone() else {
        return;
    };
    let mut exchange = Exchange {
        socket,
        id: 0,
        connection,
        control: Arc::clone(control),
        hang_up: false,
    };
    let mut reader = FrameReader::new(0);
    while !exchange.hang_up {
        let Ok((path, is_question)) = next_request(&mut reader, reading.as_fd(), &mut exchange.id)
        else {
            break;
        };
        let act = if is_question {
            questions::act
        } else {
            cases::act
        };
        if act(&path, &mut exchange).is_err() {
            break;
        }
    }
    drop(exchange);
    let _ = control.say(&FromWorker::Closed { connection });
}

/// Takes the next REQUEST and an inline body. Returns its path, and whether it is a
/// question.
fn next_request(
    reader: &mut FrameReader,
    socket: BorrowedFd<'_>,
    id: &mut u64,
) -> Result<(String, bool), ReadError> {
    loop {
        let frame = reader.next(socket)?;
        // What is left of the last request's body is of no interest.
        if frame.head.kind != Kind::Request {
            continue;
        }
        *id = frame.head.id;
        let head: RequestHead<'_> =
            decode(frame.payload).map_err(|error| ReadError::Io(io::Error::other(error)))?;
        let is_question = !matches!(head.call, Call::Application);
        let name = if is_question {
            &b"REQUEST_URI"[..]
        } else {
            b"PATH_INFO"
        };
        let path = head
            .environ
            .iter()
            .rev()
            .find(|(known, _)| known.as_ref() == name);
        let path = path
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default();
        if matches!(head.body, BodyKind::Inline(_)) {
            reader.next(socket)?;
        }
        return Ok((path, is_question));
    }
}
