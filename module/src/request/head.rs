//! The head of a request or script call: what a worker is told first. Written by
//! `handler.rs` and `script_call.rs`; knows nothing of connections.

use std::ffi::CStr;

use serde_bytes::Bytes;
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::limits::MAX_ENVIRON_FIELDS;
use wsgid_protocol::request::{BodyKind, Call, RequestHead, RequestOptions};
use wsgid_protocol::{Failure, Kind};

use crate::httpd::request::Request;
use crate::request::environ::Environ;
use crate::request::exchange::{ExchangeError, protocol};
use crate::request::target::ScriptTarget;

/// The most that the two lengths of a variable take.
const PAIR_ROOM: usize = 2 * 9;

/// What else is in a head: the script's path and what its call is told.
const FIXED_ROOM: usize = 16 * 1024;

/// Writes the head of a request or script call into `buffer`.
pub(crate) fn write<'r>(
    r: Request<'r>,
    target: &ScriptTarget<'r>,
    body: BodyKind,
    options: RequestOptions,
    buffer: &mut Vec<u8>,
) -> Result<(), ExchangeError> {
    let head = RequestHead {
        call: target.call,
        script: Bytes::new(target.script.to_bytes()),
        callable: Bytes::new(target.callable.to_bytes()),
        body,
        options,
        request_start_us: r.request_time(),
        queue_start_us: now_us(),
        environ: Environ::of(r, target),
    };
    let count = head.environ.len();
    if count > MAX_ENVIRON_FIELDS {
        let text = format!("{count} variables, the most is {MAX_ENVIRON_FIELDS}");
        return Err(ExchangeError::Failed(Failure::HeadTooLarge, text));
    }
    // Once, so that no copy of what is in it is left behind.
    let pairs = head.environ.iter();
    let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    let secrets = match target.call {
        Call::CheckPassword { user, password } => user.len() + password.len(),
        _ => 0,
    };
    buffer.reserve(bytes + count * PAIR_ROOM + secrets + FIXED_ROOM);
    head.encode_into(buffer).map_err(protocol)?;
    let max = Kind::Request.max_len() as usize;
    if buffer.len() > max {
        let line = r.the_request().map_or(0, CStr::count_bytes);
        let fields: usize = r
            .headers_in()
            .rows()
            .map(|(_, value)| value.count_bytes())
            .sum();
        let failure = if line > fields {
            Failure::LineTooLong
        } else {
            Failure::HeadTooLarge
        };
        let text = format!(
            "the variables of the request take {} bytes, the most is {max}",
            buffer.len()
        );
        return Err(ExchangeError::Failed(failure, text));
    }
    Ok(())
}

/// Microseconds since the epoch.
pub(crate) fn now_us() -> u64 {
    u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX)
}
