//! Which keys of the environ `SetEnv` may set, and which are the server's own: the same as
//! with mod_wsgi.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use wsgid_tests::judge::{Allowed, Side, judge};
use wsgid_tests::{Builder, Site, until};

const ALLOWED: &[Allowed] = &[("environ wsgi.early_hints", "", "mod_wsgi cannot send 103")];

/// The server's, whatever the configuration says of them.
const SERVERS: &[&str] = &[
    "CONTEXT_DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "DOCUMENT_ROOT",
    "HTTPS",
    "HTTP_HOST",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_ADMIN",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "apache.version",
    "mod_wsgi.application_group",
    "mod_wsgi.application_start",
    "mod_wsgi.callable_object",
    "mod_wsgi.connection_id",
    "mod_wsgi.daemon_start",
    "mod_wsgi.handler_script",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.path_info",
    "mod_wsgi.process_group",
    "mod_wsgi.queue_start",
    "mod_wsgi.request_handler",
    "mod_wsgi.request_id",
    "mod_wsgi.request_start",
    "mod_wsgi.script_name",
    "mod_wsgi.server_pid",
    "mod_wsgi.thread_id",
    "mod_wsgi.version",
    "wsgi.early_hints",
    "wsgi.errors",
    "wsgi.file_wrapper",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.multiprocess",
    "wsgi.multithread",
    "wsgi.run_once",
    "wsgi.url_scheme",
    "wsgi.version",
];

/// The configuration's, unless the request has them.
const FREE: &[&str] = &[
    "AUTH_TYPE",
    "CONTENT_TYPE",
    "GATEWAY_INTERFACE",
    "HTTP_X_MINE",
    "PATH_TRANSLATED",
    "REDIRECT_URL",
    "REMOTE_HOST",
    "REMOTE_USER",
    "SERVER_SIGNATURE",
    "mod_wsgi.mine",
    "mod_wsgi.total_requests",
    "wsgi.mine",
];

#[test]
fn a_configuration_sets_the_same_keys() {
    judge(ALLOWED, configured, |pair| {
        for side in [&pair.theirs, &pair.ours] {
            let ready = until(Duration::from_secs(60), || {
                (side.httpd.get("/plain/x").status == 200).then_some(())
            });
            assert!(ready.is_some(), "nothing is served");
        }
        pair.raw(
            "set",
            "GET /set/x?y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        );
        let mut wrong = unlisted(&pair.ours);
        let environ = pair.ours.httpd.get("/set/x?y").json();
        wrong.extend(mistaken(&environ, FREE, true));
        wrong.extend(mistaken(&environ, SERVERS, false));
        wrong.extend(pair.stale());
        wrong
    });
}

/// Each key with a value of the configuration; and the same without.
fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let environ = site.file("environ_cases.py");
    let options = format!("processes=1 threads=5 python-home={}", venv.display());
    let mut lines = "<Location /set>\n".to_owned();
    for key in SERVERS.iter().chain(FREE) {
        writeln!(lines, "SetEnv {key} configured").expect("a text grows");
    }
    let builder = builder
        .daemon("site", &options)
        .mount("/plain", &environ, "site")
        .mount("/set", &environ, "site")
        .line(lines + "</Location>");
    (builder, 0)
}

/// Keys that have the other of the two values.
fn mistaken(environ: &Value, keys: &[&str], is_set: bool) -> Vec<String> {
    let set = |key: &str| environ[key] == serde_json::json!(["str", "configured"]);
    let wrong = keys.iter().filter(|key| set(key) != is_set);
    wrong
        .map(|key| format!("`{key}` of the configuration: {}", environ[*key]))
        .collect()
}

/// Keys that neither list has.
fn unlisted(side: &Side) -> Vec<String> {
    let environ = side.httpd.get("/plain/x?y").json();
    let keys = environ.as_object().expect("an environ").keys();
    let listed = |key: &&String| {
        key.contains(' ') || SERVERS.contains(&key.as_str()) || FREE.contains(&key.as_str())
    };
    keys.filter(|key| !listed(key) && !key.starts_with("HTTP_"))
        .map(|key| format!("`{key}` is in neither list"))
        .collect()
}
