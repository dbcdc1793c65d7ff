//! `SetHandler wsgid-status` and the section on mod_status's page: asks the
//! supervisor how everything is, within a moment, and shows it as a page, as
//! JSON or as OpenMetrics. Who may see it is decided by httpd's `Require`. `health` answers
//! probes, and asks nobody.

pub(crate) mod health;
mod overview;
mod templates;
mod waiting;

use std::ffi::CStr;
use std::time::{Duration, Instant};

use wsgid_protocol::answers::from_json;
use wsgid_protocol::limits::{MAX_CONTROL_LEN, STATUS_TIMEOUT};
use wsgid_protocol::metrics;
use wsgid_protocol::readable::escaped_json;
use wsgid_protocol::status::Status;
use wsgid_protocol::{Failure, Kind};

use crate::configuration::config::DirConfig;
use crate::configuration::groups::{ApplicationGroup, GroupView};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids;
use crate::sys;
use crate::workers::child::{self, Child};
use crate::workers::connection::{Wait, WaitPolicy, WorkerConnection};
use crate::workers::stopping;

pub(crate) const HANDLER: &CStr = c"wsgid-status";

/// Seconds after which the page loads itself again; not with `?still`.
const REFRESH: u32 = 10;

/// Of mod_status, whose page has a section of ours.
const SERVER_STATUS: &CStr = c"server-status";

/// Whether the server's configuration itself has this handler serve the place.
/// The status is about all sites: neither `.htaccess` nor a rule that it may
/// hold has a say in who sees it.
fn given_by_server(r: Request<'_>, handler: &CStr) -> bool {
    let given = DirConfig::of(r).given_handler;
    if given.is_some_and(|given| given.name == handler && given.htaccess.is_none()) {
        return true;
    }
    log::request(r, log_ids::STATUS_NOT_SHOWN, || {
        let handler = handler.to_string_lossy();
        let place = given.and_then(|given| given.htaccess).map_or_else(
            || "no `SetHandler` of the server's configuration".into(),
            CStr::to_string_lossy,
        );
        format!(
            "the status is not shown here: {place} gives this place the handler `{handler}`, which \
             shows all sites; say `SetHandler {handler}` in a section of the server's configuration, with a \
             `Require` for those who may see it"
        )
    });
    false
}

pub(crate) fn handle(r: Request<'_>) -> i32 {
    if !given_by_server(r, HANDLER) {
        return 403;
    }
    if !matches!(r.method().map(CStr::to_bytes), Some(b"GET" | b"HEAD")) {
        return 405;
    }
    let (kind, text) = match ask().and_then(|json| shown(r, &json)) {
        Ok(shown) => shown,
        Err(error) => {
            log::request(r, log_ids::NO_STATUS, || {
                format!("the supervisor gave no status: {error}")
            });
            return 503;
        }
    };
    let policy = c"default-src 'none'; img-src data:; style-src 'unsafe-inline'";
    r.headers_out().set(c"Cache-Control", c"no-store");
    r.headers_out().set(c"Content-Security-Policy", policy);
    r.headers_out().set(c"X-Content-Type-Options", c"nosniff");
    r.set_content_type(kind);
    r.write(text.as_bytes());
    sys::OK
}

/// The status in the form that the query asks for, and its content type.
fn shown(r: Request<'_>, json: &[u8]) -> Result<(&'static CStr, String), String> {
    let status = read(json)?;
    let (kind, text) = match r.args().map(CStr::to_bytes) {
        // As it came: a supervisor of a newer release may say more.
        Some(b"json") => {
            let json = escaped_json(&waiting::add_to_json(json));
            (c"application/json", Ok(json))
        }
        // Prometheus writes a parameter without a value so.
        Some(b"openmetrics" | b"openmetrics=") => {
            let threads = child::get().map(Child::threads);
            let text = metrics::openmetrics(&status, threads.as_ref());
            (metrics::CONTENT_TYPE, Ok(text))
        }
        args => {
            let refresh = (args != Some(b"still")).then_some(REFRESH);
            let page = templates::page(&status, refresh);
            (c"text/html; charset=utf-8", page)
        }
    };
    Ok((kind, text.map_err(|error| error.to_string())?))
}

/// mod_status asks each module for a section of its page.
pub(crate) fn section(r: Request<'_>, is_short: bool) -> i32 {
    if !given_by_server(r, SERVER_STATUS) {
        return sys::OK;
    }
    let text = match ask().and_then(|json| read(&json)) {
        Ok(status) if is_short => templates::auto(&status),
        Ok(status) => templates::section(&status),
        Err(_) if is_short => Ok(String::new()),
        Err(error) => templates::problem(&error),
    };
    r.write(text.unwrap_or_default().as_bytes());
    sys::OK
}

fn read(json: &[u8]) -> Result<Status, String> {
    let answer = from_json::<Status>(json).map_err(|error| error.to_string())?;
    let mut status = answer.map_err(|error| error.to_string())?;
    waiting::add(&mut status);
    Ok(status)
}

struct Until(Instant);

impl WaitPolicy for Until {
    type Interruption = ();

    fn tick(&mut self, _: Duration) -> Result<(), ()> {
        if Instant::now() >= self.0 || stopping::is_stopping() {
            Err(())
        } else {
            Ok(())
        }
    }
}

/// Why there is no answer.
fn in_words(wait: Wait<()>) -> String {
    match wait {
        Wait::Interrupted(()) => format!("it took longer than {} s", STATUS_TIMEOUT.as_secs()),
        Wait::Io(error) => error.to_string(),
    }
}

/// What the supervisor says, as JSON.
fn ask() -> Result<Vec<u8>, String> {
    let plan = &child::get().ok_or("this process has not begun")?.plan;
    let group = GroupView::of_status();
    let application = ApplicationGroup::default();
    let patience = &mut Until(Instant::now() + STATUS_TIMEOUT);
    let mut connection =
        WorkerConnection::open(plan, &group, &application, patience).map_err(in_words)?;
    connection.greet(patience).map_err(in_words)?;
    let mut text = Vec::new();
    loop {
        let frame = connection.reader.next_buffered();
        match frame.map_err(|error| error.to_string())? {
            Some(frame) if frame.head.kind == Kind::Data => {
                if text.len() + frame.payload.len() > MAX_CONTROL_LEN as usize {
                    return Err("its answer is too long".to_owned());
                }
                text.extend_from_slice(frame.payload);
            }
            Some(frame) if frame.head.kind == Kind::End => return Ok(text),
            Some(frame) if frame.head.kind == Kind::Fail => {
                let name = Failure::from_code(frame.head.code)
                    .map_or("failure", |failure| failure.row().name);
                let cause = String::from_utf8_lossy(frame.payload);
                return Err(format!("{name}: {cause}"));
            }
            Some(frame) => return Err(format!("unexpected {:?} frame", frame.head.kind)),
            None => {
                if connection.fill(patience).map_err(in_words)? == 0 {
                    return Err("it closed the connection".to_owned());
                }
            }
        }
    }
}
