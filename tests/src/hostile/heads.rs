//! Response heads that break HTTP, or the encoding, or good sense.

use wsgid_protocol::head::FLAG_CLOSE;
use wsgid_protocol::{FrameHead, Kind};

use super::bytes::whole;
use super::case::Case;
use super::case::Expect::{Any, Complete, NotOk};
use super::exchange::{Exchange, Field, TEXT, response};

type Result = std::io::Result<()>;

/// A response with this status, complete but for it.
fn status(exchange: &mut Exchange, status: u16) -> Result {
    exchange.response(status, &[TEXT])?;
    exchange.data(b"body")?;
    exchange.end()
}

/// A response with one more field.
fn field(exchange: &mut Exchange, field: Field<'_>) -> Result {
    exchange.response(200, &[TEXT, field])?;
    exchange.data(b"body")?;
    exchange.end()
}

fn many(exchange: &mut Exchange, count: usize, len: usize) -> Result {
    let value = vec![b'v'; len];
    let fields = vec![(b"X-Many".as_slice(), value.as_slice()); count];
    exchange.response(200, &fields)?;
    exchange.end()
}

/// A payload that is no response head.
fn payload(exchange: &mut Exchange, payload: &[u8]) -> Result {
    exchange.frame(exchange.head(Kind::Response), payload)?;
    exchange.data(b"body")?;
    exchange.end()
}

