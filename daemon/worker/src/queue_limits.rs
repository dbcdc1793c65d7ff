//! Requests that are refused unserved: by `queue-timeout`, because they waited
//! too long for a thread, or by `listen-backlog`, because too many wait before
//! them. The thread that takes a request looks, and the ticker while all
//! threads are busy.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::clock::since_1970;
use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::request::{BodyKind, RequestHead};
use wsgid_protocol::{Failure, FrameHead, GroupConfig, Kind};

use crate::connection::Connection;
use crate::output::ResponseOutput;
use crate::receive::receive_frame;
use crate::scheduler::ConnectionOutcome;

/// The rest of a request that is here already follows within this time.
const REST_MS: u16 = 100;

/// Whether a request that has waited since `start_us` has waited too long. As
/// in mod_wsgi that is when httpd received it, unless its body was read first.
pub(crate) fn is_late(start_us: u64, queue_timeout: Duration) -> bool {
    if queue_timeout.is_zero() || start_us == 0 {
        return false;
    }
    since_1970().saturating_sub(Duration::from_micros(start_us)) > queue_timeout
}

/// What the log says of a request that waited too long.
pub(crate) fn text(queue_timeout: Duration) -> String {
    format!(
        "all threads were busy for longer than {} s",
        queue_timeout.as_secs_f64()
    )
}

/// How many requests may wait in one worker: its share of `listen-backlog`.
pub(crate) fn places(group: &GroupConfig) -> usize {
    group
        .listen_backlog
        .div_ceil(group.processes_limit().max(1)) as usize
}

/// Whether the request in front of this connection has been on its way for
/// longer than this. The module says since when: it may have waited in other
/// workers before.
pub(crate) fn waits_longer(connection: &Connection, than: Duration) -> bool {
    than.is_zero() || queued_since(connection).is_some_and(|since| is_late(since, than))
}

/// Looks at the head of a request and takes nothing. Only few are larger than
/// the buffer, and those wait on.
fn queued_since(connection: &Connection) -> Option<u64> {
    let mut peeked = [0; 16 * 1024];
    let count = connection.peek(&mut peeked).ok()?;
    let (head, payload) = peeked.get(..count)?.split_first_chunk::<HEAD_LEN>()?;
    let head = FrameHead::parse(head).ok();
    let head = head.filter(|head| head.kind == Kind::Request)?;
    let payload = payload.get(..head.len as usize)?;
    Some(RequestHead::decode(payload).ok()?.queue_start_us)
}

/// Takes the request off the connection and refuses it. `None` if it is not
/// here as a whole yet, and nothing was taken.
pub(crate) fn refuse(
    connection: &Arc<Connection>,
    failure: Failure,
    text: &str,
) -> Option<ConnectionOutcome> {
    let mut peeked = [0; HEAD_LEN];
    match connection.peek(&mut peeked) {
        Ok(HEAD_LEN) => {}
        Ok(0) => return Some(ConnectionOutcome::Ended),
        _ => return None,
    }
    let head = FrameHead::parse(&peeked).ok();
    let head = head.filter(|head| head.kind == Kind::Request && connection.owns(head.id))?;
    let is_good = take(&mut FrameReader::new(0), connection).is_some()
        && ResponseOutput::refuse(connection, head.id, failure, text, false);
    Some(ConnectionOutcome::good(is_good))
}

/// Takes a REQUEST and its inline body.
fn take(reader: &mut FrameReader, connection: &Connection) -> Option<()> {
    receive_frame(reader, connection.as_fd(), REST_MS).ok()?;
    let frame = reader.next(connection.as_fd()).ok()?;
    let body = RequestHead::decode(frame.payload).ok()?.body;
    if matches!(body, BodyKind::Inline(_)) {
        receive_frame(reader, connection.as_fd(), REST_MS).ok()?;
        let frame = reader.next(connection.as_fd()).ok();
        frame.filter(|frame| frame.head.kind == Kind::Body)?;
    }
    // Anything else behind it is a CANCEL: the client has gone.
    reader.is_empty().then_some(())
}
