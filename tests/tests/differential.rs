//! The outside judge: the same applications, configuration and requests through
//! mod_wsgi and through us. All that differs is in `ALLOWED`, each with its
//! reason; an entry that allows nothing any more is a failure too.
//!
//! mod_wsgi comes from PyPI and is built with the Python and the httpd headers
//! of this machine. Where that cannot be, the test says so and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{quoted, with_tls};
use wsgid_tests::{Answer, Builder, Curl, Httpd, Limit, Mpm, Python, Site, Transport, cache, case, note};

const PEER: &str = "mod_wsgi==6.1.1";
const SOON: Duration = Duration::from_secs(5);

/// What may differ: the front of the thing that differs, a part of the case's
/// name (empty: any), and why it may. `-` before the front: only we have it;
/// `+`: only mod_wsgi has it.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("-environ wsgi.early_hints", "", "mod_wsgi cannot send 103"),
    ("-environ mod_wsgi.connection_id", "", "mod_wsgi leaves it out unless httpd has made one already"),
    ("environ wsgi.errors", "", "mod_wsgi's is also readable, which PEP 3333 does not ask for"),
    ("environ wsgi.file_wrapper", "", "close() is there if the wrapped object has one, as PEP 3333 has it"),
    ("+environ REDIRECT_", "", "mod_wsgi leaves its own variables behind for a later redirect"),
    ("-environ PATH", "env", "PassEnv is the administrator's word"),
    ("environ REQUEST_URI", "absolute", "as httpd's own CGI has it: without scheme and host"),
    ("-field content-length", "", "a whole body is known to be whole, so httpd tells its length"),
    ("field content-length", "HEAD", "the body of the environ is longer by our own keys"),
    ("", "Range: bytes=0-3", "a whole body is known to be whole, so httpd can serve a part of it"),
    ("-field expires", "", "an error of ours is not to be cached"),
    ("status", "\"status\":\"200\"}", "a status without a reason has none"),
    ("field x", "\"X\",\"2\"", "fields that the application repeats stay apart"),
    ("field z", "padded", "the space before a value is no part of it"),
    ("field connection", "[\"Connection\",\"close\"]", "an application may end the connection"),
    ("field connection", "expecting", "a body that nobody announced is not read away"),
    // We are stricter, or as strict at once instead of later.
    ("body", "misuse status nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name colon", "mod_wsgi lets httpd find it"),
    ("body", "misuse name nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse name bracket", "mod_wsgi lets httpd find it"),
    ("body", "misuse value nul", "mod_wsgi cuts it at the NUL"),
    ("body", "misuse length", "mod_wsgi finds it with the first block"),
    ("body", "misuse exc_info", "mod_wsgi looks less closely, and raises RuntimeError for a wrong type"),
    ("body", "wide", "UnicodeEncodeError is a ValueError"),
    ("", "misuse twice with no data", "an empty block does not send the headers"),
];

#[test]
fn mod_wsgi_and_we_differ_only_where_it_is_meant() {
    judge(|pair| {
        pair.environs();
        pair.encrypted();
        pair.heads();
        pair.misuses();
        pair.inputs();
        let used: BTreeSet<usize> = pair.found.iter().filter_map(Difference::allowed).collect();
        let stale = ALLOWED.iter().enumerate().filter(|(number, _)| !used.contains(number));
        stale
            .map(|(_, (front, part, _))| {
                format!("nothing differs any more in `{front}` of `{part}`: take it off the list")
            })
            .collect()
    });
}

#[test]
fn what_trusted_proxies_say_is_believed_as_mod_wsgi_does() {
    judge(|pair| {
        pair.forwarded();
        Vec::new()
    });
}

/// Compares by `compare` and fails with what is not allowed to differ, and with
/// what `compare` says itself.
fn judge(compare: fn(&mut Pair) -> Vec<String>) {
    let Some((venv, peer)) = peer() else { return };
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let mut pair =
            Pair { theirs: start(&site, &venv, Some(peer)), ours: start(&site, &venv, None), found: Vec::new() };
        let mut wrong = compare(&mut pair);
        let unmeant = pair.found.iter().filter(|difference| difference.allowed().is_none());
        wrong.extend(unmeant.map(|difference| difference.text.clone()));
        assert!(wrong.is_empty(), "{} complaints:\n{}", wrong.len(), wrong.join("\n"));
        pair.ours.httpd.stop();
    });
}

