//! The outside judge: the same applications, configuration and requests through
//! mod_wsgi and through us. All that differs is in `ALLOWED`, each with its
//! reason; an entry that allows nothing any more is a failure too.
//!
//! mod_wsgi comes from PyPI and is built with the Python and the httpd headers
//! of this machine. Where that cannot be, the test says so and does nothing.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

#[path = "differential/requests.rs"]
mod requests;

use requests::{forwarded, requests, responses};
use wsgid_tests::judge::{Allowed, Pair, Side, judge};
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{NO_RESPONSES, quoted, with_tls};
use wsgid_tests::{Answer, Builder, Curl, Mpm, Site, Transport, until};

const SOON: Duration = Duration::from_secs(5);

/// What may differ.
const ALLOWED: &[Allowed] = &[
    ("-environ wsgi.early_hints", "", "mod_wsgi cannot send 103"),
    (
        "-environ mod_wsgi.connection_id",
        "",
        "mod_wsgi leaves it out unless httpd has made one already",
    ),
    (
        "environ wsgi.errors",
        "",
        "mod_wsgi's is also readable, which PEP 3333 does not ask for",
    ),
    (
        "+environ REDIRECT_",
        "",
        "mod_wsgi leaves its own variables behind for a later redirect",
    ),
    (
        "-environ PATH",
        "env",
        "PassEnv is the administrator's word",
    ),
    (
        "environ REQUEST_URI",
        "absolute",
        "as httpd's own CGI has it: without scheme and host",
    ),
    (
        "-field content-length",
        "",
        "a whole body is known to be whole, so httpd tells its length",
    ),
    (
        "field content-length",
        "HEAD",
        "the body of the environ is longer by our own keys",
    ),
    (
        "",
        "Range: bytes=0-3",
        "a whole body is known to be whole, so httpd can serve a part of it",
    ),
    ("-field expires", "", "an error of ours is not to be cached"),
    (
        "status",
        "\"status\":\"200 \"}",
        "a status without a reason gets the usual one, with the space or without",
    ),
    ("status", "start status '200 '", "the same"),
    (
        "field x",
        "\"X\",\"2\"",
        "fields that the application repeats stay apart: commas may be part of a value",
    ),
    (
        "field connection",
        "[\"Connection\",\"close\"]",
        "an application may end the connection",
    ),
    (
        "field connection",
        "expecting",
        "a body that nobody announced is not read away",
    ),
    (
        "field trailer",
        "",
        "about the connection, which is httpd's business",
    ),
    ("field keep-alive", "", "the same"),
    ("field upgrade", "('Upgrade'", "the same"),
    ("field te", "", "the same"),
    ("field proxy-authenticate", "", "the same"),
    (
        "field last-modified",
        "start",
        "mod_wsgi makes 1970 of what is no date, and now of one to come",
    ),
    (
        "",
        "header ('Status'",
        "mod_wsgi takes the field for the status",
    ),
    (
        "",
        " 3",
        "what httpd has not sent yet it need not break off: the client gets an error, not half an answer",
    ),
    ("", "after_failure", "the same"),
    ("", "_later", "the same"),
    ("", "generator_that_fails_in_the_end", "the same"),
    (
        "finished status",
        "",
        "what the client gets, not what the application had in mind",
    ),
    // mod_wsgi is wrong.
    (
        "",
        "late exc_info nones",
        "mod_wsgi loses the exception, and the event with it",
    ),
    (
        "",
        "late exc_info texts",
        "mod_wsgi loses the exception until later",
    ),
    ("", "_none", "None is a size, as files have it"),
    (
        "",
        "_large",
        "mod_wsgi takes memory for what is asked, not for what is there",
    ),
    (
        "body",
        "_buffer",
        "what was written is counted, and has to be bytes",
    ),
    (
        "body",
        "errors_write_after_close",
        "one who closes it does not close it for the others",
    ),
    (
        "exception",
        "errors_detach",
        "mod_wsgi needs the stream again in the end",
    ),
    (
        "body",
        "errors_fileno",
        "UnsupportedOperation is an OSError, and what Python's own streams raise",
    ),
    (
        "body",
        "std",
        "descriptors 1 and 2 lead to the log, so a program may inherit them; sys.stderr has a mode",
    ),
    (
        "body",
        "_errors",
        "what is no character is shown in the log, not replaced",
    ),
    (
        "",
        "wraps a file beyond its end",
        "there is nothing to send, which is no failure",
    ),
    ("", "wraps a truncated file", "the same"),
    ("", "wraps tell below zero", "the file is read instead"),
    (
        "exception",
        "wraps",
        "what is no file is read, which is no failure; a close() that is missing is none; one that fails is logged",
    ),
    ("body", "wrapper_close_without", "the same"),
    (
        "finished output_writes",
        "wraps a file after an empty write",
        "the head has gone, so the file is read",
    ),
    (
        "finished output_writes",
        "wrapper_subclass",
        "a subclass may have its own way to iterate",
    ),
    (
        "finished output_writes",
        "no_start_generator",
        "a block that was refused was written, too",
    ),
    (
        "finished output_writes",
        "('Content-Length'",
        "refused before the block",
    ),
    ("finished output_writes", "('content-length'", "the same"),
    // We are stricter, or as strict at once instead of later.
    (
        "",
        "edge start status",
        "a final status is one of 200 to 599 (RFC 9110)",
    ),
    (
        "",
        "edge start header ('X",
        "mod_wsgi cuts it at the NUL, takes more than space off its front, or lets httpd find it",
    ),
    ("", "('Content-Length', '+4')", "a length has no sign"),
    (
        "",
        "content-length twice, different",
        "mod_wsgi believes the last",
    ),
    ("body", "misuse status nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name colon", "mod_wsgi lets httpd find it"),
    ("body", "misuse name nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name bracket", "mod_wsgi lets httpd find it"),
    ("body", "misuse value nul", "mod_wsgi cuts it at the NUL"),
    (
        "body",
        "misuse length",
        "mod_wsgi finds it with the first block",
    ),
    ("body", "misuse name latin", "mod_wsgi lets httpd find it"),
];

