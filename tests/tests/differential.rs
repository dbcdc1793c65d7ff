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

/// What may differ: a text at the front of the difference, and why.
const ALLOWED: &[(&str, &str)] = &[];

#[test]
fn mod_wsgi_and_we_differ_only_where_it_is_meant() {
    let Some((venv, peer)) = peer() else { return };
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let pair = Pair { theirs: start(&site, &venv, Some(peer)), ours: start(&site, &venv, None), found: Vec::new() };
        let found = pair.compare_all();
        let mut used = BTreeSet::new();
        let mut wrong = Vec::new();
        for difference in &found {
            match ALLOWED.iter().find(|(front, _)| difference.starts_with(front)) {
                Some((front, _)) => drop(used.insert(*front)),
                None => wrong.push(difference.as_str()),
            }
        }
        for (front, _) in ALLOWED {
            if !used.contains(front) {
                wrong.push(front);
            }
        }
        assert!(wrong.is_empty(), "{} differences (or entries without one):\n{}", wrong.len(), wrong.join("\n"));
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

struct Pair {
    theirs: Side,
    ours: Side,
    found: Vec<String>,
}

impl Pair {
    fn compare_all(mut self) -> Vec<String> {
        self.environs();
        self.encrypted();
        self.heads();
        self.misuses();
        self.inputs();
        self.found
    }

    /// Compares two results of one case, field by field.
    fn compare(&mut self, name: &str, theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) {
        for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let (their, our) = (theirs.get(key), ours.get(key));
            if their != our {
                self.found.push(format!("{key} in {name}: mod_wsgi {their:?}, we {our:?}"));
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

    fn encrypted(&mut self) {
        for transport in [Transport::Tls1, Transport::H2c, Transport::H2] {
            for (path, args) in [
                ("/app/x?y=1", vec![]),
                ("/tls/x", vec!["--cookie", "a=1; b=2"]),
                ("/app/x", vec!["--data", "posted"]),
                ("/proxied/x", vec!["--header", "X-Forwarded-Proto: http"]),
                ("/app/x", vec!["--head"]),
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
        Curl::new(transport, &format!("{scheme}://127.0.0.1:{port}{path}")).args(args).run()
    }

    /// Status line, headers and body, without what is this server's own.
    fn taken_apart(&self, text: &str) -> BTreeMap<String, String> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut parts = BTreeMap::from([("status".to_owned(), lines.next().unwrap_or_default().to_owned())]);
        let fields: Vec<_> =
            lines.filter_map(|line| line.split_once(": ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        self.add(&mut parts, &fields, body);
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
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "Date").collect();
        parts.insert("order of fields".to_owned(), names.join(" "));
        for (name, value) in fields {
            let own = name == "Date" || name == "Server" || (name == "Content-Length" && environ.is_some());
            if !own {
                let have = parts.entry(format!("field {name}")).or_default();
                *have += &format!("[{}]", self.neutral(value));
            }
        }
        match environ {
            None => drop(parts.insert("body".to_owned(), self.neutral(body))),
            Some(environ) => {
                for (key, value) in environ {
                    // Different in every request, and in the name of the module.
                    let value = match key.as_str() {
                        "REMOTE_PORT"
                        | "mod_wsgi.server_pid"
                        | "SERVER_SOFTWARE"
                        | "UNIQUE_ID"
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

fn exception(line: &str) -> Option<String> {
    let at = ["TypeError: ", "ValueError: ", "RuntimeError: ", "AttributeError: "]
        .iter()
        .filter_map(|name| line.find(name))
        .min()?;
    Some(line[at..].to_owned())
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