/// A virtual environment with mod_wsgi in it, and its module for httpd.
fn peer() -> Option<(PathBuf, PathBuf)> {
    let apxs = ["apxs", "apxs2"].iter().any(|name| Command::new(name).arg("-q").arg("MMN").output().is_ok());
    let python = Python::all().iter().find(|python| {
        let (major, minor) = python.version;
        let version = format!("python{major}.{minor}");
        // A copy that was moved does not link.
        !python.home.starts_with(cache::directory())
            && python.home.join("include").join(version).join("Python.h").exists()
    });
    let (true, Some(python)) = (apxs, python) else {
        note("left out: mod_wsgi cannot be built here (it needs apache2-dev and python3-dev)");
        return None;
    };
    // What pip has kept may be built for another installation of that Python.
    let made = panic::catch_unwind(|| python.venv(&["--no-cache-dir", PEER]));
    let Ok(venv) = made else {
        note("left out: mod_wsgi could not be built; the reason is above");
        return None;
    };
    let text = Command::new(venv.join("bin/mod_wsgi-express")).arg("module-location").output().ok()?;
    Some((venv, PathBuf::from(String::from_utf8(text.stdout).ok()?.trim())))
}

/// A server and what in its answers is its own.
struct Side {
    httpd: Httpd,
    tls_port: u16,
}

fn start(site: &Site, venv: &Path, peer: Option<PathBuf>) -> Side {
    let builder = Httpd::builder();
    let builder = match peer {
        Some(module) => builder.peer(module),
        None => builder,
    };
    let (builder, tls_port) = with_tls(builder, Mpm::Event);
    let httpd = configured(builder, site, venv).start();
    Side { httpd, tls_port }
}

fn configured(builder: Builder, site: &Site, venv: &Path) -> Builder {
    let environ = site.file("environ_cases.py");
    let options = format!("processes=1 threads=5 python-home={} {}", venv.display(), site.python_path());
    let modules =
        ["rewrite", "headers", "auth_basic", "authn_core", "authn_file", "authz_user", "actions", "unique_id"];
    site.write("passwords", "alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n");
    std::fs::copy(&environ, site.path().join("direct.wsgi")).expect("a script can be copied");
    let mut builder = modules.iter().fold(builder, |builder, module| builder.load(module)).daemon("site", &options);
    for mount in
        ["/app", "/auth", "/chunked", "/basic", "/env", "/tls", "/proxied", "/untrusted", "/mapped", "/deep/er"]
    {
        builder = builder.mount(mount, &environ, "site");
    }
    builder
        .mount("/body", &site.file("body_cases.py"), "site")
        .mount("/head", &site.file("head_cases.py"), "site")
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
        .line("ErrorDocument 404 /app/document")
}

/// One thing that differs.
struct Difference {
    /// Status, a field, the body or a variable.
    key: String,
    /// The same, with a sign before it if only one side has it.
    marked: String,
    case: String,
    text: String,
}

struct Pair {
    theirs: Side,
    ours: Side,
    found: Vec<Difference>,
}

impl Difference {
    /// The entry of the list that allows it.
    fn allowed(&self) -> Option<usize> {
        ALLOWED.iter().position(|(front, part, _)| {
            let what = if front.starts_with(['-', '+']) { &self.marked } else { &self.key };
            what.starts_with(front) && self.case.contains(part)
        })
    }
}

