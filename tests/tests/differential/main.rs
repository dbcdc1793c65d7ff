//! The outside judge: the same applications, configuration and requests through
//! mod_wsgi and through us. All that differs is in `ALLOWED`, each with its
//! reason; an entry that allows nothing any more is a failure too.
//!
//! mod_wsgi comes from PyPI and is built with the Python and the httpd headers
//! of this machine. Where that cannot be, the test says so and does nothing.

mod allowed;
mod log_ids;
mod requests;
mod server_keys;
mod ssl_variables;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wsgid_tests::judge::{Pair, Side, judge};
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{NO_RESPONSES, quoted, with_tls};
use wsgid_tests::{Answer, Builder, Curl, Mpm, Site, Transport, until};

use crate::allowed::ALLOWED;
use crate::requests::{forwarded, requests, responses};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn mod_wsgi_and_we_differ_only_where_it_is_meant() {
    judge(ALLOWED, configured, |pair| {
        ready(pair);
        environs(pair);
        by_ipv6(pair);
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
    let (builder, tls_port) = with_tls(builder.also_by_ipv6(), Mpm::Event);
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
        "/secured",
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
        .line("<Location /proxied>\n  WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Script-Name X-Client-IP X-Real-IP X-Host X-Forwarded-Server X-Forwarded-Script-Name X-Forwarded-Scheme X-Scheme X-Forwarded-SSL X-Forwarded-HTTPS X-HTTPS\n  WSGITrustedProxies 127.0.0.1 ::1\n</Location>")
        .line("<Location /secured>\n  SetEnvIf Request_URI . HTTPS=on\n  WSGITrustedProxyHeaders X-Forwarded-Proto X-Forwarded-Scheme X-Scheme X-Forwarded-SSL X-Forwarded-HTTPS X-HTTPS\n  WSGITrustedProxies 127.0.0.1\n</Location>")
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

/// The address as httpd formats it: from the listener, from the client, from both names of the server.
fn by_ipv6(pair: &mut Pair) {
    for (name, line, host) in [
        ("IPv6", "/app/x", "[::1]:PORT"),
        ("IPv6 without a port", "/app/x", "[::1]"),
        ("IPv6 and a name", "/app/x", "www.example:PORT"),
        ("absolute, IPv6", "http://[::1]:PORT/app/x", "h"),
        ("IPv6 and a long form", "/app/x", "[0:0:0:0:0:0:0:1]:PORT"),
        ("IPv6 in letters", "/app/x", "[2001:DB8::A]"),
        ("IPv6 and a proxy", "/proxied/x", "[::1]"),
        ("IPv6 and a redirect", "/nowhere", "[::1]"),
    ] {
        let fields = "X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-Host: [2001:db8::1]:81";
        let request =
            format!("GET {line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\nConnection: close\r\n\r\n");
        pair.raw_by_ipv6(name, &request);
        // The same by IPv4: what a client says of itself does not need the listener.
        pair.raw(&format!("{name}, by IPv4"), &request);
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
