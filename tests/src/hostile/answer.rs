//! What a worker can do around the request's body and the speed of its answer.

use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_WANT};
use wsgid_protocol::{FrameHead, Kind};

use super::Case;
use super::Expect::{Any, Complete, NotOk};
use super::exchange::Exchange;

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
    Case::new("answers-without-reading", Complete("body"), |e| e.answer(b"body")).upload(LARGE),
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
    // Goes on until the module closes the connection.
    Case::new("body-without-end", NotOk, |e| {
        e.ok()?;
        let block = vec![b'x'; MAX_BODY_LEN as usize];
        let head = FrameHead { len: MAX_BODY_LEN, ..e.head(Kind::Data) };
        loop {
            e.frame(head, &block)?;
        }
    }),
];
