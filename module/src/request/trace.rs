//! A request of a group that is traced (`otlp-endpoint=`): which trace it belongs to, what its
//! application is told of that, and what the supervisor is told of it at its end. Called by `handler.rs`, for which
//! a group that is not traced is one look at its settings. Knows nothing of where spans go.

use std::ffi::CStr;

use wsgid_protocol::Failure;
use wsgid_protocol::request::BodyError;
use wsgid_protocol::response::EndReport;
use wsgid_protocol::span::{Span, TEXT_MAX, WorkerTimes};
use wsgid_protocol::text::cut;

use crate::configuration::groups::GroupView;
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::request::exchange::ExchangeError;
use crate::request::head;
use crate::request::target::ScriptTarget;
use crate::request::traceparent::{self, TraceParent};
use crate::sys;
use crate::workers::spans;

/// The header, with the name that it has in the table.
const TRACEPARENT: &CStr = c"traceparent";
/// What vendors say beside it: nothing without a valid one.
const TRACESTATE: &CStr = c"tracestate";
/// For `LogFormat` and `ErrorLogFormat`.
const NOTE: &CStr = c"wsgi.trace_id";

/// The trace of one request.
pub(super) struct Trace {
    own: TraceParent,
    parent: Option<[u8; 8]>,
    /// When a worker was asked for.
    asked_us: u64,
}

/// Takes the request into its trace, or begins one: from here on its header `traceparent` names
/// this request, so that the application, and what httpd serves in its place, are below it.
pub(super) fn begin(r: Request<'_>, group: &GroupView) -> Option<Trace> {
    let parts = group.traced?;
    let headers = r.headers_in();
    let given = headers.get(TRACEPARENT).map(CStr::to_bytes);
    let given = given.and_then(TraceParent::parse);
    let span_id = process::random();
    let own = match given {
        Some(given) => TraceParent { span_id, ..given },
        None => {
            headers.unset(TRACESTATE);
            let trace_id = process::random();
            let sampled = traceparent::is_sampled(&trace_id, parts);
            TraceParent {
                trace_id,
                span_id,
                sampled,
            }
        }
    };
    headers.set(TRACEPARENT, r.pool().string(own.text().as_bytes()));
    let trace_id = traceparent::hex(&own.trace_id);
    r.notes().set(NOTE, r.pool().string(trace_id.as_bytes()));
    Some(Trace {
        own,
        parent: given.map(|given| given.span_id),
        asked_us: head::now_us(),
    })
}

impl Trace {
    /// Tells the supervisor how it ended, if the trace is sampled. `status` is what httpd is told.
    pub(super) fn end(
        self,
        r: Request<'_>,
        target: &ScriptTarget<'_>,
        outcome: &Result<EndReport, ExchangeError>,
        status: i32,
        took_us: u64,
    ) {
        if !self.own.sampled {
            return;
        }
        let (failure, cause) = match outcome {
            Ok(_) => ("", ""),
            Err(trouble) => in_words(trouble),
        };
        let status = if status == sys::OK {
            r.status()
        } else {
            status
        };
        let start_us = r.request_time();
        let report = outcome.as_ref().ok().filter(|report| report.worker != 0);
        let span = Span {
            trace_id: self.own.trace_id,
            span_id: self.own.span_id,
            parent: self.parent,
            group: target.group.clone(),
            method: text(r.method().map(CStr::to_bytes)),
            route: text(Some(target.script_name)),
            status: u16::try_from(status).unwrap_or(0),
            failure: failure.to_owned(),
            cause: text(Some(cause.as_bytes())),
            start_us,
            took_us,
            httpd_us: self.asked_us.saturating_sub(start_us),
            by_worker: report.map(|report| WorkerTimes {
                queue_us: report.queue_us,
                application_us: report.application_us,
            }),
            worker: report.map_or(0, |report| report.worker),
            request_id: text(r.log_id().map(CStr::to_bytes)),
            lost: 0,
        };
        spans::tell(span);
    }
}

/// Name and cause of what a request ended with.
fn in_words(trouble: &ExchangeError) -> (&'static str, &str) {
    let gone = Failure::ClientGone.row();
    match trouble {
        ExchangeError::Failed(failure, text) => (failure.row().name, text),
        ExchangeError::ClientGone => (gone.name, gone.text),
        ExchangeError::Filter => (
            "output-filter",
            "an output filter of httpd refused or replaced the response",
        ),
        ExchangeError::Body(fault) if fault.error == BodyError::ClientGone => {
            (gone.name, gone.text)
        }
        ExchangeError::Body(fault) => ("request-body", fault.error.text()),
    }
}

/// As much of it as a span may have.
fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(..TEXT_MAX).unwrap_or(bytes));
    cut(&text, TEXT_MAX).to_owned()
}
