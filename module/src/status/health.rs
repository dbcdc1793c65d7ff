//! `SetHandler wsgid-health`: whether this server and its process groups are ready, for
//! load balancers and whoever restarts what does not live. Answered from shared memory
//! and from the file that the supervisor keeps (`protocol/src/readiness.rs`): a probe asks
//! neither the supervisor nor a worker, and is answered while all of them are busy. Who
//! may ask is decided by httpd's `Require`.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use wsgid_protocol::limits::MAX_CONTROL_LEN;
use wsgid_protocol::readiness::{FILE, GroupReadiness, SILENT_AFTER, ServerReadiness};
use wsgid_protocol::text::percent_decoded;

use super::given_by_server;
use crate::httpd::request::Request;
use crate::sys;
use crate::workers::child::{self, Child};
use crate::workers::{absence, stopping};

pub(crate) const HANDLER: &CStr = c"wsgid-health";

/// A supervisor that has been silent for so long does not come back by itself.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
enum ProbeQuestion {
    Live,
    Ready,
    Group(String),
}

/// One line of JSON.
#[derive(Debug, Default, Serialize)]
struct ProbeAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draining: Option<bool>,
    /// Threads of workers that have a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<u32>,
    /// Threads of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u32>,
    /// Requests that wait for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Groups that are not ready, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<MissingGroup<'a>>,
}

#[derive(Debug, Serialize)]
struct MissingGroup<'a> {
    group: &'a str,
    why: &'a str,
}

pub(crate) fn handle(r: Request<'_>) -> i32 {
    if !given_by_server(r, HANDLER) {
        return 403;
    }
    if !matches!(r.method().map(CStr::to_bytes), Some(b"GET" | b"HEAD")) {
        return 405;
    }
    let query = r.args().map(CStr::to_bytes).unwrap_or_default();
    let (Some(question), Some(child)) = (asked(query), child::get()) else {
        return 400;
    };
    let (good, mut text) = match question {
        ProbeQuestion::Live => live(child),
        ProbeQuestion::Ready => ready(child),
        ProbeQuestion::Group(name) => one_group(child, &name),
    };
    text.push('\n');
    r.headers_out().set(c"Cache-Control", c"no-store");
    r.set_content_type(c"application/json");
    if !good {
        r.set_status(503, None);
    }
    r.write(text.as_bytes());
    sys::OK
}

fn asked(query: &[u8]) -> Option<ProbeQuestion> {
    match query {
        b"" | b"ready" => Some(ProbeQuestion::Ready),
        b"live" => Some(ProbeQuestion::Live),
        _ => {
            let name = percent_decoded(query.strip_prefix(b"group=")?);
            String::from_utf8(name).ok().map(ProbeQuestion::Group)
        }
    }
}

fn to_line(good: bool, answer: &ProbeAnswer<'_>) -> (bool, String) {
    (good, serde_json::to_string(answer).unwrap_or_default())
}

/// Whether httpd lives is shown by the answer; the rest of it is replaced by httpd itself
/// as long as that can be done.
fn live(child: &Child) -> (bool, String) {
    let why = if absence::is_told() {
        Some("the supervisor cannot be started: the main error log has the reason")
    } else {
        let silent = file(child).ok().map(|(_, silent)| silent);
        let dead = silent.is_some_and(|silent| silent >= DEAD_AFTER);
        dead.then_some("the supervisor hangs")
    };
    let answer = ProbeAnswer {
        live: Some(why.is_none()),
        why,
        ..ProbeAnswer::default()
    };
    to_line(why.is_none(), &answer)
}

fn ready(child: &Child) -> (bool, String) {
    let readiness = match readiness(child) {
        Ok(readiness) => readiness,
        Err(why) => return not_known(&why, None),
    };
    let draining = readiness.draining || stopping::is_stopping();
    let (mut busy, mut capacity, mut waiting) = (0, 0, 0);
    for (name, group) in &readiness.groups {
        let use_of_it = use_of(child, name, group);
        busy += use_of_it.0;
        waiting += use_of_it.1;
        capacity += group.capacity;
    }
    let missing: Vec<MissingGroup<'_>> = readiness
        .missing()
        .map(|(group, why)| MissingGroup { group, why })
        .collect();
    let good = missing.is_empty() && !draining;
    let answer = ProbeAnswer {
        ready: Some(good),
        draining: Some(draining),
        busy: Some(busy),
        capacity: Some(capacity),
        waiting: Some(waiting),
        missing,
        ..ProbeAnswer::default()
    };
    to_line(good, &answer)
}