#[test]
fn mod_wsgi_and_we_differ_only_where_it_is_meant() {
    judge(ALLOWED, configured, |pair| {
        ready(pair);
        environs(pair);
        encrypted(pair);
        heads(pair);
        misuses(pair);
        inputs(pair);
        let mut wrong = edges(pair);
        wrong.extend(pair.stale());
        wrong
    });
}

#[test]
fn what_trusted_proxies_say_is_believed_as_mod_wsgi_does() {
    judge(ALLOWED, configured, |pair| {
        ready(pair);
        forwarded_requests(pair);
        Vec::new()
    });
}

/// Waits for both: the first request finds a process that is still importing.
fn ready(pair: &mut Pair) {
    // Programs catch types, and the words of an exception are each one's own.
    pair.exceptions_by_type = true;
    for side in [&pair.theirs, &pair.ours] {
        let served = until(Duration::from_secs(60), || {
            (curl(side, Transport::Http1, "/app/x", &[]).status() == 200).then_some(())
        });
        assert!(
            served.is_some(),
            "nothing is served on {}",
            side.httpd.address()
        );
    }
}

fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let (builder, tls_port) = with_tls(builder, Mpm::Event);
    let environ = site.file("environ_cases.py");
    let options = format!(
        "processes=1 threads=5 python-home={} {}",
        venv.display(),
        site.python_path()
    );
    let modules = [
        "rewrite",
        "headers",
        "auth_basic",
        "authn_core",
        "authn_file",
        "authz_user",
        "actions",
        "unique_id",
    ];
    site.write("passwords", "alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n");
    std::fs::copy(&environ, site.path().join("direct.wsgi")).expect("a script can be copied");
    let mut builder = modules
        .iter()
        .fold(builder, |builder, module| builder.load(module))
        .daemon("site", &options);
    for mount in [
        "/app",
        "/auth",
        "/chunked",
        "/basic",
        "/env",
        "/tls",
        "/proxied",
        "/untrusted",
        "/mapped",
        "/deep/er",
    ] {
        builder = builder.mount(mount, &environ, "site");
    }
    builder = builder
        .mount("/body", &site.file("body_cases.py"), "site")
        .mount("/head", &site.file("head_cases.py"), "site")
        .mount("/edge", &site.file("judged_cases.py"), "site")
        .mount("/override", &site.file("head_cases.py"), "site")
        .line(format!("WSGIScriptAliasMatch ^/match/([a-z]+) {}/$1.wsgi process-group=site application-group=%{{GLOBAL}}", site.path().display()))
        .line(format!("Alias /files {}", site.path().display()))
        .line(format!("<Directory {}>\n  Options +ExecCGI\n  AddHandler wsgi-script .wsgi\n  WSGIProcessGroup site\n  WSGIApplicationGroup %{{GLOBAL}}\n</Directory>", site.path().display()))
        .line("<LocationMatch ^/(chunked|body)>\n  WSGIChunkedRequest On\n</LocationMatch>")
        .line("<Location /auth>\n  WSGIPassAuthorization On\n</Location>")
        .line(format!("<Location /basic>\n  AuthType Basic\n  AuthName x\n  AuthUserFile {}\n  Require valid-user\n</Location>", site.file("passwords").display()))
        .line("<Location /env>\n  SetEnv A_NAME \"a value\"\n  SetEnv HTTPS on\n  SetEnv mod_wsgi.mine 1\n  SetEnvIf X-Set (.+) FROM_HEADER=$1\n  PassEnv PATH\n</Location>")
        .line("<Location /tls>\n  SSLOptions +StdEnvVars +ExportCertData\n</Location>")
        .line("<Location /proxied>\n  WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Script-Name\n  WSGITrustedProxies 127.0.0.1\n</Location>")
        .line("<Location /untrusted>\n  WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto\n  WSGITrustedProxies 10.0.0.0/8\n</Location>")
        .line("<Location /mapped>\n  WSGIMapHEADToGET On\n</Location>")
        .line("<Location /override>\n  WSGIErrorOverride On\n  ErrorDocument 404 /app/page\n</Location>")
        .line("RewriteEngine On\nRewriteRule ^/rewritten/(.*) /app/$1 [PT,E=REWRITTEN:$1,QSA]")
        .line("ErrorDocument 404 /app/document");
    (builder, tls_port)
}

