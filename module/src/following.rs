//! What an application says on a connection: follows its frames into the
//! response, reads the request's body when it is wanted, and decides at FAIL
//! whether the request may be sent again. `exchange.rs` owns the connection.

use std::time::{Duration, Instant};

use wsgid_protocol::blocking::Frame;
use wsgid_protocol::failure::level;
use wsgid_protocol::head::{FLAG_CLOSE, FLAG_END};
use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_WANT};
use wsgid_protocol::log_rate::LogRate;
use wsgid_protocol::request::BodyKind;
use wsgid_protocol::response::EndReport;
use wsgid_protocol::{Failure, FrameHead, Kind};

use crate::apr::log;
use crate::body::{Body, BodyTrouble};
use crate::child;
use crate::connection::{Connection, Patience, Wait, was_not_taken};
use crate::exchange::{
    Attempt, Conversation, Ending, Exchange, Interruption, Stop, Trouble, Watch, interrupted, lost_stop, not_taken,
    protocol,
};
use crate::injected;
use crate::response::Response;

/// How long an application whose request body broke may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often a worker that keeps sending is interrupted by a look around.
const LOOK: Duration = Duration::from_millis(250);

/// A request that an application answers.
pub(crate) struct Serving<'f, 'r> {
    pub(crate) body: &'f mut Body<'r>,
    pub(crate) response: &'f mut Response<'r>,
    /// Whether files may go to the client by sendfile.
    pub(crate) sendfile: bool,
}

impl<'r> Conversation<'r> for Serving<'_, 'r> {
    fn inline(&self) -> Option<&[u8]> {
        self.body.inline()
    }

    fn has_body(&self) -> bool {
        !matches!(self.body.kind(), BodyKind::None)
    }

    fn follow(&mut self, exchange: &Exchange<'_, 'r>, connection: &mut Connection) -> Result<Ending, Stop> {
        let mut state = Following {
            exchange,
            sendfile: self.sendfile,
            body: &mut *self.body,
            response: &mut *self.response,
            any: false,
            body_sent: false,
            looked: Instant::now(),
            broken: None,
            lines: LogRate::from_worker(Instant::now()),
        };
        loop {
            let id = connection.id();
            let step = match connection.reader.next_buffered() {
                Ok(Some(frame)) => Some(state.frame(&frame, id)?),
                Ok(None) => None,
                Err(error) => return Err(protocol(&error).into()),
            };
            match step {
                Some(Step::Next) => {}
                Some(Step::File(part)) => state.file(connection, &part)?,
                Some(Step::Want(bytes)) => state.want(connection, bytes)?,
                Some(Step::End { close, report }) => {
                    return state.end(connection, close, report);
                }
                None => state.receive(connection)?,
            }
        }
    }
}

/// What a frame asks for that needs the connection, which its payload borrows.
enum Step {
    Next,
    File(Vec<u8>),
    Want(u64),
    End { close: bool, report: EndReport },
}

/// The state of a request while its frames are followed.
struct Following<'f, 'e, 'r> {
    exchange: &'f Exchange<'e, 'r>,
    sendfile: bool,
    body: &'f mut Body<'r>,
    response: &'f mut Response<'r>,
    /// A frame has come, so a worker has begun.
    any: bool,
    /// Body bytes beyond the inline ones have left.
    body_sent: bool,
    /// When the last look around was.
    looked: Instant,
    /// The request body broke: what the worker still says is for the log.
    broken: Option<(BodyTrouble, Instant)>,
    lines: LogRate,
}

impl Drop for Following<'_, '_, '_> {
    fn drop(&mut self) {
        self.left_out(true);
    }
}