pub(super) const CASES: &[Case] = &[
    Case::new("status-0", NotOk, |e| status(e, 0)),
    Case::new("status-99", NotOk, |e| status(e, 99)),
    Case::new("status-100", NotOk, |e| status(e, 100)),
    Case::new("status-101", NotOk, |e| status(e, 101)),
    Case::new("status-103", NotOk, |e| status(e, 103)),
    Case::new("status-600", NotOk, |e| status(e, 600)),
    Case::new("status-65535", NotOk, |e| status(e, u16::MAX)),
    // As the encoding writes numbers above sixteen bits, and as it writes -1.
    Case::new("status-2-exp-31", NotOk, |e| {
        payload(e, &[252, 0, 0, 0, 0x80, 2, b'O', b'K', 0])
    }),
    Case::new("status-minus-1", NotOk, |e| {
        payload(
            e,
            &[
                253, 255, 255, 255, 255, 255, 255, 255, 255, 2, b'O', b'K', 0,
            ],
        )
    }),
    Case::new("status-204-with-a-body", Any, |e| status(e, 204)),
    Case::new("status-304-with-a-body", Any, |e| status(e, 304)),
    Case::new("no-fields", Complete("body"), |e| {
        e.response(200, &[])?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("fields-600", Complete(""), |e| many(e, 600, 10)),
    Case::new("fields-4097", NotOk, |e| many(e, 4097, 10)),
    Case::new("fields-60000", NotOk, |e| many(e, 60_000, 0)),
    Case::new("field-of-200-kib", Any, |e| many(e, 1, 200 * 1024)),
    Case::new("name-empty", NotOk, |e| field(e, (b"", b"x"))),
    Case::new("name-with-cr", NotOk, |e| field(e, (b"X\rY", b"x"))),
    Case::new("name-with-lf", NotOk, |e| {
        field(e, (b"X\nInjected: yes", b"x"))
    }),
    Case::new("name-with-nul", NotOk, |e| field(e, (b"X\0Y", b"x"))),
    Case::new("name-with-space", NotOk, |e| field(e, (b"X Y", b"x"))),
    Case::new("name-with-colon", NotOk, |e| {
        field(e, (b"X: y\r\nInjected", b"x"))
    }),
    Case::new("name-with-0x80", NotOk, |e| field(e, (b"X\x80Y", b"x"))),
    Case::new("value-with-crlf", NotOk, |e| {
        field(e, (b"X", b"a\r\nInjected: yes"))
    }),
    Case::new("value-with-a-response", NotOk, |e| {
        field(
            e,
            (
                b"X",
                b"a\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes\r\nContent-Length: 0\r\n\r\n",
            ),
        )
    }),
    Case::new("value-with-lf", NotOk, |e| {
        field(e, (b"X", b"a\nInjected: yes"))
    }),
    Case::new("value-with-nul", NotOk, |e| field(e, (b"X", b"a\0b"))),
    Case::new("value-with-0xff", Complete("body"), |e| {
        field(e, (b"X", b"a\xffb"))
    }),
    Case::new("reason-with-crlf", NotOk, |e| {
        e.frame(
            e.head(Kind::Response),
            &response(200, b"OK\r\nInjected: yes", &[TEXT]),
        )?;
        e.end()
    }),
    Case::new("reason-of-100-kib", Any, |e| {
        e.frame(
            e.head(Kind::Response),
            &response(200, &vec![b'r'; 100 * 1024], &[TEXT]),
        )?;
        e.end()
    }),
    Case::new("length-twice", Any, |e| {
        e.response(
            200,
            &[TEXT, (b"Content-Length", b"4"), (b"Content-Length", b"400")],
        )?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("length-and-chunked", Any, |e| {
        e.response(
            200,
            &[
                TEXT,
                (b"Content-Length", b"4"),
                (b"Transfer-Encoding", b"chunked"),
            ],
        )?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("chunked-by-hand", Any, |e| {
        e.response(200, &[TEXT, (b"Transfer-Encoding", b"chunked")])?;
        e.data(b"0\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes\r\nContent-Length: 0\r\n\r\n")?;
        e.end()
    }),
    Case::new("length-no-number", NotOk, |e| {
        field(e, (b"Content-Length", b"four"))
    }),
    Case::new("length-negative", NotOk, |e| {
        field(e, (b"Content-Length", b"-4"))
    }),
    Case::new("length-of-21-digits", NotOk, |e| {
        field(e, (b"Content-Length", b"100000000000000000000"))
    }),
    Case::new("length-too-large", NotOk, |e| {
        field(e, (b"Content-Length", b"1000"))
    }),
    Case::new("length-too-small", Any, |e| {
        e.response(200, &[TEXT, (b"Content-Length", b"4")])?;
        e.data(b"bodyHTTP/1.1 200 OK\r\nInjected: yes\r\nContent-Length: 0\r\n\r\n")?;
        e.end()
    }),
    Case::new("hop-by-hop", Complete("body"), |e| {
        e.response(
            200,
            &[
                TEXT,
                (b"Connection", b"upgrade"),
                (b"Upgrade", b"x"),
                (b"Keep-Alive", b"timeout=9999"),
            ],
        )?;
        e.data(b"body")?;
        e.end()
    }),
    // The encoding: status 200, reason `OK`, then what is left out or promised.
    Case::new("head-empty", NotOk, |e| payload(e, b"")),
    Case::new("head-cut", NotOk, |e| payload(e, &[200, 2, b'O'])),
    Case::new("head-with-bytes-left-over", NotOk, |e| {
        payload(e, &[200, 2, b'O', b'K', 0, 0])
    }),
    Case::new("reason-promises-4-gib", NotOk, |e| {
        payload(e, &[200, 252, 0xFF, 0xFF, 0xFF, 0xFF, b'O', b'K'])
    }),
    Case::new("value-promises-2-exp-60", NotOk, |e| {
        payload(
            e,
            &[
                200, 0, 1, 1, b'X', 253, 0, 0, 0, 0, 0, 0, 0, 0x10, b'v', b'a', b'l', b'u', b'e',
                b's',
            ],
        )
    }),
    Case::new("fields-promise-2-exp-64", NotOk, |e| {
        payload(e, &[200, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255])
    }),
    Case::new("head-twice", NotOk, |e| {
        e.ok()?;
        e.ok()?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("interim-of-status-200", NotOk, |e| {
        e.frame(e.head(Kind::Interim), &response(200, b"", &[TEXT]))?;
        e.answer(b"body")
    }),
    Case::new("interim-of-status-101", NotOk, |e| {
        e.frame(
            e.head(Kind::Interim),
            &response(101, b"", &[(b"Upgrade", b"x")]),
        )?;
        e.answer(b"body")
    }),
    Case::new("interim-with-crlf", NotOk, |e| {
        e.frame(
            e.head(Kind::Interim),
            &response(103, b"", &[(b"Link", b"a\r\nInjected: yes")]),
        )?;
        e.answer(b"body")
    }),
    Case::new("interim-after-the-head", NotOk, |e| {
        e.ok()?;
        e.frame(
            e.head(Kind::Interim),
            &response(103, b"", &[(b"Link", b"</a>")]),
        )?;
        e.data(b"body")?;
        e.end()
    }),
    Case::new("interim-flood", Any, |e| {
        let interim = whole(
            e.head(Kind::Interim),
            &response(103, b"", &[(b"Link", b"</a>")]),
        );
        (0..5000).try_for_each(|_| e.raw(&interim))?;
        e.answer(b"body")
    }),
    Case::new("head-with-close-flag", Complete("body"), |e| {
        // CLOSE means nothing here; an unknown use of a known flag is ignored.
        let head = FrameHead {
            flags: FLAG_CLOSE,
            ..e.head(Kind::Response)
        };
        e.frame(head, &response(200, b"", &[TEXT]))?;
        e.data(b"body")?;
        e.end()
    }),
];
