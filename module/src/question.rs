//! Asks a script of a worker a question about a request: may the client in, is
//! the password right, which groups has the user, where shall the request go.
//! Whatever goes wrong is an error, never an answer: callers deny by it.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use wsgid_protocol::blocking::Frame;
use wsgid_protocol::head::FLAG_CLOSE;
use wsgid_protocol::request::{BodyKind, Call, RequestOptions};
use wsgid_protocol::response::{Answer, EndReport};
use wsgid_protocol::{Failure, Kind, payload};

use crate::apr::log::{self, Level};
use crate::config::ScriptRef;
use crate::connection::{Connection, Patience, Wait, was_not_taken};
use crate::exchange::{
    Attempt, Conversation, Ending, Exchange, Stop, Trouble, interrupted, lost_stop, not_taken, protocol,
};
use crate::httpd::request::Request;
use crate::target::{self, Choice, Target};
use crate::{child, handler};

/// How long an answer may take, a worker's start included. Every request waits
/// for it, so it is much shorter than what an application may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A head that is found to be too long is written first.
const HEAD_ROOM: usize = 16 * 1024;

/// An encoded head that may hold a password: overwritten when dropped.
struct Secret(Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the line above out.
        std::hint::black_box(&self.0);
    }
}

/// Asks. The error is the status to refuse the request with; it is logged.
pub(crate) fn ask<'r>(r: Request<'r>, script: &ScriptRef<'r>, call: Call<'r>) -> Result<Answer, i32> {
    let target = target::of_question(r, script, call);
    ask_target(r, script, &target)
}

/// Asks a dispatch script. It sees what an application sees.
pub(crate) fn dispatch<'r>(r: Request<'r>, script: &ScriptRef<'r>, request: &Target<'r>) -> Result<Choice, i32> {
    let mut target = target::of_question(r, script, Call::Dispatch);
    target.pass_authorization = request.pass_authorization;
    let text = |name: Option<ByteBuf>| match name.map(|name| String::from_utf8(name.into_vec())) {
        Some(Ok(name)) if name.contains(char::is_control) => Err("a name with control characters".to_owned()),
        Some(Err(_)) => Err("a name that is not UTF-8".to_owned()),
        Some(Ok(name)) => Ok(Some(name)),
        None => Ok(None),
    };
    let choice = match ask_target(r, script, &target)? {
        Answer::Dispatch { process_group, application_group, callable } => (|| {
            Ok(Choice {
                process_group: text(process_group)?,
                application_group: text(application_group)?,
                callable: text(callable)?,
            })
        })(),
        _ => Err("an answer to another question".to_owned()),
    };
    choice.map_err(|error| handler::report(r, &target, Failure::Protocol, &error))
}

fn ask_target<'r>(r: Request<'r>, script: &ScriptRef<'r>, target: &Target<'r>) -> Result<Answer, i32> {
    let Some(child) = child::get() else { return Err(503) };
    let config = r.config();
    let group = target::permitted_for_question(r, config, script, target, child)
        .map_err(|(failure, text)| handler::report(r, target, failure, &text))?;
    let options = RequestOptions {
        script_reloading: config.script_reloading.unwrap_or(true),
        file_frames: false,
        ignore_activity: config.ignore_activity.unwrap_or(false),
        interim: false,
    };
    // It never grows, so no copy of a password is left behind in freed memory.
    let mut head = Secret(Vec::with_capacity(Kind::Request.max_len() as usize + HEAD_ROOM));
    let mut asking = Asking { r, answer: None, any: false, looked: Instant::now() };
    let outcome = handler::write_head(r, target, BodyKind::None, options, &mut head.0).and_then(|()| {
        let exchange = Exchange {
            r,
            child,
            group,
            application_group: &target.application_group,
            head: &head.0,
            timeout: LIMIT,
            deadline: Some(Instant::now() + LIMIT),
        };
        exchange.run(&mut asking)
    });
    match outcome {
        Ok(()) => asking.answer.ok_or(500),
        Err(Trouble::Failed(failure, text)) => {
            let script = script.file.to_string_lossy();
            Err(handler::report(r, target, failure, &format!("script `{script}`: {text}")))
        }
        Err(Trouble::ClientGone) => {
            log::request(r, Level::DEBUG, || "the client has gone".to_owned());
            Err(400)
        }
        Err(Trouble::Filter | Trouble::Body(_)) => Err(500),
    }
}

