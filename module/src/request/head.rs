//! The head of a request or script call: what a worker is told first. Written by
//! `handler.rs` and `script_call.rs`; knows nothing of connections.

use std::time::{Duration, SystemTime};

use serde_bytes::Bytes;
use wsgid_protocol::Kind;
use wsgid_protocol::limits::MAX_ENVIRON_FIELDS;
use wsgid_protocol::request::{BodyKind, RequestHead, RequestOptions};

use crate::httpd::request::Request;
use crate::request::environ::Environ;
use crate::request::exchange::{ExchangeError, protocol};
use crate::request::target::ScriptTarget;

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
    if head.environ.len() > MAX_ENVIRON_FIELDS {
        return Err(protocol(format!(
            "{} variables, the most is {MAX_ENVIRON_FIELDS}",
            head.environ.len()
        )));
    }
    head.encode_into(buffer).map_err(protocol)?;
    let max = Kind::Request.max_len() as usize;
    if buffer.len() > max {
        return Err(protocol(format!(
            "the variables of the request take {} bytes, the most is {max}",
            buffer.len()
        )));
    }
    Ok(())
}

/// Microseconds since the epoch.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