impl<'r> Following<'_, '_, 'r> {
    fn frame(&mut self, frame: &Frame<'_>, id: u64) -> Result<Step, Stop> {
        let FrameHead { kind, code, .. } = frame.head;
        if !kind.from_worker() {
            return Err(protocol(&format!("{kind:?} comes from the module only")).into());
        }
        let about_connection = frame.head.id == 0 && kind == Kind::Fail;
        if frame.head.id != id && !about_connection {
            return Err(protocol(&format!("{kind:?} for another request")).into());
        }
        let first = !std::mem::replace(&mut self.any, true);
        match kind {
            Kind::Log => self.log(code, frame.payload),
            Kind::Interim => self.response.interim(frame.payload)?,
            Kind::Response => {
                self.response.begin(frame.payload)?;
                self.exchange.answered();
            }
            Kind::Data => self.response.data(frame.payload)?,
            Kind::File => return Ok(Step::File(frame.payload.to_vec())),
            Kind::Want => return Ok(Step::Want(self.wanted(frame.payload)?)),
            Kind::End => {
                injected::panic_in("the end");
                let report = EndReport::decode(frame.payload).map_err(|error| protocol(&error))?;
                return Ok(Step::End { close: frame.head.has(FLAG_CLOSE), report });
            }
            Kind::Fail => return Err(self.fail(frame, first)),
            _ => return Err(protocol(&format!("{kind:?} is no part of a response")).into()),
        }
        Ok(Step::Next)
    }

    fn wanted(&self, bytes: &[u8]) -> Result<u64, Trouble> {
        let wanted = <[u8; 8]>::try_from(bytes).map(u64::from_le_bytes).unwrap_or(0);
        let pull = matches!(self.body.kind(), BodyKind::Pull) || self.body_sent;
        if wanted == 0 || wanted > MAX_WANT || !pull {
            return Err(protocol(&format!("WANT of {wanted} bytes")));
        }
        Ok(wanted)
    }