/// The frames of an answer.
struct Asking<'r> {
    r: Request<'r>,
    answer: Option<Answer>,
    /// A frame has come, so a worker has begun.
    any: bool,
    /// When the last look around was.
    looked: Instant,
}

/// How often a worker that keeps sending is interrupted by a look around.
const LOOK: Duration = Duration::from_millis(250);

impl<'r> Conversation<'r> for Asking<'r> {
    fn inline(&self) -> Option<&[u8]> {
        None
    }

    fn has_body(&self) -> bool {
        false
    }

    fn follow(&mut self, exchange: &Exchange<'_, 'r>, connection: &mut Connection) -> Result<Ending, Stop> {
        self.answer = None;
        self.any = false;
        loop {
            let id = connection.id();
            let end = match connection.reader.next_buffered() {
                Ok(Some(frame)) => self.frame(&frame, id)?,
                Ok(None) => {
                    self.receive(exchange, connection)?;
                    None
                }
                Err(error) => return Err(protocol(&error).into()),
            };
            if let Some((close, report)) = end {
                exchange.answered();
                let reuse = !close && connection.reader.is_empty() && connection.may_go_on();
                return Ok(Ending { reuse, report });
            }
        }
    }
}

impl<'r> Asking<'r> {
    /// Takes one frame; at END whether the connection closes, and what the worker said.
    fn frame(&mut self, frame: &Frame<'_>, id: u64) -> Result<Option<(bool, EndReport)>, Stop> {
        let kind = frame.head.kind;
        let about_connection = frame.head.id == 0 && kind == Kind::Fail;
        if !kind.from_worker() || (frame.head.id != id && !about_connection) {
            return Err(protocol(&format!("{kind:?} does not belong to this question")).into());
        }
        self.any = true;
        match kind {
            Kind::Log => log::from_worker(self.r, frame.head.code, frame.payload),
            Kind::Answer if self.answer.is_none() => {
                self.answer = Some(payload::decode(frame.payload).map_err(|error| protocol(&error))?);
            }
            Kind::End if self.answer.is_some() => {
                let report: EndReport = payload::decode(frame.payload).map_err(|error| protocol(&error))?;
                return Ok(Some((frame.head.has(FLAG_CLOSE), report)));
            }
            Kind::Fail => return Err(self.fail(frame)),
            _ => return Err(protocol(&format!("{kind:?} is no answer")).into()),
        }
        Ok(None)
    }

    fn fail(&self, frame: &Frame<'_>) -> Stop {
        let text = String::from_utf8_lossy(frame.payload).into_owned();
        let Some(failure) = Failure::from_code(frame.head.code) else {
            return protocol(&format!("unknown failure {}: {text}", frame.head.code)).into();
        };
        let attempt = if failure.row().repeatable && self.answer.is_none() {
            Attempt::Again { failure, text, answered: true }
        } else {
            Attempt::Over(Trouble::Failed(failure, text))
        };
        Stop { attempt, reuse: !frame.head.has(FLAG_CLOSE) && frame.head.id != 0 }
    }

    fn receive(&mut self, exchange: &Exchange<'_, 'r>, connection: &mut Connection) -> Result<(), Stop> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            exchange.watch().tick(Duration::ZERO).map_err(interrupted)?;
        }
        match connection.fill(&mut exchange.watch()) {
            Ok(0) => Err(Trouble::Failed(Failure::WorkerLost, "it was closed".to_owned()).into()),
            Ok(_) => Ok(()),
            Err(Wait::Io(error)) if was_not_taken(&error) && !self.any => {
                Err(Stop { attempt: not_taken(&error), reuse: false })
            }
            Err(Wait::Io(error)) => Err(lost_stop(&error)),
            Err(Wait::Interrupted(interruption)) => Err(interrupted(interruption).into()),
        }
    }
}

/// A name or hash that a script returned, as a C string without loss.
pub(crate) fn text<'r>(r: Request<'r>, bytes: &[u8]) -> Option<&'r CStr> {
    let fits = !bytes.is_empty() && !bytes.iter().any(u8::is_ascii_control);
    fits.then(|| r.pool().string(bytes))
}
