//! Calls a script of a worker about a request: whether the client may enter, whether
//! the password is right, which groups the user has, where the request shall go.
//! Whatever goes wrong is an error, never an answer: callers deny by it. Called by
//! `auth.rs` and `handler.rs`.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use wsgid_protocol::request::{ANSWERS_LOOKUPS, BodyKind, Call, RequestOptions};
use wsgid_protocol::response::Answer;
use wsgid_protocol::{Failure, Kind, payload};

use crate::configuration::config::{DirConfig, ScriptRef};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::LogLine;
use crate::request::exchange::{ExchangeError, RequestExchange, Stop, protocol};
use crate::request::frames::{FrameAction, FrameHandler};
use crate::request::group_access;
use crate::request::target::{self, DispatchChoice, ScriptTarget};
use crate::request::{failure, head, ssl_variables};
use crate::workers::connection::{Wait, WorkerConnection, was_not_taken};

/// How long a call may take, a worker's start included. Every request waits for it,
/// so it is much shorter than what an application may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An encoded head that may hold a password: overwritten when dropped.
struct SecretHead(Vec<u8>);

impl Drop for SecretHead {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from leaving the line above out.
        std::hint::black_box(&self.0);
    }
}

/// Calls a script. The error is the status to refuse the request with; it is logged.
pub(crate) fn ask<'r>(
    r: Request<'r>,
    script: &ScriptRef<'r>,
    call: Call<'r>,
) -> Result<Answer, i32> {
    let target = target::of_script_call(r, script, call);
    ask_target(r, script, &target)
}

/// Calls a dispatch script, which sees what an application sees.
pub(crate) fn dispatch<'r>(
    r: Request<'r>,
    script: &ScriptRef<'r>,
    request: &ScriptTarget<'r>,
) -> Result<DispatchChoice, i32> {
    let mut target = target::of_script_call(r, script, Call::Dispatch);
    target.pass_authorization = request.pass_authorization;
    choice(ask_target(r, script, &target)?)
        .map_err(|error| failure::report(r, &target, Failure::Protocol, error))
}

fn choice(answer: Answer) -> Result<DispatchChoice, &'static str> {
    let Answer::Dispatch {
        process_group,
        application_group,
        callable,
    } = answer
    else {
        return Err("an answer to another question");
    };
    Ok(DispatchChoice {
        process_group: process_group.map(chosen_name).transpose()?,
        application_group: application_group.map(chosen_name).transpose()?,
        callable: callable.map(chosen_name).transpose()?,
    })
}

fn chosen_name(name: ByteBuf) -> Result<String, &'static str> {
    match String::from_utf8(name.into_vec()) {
        Ok(name) if name.contains(char::is_control) => Err("a name with control characters"),
        Ok(name) => Ok(name),
        Err(_) => Err("a name that is not UTF-8"),
    }
}

fn ask_target<'r>(
    r: Request<'r>,
    script: &ScriptRef<'r>,
    target: &ScriptTarget<'r>,
) -> Result<Answer, i32> {
    let child = failure::this_child(r)?;
    let config = DirConfig::of(r);
    let group = group_access::permitted_for_script_call(r, config, script, target, child)
        .map_err(|refused| failure::report(r, target, refused.failure(), refused))?;
    let options = RequestOptions {
        script_reloading: config.script_reloading.unwrap_or(true),
        file_frames: false,
        ignore_activity: config.ignore_activity.unwrap_or(false),
        interim: false,
    };
    let mut head = SecretHead(Vec::new());
    let mut call = ScriptCall {
        answer: None,
        answers_lookups: target.is_about_access(),
    };
    let outcome = head::write(r, target, BodyKind::None, options, &mut head.0).and_then(|()| {
        let exchange = RequestExchange {
            r,
            child,
            group,
            application_group: &target.application_group,
            head: &head.0,
            timeout: LIMIT,
            deadline: Some(Instant::now() + LIMIT),
        };
        exchange.run(&mut call)
    });
    match outcome {
        Ok(_) => call.answer.ok_or(500),
        Err(ExchangeError::Failed(failure, text)) => {
            let text = format!("script `{}`: {text}", script.file.to_string_lossy());
            Err(failure::report(r, target, failure, text))
        }
        Err(ExchangeError::ClientGone) => {
            log::request(r, LogLine::DEBUG, || "the client has gone");
            Err(400)
        }
        Err(ExchangeError::Filter | ExchangeError::Body(_)) => Err(500),
    }
}

/// A call, until it is answered.
struct ScriptCall {
    answer: Option<Answer>,
    /// Whether the script may ask for variables of mod_ssl.
    answers_lookups: bool,
}

impl<'r> FrameHandler<'r> for ScriptCall {
    fn request_code(&self) -> u16 {
        if self.answers_lookups {
            ANSWERS_LOOKUPS
        } else {
            0
        }
    }

    fn frame(
        &mut self,
        _: &RequestExchange<'_, 'r>,
        kind: Kind,
        payload: &[u8],
    ) -> Result<FrameAction, ExchangeError> {
        // Behind the answer too: a thread of the script may still ask.
        if kind == Kind::Lookup && self.answers_lookups {
            return Ok(FrameAction::Variable(payload.to_vec()));
        }
        if kind != Kind::Answer || self.answer.is_some() {
            return Err(protocol(format!("{kind:?} is no answer, or a second one")));
        }
        self.answer = Some(payload::decode(payload).map_err(protocol)?);
        Ok(FrameAction::Nothing)
    }

    fn perform(
        &mut self,
        action: FrameAction,
        exchange: &RequestExchange<'_, 'r>,
        connection: &mut WorkerConnection,
    ) -> Result<(), Stop> {
        match action {
            FrameAction::Nothing => Ok(()),
            FrameAction::Variable(name) => tell(exchange, connection, &name),
            FrameAction::File(_) | FrameAction::Body(_) => {
                Err(protocol("a file or a body is no part of this").into())
            }
        }
    }

    fn finish(&mut self) -> Result<(), ExchangeError> {
        match self.answer {
            Some(_) => Ok(()),
            None => Err(protocol("END without ANSWER")),
        }
    }

    fn may_be_sent_again(&self) -> bool {
        self.answer.is_none()
    }
}

/// Answers a LOOKUP.
fn tell<'r>(
    exchange: &RequestExchange<'_, 'r>,
    connection: &mut WorkerConnection,
    name: &[u8],
) -> Result<(), Stop> {
    let value = ssl_variables::value(exchange.r, name);
    let value = value.filter(|value| value.len() <= Kind::Variable.max_len() as usize);
    let code = u16::from(value.is_some());
    let value = value.unwrap_or_default();
    match connection.send(Kind::Variable, 0, code, &value, &mut exchange.watch()) {
        Ok(()) => Ok(()),
        // What it said before it went is still to be read.
        Err(Wait::Io(error)) if was_not_taken(&error) => Ok(()),
        Err(wait) => Err(wait.into()),
    }
}

/// A name or hash that a script returned, as a C string without loss.
pub(crate) fn text<'r>(r: Request<'r>, bytes: &[u8]) -> Option<&'r CStr> {
    let fits = !bytes.is_empty() && !bytes.iter().any(u8::is_ascii_control);
    fits.then(|| r.pool().string(bytes))
}
