//! The frames of one request, from the first to END or FAIL: who may send them,
//! what LOG may write, whether FAIL lets the request be sent again, in which state
//! the connection is left. The same for responses (`serving.rs`) and for script
//! calls (`script_call.rs`), which bring what is their own as a [`FrameHandler`]. Driven by
//! `attempts.rs`, which owns the connection; knows nothing of httpd's response.

use std::time::{Duration, Instant};

use wsgid_protocol::blocking::Frame;
use wsgid_protocol::frame::Sender;
use wsgid_protocol::head::FLAG_CLOSE;
use wsgid_protocol::response::EndReport;
use wsgid_protocol::{Failure, Kind};

use crate::request::exchange::{
    Attempt, Ending, ExchangeError, Interruption, RequestExchange, RequestWatch, Stop,
    UnbegunRequest, not_taken, protocol,
};
use crate::request::injected;
use crate::workers::connection::{Wait, WaitPolicy, WorkerConnection, was_not_taken};
use crate::workers::stopping;
use crate::workers::thread_reserve::HeldThread;

/// How often a worker that keeps sending is interrupted by a look around.
const LOOK: Duration = Duration::from_millis(250);

/// Longest text of a FAIL that is kept; tracebacks come as LOG.
const FAIL_TEXT_MAX: usize = 1024;

/// What takes the frames of a request once its head has been sent.
pub(crate) trait FrameHandler<'r> {
    /// The body that belongs to the head; empty if there is none.
    fn inline(&self) -> Option<&[u8]> {
        None
    }

    /// Whether there is a body, now or later.
    fn has_body(&self) -> bool {
        false
    }

    /// What the code of its REQUEST says.
    fn request_code(&self) -> u16 {
        0
    }

    /// Takes a frame that is neither LOG nor END nor FAIL.
    fn frame(
        &mut self,
        exchange: &RequestExchange<'_, 'r>,
        kind: Kind,
        payload: &[u8],
    ) -> Result<FrameAction, ExchangeError>;

    /// Carries out what a frame asked for.
    fn perform(
        &mut self,
        action: FrameAction,
        _: &RequestExchange<'_, 'r>,
        _: &mut WorkerConnection,
    ) -> Result<(), Stop> {
        match action {
            FrameAction::Nothing => Ok(()),
            FrameAction::File(_) | FrameAction::Body(_) | FrameAction::Variable(_) => {
                Err(protocol("a file, a body or a variable is no part of this").into())
            }
        }
    }

    /// END has come.
    fn finish(&mut self) -> Result<(), ExchangeError>;

    /// Whether a worker that says that it has not begun can be believed.
    fn may_be_sent_again(&self) -> bool;

    /// Whether the answer has begun, so that what is still to come holds a thread.
    fn has_begun(&self) -> bool {
        false
    }

    /// Whether httpd sends the answer with this thread once it is complete.
    fn leaves_later(&self) -> bool {
        false
    }

    /// The error of this side, if there was one: whatever else goes wrong, the request
    /// failed of that.
    fn fault(&self) -> Option<ExchangeError> {
        None
    }

    /// Before a wait for the next frame: gathered bytes may go out first.
    fn before_waiting(
        &mut self,
        _: &RequestExchange<'_, 'r>,
        _: &WorkerConnection,
    ) -> Result<(), ExchangeError> {
        Ok(())
    }

    /// Ticks of the wait for the next frame.
    fn watch(&self, exchange: &RequestExchange<'_, 'r>) -> RequestWatch<'r> {
        exchange.watch()
    }
}

/// What a frame asks for that needs the connection, which its payload borrows.
pub(crate) enum FrameAction {
    Nothing,
    /// The file whose descriptor came with this part.
    File(Vec<u8>),
    /// So many bytes of the request's body.
    Body(u64),
    /// The variable of mod_ssl with this name.
    Variable(Vec<u8>),
}

/// What a frame means: something to do, or the end of the request.
enum Step {
    Action(FrameAction),
    End {
        close: bool,
        report: EndReport,
    },
    Fail {
        close: bool,
        code: u16,
        text: String,
    },
}

/// The frames of one request, over all its attempts.
pub(crate) struct Frames<'e, 'r> {
    exchange: &'e RequestExchange<'e, 'r>,
    /// The thread of httpd, where those are counted.
    held: Option<&'e HeldThread>,
    /// Whether a frame has come in this attempt, so that a worker has begun.
    any: bool,
    /// When the last look around was.
    looked: Instant,
}

impl<'e, 'r> Frames<'e, 'r> {
    pub(crate) fn new(exchange: &'e RequestExchange<'e, 'r>, held: Option<&'e HeldThread>) -> Self {
        Self {
            exchange,
            held,
            any: false,
            looked: Instant::now(),
        }
    }

    /// Follows the running request to its end.
    pub(crate) fn follow(
        &mut self,
        handler: &mut dyn FrameHandler<'r>,
        connection: &mut WorkerConnection,
    ) -> Result<Ending, Stop> {
        self.any = false;
        loop {
            let id = connection.id();
            let step = match connection.reader.next_buffered() {
                Ok(Some(frame)) => self.take(handler, &frame, id)?,
                Ok(None) => {
                    self.note_begun(handler);
                    self.receive(handler, connection)?;
                    continue;
                }
                Err(error) => return Err(protocol(error).into()),
            };
            match step {
                Step::Action(FrameAction::Nothing) => {}
                Step::Action(action) => {
                    self.note_begun(handler);
                    handler.perform(action, self.exchange, connection)?;
                }
                Step::End { close, report } => {
                    self.note_ended();
                    return end(handler, connection, close).map(|reuse| Ending { reuse, report });
                }
                Step::Fail { close, code, text } => {
                    self.note_ended();
                    return Err(fail(handler, connection, close, code, text));
                }
            }
        }
    }

