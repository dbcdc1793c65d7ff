//! Frames out of order, of the wrong kind, cut, slow, or without end.

use std::os::fd::AsFd as _;

use wsgid_protocol::head::FLAG_CLOSE;
use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_LOG_LEN};
use wsgid_protocol::response::{Answer, EndReport, FilePart};
use wsgid_protocol::{Failure, Kind};

use super::bytes::{encoded, whole};
use super::case::Case;
use super::case::Expect::{Any, Complete, NotOk, Timeout};
use super::exchange::{Exchange, TEXT, response};

type Result = std::io::Result<()>;

/// This frame first, then a good answer.
fn first(exchange: &mut Exchange, kind: Kind, payload: &[u8]) -> Result {
    exchange.frame(exchange.head(kind), payload)?;
    exchange.answer(b"body")
}

/// A head that announces what must be refused, and nothing behind it.
fn announce(exchange: &mut Exchange, kind: Kind, len: u32) -> Result {
    let mut bytes = exchange.head(kind).encode();
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    exchange.raw(&bytes)?;
    exchange.stall()
}

/// A good answer with one byte of the response's frame head changed.
fn altered(exchange: &mut Exchange, at: usize, byte: u8) -> Result {
    let mut bytes = whole(exchange.head(Kind::Response), &response(200, b"", &[TEXT]));
    bytes[at] = byte;
    exchange.raw(&bytes)?;
    exchange.data(b"body")?;
    exchange.end()
}

/// The bytes of a good answer.
fn good(exchange: &Exchange) -> Vec<u8> {
    let end = EndReport {
        worker: std::process::id(),
        ..EndReport::default()
    };
    [
        whole(exchange.head(Kind::Response), &response(200, b"", &[TEXT])),
        whole(exchange.head(Kind::Data), b"body"),
        whole(exchange.head(Kind::End), &encoded(&end)),
    ]
    .concat()
}

fn with_id(exchange: &mut Exchange, id: u64) -> Result {
    exchange.id = id;
    exchange.answer(b"EVIL")
}