impl Pair {
    /// Compares two results of one case, field by field.
    fn compare(&mut self, name: &str, theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) {
        for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (their, our) = (theirs.get(key), ours.get(key));
            if their != our {
                let sign = if their.is_none() {
                    "-"
                } else if our.is_none() {
                    "+"
                } else {
                    ""
                };
                let text = format!("{key} in {name}: mod_wsgi {their:?}, we {our:?}");
                self.found.push(Difference {
                    key: key.clone(),
                    marked: format!("{sign}{key}"),
                    case: name.to_owned(),
                    text,
                });
            }
        }
    }

    fn raw(&mut self, name: &str, request: &str) {
        let [theirs, ours] = [&self.theirs, &self.ours].map(|side| {
            let text = exchange(side.httpd.address(), request.replace("PORT", &side.port()), SOON);
            side.taken_apart(&text)
        });
        self.compare(name, &theirs, &ours);
    }

    fn environs(&mut self) {
        for (name, request) in requests() {
            self.raw(&name, &request);
        }
    }

    /// What a proxy in front says.
    fn forwarded(&mut self) {
        for (name, request) in forwarded() {
            self.raw(&name, &request);
        }
        for transport in [Transport::Tls1, Transport::H2] {
            let args = ["--header", "X-Forwarded-Proto: http"];
            let [theirs, ours] =
                [&self.theirs, &self.ours].map(|side| side.answered(side.curl(transport, "/proxied/x", &args)));
            self.compare(&format!("{transport:?} proxied"), &theirs, &ours);
        }
    }

    fn encrypted(&mut self) {
        for transport in [Transport::Tls1, Transport::H2c, Transport::H2] {
            for (path, args) in [
                ("/app/x?y=1", vec![]),
                ("/tls/x", vec!["--cookie", "a=1; b=2"]),
                ("/app/x", vec!["--data", "posted"]),
                ("/app/x", vec!["HEAD"]),
            ] {
                let [theirs, ours] =
                    [&self.theirs, &self.ours].map(|side| side.answered(side.curl(transport, path, &args)));
                self.compare(&format!("{transport:?} {path} {args:?}"), &theirs, &ours);
            }
        }
    }

    fn heads(&mut self) {
        for spec in responses() {
            let path = format!("/head/respond?spec={}", quoted(&spec.to_string()));
            for method in ["GET", "HEAD"] {
                self.raw(
                    &format!("{method} {spec}"),
                    &format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                );
            }
            let path = path.replace("/head/", "/override/");
            self.raw(
                &format!("overridden {spec}"),
                &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
            );
        }
    }

    /// Exceptions of wrong calls, with their texts.
    fn misuses(&mut self) {
        let names = self.theirs.httpd.get("/head/misuses").json();
        for which in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let path = format!("/head/misuse?spec={}", quoted(&json!({ "which": which }).to_string()));
            self.raw(
                &format!("misuse {which}"),
                &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
            );
        }
        for which in [
            "no start",
            "no start, empty",
            "start after data",
            "text",
            "none item",
            "int item",
            "none",
            "int",
            "string",
            "bytes",
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
        ] {
            let path = format!("/head/wrong?spec={}", quoted(&json!({ "which": which }).to_string()));
            let [theirs, ours] = [&self.theirs, &self.ours].map(|side| {
                let before = side.httpd.error_log().len();
                let text = exchange(
                    side.httpd.address(),
                    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                    SOON,
                );
                let mut parts = side.taken_apart(&text);
                if let Some(error) = side.exception_since(before) {
                    parts.insert("exception".to_owned(), error);
                }
                parts
            });
            self.compare(&format!("result {which}"), &theirs, &ours);
        }
    }

    fn inputs(&mut self) {
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
            let head = format!("POST /body/ways?calls={calls} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
            self.raw(&format!("input {calls}"), &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
            let chunks = format!("3\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..3], body.len() - 3, &body[3..]);
            self.raw(&format!("chunked input {calls}"), &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
        }
        for (name, request) in [
            ("streams kept", "POST /body/keep HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"),
            ("kept streams used", "GET /body/kept HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
            (
                "chunked, not allowed",
                "POST /app/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            ),
            (
                "gzip, chunked",
                "POST /chunked/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            ),
        ] {
            self.raw(name, request);
        }
    }
}

impl Side {
    fn port(&self) -> String {
        self.httpd.address().port().to_string()
    }

    fn curl(&self, transport: Transport, path: &str, args: &[&str]) -> Answer {
        let port = if transport.is_tls() { self.tls_port } else { self.httpd.address().port() };
        let scheme = if transport.is_tls() { "https" } else { "http" };
        let curl = Curl::new(transport, &format!("{scheme}://127.0.0.1:{port}{path}"));
        if args == ["HEAD"] { curl.head().run() } else { curl.args(args).run() }
    }

    /// Status line, headers and body, without what is this server's own.
    fn taken_apart(&self, text: &str) -> BTreeMap<String, String> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut parts = BTreeMap::from([("status".to_owned(), lines.next().unwrap_or_default().to_owned())]);
        let fields: Vec<_> =
            lines.filter_map(|line| line.split_once(": ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let chunked = fields.iter().any(|(name, value)| name == "Transfer-Encoding" && value == "chunked");
        self.add(&mut parts, &fields, &if chunked { joined(body) } else { body.to_owned() });
        parts
    }

    fn answered(&self, answer: Answer) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::from([
            ("status".to_owned(), answer.head.line.clone()),
            ("exit".to_owned(), answer.exit.to_string()),
        ]);
        let text = answer.text();
        self.add(&mut parts, &answer.head.fields, &text);
        parts
    }

    fn add(&self, parts: &mut BTreeMap<String, String>, fields: &[(String, String)], body: &str) {
        let environ = serde_json::from_str::<BTreeMap<String, Value>>(body).ok();
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            // How httpd frames a body is its own affair.
            let own = matches!(&*name, "date" | "server" | "transfer-encoding")
                || (name == "content-length" && environ.is_some());
            if !own {
                let have = parts.entry(format!("field {name}")).or_default();
                *have += &format!("[{}]", self.neutral(value));
            }
        }
        match environ {
            None => drop(parts.insert("body".to_owned(), without_words(&self.neutral(body)))),
            Some(environ) => {
                for (key, value) in environ {
                    // Different in every request, and in the name of the module.
                    let value = match key.as_str() {
                        "REMOTE_PORT"
                        | "mod_wsgi.server_pid"
                        | "SERVER_SOFTWARE"
                        | "UNIQUE_ID"
                        | "REDIRECT_UNIQUE_ID"
                        | "H2_STREAM_TAG"
                        | "mod_wsgi.request_id"
                        | "mod_wsgi.connection_id"
                        | "mod_wsgi.thread_id"
                        | "SSL_SESSION_ID"
                        | "SSL_SESSION_RESUMED" => value.get(0).map(Value::to_string).unwrap_or_default(),
                        _ => value.to_string(),
                    };
                    parts.insert(format!("environ {key}"), self.neutral(&value));
                }
            }
        }
    }

    fn neutral(&self, text: &str) -> String {
        text.replace(&self.httpd.root().display().to_string(), "ROOT")
            .replace(&self.port(), "PORT")
            .replace(&self.tls_port.to_string(), "TLSPORT")
    }

    /// The last exception that the log names from there on.
    fn exception_since(&self, at: usize) -> Option<String> {
        wsgid_tests::until(Duration::from_secs(1), || {
            let log = self.httpd.error_log();
            let lines = log.get(at..)?.lines().rev();
            lines.filter(|line| !line.contains("exception raised")).find_map(exception).filter(|_| log.ends_with('\n'))
        })
    }
}

/// The pieces of a chunked body.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some((piece, next)) = rest.split_at_checked(size).filter(|_| size > 0) else { break };
        whole += piece;
        body = next.strip_prefix("\r\n").unwrap_or(next);
    }
    whole
}

/// An exception by its type alone: programs catch types, and the words are each
/// one's own.
fn without_words(text: &str) -> String {
    let kind = text.split_once(": ").map(|(kind, _)| kind).filter(|kind| kind.ends_with("Error"));
    kind.unwrap_or(text).to_owned()
}

fn exception(line: &str) -> Option<String> {
    let at = ["TypeError: ", "ValueError: ", "RuntimeError: ", "AttributeError: "]
        .iter()
        .filter_map(|name| line.find(name))
        .min()?;
    Some(without_words(&line[at..]))
}

/// Requests whose environ is compared.
fn requests() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let paths = [
        "/app",
        "/app/",
        "/app/a/b",
        "/app//a///b",
        "//app/a",
        "/app/a%20b",
        "/app/%C3%A4/%E4",
        "/app/a%2Bb+c",
        "/app/a;p=1",
        "/app/./a/../b",
        "/app?",
        "/app?q",
        "/app?a=1&b=%20&c=%C3%A4",
        "/app/?%zz",
        "/app/a?b?c#d",
        "/deep/er/x",
        "/deep/er",
        "/match/direct",
        "/match/direct/more",
        "/files/direct.wsgi",
        "/files/direct.wsgi/x/y?z",
        "/rewritten/a/b?c=d",
        "/nowhere",
        "/nowhere?a=b",
        "/env/x",
        "/tls/x",
        "/app/a%2Fb",
        "/app/%00",
        "/application",
        "/app/~x/'\"<>",
    ];
    for path in paths {
        all.push((
            path.to_owned(),
            format!("GET {path} HTTP/1.1\r\nHost: localhost:PORT\r\nConnection: close\r\n\r\n"),
        ));
    }
    for method in ["HEAD", "OPTIONS", "DELETE", "PROPFIND", "BREW", "PATCH"] {
        all.push((method.to_owned(), format!("{method} /app/m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")));
    }
    for (method, mount) in [("HEAD", "mapped"), ("GET", "mapped")] {
        all.push((
            format!("{method} {mount}"),
            format!("{method} /{mount}/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        ));
    }
    let fields = [
        "X-One: 1\r\nX-One: 2",
        "Cookie: a=1\r\nCookie: b=2",
        "X_Under: 1\r\nX-Under: 2",
        "X.Dot: 1",
        "X-Ünï: 1",
        "Proxy: evil",
        "X-Empty:",
        "X-Latin: caf\u{e9}",
        "Authorization: Basic YTpi",
        "Proxy-Authorization: Basic YTpi",
        "Content-Type: text/x",
        "Content-Length: 0",
        "Range: bytes=0-3",
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "Expect: nothing",
        "TE: trailers",
        "Upgrade: x",
        "Accept-Encoding: gzip, br",
        "X-Forwarded-For: 1.2.3.4",
        "HTTPS: on",
        "X-Set: seen",
        "Content-MD5: x",
        "Keep-Alive: 5",
        "Transfer-Encoding: gzip",
        "User-Agent: a\r\nReferer: b\r\nAccept: */*\r\nAccept-Language: de",
        "X-Long: LONG",
    ];
    for field in fields {
        let field_line = field.replace("LONG", &"y".repeat(7000));
        for mount in ["app", "env"] {
            all.push((
                format!("{mount} {field}"),
                format!("GET /{mount}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{field_line}\r\n\r\n"),
            ));
        }
    }
    let others = [
        ("HTTP/1.0", "GET /app/x HTTP/1.0\r\n\r\n"),
        ("absolute", "GET http://other.example/app/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        ("Host with a port", "GET /app/x HTTP/1.1\r\nHost: other.example:99\r\nConnection: close\r\n\r\n"),
        (
            "passed authorization",
            "GET /auth/x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\nConnection: close\r\n\r\n",
        ),
        (
            "a user",
            "GET /basic/x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWxpY2U6dGVzdDI=\r\nConnection: close\r\n\r\n",
        ),
        ("no user", "GET /basic/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        (
            "POST",
            "POST /app/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/y\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        ),
        ("PUT", "PUT /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (
            "chunked",
            "POST /chunked/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "expecting",
            "POST /app/x HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc",
        ),
    ];
    all.extend(others.map(|(name, request)| (name.to_owned(), request.to_owned())));
    all
}

/// Requests that came through a proxy, trusted or not.
fn forwarded() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let forwarded = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1",
        "X-Forwarded-For: , ,",
        "X-Forwarded-Host: outside.example:81",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: HTTPS",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 8443",
        "X-Script-Name: /mounted",
        "X-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4",
        "X-Forwarded-SSL: on",
        "X-Client-IP: 9.9.9.9",
        "X-Forwarded-Server: s",
    ];
    for field in forwarded {
        for mount in ["app", "proxied", "untrusted"] {
            all.push((
                format!("{mount} {field}"),
                format!("GET /{mount}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{field}\r\n\r\n"),
            ));
        }
    }
    all
}

/// Responses whose bytes are compared.
fn responses() -> Vec<Value> {
    let mut all: Vec<Value> = [
        "200 OK",
        "200 Fine",
        "200",
        "201 Made",
        "204 None",
        "206 Part",
        "299 Odd",
        "301 Moved",
        "304 Same",
        "400 Bad",
        "401 Who",
        "403 No",
        "404 Lost",
        "405 How",
        "418 Pot",
        "451 Law",
        "499 Own",
        "500 Own",
        "502 Own",
        "503 Own",
        "599 Own",
    ]
    .into_iter()
    .map(|status| json!({"status": status, "body": ["a body"]}))
    .collect();
    all.extend([
        json!({"headers": []}),
        json!({"headers": [["Content-Type", "TEXT/HTML; Charset=X"]]}),
        json!({"headers": [["Content-Length", "5"]]}),
        json!({"headers": [["Content-Length", "3"]]}),
        json!({"headers": [["Content-Length", "3"]], "body": ["a", "b", "c", "d"], "generator": true}),
        json!({"headers": [["Content-Encoding", "x"], ["Content-Language", "de"]]}),
        json!({"headers": [["Set-Cookie", "a"], ["Set-Cookie", "b"], ["X", "1"], ["X", "2"]]}),
        json!({"headers": [["Vary", "a"], ["Vary", "b"], ["Cache-Control", "no-cache"], ["ETag", "\"x\""]]}),
        json!({"headers": [["Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"], ["Expires", "0"]]}),
        json!({"headers": [["Location", "http://example.org/x"]], "status": "302 Found"}),
        json!({"headers": [["Location", "/app/inside?x=y"]]}),
        json!({"headers": [["Location", "/app/x"]], "status": "302 Found"}),
        json!({"headers": [["WWW-Authenticate", "A"], ["WWW-Authenticate", "B"]], "status": "401 Who"}),
        json!({"headers": [["X", "caf\u{e9}"], ["Y", ""], ["Z", " padded "]]}),
        json!({"headers": [["Date", "x"], ["Server", "y"], ["Connection", "close"]]}),
        json!({"body": []}),
        json!({"body": [""]}),
        json!({"body": ["", "a", "", "b"], "generator": true}),
        json!({"body": ["a", "b"]}),
        json!({"body": ["x".repeat(5000)]}),
        json!({"body": ["x".repeat(20000)], "generator": true}),
    ]);
    all
}
