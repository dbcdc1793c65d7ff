//! What a worker can do around the request's body and the speed of its answer.

use wsgid_protocol::Kind;
use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_WANT};

use super::bytes::whole;
use super::case::Case;
use super::case::Expect::{Any, Complete, NotOk};
use super::exchange::{Exchange, response};

type Result = std::io::Result<()>;

/// Longer than what fits into sockets and inline bodies.
const LARGE: u64 = 8 << 20;

fn want(exchange: &mut Exchange, payload: &[u8]) -> Result {
    exchange.frame(exchange.head(Kind::Want), payload)
}

fn wants(exchange: &mut Exchange, bytes: u64) -> Result {
    want(exchange, &bytes.to_le_bytes())?;
    exchange.answer(b"body")
}

pub(super) const CASES: &[Case] = &[
    Case::new("want-0", NotOk, |e| wants(e, 0)).upload(LARGE),
    Case::new("want-too-much", NotOk, |e| wants(e, MAX_WANT + 1)).upload(LARGE),
    Case::new("want-2-exp-64", NotOk, |e| wants(e, u64::MAX)).upload(LARGE),
    Case::new("want-of-4-bytes", NotOk, |e| {
        want(e, &[1, 0, 0, 0])?;
        e.answer(b"body")
    })
    .upload(LARGE),
    Case::new("want-without-a-body", Any, |e| wants(e, 1000)),
    Case::new("want-twice", Any, |e| {
        want(e, &1000_u64.to_le_bytes())?;
        wants(e, 1000)
    })
    .upload(LARGE),
    Case::new("want-flood", Any, |e| {
        (0..20_000).try_for_each(|_| want(e, &MAX_WANT.to_le_bytes()))?;
        e.answer(b"body")
    })
    .upload(LARGE),
    Case::new("want-after-the-end", Any, |e| {
        e.answer(b"body")?;
        want(e, &1000_u64.to_le_bytes())
    })
    .upload(LARGE),
    Case::new("answers-without-reading", Complete("body"), |e| {
        e.answer(b"body")
    })
    .upload(LARGE),
    Case::new("wants-and-never-reads", Complete("body"), |e| {
        // What was wanted stays in the socket while the answer is on its way.
        want(e, &MAX_WANT.to_le_bytes())?;
        e.pause();
        e.answer(b"body")?;
        e.close()
    })
    .upload(LARGE),
    Case::new("wants-and-closes", NotOk, |e| {
        want(e, &MAX_WANT.to_le_bytes())?;
        e.pause();
        e.close()
    })
    .upload(LARGE),
    Case::new("wants-and-answers-without-end", NotOk, |e| {
        e.ok()?;
        e.data(&vec![b'x'; 100_000])?;
        want(e, &MAX_WANT.to_le_bytes())?;
        e.close()
    })
    .upload(LARGE),
    Case::new("closes-with-unread-bytes", NotOk, Exchange::close).upload(LARGE),
];

/// These go on until the module closes the connection: for clients that read
/// slowly, and leave.
pub(super) const ENDLESS: &[Case] = &[
    Case::new("body-without-end", Any, |e| {
        e.ok()?;
        let block = vec![b'x'; MAX_BODY_LEN as usize];
        loop {
            e.data(&block)?;
        }
    }),
    Case::new("empty-data-without-end", Any, |e| {
        e.ok()?;
        without_end(e, Kind::Data, b"")
    }),
    Case::new("one-byte-a-second", Any, |e| {
        e.ok()?;
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
            e.data(b"x")?;
        }
    }),
    Case::new("one-byte-of-a-head-a-second", Any, |e| {
        for byte in whole(e.head(Kind::Response), &response(200, b"", &[]))
            .into_iter()
            .cycle()
        {
            std::thread::sleep(std::time::Duration::from_secs(1));
            e.raw(&[byte])?;
        }
        Ok(())
    }),
    Case::new("log-without-end", Any, |e| without_end(e, Kind::Log, b"")),
    Case::new("interim-without-end", Any, |e| {
        let early = response(103, b"", &[(b"Link", b"</a>")]);
        without_end(e, Kind::Interim, &early)
    }),
];

fn without_end(exchange: &mut Exchange, kind: Kind, payload: &[u8]) -> Result {
    let many = whole(exchange.head(kind), payload).repeat(1000);
    loop {
        exchange.raw(&many)?;
    }
}