pub(super) const CASES: &[Case] = &[
    Case::new("data-first", NotOk, |e| first(e, Kind::Data, b"body")),
    Case::new("end-first", NotOk, |e| {
        e.end()?;
        e.stall()
    }),
    Case::new("no-end", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.close()
    }),
    Case::new("head-alone", NotOk, |e| {
        e.ok()?;
        e.close()
    }),
    Case::new("nothing-at-all", NotOk, Exchange::close),
    Case::new("answer-to-a-request", NotOk, |e| {
        first(e, Kind::Answer, &encoded(&Answer::Granted))
    }),
    Case::new("lookup-for-a-response", NotOk, |e| {
        first(e, Kind::Lookup, b"SSL_PROTOCOL")
    }),
    Case::new("variable-from-a-worker", NotOk, |e| {
        first(e, Kind::Variable, b"TLSv1.3")
    }),
    Case::new("hello-from-a-worker", NotOk, |e| first(e, Kind::Hello, b"")),
    Case::new("request-from-a-worker", NotOk, |e| {
        first(e, Kind::Request, b"")
    }),
    Case::new("body-from-a-worker", NotOk, |e| {
        first(e, Kind::Body, b"body")
    }),
    Case::new("cancel-from-a-worker", NotOk, |e| {
        first(e, Kind::Cancel, b"")
    }),
    Case::new("control-from-a-worker", NotOk, |e| {
        first(e, Kind::Control, b"")
    }),
    Case::new("unknown-kind", NotOk, |e| altered(e, 4, 0x7F)),
    Case::new("kind-0", NotOk, |e| altered(e, 4, 0)),
    Case::new("critical-flag", NotOk, |e| altered(e, 5, 0x80)),
    Case::new("unknown-flag-that-may-be-ignored", Complete("body"), |e| {
        altered(e, 5, 0x08)
    }),
    Case::new("id-0", NotOk, |e| with_id(e, 0)),
    Case::new("id-of-the-last-request", NotOk, |e| with_id(e, e.id - 1)),
    Case::new("id-of-the-next-request", NotOk, |e| with_id(e, e.id + 1)),
    Case::new("id-with-another-nonce", NotOk, |e| {
        with_id(e, e.id ^ (1 << 63))
    }),
    Case::new("response-of-4-gib", NotOk, |e| {
        announce(e, Kind::Response, u32::MAX)
    }),
    Case::new("response-above-its-limit", NotOk, |e| {
        announce(e, Kind::Response, Kind::Response.max_len() + 1)
    }),
    Case::new("log-above-its-limit", NotOk, |e| {
        announce(e, Kind::Log, MAX_LOG_LEN + 1)
    }),
    Case::new("data-above-its-limit", NotOk, |e| {
        e.ok()?;
        announce(e, Kind::Data, MAX_BODY_LEN + 1)
    }),
    Case::new("data-of-length-0", Complete("body"), |e| {
        e.ok()?;
        e.data(b"")?;
        e.data(b"body")?;
        e.data(b"")?;
        e.end()
    }),
    Case::new("empty-data-flood", Any, |e| {
        e.ok()?;
        let empty = whole(e.head(Kind::Data), b"").repeat(1000);
        (0..1000).try_for_each(|_| e.raw(&empty))?;
        e.end()
    }),
    Case::new("half-a-frame-head", NotOk, |e| {
        let bytes = good(e);
        e.raw(&bytes[..9])?;
        e.close()
    }),
    Case::new("half-a-response", NotOk, |e| {
        let bytes = good(e);
        e.raw(&bytes[..20])?;
        e.close()
    }),
    Case::new("all-but-the-last-byte", NotOk, |e| {
        let bytes = good(e);
        e.raw(&bytes[..bytes.len() - 1])?;
        e.close()
    }),
    Case::new("half-a-frame-and-silence", Timeout, |e| {
        let bytes = good(e);
        e.raw(&bytes[..20])?;
        e.stall()
    }),
    Case::new("silence", Timeout, Exchange::stall),
    Case::new("head-and-silence", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.stall()
    }),
    Case::new("one-byte-at-a-time", Complete("body"), |e| {
        for byte in good(e) {
            e.raw(&[byte])?;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(())
    }),
    Case::new("killed-before-the-head", NotOk, Exchange::die),
    Case::new("killed-after-the-head", NotOk, |e| {
        e.ok()?;
        e.die()
    }),
    Case::new("killed-in-the-body", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.pause();
        e.die()
    }),
    // Every other boundary of a frame.
    Case::new("killed-after-a-want", NotOk, |e| {
        e.frame(e.head(Kind::Want), &1000_u64.to_le_bytes())?;
        e.die()
    })
    .upload(1 << 20),
    Case::new("killed-after-a-log", NotOk, |e| {
        e.log(4, b"the last words")?;
        e.die()
    }),
    Case::new("killed-after-a-hint", NotOk, |e| {
        e.frame(
            e.head(Kind::Interim),
            &response(103, b"", &[(b"Link", b"</a>")]),
        )?;
        e.die()
    }),
    Case::new("killed-before-the-end", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.die()
    }),
    Case::new("killed-after-a-file", NotOk, |e| {
        let mut file = tempfile::tempfile()?;
        std::io::Write::write_all(&mut file, b"0123456789")?;
        e.ok()?;
        e.file(FilePart { offset: 0, len: 10 }, &[file.as_fd()])?;
        e.die()
    }),
    Case::new("killed-after-the-end", Complete("body"), |e| {
        e.answer(b"body")?;
        e.die()
    }),
    Case::new("killed-in-a-frame", NotOk, |e| {
        e.ok()?;
        let bytes = whole(e.head(Kind::Data), &[b'x'; 1000]);
        e.raw(&bytes[..500])?;
        e.die()
    }),
    Case::new("log-flood", Complete("body"), |e| {
        (0..5000).try_for_each(|_| e.log(4, b"the hostile worker has much to say"))?;
        e.answer(b"body")
    }),
    Case::new("log-with-another-line", Complete("body"), |e| {
        e.log(
            3,
            b"first\n[Thu Jan 01 00:00:00 1970] [core:emerg] FORGED line\r\x1b[31mred\0nul\x80",
        )?;
        e.answer(b"body")
    }),
    Case::new("log-with-formats", Complete("body"), |e| {
        e.log(3, b"%s%s%s%n%n %d %x %*.*f %1000000d")?;
        e.answer(b"body")
    }),
    Case::new("log-of-level-65535", Any, |e| {
        e.log(u16::MAX, b"no such level")?;
        e.answer(b"body")
    }),
    Case::new("fail-unknown-code", NotOk, |e| {
        e.fail(9999, b"no such code")
    }),
    Case::new("fail-code-0", NotOk, |e| e.fail(0, b"")),
    Case::new("fail-with-bad-text", NotOk, |e| {
        e.fail(
            Failure::ApplicationError.code(),
            b"\xff\xfe\n[core:emerg] FORGED line\r\n%s%n\0",
        )
    }),
    Case::new("fail-with-60-kib", NotOk, |e| {
        e.fail(Failure::ApplicationError.code(), &vec![b'x'; 60 * 1024])
    }),
    Case::new("fail-of-the-client", NotOk, |e| {
        // A worker may say it; the status is then the client's own fault, and
        // nobody reads it.
        e.fail_with(Failure::Deadlock)
    }),
    Case::new("not-started-for-ever", NotOk, |e| {
        e.fail_with(Failure::NotStarted)
    }),
    Case::new("not-started-after-data", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.pause();
        e.fail_with(Failure::NotStarted)
    }),
    Case::new("fail-and-go-on", NotOk, |e| {
        e.fail_with(Failure::ApplicationError)?;
        e.answer(b"EVIL")
    }),
    Case::new("end-with-a-bad-report", NotOk, |e| {
        e.ok()?;
        e.data(b"body")?;
        e.frame(e.head(Kind::End), b"\xff\xff\xff")
    }),
    Case::new("end-with-close-and-go-on", Complete("body"), |e| {
        e.ok()?;
        e.data(b"body")?;
        let report = encoded(&EndReport::default());
        e.frame(e.head(Kind::End).with_flags(FLAG_CLOSE), &report)?;
        e.answer(b"EVIL")
    }),
    Case::new("answers-twice", Complete("body"), |e| {
        let both = [good(e), good(e)].concat();
        e.raw(&both)
    }),
];

/// What is said between two requests meets the next one on that connection.
pub(super) const EARLY: &[Case] = &[
    Case::new("speaks-after-the-end", Complete("body"), |e| {
        e.answer(b"body")?;
        e.pause();
        e.data(b"EVIL")
    }),
    Case::new(
        "answers-the-next-request-before-it-comes",
        Complete("body"),
        |e| {
            e.answer(b"body")?;
            e.pause();
            with_id(e, e.id + 1)
        },
    ),
];
