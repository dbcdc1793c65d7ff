//! A row of the failure table, where a request met it: logged, noted, and turned into
//! a status. Used by all that may refuse a request.

use std::fmt::Display;

use wsgid_protocol::failure::Failure;
use wsgid_protocol::totals::httpds;

use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::LogLine;
use crate::request::target::ScriptTarget;
use crate::workers::child::{self, Child};
use crate::workers::totals;

/// Logs and notes a row of the failure table; its status.
pub(crate) fn report(
    r: Request<'_>,
    target: &ScriptTarget<'_>,
    failure: Failure,
    text: impl Display,
) -> i32 {
    let row = failure.row();
    log::request(r, LogLine::of(failure), || {
        let group = &target.group;
        format!(
            "{}: {} (process group `{group}`): {text}",
            row.name, row.text
        )
    });
    count(&target.group, failure);
    note(r, row.name);
    if r.has_started() {
        // What it is a part of breaks with it.
        note(r.answered(), row.name);
    }
    i32::from(row.status)
}

/// Counts a failure for the group; without one, for none.
pub(crate) fn count(group: &str, failure: Failure) {
    let child = child::get();
    let cells = child.and_then(|child| match child.plan.groups.get(group) {
        Some(group) => totals::of(group),
        None => totals::of_none(),
    });
    if let Some(cells) = cells {
        totals::add(cells, httpds::failure(failure), 1);
    }
}

/// What this child of httpd keeps; the error is the status to refuse the request with.
pub(crate) fn this_child(r: Request<'_>) -> Result<&'static Child, i32> {
    child::get().ok_or_else(|| {
        let row = Failure::Unreachable.row();
        log::request(r, LogLine::of(row.failure), || {
            format!("{}: this child of httpd has not begun", row.name)
        });
        note(r, row.name);
        i32::from(row.status)
    })
}

fn note(r: Request<'_>, name: &str) {
    r.notes()
        .set(c"wsgi.failure", r.pool().string(name.as_bytes()));
}
