//! One request and its answer over a connection: takes a connection, sends,
//! follows the frames until END or FAIL, and sends again elsewhere when it is
//! certain that no worker has begun (PROTOCOL.md §4).

use std::time::{Duration, Instant};

use wsgid_protocol::blocking::Frame;
use wsgid_protocol::head::{FLAG_CLOSE, FLAG_END};
use wsgid_protocol::limits::{MAX_BODY_LEN, MAX_WANT};
use wsgid_protocol::response::EndReport;
use wsgid_protocol::{Failure, FrameHead, Kind, payload};

use crate::apr::log::{self, Level};
use crate::body::{Body, BodyTrouble};
use crate::child::{self, Child};
use crate::connection::{Connection, Patience, Wait, was_not_taken};
use crate::groups::Group;
use crate::httpd::request::Request;
use crate::pool::{PoolOf, Pooled};
use crate::response::Response;

/// Why a request did not end well.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A row of the failure table, and a text for the log.
    Failed(Failure, String),
    /// Nobody is there to be answered.
    ClientGone,
    /// httpd's output filters refused or replaced the response.
    Filter,
    /// The request's body broke.
    Body(BodyTrouble),
}

/// Why a wait ended: what a tick found.
#[derive(Clone, Copy, Debug)]
enum Interruption {
    Timeout,
    ClientGone,
    Stopping,
}

/// What is asked of whom.
pub(crate) struct Exchange<'e, 'r> {
    pub(crate) r: Request<'r>,
    pub(crate) child: &'e Child,
    pub(crate) group: &'e Group,
    pub(crate) application_group: &'e str,
    /// The encoded head.
    pub(crate) head: &'e [u8],
    /// Time without a byte from the worker.
    pub(crate) timeout: Duration,
    pub(crate) sendfile: bool,
}

/// Ticks of waits for this request.
struct Watch<'r> {
    r: Request<'r>,
    timeout: Duration,
    /// Whether there is still a client to look after.
    client: bool,
}

impl Patience for Watch<'_> {
    type Interruption = Interruption;

    fn tick(&mut self, waited: Duration) -> Result<(), Interruption> {
        if child::is_stopping() {
            return Err(Interruption::Stopping);
        }
        if self.client && self.r.client_has_gone() {
            return Err(Interruption::ClientGone);
        }
        if !self.timeout.is_zero() && waited >= self.timeout {
            return Err(Interruption::Timeout);
        }
        Ok(())
    }
}

/// How one attempt ended.
enum Attempt {
    /// The answer is complete.
    Done,
    /// No worker has begun it: it may be sent again.
    Again {
        failure: Failure,
        text: String,
        /// It was a worker that said so.
        answered: bool,
    },
    /// It is over.
    Over(Trouble),
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        Self::Over(trouble)
    }
}

/// A connection in use, counted in its pool until it is dropped.
struct Lease<'e> {
    connection: Option<Connection>,
    pool: &'e PoolOf<'e>,
    worker: u32,
}

impl Lease<'_> {
    fn give_back(mut self, report_worker: Option<u32>) {
        if let Some(mut connection) = self.connection.take() {
            if let Some(worker) = report_worker {
                connection.set_worker(worker);
            }
            self.pool.give_back(self.worker, connection);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            self.pool.end(self.worker);
        }
    }
}

/// How often a request is tried; each try may meet a worker that is just
/// leaving. Idle connections that turn out to be stale do not count: they are
/// used up.
const TRIES_MAX: u32 = 6;

/// How long an application whose request body broke may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often a worker that keeps sending is interrupted by a look around.
const LOOK: Duration = Duration::from_millis(250);

impl<'r> Exchange<'_, 'r> {
    /// Carries it out. After `Ok` the response is complete.
    pub(crate) fn run(&self, body: &mut Body<'r>, response: &mut Response<'r>) -> Result<(), Trouble> {
        let pool = self.child.pools.of(&self.group.name, self.application_group);
        let mut tries = 0;
        loop {
            let (lease, is_fresh) = self.lease(&pool)?;
            let (failure, text, answered) = match self.attempt(lease, body, response) {
                Attempt::Done => return Ok(()),
                Attempt::Over(trouble) => return Err(trouble),
                Attempt::Again { failure, text, answered } => (failure, text, answered),
            };
            if is_fresh || answered {
                tries += 1;
            }
            if tries >= TRIES_MAX {
                return Err(Trouble::Failed(failure, text));
            }
            log::request(self.r, Level::DEBUG, || format!("sent again, no worker has begun it: {text}"));
            if tries > 1 {
                std::thread::sleep(Duration::from_millis(5 << tries));
            }
        }
    }

    fn watch(&self) -> Watch<'r> {
        Watch { r: self.r, timeout: self.timeout, client: true }
    }

    /// An idle connection, or a new one.
    fn lease<'p>(&self, pool: &'p PoolOf<'p>) -> Result<(Lease<'p>, bool), Trouble> {
        if let Some(connection) = pool.take() {
            let worker = connection.worker();
            return Ok((Lease { connection: Some(connection), pool, worker }, false));
        }
        let plan = &self.child.plan;
        let opened = Connection::open(plan, self.group, self.application_group, &mut self.watch());
        let connection = opened.map_err(|wait| match wait {
            Wait::Interrupted(interruption) => interrupted(interruption),
            Wait::Io(error) => {
                let socket = plan.socket.as_deref().unwrap_or("-");
                Trouble::Failed(Failure::Unreachable, format!("`{socket}`: {error}"))
            }
        })?;
        pool.begin_new();
        Ok((Lease { connection: Some(connection), pool, worker: 0 }, true))
    }

    fn attempt(&self, mut lease: Lease<'_>, body: &mut Body<'r>, response: &mut Response<'r>) -> Attempt {
        let Some(connection) = lease.connection.as_mut() else {
            return Attempt::Over(Trouble::Failed(Failure::WorkerLost, "no connection".to_owned()));
        };
        let inline = body.inline();
        let flags = if matches!(body.kind(), wsgid_protocol::request::BodyKind::None) { FLAG_END } else { 0 };
        if let Err(wait) = connection.send_request(self.head, flags, inline, &mut self.watch()) {
            return match wait {
                Wait::Io(error) if was_not_taken(&error) => not_taken(&error),
                Wait::Io(error) => lost(&error),
                Wait::Interrupted(interruption) => interrupted(interruption).into(),
            };
        }
        match self.follow(connection, body, response) {
            Ok(Ending { reuse, worker }) => {
                if reuse {
                    lease.give_back(worker);
                }
                Attempt::Done
            }
            Err(Stop { attempt, reuse: true }) => {
                lease.give_back(None);
                attempt
            }
            Err(Stop { attempt, reuse: false }) => {
                // The worker need not go on for nobody.
                if matches!(attempt, Attempt::Over(_)) {
                    connection.cancel();
                }
                attempt
            }
        }
    }

    /// Follows the frames of the running request.
    fn follow(
        &self,
        connection: &mut Connection,
        body: &mut Body<'r>,
        response: &mut Response<'r>,
    ) -> Result<Ending, Stop> {
        let mut state = Following {
            exchange: self,
            body,
            response,
            any: false,
            body_sent: false,
            looked: Instant::now(),
            broken: None,
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
                Some(Step::End { close, worker }) => {
                    return state.end(connection, close, worker);
                }
                None => state.receive(connection)?,
            }
        }
    }
}