    fn want(&mut self, connection: &mut Connection, wanted: u64) -> Result<(), Stop> {
        self.body_sent = true;
        // The client may wait for what was said before it says more.
        if self.response.wants_flush() {
            self.response.flush()?;
        }
        let pulled = match self.broken {
            Some((trouble, _)) => Err(trouble),
            None => self.body.pull(wanted),
        };
        let (bytes, ended) = match pulled {
            Ok(pulled) => pulled,
            Err(trouble) => return self.body_broke(connection, trouble),
        };
        self.response.unread_body = self.body.unread();
        let mut chunks = bytes.chunks(MAX_BODY_LEN as usize).peekable();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let last = chunks.peek().is_none();
            let flags = if last && ended { FLAG_END } else { 0 };
            match connection.send(Kind::Body, flags, 0, chunk, &mut self.exchange.watch()) {
                Ok(()) => {}
                // What it said before it went is still to be read.
                Err(Wait::Io(error)) if was_not_taken(&error) => return Ok(()),
                Err(Wait::Io(error)) => return Err(lost_stop(&error)),
                Err(Wait::Interrupted(interruption)) => return Err(interrupted(interruption).into()),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// The application's read raises; its log lines are still worth having.
    fn body_broke(&mut self, connection: &mut Connection, trouble: BodyTrouble) -> Result<(), Stop> {
        self.response.discard();
        let since = self.broken.map_or_else(Instant::now, |(_, since)| since);
        self.broken = Some((trouble, since));
        let code = trouble.error as u16;
        match connection.send(Kind::BodyError, 0, code, &[], &mut self.watch()) {
            Ok(()) => Ok(()),
            Err(_) => Err(Trouble::Body(trouble).into()),
        }
    }

    /// Ticks; without a client once the request's body has broken.
    fn watch(&self) -> Watch<'r> {
        match self.broken {
            Some((_, since)) => {
                let left = LAST_WORDS.saturating_sub(since.elapsed()).max(Duration::from_millis(1));
                Watch { r: self.exchange.r, timeout: left, deadline: None, client: false }
            }
            None => self.exchange.watch(),
        }
    }

    fn file(&mut self, connection: &mut Connection, part: &[u8]) -> Result<(), Stop> {
        let fd = connection.take_file().map_err(|why| protocol(&why))?;
        Ok(self.response.file(part, fd, self.sendfile)?)
    }

    fn end(&mut self, connection: &mut Connection, close: bool, report: EndReport) -> Result<Ending, Stop> {
        if connection.reader.waiting_fds() > 0 {
            return Err(protocol(&"a descriptor that nobody asked for").into());
        }
        // Bytes behind END would be taken for the next answer.
        let reuse = !close && connection.reader.is_empty() && connection.may_go_on();
        match self.response.finish() {
            Ok(()) => match self.broken {
                None => Ok(Ending { reuse, report }),
                Some((trouble, _)) => Err(Stop { attempt: Attempt::Over(Trouble::Body(trouble)), reuse }),
            },
            // The worker is through with it; only the client's side failed.
            Err(trouble) => Err(Stop { attempt: Attempt::Over(trouble), reuse }),
        }
    }

    fn fail(&self, frame: &Frame<'_>, first: bool) -> Stop {
        let text = String::from_utf8_lossy(frame.payload).into_owned();
        let Some(failure) = Failure::from_code(frame.head.code) else {
            return protocol(&format!("unknown failure {}: {text}", frame.head.code)).into();
        };
        let again = failure.row().repeatable && !self.body_sent && (first || !self.response.has_head());
        let attempt = if let Some((trouble, _)) = self.broken {
            Attempt::Over(Trouble::Body(trouble))
        } else if again {
            Attempt::Again { failure, text, answered: true }
        } else {
            Attempt::Over(Trouble::Failed(failure, text))
        };
        // FAIL about the connection comes from the supervisor, which closes it.
        Stop { attempt, reuse: !frame.head.has(FLAG_CLOSE) && frame.head.id != 0 }
    }

    /// One line for the error log, unless there are too many.
    fn log(&mut self, level: u16, line: &[u8]) {
        let count = line.iter().filter(|byte| **byte == b'\n').count() + 1;
        if self.lines.allows(count, Instant::now()) {
            log::from_worker(self.exchange.r, level, line);
        } else {
            self.left_out(false);
        }
    }

    fn left_out(&mut self, last: bool) {
        if let Some(text) = self.lines.account(Instant::now(), last) {
            log::from_worker(self.exchange.r, level::WARN, text.as_bytes());
        }
    }

    /// Receives more; before waiting long, what has gathered goes out.
    fn receive(&mut self, connection: &mut Connection) -> Result<(), Stop> {
        // Waits look around at their ticks; a worker that never lets us wait
        // must not keep us from it.
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.watch().tick(Duration::ZERO).map_err(interrupted)?;
        }
        if let Some((trouble, since)) = self.broken
            && since.elapsed() >= LAST_WORDS
        {
            return Err(Trouble::Body(trouble).into());
        }
        let delay = self.exchange.group.response_flush_delay;
        let idle = connection.reader.is_empty() && self.response.wants_flush();
        if idle && !connection.is_readable_within(delay) {
            self.response.flush()?;
        }
        let filled = connection.fill(&mut self.watch());
        if let (Some((trouble, _)), Ok(0) | Err(_)) = (self.broken, &filled) {
            return Err(Trouble::Body(trouble).into());
        }
        match filled {
            Ok(0) if child::is_stopping() => Err(interrupted(Interruption::Stopping).into()),
            Ok(0) => {
                let text = if connection.reader.is_empty() { "it was closed" } else { "it was closed in a frame" };
                Err(Trouble::Failed(Failure::WorkerLost, text.to_owned()).into())
            }
            Ok(_) => Ok(()),
            // A socket is reset when its owner goes with unread bytes in it:
            // then the request was not taken completely, and not begun.
            Err(Wait::Io(error)) if was_not_taken(&error) && !self.any && !self.body_sent => {
                Err(Stop { attempt: not_taken(&error), reuse: false })
            }
            Err(Wait::Io(error)) => Err(lost_stop(&error)),
            Err(Wait::Interrupted(interruption)) => Err(interrupted(interruption).into()),
        }
    }
}
