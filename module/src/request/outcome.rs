//! What became of a request, once it is over: counted for its process group, and noted for
//! httpd's access log where that names it. Called by `handler.rs`; a failure is counted and
//! noted by `failure.rs`.

use std::ffi::CStr;

use wsgid_protocol::response::EndReport;
use wsgid_protocol::totals::httpds;

use crate::configuration::groups::GroupView;
use crate::httpd::request::Request;
use crate::request::exchange::ExchangeError;
use crate::request::response::{Instead, Response};
use crate::workers::child::Child;
use crate::workers::totals;

/// The notes, for `%{wsgi.group}n` and its like in `LogFormat`.
pub(crate) const NOTES: [&CStr; 4] = [
    c"wsgi.group",
    c"wsgi.worker",
    c"wsgi.queue_us",
    c"wsgi.application_us",
];

/// A few additions: no lock, no system call, nothing allocated.
pub(crate) fn count(
    r: Request<'_>,
    child: &Child,
    group: &GroupView,
    outcome: &Result<EndReport, ExchangeError>,
    response: &Response<'_>,
    took_us: u64,
) {
    let late = || {
        totals::attach(child.plan.socket.as_deref());
        totals::of(group)
    };
    let Some(cells) = totals::of(group).or_else(late) else {
        return;
    };
    let status = match outcome {
        Ok(report) => {
            totals::add(cells, httpds::queue(report.queue_us), 1);
            totals::add(cells, httpds::QUEUE_US, report.queue_us);
            match response.instead() {
                Some(Instead::ErrorPage(status)) => status,
                _ => r.status(),
            }
        }
        Err(_) if r.has_started() => {
            totals::add(cells, httpds::BROKEN_OFF, 1);
            r.status()
        }
        Err(trouble) => trouble.status().unwrap_or_else(|| r.status()),
    };
    totals::add(cells, httpds::duration(took_us), 1);
    totals::add(cells, httpds::DURATION_US, took_us);
    // Last: what is counted here has all its other numbers.
    totals::add(cells, httpds::requests(status), 1);
}

/// Notes who served it and how long that took, where a directive names one of the notes.
pub(crate) fn note(r: Request<'_>, child: &Child, group: &GroupView, report: Option<&EndReport>) {
    if !child.plan.notes {
        return;
    }
    let [name, worker, queue, application] = NOTES;
    let set = |note, value: &str| r.notes().set(note, r.pool().string(value.as_bytes()));
    set(name, &group.name);
    if let Some(report) = report {
        set(worker, &report.worker.to_string());
        set(queue, &report.queue_us.to_string());
        set(application, &report.application_us.to_string());
    }
}
