//! What a worker can do to the supervisor on its control socket, while a client
//! waits. The supervisor may end such a worker; it must not end itself.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::PathBuf;

use wsgid_protocol::control::{FromWorker, RecycleReason, RunningRequest, WorkerReport};
use wsgid_protocol::{FrameHead, Kind};

use super::bytes::whole;
use super::case::Case;
use super::case::Expect::Any;
use super::control::framed;
use super::exchange::Exchange;

type Result = io::Result<()>;

/// Bytes on the control socket, and a good answer if the worker still lives.
fn bytes(exchange: &mut Exchange, bytes: &[u8]) -> Result {
    exchange.control.raw(bytes)?;
    exchange.pause();
    exchange.answer(b"body")
}

fn message(exchange: &mut Exchange, message: &FromWorker) -> Result {
    bytes(exchange, &framed(message))
}

/// The same message again and again.
fn flood(exchange: &mut Exchange, times: usize, message: &FromWorker) -> Result {
    let framed = framed(message);
    (0..times).try_for_each(|_| exchange.control.raw(&framed))?;
    exchange.answer(b"body")
}

fn announce(exchange: &mut Exchange, len: u32) -> Result {
    let mut head = FrameHead::new(Kind::Control, 0, 0).encode();
    head[..4].copy_from_slice(&len.to_le_bytes());
    bytes(exchange, &head)
}

pub(super) const CASES: &[Case] = &[
    Case::new("control-garbage", Any, |e| bytes(e, &[0xEE; 4096])),
    Case::new("control-zeros", Any, |e| bytes(e, &[0; 4096])),
    Case::new("control-of-4-gib", Any, |e| announce(e, u32::MAX)),
    Case::new("control-of-16-mib", Any, |e| {
        announce(e, Kind::Control.max_len())
    }),
    Case::new("control-of-another-kind", Any, |e| {
        let frame = whole(FrameHead::new(Kind::Hello, 0, 0), b"hello");
        bytes(e, &frame)
    }),
    Case::new("control-of-no-message", Any, |e| {
        let frame = whole(FrameHead::new(Kind::Control, 0, 0), &[0xFF; 100]);
        bytes(e, &frame)
    }),
    Case::new("control-half-a-message-and-silence", Any, |e| {
        let frame = framed(&FromWorker::Dumped {
            text: "x".repeat(1000),
        });
        bytes(e, &frame[..500])
    }),
    Case::new("control-length-bomb", Any, |e| {
        // Ready with 2^60 failed scripts.
        let payload = [0, 3, 13, 0, 253, 0, 0, 0, 0, 0, 0, 0, 0x10];
        bytes(e, &whole(FrameHead::new(Kind::Control, 0, 0), &payload))
    }),
    Case::new("control-closed", Any, |e| {
        e.control.socket().shutdown(Shutdown::Both)?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("control-half-closed", Any, |e| {
        e.control.socket().shutdown(Shutdown::Write)?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("releases-what-it-never-had", Any, |e| {
        (0..1000)
            .chain([u64::MAX])
            .try_for_each(|connection| e.control.say(&FromWorker::Release { connection }))?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("closes-what-it-never-had", Any, |e| {
        let numbers = (0..1000).filter(|number| *number != e.connection);
        numbers
            .chain([u64::MAX])
            .try_for_each(|connection| e.control.say(&FromWorker::Closed { connection }))?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("releases-while-it-serves", Any, |e| {
        e.control.say(&FromWorker::Release {
            connection: e.connection,
        })?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("releases-again-and-again", Any, |e| {
        flood(
            e,
            1000,
            &FromWorker::Release {
                connection: e.connection,
            },
        )
    }),
    Case::new("closes-while-it-serves", Any, |e| {
        e.control.say(&FromWorker::Closed {
            connection: e.connection,
        })?;
        e.pause();
        e.answer(b"body")
    }),
    Case::new("ready-again", Any, |e| {
        let failed = vec![
            (
                PathBuf::from("/\n[core:emerg] FORGED line"),
                "FORGED\nline\x1b[31m".to_owned()
            );
            20
        ];
        message(
            e,
            &FromWorker::Ready {
                python: (u32::MAX, 0, 0),
                failed,
            },
        )
    }),
    Case::new("recycle-flood", Any, |e| {
        flood(e, 2000, &FromWorker::Recycle(RecycleReason::ScriptChanged))
    }),
    Case::new("report-flood", Any, |e| {
        let running = RunningRequest {
            connection: u64::MAX,
            what: "x\ny\x1b[31m".repeat(50),
            for_us: u64::MAX,
        };
        let report = WorkerReport {
            requests: u64::MAX,
            in_flight: u32::MAX,
            in_flight_max: u32::MAX,
            connections: u32::MAX,
            busy_us: u64::MAX,
            histogram: vec![u64::MAX; 2000],
            running: vec![running; 200],
            memory: Some(u64::MAX),
            cpu_us: Some(u64::MAX),
        };
        flood(e, 200, &FromWorker::Report(report))
    }),
    Case::new("heartbeat-flood", Any, |e| {
        flood(e, 20_000, &FromWorker::Heartbeat)
    }),
    Case::new("dump-unasked", Any, |e| {
        flood(
            e,
            50,
            &FromWorker::Dumped {
                text: "FORGED\nline ".repeat(15_000),
            },
        )
    }),
    Case::new("descriptors-to-the-supervisor", Any, |e| {
        let it = File::open("/dev/null")?;
        let fds = vec![it.as_fd(); 250];
        let frame = framed(&FromWorker::Heartbeat);
        (0..200).try_for_each(|_| e.control.raw_with(&frame, &fds))?;
        e.answer(b"body")
    }),
];