fn environs(pair: &mut Pair) {
    for (name, request) in requests() {
        pair.raw(&name, &request);
    }
}

/// What a proxy in front says.
fn forwarded_requests(pair: &mut Pair) {
    for (name, request) in forwarded() {
        pair.raw(&name, &request);
    }
    for transport in [Transport::Tls1, Transport::H2] {
        let args = ["--header", "X-Forwarded-Proto: http"];
        let [theirs, ours] = [&pair.theirs, &pair.ours]
            .map(|side| side.answered(&curl(side, transport, "/proxied/x", &args)));
        pair.compare(&format!("{transport:?} proxied"), &theirs, &ours);
    }
}

fn encrypted(pair: &mut Pair) {
    for transport in [Transport::Tls1, Transport::H2c, Transport::H2] {
        for (path, args) in [
            ("/app/x?y=1", vec![]),
            ("/tls/x", vec!["--cookie", "a=1; b=2"]),
            ("/app/x", vec!["--data", "posted"]),
            ("/app/x", vec!["HEAD"]),
        ] {
            let [theirs, ours] = [&pair.theirs, &pair.ours]
                .map(|side| side.answered(&curl(side, transport, path, &args)));
            pair.compare(&format!("{transport:?} {path} {args:?}"), &theirs, &ours);
        }
    }
}

fn heads(pair: &mut Pair) {
    for spec in responses() {
        let path = format!("/head/respond?spec={}", quoted(&spec.to_string()));
        for method in ["GET", "HEAD"] {
            pair.raw(
                &format!("{method} {spec}"),
                &format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
            );
        }
        let path = path.replace("/head/", "/override/");
        pair.raw(
            &format!("overridden {spec}"),
            &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        );
    }
}

/// Exceptions of wrong calls, with their texts.
fn misuses(pair: &mut Pair) {
    let names = pair.theirs.httpd.get("/head/misuses").json();
    for which in names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let path = format!(
            "/head/misuse?spec={}",
            quoted(&json!({ "which": which }).to_string())
        );
        pair.raw(
            &format!("misuse {which}"),
            &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        );
    }
    let served = [
        "bytearray item",
        "memoryview item",
        "empty bytes",
        "empty list",
        "empty items",
        "tuple",
        "set",
        "dict",
        "generator",
        "late start",
        "iterator",
    ];
    for which in NO_RESPONSES.into_iter().chain(served) {
        let path = format!(
            "/head/wrong?spec={}",
            quoted(&json!({ "which": which }).to_string())
        );
        let [theirs, ours] = [&pair.theirs, &pair.ours].map(|side| {
            let before = side.httpd.error_log().len();
            let text = exchange(
                side.httpd.address(),
                format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                SOON,
            );
            let mut parts = side.taken_apart(&text);
            if let Some(error) = exception_since(side, before) {
                parts.insert("exception".to_owned(), error);
            }
            parts
        });
        pair.compare(&format!("result {which}"), &theirs, &ours);
    }
}

