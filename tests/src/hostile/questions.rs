//! What a worker can do when it is asked a question: may this client in? Whatever
//! it says that is not the answer keeps the client out, and the next request on the
//! same connection finds it as it should be.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use wsgid_protocol::head::FLAG_CLOSE;
use wsgid_protocol::limits::MAX_LOG_LEN;
use wsgid_protocol::response::Answer;
use wsgid_protocol::{Failure, FrameHead, Kind};

use super::bytes::{encoded, whole};
use super::exchange::Exchange;

type Result = io::Result<()>;

/// What a client sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is let in.
    Granted,
    /// It is kept out.
    Refused,
}

use Outcome::{Granted, Refused};

/// One misbehaviour.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Last part of the URL path.
    pub name: &'static str,
    /// What the client sees.
    pub outcome: Outcome,
    /// The next request, whoever serves it, may have to do with it: the worker died,
    /// or spoke before it was asked.
    pub is_felt: bool,
    act: fn(&mut Exchange) -> Result,
}

impl Question {
    const fn new(name: &'static str, outcome: Outcome, act: fn(&mut Exchange) -> Result) -> Self {
        Self {
            name,
            outcome,
            is_felt: false,
            act,
        }
    }

    const fn felt(mut self) -> Self {
        self.is_felt = true;
        self
    }
}

/// Answers as the path says; as a good script would if it says nothing.
pub(super) fn act(path: &str, exchange: &mut Exchange) -> Result {
    let name = path.rsplit('/').next().unwrap_or_default();
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => (case.act)(exchange),
        None => grant(exchange),
    }
}

fn answer(exchange: &mut Exchange, answer: &Answer) -> Result {
    exchange.frame(exchange.head(Kind::Answer), &encoded(answer))
}

fn grant(exchange: &mut Exchange) -> Result {
    answer(exchange, &Answer::Granted)?;
    exchange.end()
}

/// An answer with bytes that are none.
fn payload(exchange: &mut Exchange, bytes: &[u8]) -> Result {
    exchange.frame(exchange.head(Kind::Answer), bytes)?;
    exchange.end()
}

/// A frame of this kind with a descriptor, in front of what is still missing.
fn with_descriptors(
    exchange: &mut Exchange,
    head: FrameHead,
    payload: &[u8],
    count: usize,
) -> Result {
    let it = File::open("/dev/null")?;
    exchange.frame_with(head, payload, &vec![it.as_fd(); count])
}

fn with_id(exchange: &mut Exchange, id: u64) -> Result {
    exchange.id = id;
    grant(exchange)
}

/// A frame that has no place in front of an answer.
fn first(exchange: &mut Exchange, kind: Kind, payload: &[u8]) -> Result {
    exchange.frame(exchange.head(kind), payload)?;
    grant(exchange)
}

/// Asks for a variable, and answers without a look at it.
fn look_up(exchange: &mut Exchange, name: &[u8]) -> Result {
    first(exchange, Kind::Lookup, name)
}