    /// More of the response is to come: the request holds its thread. A response that
    /// comes whole never gets here.
    fn note_begun(&self, handler: &dyn FrameHandler<'r>) {
        if let Some(held) = self.held.filter(|_| handler.has_begun()) {
            held.begun();
        }
    }

    fn note_ended(&self) {
        if let Some(held) = self.held {
            held.ended();
        }
    }

    fn take(
        &mut self,
        handler: &mut dyn FrameHandler<'r>,
        frame: &Frame<'_>,
        id: u64,
    ) -> Result<Step, Stop> {
        let kind = frame.head.kind;
        let close = frame.head.has(FLAG_CLOSE);
        if kind.sender() != Sender::Worker {
            return Err(protocol(format!("{kind:?} comes from the module only")).into());
        }
        let about_connection = frame.head.id == 0 && kind == Kind::Fail;
        if frame.head.id != id && !about_connection {
            return Err(protocol(format!("{kind:?} for another request")).into());
        }
        self.any = true;
        Ok(match kind {
            Kind::Log => {
                self.exchange.log(frame.head.code, frame.payload);
                Step::Action(FrameAction::Nothing)
            }
            Kind::End => {
                injected::panic_in("the end");
                let report = EndReport::decode(frame.payload).map_err(protocol)?;
                Step::End { close, report }
            }
            Kind::Fail => Step::Fail {
                // FAIL about the connection comes from the supervisor, which closes it.
                close: close || about_connection,
                code: frame.head.code,
                text: text_of(frame.payload),
            },
            _ => Step::Action(handler.frame(self.exchange, kind, frame.payload)?),
        })
    }

    /// Receives more.
    fn receive(
        &mut self,
        handler: &mut dyn FrameHandler<'r>,
        connection: &mut WorkerConnection,
    ) -> Result<(), Stop> {
        // Waits look around at their ticks; a worker that never lets us wait
        // must not keep us from it.
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            handler.watch(self.exchange).tick(Duration::ZERO)?;
        }
        handler.before_waiting(self.exchange, connection)?;
        let filled = connection.fill(&mut handler.watch(self.exchange));
        if let (Some(trouble), Ok(0) | Err(_)) = (handler.fault(), &filled) {
            return Err(trouble.into());
        }
        match filled {
            Ok(0) if stopping::is_stopping() => Err(Interruption::Stopping.into()),
            Ok(0) => {
                let is_whole = connection.reader.is_empty();
                let place = if is_whole { "" } else { " in a frame" };
                let text = format!("it was closed{place}");
                Err(ExchangeError::Failed(Failure::WorkerLost, text).into())
            }
            Ok(_) => Ok(()),
            // A socket is reset when its owner goes with unread bytes in it:
            // then the request was not taken completely, and not begun.
            Err(Wait::Io(error)) if was_not_taken(&error) && !self.any => Err(Stop {
                attempt: not_taken(&error),
                reuse: false,
            }),
            Err(wait) => Err(wait.into()),
        }
    }
}

/// After END; whether the connection can be used again.
fn end(
    handler: &mut dyn FrameHandler<'_>,
    connection: &WorkerConnection,
    close: bool,
) -> Result<bool, Stop> {
    if connection.reader.waiting_fds() > 0 {
        return Err(protocol("a descriptor that nobody asked for").into());
    }
    let reuse = !close && is_clean(connection);
    // Where the worker is through with it, only the client's side failed.
    match handler
        .finish()
        .and_then(|()| handler.fault().map_or(Ok(()), Err))
    {
        Ok(()) => Ok(reuse),
        Err(trouble) => {
            let reuse = reuse && !matches!(trouble, ExchangeError::Failed(Failure::Protocol, _));
            Err(Stop {
                attempt: Attempt::Over(trouble),
                reuse,
            })
        }
    }
}

/// After FAIL.
fn fail(
    handler: &mut dyn FrameHandler<'_>,
    connection: &WorkerConnection,
    close: bool,
    code: u16,
    text: String,
) -> Stop {
    let Some(failure) = Failure::from_code(code) else {
        return protocol(format!("unknown failure {code}: {text}")).into();
    };
    let attempt = match handler.fault() {
        Some(trouble) => Attempt::Over(trouble),
        None if failure.row().repeatable && handler.may_be_sent_again() => {
            Attempt::Again(UnbegunRequest {
                failure,
                text,
                answered: true,
            })
        }
        None => Attempt::Over(ExchangeError::Failed(failure, text)),
    };
    Stop {
        attempt,
        reuse: !close && is_clean(connection),
    }
}

/// Whether another request may follow. Bytes or descriptors behind the last frame
/// would be taken for its answer.
fn is_clean(connection: &WorkerConnection) -> bool {
    connection.reader.waiting_fds() == 0 && connection.reader.is_empty() && connection.may_go_on()
}

fn text_of(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload.get(..FAIL_TEXT_MAX).unwrap_or(payload)).into_owned()
}