fn one_group(child: &Child, name: &str) -> (bool, String) {
    let readiness = match readiness(child) {
        Ok(readiness) => readiness,
        Err(why) => return not_known(&why, Some(name)),
    };
    let Some(group) = readiness.groups.get(name) else {
        let why = "no process group that takes requests has this name";
        return not_known(why, Some(name));
    };
    let draining = readiness.draining || stopping::is_stopping();
    let good = group.ready && !draining;
    let (busy, waiting) = use_of(child, name, group);
    let answer = ProbeAnswer {
        ready: Some(good),
        group: Some(name),
        draining: Some(draining),
        busy: Some(busy),
        capacity: Some(group.capacity),
        waiting: Some(waiting),
        why: group.why.as_deref(),
        ..ProbeAnswer::default()
    };
    to_line(good, &answer)
}

fn not_known(why: &str, group: Option<&str>) -> (bool, String) {
    let answer = ProbeAnswer {
        ready: Some(false),
        group,
        why: Some(why),
        ..ProbeAnswer::default()
    };
    to_line(false, &answer)
}

/// Its requests that have a thread of a worker, and those that wait for one, as all
/// children of httpd together count them.
fn use_of(child: &Child, name: &str, group: &GroupReadiness) -> (u32, u32) {
    let key = child.plan.groups.get(name).map(|view| view.key);
    let requests = key.map_or(0, |key| child.reserve.requests_of(key));
    let busy = requests.min(group.capacity);
    (busy, requests - busy)
}

/// What the supervisor says, if it works.
fn readiness(child: &Child) -> Result<ServerReadiness, String> {
    if absence::is_told() {
        return Err("the supervisor cannot be started".to_owned());
    }
    let (readiness, silent) = file(child)?;
    if silent >= SILENT_AFTER {
        let silent = silent.as_secs();
        return Err(format!("the supervisor has said nothing for {silent} s"));
    }
    Ok(readiness)
}

/// What the supervisor has written, and for how long it has not touched it.
fn file(child: &Child) -> Result<(ServerReadiness, Duration), String> {
    let socket = child
        .plan
        .socket
        .as_deref()
        .ok_or("there is no supervisor")?;
    let path = Path::new(socket).with_file_name(FILE);
    read(&path).map_err(|error| format!("the supervisor has said nothing: {error}"))
}

fn read(path: &Path) -> std::io::Result<(ServerReadiness, Duration)> {
    let file = File::open(path)?;
    // A clock that was set back makes a time that is to come.
    let silent = SystemTime::now().duration_since(file.metadata()?.modified()?);
    let mut bytes = Vec::new();
    file.take(MAX_CONTROL_LEN.into()).read_to_end(&mut bytes)?;
    let readiness = serde_json::from_slice(&bytes)?;
    Ok((readiness, silent.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_understood() {
        for (query, question) in [
            ("", Some(ProbeQuestion::Ready)),
            ("ready", Some(ProbeQuestion::Ready)),
            ("live", Some(ProbeQuestion::Live)),
            ("group=site", Some(ProbeQuestion::Group("site".to_owned()))),
            (
                "group=a%3A8%zz%4",
                Some(ProbeQuestion::Group("a:8%zz%4".to_owned())),
            ),
            ("group=%ff", None),
            ("else", None),
        ] {
            assert_eq!(asked(query.as_bytes()), question, "{query}");
        }
    }

    #[test]
    fn a_file_of_before_is_old() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE);
        std::fs::write(&path, br#"{"draining":true,"of_another_release":1}"#).unwrap();
        let written = File::options().write(true).open(&path).unwrap();
        let (readiness, silent) = read(&path).unwrap();
        assert!(readiness.draining && silent < SILENT_AFTER);
        written
            .set_modified(SystemTime::now() - Duration::from_secs(99))
            .unwrap();
        assert!(read(&path).unwrap().1 > DEAD_AFTER);
        written
            .set_modified(SystemTime::now() + Duration::from_secs(99))
            .unwrap();
        assert_eq!(read(&path).unwrap().1, Duration::ZERO);
        std::fs::write(&path, b"[").unwrap();
        assert!(read(&path).is_err());
    }
}