/// How a request that was answered leaves its connection.
struct Ending {
    reuse: bool,
    worker: Option<u32>,
}

/// How a request that was not answered leaves its connection.
struct Stop {
    attempt: Attempt,
    reuse: bool,
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self { attempt: Attempt::Over(trouble), reuse: false }
    }
}

/// What a frame asks for that needs the connection, which its payload borrows.
enum Step {
    Next,
    File(Vec<u8>),
    Want(u64),
    End { close: bool, worker: Option<u32> },
}

/// The state of a request while its frames are followed.
struct Following<'f, 'e, 'r> {
    exchange: &'f Exchange<'e, 'r>,
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
            Kind::Response => self.response.begin(frame.payload)?,
            Kind::Data => self.response.data(frame.payload)?,
            Kind::File => return Ok(Step::File(frame.payload.to_vec())),
            Kind::Want => return Ok(Step::Want(self.wanted(frame.payload)?)),
            Kind::End => {
                let report: EndReport = payload::decode(frame.payload).map_err(|error| protocol(&error))?;
                let worker = (report.worker != 0).then_some(report.worker);
                return Ok(Step::End { close: frame.head.has(FLAG_CLOSE), worker });
            }
            Kind::Fail => return Err(self.fail(frame, first)),
            _ => return Err(protocol(&format!("{kind:?} is no part of a response")).into()),
        }
        Ok(Step::Next)
    }

    /// `wsgi.errors` of the application: to the virtual host's log.
    fn log(&self, code: u16, bytes: &[u8]) {
        let r = self.exchange.r;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            log::request(r, Level::claimed(code), || String::from_utf8_lossy(line).into_owned());
        }
    }

    fn wanted(&self, bytes: &[u8]) -> Result<u64, Trouble> {
        let wanted = <[u8; 8]>::try_from(bytes).map(u64::from_le_bytes).unwrap_or(0);
        let pull = matches!(self.body.kind(), wsgid_protocol::request::BodyKind::Pull) || self.body_sent;
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
                Watch { r: self.exchange.r, timeout: left, client: false }
            }
            None => self.exchange.watch(),
        }
    }

    fn file(&mut self, connection: &mut Connection, part: &[u8]) -> Result<(), Stop> {
        let fd = connection.reader.take_fd().ok_or_else(|| protocol(&"FILE without a descriptor"))?;
        Ok(self.response.file(part, fd, self.exchange.sendfile)?)
    }

    fn end(&mut self, connection: &mut Connection, close: bool, worker: Option<u32>) -> Result<Ending, Stop> {
        if connection.reader.waiting_fds() > 0 {
            return Err(protocol(&"a descriptor that nobody asked for").into());
        }
        // Bytes behind END would be taken for the next answer.
        let reuse = !close && connection.reader.is_empty() && connection.may_go_on();
        match self.response.finish() {
            Ok(()) => match self.broken {
                None => Ok(Ending { reuse, worker }),
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

fn protocol(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Failed(Failure::Protocol, error.to_string())
}

fn not_taken(error: &std::io::Error) -> Attempt {
    Attempt::Again { failure: Failure::WorkerLost, text: error.to_string(), answered: false }
}

fn lost(error: &std::io::Error) -> Attempt {
    Attempt::Over(Trouble::Failed(Failure::WorkerLost, error.to_string()))
}

fn lost_stop(error: &std::io::Error) -> Stop {
    Stop { attempt: lost(error), reuse: false }
}

fn interrupted(interruption: Interruption) -> Trouble {
    match interruption {
        Interruption::Timeout => Trouble::Failed(Failure::ResponseTimeout, "the time is over".to_owned()),
        Interruption::ClientGone => Trouble::ClientGone,
        Interruption::Stopping => Trouble::Failed(Failure::HttpdStopping, "the request was given up".to_owned()),
    }
}
