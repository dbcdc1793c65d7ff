//! One request, there and back: is it ours, may it be, to whom does it go, and
//! what httpd is told at the end.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::CStr;
use std::time::{Duration, SystemTime};

use serde_bytes::Bytes;
use wsgid_protocol::failure::Failure;
use wsgid_protocol::limits::{MAX_ENVIRON_FIELDS, MAX_NAME_LEN};
use wsgid_protocol::request::{Call, RequestHead, RequestOptions};
use wsgid_protocol::{Kind, payload};

use crate::apr::log::{self, Level};
use crate::body::Body;
use crate::child::{self, Child};
use crate::config::{DirConfig, HandlerScript, MapHead};
use crate::environ::Environ;
use crate::exchange::{Exchange, Trouble};
use crate::following::Serving;
use crate::groups::{self, Group};
use crate::httpd::request::{self, Request};
use crate::mapping::{HANDLER, note};
use crate::names::{self, Facts};
use crate::response::{Instead, Response, break_off};
use crate::sys;

/// The content type that older configurations use as a handler.
const OLD_HANDLER: &CStr = c"application/x-httpd-wsgi";

/// The application object's name unless WSGICallableObject gives another.
const CALLABLE: &CStr = c"application";

/// Encode buffers up to this size are kept for the next request.
const KEEP_BUFFER: usize = 256 * 1024;

thread_local! {
    /// The encode buffer of this thread.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a request asks for.
pub(crate) struct Target<'r> {
    pub(crate) call: Call<'r>,
    pub(crate) script: &'r CStr,
    /// Set for WSGIHandlerScript.
    pub(crate) handler_script: Option<&'r CStr>,
    pub(crate) callable: &'r CStr,
    pub(crate) script_name: &'r [u8],
    pub(crate) path_info: &'r [u8],
    pub(crate) method: &'r CStr,
    pub(crate) pass_authorization: bool,
    pub(crate) group: String,
    pub(crate) application_group: String,
}

/// httpd's handler hook.
pub(crate) fn handle(r: Request<'_>) -> i32 {
    let Some(name) = r.handler() else { return sys::DECLINED };
    let config = r.config();
    let handler_script = config.handler_scripts.iter().find(|known| known.name == name);
    if handler_script.is_none() && name != HANDLER && name != OLD_HANDLER {
        return sys::DECLINED;
    }
    if handler_script.is_none()
        && let Err(status) = check_access(r)
    {
        return status;
    }
    let target = target(r, config, handler_script);
    serve(r, config, &target)
}

/// The checks of every handler that runs a file of the site.
fn check_access(r: Request<'_>) -> Result<(), i32> {
    let file = || r.filename().map_or_else(Default::default, CStr::to_string_lossy);
    let refuse = |id: &str, status: i32, why: &str| {
        log::request(r, Level::ERR, || format!("{id}: `{}`: {why}", file()));
        Err(status)
    };
    if r.notes().get(note::FORCED).is_none() && !r.allows_exec() {
        return refuse("WSGID0060", 403, "scripts may not run here; Options +ExecCGI allows it");
    }
    match r.target() {
        request::Target::Missing => return refuse("WSGID0061", 404, "there is no such script, or httpd cannot see it"),
        request::Target::Directory => return refuse("WSGID0062", 403, "a directory is no script"),
        request::Target::File => {}
    }
    let has_path_info = r.path_info().is_some_and(|info| !info.is_empty());
    if r.used_path_info() == sys::AP_REQ_REJECT_PATH_INFO && has_path_info {
        return refuse("WSGID0063", 404, "AcceptPathInfo Off admits nothing behind the script's name");
    }
    Ok(())
}

/// Several slashes in a row are one.
fn collapse_slashes<'r>(r: Request<'r>, path: &'r [u8]) -> &'r [u8] {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path;
    }
    let mut last = 0;
    let single: Vec<u8> = path
        .iter()
        .copied()
        .filter(|byte| {
            let keep = *byte != b'/' || last != b'/';
            last = *byte;
            keep
        })
        .collect();
    r.pool().join(&[&single])
}