/// All of them.
pub const CASES: &[Question] = &[
    Question::new("granted", Granted, grant),
    Question::new("denied", Refused, |e| {
        answer(e, &Answer::Denied)?;
        e.end()
    }),
    Question::new("q-log-flood", Granted, |e| {
        (0..20_000).try_for_each(|_| e.log(3, b"the hostile script has much to say"))?;
        grant(e)
    }),
    Question::new("q-log-of-long-lines", Granted, |e| {
        let line = vec![b'x'; MAX_LOG_LEN as usize];
        (0..1500).try_for_each(|_| e.log(3, &line))?;
        grant(e)
    }),
    Question::new("q-log-above-its-limit", Refused, |e| {
        let mut head = FrameHead::new(Kind::Log, e.id, 0).encode();
        head[..4].copy_from_slice(&(MAX_LOG_LEN + 1).to_le_bytes());
        e.raw(&head)?;
        grant(e)
    }),
    Question::new("descriptor-with-the-answer", Refused, |e| {
        with_descriptors(e, e.head(Kind::Answer), &encoded(&Answer::Granted), 1)?;
        e.end()
    }),
    Question::new("250-descriptors-with-the-answer", Refused, |e| {
        with_descriptors(e, e.head(Kind::Answer), &encoded(&Answer::Granted), 250)?;
        e.end()
    }),
    Question::new("descriptor-with-a-log", Refused, |e| {
        with_descriptors(e, e.head(Kind::Log), b"here", 1)?;
        grant(e)
    }),
    Question::new("descriptor-with-a-failure", Refused, |e| {
        let head = e
            .head(Kind::Fail)
            .with_code(Failure::ApplicationError.code());
        with_descriptors(e, head, b"here", 1)
    }),
    Question::new("answer-twice", Refused, |e| {
        answer(e, &Answer::Denied)?;
        grant(e)
    }),
    Question::new("answer-of-another-question", Refused, |e| {
        answer(
            e,
            &Answer::RealmHash(b"0123456789abcdef0123456789abcdef".to_vec().into()),
        )?;
        e.end()
    }),
    Question::new("answer-empty", Refused, |e| payload(e, b"")),
    Question::new("answer-of-no-meaning", Refused, |e| payload(e, &[0xFF; 64])),
    Question::new("answer-with-bytes-left-over", Refused, |e| {
        payload(e, &[&encoded(&Answer::Granted)[..], b"more"].concat())
    }),
    Question::new("end-without-an-answer", Refused, Exchange::end),
    Question::new("response-instead", Refused, |e| e.answer(b"let it in")),
    Question::new("response-in-front", Refused, |e| {
        e.ok()?;
        grant(e)
    }),
    Question::new("data-in-front", Refused, |e| first(e, Kind::Data, b"body")),
    Question::new("want-in-front", Refused, |e| {
        first(e, Kind::Want, &1000_u64.to_le_bytes())
    }),
    Question::new("file-in-front", Refused, |e| first(e, Kind::File, b"")),
    Question::new("request-in-front", Refused, |e| {
        first(e, Kind::Request, b"")
    }),
    Question::new("control-in-front", Refused, |e| {
        first(e, Kind::Control, b"")
    }),
    Question::new("lookup", Granted, |e| look_up(e, b"SSL_PROTOCOL")),
    Question::new("lookup-of-nothing", Granted, |e| look_up(e, b"")),
    Question::new("lookup-of-any-bytes", Granted, |e| {
        e.frame(e.head(Kind::Lookup), b"\0SSL_\xff%s%n")?;
        look_up(e, &[0xff; 8 * 1024])
    }),
    Question::new("lookup-above-its-limit", Refused, |e| {
        look_up(e, &vec![b'x'; Kind::Lookup.max_len() as usize + 1])
    }),
    Question::new("lookup-with-a-descriptor", Refused, |e| {
        with_descriptors(e, e.head(Kind::Lookup), b"SSL_PROTOCOL", 1)?;
        grant(e)
    }),
    Question::new("lookup-behind-the-answer", Granted, |e| {
        answer(e, &Answer::Granted)?;
        e.frame(e.head(Kind::Lookup), b"SSL_PROTOCOL")?;
        e.end()
    }),
    Question::new("lookup-behind-the-end", Granted, |e| {
        let frames = [
            whole(e.head(Kind::Answer), &encoded(&Answer::Granted)),
            whole(e.head(Kind::End), &e.report()),
            whole(e.head(Kind::Lookup), b"SSL_PROTOCOL"),
        ];
        e.raw(&frames.concat())
    }),
    Question::new("lookups-whose-answers-nobody-takes", Refused, |e| {
        let many = whole(e.head(Kind::Lookup), b"SSL_SERVER_CERT").repeat(1000);
        loop {
            e.raw(&many)?;
        }
    }),
    Question::new("lookup-for-ever", Refused, |e| {
        let mut answers = e.socket.try_clone()?;
        std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
        let many = whole(e.head(Kind::Lookup), b"SSL_SERVER_CERT").repeat(1000);
        loop {
            e.raw(&many)?;
        }
    }),
    Question::new("variable-in-front", Refused, |e| {
        first(e, Kind::Variable, b"TLSv1.3")
    }),
    Question::new("q-id-0", Refused, |e| with_id(e, 0)),
    Question::new("q-id-of-the-last-request", Refused, |e| {
        with_id(e, e.id.wrapping_sub(1))
    }),
    Question::new("q-id-of-the-next-request", Refused, |e| {
        with_id(e, e.id + 1)
    }),
    Question::new("q-id-with-another-nonce", Refused, |e| {
        with_id(e, e.id ^ (1 << 63))
    }),
    Question::new("q-closes", Refused, Exchange::close),
    Question::new("answer-and-no-end", Refused, |e| {
        answer(e, &Answer::Granted)?;
        e.close()
    }),
    Question::new("half-an-answer", Refused, |e| {
        let frame = whole(e.head(Kind::Answer), &encoded(&Answer::Granted));
        e.raw(&frame[..frame.len() - 1])?;
        e.close()
    }),
    Question::new("q-silence", Refused, Exchange::stall),
    Question::new("answer-and-silence", Refused, |e| {
        answer(e, &Answer::Granted)?;
        e.stall()
    }),
    Question::new("log-for-ever", Refused, |e| {
        let many = whole(e.head(Kind::Log).with_code(7), b"").repeat(1000);
        loop {
            e.raw(&many)?;
        }
    }),
    Question::new("end-that-says-close", Granted, |e| {
        answer(e, &Answer::Granted)?;
        let end = FrameHead {
            flags: FLAG_CLOSE,
            ..e.head(Kind::End)
        };
        e.frame(end, &e.report())?;
        e.close()
    }),
    Question::new("end-without-a-report", Refused, |e| {
        answer(e, &Answer::Granted)?;
        e.frame(e.head(Kind::End), b"")
    }),
    Question::new("another-answer-behind-the-end", Granted, |e| {
        let frames = [
            whole(e.head(Kind::Answer), &encoded(&Answer::Granted)),
            whole(e.head(Kind::End), &e.report()),
            whole(e.head(Kind::Answer), &encoded(&Answer::Granted)),
        ];
        e.raw(&frames.concat())
    }),
    Question::new("not-started-and-never-will-be", Refused, |e| {
        e.fail_with(Failure::NotStarted)
    }),
    Question::new("q-fail-unknown-code", Refused, |e| {
        e.fail(9999, b"no such code")
    }),
    Question::new("fail-behind-the-answer", Refused, |e| {
        answer(e, &Answer::Granted)?;
        e.fail_with(Failure::NotStarted)
    }),
    Question::new("fail-and-more-of-it", Refused, |e| {
        let fail = e
            .head(Kind::Fail)
            .with_code(Failure::ApplicationError.code());
        let answer = whole(e.head(Kind::Answer), &encoded(&Answer::Granted));
        e.raw(&[whole(fail, b"no"), answer].concat())
    }),
    Question::new("q-killed", Refused, Exchange::die).felt(),
    Question::new("killed-behind-the-answer", Refused, |e| {
        answer(e, &Answer::Granted)?;
        e.die()
    })
    .felt(),
];
