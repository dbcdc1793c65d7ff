//! `reload-wait`: whether a request is given back unbegun, because the new code is to
//! serve it. Asked by `serve` before it takes a request from the socket, so that another
//! worker finds it whole; only in groups that have the option.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;

use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::request::{Call, RequestHead};
use wsgid_protocol::{FrameHead, Kind};

use crate::connection::Connection;
use crate::queue_limits::is_late;
use crate::script;
use crate::strings::latin1;
use crate::worker::Worker;

/// Whether this request is one for other workers: its script has changed, or something
/// else of this generation has. One that has waited for `reload-wait` is served.
pub(crate) fn is_due(py: Python<'_>, worker: &Worker, connection: &Arc<Connection>) -> bool {
    let Some(peeked) = peek(connection) else {
        return false;
    };
    let Some(request) = peeked.get(HEAD_LEN..) else {
        return false;
    };
    let Ok(request) = RequestHead::decode(request) else {
        return false;
    };
    if is_late(request.request_start_us, worker.spec.group.reload_wait) {
        return false;
    }
    let is_served = matches!(request.call, Call::Application | Call::Handler);
    let reloading = request.options.script_reloading;
    let looked = worker
        .scripts
        .look(py, request.script, reloading, is_served);
    match looked {
        (Some(renewal), _) => worker.renew(request.script, renewal),
        (None, Some(asks)) => {
            let resource = request.environ.iter();
            let resource = resource.rev().find(|(key, _)| **key == *b"SCRIPT_FILENAME");
            let resource = resource.map(|(_, value)| latin1(py, value).into_any());
            if script::wants_reload(&asks, resource) {
                worker.recycle_as_asked();
            }
        }
        (None, None) => {}
    }
    worker.gives_back(Instant::now())
}

/// The head of the request that is in front, if all of it is here; nothing is taken.
fn peek(connection: &Connection) -> Option<Vec<u8>> {
    let mut head = [0; HEAD_LEN];
    if connection.peek(&mut head).ok()? < HEAD_LEN {
        return None;
    }
    let head = FrameHead::parse(&head).ok()?;
    if head.kind != Kind::Request || !connection.owns(head.id) {
        return None;
    }
    let mut whole = vec![0; HEAD_LEN + head.len as usize];
    let count = connection.peek(&mut whole).ok()?;
    (count == whole.len()).then_some(whole)
}
