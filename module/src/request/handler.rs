//! One request, there and back: is it ours, may it be, to whom does it go, and
//! what httpd is told at the end.

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt::Display;
use std::time::Duration;

use wsgid_protocol::failure::Failure;
use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::request::RequestOptions;

use crate::configuration::config::DirConfig;
use crate::httpd::log;
use crate::httpd::request::{FoundFile, Request};
use crate::log_ids::{self, LogLine};
use crate::request::body::RequestBody;
use crate::request::exchange::{ExchangeError, RequestExchange};
use crate::request::group_access;
use crate::request::mapping::{self, HANDLER, OLD_HANDLER, note};
use crate::request::response::{Instead, Response, break_off};
use crate::request::serving::ResponseDriver;
use crate::request::target::{self, ScriptTarget};
use crate::request::{failure, head, outcome, script_call, trace};
use crate::sys;

/// Encode buffers up to this size are kept for the next request.
const KEEP_BUFFER: usize = 256 * 1024;

thread_local! {
    /// The encode buffer of this thread, while no request has it. One that is served inside
    /// another makes one of its own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// httpd's handler hook.
pub(crate) fn handle(r: Request<'_>) -> i32 {
    match answer(r) {
        Ok(status) | Err(status) => status,
    }
}

fn answer(r: Request<'_>) -> Result<i32, i32> {
    let Some(name) = r.handler() else {
        return Ok(sys::DECLINED);
    };
    let config = DirConfig::of(r);
    let mut handler_scripts = config.handler_scripts.iter();
    let handler_script = handler_scripts.find(|known| known.name == name);
    if handler_script.is_none() {
        if !is_script(name) {
            return Ok(sys::DECLINED);
        }
        check_access(r)?;
    }
    let mut target = target::of_request(r, config, handler_script);
    if handler_script.is_none() && target.group == DEFAULT_GROUP {
        check_origin(r, config)?;
    }
    if let Some(script) = &config.dispatch_script {
        let choice = script_call::dispatch(r, script, &target)?;
        target::redirect(r, &mut target, &choice);
    }
    serve(r, config, &target)
}

/// The checks of every handler that runs a file of the site.
fn check_access(r: Request<'_>) -> Result<(), i32> {
    let may_run = r.notes().get(note::FORCED).is_some() || r.allows_exec();
    let refuses_path_info = r.used_path_info() == sys::AP_REQ_REJECT_PATH_INFO
        && r.path_info().is_some_and(|info| !info.is_empty());
    let (line, status, why) = match r.found_file() {
        _ if !may_run => (
            log_ids::EXEC_NOT_ALLOWED,
            403,
            "scripts may not run here; Options +ExecCGI allows it",
        ),
        FoundFile::Missing => (
            log_ids::NO_SUCH_SCRIPT,
            404,
            "there is no such script, or httpd cannot see it",
        ),
        FoundFile::Directory => (
            log_ids::SCRIPT_IS_DIRECTORY,
            403,
            "a directory is no script",
        ),
        FoundFile::File if refuses_path_info => (
            log_ids::PATH_INFO_REFUSED,
            404,
            "AcceptPathInfo Off admits nothing behind the script's name",
        ),
        FoundFile::File => return Ok(()),
    };
    log::request(r, line, || {
        let file = r.filename().unwrap_or_default();
        format!("`{}`: {why}", file.to_string_lossy())
    });
    Err(status)
}

fn is_script(handler: &CStr) -> bool {
    handler == HANDLER || handler == OLD_HANDLER
}

/// Whether the server's configuration itself makes the file a script. In the implicit
/// process group a script runs as httpd's user, and authors of `.htaccess` must not
/// become that user.
fn check_origin(r: Request<'_>, config: &DirConfig<'_>) -> Result<(), i32> {
    let by_section = config
        .given_handler
        .is_some_and(|given| given.htaccess.is_none() && is_script(given.name));
    let file = r.filename().unwrap_or_default();
    if !r.has_htaccess() || mapping::is_aliased(r, file) {
        return Ok(());
    }
    let why = if by_section || mapping::has_extension(file, config.script_extensions) {
        if config.scripts_may_run == Some(true) {
            return Ok(());
        }
        "only a .htaccess file lets scripts run here (Options +ExecCGI), and this one would \
         run as httpd's user; set WSGIProcessGroup or Options +ExecCGI for this place in the server's \
         configuration"
            .to_owned()
    } else {
        let place = config.given_handler.and_then(|given| given.htaccess);
        let place = place.unwrap_or(c"a .htaccess file").to_string_lossy();
        format!(
            "{place} makes this file a script, and it would run as httpd's user; set \
             WSGIProcessGroup for this place in the server's configuration, or say there which files are scripts"
        )
    };
    log::request(r, log_ids::SCRIPT_BY_HTACCESS, || {
        format!("`{}`: {why}", file.to_string_lossy())
    });
    Err(500)
}

/// Serves the request and says what httpd is to answer.
fn serve<'r>(
    r: Request<'r>,
    config: &DirConfig<'r>,
    target: &ScriptTarget<'r>,
) -> Result<i32, i32> {
    let child = failure::this_child(r)?;
    let group = group_access::permitted_group(r, config, target, child)
        .map_err(|refused| failed(r, target, refused.failure(), refused))?;
    if let Err(why) = group.ownership.check(target.script.to_bytes()) {
        log::request(r, log_ids::SCRIPT_OF_ANOTHER_OWNER, || {
            format!("process group `{}`: {why}", group.name)
        });
        return Err(403);
    }
    let mut body = RequestBody::begin(r, config)?;
    let trace = trace::begin(r, group);
    let mut response = Response::new(r, group, config.error_override.unwrap_or(false));
    response.unread_body = body.unread();
    let mut buffer = BUFFER.take();
    buffer.clear();
    buffer.shrink_to(KEEP_BUFFER);
    let head = head::write(r, target, body.kind(), options(r, config), &mut buffer);
    let outcome = head.and_then(|()| {
        let timeout = if group.socket_timeout.is_zero() {
            r.server().timeout()
        } else {
            group.socket_timeout
        };
        let exchange = RequestExchange {
            r,
            child,
            group,
            application_group: &target.application_group,
            head: &buffer,
            timeout,
            deadline: None,
        };
        let sendfile = config.enable_sendfile == Some(true) && r.enable_sendfile();
        exchange.run(&mut ResponseDriver::new(&mut body, &mut response, sendfile))
    });
    BUFFER.set(buffer);
    let took_us = head::now_us().saturating_sub(r.request_time());
    if let Some(limit) = child.plan.slow_requests {
        note_slow(r, target, limit, Duration::from_micros(took_us));
    }
    outcome::note(r, child, group, outcome.as_ref().ok());
    outcome::count(r, child, group, &outcome, &response, took_us);
    let status = match &outcome {
        Ok(_) => conclude(r, &response),
        Err(trouble) => give_up(r, target, trouble),
    };
    if let Some(trace) = trace {
        trace.end(r, target, &outcome, status, took_us);
    }
    Ok(status)
}