fn target<'r>(r: Request<'r>, config: &DirConfig<'r>, handler_script: Option<&HandlerScript<'r>>) -> Target<'r> {
    let uri = r.uri().unwrap_or_default();
    let path_info = r.path_info().unwrap_or_default();
    let end = if path_info.is_empty() { uri.count_bytes() } else { Request::find_path_info(uri, path_info) };
    let script_name = collapse_slashes(r, uri.to_bytes().get(..end).unwrap_or_default());
    let notes = r.notes();
    let facts = RequestFacts { r, script_name };
    let own = handler_script.map(|known| &known.script);
    let choose = |note: &CStr, from_script: Option<&'r CStr>, from_config: Option<&'r CStr>| {
        from_script.or_else(|| notes.get(note)).or(from_config)
    };
    let group = choose(note::PROCESS_GROUP, own.and_then(|own| own.process_group), config.process_group);
    let application =
        choose(note::APPLICATION_GROUP, own.and_then(|own| own.application_group), config.application_group);
    let group = named(group.unwrap_or(c"%{GLOBAL}"), &facts);
    let application_group = named(application.unwrap_or(c"%{RESOURCE}"), &facts);
    let callable = match handler_script {
        Some(_) => c"handle_request",
        None => {
            let name = notes.get(note::CALLABLE).or(config.callable).unwrap_or(CALLABLE);
            r.pool().string(named(name, &facts).as_bytes())
        }
    };
    let from_alias = notes.get(note::PASS_AUTHORIZATION).map(|value| value == c"1");
    let pass_authorization =
        handler_script.and_then(|known| known.pass_authorization).or(from_alias).or(config.pass_authorization);
    Target {
        call: if handler_script.is_some() { Call::Handler } else { Call::Application },
        script: own.map_or(r.filename().unwrap_or_default(), |own| own.file),
        handler_script: own.map(|own| own.file),
        callable,
        script_name,
        path_info: collapse_slashes(r, path_info.to_bytes()),
        method: method(r, config),
        pass_authorization: pass_authorization.unwrap_or(false),
        group: groups::resolve(&group).to_owned(),
        application_group,
    }
}

fn named(name: &CStr, facts: &RequestFacts<'_>) -> String {
    names::resolve(&name.to_string_lossy(), facts).into_owned()
}

/// HEAD as GET where a filter needs the body to write the right headers.
fn method<'r>(r: Request<'r>, config: &DirConfig<'_>) -> &'r CStr {
    let method = r.method().unwrap_or(c"GET");
    let get = match config.map_head_to_get.unwrap_or(MapHead::Auto) {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => r.header_only() && r.content_is_filtered(),
    };
    if get && method == c"HEAD" { c"GET" } else { method }
}

/// What names in directives may refer to.
struct RequestFacts<'r> {
    r: Request<'r>,
    script_name: &'r [u8],
}

impl Facts for RequestFacts<'_> {
    fn server(&self) -> Cow<'_, str> {
        self.r.server().hostname().map_or_else(Default::default, CStr::to_string_lossy)
    }

    fn host(&self) -> Cow<'_, str> {
        self.r.hostname().map_or_else(|| self.server(), CStr::to_string_lossy)
    }

    fn port(&self) -> u16 {
        self.r.server_port()
    }

    fn script_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.script_name)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let key = self.r.pool().string(name.as_bytes());
        let own = self.r.notes().get(key).or_else(|| self.r.subprocess_env().get(key));
        own.map(|value| value.to_string_lossy().into_owned()).or_else(|| std::env::var(name).ok())
    }
}

/// Serves the request and says what httpd is to answer.
fn serve<'r>(r: Request<'r>, config: &DirConfig<'r>, target: &Target<'r>) -> i32 {
    let Some(child) = child::get() else { return 503 };
    let group = match permitted_group(r, config, target, child) {
        Ok(group) => group,
        Err((failure, text)) => return failed(r, target, failure, &text),
    };
    let mut body = match Body::begin(r, config) {
        Ok(body) => body,
        Err(status) => return status,
    };
    let mut response = Response::new(r, group.header_max, config.error_override.unwrap_or(false));
    response.unread_body = body.unread();
    let outcome = BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        buffer.shrink_to(KEEP_BUFFER);
        encode(r, config, target, &body, buffer)?;
        let timeout = if group.socket_timeout.is_zero() { r.server().timeout() } else { group.socket_timeout };
        let exchange = Exchange {
            r,
            child,
            group,
            application_group: &target.application_group,
            head: buffer,
            timeout,
            deadline: None,
        };
        let sendfile = may_sendfile(r, config);
        exchange.run(&mut Serving { body: &mut body, response: &mut response, sendfile })
    });
    match outcome {
        Ok(()) => conclude(r, &response),
        Err(trouble) => give_up(r, target, &trouble),
    }
}