/// Applications that do what they should not, or what few do.
fn edges(pair: &mut Pair) -> Vec<String> {
    let names = pair.theirs.httpd.get("/edge/names").json();
    let names: Vec<_> = names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (number, name) in names.iter().enumerate() {
        let request = format!(
            "POST /edge/case?{number} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\nfirst\nsecond"
        );
        let [theirs, ours] = [&pair.theirs, &pair.ours].map(|side| {
            let before = side.httpd.error_log().len();
            let mut parts =
                side.taken_apart(&exchange(side.httpd.address(), request.clone(), SOON));
            // What the case has said is in the log before this.
            let mark = side.httpd.get(&format!("/edge/mark?{number}"));
            for (key, value) in mark.json().as_object().into_iter().flatten() {
                parts.insert(format!("finished {key}"), value.to_string());
            }
            let log = log_until(side, before, &format!("mark {number}"));
            let last = log
                .lines()
                .rev()
                .filter(|line| !line.contains("exception raised"))
                .find_map(exception);
            parts.extend(last.map(|error| ("exception".to_owned(), error)));
            parts
        });
        pair.compare(&format!("edge {name}"), &theirs, &ours);
    }
    if names.len() < 300 {
        vec![format!("only {} cases of the edge", names.len())]
    } else {
        Vec::new()
    }
}

fn inputs(pair: &mut Pair) {
    let body = "first line\nsecond\n\n".to_owned() + &"x".repeat(9000) + "\nlast";
    for calls in [
        "read",
        "read:5,read:-1",
        "read:0,read:1,read",
        "readline,readline,readline,readline,readline,readline",
        "readline:3,readline:100,readline:0,readline:-1",
        "readlines",
        "readlines:5,readlines:100,readlines",
        "next,next,read:3,readline,next,next",
        "read:100000,read:1,readline,readlines,next",
        "readlines:0,read",
        "read:9999,readline:1,read:-5",
        "close,read",
    ] {
        let head =
            format!("POST /body/ways?calls={calls} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
        pair.raw(
            &format!("input {calls}"),
            &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
        );
        let chunks = format!(
            "3\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            &body[..3],
            body.len() - 3,
            &body[3..]
        );
        pair.raw(
            &format!("chunked input {calls}"),
            &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
        );
    }
    for (name, request) in [
        (
            "streams kept",
            "POST /body/keep HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
        ),
        (
            "kept streams used",
            "GET /body/kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        ),
        (
            "chunked, not allowed",
            "POST /app/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        ),
        (
            "gzip, chunked",
            "POST /chunked/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        ),
    ] {
        pair.raw(name, request);
    }
}
fn curl(side: &Side, transport: Transport, path: &str, args: &[&str]) -> Answer {
    let port = if transport.is_tls() {
        side.other_port
    } else {
        side.httpd.address().port()
    };
    let scheme = if transport.is_tls() { "https" } else { "http" };
    let curl = Curl::new(transport, &format!("{scheme}://127.0.0.1:{port}{path}"));
    if args == ["HEAD"] {
        curl.head().run()
    } else {
        curl.args(args).run()
    }
}

/// The log from there to a line with this end.
fn log_until(side: &Side, at: usize, mark: &str) -> String {
    let found = until(SOON, || {
        let log = side.httpd.error_log();
        let new = log.get(at..)?;
        let end = new.lines().find(|line| line.ends_with(mark))?;
        new.split_once(end).map(|(front, _)| front.to_owned())
    });
    found.unwrap_or_else(|| panic!("no `{mark}` in the log of {}", side.httpd.address()))
}

/// The last exception that the log names from there on.
fn exception_since(side: &Side, at: usize) -> Option<String> {
    until(Duration::from_secs(1), || {
        let log = side.httpd.error_log();
        let lines = log.get(at..)?.lines().rev();
        lines
            .filter(|line| !line.contains("exception raised"))
            .find_map(exception)
            .filter(|_| log.ends_with('\n'))
    })
}
/// The name of an exception that ends a traceback.
fn exception(line: &str) -> Option<String> {
    let name = |word: &str| {
        let name = word
            .strip_suffix(':')
            .unwrap_or(word)
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let known = ["Error", "Exit", "Interrupt", "Iteration", "Odd"]
            .iter()
            .any(|end| name.ends_with(end));
        (known && name.starts_with(|first: char| first.is_ascii_uppercase())).then_some(name)
    };
    // Behind what httpd puts in front, each in brackets.
    let text = line.rsplit_once("] ").map_or(line, |(_, text)| text);
    name(text.split(' ').next()?)
}