/// WSGISlowRequests: from the client's first line to here, sending included.
fn note_slow(r: Request<'_>, target: &ScriptTarget<'_>, limit: Duration, took: Duration) {
    if took >= limit {
        log::request(r, log_ids::SLOW_REQUEST, || {
            let method = r.method().unwrap_or_default().to_string_lossy();
            let uri = r.unparsed_uri().unwrap_or_default().to_string_lossy();
            format!(
                "slow request: {:.3} s for {method} {uri} (process group `{}`, application group `{}`)",
                took.as_secs_f64(),
                target.group,
                target.application_group.name
            )
        });
    }
}

fn options(r: Request<'_>, config: &DirConfig<'_>) -> RequestOptions {
    RequestOptions {
        script_reloading: config.script_reloading.unwrap_or(true),
        file_frames: !r.is_subrequest(),
        ignore_activity: config.ignore_activity.unwrap_or(false),
        interim: r.protocol_number() >= 1001 && !r.is_subrequest(),
    }
}

/// After a complete answer.
fn conclude(r: Request<'_>, response: &Response<'_>) -> i32 {
    match response.instead() {
        None => sys::OK,
        Some(Instead::ErrorPage(status)) => status,
        Some(Instead::Redirect(location)) => {
            r.become_get();
            r.headers_in().unset(c"Content-Length");
            r.headers_in().unset(c"Transfer-Encoding");
            r.redirect_internally(location);
            sys::OK
        }
    }
}

/// After anything else.
fn give_up(r: Request<'_>, target: &ScriptTarget<'_>, trouble: &ExchangeError) -> i32 {
    match trouble {
        ExchangeError::Failed(failure, text) => failed(r, target, *failure, text),
        ExchangeError::ClientGone => {
            failure::count(&target.group, Failure::ClientGone);
            log::request(r, LogLine::DEBUG, || "the client has gone");
            if r.notes().get(c"wsgi.failure").is_none() {
                r.notes().set(c"wsgi.failure", c"client-gone");
            }
            r.abandon();
            sys::OK
        }
        ExchangeError::Filter => {
            r.close_connection();
            sys::AP_FILTER_ERROR
        }
        ExchangeError::Body(trouble) => break_off(r, trouble.status),
    }
}

/// A row of the failure table: log, note, status.
fn failed(r: Request<'_>, target: &ScriptTarget<'_>, failure: Failure, text: impl Display) -> i32 {
    break_off(r, failure::report(r, target, failure, text))
}