fn may_sendfile(r: Request<'_>, config: &DirConfig<'_>) -> bool {
    config.enable_sendfile.unwrap_or(false) && r.enable_sendfile()
}

/// The group, if it exists and may be used from here.
fn permitted_group<'c>(
    r: Request<'_>,
    config: &DirConfig<'_>,
    target: &Target<'_>,
    child: &'c Child,
) -> Result<&'c Group, (Failure, String)> {
    let name = &target.group;
    if let Some(allowed) = config.restrict_process {
        let admits = |known: &&CStr| {
            let known = known.to_string_lossy();
            groups::resolve(if known == "%{GLOBAL}" { "" } else { &known }) == name
        };
        if !allowed.iter().any(admits) {
            return Err((Failure::NotAllowed, format!("WSGIRestrictProcess does not list `{name}`")));
        }
    }
    let Some(group) = child.plan.groups.get(name) else {
        let text = if child.plan.restrict_embedded && groups::resolve("") == name {
            "the request names no process group, and WSGIRestrictEmbedded is On".to_owned()
        } else {
            format!("process group `{name}`")
        };
        return Err((Failure::NoSuchGroup, text));
    };
    if !group.is_visible_from(r.server()) {
        return Err((Failure::NotAllowed, format!("process group `{name}` belongs to another virtual host")));
    }
    if target.application_group.len() > MAX_NAME_LEN {
        return Err((Failure::NotAllowed, "the name of the application group is too long".to_owned()));
    }
    Ok(group)
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Writes the head of the request into `buffer`.
fn encode<'r>(
    r: Request<'r>,
    config: &DirConfig<'_>,
    target: &Target<'r>,
    body: &Body<'r>,
    buffer: &mut Vec<u8>,
) -> Result<(), Trouble> {
    let head = RequestHead {
        call: target.call,
        script: Bytes::new(target.script.to_bytes()),
        callable: Bytes::new(target.callable.to_bytes()),
        body: body.kind(),
        options: RequestOptions {
            script_reloading: config.script_reloading.unwrap_or(true),
            file_frames: !r.is_subrequest(),
            ignore_activity: config.ignore_activity.unwrap_or(false),
            interim: r.protocol_number() >= 1001 && !r.is_subrequest(),
        },
        request_start_us: r.request_time(),
        queue_start_us: now_us(),
        environ: Environ::of(r, target),
    };
    let too_large = |text: String| Trouble::Failed(Failure::Protocol, text);
    if head.environ.len() > MAX_ENVIRON_FIELDS {
        return Err(too_large(format!("{} variables, the most is {MAX_ENVIRON_FIELDS}", head.environ.len())));
    }
    payload::encode_into(&head, buffer).map_err(|error| too_large(error.to_string()))?;
    let max = Kind::Request.max_len() as usize;
    if buffer.len() > max {
        return Err(too_large(format!("the variables of the request take {} bytes, the most is {max}", buffer.len())));
    }
    Ok(())
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
fn give_up(r: Request<'_>, target: &Target<'_>, trouble: &Trouble) -> i32 {
    match trouble {
        Trouble::Failed(failure, text) => failed(r, target, *failure, text),
        Trouble::ClientGone => {
            log::request(r, Level::DEBUG, || "the client has gone".to_owned());
            r.notes().set(c"wsgi.failure", c"client-gone");
            r.abandon();
            sys::OK
        }
        Trouble::Filter => {
            r.close_connection();
            sys::AP_FILTER_ERROR
        }
        Trouble::Body(trouble) => break_off(r, trouble.status),
    }
}

/// A row of the failure table: log, note, status.
fn failed(r: Request<'_>, target: &Target<'_>, failure: Failure, text: &str) -> i32 {
    let row = failure.row();
    log::request(r, Level(i32::from(row.level)), || {
        let group = &target.group;
        format!("WSGID01{:02}: {}: {} (process group `{group}`): {text}", failure.code(), row.name, row.text)
    });
    r.notes().set(c"wsgi.failure", r.pool().string(row.name.as_bytes()));
    break_off(r, i32::from(row.status))
}
